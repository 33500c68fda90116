//! `drc`: deferred reference counting (Deutsch and Bobrow 1976) of objects that survived a
//! collection. Emitted code allocates inline between the words of [`bump`](super::bump).
//!
//! The collector's header word is `count << COUNT_SHIFT | flags`, zero in a new object. The count
//! is the number of references in mature objects, tables, globals and host handles. References on
//! the stack and in young objects are not counted.

use crate::{CollectorAbi, HeapDataOffsets, SideTable};

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "drc";

/// Header flag: the object survived a collection, and the references in it are
/// counted.
pub const MATURE: u32 = 1 << 0;
/// Header flag: the object is in the list that the next collection processes.
pub const LISTED: u32 = 1 << 1;
/// The number of the count's lowest bit. The count's 30 bits suffice for all references in a heap
/// of [`MAX_HEAP_SIZE`] bytes and in [`MAX_NATIVE_REFS`] slots outside it.
pub const COUNT_SHIFT: u32 = 2;
/// The number that one reference adds to the collector's header word.
pub const COUNT_ONE: u32 = 1 << COUNT_SHIFT;

/// The embedder must keep fewer references than this outside the heap and the stack (in tables,
/// globals, segments and host handles).
pub const MAX_NATIVE_REFS: u64 = 1 << 28;

/// The maximum number of bytes of a heap. With it no count can overflow, even if all references
/// refer to one object.
pub const MAX_HEAP_SIZE: u64 = ((1 << (32 - COUNT_SHIFT)) - MAX_NATIVE_REFS) * 4;

const _: () = assert!(MAX_HEAP_SIZE == 3 << 30);

/// The notes of emitted code about allocations: it sets the byte of a new object to 1.
pub const STARTS: SideTable =
    SideTable::indexed_new("starts", HeapDataOffsets::COLLECTOR + 8, STARTS_SHIFT);
/// log2 of the bytes of heap for each byte of these notes.
pub const STARTS_SHIFT: u32 = 3;

/// The list of references, u32 each. It has young objects that got a count, and mature objects whose count
/// reached zero, or was decremented while a search for cycles marked.
pub const LIST: SideTable =
    SideTable::appended("list", HeapDataOffsets::COLLECTOR + 16, LIST_LEN, LIST_CAPACITY);
/// Heap data, u32: number of references in the list.
pub const LIST_LEN: u32 = HeapDataOffsets::COLLECTOR + 24;
/// Heap data, u32: the list's capacity in references. Zero until the first one is appended, because
/// the list's memory is allocated lazily.
pub const LIST_CAPACITY: u32 = HeapDataOffsets::COLLECTOR + 28;

/// Heap data, u32: which bits of an object's collector's word decide, after its count was decremented, whether the object
/// enters the list: it does if these bits are those of [`MATURE`]. Usually they are [all](LIST_MASK_IDLE). While a search
/// for cycles marks, they are [the flags](LIST_MASK_MARKING).
pub const LIST_MASK: u32 = HeapDataOffsets::COLLECTOR + 32;
/// A mature object enters the list when its count becomes zero.
pub const LIST_MASK_IDLE: u32 = u32::MAX;
/// A mature object enters the list whenever its count is decremented: the reference that was overwritten may be the only
/// one that leads a marking to it.
pub const LIST_MASK_MARKING: u32 = MATURE | LISTED;

const _: () = assert!(LIST_MASK + 4 <= HeapDataOffsets::SIZE);

/// The version of what both halves must know. In the second one a word of the heap data is the list's mask.
const VERSION: u64 = 2;

/// What both halves of the collector must know.
pub fn abi() -> CollectorAbi {
    CollectorAbi::new(NAME).with("version", VERSION).with_table(STARTS).with_table(LIST)
}

/// [`HostCall::COLLECTOR`](crate::HostCall::COLLECTOR) operation: append the reference to the list,
/// whose memory is full, and set its flag.
pub const OP_LIST: u32 = 0;

const _: () = assert!(1 << STARTS_SHIFT == crate::OBJECT_ALIGN);
