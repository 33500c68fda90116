//! `null`: bump allocation that never collects. Emitted code allocates inline
//! between `NEXT` and `LIMIT`; header bits are all zero.

use crate::HeapDataOffsets;

/// The name it is registered under.
pub const NAME: &str = "null";

/// Heap data, u32: index of the next object.
pub const NEXT: u32 = HeapDataOffsets::COLLECTOR;

/// Heap data, u32: index no object may pass. An object of `size` bytes fits if
/// `NEXT + size <= LIMIT`, computed in 64 bits. What lies between is zero.
pub const LIMIT: u32 = HeapDataOffsets::COLLECTOR + 4;
