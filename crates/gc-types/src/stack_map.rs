//! Stack maps: for each return address of compiled code that may be on the stack during a
//! collection, the slots of its frame that hold references.
//!
//! The table is compact. It has sorted 32-bit code offsets, which are searched by bisection. Each
//! has a frame size and a run in one shared pool of slot offsets. Equal runs are stored once. A
//! slot is eight bytes and holds a zero-extended reference.

use crate::table::{Row, Words, push, rows};
use std::collections::HashMap;

/// One frame's references at one return address.
///
/// # Examples
/// ```
/// use gc_types::StackMapTableBuilder;
///
/// // A frame of 64 bytes has a reference eight bytes above its stack pointer.
/// let mut builder = StackMapTableBuilder::default();
/// builder.add(0x40, 64, [8]);
/// let maps = builder.finish();
///
/// let map = maps.table().lookup(0x40).unwrap();
/// let frame_pointer = 0x7000_u64;
/// let stack_pointer = frame_pointer - u64::from(map.frame_size);
/// let slots: Vec<u64> = map.slots().map(|slot| stack_pointer + u64::from(slot)).collect();
/// assert_eq!(slots, [0x6fc8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackMap<'a> {
    /// The distance in bytes from the frame's stack pointer up to its frame pointer: `SP = FP -
    /// frame_size`.
    pub frame_size: u32,
    slots: &'a [Row<1>],
}

impl<'a> StackMap<'a> {
    /// The eight-byte slots that hold a reference or null, as offsets in bytes from the frame's
    /// stack pointer.
    #[inline]
    pub fn slots(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.slots.iter().map(|slot| slot.word(0))
    }
}

/// The stack maps of some code, by return-address offset. The table reads the bytes of a
/// [`CodeImage`](crate::CodeImage) or of [`StackMaps`].
///
/// # Examples
/// ```
/// use gc_types::StackMapTableBuilder;
///
/// let mut builder = StackMapTableBuilder::default();
/// builder.add(0x40, 64, [8, 16]);
/// let maps = builder.finish();
///
/// let map = maps.table().lookup(0x40).unwrap();
/// assert_eq!(map.frame_size, 64);
/// assert!(map.slots().eq([8, 16]));
/// assert!(maps.table().lookup(0x41).is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StackMapTable<'a> {
    /// Return-address offsets in bytes from the code's start, strictly ascending.
    offsets: &'a [Row<1>],
    /// One row for each offset: frame size, first slot, number of slots.
    frames: &'a [Row<3>],
    /// Slot offsets that frames share.
    slots: &'a [Row<1>],
}

impl<'a> StackMapTable<'a> {
    #[inline]
    pub(crate) fn new(offsets: &'a [Row<1>], frames: &'a [Row<3>], slots: &'a [Row<1>]) -> Self {
        StackMapTable { offsets, frames, slots }
    }

    /// The map of the return address `code_offset` (in bytes from the code's start), if it has one.
    /// A return address without references in its frame has no map.
    pub fn lookup(&self, code_offset: u32) -> Option<StackMap<'a>> {
        self.find(code_offset).map(|i| self.at(i))
    }

    /// The number of the map that [`lookup`](StackMapTable::lookup) returns, for
    /// [`at`](StackMapTable::at).
    pub fn find(&self, code_offset: u32) -> Option<usize> {
        self.offsets.binary_search_by_key(&code_offset, |row| row.word(0)).ok()
    }

    /// The map with number `i`, which must be less than [`len`](StackMapTable::len).
    ///
    /// # Panics
    /// If there is no such map.
    #[inline]
    pub fn at(&self, i: usize) -> StackMap<'a> {
        let [frame_size, first, count] = self.frames[i].words();
        StackMap { frame_size, slots: &self.slots[first as usize..][..count as usize] }
    }

    /// All maps with their return-address offsets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, StackMap<'a>)> + use<'a> {
        let table = *self;
        table.offsets.iter().enumerate().map(move |(i, offset)| (offset.word(0), table.at(i)))
    }

    /// The number of return addresses that have a map.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether no return address has a map.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}

/// The bytes of a [`StackMapTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackMaps {
    pub(crate) offsets: Vec<u8>,
    pub(crate) frames: Vec<u8>,
    pub(crate) slots: Vec<u8>,
}

impl StackMaps {
    /// The table of these bytes.
    pub fn table(&self) -> StackMapTable<'_> {
        StackMapTable::new(rows(&self.offsets), rows(&self.frames), rows(&self.slots))
    }
}

/// Collects maps in any order and makes a table of them.
///
/// # Examples
/// ```
/// use gc_types::StackMapTableBuilder;
///
/// let mut builder = StackMapTableBuilder::default();
/// builder.add(0x40, 64, [8]);
/// builder.add(0x20, 32, [0, 8]);
/// let maps = builder.finish();
/// assert!(maps.table().iter().map(|(return_address, _)| return_address).eq([0x20, 0x40]));
/// ```
#[derive(Debug, Default)]
pub struct StackMapTableBuilder {
    maps: Vec<(u32, u32, Vec<u32>)>,
}

impl StackMapTableBuilder {
    /// Adds the map of the return address `code_offset`, in bytes from the code's start.
    pub fn add(&mut self, code_offset: u32, frame_size: u32, slots: impl IntoIterator<Item = u32>) {
        let mut slots: Vec<u32> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        self.maps.push((code_offset, frame_size, slots));
    }

    /// Makes the table.
    ///
    /// # Panics
    /// If two maps were added for one return address, or a slot lies outside its frame. Both are
    /// bugs in the compiler of the code. A collection would read the wrong words.
    pub fn finish(mut self) -> StackMaps {
        self.maps.sort_by_key(|(offset, ..)| *offset);
        let mut maps = StackMaps::default();
        let mut runs: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut last = None;
        for (offset, frame_size, slots) in self.maps {
            assert!(last != Some(offset), "two stack maps at code offset {offset:#x}");
            last = Some(offset);
            for slot in &slots {
                assert!(
                    slot.checked_add(8).is_some_and(|end| end <= frame_size),
                    "slot {slot} outside a frame of {frame_size} bytes at code offset {offset:#x}"
                );
            }
            let count = slots.len() as u32;
            let first = *runs.entry(slots).or_insert_with_key(|slots| {
                let first = maps.slots.len() as u32 / 4;
                slots.iter().for_each(|slot| push(&mut maps.slots, [*slot]));
                first
            });
            push(&mut maps.offsets, [offset]);
            push(&mut maps.frames, [frame_size, first, count]);
        }
        maps
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
        let maps = builder.finish();
        let table = maps.table();
        let lookup = |offset| {
            let map = table.lookup(offset)?;
            Some((map.frame_size, map.slots().collect::<Vec<_>>()))
        };
        assert_eq!(table.len(), 4);
        assert_eq!(lookup(10), Some((32, vec![16])));
        assert_eq!(lookup(40), Some((64, vec![0, 8])));
        assert_eq!(lookup(40), lookup(70));
        assert_eq!(lookup(90), Some((16, vec![])));
        for miss in [0, 9, 11, 39, 41, 69, 91, u32::MAX] {
            assert_eq!(table.lookup(miss), None);
        }
        assert_eq!(table.find(70).map(|i| table.at(i)), table.lookup(70));
        assert_eq!(table.slots.len(), 3, "equal runs are stored once");
    }

    #[test]
    #[should_panic(expected = "outside a frame")]
    fn a_slot_outside_its_frame_is_a_bug() {
        let mut builder = StackMapTableBuilder::default();
        builder.add(1, 16, [12]);
        builder.finish();
    }
}
