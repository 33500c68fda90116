//! [`KeptWords`]: data words that only one collector writes.

use super::{BOUND_WORDS, HeapMapping, HeapMemory, halves};
use crate::HeapError;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Data words with which emitted code addresses a [native table](crate::side), or
/// on which such an address depends. Only this value writes them:
/// [`HeapMemory::set_data_u32`] refuses to, and [`HeapMemory::reset`] leaves them.
///
/// A table has this value. So the words do not outlive the table, and it writes the same words even if
/// somebody replaces the [`HeapMemory`] of its collector.
#[derive(Debug)]
pub(crate) struct KeptWords {
    mapping: Arc<HeapMapping>,
    /// A bit for each word.
    words: u32,
}

impl KeptWords {
    /// Keeps these [words] of `memory`. They become zero.
    ///
    /// # Errors
    /// If another table keeps one of them.
    pub(crate) fn new(memory: &HeapMemory, words: u32) -> Result<KeptWords, HeapError> {
        debug_assert!(words & BOUND_WORDS == 0, "the heap's memory keeps its bound");
        let mapping = memory.mapping();
        let free = |kept| (kept & words == 0).then_some(kept | words);
        if mapping.kept.fetch_update(Relaxed, Relaxed, free).is_err() {
            return Err(HeapError::Options {
                what: "the memory is that of another heap, which still uses it".to_owned(),
            });
        }
        let kept = KeptWords { mapping, words };
        kept.clear();
        Ok(kept)
    }

    /// Makes every word zero.
    pub(crate) fn clear(&self) {
        let ours = |n: &usize| self.words & 1 << n != 0;
        (0..u32::BITS as usize).filter(ours).for_each(|n| self.mapping.data.0[n].store(0, Relaxed));
    }

    /// The word at byte `offset`.
    #[inline]
    pub(crate) fn u32(&self, offset: u32) -> u32 {
        self.mapping.data_word(offset).load(Relaxed)
    }

    /// Writes the word at byte `offset`.
    #[inline]
    pub(crate) fn set_u32(&mut self, offset: u32, value: u32) {
        debug_assert!(self.words & 1 << (offset / 4) != 0, "the word at {offset} is not kept");
        self.mapping.data_word(offset).store(value, Relaxed);
    }

    /// Writes the two words at byte `offset` as one number.
    pub(crate) fn set_u64(&mut self, offset: u32, value: u64) {
        let [first, second] = halves(value);
        self.set_u32(offset, first);
        self.set_u32(offset + 4, second);
    }
}

impl Drop for KeptWords {
    fn drop(&mut self) {
        self.clear();
        self.mapping.kept.fetch_and(!self.words, Relaxed);
    }
}
