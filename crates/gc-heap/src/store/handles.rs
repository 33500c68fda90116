//! The host's handles. Scoped ones are like the stack: every collection visits them, and the heap does not know of
//! them in between. Owned ones are made and dropped with the collector's barriers.

use super::GcStore;
use crate::{Handle, HandleError, HandleScope, OwnedHandle};
use gc_types::VMGcRef;

impl GcStore {
    /// Makes a handle for `gc_ref`, a reference that the host owns. The handle takes ownership and
    /// is valid until its scope ends. The scope is the innermost one that was
    /// [entered](GcStore::enter_handle_scope), and otherwise the store's life.
    ///
    /// # Errors
    /// If there already are [`Handle::MAX`] handles, or as many as the
    /// [limit](GcStore::limit_scoped_handles). Then the reference is dropped.
    #[inline]
    pub fn root(&mut self, gc_ref: VMGcRef) -> Result<Handle, HandleError> {
        let handle = self.root_borrowed(&gc_ref);
        self.drop_gc_ref(gc_ref);
        handle
    }

    /// Makes a handle for `gc_ref`, a reference that the host does not own: one that compiled code
    /// passed, or that of another handle. It is otherwise like [`root`](GcStore::root), and costs less
    /// than to [clone](GcStore::clone_gc_ref) the reference before.
    ///
    /// # Errors
    /// As [`root`](GcStore::root).
    #[inline]
    pub fn root_borrowed(&mut self, gc_ref: &VMGcRef) -> Result<Handle, HandleError> {
        self.check_scoped_handles()?;
        Ok(self.roots.handles_mut().push(gc_ref.unchecked_copy()))
    }

    /// The number of handles that live in scopes.
    #[inline]
    pub fn scoped_handles(&self) -> usize {
        self.roots.handles().scoped_len()
    }

    /// Checks that there is room for another scoped handle.
    ///
    /// # Errors
    /// As [`root`](GcStore::root).
    #[inline]
    pub fn check_scoped_handles(&self) -> Result<(), HandleError> {
        self.roots.handles().check_scoped()
    }

    /// Lets the store have at most `maximum` scoped handles at the same time. Larger values than
    /// [`Handle::MAX`] count as that. Handles that exist stay.
    pub fn limit_scoped_handles(&mut self, maximum: usize) {
        self.roots.handles_mut().limit_scoped(maximum);
    }

    /// The reference of a handle. It is not counted and is valid until the next collection.
    /// [Clone](GcStore::clone_gc_ref) it to keep it.
    ///
    /// # Errors
    /// If the handle belongs to another store, its scope has ended, or its owned handle was dropped.
    #[inline]
    pub fn rooted(&self, handle: &Handle) -> Result<&VMGcRef, HandleError> {
        self.roots.handles().get(handle)
    }

    /// Begins a scope of handles. Scopes nest.
    #[inline]
    pub fn enter_handle_scope(&self) -> HandleScope {
        self.roots.handles().enter_scope()
    }

    /// Ends a scope and drops the handles that were made since it began. A scope of another store is ignored.
    #[inline]
    pub fn exit_handle_scope(&mut self, scope: HandleScope) {
        // Most scopes have no handles.
        if self.enter_handle_scope() != scope {
            self.roots.handles_mut().truncate(scope);
        }
    }

    /// Makes a handle for `gc_ref`, a reference that the host owns. The handle takes ownership and
    /// is valid until it and its clones are dropped. The next collection, or
    /// [`drop_dead_handles`](GcStore::drop_dead_handles), then drops the reference.
    ///
    /// # Errors
    /// If there already are [`OwnedHandle::MAX`] handles. Then the reference is dropped.
    pub fn root_owned(&mut self, gc_ref: VMGcRef) -> Result<OwnedHandle, HandleError> {
        self.roots.handles_mut().add_owned(gc_ref).map_err(|gc_ref| {
            self.drop_gc_ref(gc_ref);
            HandleError::TooMany { maximum: OwnedHandle::MAX }
        })
    }

    /// Drops the references of owned handles and weak handles that are no longer in use.
    pub fn drop_dead_handles(&mut self) {
        for gc_ref in self.roots.handles_mut().take_dropped() {
            self.drop_gc_ref(gc_ref);
        }
        let Some(weak) = self.weak.get_mut() else { return };
        for gc_ref in weak.take_dropped() {
            self.drop_gc_ref(gc_ref);
        }
    }
}
