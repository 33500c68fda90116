//! [`HeapPool`]: heaps that are handed from store to store.
//!
//! A heap that comes from here has its mappings, its data words and the tables of its collector
//! already, so a store that allocates little pays for nothing else. When the store is dropped, the
//! heap is reset ([`GcHeap::reset`]), unless it was never used, and waits for the next store. It is
//! dropped instead if it cannot be reset, if damage was found in it, or if it has grown: then its
//! tables have grown too, and to make new ones costs less than what grew it.

use crate::{ExternRefHostDataTable, GcHeap, HeapError, HeapMapping, MemoryPurpose};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The heaps of a [`HeapFactory`](crate::HeapFactory) with a pool.
pub(crate) struct HeapPool {
    /// The most heaps that are in use at the same time.
    total: u32,
    heaps: Mutex<Heaps>,
}

#[derive(Default)]
struct Heaps {
    /// Heaps that wait for a store, the last used one last.
    unused: Vec<Box<dyn GcHeap>>,
    /// The number of heaps in use.
    used: u32,
}

impl HeapPool {
    pub(crate) fn new(total: u32) -> HeapPool {
        HeapPool { total, heaps: Mutex::default() }
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

    /// A heap that waits, or the right to make one.
    ///
    /// # Errors
    /// [`HeapError::PoolLimit`] if all are in use.
    pub(crate) fn take(&self) -> Result<Option<Box<dyn GcHeap>>, HeapError> {
        let mut heaps = self.heaps();
        if heaps.used >= self.total {
            let (purpose, limit) = (MemoryPurpose::GcHeap, self.total);
            return Err(HeapError::PoolLimit { purpose, limit });
        }
        heaps.used += 1;
        Ok(heaps.unused.pop())
    }

    /// Takes a heap back that is as new, or only its place.
    pub(crate) fn give_back(&self, heap: Option<Box<dyn GcHeap>>) {
        let mut heaps = self.heaps();
        heaps.used -= 1;
        heaps.unused.extend(heap);
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

    /// Gives the heap, which was made in `mapping`, back to its pool, without its objects, its layouts
    /// and its limiter, which belong to the store. `used` says whether anything may have been written
    /// since the pool gave it. `None` gives only the place back.
    pub(crate) fn give_back(
        self,
        pool: &HeapPool,
        heap: Option<Box<dyn GcHeap>>,
        mapping: &Arc<HeapMapping>,
        used: bool,
        host_data: &mut ExternRefHostDataTable,
    ) {
        let heap = heap.filter(|heap| {
            let core = heap.core();
            core.damage.is_none() && core.no_gc_scopes == 0 && core.memory.len() == self.len
        });
        let heap = heap.and_then(|mut heap| {
            let core = heap.core_mut();
            // A reset must not ask it, and the types may be freed while the heap waits.
            core.limiter = None;
            core.layouts.clear();
            let is_new = !used || heap.reset(host_data);
            is_new.then_some(heap)
        });
        // Code relies on the address space that was made for the heap.
        let heap = heap.filter(|heap| heap.core().memory.is_in(mapping));
        pool.give_back(heap);
    }
}
