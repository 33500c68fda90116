//! [`OnDemand`]: the source that maps memory when it is asked for, and keeps a few reservations.

use super::{Growth, MemoryPurpose, MemoryRequest, MemorySource, Reservation, UsedReservation};
use crate::{HeapError, KeptHeaps};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The usual [`MemorySource`]: takes address space from the system when it is asked for.
///
/// It keeps the last few reservations that it got back, so that a store that is made soon after
/// another was dropped does not pay for mapping memory and for the first touch of its pages. What
/// is kept is cleared when it is given back: a later store never sees the bytes of an earlier one,
/// and they do not stay in memory. Pages that were used are overwritten with zeroes as long as they
/// are few, and given back to the system otherwise. Whatever is kept is unmapped when the source is
/// dropped, and when the system refuses address space or memory.
///
/// Each engine that has this source keeps a few [heaps](MemorySource::keep_heaps) whole, with the
/// tables of their collector. They are dropped with the engine, and when the system refuses.
///
/// ```
/// use gc_runtime::{HeapOptions, OnDemand};
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
        OnDemand { most: reservations, resident, kept: Mutex::default(), heaps: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Reservation>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heaps(&self) -> MutexGuard<'_, Vec<KeptHeaps>> {
        self.heaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is kept back to the system. Returns whether there was anything.
    fn release(&self) -> bool {
        // Their memory comes back here, which must not meet a lock.
        let heaps = self.heaps().clone();
        heaps.iter().for_each(|heaps| _ = heaps.release());
        // The system is called without the lock.
        let kept = std::mem::take(&mut *self.kept());
        !kept.is_empty()
    }

    /// The number of reservations that it keeps now.
    pub fn kept_now(&self) -> usize {
        self.kept().len()
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
                match Reservation::new(request) {
                    // What is kept may be what the system lacks.
                    Err(_) if self.release() => Reservation::new(request),
                    result => result,
                }
            }
        }
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        match growth.commit() {
            // The accessible bytes of what is kept count as used where the system limits them.
            Err(HeapError::NoMemory { .. }) if self.release() => growth.commit(),
            result => result,
        }
    }

    fn give_back(&self, used: UsedReservation) {
        if self.most == 0 || used.request().purpose == MemoryPurpose::NoHeap {
            return;
        }
        let cleared = used.clear(self.resident);
        let mut kept = self.kept();
        let oldest = if kept.len() >= self.most { kept.pop_front() } else { None };
        kept.push_back(cleared);
        // The system is called without the lock.
        drop(kept);
        drop(oldest);
    }

    fn keep_heaps(&self, heaps: KeptHeaps) -> usize {
        if self.most == 0 || self.resident < OnDemand::DEFAULT_RESIDENT {
            return 0;
        }
        let mut all = self.heaps();
        all.retain(KeptHeaps::is_alive);
        all.push(heaps);
        self.most.min(OnDemand::MAX_HEAPS)
    }
}
