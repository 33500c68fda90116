//! What an object is, according to its header: its kind, its layout, its size, its elements and its
//! references.

use super::HeapCore;
use crate::{ExternRefHostDataId, HeapError, LayoutTable};
use gc_types::{ArrayLayout, GcLayout, StorageType, VMGcHeader, VMGcKind, VMGcRef};

pub(crate) const NO_TYPE: &str = "a header names no type of its kind";
pub(crate) const NO_KIND: &str = "a header names no kind";
pub(crate) const PASSES_END: &str = "an object extends beyond the end of the memory for it";

/// Objects.
impl HeapCore {
    /// Whether the reference refers to an object whose kind is `kind` or a subkind of it.
    pub fn is_kind(&self, gc_ref: &VMGcRef, kind: VMGcKind) -> bool {
        let actual = self.header(gc_ref).ok().and_then(|header| header.kind());
        actual.is_some_and(|actual| actual.matches(kind))
    }

    /// The object's index in bytes.
    ///
    /// # Errors
    /// If the reference is an `i31`.
    #[inline]
    pub fn index(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        match gc_ref.as_heap_index() {
            Some(index) => Ok(index.get()),
            None => Err(HeapError::NotAnObject { raw: gc_ref.as_raw_u32() }),
        }
    }

    /// The object's header.
    ///
    /// # Errors
    /// If the reference does not refer to mapped memory.
    #[inline]
    pub fn header(&self, gc_ref: &VMGcRef) -> Result<VMGcHeader, HeapError> {
        self.header_at(self.index(gc_ref)?)
    }

    /// The header at `index`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn header_at(&self, index: u32) -> Result<VMGcHeader, HeapError> {
        let at = u64::from(index);
        match (
            self.memory.read_u32(at + u64::from(VMGcHeader::WORD_OFFSET)),
            self.memory.read_u32(at + u64::from(VMGcHeader::COLLECTOR_OFFSET)),
        ) {
            (Some(word), Some(collector)) => Ok(VMGcHeader::from_words(word, collector)),
            _ => Err(HeapError::outside(index)),
        }
    }

    /// Writes the header at `index`. Returns `None` and writes nothing unless it is mapped.
    #[inline]
    #[must_use]
    pub fn set_header_at(&mut self, index: u32, header: VMGcHeader) -> Option<()> {
        // Word 0 is at the lower address in every byte order.
        const _: () = assert!(VMGcHeader::WORD_OFFSET == 0 && VMGcHeader::COLLECTOR_OFFSET == 4);
        let (word, collector) = (u64::from(header.word()), u64::from(header.collector_bits()));
        let both = if cfg!(target_endian = "little") {
            collector << 32 | word
        } else {
            word << 32 | collector
        };
        self.memory.write_u64(u64::from(index), both)
    }

    /// The layout of the object at `index`. `None` for an externref's box.
    ///
    /// # Errors
    /// If its header names no kind or no known type of that kind.
    #[inline]
    pub fn layout_at(&self, index: u32) -> Result<Option<&GcLayout>, HeapError> {
        match Named::by(self.header_at(index)?, &self.side.layouts) {
            Named::ExternRef => Ok(None),
            Named::Layout(layout) => Ok(Some(layout)),
            Named::NoType => Err(HeapError::Corrupt { at: index, what: NO_TYPE }),
            Named::NoKind => Err(HeapError::Corrupt { at: index, what: NO_KIND }),
        }
    }

    /// Bytes of the object at `index`, header included, according to its header and length.
    ///
    /// # Errors
    /// If the header or the length is invalid, or the object would pass the end of the mapped
    /// memory.
    pub fn size_at(&self, index: u32) -> Result<u32, HeapError> {
        let size = match self.layout_at(index)? {
            None => GcLayout::EXTERNREF_SIZE,
            Some(GcLayout::Array(layout)) => layout
                .size(self.length_at(index)?)
                .ok_or(HeapError::Corrupt { at: index, what: "an array's length is invalid" })?,
            Some(GcLayout::Struct(layout)) => layout.size,
            Some(GcLayout::Exn(layout)) => layout.size,
        };
        if u64::from(index) + u64::from(size) > self.memory.len() {
            return Err(HeapError::Corrupt {
                at: index,
                what: "an object extends beyond the heap's end",
            });
        }
        Ok(size)
    }

    /// Calls `visit` with the index and the size of each of the adjacent objects from the one at `at` up to `end`.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at); that of `visit`; if an object passes `end`, for which `visit` is not
    /// called.
    pub fn walk(
        &self,
        mut at: u32,
        end: u32,
        mut visit: impl FnMut(u32, u32) -> Result<(), HeapError>,
    ) -> Result<(), HeapError> {
        while at < end {
            // The size is at least a header's, so the walk advances.
            let size = self.size_before(at, end)?;
            visit(at, size)?;
            at += size;
        }
        Ok(())
    }

    /// As [`size_at`](HeapCore::size_at), for an object that must not pass `end`.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at), and if it does.
    pub fn size_before(&self, index: u32, end: u32) -> Result<u32, HeapError> {
        let size = self.size_at(index)?;
        if size > end.saturating_sub(index) {
            return Err(HeapError::Corrupt { at: index, what: PASSES_END });
        }
        Ok(size)
    }

    /// Bytes of an object, header included.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at).
    pub fn object_size(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        self.size_at(self.index(gc_ref)?)
    }

    /// The length word of an array at `index`, unchecked.
    #[inline]
    fn length_at(&self, index: u32) -> Result<u32, HeapError> {
        self.memory
            .read_u32(u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET))
            .ok_or_else(|| HeapError::outside(index))
    }

    /// The index and layout of an array.
    #[inline]
    fn array(&self, array: &VMGcRef) -> Result<(u32, ArrayLayout), HeapError> {
        let index = self.index(array)?;
        match self.layout_at(index)? {
            Some(GcLayout::Array(layout)) => Ok((index, *layout)),
            _ => Err(HeapError::WrongKind { expected: VMGcKind::ArrayRef, at: index }),
        }
    }

    /// Number of elements of an array.
    ///
    /// # Errors
    /// If the object is not an array.
    #[inline]
    pub fn array_len(&self, array: &VMGcRef) -> Result<u32, HeapError> {
        self.length_at(self.array(array)?.0)
    }

    /// The offset of `count` elements from `index` on, in bytes from the array's start, and their
    /// storage type.
    ///
    /// # Errors
    /// If the object is not an array or does not have these elements.
    #[inline]
    pub fn array_element(
        &self,
        array: &VMGcRef,
        index: u32,
        count: u32,
    ) -> Result<(u32, StorageType), HeapError> {
        let (at, layout) = self.array(array)?;
        let length = self.length_at(at)?;
        if u64::from(index) + u64::from(count) > u64::from(length) {
            return Err(HeapError::OutOfBounds {
                index: u64::from(index),
                count: u64::from(count),
                length,
            });
        }
        match u32::try_from(layout.element_offset(index)) {
            Ok(offset) => Ok((offset, layout.element)),
            Err(_) => Err(HeapError::Corrupt { at, what: "an array's length is invalid" }),
        }
    }

    /// The id in an externref's box.
    ///
    /// # Errors
    /// If the object is not an externref, or the id is zero.
    pub fn externref_id(&self, externref: &VMGcRef) -> Result<ExternRefHostDataId, HeapError> {
        let index = self.index(externref)?;
        if self.header_at(index)?.kind() != Some(VMGcKind::ExternRef) {
            return Err(HeapError::WrongKind { expected: VMGcKind::ExternRef, at: index });
        }
        self.externref_id_at(index)
            .ok_or(HeapError::Corrupt { at: index, what: "an externref without a host value" })
    }

    /// Writes the id into a new externref's box.
    ///
    /// # Errors
    /// If the reference does not refer to mapped memory.
    pub fn set_externref_id(
        &mut self,
        externref: &VMGcRef,
        id: ExternRefHostDataId,
    ) -> Result<(), HeapError> {
        let at = u64::from(self.index(externref)?) + u64::from(GcLayout::EXTERNREF_ID_OFFSET);
        match self.memory.write_u32(at, id.as_raw()) {
            Some(()) => {
                self.side.has_externrefs = true;
                Ok(())
            }
            None => Err(HeapError::Corrupt { at: externref.as_raw_u32(), what: "no object" }),
        }
    }

    /// The id in the externref's box at `index`, unless it is zero.
    pub fn externref_id_at(&self, index: u32) -> Option<ExternRefHostDataId> {
        let at = u64::from(index) + u64::from(GcLayout::EXTERNREF_ID_OFFSET);
        ExternRefHostDataId::from_raw(self.memory.read_u32(at)?)
    }

    /// Calls `visit` with the heap index and the contents of every non-null
    /// reference in the object at `index`, in address order. The contents may be
    /// an `i31`.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at).
    pub fn for_each_ref_at(
        &self,
        index: u32,
        mut visit: impl FnMut(u64, VMGcRef),
    ) -> Result<(), HeapError> {
        self.size_at(index)?;
        let mut look = |at: u64| {
            if let Some(gc_ref) = self.memory.read_u32(at).and_then(VMGcRef::from_raw_u32) {
                visit(at, gc_ref);
            }
        };
        let base = u64::from(index);
        match self.layout_at(index)? {
            None => {}
            Some(GcLayout::Struct(layout)) => {
                layout.refs.iter().for_each(|&offset| look(base + u64::from(offset)));
            }
            Some(GcLayout::Exn(layout)) => {
                layout.refs.iter().for_each(|&offset| look(base + u64::from(offset)));
            }
            Some(GcLayout::Array(layout)) if layout.element.is_ref() => {
                for element in 0..self.length_at(index)? {
                    look(base + layout.element_offset(element));
                }
            }
            Some(GcLayout::Array(_)) => {}
        }
        Ok(())
    }
}

/// The meaning of a header.
enum Named<'a> {
    /// An externref's box.
    ExternRef,
    /// A type of the header's kind.
    Layout(&'a GcLayout),
    /// A valid kind, but no type of that kind.
    NoType,
    /// No valid kind.
    NoKind,
}

impl<'a> Named<'a> {
    #[inline]
    fn by(header: VMGcHeader, layouts: &'a LayoutTable) -> Named<'a> {
        match header.kind() {
            Some(VMGcKind::ExternRef) => Named::ExternRef,
            Some(kind) => match layouts.get(header.ty()) {
                Some(layout) if layout.kind() == kind => Named::Layout(layout),
                _ => Named::NoType,
            },
            None => Named::NoKind,
        }
    }
}
