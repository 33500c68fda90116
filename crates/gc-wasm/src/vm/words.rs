//! [`VMWords`]: memory that compiled code and the host share, such as a vmctx.
//!
//! Compiled code holds the addresses of such words all the time, so the host never has
//! exclusive access to them: they are atomics. Nobody uses them at once, so that every access
//! is a plain load or store.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The unit of allocation: what a global is as large as, and aligned to.
#[repr(C, align(16))]
struct Block([AtomicU64; 2]);

/// A place in memory that compiled code and the host share. The memory lives as long as any
/// place in it is held, and does not move.
#[derive(Clone)]
pub(crate) struct VMWords {
    blocks: Arc<[Block]>,
    /// Bytes from the first block, a multiple of eight.
    offset: usize,
}

impl VMWords {
    /// New memory of at least so many bytes, all zero, aligned to 16 bytes.
    pub(crate) fn new(bytes: usize) -> VMWords {
        // SAFETY: zero bytes are blocks of zeroes.
        let blocks = unsafe { Arc::new_zeroed_slice(bytes.div_ceil(16)).assume_init() };
        VMWords { blocks, offset: 0 }
    }

    /// The place so many bytes from here.
    ///
    /// # Panics
    /// If no word begins there.
    pub(crate) fn at(&self, offset: u32) -> VMWords {
        let offset = self.offset + offset as usize;
        assert!(offset.is_multiple_of(8) && offset < size_of_val(&*self.blocks), "not a word");
        VMWords { blocks: self.blocks.clone(), offset }
    }

    /// Its address, which compiled code may use for as long as the place is held.
    pub(crate) fn address(&self) -> *mut u8 {
        self.blocks.as_ptr().cast::<u8>().cast_mut().wrapping_add(self.offset)
    }

    fn word(&self, offset: u32) -> &AtomicU64 {
        let word = (self.offset + offset as usize) / 8;
        &self.blocks[word / 2].0[word % 2]
    }

    /// The 64 bits at `offset` bytes from here, a multiple of eight.
    ///
    /// # Panics
    /// If that is outside the memory.
    #[inline]
    pub(crate) fn get(&self, offset: u32) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// Overwrites these 64 bits.
    ///
    /// # Panics
    /// If they are outside the memory.
    #[inline]
    pub(crate) fn set(&self, offset: u32, value: u64) {
        self.word(offset).store(value, Ordering::Relaxed);
    }

    /// The 32 bits at `offset` bytes from here, a multiple of eight.
    pub(crate) fn get_u32(&self, offset: u32) -> u32 {
        let [a, b, c, d, ..] = self.get(offset).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    /// Overwrites two times 32 bits.
    pub(crate) fn set_u32s(&self, offset: u32, first: u32, second: u32) {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        self.set(offset, u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }

    /// The address that stands `offset` bytes from here.
    pub(crate) fn get_pointer<T>(&self, offset: u32) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.get(offset) as usize)
    }

    /// Overwrites that address.
    pub(crate) fn set_pointer<T>(&self, offset: u32, pointer: *const T) {
        self.set(offset, pointer.expose_provenance() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_share_their_memory() {
        let words = VMWords::new(40);
        let inner = words.at(24);
        assert_eq!(inner.address().addr(), words.address().addr() + 24);
        assert!(words.address().addr().is_multiple_of(16));
        inner.set_u32s(8, 7, 9);
        assert_eq!((words.get_u32(32), inner.get(8) >> 32), (7, 9));
        words.set_pointer(24, words.address());
        drop(words);
        assert!(!inner.get_pointer::<u8>(0).is_null());
    }

    #[test]
    #[should_panic(expected = "not a word")]
    fn a_place_is_inside() {
        VMWords::new(32).at(32);
    }
}
