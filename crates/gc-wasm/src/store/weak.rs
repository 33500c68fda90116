//! Weak references of the host: [`WeakRooted`], [`WeakMap`] and finalizers.
//!
//! They are the weak references of the store's heap ([`WeakHandle`] and its like) with the types of
//! their objects. An object is *dead* when a collection finds that neither roots nor other live
//! objects refer to it. The collections that a program causes need not look at the whole heap.
//! [`Store::gc`] does, but `null` never finds an object dead.

use super::{AsContextMut, Store, StoreContextMut, StoreOpaque};
use crate::refs::{GcRef, Reference as _};
use crate::{AnyRef, AsContext, Caller, Rooted};
use anyhow::{Result, anyhow};
use gc_runtime::WeakHandle;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

/// A handle that does not keep its object alive. When a collection finds the object dead, the
/// handle refers to nothing. Clones are the same handle. [`Rooted::downgrade`] makes it.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, RootScope, Store};
///
/// # fn main() -> anyhow::Result<()> {
/// let mut store = Store::<()>::default();
/// let mut scope = RootScope::new(&mut store);
/// let object = ExternRef::new(&mut scope, 7)?;
/// let weak = object.downgrade(&mut scope)?;
/// let again = weak.upgrade(&mut scope)?.unwrap();
/// assert_eq!(again.data(&scope)?.unwrap().downcast_ref(), Some(&7));
///
/// drop(scope);
/// store.gc(None)?;
/// assert!(weak.upgrade(&mut store)?.is_none());
/// # Ok(())
/// # }
/// ```
pub struct WeakRooted<T> {
    handle: WeakHandle,
    _marker: PhantomData<fn() -> T>,
}

impl<T: GcRef> Rooted<T> {
    /// A weak handle to the same object.
    ///
    /// # Errors
    /// If this handle belongs to another store, if its scope has ended, or if there are too many
    /// weak handles.
    pub fn downgrade(&self, mut store: impl AsContextMut) -> Result<WeakRooted<T>> {
        let store = store.as_context_mut().into_opaque();
        self.gc_ref(store)?;
        store.may_drop(|store| store.gc_store_mut().drop_dead_handles());
        let gc_ref = self.gc_ref(store)?;
        let handle = store.gc_store_mut().downgrade(&gc_ref)?;
        Ok(WeakRooted { handle, _marker: PhantomData })
    }
}

impl<T: GcRef> WeakRooted<T> {
    /// A scoped handle to the object. `None` if the object is dead.
    ///
    /// # Errors
    /// If this handle belongs to another store.
    pub fn upgrade(&self, mut store: impl AsContextMut) -> Result<Option<Rooted<T>>> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = store.gc_store_mut().upgrade(&self.handle)?;
        Ok(gc_ref.map(|gc_ref| store.root(gc_ref)))
    }
}

/// A map from objects to objects that keeps a value alive only while its key is alive, also if the
/// value refers to the key (its entries are ephemerons). It is valid until it and its clones are
/// dropped. Clones are the same map.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, RootScope, Store, WeakMap};
///
/// # fn main() -> anyhow::Result<()> {
/// let mut store = Store::<()>::default();
/// let map = WeakMap::new(&mut store)?;
/// let mut scope = RootScope::new(&mut store);
/// let (key, value) = (ExternRef::new(&mut scope, "key")?, ExternRef::new(&mut scope, 7)?);
/// map.insert(&mut scope, &key, &value)?;
/// let found: gc_wasm::Rooted<ExternRef> = map.get(&mut scope, &key)?.unwrap();
/// assert_eq!(found.data(&scope)?.unwrap().downcast_ref(), Some(&7));
///
/// drop(scope);
/// store.gc(None)?;
/// assert_eq!(map.len(&store)?, 0);
/// # Ok(())
/// # }
/// ```
pub struct WeakMap<K, V> {
    map: gc_runtime::WeakMap,
    _marker: PhantomData<fn(K) -> V>,
}

impl<K: GcRef, V: GcRef> WeakMap<K, V> {
    /// Makes an empty map.
    ///
    /// # Errors
    /// If there are too many weak maps.
    pub fn new(mut store: impl AsContextMut) -> Result<WeakMap<K, V>> {
        let store = store.as_context_mut().into_opaque();
        Ok(WeakMap { map: store.gc_store_mut().weak_map()?, _marker: PhantomData })
    }

    /// Makes `value` the value of `key`. An unboxed integer as a key never dies.
    ///
    /// # Errors
    /// If the map or a handle belongs to another store, if a handle's scope has ended, or if all
    /// weak maps together have too many entries.
    pub fn insert(
        &self,
        mut store: impl AsContextMut,
        key: &Rooted<K>,
        value: &Rooted<V>,
    ) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        store.may_drop(|store| {
            let (key, value) = (key.gc_ref(store)?, value.gc_ref(store)?);
            Ok(store.gc_store_mut().weak_map_insert(&self.map, &key, &value)?)
        })
    }

    /// The value of `key`, if the map has one.
    ///
    /// # Errors
    /// If the map or the handle belongs to another store, or the handle's scope has ended.
    pub fn get(&self, mut store: impl AsContextMut, key: &Rooted<K>) -> Result<Option<Rooted<V>>> {
        let store = store.as_context_mut().into_opaque();
        let key = key.gc_ref(store)?;
        let value = store.gc_store_mut().weak_map_get(&self.map, &key)?;
        Ok(value.map(|value| store.root(value)))
    }

    /// Removes `key`. Returns whether the map had it.
    ///
    /// # Errors
    /// As [`get`](WeakMap::get).
    pub fn remove(&self, mut store: impl AsContextMut, key: &Rooted<K>) -> Result<bool> {
        let store = store.as_context_mut().into_opaque();
        store.may_drop(|store| {
            let key = key.gc_ref(store)?;
            Ok(store.gc_store_mut().weak_map_remove(&self.map, &key)?)
        })
    }

    /// The number of entries. Those whose keys have died since the last collection are among them.
    ///
    /// # Errors
    /// If the map belongs to another store.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        Ok(store.as_context().opaque().gc_store().weak_map_len(&self.map)?)
    }

    /// Whether there are no entries.
    ///
    /// # Errors
    /// If the map belongs to another store.
    pub fn is_empty(&self, store: impl AsContext) -> Result<bool> {
        Ok(self.len(store)? == 0)
    }
}

impl Rooted<AnyRef> {
    /// Adds a finalizer to the object. When a collection finds the object dead, it keeps the object
    /// alive once more, with everything to which it refers, and
    /// [`Store::next_finalizable`] returns the object and `value`. An object with several
    /// finalizers is returned once for each. An unboxed integer never dies.
    ///
    /// # Errors
    /// If this handle belongs to another store, if its scope has ended, or if there are too many
    /// finalizers.
    pub fn add_finalizer<V: Any + Send + Sync>(
        &self,
        mut store: impl AsContextMut,
        value: V,
    ) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        store.may_drop(|store| {
            let object = self.gc_ref(store)?;
            let added = store.gc_store_mut().add_finalizer(&object, Box::new(value));
            added.map_err(|(error, _value)| anyhow!(error).context("adding a finalizer"))
        })
    }
}

/// An object that died, with the value of its finalizer.
type Finalizable = (Rooted<AnyRef>, Box<dyn Any + Send + Sync>);

impl StoreOpaque {
    fn next_finalizable(&mut self) -> Option<Finalizable> {
        self.may_drop(|store| {
            let (object, value) = store.gc_store_mut().next_finalizable()?;
            Some((store.root(object), value))
        })
    }
}

impl<T: 'static> Store<T> {
    /// The next object that a collection has found dead and kept for its finalizer
    /// ([`Rooted::add_finalizer`]), with the finalizer's value. Collections run no code of the
    /// host: it asks for such objects when it likes.
    ///
    /// Objects that one collection finds dead come in the order in which their finalizers were
    /// added, also if one refers to the other. Before them come those of earlier collections. Weak
    /// handles of the object refer to nothing. Entries of weak maps for it are still there. The
    /// finalizer is gone: if the object lives on and dies again, it is not returned again.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{AnyRef, Config, Engine, ExternRef, RootScope, Store};
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let mut store = Store::<()>::default();
    /// let mut scope = RootScope::new(&mut store);
    /// let object = ExternRef::new(&mut scope, 7)?;
    /// let object = AnyRef::convert_extern(&scope, object)?;
    /// object.add_finalizer(&mut scope, "its finalizer")?;
    /// drop(scope);
    ///
    /// store.gc(None)?;
    /// let (object, value) = store.next_finalizable().unwrap();
    /// assert_eq!(value.downcast_ref(), Some(&"its finalizer"));
    /// let object = ExternRef::convert_any(&store, object)?;
    /// assert_eq!(object.data(&store)?.unwrap().downcast_ref(), Some(&7));
    /// assert!(store.next_finalizable().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_finalizable(&mut self) -> Option<(Rooted<AnyRef>, Box<dyn Any + Send + Sync>)> {
        self.as_context_mut().next_finalizable()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// As [`Store::next_finalizable`].
    pub fn next_finalizable(&mut self) -> Option<(Rooted<AnyRef>, Box<dyn Any + Send + Sync>)> {
        self.opaque_mut().next_finalizable()
    }
}

impl<T: 'static> Caller<'_, T> {
    /// As [`Store::next_finalizable`].
    pub fn next_finalizable(&mut self) -> Option<(Rooted<AnyRef>, Box<dyn Any + Send + Sync>)> {
        self.as_context_mut().next_finalizable()
    }
}

impl<T> Clone for WeakRooted<T> {
    fn clone(&self) -> Self {
        WeakRooted { handle: self.handle.clone(), _marker: PhantomData }
    }
}

impl<K, V> Clone for WeakMap<K, V> {
    fn clone(&self) -> Self {
        WeakMap { map: self.map.clone(), _marker: PhantomData }
    }
}

impl<T> fmt::Debug for WeakRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakRooted").field(&self.handle).finish()
    }
}

impl<K, V> fmt::Debug for WeakMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakMap").field(&self.map).finish()
    }
}
