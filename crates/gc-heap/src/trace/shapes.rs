//! Shapes: for each type its header word, the size of an object, and the places of its references.
//! A collector that scans objects finds all of them in one cache line.
//!
//! Shapes are derived from the heap's [`LayoutTable`]. A collection updates them before it begins.
//! The collector compares a header read from the heap with the whole header word of the shape, so
//! one comparison shows whether the header is valid.

use crate::object::{NO_KIND, NO_TYPE as NO_SUCH_TYPE};
use crate::space::mark_region::blocks::MAX_SMALL;
use crate::{HeapCore, HeapMemory, LayoutTable, LayoutVersion};
use gc_types::{ArrayLayout, GcLayout, StructLayout, TypeIndex, VMGcHeader, VMGcKind};
use std::ops::Range;
use std::sync::Arc;

/// The damage of an object that is known to begin at its index.
pub(crate) const BAD_OBJECT: &str = "an object with an invalid header or size";

/// Word 0 of the header of every externref's box.
pub const EXTERNREF: u32 = TypeIndex::NONE.header_word(VMGcKind::ExternRef);

/// The places of an object's references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refs {
    /// There are none.
    None,
    /// Bit `i`: four bytes at offset `8 + 4 * i`.
    Bits(u64),
    /// At the offsets in [`Shapes::list`].
    List(u32),
    /// The elements of an array, from this offset on.
    Elements(u32),
}

/// The shape of the objects of one type.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Shape {
    refs: Refs,
    /// Word 0 of their headers. [`NO_TYPE`] if there is no such type.
    word: u32,
    /// Bytes of an object that is not an array. For an array, the offset of element 0.
    size: u32,
    /// log2 of an element's size. [`NO_ARRAY`] for other types.
    shift: u8,
    /// Whether the shape is [plain](Shapes::plain).
    is_plain: bool,
}

const NO_ARRAY: u8 = u8::MAX;
/// No header has this word, because no type has this index.
const NO_TYPE: u32 = u32::MAX;
const NONE: Shape =
    Shape { refs: Refs::None, word: NO_TYPE, size: 0, shift: NO_ARRAY, is_plain: false };

/// Calls `visit` with the places of the references that `bits` say ([`Refs::Bits`]) in the object at `index`,
/// the first one first.
#[inline(always)]
pub fn slots_of_bits(index: u32, mut bits: u64, mut visit: impl FnMut(u64)) {
    let first = u64::from(index) + u64::from(VMGcHeader::SIZE);
    while bits != 0 {
        visit(first + 4 * u64::from(bits.trailing_zeros()));
        bits &= bits - 1;
    }
}

/// As [`slots_of_bits`], the last one first. A stack gives them back in their order.
#[inline(always)]
pub fn slots_of_bits_backwards(index: u32, mut bits: u64, mut visit: impl FnMut(u64)) {
    let first = u64::from(index) + u64::from(VMGcHeader::SIZE);
    while bits != 0 {
        let last = 63 - bits.leading_zeros();
        bits &= !(1 << last);
        visit(first + 4 * u64::from(last));
    }
}

/// An object according to its header and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Bytes, header included, a multiple of 8.
    pub size: u32,
    /// The places of its references.
    pub refs: Refs,
    /// Number of elements; zero if the object is not an array.
    pub length: u32,
}

impl Object {
    /// The element at which an array of references continues, if `most` elements from `from` on are taken. `None` if
    /// these are all.
    #[inline(always)]
    pub fn rest(&self, from: u32, most: u32) -> Option<u32> {
        let end = self.length.min(from.saturating_add(most));
        (matches!(self.refs, Refs::Elements(_)) && end < self.length).then_some(end)
    }

    /// The places of the elements of the array of references at `index`. Empty for other objects.
    #[inline(always)]
    pub fn elements(&self, index: u32) -> Range<u64> {
        let Refs::Elements(offset) = self.refs else { return 0..0 };
        let first = u64::from(index) + u64::from(offset);
        first..first + 4 * u64::from(self.length)
    }
}

/// The shapes of all types.
///
/// # Examples
/// ```
/// use gc_heap::trace::shapes::{Refs, Shapes};
/// use gc_heap::{HeapMemory, HeapOptions, LayoutTable};
/// use gc_types::{GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout, TypeIndex, VMGcKind};
/// use std::sync::Arc;
///
/// let pair = TypeIndex::new(0).unwrap();
/// let layout = GcLayout::Struct(StructLayout::new([StorageType::Ref; 2]).unwrap());
/// let mut layouts = LayoutTable::default();
/// layouts.ensure(pair, &Arc::new(layout))?;
/// let mut shapes = Shapes::default();
/// shapes.update(&layouts);
///
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let word = pair.header_word(VMGcKind::StructRef);
/// let object = shapes.object(&memory, NULL_PAGE_SIZE, word).unwrap();
/// assert_eq!((object.size, object.refs), (16, Refs::Bits(0b11)));
/// // No type has this header.
/// assert!(shapes.object(&memory, NULL_PAGE_SIZE, word + 1).is_none());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    by_type: Vec<Shape>,
    lists: Vec<Box<[u32]>>,
    known: LayoutVersion,
}

impl Shapes {
    /// Updates shapes that a thread may have. If it has, that thread keeps the old ones.
    pub fn update_shared(shapes: &mut Arc<Shapes>, layouts: &LayoutTable) {
        if layouts.version() != shapes.known {
            Arc::make_mut(shapes).update(layouts);
        }
    }

    /// Makes the shapes of these layouts, unless they were made at the last update.
    pub fn update(&mut self, layouts: &LayoutTable) {
        if layouts.version() == self.known {
            return;
        }
        self.by_type.clear();
        self.lists.clear();
        self.known = layouts.version();
        for (ty, layout) in layouts.iter() {
            let index = ty.as_u32() as usize;
            if index >= self.by_type.len() {
                self.by_type.resize(index + 1, NONE);
            }
            let shape = self.shape(ty, layout);
            self.by_type[index] = shape;
        }
    }

    fn shape(&mut self, ty: TypeIndex, layout: &GcLayout) -> Shape {
        let word = ty.header_word(layout.kind());
        let (size, refs) = match layout {
            GcLayout::Struct(StructLayout { size, refs, .. }) => (*size, self.refs(refs)),
            GcLayout::Exn(layout) => (layout.size, self.refs(&layout.refs)),
            GcLayout::Array(layout) => {
                let size = layout.elements_offset();
                let refs = if layout.element.is_ref() { Refs::Elements(size) } else { Refs::None };
                let shift = layout.element.size().trailing_zeros() as u8;
                return Shape { refs, word, size, shift, is_plain: false };
            }
        };
        let is_plain = size <= MAX_SMALL && matches!(refs, Refs::None | Refs::Bits(_));
        Shape { refs, word, size, shift: NO_ARRAY, is_plain }
    }

    fn refs(&mut self, offsets: &[u32]) -> Refs {
        if offsets.is_empty() {
            return Refs::None;
        }
        let bit = |&offset: &u32| {
            let bit = offset.checked_sub(VMGcHeader::SIZE)? / 4;
            (offset.is_multiple_of(4) && bit < 64).then(|| 1 << bit)
        };
        match offsets.iter().map(bit).collect::<Option<Vec<u64>>>() {
            Some(bits) => Refs::Bits(bits.into_iter().fold(0, |all, bit| all | bit)),
            None => {
                self.lists.push(offsets.into());
                Refs::List(self.lists.len() as u32 - 1)
            }
        }
    }

    /// Calls `visit` with the places of the references of the `object` at `index`. Of an array, these are at most
    /// `most` elements from the element `from` on. Returns the element at which it continues, if there are more.
    #[inline(always)]
    pub fn slots(
        &self,
        index: u32,
        object: Object,
        from: u32,
        most: u32,
        mut visit: impl FnMut(u64),
    ) -> Option<u32> {
        match object.refs {
            Refs::None => None,
            Refs::Bits(bits) => {
                slots_of_bits(index, bits, visit);
                None
            }
            Refs::List(list) => {
                let base = u64::from(index);
                self.list(list).iter().for_each(|offset| visit(base + u64::from(*offset)));
                None
            }
            Refs::Elements(offset) => {
                let rest = object.rest(from, most);
                let first = u64::from(index) + u64::from(offset);
                (from..rest.unwrap_or(object.length)).for_each(|n| visit(first + 4 * u64::from(n)));
                rest
            }
        }
    }

    /// As [`slots`](Shapes::slots) of an object that is not an array, the last one first.
    #[inline(always)]
    pub fn slots_backwards(&self, index: u32, object: Object, mut visit: impl FnMut(u64)) {
        match object.refs {
            Refs::None | Refs::Elements(_) => {}
            Refs::Bits(bits) => slots_of_bits_backwards(index, bits, visit),
            Refs::List(list) => {
                let base = u64::from(index);
                self.list(list).iter().rev().for_each(|offset| visit(base + u64::from(*offset)));
            }
        }
    }

    /// The number of references of an object.
    #[inline(always)]
    pub fn count(&self, object: Object) -> u32 {
        match object.refs {
            Refs::None => 0,
            Refs::Bits(bits) => bits.count_ones(),
            Refs::List(list) => self.list(list).len() as u32,
            Refs::Elements(_) => object.length,
        }
    }

    /// What is wrong with an object for which there is no shape, if its header's word 0 is `word`.
    #[cold]
    pub fn fault(&self, word: u32) -> &'static str {
        match VMGcHeader::from_words(word, 0).kind() {
            None => NO_KIND,
            Some(_) => match self.by_type.get((word & TypeIndex::MAX) as usize) {
                Some(shape) if shape.word == word => "an array's length is invalid",
                _ => NO_SUCH_TYPE,
            },
        }
    }

    /// The offsets of a [`Refs::List`].
    pub fn list(&self, list: u32) -> &[u32] {
        self.lists.get(list as usize).map_or(&[], |list| list)
    }

    /// The size of an object whose header's word 0 is `word`, and the bits of its references
    /// ([`Refs::Bits`]). `None` if the header is invalid, or if the object is an array, is large, or
    /// has references that need a list.
    #[inline(always)]
    pub fn plain(&self, word: u32) -> Option<(u32, u64)> {
        let shape = self.by_type.get((word & TypeIndex::MAX) as usize)?;
        if shape.word != word || !shape.is_plain {
            return None;
        }
        let bits = if let Refs::Bits(bits) = shape.refs { bits } else { 0 };
        Some((shape.size, bits))
    }

    /// The size and the references of the object at `index`, whose header's word 0 is `word`.
    /// `None` if the header or an array's length is invalid. This does not check that the object is
    /// inside the heap.
    #[inline(always)]
    pub fn object(&self, memory: &HeapMemory, index: u32, word: u32) -> Option<Object> {
        self.object_with(word, || {
            memory.read_u32(u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET))
        })
    }

    /// The size and the references of the object at `index` of a heap, which is known to begin there. `None` if its
    /// header is invalid, or if it is not inside the heap. That is noted as damage.
    pub fn object_in(&self, core: &mut HeapCore, index: u32) -> Option<Object> {
        let memory = &core.memory;
        let header = memory.read_u32(u64::from(index) + u64::from(VMGcHeader::WORD_OFFSET))?;
        match self.object(memory, index, header) {
            Some(object) if u64::from(index) + u64::from(object.size) <= memory.len() => {
                Some(object)
            }
            _ => {
                core.note_damage(index, BAD_OBJECT);
                None
            }
        }
    }

    /// As [`object`](Shapes::object). If it is an array, `length` reads its length.
    #[inline(always)]
    pub fn object_with(&self, word: u32, length: impl FnOnce() -> Option<u32>) -> Option<Object> {
        let shape = match self.by_type.get((word & TypeIndex::MAX) as usize) {
            Some(shape) if shape.word == word => shape,
            _ if word == EXTERNREF => {
                return Some(Object {
                    size: GcLayout::EXTERNREF_SIZE,
                    refs: Refs::None,
                    length: 0,
                });
            }
            _ => return None,
        };
        if shape.shift == NO_ARRAY {
            return Some(Object { size: shape.size, refs: shape.refs, length: 0 });
        }
        let length = length()?;
        let end = u64::from(shape.size) + (u64::from(length) << shape.shift);
        let size = (end + 7) & !7;
        if size > u64::from(gc_types::MAX_OBJECT_SIZE) {
            return None;
        }
        Some(Object { size: size as u32, refs: shape.refs, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};
    use gc_types::StorageType::*;
    use std::sync::Arc;

    /// The places of an object's references, decoded in pieces and in both directions.
    fn slots_of(shapes: &Shapes, at: u32, object: Object) -> Vec<u64> {
        let (mut slots, mut from) = (Vec::new(), Some(0));
        while let Some(element) = from {
            from = shapes.slots(at, object, element, 3, |slot| slots.push(slot));
        }
        assert_eq!(shapes.count(object) as usize, slots.len());
        let elements = object.elements(at);
        let mut backwards: Vec<u64> = elements.step_by(4).collect();
        if backwards.is_empty() {
            shapes.slots_backwards(at, object, |slot| backwards.push(slot));
            backwards.reverse();
        }
        assert_eq!(slots, backwards);
        slots
    }

    #[test]
    fn shapes_say_what_layouts_say() {
        let wide = std::iter::repeat_n(I64, 40).chain([Ref, I8, Ref]);
        let layouts = [
            GcLayout::Struct(StructLayout::new([]).unwrap()),
            GcLayout::Struct(StructLayout::new([I64, Ref, Ref]).unwrap()),
            GcLayout::Struct(StructLayout::new(wide).unwrap()),
            GcLayout::Exn(gc_types::ExnLayout::new([Ref, I32]).unwrap()),
            GcLayout::Array(ArrayLayout::new(I8)),
            GcLayout::Array(ArrayLayout::new(Ref)),
            GcLayout::Array(ArrayLayout::new(V128)),
        ];
        let mut table = LayoutTable::default();
        let mut shapes = Shapes::default();
        let options = HeapOptions {
            initial: 128 << 10,
            bounds: HeapBounds::Checked,
            maximum: 1 << 20,
            ..HeapOptions::default()
        };
        let mut memory = HeapMemory::new(&options).unwrap();
        let at = gc_types::NULL_PAGE_SIZE;
        for (i, layout) in layouts.iter().enumerate() {
            let ty = TypeIndex::new(i as u32 * 3).unwrap();
            let word = ty.header_word(layout.kind());
            assert_eq!(shapes.object(&memory, at, word), None);
            table.ensure(ty, &Arc::new(layout.clone())).unwrap();
            shapes.update(&table);
            for length in [0, 1, 7, 1000] {
                memory.write_u32(u64::from(at) + 8, length).unwrap();
                let object = shapes.object(&memory, at, word).unwrap();
                assert_eq!(Some(object.size), layout.size(length));
                assert_eq!(object.refs != Refs::None, layout.has_refs());
                let is_array = layout.as_array().is_some();
                assert_eq!(object.length, if is_array { length } else { 0 });
                let bits = match object.refs {
                    Refs::None => Some(0),
                    Refs::Bits(bits) => Some(bits),
                    _ => None,
                };
                let plain = bits.filter(|_| !is_array).map(|bits| (object.size, bits));
                assert_eq!(shapes.plain(word), plain);
                let offsets: Vec<u32> = match layout {
                    GcLayout::Struct(layout) => layout.refs.to_vec(),
                    GcLayout::Exn(layout) => layout.refs.to_vec(),
                    GcLayout::Array(array) if array.element.is_ref() => {
                        (0..length).map(|n| array.element_offset(n) as u32).collect()
                    }
                    GcLayout::Array(_) => Vec::new(),
                };
                let places = offsets.iter().map(|offset| u64::from(at) + u64::from(*offset));
                assert!(places.eq(slots_of(&shapes, at, object)), "{layout:?}");
            }
            for wrong in [word ^ 1, word ^ 1 << 26, 0] {
                assert_eq!(shapes.object(&memory, at, wrong), None);
                assert_eq!(shapes.plain(wrong), None);
                assert!([NO_KIND, NO_SUCH_TYPE].contains(&shapes.fault(wrong)));
            }
            assert_eq!(shapes.fault(word), "an array's length is invalid");
        }
        let refs = |i: u32| {
            let ty = TypeIndex::new(i * 3).unwrap();
            let word = ty.header_word(layouts[i as usize].kind());
            shapes.object(&memory, at, word).unwrap().refs
        };
        assert_eq!(refs(1), Refs::Bits(0b1100));
        let Refs::List(list) = refs(2) else { panic!("not a list") };
        assert_eq!(shapes.list(list), [328, 336]);
        assert_eq!(refs(3), Refs::Bits(0b100));
        assert_eq!(refs(5), Refs::Elements(12));
        memory.write_u32(u64::from(at) + 8, u32::MAX).unwrap();
        let word = TypeIndex::new(15).unwrap().header_word(VMGcKind::ArrayRef);
        assert_eq!(shapes.object(&memory, at, word), None);
        assert_eq!(shapes.object(&memory, at, EXTERNREF).unwrap().size, 16);
    }
}
