//! `drc`: deferred reference counting (Deutsch and Bobrow 1976).
//!
//! The collector's header word is `count << COUNT_SHIFT | flags`. Counts are of
//! references in the heap, in tables, globals and host handles, plus one for
//! membership in the over-approximated stack root set, a chunk of native memory
//! that emitted code appends to.

use crate::HeapDataOffsets;

/// The name it is registered under.
pub const NAME: &str = "drc";

/// Header flag: the object is in the root set (which counts as one reference).
pub const IN_ROOT_SET: u32 = 1 << 0;
/// Header flag: found on the stack by the collection under way.
pub const MARKED: u32 = 1 << 1;
/// The count's lowest bit. 30 bits hold all the references that a heap of
/// [`MAX_HEAP_SIZE`] bytes and [`MAX_NATIVE_REFS`] slots outside of it can.
pub const COUNT_SHIFT: u32 = 2;
/// What one reference adds to the collector's header word.
pub const COUNT_ONE: u32 = 1 << COUNT_SHIFT;

/// References outside the heap and the stack (in tables, globals, segments and host
/// handles) are fewer than this: the embedder sees to it.
pub const MAX_NATIVE_REFS: u64 = 1 << 28;

/// The most bytes a heap may use, so that no count can overflow, however many
/// references are to one object.
pub const MAX_HEAP_SIZE: u64 = ((1 << (32 - COUNT_SHIFT)) - MAX_NATIVE_REFS) * 4;

const _: () = assert!(MAX_HEAP_SIZE == 3 << 30);

/// Heap data, u64: address of the root set's chunk, an array of u32 references.
pub const ROOT_SET_BASE: u32 = HeapDataOffsets::COLLECTOR;
/// Heap data, u32: number of references in the chunk.
pub const ROOT_SET_LEN: u32 = HeapDataOffsets::COLLECTOR + 8;
/// Heap data, u32: number of references the chunk has room for. Zero before the
/// first reference reaches the stack: the chunk is allocated lazily.
pub const ROOT_SET_CAPACITY: u32 = HeapDataOffsets::COLLECTOR + 12;

/// [`HostCall::COLLECTOR`](crate::HostCall::COLLECTOR) operation: the reference's
/// count reached zero and it is not in the root set: free it and what dies with it.
pub const OP_DEAD: u32 = 0;
/// [`HostCall::COLLECTOR`](crate::HostCall::COLLECTOR) operation: append the
/// reference to the root set, whose chunk is full, flag it and count it.
pub const OP_ROOT_SET_FULL: u32 = 1;
