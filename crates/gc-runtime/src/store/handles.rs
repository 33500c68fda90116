//! The host's handles: made, looked at and given up with the collector's barriers.

use super::GcStore;
use crate::{HandleError, HandleScope, OwnedHandle, ScopedHandle};
use gc_types::VMGcRef;

impl GcStore {
    /// A handle that takes `gc_ref` over, a reference the host keeps, until its scope ends:
    /// the innermost one that was [entered](GcStore::enter_handle_scope), or the store's life.
    ///
    /// # Errors
    /// If there are [`ScopedHandle::MAX`] already; then the reference is given up.
    pub fn root(&mut self, gc_ref: VMGcRef) -> Result<ScopedHandle, HandleError> {
        self.roots.handles_mut().push(gc_ref).map_err(|gc_ref| {
            self.drop_gc_ref(gc_ref);
            HandleError::TooMany { maximum: ScopedHandle::MAX }
        })
    }

    /// The reference behind a handle, not counted: good until the next collection, or to be
    /// [cloned](GcStore::clone_gc_ref).
    ///
    /// # Errors
    /// If the handle is of another store, or its scope ended.
    pub fn rooted(&self, handle: &ScopedHandle) -> Result<&VMGcRef, HandleError> {
        self.roots.handles().get(handle)
    }

    /// Begins a scope of handles. Scopes nest.
    pub fn enter_handle_scope(&self) -> HandleScope {
        self.roots.handles().enter_scope()
    }

    /// Ends a scope: gives up the handles that were made since it began.
    pub fn exit_handle_scope(&mut self, scope: HandleScope) {
        while let Some(gc_ref) = self.roots.handles_mut().pop(scope) {
            self.drop_gc_ref(gc_ref);
        }
    }

    /// A handle that takes `gc_ref` over, a reference the host keeps, until it and its clones
    /// are dropped. That they were is noticed by the next collection, or by
    /// [`drop_dead_handles`](GcStore::drop_dead_handles).
    ///
    /// # Errors
    /// If there are [`OwnedHandle::MAX`] already; then the reference is given up.
    pub fn root_owned(&mut self, gc_ref: VMGcRef) -> Result<OwnedHandle, HandleError> {
        self.roots.handles_mut().add_owned(gc_ref).map_err(|gc_ref| {
            self.drop_gc_ref(gc_ref);
            HandleError::TooMany { maximum: OwnedHandle::MAX }
        })
    }

    /// The reference behind an owned handle, as [`rooted`](GcStore::rooted) tells that behind
    /// a scoped one.
    ///
    /// # Errors
    /// If the handle is of another store, or the store was reset.
    pub fn rooted_owned(&self, handle: &OwnedHandle) -> Result<&VMGcRef, HandleError> {
        self.roots.handles().get_owned(handle)
    }

    /// Gives up the references of owned handles that were dropped.
    pub fn drop_dead_handles(&mut self) {
        for gc_ref in self.roots.handles_mut().take_dropped() {
            self.drop_gc_ref(gc_ref);
        }
    }
}
