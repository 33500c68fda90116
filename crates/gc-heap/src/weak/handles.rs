//! The host's names for weak references: [`WeakHandle`] and [`WeakMap`].

use crate::roots::Token;
use std::fmt;

/// A handle that does not keep its object alive. It is valid until it and its clones are dropped.
/// When a collection finds the object dead, the handle refers to nothing. Clones are the same
/// handle. [`GcStore::downgrade`](crate::GcStore::downgrade) makes it, and
/// [`GcStore::upgrade`](crate::GcStore::upgrade) reads it.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let externref = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// let weak = store.downgrade(&externref).unwrap();
/// store.drop_gc_ref(externref);
/// store.gc(&mut NoStack)?;
/// assert!(store.upgrade(&weak).unwrap().is_none());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone)]
pub struct WeakHandle(pub(super) Token);

impl fmt::Debug for WeakHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakHandle({})", self.0.place())
    }
}

/// A map from objects to objects whose entries are ephemerons: an entry keeps its value alive only
/// while its key is alive, also if the value refers to the key. It is valid until it and its clones
/// are dropped. Clones are the same map. [`GcStore::weak_map`](crate::GcStore::weak_map) makes it.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let map = store.weak_map().unwrap();
/// let scope = store.enter_handle_scope();
/// let key = store.alloc_externref(&mut NoStack, Box::new("key")).map_err(|(error, _)| error)?;
/// let key = store.root(key).unwrap();
/// let value = store.alloc_externref(&mut NoStack, Box::new("value")).map_err(|(error, _)| error)?;
/// let key_ref = store.rooted(&key).unwrap().unchecked_copy();
/// store.weak_map_insert(&map, &key_ref, &value).unwrap();
/// store.drop_gc_ref(value);
///
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 2);
/// store.exit_handle_scope(scope);
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 0);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone)]
pub struct WeakMap(pub(super) Token);

impl fmt::Debug for WeakMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakMap({})", self.0.place())
    }
}
