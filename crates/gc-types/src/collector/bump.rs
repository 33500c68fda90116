//! What every collector that allocates by bumping an index shares: two heap-data
//! words, between which emitted code allocates inline. Bytes from `NEXT` up to
//! `LIMIT` are mapped, zero, and nobody else's. While both are zero, as in new heap data,
//! nothing is allocated inline.

use crate::HeapDataOffsets;

/// Heap data, u32: index of the next object.
pub const NEXT: u32 = HeapDataOffsets::COLLECTOR;

/// Heap data, u32: index no object may pass. An object of `size` bytes fits if
/// `NEXT + size <= LIMIT`, computed in 64 bits.
pub const LIMIT: u32 = HeapDataOffsets::COLLECTOR + 4;
