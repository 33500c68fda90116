//! [`IndexedTable`]: a byte for each few bytes of a heap.

use crate::memory::KeptWords;
use crate::{HeapError, HeapMemory, MemoryPurpose, ZeroedVec};
use gc_types::{SideForm, SideTable};
use std::ops::{Deref, DerefMut};

/// The number of bytes is a multiple of this, so that whole cache lines can be read.
const LINE: usize = 64;

/// A byte for each `1 << shift` bytes of a heap: cards. It has its final size from the start. The system
/// provides its memory when it is first written.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, IndexedTable};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, 9);
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut cards = IndexedTable::new(&memory, CARDS)?;
/// let card = cards.place(0x12345);
/// cards[card] = 1;
/// assert_eq!(card, 0x12345 >> 9);
/// // Emitted code has its address.
/// assert_eq!(memory.data_u64(CARDS.address()), cards.as_ptr().addr() as u64);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct IndexedTable {
    bytes: ZeroedVec<u8>,
    shift: u32,
    kept: KeptWords,
}

impl IndexedTable {
    /// Makes the table for a heap in `memory`. All its bytes are zero.
    ///
    /// # Errors
    /// If the memory's source refuses, there is such a table already, or the collector's ABI has another one.
    ///
    /// # Panics
    /// If the table was declared in another [form](SideForm::Indexed).
    pub fn new(memory: &HeapMemory, table: SideTable) -> Result<IndexedTable, HeapError> {
        let SideForm::Indexed { shift } = table.form() else { super::other_form(table) };
        let mut bytes = ZeroedVec::new(memory.source(), MemoryPurpose::CollectorTable);
        // There is one more, for an element after the last index that a 32-bit sum can give.
        let len = ((memory.maximum() >> shift) as usize + 1).next_multiple_of(LINE);
        bytes.grow(len, len)?;
        let mut kept = KeptWords::new(memory, table)?;
        kept.set_u64(table.address(), super::address(bytes.as_ptr()));
        kept.set_entries(&bytes);
        Ok(IndexedTable { bytes, shift, kept })
    }

    /// The place of the byte for the heap index `index`.
    #[inline]
    pub fn place(&self, index: u32) -> usize {
        (index >> self.shift) as usize
    }
}

impl Drop for IndexedTable {
    fn drop(&mut self) {
        self.kept.leave(self.bytes.take());
    }
}

impl Deref for IndexedTable {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for IndexedTable {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
