//! Handles for references that the host holds. A [`Rooted`] lives until its scope ends, and an
//! [`OwnedRooted`] lives until it is dropped.
//!
//! They are the store's handles ([`Handle`], [`OwnedHandle`]) with the type of the object. Both give
//! access to that type (they dereference to it), so its methods work with both. Scopes nest like the
//! host functions that open them. When a scope ends, its handles are dropped with the collector's
//! barrier.

use super::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut, StoreOpaque};
use crate::refs::{GcRef, Reference as _};
use anyhow::{Result, anyhow};
use gc_runtime::{Handle, HandleError, HandleScope, OwnedHandle};
use gc_types::VMGcRef;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A handle to an object of a store. It is valid until its scope ends. The scope is the innermost
/// [`RootScope`] or call of a host function, and otherwise the store's life. Copies are the same
/// handle.
///
/// A loop of the host that makes handles, without a [`RootScope`] for each turn, keeps all objects
/// alive that it touches, until the store is dropped. A warning is logged when a store has
/// [many] of them.
///
/// [many]: crate::Store::ROOTED_WARNING
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, RootScope, Store};
///
/// let mut store = Store::<()>::default();
/// let mut sum = 0;
/// for i in 0..1000 {
///     // Without this scope, the store would have a thousand handles in the end.
///     let mut scope = RootScope::new(&mut store);
///     let number = ExternRef::new(&mut scope, i)?;
///     sum += number.data(&scope)?.unwrap().downcast_ref::<i32>().unwrap();
/// }
/// assert_eq!(sum, 499_500);
/// # gc_wasm::error::Ok(())
/// ```
pub struct Rooted<T: GcRef> {
    object: T,
}

impl<T: GcRef> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: GcRef> Copy for Rooted<T> {}

impl<T: GcRef> Deref for Rooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// A handle to an object of a store. It is valid until the handle and its clones are dropped.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, OwnedRooted, RootScope, Store};
///
/// let mut store = Store::<()>::default();
/// let mut scope = RootScope::new(&mut store);
/// let owned: OwnedRooted<ExternRef> = ExternRef::new(&mut scope, 7)?.to_owned_rooted(&mut scope)?;
/// drop(scope);
/// assert_eq!(owned.data(&store)?.unwrap().downcast_ref(), Some(&7));
/// # gc_wasm::error::Ok(())
/// ```
pub struct OwnedRooted<T: GcRef> {
    object: T,
    handle: OwnedHandle,
}

impl<T: GcRef> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted { object: self.object, handle: self.handle.clone() }
    }
}

impl<T: GcRef> Deref for OwnedRooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// [`Rooted`] and [`OwnedRooted`]: handles that keep a `T` alive.
pub trait RootedGcRef<T: GcRef>: Deref<Target = T> + sealed::Sealed {}

impl<T: GcRef> RootedGcRef<T> for Rooted<T> {}
impl<T: GcRef> RootedGcRef<T> for OwnedRooted<T> {}

mod sealed {
    pub trait Sealed {}
    impl<T: super::GcRef> Sealed for super::Rooted<T> {}
    impl<T: super::GcRef> Sealed for super::OwnedRooted<T> {}
}

/// See [`Store::ROOTED_WARNING`].
const ROOTED_WARNING: usize = 100_000;

impl<T: 'static> Store<T> {
    /// The number of [`Rooted`] handles of which a store warns in the log, once. A host with so many
    /// probably makes them in a loop without a [`RootScope`].
    pub const ROOTED_WARNING: usize = ROOTED_WARNING;
}

impl StoreOpaque {
    /// Makes a scoped handle for `gc_ref` and takes over its ownership.
    pub(crate) fn root<T: GcRef>(&mut self, gc_ref: VMGcRef) -> Rooted<T> {
        let handle = self.gc_store_mut().root(gc_ref);
        self.made_handle(handle)
    }

    /// Makes a scoped handle for `gc_ref`, which nobody owns or another handle does.
    #[inline]
    pub(crate) fn root_borrowed<T: GcRef>(&mut self, gc_ref: &VMGcRef) -> Rooted<T> {
        let handle = self.gc_store_mut().root_borrowed(gc_ref);
        self.made_handle(handle)
    }

    #[inline]
    fn made_handle<T: GcRef>(&mut self, handle: Result<Handle, HandleError>) -> Rooted<T> {
        let Ok(handle) = handle else { too_many_handles() };
        if self.gc_store().scoped_handles() == ROOTED_WARNING {
            self.warn_of_handles();
        }
        Rooted { object: T::from_handle(handle) }
    }

    #[cold]
    fn warn_of_handles(&mut self) {
        if !std::mem::replace(&mut self.warned_of_handles, true) {
            log::warn!(
                "a store has {ROOTED_WARNING} rooted references of the host, which keep their \
                 objects alive; a `RootScope` for each turn of a loop releases them"
            );
        }
    }

    /// Makes an owned handle for `gc_ref` and takes over its ownership. Drops the references of
    /// handles that are no longer in use, so that their places are used again.
    pub(crate) fn root_owned<T: GcRef>(&mut self, gc_ref: VMGcRef) -> Result<OwnedRooted<T>> {
        self.gc_store_mut().drop_dead_handles();
        let handle = self.gc_store_mut().root_owned(gc_ref);
        let handle = handle.map_err(|_| anyhow!("more than {} owned handles", OwnedHandle::MAX))?;
        Ok(OwnedRooted { object: T::from_handle(handle.handle()), handle })
    }

    /// The reference of a handle. It is a copy that is not counted: only examine it, or clone it
    /// with the barrier.
    ///
    /// # Errors
    /// If the handle's scope has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub(crate) fn rooted(&self, handle: &Handle) -> Result<VMGcRef> {
        match self.gc_store().rooted(handle) {
            Ok(gc_ref) => Ok(gc_ref.unchecked_copy()),
            Err(error @ HandleError::OtherStore) => panic!("{error}"),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a handle belongs to this store.
    pub(crate) fn is_own(&self, handle: &Handle) -> bool {
        !matches!(self.gc_store().rooted(handle), Err(HandleError::OtherStore))
    }

    /// Drops the handles that were made since `scope` began.
    #[inline]
    pub(crate) fn exit_scope(&mut self, scope: HandleScope) {
        self.gc_store_mut().exit_handle_scope(scope);
    }
}

/// Whether two handles refer to the same object.
fn same_object<T: GcRef>(store: &StoreOpaque, a: &T, b: &T) -> Result<bool> {
    Ok(a.gc_ref(store)? == b.gc_ref(store)?)
}

#[cold]
fn too_many_handles() -> ! {
    panic!("too many scoped handles; end a `RootScope` to release them")
}

impl<T: GcRef> Rooted<T> {
    /// A handle that is as valid as the handle in `object`.
    pub(crate) fn of(object: T) -> Rooted<T> {
        Rooted { object }
    }

    /// An owned handle to the same object.
    ///
    /// # Errors
    /// If this handle's scope has ended, or if there are 2^25 owned handles.
    ///
    /// # Panics
    /// If this handle belongs to another store.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
        store.may_drop(|store| store.root_owned(gc_ref))
    }

    /// Whether both are the same handle. Two handles to the same object can be different: see
    /// [`ref_eq`](Rooted::ref_eq).
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a.handle() == b.handle()
    }

    /// Whether both handles refer to the same object (`ref.eq`). Equal `i31`s are the same.
    ///
    /// # Errors
    /// If the scope of a handle has ended.
    ///
    /// # Panics
    /// If a handle belongs to another store.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        same_object(store.as_context().opaque(), &**a, &**b)
    }

    /// Hashes the handle. Different handles to the same object have different hashes.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.handle().hash(state);
    }

    /// Hashes the reference: handles to the same object have the same hash. A collection that moves
    /// the object changes its hash, so the hash is good until the next call, allocation or
    /// collection.
    ///
    /// # Errors
    /// If the handle's scope has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        self.gc_ref(store.as_context().opaque())?.hash(state);
        Ok(())
    }

    /// The same handle with a supertype, or with a subtype that the caller has checked.
    pub(crate) fn cast<U: GcRef>(self) -> Rooted<U> {
        Rooted { object: U::from_handle(*self.handle()) }
    }
}

impl<T: GcRef> OwnedRooted<T> {
    /// A scoped handle to the same object.
    ///
    /// # Panics
    /// If this handle belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store).expect("the object of an owned handle lives");
        store.root_borrowed(&gc_ref)
    }

    /// Whether both handles refer to the same object (`ref.eq`). Equal `i31`s are the same.
    ///
    /// # Errors
    /// If the scope of a handle has ended.
    ///
    /// # Panics
    /// If a handle belongs to another store.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        same_object(store.as_context().opaque(), &**a, &**b)
    }

    /// Hashes the handle. Clones have the same hash, but other handles to the same object have
    /// different hashes.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.handle().hash(state);
    }

    /// Hashes the reference, like [`Rooted::ref_hash`].
    ///
    /// # Errors
    /// Never, because the object lives as long as the handle. The type is that of
    /// [`Rooted::ref_hash`].
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        self.gc_ref(store.as_context().opaque())?.hash(state);
        Ok(())
    }

    /// The same handle with a supertype.
    pub(crate) fn cast<U: GcRef>(self) -> OwnedRooted<U> {
        OwnedRooted { object: U::from_handle(*self.object.handle()), handle: self.handle }
    }
}

/// A scope for [`Rooted`] handles. When it is dropped, the handles that were made in it become
/// invalid. While the scope lives, the store is used through it.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, RootScope, Store};
///
/// let mut store = Store::<()>::default();
/// let kept = ExternRef::new(&mut store, "kept")?;
/// let lost = {
///     let mut scope = RootScope::new(&mut store);
///     let lost = ExternRef::new(&mut scope, "lost when the scope ends")?;
///     assert!(lost.data(&scope)?.is_some());
///     lost
/// };
/// assert!(kept.data(&store)?.is_some());
/// assert!(lost.data(&store).is_err());
/// store.gc(None)?;
/// assert_eq!(store.gc_stats().live_objects, 1);
/// # gc_wasm::error::Ok(())
/// ```
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

impl<T: GcRef> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rooted").field(self.handle()).finish()
    }
}

impl<T: GcRef> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedRooted").field(self.object.handle()).finish()
    }
}
