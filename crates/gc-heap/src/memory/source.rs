//! [`MemorySource`]: where stores get memory from.
//!
//! Heaps, the tables of collectors, linear memories, tables and the contexts of instances take
//! their memory from the source of their engine. A source decides what is kept, counted, limited
//! or refused. It cannot break a store: it handles address space only as values that this crate
//! makes, so an implementation needs no `unsafe`.

use super::{MappedMemory, Reservation, UsedReservation};
use crate::os;
use crate::{HeapError, KeptHeaps};
use std::fmt;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryPurpose {
    /// A GC heap.
    GcHeap,
    /// In place of the heap of stores that have none. Nothing of it is ever accessible. An engine
    /// asks for it once.
    NoHeap,
    /// A large table of a collector.
    CollectorTable,
    /// A linear memory.
    LinearMemory,
    /// The elements of a large table.
    Table,
    /// The context of an instance, which compiled code reads and writes.
    Instance,
}

impl fmt::Display for MemoryPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemoryPurpose::GcHeap => "a GC heap",
            MemoryPurpose::NoHeap => "the place of heaps that are not made yet",
            MemoryPurpose::CollectorTable => "a table of a collector",
            MemoryPurpose::LinearMemory => "a linear memory",
            MemoryPurpose::Table => "a table",
            MemoryPurpose::Instance => "an instance",
        })
    }
}

/// A request for address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRequest {
    /// What it is for.
    pub purpose: MemoryPurpose,
    /// Bytes of address space, guards included.
    pub size: usize,
    /// Bytes at the start that are never accessible, a multiple of the page size.
    pub unmapped: usize,
    /// Bytes after those that are accessible from the start. Rounded up to pages.
    pub initial: usize,
    /// A number of who asks, such as a module's memory. A source that keeps address space may prefer
    /// what the same one had before. 0 is nobody in particular.
    pub affinity: u64,
}

impl MemoryRequest {
    /// The error of a source that refuses it.
    pub fn refused(&self, why: impl fmt::Display) -> HeapError {
        let (bytes, why) = (self.size as u64, why.to_string());
        HeapError::NoMemory { purpose: self.purpose, bytes, why }
    }

    /// `initial` in whole pages.
    pub fn accessible(&self) -> usize {
        whole_pages(self.initial)
    }

    /// `size` in whole pages.
    pub(super) fn reserved(&self) -> usize {
        whole_pages(self.size)
    }

    /// Refuses a start that is not in whole pages, and more initial bytes than have room.
    pub(super) fn check(&self) -> Result<(), HeapError> {
        if !self.unmapped.is_multiple_of(os::page_size()) {
            return Err(self.refused(format_args!(
                "{} bytes at its start should stay unmapped, which are not whole pages",
                self.unmapped
            )));
        }
        let limit = self.reserved().saturating_sub(self.unmapped);
        if self.accessible() > limit {
            let (bytes, limit) = (self.initial as u64, limit as u64);
            return Err(HeapError::OutOfMemory { bytes, limit });
        }
        Ok(())
    }
}

/// The bytes of the pages for `bytes` bytes. No system has as many as the largest number.
fn whole_pages(bytes: usize) -> usize {
    let page = os::page_size();
    bytes.checked_next_multiple_of(page).unwrap_or(usize::MAX / page * page)
}

/// Bytes that are to become accessible.
#[derive(Clone, Copy, Debug)]
pub struct Growth<'a> {
    pub(super) memory: &'a MappedMemory,
    pub(super) to: usize,
}

impl Growth<'_> {
    /// What the memory is for.
    pub fn purpose(&self) -> MemoryPurpose {
        self.memory.request().purpose
    }

    /// Bytes that are accessible now.
    pub fn from(&self) -> usize {
        self.memory.accessible()
    }

    /// Bytes that will be accessible.
    pub fn to(&self) -> usize {
        self.to
    }

    /// The error of a source that refuses it.
    pub fn refused(&self, why: impl fmt::Display) -> HeapError {
        let (bytes, why) = ((self.to - self.from()) as u64, why.to_string());
        HeapError::NoMemory { purpose: self.purpose(), bytes, why }
    }

    /// Makes them accessible. After an error, a source can release memory and try again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn commit(self) -> Result<(), HeapError> {
        self.memory.commit(self.to)
    }
}

/// Where stores get memory from. One source can serve many engines and threads.
///
/// # The duties of a `MemorySource`
/// 1. [`reserve`](MemorySource::reserve) returns a reservation that
///    [fits](Reservation::fits) the request, or an error. The store stays usable after an error,
///    and may ask again.
/// 2. No method panics, because some are called in the middle of an allocation. If one does in the
///    middle of a collection, the heap is refused until it is reset
///    ([`GcStore::check_usable`](crate::GcStore::check_usable)).
///
/// # Examples
/// A source that keeps nothing, and refuses heaps above a number:
///
/// ```
/// use gc_heap::{
///     GcStore, HeapError, HeapOptions, MemoryPurpose, MemoryRequest, MemorySource, Reservation,
///     UsedReservation, toy::ToyCollector,
/// };
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
///
/// #[derive(Debug, Default)]
/// struct TwoHeaps(AtomicUsize);
///
/// impl MemorySource for TwoHeaps {
///     fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
///         if request.purpose == MemoryPurpose::GcHeap && self.0.fetch_add(1, Relaxed) >= 2 {
///             self.0.fetch_sub(1, Relaxed);
///             return Err(request.refused("there are two heaps"));
///         }
///         Reservation::new(request)
///     }
///
///     fn give_back(&self, used: UsedReservation) {
///         if used.request().purpose == MemoryPurpose::GcHeap {
///             self.0.fetch_sub(1, Relaxed);
///         }
///     }
/// }
///
/// let options = HeapOptions { memory: Arc::new(TwoHeaps::default()), ..HeapOptions::default() };
/// let heap = || GcStore::new(&ToyCollector, &options);
/// let (one, two) = (heap()?, heap()?);
/// assert!(heap().unwrap_err().to_string().contains("two heaps"));
/// drop(one);
/// assert!(heap().is_ok());
/// # drop(two);
/// # Ok::<(), HeapError>(())
/// ```
pub trait MemorySource: Send + Sync + fmt::Debug {
    /// Gives address space. [`Reservation::new`] reserves it from the system.
    ///
    /// # Errors
    /// If there is none.
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError>;

    /// Makes more bytes of a reservation accessible, by [`Growth::commit`]. Called for the initial
    /// bytes too, unless they are accessible. If it fails, nothing changes: bytes that it has made
    /// accessible are given back.
    ///
    /// # Errors
    /// If the source or the system refuses.
    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        growth.commit()
    }

    /// Takes back what [`reserve`](MemorySource::reserve) gave. To drop it is to give it back to
    /// the system.
    fn give_back(&self, used: UsedReservation);

    /// Called for an engine without a pool of heaps, before its first heap is made. Returns how many
    /// heaps the engine may keep for its next stores, with their memory and the tables of their
    /// collector, when stores are dropped. Each has at most [`OnDemand::DEFAULT_RESIDENT`](crate::OnDemand::DEFAULT_RESIDENT)
    /// bytes of physical memory, and tables. What is kept is given back to this source when
    /// `heaps` is [released](KeptHeaps::release), which may be done at any time, and when the engine
    /// is dropped. The provided method allows none.
    fn keep_heaps(&self, heaps: KeptHeaps) -> usize {
        let _ = heaps;
        0
    }

    /// Called before `bytes` more bytes are allocated that are too few for pages of their own: the
    /// context of an instance, or a small table. Their memory is the allocator's
    /// ([`Admission`](crate::Admission)).
    ///
    /// # Errors
    /// If the source refuses.
    fn admit(&self, purpose: MemoryPurpose, bytes: usize) -> Result<(), HeapError> {
        let _ = (purpose, bytes);
        Ok(())
    }

    /// Called when `bytes` bytes that were [admitted](MemorySource::admit) have been freed.
    fn freed(&self, purpose: MemoryPurpose, bytes: usize) {
        let _ = (purpose, bytes);
    }
}
