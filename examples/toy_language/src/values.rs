//! What the language's values are to the heap.
//!
//! | value | reference |
//! |---|---|
//! | integer | an `i31`: the reference itself, no object |
//! | `[]` | null |
//! | `x :: xs` | a struct `{ head, tail }` |
//! | function | an array: the number of its code as an `i31`, then what it captured |
//!
//! No address is ever in the heap: code is named by its index in a table beside it, which
//! the caller checks.

use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex, VMGcKind};

/// A list cell's type.
pub(crate) const PAIR: TypeIndex = TypeIndex::new(1).unwrap();
/// A function's type.
pub(crate) const CLOSURE: TypeIndex = TypeIndex::new(2).unwrap();

/// Word 0 of a list cell's header.
pub(crate) const PAIR_WORD: u32 = PAIR.header_word(VMGcKind::StructRef);
/// Word 0 of a function's header.
pub(crate) const CLOSURE_WORD: u32 = CLOSURE.header_word(VMGcKind::ArrayRef);

/// Fields of a list cell.
pub(crate) const HEAD: usize = 0;
/// Fields of a list cell.
pub(crate) const TAIL: usize = 1;

/// A list cell's layout.
pub(crate) fn pair_layout() -> StructLayout {
    StructLayout::new([StorageType::Ref, StorageType::Ref]).expect("two fields fit")
}

/// A function's layout.
pub(crate) const CLOSURE_LAYOUT: ArrayLayout = ArrayLayout::new(StorageType::Ref);

/// All types, for the heap.
pub(crate) fn layouts() -> [(TypeIndex, GcLayout); 2] {
    [(PAIR, GcLayout::Struct(pair_layout())), (CLOSURE, GcLayout::Array(CLOSURE_LAYOUT))]
}
