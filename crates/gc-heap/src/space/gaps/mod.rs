//! [`GapSpace`]: bump allocation in the gaps between objects, which are young or mature.
//!
//! The heap is divided into blocks of [`BLOCK`] bytes. Small objects are allocated by bumping an
//! index through one *run* after another. A run is free memory between two objects of one block,
//! found in the [`LiveMap`]. Emitted code allocates in the run itself, and leaves a note of one
//! byte for each object (`notes`). The notes become bits of the map before those bits are read.
//! Between most collections runs are found in ascending order, and blocks with hardly any free memory
//! are skipped. An object that would waste a run, or end one that serves smaller objects, goes to a
//! separate *overflow* run, and an object larger than a block to several adjacent blocks. (Blocks,
//! bumping through their holes and overflow allocation are Immix's: Blackburn and McKinley, "Immix:
//! A Mark-Region Garbage Collector with Space Efficiency, Fast Collection, and Mutator Performance",
//! 2008. Here holes end at objects and not at lines.)
//!
//! Young objects that die are not visited. A collection clears their bits, a group of 512 bytes at
//! a time, and their memory is part of a gap again.
//!
//! All bookkeeping is in native memory. The index of an object to free is untrusted and checked in
//! the map. Sizes come from the map.

mod alloc;
mod check;
mod give_back;
mod life;
pub mod map;
mod notes;

use super::Count;
use crate::{HeapError, HeapMemory, NotesTable};
use gc_types::{NULL_PAGE_SIZE, SideTable};
use map::{GRANULE, GROUP_SHIFT, LiveMap};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a block. Objects up to this size do not cross its end.
pub const BLOCK: u32 = 32 << 10;
/// Objects larger than this do not end a run that is too short for them.
const MEDIUM: u32 = 256;
/// Objects larger than this get exactly the memory they need.
const OVERFLOW_MAX: u32 = BLOCK / 8;
/// The shortest run that is used for overflow, if there is one of this length.
const OVERFLOW_RUN: u32 = 4 << 10;
/// The shortest run that emitted code gets, if there is one of this length.
const SHORT: u32 = 32;
/// Blocks with fewer free bytes than this are skipped while there are others.
const SCARCE: u32 = 1 << 10;
/// The search for runs begins at the heap's start after a collection, if as many bytes were allocated since it last did.
/// What is young is there, and in the cache. But there is little left in the first blocks. A program that
/// allocated a quarter of this between two collections, and began each time, took 1.6 times as long.
const ROUND: u64 = 4 << 20;

const _: () = assert!(BLOCK.is_multiple_of(1 << GROUP_SHIFT));
// So a group of the map whose number is a multiple of those of a block begins one.
const _: () = assert!(NULL_PAGE_SIZE.is_multiple_of(BLOCK));

fn bytes(range: &Range<u32>) -> u32 {
    range.end - range.start
}

/// A space whose objects never move. They are young, or a collection has made them mature. Those that stay young are
/// freed all together, without a visit. Emitted code allocates in it and leaves a note for each object.
///
/// # Examples
/// ```
/// use gc_heap::space::gaps::GapSpace;
/// use gc_heap::{HeapMemory, HeapOptions};
/// use gc_types::{HeapDataOffsets, NULL_PAGE_SIZE, SideTable};
///
/// const STARTS: SideTable = SideTable::indexed_new("starts", HeapDataOffsets::COLLECTOR + 8, 3);
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut space = GapSpace::new(&memory, NULL_PAGE_SIZE, STARTS)?;
/// space.extend(memory.len() as u32)?;
/// let (lives, dies) = (space.alloc(&mut memory, 16).unwrap(), space.alloc(&mut memory, 16).unwrap());
///
/// space.begin_collection();
/// space.make_mature(lives);
/// while space.reclaim_young().is_some() {}
/// space.begin_anew(true);
/// assert!(space.is_object(lives) && !space.is_object(dies));
/// let [allocated, live, _] = space.tallies();
/// assert_eq!((allocated.objects, live.objects), (2, 1));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct GapSpace {
    map: LiveMap,
    /// The start of the first block.
    start: u32,
    /// Bytes of each block that are free and in no run. The memory of young objects is not free.
    /// During a collection these numbers are wrong (and may wrap).
    free: Vec<u32>,
    /// For each block whether its memory was given back since it was last used.
    given_back: Vec<bool>,
    given_back_count: u32,
    /// The run in which emitted code and the host allocate, from the heap data's `NEXT` on. Empty
    /// if there is none.
    run: Range<u32>,
    /// Objects of the run below this index are in the map.
    synced: u32,
    /// The words of the run, and a byte for each eight bytes of its block: 1 if an object was allocated there
    /// and is not in the map yet.
    notes: NotesTable,
    /// The place where the search for the next run begins.
    cursor: u32,
    /// Bytes that had been allocated at the last collection since the search began at the heap's start.
    round: u64,
    /// Whether the search skips no gap that is large enough.
    thorough: bool,
    /// The rest of the overflow run, and the place where the search for the next one begins.
    overflow: Range<u32>,
    overflow_cursor: u32,
    /// The place of the first overflow run since the last collection, and whether the search has begun
    /// again at the heap's start.
    overflow_first: Option<u32>,
    overflow_wrapped: bool,
    /// The end of the objects in the run when one that did not fit was last allocated elsewhere.
    passed_at: u32,
    /// The place where the search for exactly placed objects begins, and the block where the search
    /// for objects that cross the end of a block begins. Memory before these places has room only
    /// for smaller objects.
    exact_cursor: u32,
    large_cursor: usize,
    /// Sizes of the objects that cross the end of a block.
    large: BTreeMap<u32, u32>,
    /// The places of all young objects in the map: ranges that each lie in one block, and large
    /// objects.
    young: Vec<Range<u32>>,
    young_large: Vec<u32>,
    /// Objects allocated since the last collection that were mature from the beginning.
    born_mature: Vec<u32>,
    /// All memory from here on was never handed out and is zero.
    fresh: u32,
    young_tally: Count,
    mature_tally: Count,
    /// All objects that were ever allocated and entered in the map.
    allocations: Count,
    /// Bytes of objects in the map that were allocated since the last collection.
    allocated: u64,
}

impl GapSpace {
    /// An empty space in `memory`, whose first block will begin at `start`. The notes of new objects are the table
    /// `notes`.
    ///
    /// # Errors
    /// If there is such a table already, or there is no memory for the map.
    ///
    /// # Panics
    /// If `notes` are not [notes](gc_types::SideForm) for each [`GRANULE`] bytes.
    pub fn new(memory: &HeapMemory, start: u32, notes: SideTable) -> Result<GapSpace, HeapError> {
        assert_eq!(1 << notes.shift(), GRANULE, "the shift of notes");
        let mut map = LiveMap::new(memory);
        map.extend(start)?;
        Ok(GapSpace {
            map,
            start,
            free: Vec::new(),
            given_back: Vec::new(),
            given_back_count: 0,
            run: start..start,
            synced: start,
            notes: NotesTable::new(memory, notes, BLOCK)?,
            cursor: start,
            round: 0,
            thorough: false,
            overflow: start..start,
            overflow_cursor: start,
            overflow_first: None,
            overflow_wrapped: true,
            passed_at: 0,
            exact_cursor: start,
            large_cursor: 0,
            large: BTreeMap::new(),
            young: Vec::new(),
            young_large: Vec::new(),
            born_mature: Vec::new(),
            fresh: start,
            young_tally: Count::default(),
            mature_tally: Count::default(),
            allocations: Count::default(),
            allocated: 0,
        })
    }

    /// Forgets everything. The memory of all tables but the map is kept.
    pub fn clear(&mut self) {
        self.notes.clear();
        self.map.clear();
        self.free.clear();
        self.given_back.clear();
        self.given_back_count = 0;
        let nothing = self.start..self.start;
        (self.run, self.synced, self.cursor) = (nothing.clone(), self.start, self.start);
        (self.round, self.thorough) = (0, false);
        (self.overflow, self.overflow_cursor) = (nothing, self.start);
        (self.overflow_first, self.overflow_wrapped, self.passed_at) = (None, true, 0);
        (self.exact_cursor, self.large_cursor) = (self.start, 0);
        self.large.clear();
        self.young.clear();
        self.young_large.clear();
        self.born_mature.clear();
        self.fresh = self.start;
        self.young_tally = Count::default();
        self.mature_tally = Count::default();
        self.allocations = Count::default();
        self.allocated = 0;
    }

    /// Adds the memory up to `end`, which was never used.
    ///
    /// # Errors
    /// If there is no memory for the map. Then nothing changes.
    pub fn extend(&mut self, end: u32) -> Result<(), HeapError> {
        if end > self.map.end() {
            // A heap that was cleared has no memory before its first block.
            let old = self.map.end().max(self.start);
            self.map.extend(end)?;
            let blocks = (end - self.start).div_ceil(BLOCK) as usize;
            self.free.resize(blocks, 0);
            self.given_back.resize(blocks, false);
            for part in self.parts(old..end) {
                let block = self.block_of(part.start);
                // The rest of a block of which a part is used. A block that is free needs no start.
                if self.free[block] != part.start - self.block(block).start {
                    self.map.set_start(part.start);
                }
                self.free[block] = self.free[block].wrapping_add(bytes(&part));
            }
        }
        Ok(())
    }

    /// Makes room in the map for a heap that will end at `end`.
    ///
    /// # Errors
    /// If there is no memory for the map. Then nothing changes.
    pub fn reserve(&mut self, end: u64) -> Result<(), HeapError> {
        self.map.reserve(end)
    }

    // ---- blocks -----------------------------------------------------------

    fn block_of(&self, index: u32) -> usize {
        ((index - self.start) / BLOCK) as usize
    }

    /// The end of the block that contains `index`, or the heap's end if that is before.
    #[inline]
    fn block_end(&self, index: u32) -> u32 {
        let end = (index - self.start) / BLOCK * BLOCK + BLOCK;
        (end + self.start).min(self.map.end())
    }

    fn block(&self, block: usize) -> Range<u32> {
        let start = self.start + block as u32 * BLOCK;
        start..self.block_end(start)
    }

    /// The parts of `range`, each in one block.
    fn parts(&self, range: Range<u32>) -> impl Iterator<Item = Range<u32>> + use<> {
        let (start, mut at) = (self.start, range.start);
        std::iter::from_fn(move || {
            let block_end = start + (at - start) / BLOCK * BLOCK + BLOCK;
            let part = at..block_end.min(range.end);
            at = part.end;
            (!part.is_empty()).then_some(part)
        })
    }

    /// Makes `range` free. There must be no object and no run in it.
    fn give_back(&mut self, range: Range<u32>) {
        for part in self.parts(range) {
            let block = self.block_of(part.start);
            if part != self.block(block) {
                self.map.set_start(part.start);
            }
            self.free[block] = self.free[block].wrapping_add(bytes(&part));
        }
    }

    /// Takes the free `range`, makes it one block of the map, and zeroes it.
    fn take(&mut self, memory: &mut HeapMemory, range: Range<u32>) {
        if range.start <= self.fresh {
            // No block after that of the first fresh byte has starts.
            let last = self.block_end(self.fresh.min(range.end - 1));
            self.map.clear_starts(range.start + GRANULE..range.end.min(last));
        }
        for part in self.parts(range.clone()) {
            let block = self.block_of(part.start);
            self.free[block] -= bytes(&part);
            let given_back = std::mem::take(&mut self.given_back[block]);
            self.given_back_count -= u32::from(given_back);
        }
        let used = self.fresh.saturating_sub(range.start).min(bytes(&range));
        if used > 0 {
            let _mapped = memory.zero(range.start.into(), used.into());
            debug_assert!(_mapped.is_some());
        }
        self.fresh = self.fresh.max(range.end);
    }

    // ---- queries --------------------------------------------------------

    /// Whether an object begins at `index`, which may be any number.
    #[inline]
    pub fn is_object(&self, index: u32) -> bool {
        self.map.is_live(index) || self.is_noted(index)
    }

    /// Bytes of the object at `index`, which is in the map, and whether it crosses the end of a
    /// block.
    #[inline]
    fn extent(&self, index: u32) -> (u32, bool) {
        self.extent_in(&self.map, index)
    }

    /// The same for an object that is in the complete `map`.
    #[inline]
    pub fn extent_in(&self, map: &LiveMap, index: u32) -> (u32, bool) {
        let block_end = self.block_end(index);
        if let Some(next) = map.first_start(index + GRANULE..block_end) {
            return (next - index, false);
        }
        match self.large.get(&index) {
            Some(&size) => (size, true),
            None => (block_end - index, false),
        }
    }

    /// Bytes of the object at `index`, which is in the map.
    #[inline]
    pub fn size(&self, index: u32) -> u32 {
        self.extent(index).0
    }

    /// The range of the object that contains `at`, according to the map.
    pub fn object_around(&self, at: u32) -> Option<Range<u32>> {
        if at < self.start || at >= self.map.end() {
            return None;
        }
        let block_start = self.start + (at - self.start) / BLOCK * BLOCK;
        let index = match self.map.last_start(block_start..at / GRANULE * GRANULE + GRANULE) {
            Some(index) => index,
            None => *self.large.range(..=at).next_back()?.0,
        };
        if !self.map.is_live(index) {
            return None;
        }
        let range = index..index + self.size(index);
        range.contains(&at).then_some(range)
    }

    /// The map. Objects that were allocated since it was [synced](GapSpace::sync) may be missing.
    pub fn map(&self) -> &LiveMap {
        &self.map
    }

    /// The map, to set marks.
    pub fn map_mut(&mut self) -> &mut LiveMap {
        &mut self.map
    }

    /// The number of the group of the map that follows group number `group` and may have bits. There
    /// are none in the blocks that a large object covers, nor in blocks that were never used.
    pub fn next_group(&self, group: u32) -> u32 {
        let next = group + 1;
        if !next.is_multiple_of(BLOCK >> GROUP_SHIFT) {
            return next;
        }
        // The end of the map is at most the largest index.
        let at = (u64::from(next) << GROUP_SHIFT).min(self.map.end().into()) as u32;
        if at >= self.fresh {
            return self.map.group_count() as u32;
        }
        let crossing = self.large.range(..at).next_back().map(|(index, size)| index + size);
        crossing.map_or(next, |end| next.max(end >> GROUP_SHIFT))
    }

    /// Bytes in objects. Takes constant time.
    pub fn used_bytes(&self) -> u64 {
        let unsynced = self.notes.next().min(self.run.end).saturating_sub(self.synced);
        self.young_tally.bytes + self.mature_tally.bytes + u64::from(unsynced)
    }

    /// Whether there is room for an object of `size` bytes outside the runs.
    pub fn has_room(&self, size: u32) -> bool {
        match size {
            0 => true,
            1..=BLOCK => self.find_run(self.start, size, size).is_some(),
            _ => self.find_large(0, size).is_some(),
        }
    }

    /// Bytes in mature objects.
    pub fn mature_bytes(&self) -> u64 {
        self.mature_tally.bytes
    }

    /// Bytes allocated since the last collection, without those in the current run.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    fn blocks(&self) -> usize {
        (self.map.end() - self.start).div_ceil(BLOCK) as usize
    }
}
