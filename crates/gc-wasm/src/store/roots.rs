//! Handles for references that the host holds. A [`Rooted`] lives until its scope ends, and an
//! [`OwnedRooted`] lives until it is dropped.
//!
//! They are the store's handles ([`Handle`], [`OwnedHandle`]) with the type of the object.
//! Scopes nest like the host functions that open them. When a scope ends, its handles are dropped
//! with the collector's barrier.

use super::{AsContext, AsContextMut, StoreContext, StoreContextMut, StoreOpaque};
use crate::refs::GcRef;
use anyhow::{Result, anyhow};
use gc_runtime::{Handle, HandleScope, OwnedHandle};
use gc_types::VMGcRef;
use std::fmt;
use std::marker::PhantomData;

/// A handle to an object of a store. It is valid until its scope ends. The scope is the innermost
/// [`RootScope`] or call of a host function, and otherwise the store's life. Copies are the same
/// handle.
pub struct Rooted<T> {
    handle: Handle,
    _marker: PhantomData<fn() -> T>,
}

impl<T> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rooted<T> {}

/// A handle to an object of a store. It is valid until the handle and its clones are dropped.
pub struct OwnedRooted<T> {
    handle: OwnedHandle,
    _marker: PhantomData<fn() -> T>,
}

impl<T> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted { handle: self.handle.clone(), _marker: PhantomData }
    }
}

impl StoreOpaque {
    /// Makes a scoped handle for `gc_ref` and takes over its ownership.
    pub(crate) fn root<T: GcRef>(&mut self, gc_ref: VMGcRef) -> Rooted<T> {
        match self.gc_store_mut().root(gc_ref) {
            Ok(handle) => Rooted { handle, _marker: PhantomData },
            Err(_) => {
                panic!("too many scoped handles; end a `RootScope` to release them")
            }
        }
    }

    /// Drops the handles that were made since `scope` began.
    pub(crate) fn exit_scope(&mut self, scope: HandleScope) {
        self.gc_store_mut().exit_handle_scope(scope);
    }
}

impl<T: GcRef> Rooted<T> {
    /// The reference. It is a copy that is not counted: only examine it, or clone it with the
    /// barrier.
    pub(crate) fn get(&self, store: &StoreOpaque) -> Result<VMGcRef> {
        Ok(store.gc_store().rooted(&self.handle)?.unchecked_copy())
    }

    /// An owned handle to the same object.
    ///
    /// # Errors
    /// If this handle belongs to another store, if its scope has ended, or if there are 2^25 owned
    /// handles.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut().into_opaque();
        self.get(store)?;
        store.may_drop(|store| store.gc_store_mut().drop_dead_handles());
        let gc_ref = self.get(store)?;
        let gc = store.gc_store_mut();
        let gc_ref = gc.clone_gc_ref(&gc_ref);
        let handle = gc.root_owned(gc_ref);
        let handle = handle.map_err(|_| anyhow!("more than {} owned handles", OwnedHandle::MAX))?;
        Ok(OwnedRooted { handle, _marker: PhantomData })
    }

    /// Whether both handles refer to the same object (`ref.eq`). Equal `i31`s are the same.
    ///
    /// # Errors
    /// If a handle belongs to another store or its scope has ended.
    pub fn ref_eq(store: impl AsContext, a: &Rooted<T>, b: &Rooted<T>) -> Result<bool> {
        let store = store.as_context().opaque();
        Ok(a.get(store)? == b.get(store)?)
    }

    /// The same handle with a supertype, or with a subtype that the caller has checked.
    pub(crate) fn cast<U: GcRef>(self) -> Rooted<U> {
        Rooted { handle: self.handle, _marker: PhantomData }
    }
}

impl<T: GcRef> OwnedRooted<T> {
    /// A scoped handle to the same object.
    ///
    /// # Errors
    /// If this handle belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Result<Rooted<T>> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = store.gc_store().rooted(&self.handle.handle())?.unchecked_copy();
        let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
        Ok(store.root(gc_ref))
    }
}

/// A scope for [`Rooted`] handles. When it is dropped, the handles that were made in it become
/// invalid. While the scope lives, the store is used through it.
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: HandleScope,
}

impl<C: AsContextMut> RootScope<C> {
    /// Begins a scope.
    pub fn new(mut store: C) -> RootScope<C> {
        let scope = store.as_context_mut().into_opaque().gc_store().enter_handle_scope();
        RootScope { store, scope }
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        let scope = self.scope;
        self.store.as_context_mut().into_opaque().may_drop(|store| store.exit_scope(scope));
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}

impl<T> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rooted").field(&self.handle).finish()
    }
}

impl<T> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedRooted").field(&self.handle).finish()
    }
}
