//! [`Reservation`] and [`UsedReservation`]: address space that is not in use.
//!
//! The two types keep the promise that no store sees the bytes of an earlier one: memory that was
//! used is a `UsedReservation`, only a `Reservation` can be used, and the one becomes the other
//! only by [`clear`](UsedReservation::clear).
#![allow(unsafe_code)]

use super::{MemoryPurpose, MemoryRequest};
use crate::HeapError;
use crate::os;
use std::fmt;
use std::ptr::NonNull;

/// The error for what the system refuses.
fn refused(purpose: MemoryPurpose, bytes: usize, error: impl fmt::Display) -> HeapError {
    let why = format!("the system refused it: {error}");
    HeapError::NoMemory { purpose, bytes: bytes as u64, why }
}

/// The number of pages that are examined when a reservation is cleared. The others are given back.
/// Stores that live shortly use the first pages.
const EXAMINED: usize = 64;

/// The number of runs of adjacent pages that are kept. Each may need a call of the system.
const RUNS: usize = 8;

/// The address of a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base(pub(super) NonNull<u8>);

// SAFETY: it is only an address, and mappings are not bound to a thread.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

/// The address space behind all types of this folder. Bytes `unmapped..unmapped + accessible` can
/// be accessed.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) base: Base,
    pub(super) size: usize,
    pub(super) unmapped: usize,
    pub(super) accessible: usize,
    /// Bytes of physical memory that the last clearing has left.
    pub(super) resident: usize,
}

impl Space {
    fn first(&self) -> *mut u8 {
        // Inside the reservation, or at its end.
        self.base.0.as_ptr().wrapping_add(self.unmapped)
    }

    /// Refuses more accessible bytes than are reserved for them.
    pub(super) fn check(&self, accessible: usize) -> Result<(), HeapError> {
        let limit = self.size.saturating_sub(self.unmapped);
        if accessible > limit {
            let (bytes, limit) = (accessible as u64, limit as u64);
            return Err(HeapError::OutOfMemory { bytes, limit });
        }
        Ok(())
    }

    /// Makes `accessible` bytes accessible, a multiple of the page size, unless that many are. The
    /// new ones are zero.
    pub(super) fn grow(
        &mut self,
        accessible: usize,
        purpose: MemoryPurpose,
    ) -> Result<(), HeapError> {
        self.check(accessible)?;
        let bytes = accessible.saturating_sub(self.accessible);
        if bytes > 0 {
            let at = self.first().wrapping_add(self.accessible);
            // SAFETY: the range is in the reservation, as was checked, and was not accessible.
            unsafe { os::commit(at, bytes) }.map_err(|error| refused(purpose, bytes, error))?;
            self.accessible = accessible;
        }
        Ok(())
    }

    /// Makes bytes inaccessible and zero, unless no more than `accessible` are accessible, a multiple
    /// of the page size. Only for bytes that are not in use.
    pub(super) fn shrink(
        &mut self,
        accessible: usize,
        purpose: MemoryPurpose,
    ) -> Result<(), HeapError> {
        let bytes = self.accessible.saturating_sub(accessible);
        if bytes > 0 {
            let at = self.first().wrapping_add(accessible);
            // SAFETY: the range is accessible, and nobody uses it: in `Reservation` and
            // `UsedReservation` the space belongs to no store, and `MappedMemory` passes the bytes
            // to which it has given no access.
            unsafe { os::decommit(at, bytes) }.map_err(|error| refused(purpose, bytes, error))?;
            self.accessible = accessible;
        }
        Ok(())
    }

    /// Makes all accessible bytes zero. Keeps at most `keep` bytes of their pages in physical
    /// memory.
    ///
    /// Pages near the start that are in memory are written with zeroes, as far as `keep` allows.
    /// All other pages are given back, also those that seem never to have been used: the system does
    /// not distinguish them from those it has swapped out.
    pub(super) fn clear(&mut self, keep: usize) {
        let page = os::page_size();
        let mut pages = [0_u8; EXAMINED];
        let count = (self.accessible / page).min(EXAMINED);
        // SAFETY: the range is accessible, and there is an entry for each page.
        let known = count > 0
            && keep >= page
            && unsafe { os::resident(self.first(), count * page, &mut pages[..count]) };
        let pages = if known { &pages[..count] } else { &[] };
        let (mut left, mut done) = (keep / page, 0);
        for _run in 0..RUNS {
            let rest = &pages[done..];
            let skip = rest.iter().take_while(|page| **page & 1 == 0).count();
            let run = rest[skip..].iter().take(left).take_while(|page| **page & 1 == 1).count();
            if run == 0 {
                break;
            }
            self.give_pages_back(done * page, skip * page);
            // SAFETY: the range is accessible, and nobody uses it.
            unsafe { self.first().add((done + skip) * page).write_bytes(0, run * page) };
            left -= run;
            done += skip + run;
        }
        self.resident = (keep / page - left) * page;
        self.give_pages_back(done * page, self.accessible - done * page);
    }

    fn give_pages_back(&mut self, at: usize, bytes: usize) {
        if bytes > 0 {
            // SAFETY: the range is accessible and nobody uses it, because it belongs to no store.
            unsafe { os::zero(self.first().add(at), bytes) };
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: this is the whole reservation, and it belongs to this value alone.
        unsafe { os::release(self.base.0, self.size) }
    }
}

/// Address space that can be used: each of its bytes is inaccessible or zero. It is unmapped when
/// it is dropped.
///
/// # Examples
/// ```
/// use gc_heap::{MemoryPurpose, MemoryRequest, Reservation};
///
/// let request =
///     MemoryRequest { purpose: MemoryPurpose::GcHeap, size: 1 << 32, unmapped: 64 << 10, initial: 0, affinity: 0 };
/// let reservation = Reservation::new(&request)?;
/// assert!(reservation.fits(&request));
/// assert!(!reservation.fits(&MemoryRequest { size: 1 << 33, ..request }));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Reservation(pub(super) Space);

impl Reservation {
    /// Reserves address space from the system. Nothing of it is accessible.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let size = request.reserved();
        let base = os::reserve(size).map_err(|error| refused(request.purpose, size, error))?;
        let base = Base(base);
        Ok(Reservation(Space {
            base,
            size,
            unmapped: request.unmapped,
            accessible: 0,
            resident: 0,
        }))
    }

    /// Whether it is what `request` asks for: of the same size, with as many unmapped bytes.
    pub fn fits(&self, request: &MemoryRequest) -> bool {
        (self.0.size, self.0.unmapped) == (request.reserved(), request.unmapped)
    }

    /// Makes no more bytes accessible than the request's initial ones.
    pub(super) fn cut_to(&mut self, request: &MemoryRequest) -> Result<(), HeapError> {
        self.0.shrink(request.accessible(), request.purpose)
    }

    /// Bytes of address space.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Bytes of physical memory that it has since it was [cleared](UsedReservation::clear).
    pub fn resident(&self) -> usize {
        self.0.resident
    }

    /// Bytes that are accessible, and zero. The system uses no physical memory for those that were
    /// never written.
    pub fn accessible(&self) -> usize {
        self.0.accessible
    }
}

/// Address space that was used, and may have the bytes of a store. It is unmapped when it is
/// dropped.
#[derive(Debug)]
pub struct UsedReservation(pub(super) Space, pub(super) MemoryRequest);

impl UsedReservation {
    /// The request that it was given for.
    pub fn request(&self) -> &MemoryRequest {
        &self.1
    }

    /// Bytes of address space.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Bytes that are accessible.
    pub fn accessible(&self) -> usize {
        self.0.accessible
    }

    /// Makes it as it was when it was first used: as many bytes are accessible, and all of them are
    /// zero. At most `keep` bytes of it stay in physical memory.
    pub fn clear(self, keep: usize) -> Reservation {
        let UsedReservation(mut space, request) = self;
        let accessible = request.accessible().min(space.accessible);
        // If the system refuses, the bytes stay accessible and are cleared with the others.
        let _refused = space.shrink(accessible, request.purpose);
        space.clear(keep);
        Reservation(space)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::{MappedMemory, MemorySource, OnDemand};
    use std::sync::Arc;

    /// What is kept has at most the physical memory that was asked for, and its bytes are zero,
    /// whichever pages were used.
    #[test]
    fn cleared_memory_is_zero_and_small() {
        let (page, pages) = (os::page_size(), 3 * EXAMINED);
        let source: Arc<dyn MemorySource> = Arc::new(OnDemand::keeping(0, 0));
        let everything: Vec<usize> = (0..pages).collect();
        let every_third: Vec<usize> = (0..pages).step_by(3).collect();
        for used in [&[][..], &[0], &[5, 6, 7, pages - 1], &every_third, &everything] {
            for keep in [0, page, 4 * page, 1 << 30] {
                let request = MemoryRequest {
                    purpose: MemoryPurpose::GcHeap,
                    size: 4 * pages * page,
                    unmapped: 16 * page,
                    initial: pages * page,
                    affinity: 0,
                };
                let mut memory = MappedMemory::new(&source, request).unwrap();
                used.iter().for_each(|n| memory.bytes_mut()[n * page + 9] = 1);
                memory.grow(2 * pages * page).unwrap();
                memory.bytes_mut()[2 * pages * page - 1] = 1;
                let reservation = memory.take().clear(keep);
                assert_eq!(reservation.accessible(), pages * page);
                let mut resident = vec![0; pages];
                let first = reservation.0.first();
                // SAFETY: the range is accessible, and there is an entry for each page.
                assert!(unsafe { os::resident(first, pages * page, &mut resident) });
                let counted = reservation.resident();
                let resident = resident.iter().filter(|page| **page & 1 == 1).count();
                assert!(resident <= keep / page && resident <= used.len(), "{keep}: {resident}");
                assert_eq!(counted, resident * page);
                // SAFETY: the range is accessible, and nobody writes it.
                let bytes = unsafe { std::slice::from_raw_parts(first, pages * page) };
                assert!(bytes.iter().all(|byte| *byte == 0));
            }
        }
    }
}
