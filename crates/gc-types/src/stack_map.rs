//! Stack maps: for each return address of compiled code that may be on the stack during a
//! collection, the slots of its frame that hold references.
//!
//! The table is compact. It has sorted 32-bit code offsets, which are searched by bisection. Each
//! has a frame size and a run in one shared pool of slot offsets; equal runs are stored once. A
//! slot is eight bytes and holds a zero-extended reference.

use std::collections::HashMap;

/// One frame's references at one return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackMap<'a> {
    /// Bytes from the frame's stack pointer up to its frame pointer: `SP = FP - frame_size`.
    pub frame_size: u32,
    /// Offsets in bytes, from the frame's stack pointer, of the eight-byte slots
    /// that hold a reference or null.
    pub slots: &'a [u32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    frame_size: u32,
    first: u32,
    count: u32,
}

/// The stack maps of one piece of code, by return-address offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackMapTable {
    /// Return-address offsets in bytes from the code's start, strictly ascending.
    offsets: Box<[u32]>,
    /// One for each offset.
    entries: Box<[Entry]>,
    /// Slot offsets, shared by entries.
    slots: Box<[u32]>,
}

impl StackMapTable {
    /// The map at the return address `code_offset` bytes into the code, if it is a safepoint with
    /// references in its frame.
    pub fn lookup(&self, code_offset: u32) -> Option<StackMap<'_>> {
        self.find(code_offset).map(|i| self.at(i))
    }

    /// The number of the map that [`lookup`](StackMapTable::lookup) returns, for
    /// [`at`](StackMapTable::at).
    pub fn find(&self, code_offset: u32) -> Option<usize> {
        self.offsets.binary_search(&code_offset).ok()
    }

    /// Map number `i`, less than [`len`](StackMapTable::len).
    ///
    /// # Panics
    /// If there is no such map.
    #[inline]
    pub fn at(&self, i: usize) -> StackMap<'_> {
        let entry = self.entries[i];
        let first = entry.first as usize;
        StackMap {
            frame_size: entry.frame_size,
            slots: &self.slots[first..first + entry.count as usize],
        }
    }

    /// All maps with their return-address offsets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, StackMap<'_>)> {
        self.offsets.iter().enumerate().map(|(i, &offset)| (offset, self.at(i)))
    }

    /// Number of return addresses that have a map.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether no return address has a map.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}

/// Collects maps in any order and makes the table.
#[derive(Debug, Default)]
pub struct StackMapTableBuilder {
    maps: Vec<(u32, u32, Vec<u32>)>,
}

impl StackMapTableBuilder {
    /// Adds the map at the return address `code_offset` bytes into the code.
    pub fn add(&mut self, code_offset: u32, frame_size: u32, slots: impl IntoIterator<Item = u32>) {
        let mut slots: Vec<u32> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        self.maps.push((code_offset, frame_size, slots));
    }

    /// The finished table.
    ///
    /// # Panics
    /// If two maps were added for one return address, or a slot lies outside its frame. Both are
    /// bugs in the compiler of the code, with which a collection would read the wrong words.
    pub fn finish(mut self) -> StackMapTable {
        self.maps.sort_by_key(|(offset, ..)| *offset);
        let mut pool: Vec<u32> = Vec::new();
        let mut runs: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut offsets = Vec::with_capacity(self.maps.len());
        let mut entries = Vec::with_capacity(self.maps.len());
        for (offset, frame_size, slots) in self.maps {
            assert!(offsets.last() != Some(&offset), "two stack maps at code offset {offset:#x}");
            for slot in &slots {
                assert!(
                    slot.checked_add(8).is_some_and(|end| end <= frame_size),
                    "slot {slot} outside a frame of {frame_size} bytes at code offset {offset:#x}"
                );
            }
            let count = slots.len() as u32;
            let first = *runs.entry(slots).or_insert_with_key(|slots| {
                let first = pool.len() as u32;
                pool.extend_from_slice(slots);
                first
            });
            offsets.push(offset);
            entries.push(Entry { frame_size, first, count });
        }
        StackMapTable { offsets: offsets.into(), entries: entries.into(), slots: pool.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exactly_the_return_addresses_added() {
        let mut builder = StackMapTableBuilder::default();
        builder.add(40, 64, [8, 0]);
        builder.add(10, 32, [16]);
        builder.add(70, 64, [0, 8]);
        builder.add(90, 16, []);
        let table = builder.finish();
        assert_eq!(table.len(), 4);
        assert_eq!(table.lookup(10), Some(StackMap { frame_size: 32, slots: &[16] }));
        assert_eq!(table.lookup(40), Some(StackMap { frame_size: 64, slots: &[0, 8] }));
        assert_eq!(table.lookup(40), table.lookup(70));
        assert_eq!(table.lookup(90), Some(StackMap { frame_size: 16, slots: &[] }));
        for miss in [0, 9, 11, 39, 41, 69, 91, u32::MAX] {
            assert_eq!(table.lookup(miss), None);
        }
        assert_eq!(table.find(70).map(|i| table.at(i)), table.lookup(70));
        assert_eq!(table.slots.len(), 3, "equal runs are kept once");
    }

    #[test]
    #[should_panic(expected = "outside a frame")]
    fn a_slot_outside_its_frame_is_a_bug() {
        let mut builder = StackMapTableBuilder::default();
        builder.add(1, 16, [12]);
        builder.finish();
    }
}
