//! [`GcStats`]: counters of a heap.

/// Counters of one heap since it was made or reset. The times of its collections are in its
/// [`PauseLog`](crate::PauseLog).
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// assert_eq!((store.stats().allocations, store.stats().live_objects), (1, 1));
/// store.gc(&mut NoStack)?;
/// let stats = store.stats();
/// assert_eq!((stats.allocations, stats.live_objects, stats.collections), (1, 0, 1));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcStats {
    /// Objects allocated. Collectors that do not count each object in compiled code estimate the number
    /// from the bytes and from the mean size of some of the objects.
    pub allocations: u64,
    /// Bytes allocated, headers included.
    pub allocated_bytes: u64,
    /// Collections completed.
    pub collections: u64,
    /// Objects that were not freed yet. Some of them may be garbage.
    pub live_objects: u64,
    /// Bytes of these objects.
    pub live_bytes: u64,
    /// Bytes of memory for objects now: memory that is mapped and was not given back to the system.
    pub heap_bytes: u64,
    /// The maximum of `heap_bytes`. A store updates it before each collection.
    pub peak_heap_bytes: u64,
}
