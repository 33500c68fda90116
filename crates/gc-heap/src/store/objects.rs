//! Checked access to objects for the host: fields, array elements, bulk array
//! operations. References go through the collector's barriers.

use super::GcStore;
use crate::HeapError;
use gc_types::{StorageType, VMGcHeader, VMGcKind, VMGcRef};

impl GcStore {
    /// The object's header.
    ///
    /// # Errors
    /// If the reference does not refer to an object.
    pub fn header(&self, gc_ref: &VMGcRef) -> Result<VMGcHeader, HeapError> {
        self.heap.of(gc_ref)?.header(gc_ref)
    }

    /// Whether the reference refers to an object whose kind is `kind` or a subkind of it.
    pub fn is_kind(&self, gc_ref: &VMGcRef, kind: VMGcKind) -> bool {
        self.heap.get().is_some_and(|heap| heap.is_kind(gc_ref, kind))
    }

    /// The bits of the value of type `ty` at `offset` bytes from the object's start, zero-extended.
    /// A reference is read without a barrier.
    ///
    /// # Errors
    /// If it is not an object, or if the field is outside the heap.
    pub fn read_field(
        &self,
        object: &VMGcRef,
        offset: u32,
        ty: StorageType,
    ) -> Result<u128, HeapError> {
        self.heap.of(object)?.core().read_scalar(self.field(object, offset)?, ty)
    }

    /// A clone of the reference at `offset` bytes from the object's start. The caller holds it.
    ///
    /// # Errors
    /// As [`read_field`](GcStore::read_field).
    pub fn read_field_ref(
        &mut self,
        object: &VMGcRef,
        offset: u32,
    ) -> Result<Option<VMGcRef>, HeapError> {
        let raw = self.read_field(object, offset, StorageType::Ref)? as u32;
        Ok(VMGcRef::from_raw_u32(raw).map(|gc_ref| self.clone_gc_ref(&gc_ref)))
    }

    /// Writes the low bits of `bits` as a value of type `ty` at `offset` bytes from the object's
    /// start.
    ///
    /// # Errors
    /// As [`read_field`](GcStore::read_field); [`HeapError::WrongElement`] for a
    /// reference, which needs [`write_field_ref`](GcStore::write_field_ref).
    pub fn write_field(
        &mut self,
        object: &VMGcRef,
        offset: u32,
        ty: StorageType,
        bits: u128,
    ) -> Result<(), HeapError> {
        if ty.is_ref() {
            return Err(HeapError::WrongElement { at: object.as_raw_u32() });
        }
        let at = self.field(object, offset)?;
        self.heap.of_mut(object)?.core_mut().write_scalar(at, ty, bits)
    }

    /// Overwrites the reference at `offset` bytes from the object's start with a
    /// new reference to `source`'s object.
    ///
    /// # Errors
    /// As [`read_field`](GcStore::read_field).
    pub fn write_field_ref(
        &mut self,
        object: &VMGcRef,
        offset: u32,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        let at = self.field(object, offset)?;
        self.heap.of_mut(object)?.write_field_ref(&mut self.host_data, at, source)
    }

    fn field(&self, object: &VMGcRef, offset: u32) -> Result<u64, HeapError> {
        Ok(u64::from(self.heap.of(object)?.core().index(object)?) + u64::from(offset))
    }

    /// Number of elements of an array.
    ///
    /// # Errors
    /// If it is not an array.
    pub fn array_len(&self, array: &VMGcRef) -> Result<u32, HeapError> {
        self.heap.of(array)?.core().array_len(array)
    }

    /// The offset of `count` elements from `index` on, in bytes from the array's start, and their
    /// storage type.
    ///
    /// # Errors
    /// If it is not an array or does not have these elements.
    pub fn array_element(
        &self,
        array: &VMGcRef,
        index: u32,
        count: u32,
    ) -> Result<(u32, StorageType), HeapError> {
        self.heap.of(array)?.core().array_element(array, index, count)
    }

    /// Copies `length` elements. The two arrays may be the same, and the ranges may overlap.
    ///
    /// # Errors
    /// If one is not an array or does not have these elements, or the storage types differ.
    pub fn array_copy(
        &mut self,
        dst: &VMGcRef,
        dst_index: u32,
        src: &VMGcRef,
        src_index: u32,
        length: u32,
    ) -> Result<(), HeapError> {
        let heap = self.heap.of_mut(dst)?;
        let core = heap.core();
        let element = |array, index| {
            let (offset, ty) = core.array_element(array, index, length)?;
            Ok::<_, HeapError>((u64::from(core.index(array)?) + u64::from(offset), ty))
        };
        let (to, dst_type) = element(dst, dst_index)?;
        let (from, src_type) = element(src, src_index)?;
        if dst_type.is_ref() && src_type.is_ref() {
            heap.copy_ref_range(&mut self.host_data, to, from, length)
        } else if dst_type.is_ref() || src_type.is_ref() || dst_type.size() != src_type.size() {
            Err(HeapError::WrongElement { at: dst.as_raw_u32() })
        } else {
            let bytes = u64::from(length) * u64::from(dst_type.size());
            let memory = &mut heap.core_mut().memory;
            memory.copy_within(to, from, bytes).ok_or_else(|| HeapError::outside(to as u32))
        }
    }

    /// Stores one value into `length` elements from `index` on. `bits` are the bits of an element.
    /// For a reference this is its 32-bit word. Each element becomes a new reference, and the
    /// caller keeps its own.
    ///
    /// # Errors
    /// If it is not an array or does not have these elements.
    pub fn array_fill(
        &mut self,
        array: &VMGcRef,
        index: u32,
        bits: u128,
        length: u32,
    ) -> Result<(), HeapError> {
        let (offset, ty) = self.array_element(array, index, length)?;
        let at = self.field(array, offset)?;
        if ty.is_ref() {
            let source = VMGcRef::from_raw_u32(bits as u32);
            let heap = self.heap.of_mut(array)?;
            heap.fill_ref_range(&mut self.host_data, at, source.as_ref(), length)
        } else {
            self.heap.of_mut(array)?.core_mut().fill_scalars_at(at, ty, bits, length)
        }
    }

    /// Copies the elements from `index` on as little-endian bytes, as many as fill `bytes`. The
    /// elements must not be references.
    ///
    /// # Errors
    /// If it is not an array or does not have these elements; if they are references,
    /// or `bytes` is not a whole number of them, [`HeapError::WrongElement`].
    pub fn array_read_bytes(
        &self,
        array: &VMGcRef,
        index: u32,
        bytes: &mut [u8],
    ) -> Result<(), HeapError> {
        let (_, ty) = self.array_element(array, 0, 0)?;
        let size = ty.size() as usize;
        if ty.is_ref() || !bytes.len().is_multiple_of(size) {
            return Err(HeapError::WrongElement { at: array.as_raw_u32() });
        }
        let count = u32::try_from(bytes.len() / size)
            .map_err(|_| HeapError::TooLarge { length: bytes.len() as u64 })?;
        let (offset, _) = self.array_element(array, index, count)?;
        let at = self.field(array, offset)?;
        let core = self.heap.of(array)?.core();
        let done = core.memory.read_bytes(at, bytes);
        done.ok_or_else(|| HeapError::outside(at as u32))?;
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    /// Copies raw little-endian bytes into the elements from `index` on. The elements must not be
    /// references.
    ///
    /// # Errors
    /// If it is not an array or does not have these elements; if they are references,
    /// or `bytes` is not a whole number of them, [`HeapError::WrongElement`].
    pub fn array_write_bytes(
        &mut self,
        array: &VMGcRef,
        index: u32,
        bytes: &[u8],
    ) -> Result<(), HeapError> {
        let (_, ty) = self.array_element(array, 0, 0)?;
        let size = ty.size() as usize;
        if ty.is_ref() || !bytes.len().is_multiple_of(size) {
            return Err(HeapError::WrongElement { at: array.as_raw_u32() });
        }
        let count = u32::try_from(bytes.len() / size)
            .map_err(|_| HeapError::TooLarge { length: bytes.len() as u64 })?;
        let (offset, _) = self.array_element(array, index, count)?;
        let at = self.field(array, offset)?;
        let core = self.heap.of_mut(array)?.core_mut();
        if cfg!(target_endian = "little") || size == 1 {
            let done = core.memory.write_bytes(at, bytes);
            return done.ok_or_else(|| HeapError::outside(at as u32));
        }
        for (i, element) in bytes.chunks_exact(size).enumerate() {
            let mut bits = [0; 16];
            bits[..size].copy_from_slice(element);
            core.write_scalar(at + (i * size) as u64, ty, u128::from_le_bytes(bits))?;
        }
        Ok(())
    }
}
