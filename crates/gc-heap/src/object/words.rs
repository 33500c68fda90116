//! The words of objects: references without barriers, scalars, and allocation by bumping an index.

use super::HeapCore;
use crate::HeapError;
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{StorageType, VMGcHeader, VMGcRef};

/// References, without barriers.
impl HeapCore {
    /// The reference at heap index `at`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn read_ref_at(&self, at: u64) -> Result<Option<VMGcRef>, HeapError> {
        let word = self.memory.read_u32(at).ok_or_else(|| HeapError::outside(at as u32))?;
        Ok(VMGcRef::from_raw_u32(word))
    }

    /// Writes a copy of `source`, or null, at heap index `at`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn write_ref_at(&mut self, at: u64, source: Option<&VMGcRef>) -> Result<(), HeapError> {
        let word = source.map_or(0, VMGcRef::as_raw_u32);
        self.memory.write_u32(at, word).ok_or_else(|| HeapError::outside(at as u32))
    }

    /// Copies `count` references from heap index `from` to heap index `to`. The ranges may overlap.
    ///
    /// # Errors
    /// If not all are mapped. Then nothing was copied.
    pub fn copy_refs_at(&mut self, to: u64, from: u64, count: u32) -> Result<(), HeapError> {
        let bytes = u64::from(count) * 4;
        self.memory.copy_within(to, from, bytes).ok_or_else(|| HeapError::outside(to as u32))
    }

    /// Writes copies of `source`, or nulls, into the `count` slots that begin at heap index `at`.
    ///
    /// # Errors
    /// If not all of them are mapped. Some may have been written.
    pub fn fill_refs_at(
        &mut self,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        let word = source.map_or(0, VMGcRef::as_raw_u32);
        self.fill_scalars_at(at, StorageType::I32, word.into(), count)
    }

    /// Writes the low bits of `bits` as a `ty` into the `count` places that begin at heap index
    /// `at`, without a barrier.
    ///
    /// # Errors
    /// If not all of them are mapped. Some may have been written.
    pub fn fill_scalars_at(
        &mut self,
        at: u64,
        ty: StorageType,
        bits: u128,
        count: u32,
    ) -> Result<(), HeapError> {
        let size = u64::from(ty.size());
        let bytes = u64::from(count) * size;
        if count == 0 {
            return Ok(());
        }
        if size == 1 {
            return self
                .memory
                .fill(at, bytes, bits as u8)
                .ok_or_else(|| HeapError::outside(at as u32));
        }
        // Writes the first place, and then copies the written part, which doubles each time as long as
        // it is in the processor's nearest cache.
        const NEAR: u64 = 4 << 10;
        self.write_scalar(at, ty, bits)?;
        let mut done = size;
        while done < bytes {
            let more = done.min(NEAR).min(bytes - done);
            let copied = at.checked_add(done).and_then(|to| self.memory.copy_within(to, at, more));
            copied.ok_or_else(|| HeapError::outside(at as u32))?;
            done += more;
        }
        Ok(())
    }
}

/// Allocation.
impl HeapCore {
    /// Allocates by bumping [`NEXT`] up to [`LIMIT`] in the heap data, as emitted code does.
    /// Returns the index of a new object of `size` bytes with this header, or `None` if there is no
    /// room or damage was noted.
    #[inline]
    pub fn bump(&mut self, header: VMGcHeader, size: u32) -> Option<u32> {
        debug_assert!(size >= VMGcHeader::SIZE && size.is_multiple_of(8));
        if self.damage.is_some() {
            return None;
        }
        let (next, limit) = (self.memory.data_u32(NEXT), self.memory.data_u32(LIMIT));
        let end = next.checked_add(size).filter(|&end| end <= limit)?;
        self.set_header_at(next, header)?;
        self.memory.set_data_u32(NEXT, end);
        Some(next)
    }
}

/// Scalars.
impl HeapCore {
    /// The bits of a value of type `ty` at heap index `at`, zero-extended.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn read_scalar(&self, at: u64, ty: StorageType) -> Result<u128, HeapError> {
        let memory = &self.memory;
        match ty.size() {
            1 => memory.read_u8(at).map(u128::from),
            2 => memory.read_u16(at).map(u128::from),
            4 => memory.read_u32(at).map(u128::from),
            8 => memory.read_u64(at).map(u128::from),
            _ => memory.read_u128(at),
        }
        .ok_or_else(|| HeapError::outside(at as u32))
    }

    /// Writes the low bits of `bits` as a value of type `ty` at heap index `at`, without a barrier.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn write_scalar(&mut self, at: u64, ty: StorageType, bits: u128) -> Result<(), HeapError> {
        let memory = &mut self.memory;
        match ty.size() {
            1 => memory.write_u8(at, bits as u8),
            2 => memory.write_u16(at, bits as u16),
            4 => memory.write_u32(at, bits as u32),
            8 => memory.write_u64(at, bits as u64),
            _ => memory.write_u128(at, bits),
        }
        .ok_or_else(|| HeapError::outside(at as u32))
    }
}
