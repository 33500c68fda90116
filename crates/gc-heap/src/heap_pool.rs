//! [`HeapPool`]: heaps that are handed from store to store.
//!
//! A heap that comes from here has its mappings, its data words and the tables of its collector
//! already, so a store that allocates little pays for nothing else. When the store is dropped, the
//! heap is reset ([`GcHeap::reset`]), unless it was never used, and waits for the next store. It is
//! dropped instead if it cannot be reset, if damage was found in it, or if it has grown: then its
//! tables have grown too, and to make new ones costs less than what grew it.
//!
//! A factory [with a pool](crate::HeapFactory::with_pool) limits the heaps that are in use, and all
//! of them wait afterwards. Any other factory keeps a few, as many as its source of memory allows
//! ([`KeptHeaps`]). The factory has the heaps, and not the source, because heaps of two factories cannot be
//! exchanged, and because a heap keeps its source alive. The source has a weak reference, with which it
//! releases them when the system has no more memory.
//!
//! What belongs to the store ([`StoreSide`](crate::StoreSide)) ends with it: the layouts, because stores of another
//! embedder may number types as they like, the growth policy, which may count memory, and the limiter. So does a
//! profiler's limit for allocations.

use crate::{ExternRefHostDataTable, GcHeap, HeapError, HeapMapping, MemoryPurpose};
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The heaps of a [`HeapFactory`](crate::HeapFactory).
pub(crate) struct HeapPool {
    /// The most heaps that are in use at the same time. `None` if there is no limit.
    total: Option<u32>,
    heaps: Mutex<Heaps>,
    /// Unless this number, if there is one, is 0, no further heap is kept.
    refused: OnceLock<Arc<AtomicUsize>>,
}

#[derive(Default)]
struct Heaps {
    /// Heaps that wait for a store, the last used one last.
    unused: Vec<Box<dyn GcHeap>>,
    /// The most that may wait.
    keep: usize,
    /// The number of heaps in use.
    used: u32,
}

impl HeapPool {
    /// Heaps of which at most `total` are in use at the same time. All of them are kept.
    pub(crate) fn limited(total: u32) -> HeapPool {
        let heaps = Heaps { keep: total as usize, ..Heaps::default() };
        HeapPool { total: Some(total), heaps: Mutex::new(heaps), refused: OnceLock::new() }
    }

    /// Any number of heaps. None is kept until [`keep`](HeapPool::keep) allows it.
    pub(crate) fn unlimited() -> HeapPool {
        HeapPool { total: None, heaps: Mutex::default(), refused: OnceLock::new() }
    }

    /// Keeps at most `count` heaps.
    pub(crate) fn keep(&self, count: usize) {
        self.heaps().keep = count;
    }

    /// Whether it limits the heaps in use.
    pub(crate) fn is_limited(&self) -> bool {
        self.total.is_some()
    }

    fn heaps(&self) -> MutexGuard<'_, Heaps> {
        // No code of others runs under the lock.
        self.heaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of heaps in use.
    pub(crate) fn used(&self) -> u32 {
        self.heaps().used
    }

    /// The number of heaps that wait for a store.
    pub(crate) fn unused(&self) -> usize {
        self.heaps().unused.len()
    }

    /// Whether another heap may wait.
    fn has_room(&self) -> bool {
        if self.is_limited() {
            // A heap that was in use has its place.
            return true;
        }
        let heaps = self.heaps();
        heaps.unused.len() < heaps.keep && self.may_keep()
    }

    /// Whether no thread lacks memory that a kept heap may have. It is asked under the lock.
    fn may_keep(&self) -> bool {
        self.refused.get().is_none_or(|refused| refused.load(Relaxed) == 0)
    }

    /// A heap that waits, or the right to make one. Unless the heap is to be a `usual` one, none that
    /// waits can be used.
    ///
    /// # Errors
    /// [`HeapError::PoolLimit`] if all are in use.
    pub(crate) fn take(&self, usual: bool) -> Result<Option<Box<dyn GcHeap>>, HeapError> {
        let mut heaps = self.heaps();
        if let Some(limit) = self.total
            && heaps.used >= limit
        {
            let purpose = MemoryPurpose::GcHeap;
            return Err(HeapError::PoolLimit { purpose, limit });
        }
        heaps.used += 1;
        if usual {
            return Ok(heaps.unused.pop());
        }
        // A pool has no more heaps in all than its limit.
        let surplus = heaps.used as usize + heaps.unused.len() > heaps.keep;
        let surplus = if surplus && self.is_limited() { heaps.unused.pop() } else { None };
        drop(heaps);
        drop(surplus);
        Ok(None)
    }

    /// Takes a heap back that is as new, or only its place.
    pub(crate) fn give_back(&self, heap: Option<Box<dyn GcHeap>>) {
        let mut heaps = self.heaps();
        heaps.used -= 1;
        let surplus = match heap {
            Some(heap) if heaps.unused.len() < heaps.keep && self.may_keep() => {
                heaps.unused.push(heap);
                None
            }
            heap => heap,
        };
        // A heap is the code of others.
        drop(heaps);
        drop(surplus);
    }

    /// Drops the heaps that wait. Returns whether there were any.
    fn release(&self) -> bool {
        let unused = mem::take(&mut self.heaps().unused);
        !unused.is_empty()
    }
}

impl fmt::Debug for HeapPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapPool")
            .field("total", &self.total)
            .field("used", &self.used())
            .field("unused", &self.unused())
            .finish()
    }
}

/// The heaps that a [`HeapFactory`](crate::HeapFactory) without a pool keeps for its next stores. A
/// [`MemorySource`](crate::MemorySource) gets this before the factory makes its first heap
/// ([`keep_heaps`](crate::MemorySource::keep_heaps)), so that it can release them when it lacks
/// memory. It does not keep the factory alive.
///
/// # Examples
/// A source that allows one heap, and releases it on request:
///
/// ```
/// use gc_heap::{
///     GcStore, HeapError, HeapFactory, HeapOptions, KeptHeaps, MemoryRequest, MemorySource,
///     Reservation, UsedReservation, toy::ToyCollector,
/// };
/// use std::sync::{Arc, OnceLock};
///
/// #[derive(Debug, Default)]
/// struct OneHeap(OnceLock<KeptHeaps>);
///
/// impl MemorySource for OneHeap {
///     fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
///         Reservation::new(request)
///     }
///     fn give_back(&self, _used: UsedReservation) {}
///     fn keep_heaps(&self, heaps: KeptHeaps) -> usize {
///         self.0.set(heaps).map_or(0, |()| 1)
///     }
/// }
///
/// let source = Arc::new(OneHeap::default());
/// let options = HeapOptions { memory: source.clone(), ..HeapOptions::default() };
/// let factory = Arc::new(HeapFactory::new(Arc::new(ToyCollector), &options)?);
/// GcStore::lazy(&factory).ensure_heap()?;
/// assert_eq!(factory.kept_heaps(), 1);
/// assert!(source.0.get().unwrap().release());
/// assert_eq!(factory.kept_heaps(), 0);
/// # Ok::<(), HeapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeptHeaps(Weak<HeapPool>);

impl KeptHeaps {
    pub(crate) fn of(pool: &Arc<HeapPool>) -> KeptHeaps {
        KeptHeaps(Arc::downgrade(pool))
    }

    /// Drops the heaps that are kept now. Their memory goes back to the source before this returns.
    /// Returns whether there were any.
    pub fn release(&self) -> bool {
        self.0.upgrade().is_some_and(|pool| pool.release())
    }

    /// Lets the factory keep no further heap while this number is not 0. Whoever makes it so does that
    /// before a [release](KeptHeaps::release).
    pub(crate) fn keep_none_while(&self, refused: &Arc<AtomicUsize>) {
        if let Some(pool) = self.0.upgrade() {
            // A factory asks one source once.
            pool.refused.get_or_init(|| refused.clone());
        }
    }

    /// Whether the factory still exists.
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The right to a heap of a pool. It ends with the store.
#[derive(Debug)]
pub(crate) struct PooledPlace {
    /// Bytes of the heap when a store got it.
    len: u64,
}

impl PooledPlace {
    /// The place of `heap`, which is as new.
    pub(crate) fn of(heap: &dyn GcHeap) -> PooledPlace {
        PooledPlace { len: heap.core().memory.len() }
    }

    /// A place whose heap is dropped when it is given back.
    pub(crate) fn alone() -> PooledPlace {
        PooledPlace { len: u64::MAX }
    }

    /// Gives the heap, which was made in `mapping` and no longer has the store's side, back to its pool, without its
    /// objects. `used` says whether anything may have been written since the pool
    /// gave it. `None` gives only the place back.
    pub(crate) fn give_back(
        self,
        pool: &HeapPool,
        heap: Option<Box<dyn GcHeap>>,
        mapping: &Arc<HeapMapping>,
        used: bool,
        host_data: &mut ExternRefHostDataTable,
    ) {
        let heap = heap.map(|mut heap| {
            heap.recall();
            heap
        });
        let heap = heap.filter(|heap| {
            let core = heap.core();
            core.damage.is_none() && core.memory.len() == self.len && pool.has_room()
        });
        let heap = heap.and_then(|mut heap| {
            if used {
                // If this is not supported, no limit was set.
                let _supported = heap.limit_inline_allocation(None);
                if !heap.reset(host_data) {
                    return None;
                }
            }
            Some(heap)
        });
        // Code relies on the address space that was made for the heap.
        let heap = heap.filter(|heap| heap.core().memory.is_in(mapping));
        pool.give_back(heap);
    }
}
