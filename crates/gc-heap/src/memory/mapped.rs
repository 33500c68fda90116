//! [`MappedMemory`]: address space in use.
#![allow(unsafe_code)]

use super::reservation::{Base, Space, UsedReservation};
use super::{Growth, MemoryRequest, MemorySource};
use crate::HeapError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory from a [`MemorySource`] at an address that never changes. The accessible bytes follow the
/// unmapped ones of the request, are zero at first, and only become more. Dropping it gives it back
/// to its source.
///
/// # Examples
/// ```
/// use gc_heap::{MappedMemory, MemoryPurpose, MemoryRequest, MemorySource, OnDemand};
/// use std::sync::Arc;
///
/// let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
/// let request = MemoryRequest {
///     purpose: MemoryPurpose::LinearMemory,
///     size: 1 << 32,
///     unmapped: 0,
///     initial: 64 << 10,
///     affinity: 0,
/// };
/// let mut memory = MappedMemory::new(&source, request)?;
/// memory.bytes_mut()[7] = 1;
/// memory.grow(128 << 10)?;
/// assert_eq!((memory.bytes()[7], memory.bytes().len()), (1, 128 << 10));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct MappedMemory {
    pub(super) base: Base,
    /// The bytes that may be accessed. Those that the space has beyond them are of a growth that
    /// the source has not yet granted.
    accessible: AtomicUsize,
    request: MemoryRequest,
    /// Taken when this is dropped.
    space: Mutex<Option<Space>>,
    source: Arc<dyn MemorySource>,
}

impl MappedMemory {
    /// Takes memory from `source` and makes its initial bytes accessible.
    ///
    /// # Errors
    /// If the source or the system refuses, the source gives what does not fit the request, or the
    /// request's unmapped and initial bytes are more than its size.
    pub fn new(
        source: &Arc<dyn MemorySource>,
        request: MemoryRequest,
    ) -> Result<MappedMemory, HeapError> {
        request.check()?;
        let mut reservation = source.reserve(&request)?;
        if !reservation.fits(&request) {
            return Err(request.refused("the memory source gave what was not asked for"));
        }
        let cut = reservation.cut_to(&request);
        let space = reservation.0;
        let memory = MappedMemory {
            base: space.base,
            accessible: AtomicUsize::new(space.accessible),
            request,
            space: Mutex::new(Some(space)),
            source: source.clone(),
        };
        // From here on an error gives the memory back.
        cut?;
        memory.grow(request.initial)?;
        Ok(memory)
    }

    /// What was asked for.
    pub fn request(&self) -> &MemoryRequest {
        &self.request
    }

    /// Where it comes from.
    pub fn source(&self) -> &Arc<dyn MemorySource> {
        &self.source
    }

    /// Address of the first byte of the address space. Constant.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base.0.as_ptr()
    }

    /// The number of accessible bytes.
    #[inline]
    pub fn accessible(&self) -> usize {
        self.accessible.load(Relaxed)
    }

    /// Makes `to` bytes accessible, unless that many are. Rounded up to pages. New bytes are zero.
    ///
    /// # Errors
    /// If the source or the system refuses, or fewer bytes are reserved. Then nothing
    /// changes.
    pub fn grow(&self, to: usize) -> Result<(), HeapError> {
        if to <= self.accessible() {
            return Ok(());
        }
        let to = MemoryRequest { initial: to, ..self.request }.accessible();
        let growth = Growth { memory: self, to };
        let committing = Committing(self);
        self.source.commit(growth)?;
        if !self.grant(to) {
            return Err(growth.refused("the memory source did not make it accessible"));
        }
        drop(committing);
        Ok(())
    }

    /// Makes `to` bytes accessible, a whole number of pages. They must not be accessed before they
    /// are [granted](MappedMemory::grant).
    pub(super) fn commit(&self, to: usize) -> Result<(), HeapError> {
        self.take_back()?;
        self.with_space(|space| match to > space.accessible {
            true => space.grow(to, self.request.purpose),
            false => Ok(()),
        })
    }

    /// Lets `to` bytes be accessed. Returns whether the source has made them accessible.
    fn grant(&self, to: usize) -> bool {
        self.with_space(|space| {
            let committed = to <= space.accessible;
            if committed {
                self.accessible.fetch_max(to, Relaxed);
            }
            committed
        })
    }

    /// Makes the bytes inaccessible and zero again that were committed and not granted.
    fn take_back(&self) -> Result<(), HeapError> {
        self.with_space(|space| space.shrink(self.accessible(), self.request.purpose))
    }

    /// Makes all accessible bytes zero. Keeps at most `keep` bytes of their pages in physical memory.
    ///
    /// # Safety
    /// Nobody holds references to the bytes.
    pub(super) unsafe fn clear(&self, keep: usize) {
        self.with_space(|space| space.clear(keep));
    }

    fn with_space<R>(&self, use_it: impl FnOnce(&mut Space) -> R) -> R {
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(space.as_mut().expect("taken only when this is dropped"))
    }

    /// Address of the first accessible byte. Constant.
    pub fn start(&self) -> *mut u8 {
        self.base.0.as_ptr().wrapping_add(self.request.unmapped)
    }

    /// The accessible bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: they are accessible as long as `self` lives, and initialised. Whoever gives their
        // address to compiled code does not run it while they are borrowed.
        unsafe { std::slice::from_raw_parts(self.start(), self.accessible()) }
    }

    /// The accessible bytes, mutable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.accessible()) }
    }
}

/// Memory whose source is asked for more. However the source ends, what it committed and did not
/// grant is given back.
struct Committing<'a>(&'a MappedMemory);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        // If the system refuses, the bytes are zero, and the next growth begins with the same.
        if let Err(error) = self.0.take_back() {
            log::warn!("giving back memory whose growth was refused: {error}");
        }
    }
}

#[cfg(test)]
impl MappedMemory {
    /// Takes the address space.
    pub(super) fn take(mut self) -> UsedReservation {
        let space = self.space.get_mut().unwrap().take().unwrap();
        UsedReservation(space, self.request)
    }
}

impl Drop for MappedMemory {
    fn drop(&mut self) {
        let space = self.space.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(space) = space {
            self.source.give_back(UsedReservation(space, self.request));
        }
    }
}
