//! Object layouts: the places of an object's fields, and of its references (its trace information).
//!
//! A struct's fields are placed in declaration order from [`VMGcHeader::SIZE`] on. Each field goes
//! to the next free place of its natural alignment (at most [`OBJECT_ALIGN`]), or into a hole that
//! alignment left before. So a subtype has the fields of its supertype at the same offsets, and
//! code compiled for the supertype works on the subtype (prefix subtyping). An array has its length
//! after the header, then its elements. The size of an object is a multiple of [`OBJECT_ALIGN`].

use crate::{VMGcHeader, VMGcKind};
use std::fmt;

/// Alignment of every object in bytes. Sizes are rounded up to it.
pub const OBJECT_ALIGN: u32 = 8;

/// The largest object in bytes. An index plus a size never exceeds 2^32.
pub const MAX_OBJECT_SIZE: u32 = u32::MAX - crate::NULL_PAGE_SIZE - OBJECT_ALIGN + 1;

/// The storage type of a field or element.
///
/// # Examples
/// ```
/// use gc_types::StorageType;
///
/// assert_eq!((StorageType::V128.size(), StorageType::V128.align()), (16, 8));
/// assert!(StorageType::Ref.is_ref());
/// assert!(!StorageType::FuncRef.is_ref(), "an id, which collectors do not trace");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// One byte.
    I8,
    /// Two bytes.
    I16,
    /// Four bytes, an integer.
    I32,
    /// Eight bytes, an integer.
    I64,
    /// Four bytes, a float.
    F32,
    /// Eight bytes, a float.
    F64,
    /// Sixteen bytes (aligned to eight).
    V128,
    /// Four bytes: a [`VMGcRef`](crate::VMGcRef) or null. Collectors trace only this type.
    Ref,
    /// Four bytes: a checked id in the store's function-reference table, 0 for null.
    FuncRef,
}

impl StorageType {
    /// All storage types.
    pub const ALL: [StorageType; 9] = [
        StorageType::I8,
        StorageType::I16,
        StorageType::I32,
        StorageType::I64,
        StorageType::F32,
        StorageType::F64,
        StorageType::V128,
        StorageType::Ref,
        StorageType::FuncRef,
    ];

    /// Size in bytes.
    #[inline]
    pub const fn size(self) -> u32 {
        // A table, because a branch on the type of an array is often mispredicted.
        const SIZES: [u8; 9] = [1, 2, 4, 8, 4, 8, 16, 4, 4];
        SIZES[self as usize] as u32
    }

    /// Alignment in bytes.
    #[inline]
    pub const fn align(self) -> u32 {
        let size = self.size();
        if size > OBJECT_ALIGN { OBJECT_ALIGN } else { size }
    }

    /// Whether collectors must trace it.
    #[inline]
    pub const fn is_ref(self) -> bool {
        matches!(self, StorageType::Ref)
    }
}

/// The error for a layout that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutError {
    /// Bytes the object would take.
    pub size: u64,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of {} bytes passes the limit of {MAX_OBJECT_SIZE} bytes", self.size)
    }
}

impl std::error::Error for LayoutError {}

/// One field of a struct or exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldLayout {
    /// The offset in bytes from the object's start.
    pub offset: u32,
    /// The field's storage type.
    pub ty: StorageType,
}

fn align_up(value: u64, align: u32) -> u64 {
    value.next_multiple_of(u64::from(align))
}

/// Fields, the offsets of the references among them, and the object's size.
type LaidOut = (Box<[FieldLayout]>, Box<[u32]>, u32);

/// Unused bytes between fields: at most one hole each of 1, 2 and 4 bytes, aligned to its size.
/// There are no more, because fields that fit are put into holes.
#[derive(Default)]
struct Holes([Option<u64>; 3]);

impl Holes {
    /// Records that the bytes from `at` to `end` are unused. They lie in the same aligned eight
    /// bytes.
    fn leave(&mut self, mut at: u64, end: u64) {
        while at < end {
            let piece = at.trailing_zeros();
            self.0[piece as usize] = Some(at);
            at += 1 << piece;
        }
    }

    /// Takes `size` bytes, aligned to `size`, from the smallest hole that is large enough.
    fn take(&mut self, size: u32) -> Option<u64> {
        let wanted = size.trailing_zeros() as usize;
        let found = (wanted..self.0.len()).find(|piece| self.0[*piece].is_some())?;
        let at = self.0[found].take()?;
        self.leave(at + u64::from(size), at + (1 << found));
        Some(at)
    }
}

/// Places `fields` from `start` on, a multiple of eight. A field goes into a hole that alignment
/// left before, if there is one. So an object is no larger than the sum of its fields, rounded up
/// to eight, and the fields that a subtype adds do not move those of its supertype.
fn lay_out(
    start: u32,
    fields: impl IntoIterator<Item = StorageType>,
) -> Result<LaidOut, LayoutError> {
    let mut end = u64::from(start);
    let mut holes = Holes::default();
    let mut laid_out = Vec::new();
    let mut refs = Vec::new();
    for ty in fields {
        let offset = holes.take(ty.size()).unwrap_or_else(|| {
            let offset = align_up(end, ty.align());
            holes.leave(end, offset);
            end = offset + u64::from(ty.size());
            offset
        });
        if end > u64::from(MAX_OBJECT_SIZE) {
            return Err(LayoutError { size: end });
        }
        let offset = offset as u32;
        if ty.is_ref() {
            refs.push(offset);
        }
        laid_out.push(FieldLayout { offset, ty });
    }
    refs.sort_unstable();
    Ok((laid_out.into(), refs.into(), align_up(end, OBJECT_ALIGN) as u32))
}

/// The layout of a struct type.
///
/// # Examples
/// ```
/// use gc_types::{StorageType, StructLayout};
///
/// let layout = StructLayout::new([StorageType::I8, StorageType::I64, StorageType::Ref]).unwrap();
/// let offsets: Vec<u32> = layout.fields.iter().map(|field| field.offset).collect();
/// // The reference fills the hole after the byte.
/// assert_eq!(offsets, [8, 16, 12]);
/// assert_eq!((layout.size, &*layout.refs), (24, &[12][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructLayout {
    /// Bytes of an instance, header included.
    pub size: u32,
    /// The fields in declaration order.
    pub fields: Box<[FieldLayout]>,
    /// Offsets in bytes of the fields that are references, ascending.
    pub refs: Box<[u32]>,
}

impl StructLayout {
    /// Lays out a struct with these fields.
    ///
    /// # Errors
    /// If an instance would be larger than [`MAX_OBJECT_SIZE`].
    pub fn new(fields: impl IntoIterator<Item = StorageType>) -> Result<Self, LayoutError> {
        let (fields, refs, size) = lay_out(VMGcHeader::SIZE, fields)?;
        Ok(StructLayout { size, fields, refs })
    }
}

/// The layout of an array type.
///
/// # Examples
/// ```
/// use gc_types::{ArrayLayout, StorageType};
///
/// let layout = ArrayLayout::new(StorageType::I16);
/// assert_eq!(layout.element_offset(3), 12 + 3 * 2);
/// // Header, length and three elements, rounded up to eight bytes.
/// assert_eq!(layout.size(3), Some(24));
/// assert_eq!(layout.size(u32::MAX), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArrayLayout {
    /// The storage type of each element.
    pub element: StorageType,
}

impl ArrayLayout {
    /// The most bytes of an array that the collector examines because it is new. References that are
    /// stored in a larger one need the collector's barrier, also before the next safepoint. Otherwise a
    /// collector would have to read all of a new array, which may be gigabytes of nulls.
    pub const MAX_EXAMINED: u32 = 64 << 10;

    /// Offset in bytes of an array's length (u32, in elements).
    pub const LENGTH_OFFSET: u32 = VMGcHeader::SIZE;

    /// The layout of an array of `element`s.
    pub const fn new(element: StorageType) -> Self {
        ArrayLayout { element }
    }

    /// Offset in bytes of element 0.
    #[inline]
    pub const fn elements_offset(&self) -> u32 {
        // An alignment is a power of two, and this is no division.
        let align = self.element.align();
        (ArrayLayout::LENGTH_OFFSET + 4 + align - 1) & !(align - 1)
    }

    /// Bytes of an array of `length` elements, header included, rounded up to [`OBJECT_ALIGN`].
    /// `None` above [`MAX_OBJECT_SIZE`].
    pub const fn size(&self, length: u32) -> Option<u32> {
        let end = self.elements_offset() as u64 + length as u64 * self.element.size() as u64;
        let size = end.next_multiple_of(OBJECT_ALIGN as u64);
        if size > MAX_OBJECT_SIZE as u64 { None } else { Some(size as u32) }
    }

    /// Offset in bytes of element `index`, which must be below the length of an existing array.
    #[inline]
    pub const fn element_offset(&self, index: u32) -> u64 {
        self.elements_offset() as u64 + index as u64 * self.element.size() as u64
    }
}

/// The layout of an exception: the tag with which it was thrown, then its payload.
///
/// # Examples
/// ```
/// use gc_types::{ExnLayout, StorageType};
///
/// let layout = ExnLayout::new([StorageType::Ref]).unwrap();
/// // The payload comes after the header and the tag.
/// assert_eq!(layout.fields[0].offset, ExnLayout::TAG_INDEX_OFFSET + 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExnLayout {
    /// Bytes of an instance, header included.
    pub size: u32,
    /// The payload in declaration order.
    pub fields: Box<[FieldLayout]>,
    /// Offsets in bytes of the payload's references, ascending.
    pub refs: Box<[u32]>,
}

impl ExnLayout {
    /// Offset in bytes of the tag's instance id (u32).
    pub const TAG_INSTANCE_OFFSET: u32 = VMGcHeader::SIZE;
    /// Offset in bytes of the tag's index within its instance (u32).
    pub const TAG_INDEX_OFFSET: u32 = VMGcHeader::SIZE + 4;

    /// Lays out an exception with this payload.
    ///
    /// # Errors
    /// If an instance would be larger than [`MAX_OBJECT_SIZE`].
    pub fn new(fields: impl IntoIterator<Item = StorageType>) -> Result<Self, LayoutError> {
        let (fields, refs, size) = lay_out(VMGcHeader::SIZE + 8, fields)?;
        Ok(ExnLayout { size, fields, refs })
    }
}

/// The layout of any type whose objects live in a heap.
///
/// # Examples
/// ```
/// use gc_types::{ArrayLayout, GcLayout, StorageType, VMGcKind};
///
/// let layout = GcLayout::Array(ArrayLayout::new(StorageType::Ref));
/// assert_eq!(layout.kind(), VMGcKind::ArrayRef);
/// assert!(layout.has_refs());
/// assert_eq!(layout.size(1), Some(16));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GcLayout {
    /// The layout of a struct.
    Struct(StructLayout),
    /// The layout of an array.
    Array(ArrayLayout),
    /// The layout of an exception.
    Exn(ExnLayout),
}

impl GcLayout {
    /// Bytes of an externref's box: header, the host value's id, padding.
    pub const EXTERNREF_SIZE: u32 = 16;
    /// Offset in bytes of the host value's id (u32) in an externref's box.
    pub const EXTERNREF_ID_OFFSET: u32 = VMGcHeader::SIZE;

    /// The kind of the objects.
    pub const fn kind(&self) -> VMGcKind {
        match self {
            GcLayout::Struct(_) => VMGcKind::StructRef,
            GcLayout::Array(_) => VMGcKind::ArrayRef,
            GcLayout::Exn(_) => VMGcKind::ExnRef,
        }
    }

    /// Bytes of an object. `length` is the length of an array in elements, and is ignored for other
    /// types. `None` above [`MAX_OBJECT_SIZE`].
    pub const fn size(&self, length: u32) -> Option<u32> {
        match self {
            GcLayout::Struct(layout) => Some(layout.size),
            GcLayout::Exn(layout) => Some(layout.size),
            GcLayout::Array(layout) => layout.size(length),
        }
    }

    /// Whether an object of this type can hold a reference.
    pub fn has_refs(&self) -> bool {
        match self {
            GcLayout::Struct(layout) => !layout.refs.is_empty(),
            GcLayout::Exn(layout) => !layout.refs.is_empty(),
            GcLayout::Array(layout) => layout.element.is_ref(),
        }
    }

    /// The fields of a struct or exception, `None` for an array.
    pub fn fields(&self) -> Option<&[FieldLayout]> {
        match self {
            GcLayout::Struct(layout) => Some(&layout.fields),
            GcLayout::Exn(layout) => Some(&layout.fields),
            GcLayout::Array(_) => None,
        }
    }

    /// The array layout, if this is one.
    pub const fn as_array(&self) -> Option<&ArrayLayout> {
        match self {
            GcLayout::Array(layout) => Some(layout),
            _ => None,
        }
    }

    /// The struct layout, if this is one.
    pub const fn as_struct(&self) -> Option<&StructLayout> {
        match self {
            GcLayout::Struct(layout) => Some(layout),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StorageType::*;

    #[test]
    fn fields_are_aligned_and_sizes_rounded() {
        let layout = StructLayout::new([I8, Ref, I16, I64, V128, I8]).unwrap();
        let offsets: Vec<u32> = layout.fields.iter().map(|f| f.offset).collect();
        assert_eq!(offsets, [8, 12, 10, 16, 24, 9]);
        assert_eq!(layout.size, 40);
        assert_eq!(*layout.refs, [12]);
        assert_eq!(StructLayout::new([]).unwrap().size, 8);
    }

    #[test]
    fn objects_are_as_large_as_header_and_fields_rounded_to_eight() {
        let types = [I8, I16, I32, I64, V128, Ref];
        for count in 0..=6 {
            for which in 0..types.len().pow(count) {
                let fields = (0..count).map(|i| types[which / types.len().pow(i) % types.len()]);
                let fields: Vec<StorageType> = fields.collect();
                let layout = StructLayout::new(fields.iter().copied()).unwrap();
                let sum: u32 = fields.iter().map(|ty| ty.size()).sum();
                assert_eq!(layout.size, (8 + sum).next_multiple_of(8), "{fields:?}");
                let mut taken: Vec<_> =
                    layout.fields.iter().map(|f| (f.offset, f.offset + f.ty.size())).collect();
                assert!(layout.fields.iter().all(|f| f.offset % f.ty.align() == 0), "{fields:?}");
                taken.sort_unstable();
                assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{fields:?}");
                let ends = taken.first().zip(taken.last());
                assert!(ends.is_none_or(|(a, z)| a.0 >= 8 && z.1 <= layout.size), "{fields:?}");
                assert!(layout.refs.is_sorted());
                // The fields that a subtype adds do not move the others.
                let sub = StructLayout::new(fields.iter().copied().chain([I8, Ref])).unwrap();
                assert_eq!(*layout.fields, sub.fields[..fields.len()], "{fields:?}");
            }
        }
    }

    #[test]
    fn arrays_are_as_large_as_header_length_and_elements_rounded_to_eight() {
        for element in [I8, I16, I32, I64, F32, F64, V128, Ref, FuncRef] {
            for length in 0..=40 {
                let sum = 8 + 4 + length * element.size();
                let size = ArrayLayout::new(element).size(length);
                assert_eq!(size, Some(sum.next_multiple_of(8)), "{length} of {element:?}");
            }
        }
    }

    #[test]
    fn a_subtype_begins_like_its_supertype() {
        let sup = StructLayout::new([I32, Ref, I64]).unwrap();
        let sub = StructLayout::new([I32, Ref, I64, I8, Ref]).unwrap();
        assert_eq!(*sup.fields, sub.fields[..3]);
    }

    #[test]
    fn arrays_pack_and_refuse_what_cannot_be() {
        assert_eq!(ArrayLayout::new(I8).size(4), Some(16));
        assert_eq!(ArrayLayout::new(I8).size(5), Some(24));
        assert_eq!(ArrayLayout::new(Ref).elements_offset(), 12);
        assert_eq!(ArrayLayout::new(I64).elements_offset(), 16);
        assert_eq!(ArrayLayout::new(I64).size(u32::MAX), None);
        assert_eq!(ArrayLayout::new(I8).size(u32::MAX), None);
        assert!(ArrayLayout::new(I8).size(MAX_OBJECT_SIZE - 12).is_some());
    }

    #[test]
    fn exceptions_leave_room_for_their_tag() {
        let layout = ExnLayout::new([Ref, I64]).unwrap();
        assert_eq!((layout.fields[0].offset, layout.size), (16, 32));
    }
}
