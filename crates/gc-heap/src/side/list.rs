//! [`ListTable`]: a list to which emitted code appends references.

use crate::memory::KeptWords;
use crate::{HeapError, HeapMemory};
use gc_types::{SideForm, SideTable};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Capacity of the first chunk, in references.
const FIRST_CAPACITY: usize = 1 << 10;

/// A list to which emitted code appends references. It has no memory until the first one is appended, and
/// doubles when it is full. Only the host makes it larger: emitted code calls it when the list is full.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, ListTable};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// const AT: u32 = HeapDataOffsets::COLLECTOR + 8;
/// const LIST: SideTable = SideTable::appended("list", AT, AT + 8, AT + 12);
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut list = ListTable::new(&memory, LIST)?;
/// list.push(&mut memory, 64);
/// assert_eq!((list.len(&memory), list.get(0)), (1, 64));
/// assert!(list.entries(&memory).eq([64]));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct ListTable {
    /// Atomic because emitted code writes it through a shared address.
    chunk: Vec<AtomicU32>,
    table: SideTable,
    len: u32,
    capacity: u32,
    kept: KeptWords,
}

impl Drop for ListTable {
    fn drop(&mut self) {
        self.kept.leave(std::mem::take(&mut self.chunk));
    }
}

impl ListTable {
    /// Makes an empty list without memory, for a heap in `memory`.
    ///
    /// # Errors
    /// If there is such a list already, or the collector's ABI has another one.
    ///
    /// # Panics
    /// If the table was declared in another [form](SideForm::Appended).
    pub fn new(memory: &HeapMemory, table: SideTable) -> Result<ListTable, HeapError> {
        let SideForm::Appended { len, capacity } = table.form() else { super::other_form(table) };
        let kept = KeptWords::new(memory, table)?;
        Ok(ListTable { chunk: Vec::new(), table, len, capacity, kept })
    }

    /// Number of entries. `memory` must be that of the heap.
    #[inline]
    pub fn len(&self, memory: &HeapMemory) -> u32 {
        memory.data_u32(self.len).min(self.capacity())
    }

    /// Whether there are no entries.
    pub fn is_empty(&self, memory: &HeapMemory) -> bool {
        self.len(memory) == 0
    }

    /// Number of entries for which there is memory.
    pub fn capacity(&self) -> u32 {
        self.chunk.len() as u32
    }

    /// Removes all entries but the first `len`, if there are more. The memory is kept.
    #[inline]
    pub fn truncate(&mut self, memory: &mut HeapMemory, len: u32) {
        memory.set_data_u32(self.len, self.len(memory).min(len));
    }

    /// Appends a reference.
    #[inline]
    pub fn push(&mut self, memory: &mut HeapMemory, entry: u32) {
        let len = self.len(memory);
        if len == self.capacity() {
            self.grow();
        }
        self.chunk[len as usize].store(entry, Relaxed);
        memory.set_data_u32(self.len, len + 1);
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = (self.chunk.len() * 2).max(FIRST_CAPACITY);
        self.chunk.resize_with(capacity, AtomicU32::default);
        self.kept.set_u64(self.table.address(), super::address(self.chunk.as_ptr()));
        self.kept.set_u32(self.capacity, self.capacity());
        self.kept.set_entries(&self.chunk);
    }

    /// The entry at `place`.
    ///
    /// # Panics
    /// If there is no memory for so many entries.
    #[inline]
    pub fn get(&self, place: u32) -> u32 {
        self.chunk[place as usize].load(Relaxed)
    }

    /// Writes `entry` at `place`.
    ///
    /// # Panics
    /// If there is no memory for so many entries.
    pub fn set(&mut self, place: u32, entry: u32) {
        self.chunk[place as usize].store(entry, Relaxed);
    }

    /// All entries.
    pub fn entries(&self, memory: &HeapMemory) -> impl Iterator<Item = u32> {
        self.chunk[..self.len(memory) as usize].iter().map(|entry| entry.load(Relaxed))
    }
}
