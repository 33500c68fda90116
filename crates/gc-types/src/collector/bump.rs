//! The two heap-data words of every collector that allocates by bumping an index. Emitted code
//! allocates inline between them. Bytes from `NEXT` up to `LIMIT` are mapped, zero, and used for
//! nothing else. While both words are zero, as in new heap data, nothing is allocated inline. A heap's
//! memory refuses bounds that are not mapped.

use crate::HeapDataOffsets;

/// Heap data, u32: index of the next object.
pub const NEXT: u32 = HeapDataOffsets::COLLECTOR;

/// Heap data, u32: the index that no object may pass. An object of `size` bytes fits if `NEXT +
/// size <= LIMIT`, computed in 64 bits.
pub const LIMIT: u32 = HeapDataOffsets::COLLECTOR + 4;
