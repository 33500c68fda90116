//! `drc`: deferred reference counting (Deutsch and Bobrow 1976) of what survived a
//! collection. Emitted code allocates inline between the words of
//! [`bump`](super::bump).
//!
//! The collector's header word is `count << COUNT_SHIFT | flags`, zero in a new
//! object. Counts are of references in mature objects, in tables, globals and host
//! handles; references on the stack and in young objects are not counted.

use crate::HeapDataOffsets;

pub use super::bump::{LIMIT, NEXT};

/// The name it is registered under.
pub const NAME: &str = "drc";

/// Header flag: the object survived a collection, and the references in it are
/// counted.
pub const MATURE: u32 = 1 << 0;
/// Header flag: the object is in the list that the next collection goes through.
pub const LISTED: u32 = 1 << 1;
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

/// Heap data, u64: where emitted code notes what it allocated. The byte at
/// `STARTS + (index >> STARTS_SHIFT)`, wrapping, is set to 1 for an object at `index`.
pub const STARTS: u32 = HeapDataOffsets::COLLECTOR + 8;
/// log2 of the bytes of heap that one byte of these notes stands for.
pub const STARTS_SHIFT: u32 = 3;

/// Heap data, u64: address of the list, an array of u32 references. In it are young
/// objects that were counted up, and mature ones whose count reached zero.
pub const LIST_BASE: u32 = HeapDataOffsets::COLLECTOR + 16;
/// Heap data, u32: number of references in the list.
pub const LIST_LEN: u32 = HeapDataOffsets::COLLECTOR + 24;
/// Heap data, u32: number of references the list has room for. Zero before the
/// first one enters it: its memory is allocated lazily.
pub const LIST_CAPACITY: u32 = HeapDataOffsets::COLLECTOR + 28;

/// [`HostCall::COLLECTOR`](crate::HostCall::COLLECTOR) operation: append the
/// reference to the list, whose memory is full, and flag it.
pub const OP_LIST: u32 = 0;

const _: () = assert!(STARTS.is_multiple_of(8) && LIST_BASE.is_multiple_of(8));
const _: () = assert!(1 << STARTS_SHIFT == crate::OBJECT_ALIGN);
