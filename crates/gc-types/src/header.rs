//! The eight bytes at the start of every heap object.
//!
//! Word 0 (offset 0) is `kind << 26 | type index`, so one 32-bit comparison tests whether an object
//! is of exactly one type. Word 1 (offset 4) belongs to the collector: a count, a mark, a
//! forwarding index. Emitted code writes both words in one 64-bit store. As long as the collector's
//! initial bits are zero, the stored constant is below 2^31 and fits a sign-extended immediate.

use std::fmt;

/// The kind of an object. The bits are chosen so that `k` is a subkind of `sup` exactly if `k & sup
/// == sup` ([`VMGcKind::matches`]).
///
/// # Examples
/// ```
/// use gc_types::VMGcKind;
///
/// assert!(VMGcKind::StructRef.matches(VMGcKind::EqRef));
/// assert!(VMGcKind::EqRef.matches(VMGcKind::AnyRef));
/// assert!(!VMGcKind::ExternRef.matches(VMGcKind::AnyRef));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VMGcKind {
    /// A box around an id in a table of the host. The host value itself is never in the heap.
    ExternRef = 0b00001,
    /// Any internal reference (never an object's own kind).
    AnyRef = 0b00010,
    /// Any internal reference that can be compared for equality (never an object's own kind).
    EqRef = 0b00110,
    /// A struct: fields at fixed offsets.
    StructRef = 0b01110,
    /// An array: a length, then elements of one type.
    ArrayRef = 0b10110,
    /// A thrown exception: its tag, then its payload.
    ExnRef = 0b11000,
}

impl VMGcKind {
    /// Every kind.
    pub const ALL: [VMGcKind; 6] = [
        VMGcKind::ExternRef,
        VMGcKind::AnyRef,
        VMGcKind::EqRef,
        VMGcKind::StructRef,
        VMGcKind::ArrayRef,
        VMGcKind::ExnRef,
    ];

    /// The position of the kind's lowest bit in a header's word 0.
    pub const SHIFT: u32 = 26;

    /// The kind whose bits are `bits`, if there is one.
    pub const fn from_bits(bits: u8) -> Option<VMGcKind> {
        match bits {
            0b00001 => Some(VMGcKind::ExternRef),
            0b00010 => Some(VMGcKind::AnyRef),
            0b00110 => Some(VMGcKind::EqRef),
            0b01110 => Some(VMGcKind::StructRef),
            0b10110 => Some(VMGcKind::ArrayRef),
            0b11000 => Some(VMGcKind::ExnRef),
            _ => None,
        }
    }

    /// The kind's bits, not shifted.
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether every object of kind `self` is also of kind `sup`.
    pub const fn matches(self, sup: VMGcKind) -> bool {
        self.bits() & sup.bits() == sup.bits()
    }
}

/// An index into the type registry of the engine to which a heap belongs.
///
/// An index that was read from a heap is untrusted: look it up, and never index with it.
///
/// # Examples
/// ```
/// use gc_types::TypeIndex;
///
/// assert_eq!(TypeIndex::new(7).unwrap().as_u32(), 7);
/// assert!(TypeIndex::new(TypeIndex::MAX + 1).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeIndex(u32);

impl TypeIndex {
    /// The largest index a header can hold.
    pub const MAX: u32 = (1 << VMGcKind::SHIFT) - 1;

    /// The index of objects without their own type (externrefs).
    pub const NONE: TypeIndex = TypeIndex(TypeIndex::MAX);

    /// An index, or `None` if it does not fit a header.
    pub const fn new(index: u32) -> Option<TypeIndex> {
        if index <= TypeIndex::MAX { Some(TypeIndex(index)) } else { None }
    }

    /// The index as a number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Word 0 of the header of an object of this type and `kind`.
    pub const fn header_word(self, kind: VMGcKind) -> u32 {
        (kind.bits() as u32) << VMGcKind::SHIFT | self.0
    }
}

impl fmt::Debug for TypeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type#{}", self.0)
    }
}

/// The first eight bytes of an object, as two 32-bit words.
///
/// # Examples
/// ```
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
///
/// let ty = TypeIndex::new(7).unwrap();
/// let header = VMGcHeader::new(VMGcKind::StructRef, ty).with_collector_bits(1);
/// assert_eq!((header.kind(), header.ty()), (Some(VMGcKind::StructRef), ty));
/// assert_eq!(header.collector_bits(), 1);
///
/// // A header from a damaged heap has no kind, or a type that does not exist.
/// assert_eq!(VMGcHeader::from_words(0, 0).kind(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct VMGcHeader {
    word: u32,
    collector: u32,
}

const _: () = assert!(std::mem::size_of::<VMGcHeader>() == VMGcHeader::SIZE as usize);

impl VMGcHeader {
    /// Bytes of a header.
    pub const SIZE: u32 = 8;
    /// Offset in bytes of the word that holds kind and type index.
    pub const WORD_OFFSET: u32 = 0;
    /// Offset in bytes of the word that belongs to the collector.
    pub const COLLECTOR_OFFSET: u32 = 4;

    /// A header of an object of `kind` and type `ty`. The collector's bits are zero.
    pub const fn new(kind: VMGcKind, ty: TypeIndex) -> VMGcHeader {
        VMGcHeader { word: ty.header_word(kind), collector: 0 }
    }

    /// A header from its two words in the heap, unchecked.
    pub const fn from_words(word: u32, collector: u32) -> VMGcHeader {
        VMGcHeader { word, collector }
    }

    /// The object's kind. `None` if the header has no valid kind, because the heap is corrupt.
    pub const fn kind(&self) -> Option<VMGcKind> {
        VMGcKind::from_bits((self.word >> VMGcKind::SHIFT) as u8)
    }

    /// The object's type index: the lower 26 bits of word 0, unchecked.
    pub const fn ty(&self) -> TypeIndex {
        TypeIndex(self.word & TypeIndex::MAX)
    }

    /// Word 0: kind and type index.
    pub const fn word(&self) -> u32 {
        self.word
    }

    /// Word 1: the collector's bits.
    pub const fn collector_bits(&self) -> u32 {
        self.collector
    }

    /// The same header with other collector bits.
    pub const fn with_collector_bits(self, collector: u32) -> VMGcHeader {
        VMGcHeader { word: self.word, collector }
    }
}

impl fmt::Debug for VMGcHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VMGcHeader")
            .field("kind", &self.kind())
            .field("ty", &self.ty())
            .field("collector", &format_args!("{:#x}", self.collector))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_form_the_hierarchy() {
        use VMGcKind::*;
        let expected = |k: VMGcKind, sup: VMGcKind| {
            k == sup
                || matches!(
                    (k, sup),
                    (EqRef, AnyRef)
                        | (StructRef, EqRef)
                        | (StructRef, AnyRef)
                        | (ArrayRef, EqRef)
                        | (ArrayRef, AnyRef)
                )
        };
        for k in VMGcKind::ALL {
            assert_eq!(VMGcKind::from_bits(k.bits()), Some(k));
            assert!(k.bits() < 32, "word 0 must stay below 2^31");
            for sup in VMGcKind::ALL {
                assert_eq!(k.matches(sup), expected(k, sup), "{k:?} matches {sup:?}");
            }
        }
        assert_eq!(VMGcKind::from_bits(0), None);
    }

    #[test]
    fn header_keeps_kind_and_type() {
        let ty = TypeIndex::new(12345).unwrap();
        let header = VMGcHeader::new(VMGcKind::ArrayRef, ty).with_collector_bits(7);
        assert_eq!((header.kind(), header.ty()), (Some(VMGcKind::ArrayRef), ty));
        assert_eq!(header.collector_bits(), 7);
        assert!(TypeIndex::new(TypeIndex::MAX + 1).is_none());
    }
}
