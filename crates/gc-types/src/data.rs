//! Heap data: the few words outside the heap that emitted code and a collector
//! share (a bump index, the length of a list). Emitted code finds them through
//! one pointer in its vmctx ([`VMOffsets::vmctx_heap_data`](crate::VMOffsets)).
//!
//! Every heap's data begins alike; what is behind [`HeapDataOffsets::COLLECTOR`]
//! belongs to the collector and stands in its file under [`crate::collector`].

/// Offsets in bytes into a heap's data that are the same for every collector.
#[derive(Clone, Copy, Debug)]
pub struct HeapDataOffsets;

impl HeapDataOffsets {
    /// u64: bytes of the heap that are mapped, counted from its base. Emitted
    /// code compares against it when the reservation is too small to go unchecked.
    pub const BOUND: u32 = 0;
    /// u32: the how many-th allocation from now on collects, as `gc_zeal` asks.
    /// Inline allocation counts it down and takes its slow path unless it is more
    /// than one. Only code compiled with zeal looks at it.
    pub const ZEAL_COUNTDOWN: u32 = 8;
    /// Where the collector's own words begin (8-byte aligned).
    pub const COLLECTOR: u32 = 16;
    /// Bytes of a heap's data.
    pub const SIZE: u32 = 128;
}

const _: () = assert!(
    HeapDataOffsets::COLLECTOR.is_multiple_of(8) && HeapDataOffsets::SIZE.is_multiple_of(8)
);
