//! Reading and writing a heap's bytes.
//!
//! Every access takes a byte index from the heap's base as an untrusted number, which may be
//! misaligned, and checks it against the mapped range. So a corrupt reference cannot reach outside.
//! Accesses use raw pointers and never Rust references, because compiled code writes the same bytes
//! without the Rust compiler's knowledge.
#![allow(unsafe_code)]

use super::view::HeapView;
use super::{HeapMemory, NULL_PAGE};
use crate::arch::{self, prefetch};
use std::slice;

impl HeapMemory {
    /// The address of index `at`, if `size` bytes from there on are mapped.
    #[inline(always)]
    pub(super) fn pointer(&self, at: u64, size: u64) -> Option<*mut u8> {
        if at >= NULL_PAGE && at <= self.len && size <= self.len - at {
            // SAFETY: `at <= len`, which is inside the reservation.
            Some(unsafe { self.base().add(at as usize) })
        } else {
            None
        }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: u64) -> Option<T> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped. `T` is one of the integer types below, for which every bit
        // pattern is valid. Nobody writes while the host holds `&self`.
        Some(unsafe { pointer.cast::<T>().read_unaligned() })
    }

    #[inline(always)]
    #[must_use]
    fn write<T: Copy>(&mut self, at: u64, value: T) -> Option<()> {
        if self.is_lent(at) {
            // SAFETY: `T` is one of the integer types below, which have no padding.
            let bytes =
                unsafe { slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
            return self.write_lent(at, bytes);
        }
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped for writing, and there are no Rust references to them.
        unsafe { pointer.cast::<T>().write_unaligned(value) };
        Some(())
    }

    /// Prefetches the bytes at index `at`, which may be any number.
    #[inline(always)]
    pub fn prefetch(&self, at: u64) {
        if let Some(pointer) = self.pointer(at, 8) {
            prefetch(pointer);
        }
    }

    /// Copies the bytes from index `at` on into `out`. Returns `None` and copies nothing unless all
    /// are mapped.
    pub fn read_bytes(&self, at: u64, out: &mut [u8]) -> Option<()> {
        let pointer = self.pointer(at, out.len() as u64)?;
        // SAFETY: all source bytes are mapped, and `out` cannot overlap them, because there are no
        // Rust references into the heap.
        unsafe { pointer.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        Some(())
    }

    /// Copies `bytes` into the heap from index `at` on. Returns `None` and writes nothing unless
    /// all are mapped.
    #[must_use]
    pub fn write_bytes(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        let pointer = self.pointer(at, bytes.len() as u64)?;
        self.recall_range(at, bytes.len() as u64);
        // SAFETY: as in `read_bytes`.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(())
    }

    /// Copies `count` bytes within the heap; the ranges may overlap. Returns `None` and writes
    /// nothing unless all are mapped.
    #[must_use]
    pub fn copy_within(&mut self, to: u64, from: u64, count: u64) -> Option<()> {
        self.recall_range(to, count);
        let (to, from) = (self.pointer(to, count)?, self.pointer(from, count)?);
        // SAFETY: both ranges are mapped.
        unsafe { arch::copy_range(to, from, count as usize) };
        Some(())
    }

    /// Copies an object of `size` bytes, rounded up to a multiple of 8. The ranges must not
    /// overlap. Returns `None` and writes nothing unless all are mapped. This is faster than
    /// [`copy_within`](HeapMemory::copy_within) for the sizes of most objects.
    #[inline(always)]
    #[must_use]
    pub fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()> {
        self.bytes()?.copy_object(to, from, size.checked_next_multiple_of(8)?)
    }

    /// Sets `count` bytes from index `at` on to `byte`. Returns `None` and writes nothing unless
    /// all are mapped.
    #[inline]
    #[must_use]
    pub fn fill(&mut self, at: u64, count: u64, byte: u8) -> Option<()> {
        let pointer = self.pointer(at, count)?;
        self.recall_range(at, count);
        // SAFETY: the range is mapped for writing.
        unsafe { pointer.write_bytes(byte, count as usize) };
        Some(())
    }
}

macro_rules! accessors {
    ($($read:ident $write:ident $ty:ident $what:literal;)*) => {
        impl HeapMemory {
            $(
                #[doc = concat!("Reads ", $what, " at index `at`, which need not be aligned. Returns `None` unless all bytes are mapped.")]
                #[inline]
                pub fn $read(&self, at: u64) -> Option<$ty> {
                    self.read(at)
                }

                #[doc = concat!("Writes ", $what, " at index `at`, which need not be aligned. Returns `None` and writes nothing unless all bytes are mapped.")]
                #[inline]
                #[must_use]
                pub fn $write(&mut self, at: u64, value: $ty) -> Option<()> {
                    self.write(at, value)
                }
            )*
        }
    };
}

accessors! {
    read_u8 write_u8 u8 "one byte";
    read_u16 write_u16 u16 "two bytes";
    read_u32 write_u32 u32 "four bytes";
    read_u64 write_u64 u64 "eight bytes";
    read_u128 write_u128 u128 "sixteen bytes";
}
