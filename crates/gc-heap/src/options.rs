//! [`HeapOptions`]: the options of a heap.

use crate::lend::{GcExecutor, GcThreads};
use crate::{GcRuntime, HeapMemory, MemorySource, OnDemand, PolicyFactory};
use gc_types::{Abi, HeapBounds, NULL_PAGE_SIZE};
use std::sync::Arc;
use std::time::Duration;

/// The options of a heap's memory. Sizes are in bytes and count from the heap's base, so they
/// include the first [`NULL_PAGE_SIZE`] bytes, which are never mapped.
///
/// # Examples
/// ```
/// use gc_heap::{FixedPolicy, GcStore, HeapOptions, toy::ToyCollector};
///
/// let options = HeapOptions {
///     initial: 4 << 20,
///     maximum: 64 << 20,
///     policy: FixedPolicy.into(),
///     ..HeapOptions::default()
/// };
/// let store = GcStore::new(&ToyCollector, &options)?;
/// assert_eq!(store.heap().unwrap().core().memory.len(), 4 << 20);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeapOptions {
    /// Bytes mapped at the start, at most `maximum`.
    pub initial: u64,
    /// The maximum size in bytes, at most 4 GiB. Memory above [`HeapOptions::MAX_SIZE`] is never
    /// used.
    pub maximum: u64,
    /// The way in which emitted code stays inside the heap.
    pub bounds: HeapBounds,
    /// The policy for the heap's memory: when it is collected, and by how much it grows.
    pub policy: PolicyFactory,
    /// The time for which a pause should stop the program: a minor collection, a slice of marking or
    /// sweeping, an increment of an asynchronous collection. It is an aim and not a bound. A minor
    /// collection cannot be interrupted, so `generational` uses as much of its nursery as it can
    /// empty in this time, by the times of the last minor collections, but at least 256 KiB of it. `drc` chooses in the same
    /// way how much is allocated between two collections.
    /// Collectors read the clock every few hundred objects. What cannot be done in parts takes as long
    /// as it takes: the search for roots, and a collection that has to find room at once.
    pub pause_target: Duration,
    /// The source of the memory. Heaps with clones of these options share it.
    pub memory: Arc<dyn MemorySource>,
    /// The threads that work for the heap: that mark and sweep old objects while the program runs, and touch memory before it
    /// is used. Heaps with clones of these options share them. Without any ([`GcThreads::new`] with 0), the program's thread
    /// does all that must be done.
    pub threads: Arc<dyn GcExecutor>,
    /// Collects at every Nth allocation; 0 turns this off. Needs the feature `gc_zeal`.
    pub zeal: u32,
}

impl HeapOptions {
    /// The maximum size of a heap, in bytes from its base: 4 GiB minus 64 KiB, so that the index
    /// after its last byte still fits in 32 bits.
    pub const MAX_SIZE: u64 = (4 << 30) - (64 << 10);

    /// The initial size in [`HeapOptions::default`]: small enough to stay in a second-level cache
    /// between collections.
    pub const DEFAULT_INITIAL: u64 = 1 << 20;

    /// The maximum size in [`HeapOptions::default`]: a program that allocates without end is stopped before
    /// it uses all that references can address.
    pub const DEFAULT_MAXIMUM: u64 = 2 << 30;

    /// The pause target of [`HeapOptions::default`].
    pub const DEFAULT_PAUSE_TARGET: Duration = Duration::from_micros(500);

    /// The ABI of code that runs over heaps of `runtime` with these options. It has only the heap's
    /// host calls, and no entries of an embedder.
    ///
    /// ```
    /// use gc_heap::{GcStore, HeapOptions, toy::ToyCollector};
    ///
    /// let options = HeapOptions::default();
    /// let abi = options.abi(&ToyCollector);
    /// assert!(GcStore::new(&ToyCollector, &options)?.check_abi(&abi).is_ok());
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    pub fn abi(&self, runtime: &dyn GcRuntime) -> Abi {
        Abi::new(runtime.heap_abi()).with_bounds(self.bounds).with_zeal(self.zeal != 0)
    }

    /// These options for heaps of `runtime`, whose maximum may be smaller. The maximum becomes a
    /// whole number of pages.
    #[must_use]
    pub fn cut_to(mut self, runtime: &dyn GcRuntime) -> HeapOptions {
        self.maximum = HeapMemory::maximum_for(self.maximum.min(runtime.max_heap_size()));
        self.initial = self.initial.min(self.maximum);
        self
    }
}

impl Default for HeapOptions {
    /// [`DEFAULT_INITIAL`](HeapOptions::DEFAULT_INITIAL) bytes that may grow to
    /// [`DEFAULT_MAXIMUM`](HeapOptions::DEFAULT_MAXIMUM), guarded, without zeal. The memory comes from a new
    /// [`OnDemand`], and the threads are the [usual](GcThreads::usual) number of new ones.
    fn default() -> Self {
        HeapOptions {
            initial: HeapOptions::DEFAULT_INITIAL,
            maximum: HeapOptions::DEFAULT_MAXIMUM,
            bounds: HeapBounds::Guarded,
            policy: PolicyFactory::default(),
            pause_target: HeapOptions::DEFAULT_PAUSE_TARGET,
            memory: Arc::new(OnDemand::default()),
            threads: Arc::new(GcThreads::new(GcThreads::usual())),
            zeal: 0,
        }
    }
}

const _: () = assert!(HeapOptions::MAX_SIZE.is_multiple_of(NULL_PAGE_SIZE as u64));
