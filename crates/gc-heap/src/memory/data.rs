//! The data words of a heap, which emitted code shares with the collector.

use super::{BOUND, HeapMemory};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{HeapDataOffsets, NULL_PAGE_SIZE};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

impl HeapMemory {
    /// The data word at byte `offset`.
    ///
    /// # Panics
    /// Unless `offset` is a multiple of 4 below [`HeapDataOffsets::SIZE`]. Callers pass a constant,
    /// never a value read from a heap.
    #[inline]
    pub fn data_u32(&self, offset: u32) -> u32 {
        self.data_word(offset).load(Relaxed)
    }

    /// Writes the data word at byte `offset`, which emitted code reads.
    ///
    /// # Panics
    /// * As [`data_u32`](HeapMemory::data_u32).
    /// * If it is one of the words of [`HeapDataOffsets::BOUND`], or a word that belongs to a
    ///   [table](gc_types::SideTable::owned_words) of the collector. Emitted code relies on them, so only
    ///   this type and the owner of the table write them.
    /// * If it is [`NEXT`] or [`LIMIT`], and emitted code would allocate outside the mapped memory:
    ///   unless `LIMIT` is zero, it must not exceed [`len`](HeapMemory::len), and `NEXT` must not be
    ///   in the null page.
    #[inline]
    pub fn set_data_u32(&mut self, offset: u32, value: u32) {
        let word = self.data_word(offset);
        if self.mapping.is_kept(offset) {
            self.refuse_to_write(offset);
        }
        match offset {
            NEXT => self.check_free(value, self.data_u32(LIMIT)),
            LIMIT => self.check_free(self.data_u32(NEXT), value),
            _ => (),
        }
        word.store(value, Relaxed);
    }

    #[cold]
    fn refuse_to_write(&self, offset: u32) -> ! {
        assert!(!BOUND.contains(&offset), "only the heap's memory writes its bound");
        panic!("only the owner of a side table writes the data word at {offset}");
    }

    /// Refuses a range for allocation that is not mapped.
    #[inline]
    pub(crate) fn check_free(&self, next: u32, limit: u32) {
        let mapped = next >= NULL_PAGE_SIZE && u64::from(limit) <= self.len;
        assert!(
            limit == 0 || mapped,
            "emitted code would allocate from {next:#x} to {limit:#x}, where the heap is not \
             mapped: it is from {NULL_PAGE_SIZE:#x} to {:#x}",
            self.len
        );
    }

    /// The two data words at byte `offset` as one number. The read is not atomic. It is consistent
    /// because no compiled code of this heap runs while the host runs.
    ///
    /// # Panics
    /// As [`data_u32`](HeapMemory::data_u32).
    pub fn data_u64(&self, offset: u32) -> u64 {
        let halves = [self.data_u32(offset), self.data_u32(offset + 4)];
        let [low, high] =
            if cfg!(target_endian = "little") { halves } else { [halves[1], halves[0]] };
        u64::from(high) << 32 | u64::from(low)
    }

    /// Writes the two data words at byte `offset` as one number.
    ///
    /// # Panics
    /// As [`set_data_u32`](HeapMemory::set_data_u32).
    pub fn set_data_u64(&mut self, offset: u32, value: u64) {
        let [first, second] = halves(value);
        self.set_data_u32(offset, first);
        self.set_data_u32(offset + 4, second);
    }

    /// Writes the bound that emitted code compares addresses with.
    pub(super) fn publish_bound(&mut self) {
        let [first, second] = halves(self.len);
        self.data_word(HeapDataOffsets::BOUND).store(first, Relaxed);
        self.data_word(HeapDataOffsets::BOUND + 4).store(second, Relaxed);
    }

    #[inline]
    fn data_word(&self, offset: u32) -> &AtomicU32 {
        self.mapping.data_word(offset)
    }
}

/// The two words of a number, in the order of their addresses.
pub(super) fn halves(value: u64) -> [u32; 2] {
    let (low, high) = (value as u32, (value >> 32) as u32);
    if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
}
