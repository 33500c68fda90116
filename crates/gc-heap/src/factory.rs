//! [`HeapFactory`]: makes the heaps of stores that begin without one.

use crate::heap_pool::{HeapPool, KeptHeaps, PooledPlace};
use crate::{GcHeap, GcRuntime, HeapError, HeapMapping, HeapMemory, HeapOptions};
use gc_types::CollectorAbi;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A collector with the options of its heaps. An engine has one, and all its stores share it
/// ([`GcStore::lazy`](crate::GcStore::lazy)).
///
/// It keeps a few heaps of stores that were dropped, as many as its source of memory allows
/// ([`MemorySource::keep_heaps`](crate::MemorySource::keep_heaps)), and gives them to the next stores.
///
/// It also has address space that is never mapped, as large as a heap. Code of a store that has no
/// heap yet gets the address of this space as the heap's address. Such code has no reference to an
/// object. If it had one, its accesses would fault there, and nothing else is in their reach.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapFactory, HeapOptions, toy::ToyCollector};
/// use std::sync::Arc;
///
/// let factory = HeapFactory::new(Arc::new(ToyCollector), &HeapOptions::default())?;
/// let factory = Arc::new(factory);
/// assert_eq!(factory.runtime().name(), "toy");
///
/// // Neither store has a heap until it allocates.
/// let [first, second] = [GcStore::lazy(&factory), GcStore::lazy(&factory)];
/// assert!(!first.has_heap() && !second.has_heap());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub struct HeapFactory {
    runtime: Arc<dyn GcRuntime>,
    options: HeapOptions,
    collector: Arc<CollectorAbi>,
    absent: Arc<HeapMapping>,
    pool: Arc<HeapPool>,
    /// Whether the source was asked how many heaps may be kept.
    asked: OnceLock<()>,
}

impl HeapFactory {
    /// Heaps that begin with more bytes than this are not kept by a factory without a pool, because
    /// the tables of their collectors grow with them.
    pub const MAX_KEPT_SIZE: u64 = 4 << 20;

    /// Makes a factory. The maximum of `options` becomes one that heaps of `runtime` can have
    /// ([`HeapOptions::cut_to`]).
    ///
    /// # Errors
    /// If the options cannot be satisfied (no memory does, or zeal needs the feature `gc_zeal`), or
    /// the system refuses to reserve address space.
    pub fn new(runtime: Arc<dyn GcRuntime>, options: &HeapOptions) -> Result<Self, HeapError> {
        check(options)?;
        let options = options.clone().cut_to(&*runtime);
        let absent = HeapMapping::absent(&options, runtime.apart())?;
        let collector = Arc::new(runtime.heap_abi());
        let pool = Arc::new(HeapPool::unlimited());
        Ok(HeapFactory { runtime, options, collector, absent, pool, asked: OnceLock::new() })
    }

    /// The factory with a pool: the heap of a dropped store is reset and given to the next store,
    /// with its mappings and the tables of its collector. At most `total` heaps are in use at the same
    /// time. So many wait for a store as were ever in use at the same time.
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{GcStore, HeapFactory, HeapOptions, NoStack, toy::ToyCollector};
    /// use std::sync::Arc;
    ///
    /// let factory = HeapFactory::new(Arc::new(ToyCollector), &HeapOptions::default())?;
    /// let factory = Arc::new(factory.with_pool(1));
    /// let mut store = GcStore::lazy(&factory);
    /// store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
    /// let heap = store.heap().unwrap().vmctx_gc_heap_base();
    ///
    /// let mut other = GcStore::lazy(&factory);
    /// assert!(other.ensure_heap().is_err());
    /// drop(store);
    /// other.ensure_heap()?;
    /// assert_eq!(other.heap().unwrap().vmctx_gc_heap_base(), heap);
    /// assert_eq!(other.stats().live_objects, 0);
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    #[must_use]
    pub fn with_pool(mut self, total: u32) -> HeapFactory {
        self.pool = Arc::new(HeapPool::limited(total));
        self
    }

    /// The number of heaps in use, and of those that wait for a store. `None` without a pool.
    pub fn pooled_heaps(&self) -> Option<(u32, usize)> {
        self.pool.is_limited().then(|| (self.pool.used(), self.pool.unused()))
    }

    /// The number of heaps that wait for a store, with or without a pool.
    pub fn kept_heaps(&self) -> usize {
        self.pool.unused()
    }

    /// Its heaps.
    pub(crate) fn pool(&self) -> &HeapPool {
        &self.pool
    }

    /// The collector's half that makes heaps.
    pub fn runtime(&self) -> &dyn GcRuntime {
        &*self.runtime
    }

    /// The options of the heaps.
    pub fn options(&self) -> &HeapOptions {
        &self.options
    }

    /// What code over the heaps depends on, of the collector.
    pub(crate) fn collector(&self) -> &Arc<CollectorAbi> {
        &self.collector
    }

    /// The address space that is never mapped.
    pub(crate) fn absent(&self) -> &Arc<HeapMapping> {
        &self.absent
    }

    /// Makes a heap that begins with `initial` bytes, or takes one that waits for a store. Its
    /// place must be given back.
    pub(crate) fn make(&self, initial: u64) -> Result<(Box<dyn GcHeap>, PooledPlace), HeapError> {
        // Those that wait have the size of the options.
        let usual = initial == self.options.initial;
        self.asked.get_or_init(|| self.ask_source());
        let waiting = self.pool.take(usual)?;
        let made = Making { pool: &self.pool, made: false };
        let (heap, place) = match waiting {
            Some(heap) => {
                let place = PooledPlace::of(&*heap);
                (heap, place)
            }
            None => {
                let heap = self.make_new(initial)?;
                let place = if usual { PooledPlace::of(&*heap) } else { PooledPlace::alone() };
                (heap, place)
            }
        };
        made.done();
        Ok((heap, place))
    }

    /// Asks the source how many heaps may be kept without a pool.
    fn ask_source(&self) {
        if !self.pool.is_limited() && self.options.initial <= HeapFactory::MAX_KEPT_SIZE {
            self.pool.keep(self.options.memory.keep_heaps(KeptHeaps::of(&self.pool)));
        }
    }

    fn make_new(&self, initial: u64) -> Result<Box<dyn GcHeap>, HeapError> {
        let options = HeapOptions { initial, ..self.options.clone() };
        make(&*self.runtime, &options, &self.collector)
    }
}

/// A place in a pool whose heap is being made. However that ends, the place is not lost.
struct Making<'a> {
    pool: &'a HeapPool,
    made: bool,
}

impl Making<'_> {
    fn done(mut self) {
        self.made = true;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if !self.made {
            self.pool.give_back(None);
        }
    }
}

/// Checks the options that a collector's memory does not depend on.
pub(crate) fn check(options: &HeapOptions) -> Result<(), HeapError> {
    if options.zeal != 0 && !cfg!(feature = "gc_zeal") {
        return Err(HeapError::Options {
            what: "zeal needs the feature `gc_zeal`: add `features = [\"gc_zeal\"]` to your \
                   dependency on gc-engine, gc-wasm or gc-runtime"
                .into(),
        });
    }
    Ok(())
}

/// Makes a heap of `runtime`, for code that depends on `collector`, in new memory.
pub(crate) fn make(
    runtime: &dyn GcRuntime,
    options: &HeapOptions,
    collector: &CollectorAbi,
) -> Result<Box<dyn GcHeap>, HeapError> {
    let memory = HeapMemory::with_apart(options, runtime.apart())?;
    let mapping = memory.mapping();
    mapping.declare(collector);
    let mut heap = runtime.new_gc_heap(memory)?;
    let wraps = [heap.wrapped().is_some(), heap.wrapped_mut().is_some()];
    assert!(wraps[0] == wraps[1], "a heap implements `wrapped` and `wrapped_mut`, or neither");
    let name = collector.name();
    if !heap.core().memory.is_in(&mapping) {
        let what = format!("this heap of `{name}` is not in the memory that was made for it");
        return Err(HeapError::Options { what });
    }
    if let Some(missing) = collector.tables().find(|table| !mapping.has_table(*table)) {
        let missing = missing.name();
        let what =
            format!("this heap of `{name}` has no side table `{missing}`, which its ABI has");
        return Err(HeapError::Options { what });
    }
    Ok(heap)
}

impl fmt::Debug for HeapFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapFactory")
            .field("runtime", &self.runtime.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
