//! Heap data: the few words outside the heap that emitted code and a collector
//! share (a bump index, the length of a list). Emitted code finds them through
//! one pointer in its vmctx ([`VMOffsets::vmctx_heap_data`](crate::VMOffsets)).
//!
//! The data of every heap begins with the same words. The words from [`HeapDataOffsets::COLLECTOR`]
//! on belong to the collector, and its file under [`crate::collector`] describes them.

/// Offsets in bytes into a heap's data that are the same for every collector.
///
/// # Examples
/// A collector's own words follow those that all collectors have:
///
/// ```
/// use gc_types::HeapDataOffsets;
/// use gc_types::collector::bump;
///
/// assert_eq!(bump::NEXT, HeapDataOffsets::COLLECTOR);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeapDataOffsets;

impl HeapDataOffsets {
    /// u64: bytes of the heap that are mapped, counted from its base. Emitted code compares
    /// addresses with it if the reservation is too small for unchecked access.
    pub const BOUND: u32 = 0;
    /// u32: number of allocations until the next collection under `gc_zeal`. Inline allocation
    /// decrements it, and takes the slow path if it is at most one. Only code compiled with zeal
    /// reads it.
    pub const ZEAL_COUNTDOWN: u32 = 8;
    /// The offset at which the collector's own words begin. It is aligned to 8 bytes.
    pub const COLLECTOR: u32 = 16;
    /// Bytes of a heap's data.
    pub const SIZE: u32 = 128;
}

const _: () = assert!(
    HeapDataOffsets::COLLECTOR.is_multiple_of(8) && HeapDataOffsets::SIZE.is_multiple_of(8)
);
