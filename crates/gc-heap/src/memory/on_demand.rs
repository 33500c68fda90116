//! [`OnDemand`]: the source that maps memory when it is asked for, and keeps a few reservations.

use super::{Growth, MemoryPurpose, MemoryRequest, MemorySource, Reservation, UsedReservation};
use crate::{HeapError, KeptHeaps};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The usual [`MemorySource`]: takes address space from the system when it is asked for.
///
/// It keeps the last few reservations that it got back, so that a store that is made soon after
/// another was dropped does not pay for mapping memory and for the first touch of its pages. What
/// is kept is cleared when it is given back: a later store never sees the bytes of an earlier one,
/// and they do not stay in memory. Pages that were used are overwritten with zeroes as long as they
/// are few, and given back to the system otherwise. Whatever is kept is unmapped when the source is
/// dropped, and when the system refuses address space or memory. Then the source asks the system once
/// more, and keeps nothing that other threads give back meanwhile. So threads that share the source
/// are refused only what the system would refuse if nothing were kept.
///
/// Each engine that has this source keeps a few [heaps](MemorySource::keep_heaps) whole, with the
/// tables of their collector. They are dropped with the engine, and when the system refuses.
///
/// ```
/// use gc_heap::{HeapOptions, OnDemand};
/// use std::sync::Arc;
///
/// // A source that keeps nothing.
/// let options = HeapOptions { memory: Arc::new(OnDemand::keeping(0, 0)), ..HeapOptions::default() };
/// ```
#[derive(Debug)]
pub struct OnDemand {
    most: usize,
    resident: usize,
    /// The oldest first.
    kept: Mutex<VecDeque<Reservation>>,
    /// The heaps that engines keep.
    heaps: Mutex<Vec<KeptHeaps>>,
    /// The number of threads that the system has refused and that ask it once more. Unless it is 0,
    /// nothing is kept.
    refused: Arc<AtomicUsize>,
    /// Locked by the one of them that releases what is kept and asks.
    asking: Mutex<()>,
}

impl OnDemand {
    /// The number of reservations that the default source keeps.
    pub const DEFAULT_KEPT: usize = 16;

    /// The most bytes of physical memory that each of them has.
    pub const DEFAULT_RESIDENT: usize = 128 << 10;

    /// The most heaps that an engine with this source keeps whole.
    pub const MAX_HEAPS: usize = 4;

    /// A source that keeps at most `reservations`, each with at most `resident` bytes of physical
    /// memory. So it has at most the product of both. The address space of a reservation is that of
    /// a heap or a memory, which may be some GiB.
    ///
    /// In addition, each engine keeps as many heaps, at most [`MAX_HEAPS`](OnDemand::MAX_HEAPS), and
    /// none if `resident` is less than [`DEFAULT_RESIDENT`](OnDemand::DEFAULT_RESIDENT), which is what
    /// each of them may have.
    pub fn keeping(reservations: usize, resident: usize) -> OnDemand {
        OnDemand {
            most: reservations,
            resident,
            kept: Mutex::default(),
            heaps: Mutex::default(),
            refused: Arc::default(),
            asking: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Reservation>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heaps(&self) -> MutexGuard<'_, Vec<KeptHeaps>> {
        self.heaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is kept back to the system.
    fn release(&self) {
        // Their memory comes back here, which must not meet a lock of what is kept.
        let heaps = self.heaps().clone();
        heaps.iter().for_each(|heaps| _ = heaps.release());
        // The system is called without the lock.
        drop(std::mem::take(&mut *self.kept()));
    }

    /// Asks the system once more after it has refused, when nothing is kept: what is kept may be what
    /// the system lacks.
    fn once_more<R>(&self, ask: impl FnOnce() -> Result<R, HeapError>) -> Result<R, HeapError> {
        let _refused = Refused::new(&self.refused);
        // What another thread has taken to release it is released when that thread unlocks this.
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.release();
        ask()
    }

    /// The number of reservations that it keeps now.
    pub fn kept_now(&self) -> usize {
        self.kept().len()
    }
}

/// Counts a thread that the system has refused.
struct Refused<'a>(&'a AtomicUsize);

impl Refused<'_> {
    fn new(count: &AtomicUsize) -> Refused<'_> {
        // Whoever keeps something reads it under the lock under which that is released. So either
        // they read this, or what they keep is released.
        count.fetch_add(1, Relaxed);
        Refused(count)
    }
}

impl Drop for Refused<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for OnDemand {
    /// Keeps [`DEFAULT_KEPT`](OnDemand::DEFAULT_KEPT) reservations with at most
    /// [`DEFAULT_RESIDENT`](OnDemand::DEFAULT_RESIDENT) bytes each.
    fn default() -> OnDemand {
        OnDemand::keeping(OnDemand::DEFAULT_KEPT, OnDemand::DEFAULT_RESIDENT)
    }
}

impl MemorySource for OnDemand {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let mut kept = self.kept();
        // The last is the most likely to be in a cache.
        match kept.iter().rposition(|reservation| reservation.fits(request)) {
            Some(place) => Ok(kept.remove(place).expect("there is one")),
            None => {
                drop(kept);
                Reservation::new(request).or_else(|_| self.once_more(|| Reservation::new(request)))
            }
        }
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        match growth.commit() {
            // The accessible bytes of what is kept count as used where the system limits them.
            Err(HeapError::NoMemory { .. }) => self.once_more(|| growth.commit()),
            result => result,
        }
    }

    fn give_back(&self, used: UsedReservation) {
        if self.most == 0 || used.request().purpose == MemoryPurpose::NoHeap {
            return;
        }
        if self.refused.load(Relaxed) > 0 {
            return;
        }
        let cleared = used.clear(self.resident);
        let mut kept = self.kept();
        let surplus = if self.refused.load(Relaxed) > 0 {
            Some(cleared)
        } else {
            kept.push_back(cleared);
            if kept.len() > self.most { kept.pop_front() } else { None }
        };
        // The system is called without the lock.
        drop(kept);
        drop(surplus);
    }

    fn keep_heaps(&self, heaps: KeptHeaps) -> usize {
        if self.most == 0 || self.resident < OnDemand::DEFAULT_RESIDENT {
            return 0;
        }
        heaps.keep_none_while(&self.refused);
        let mut all = self.heaps();
        all.retain(KeptHeaps::is_alive);
        all.push(heaps);
        self.most.min(OnDemand::MAX_HEAPS)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::toy::ToyCollector;
    use crate::{GcStore, HeapFactory, HeapOptions, MappedMemory};

    /// What was kept before is released, and what others give back meanwhile is not kept.
    #[test]
    fn nothing_is_kept_while_the_system_is_asked_once_more() {
        let source = Arc::new(OnDemand::default());
        let erased: Arc<dyn MemorySource> = source.clone();
        let options = HeapOptions { memory: erased.clone(), ..HeapOptions::default() };
        let factory = HeapFactory::new(Arc::new(ToyCollector), &options).unwrap();
        let factory = Arc::new(factory);
        let make = || {
            let mut store = GcStore::lazy(&factory);
            store.ensure_heap().unwrap();
            let purpose = MemoryPurpose::LinearMemory;
            let request =
                MemoryRequest { purpose, size: 1 << 20, unmapped: 0, initial: 1, affinity: 0 };
            (store, MappedMemory::new(&erased, request).unwrap())
        };
        let kept = || (factory.kept_heaps(), source.kept_now());
        let (used, unused) = (make(), make());
        drop(unused);
        assert_eq!(kept(), (1, 1));
        let asked = source.once_more(|| {
            assert_eq!(kept(), (0, 0));
            drop((used, make()));
            assert_eq!(kept(), (0, 0));
            Ok(())
        });
        asked.unwrap();
        drop(make());
        assert_eq!(kept(), (1, 1));
    }
}
