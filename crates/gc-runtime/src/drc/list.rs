//! The list of objects that a collection examines: young ones that got a count, and mature ones
//! whose count reached zero. It is a chunk of native memory to which emitted code appends.
//!
//! The `LISTED` flag in an object's header ensures that the object is in the list at most once.

use gc_heap::{HeapError, HeapMemory, ListTable};
use gc_types::collector::drc::LIST;

/// With fewer entries than this, entering compiled code never asks for a collection.
const FIRST_THRESHOLD: u32 = 1 << 16;

/// The list, and the number of entries from which on a collection is due.
#[derive(Debug)]
pub(super) struct List {
    table: ListTable,
    threshold: u32,
}

impl List {
    /// An empty list without memory, for a heap in `memory`.
    ///
    /// # Errors
    /// If the memory is that of another heap.
    pub(super) fn new(memory: &HeapMemory) -> Result<List, HeapError> {
        Ok(List { table: ListTable::new(memory, LIST)?, threshold: FIRST_THRESHOLD })
    }

    /// Number of entries.
    #[inline]
    pub(super) fn len(&self, memory: &HeapMemory) -> u32 {
        self.table.len(memory)
    }

    /// Appends a reference.
    #[inline]
    pub(super) fn push(&mut self, memory: &mut HeapMemory, entry: u32) {
        self.table.push(memory, entry);
    }

    /// Removes the last entry, if it is `entry`. Returns whether it was.
    #[inline]
    pub(super) fn take_back(&mut self, memory: &mut HeapMemory, entry: u32) -> bool {
        let last = self.len(memory).checked_sub(1).filter(|last| self.get(*last) == entry);
        last.inspect(|last| self.table.truncate(memory, *last)).is_some()
    }

    /// The entry at `place`, below the length.
    #[inline]
    pub(super) fn get(&self, place: u32) -> u32 {
        self.table.get(place)
    }

    /// Writes `entry` at `place`, below the length.
    #[cfg(test)]
    pub(super) fn set(&mut self, place: u32, entry: u32) {
        self.table.set(place, entry);
    }

    /// All entries.
    pub(super) fn entries(&self, memory: &HeapMemory) -> impl Iterator<Item = u32> {
        self.table.entries(memory)
    }

    /// Replaces the entries by those in `entries` and empties `entries`.
    pub(super) fn replace(&mut self, memory: &mut HeapMemory, entries: &mut Vec<u32>) {
        self.table.truncate(memory, 0);
        entries.drain(..).for_each(|entry| self.push(memory, entry));
    }

    /// Sets the threshold after a collection to twice the entries that stayed, and to `least` or more.
    pub(super) fn set_threshold(&mut self, memory: &HeapMemory, least: u32) {
        self.threshold = self.len(memory).saturating_mul(2).max(FIRST_THRESHOLD).max(least);
    }

    /// Whether `count` more entries would pass the threshold.
    pub(super) fn is_crowded(&self, memory: &HeapMemory, count: u32) -> bool {
        self.len(memory).saturating_add(count) > self.threshold
    }

    /// Empties the list, but keeps the chunk. The length must have been zeroed.
    pub(super) fn reset(&mut self) {
        self.threshold = FIRST_THRESHOLD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_heap::{HeapBounds, HeapOptions};
    use gc_types::collector::drc::{LIST_CAPACITY, LIST_LEN};

    #[test]
    fn the_chunk_comes_late_and_doubles() {
        let bounds = HeapBounds::Checked;
        let options = HeapOptions { initial: 0, maximum: 0, bounds, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let mut list = List::new(&memory).unwrap();
        assert_eq!((list.len(&memory), list.table.capacity()), (0, 0));
        for i in 0..3000 {
            list.push(&mut memory, i * 8);
        }
        assert_eq!(memory.data_u32(LIST_LEN), 3000);
        assert_eq!(memory.data_u32(LIST_CAPACITY), 4096);
        assert!(list.entries(&memory).eq((0..3000).map(|i| i * 8)));
        assert!(!list.is_crowded(&memory, 1) && list.is_crowded(&memory, FIRST_THRESHOLD));
        list.replace(&mut memory, &mut vec![8, 16]);
        assert!(list.entries(&memory).eq([8, 16]));
        assert!(!list.take_back(&mut memory, 8) && list.take_back(&mut memory, 16));
        assert!(list.take_back(&mut memory, 8) && !list.take_back(&mut memory, 8));
        assert_eq!(memory.data_u32(LIST_LEN), 0);
    }
}
