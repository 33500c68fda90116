//! [`MarkRegion`]: a mark-region space, as in Immix. Small objects are in the holes of blocks, large ones in
//! runs of pages. A map says where objects begin.
//!
//! Stephen M. Blackburn and Kathryn S. McKinley, "Immix: A Mark-Region Garbage Collector with Space
//! Efficiency, Fast Collection, and Mutator Performance", PLDI 2008. Between collections memory is only taken
//! (`alloc.rs`). Every line with an object is marked, so an unmarked line is free. When what lives was marked,
//! the space is swept (`sweep.rs`), all at once or in parts. Each block, and each large object, is swept or not.
//! Objects are allocated while others wait for their sweep: in holes of blocks that are swept, and in free
//! blocks. Blocks with many holes can be emptied ([`evacuate`]).

mod alloc;
pub mod blocks;
mod check;
pub mod evacuate;
mod sweep;
#[cfg(test)]
mod tests;

use super::Count;
use super::object_map::{Mark, ObjectMap, Starts};
use crate::HeapMemory;
use crate::memory::FreeMemory;
pub use alloc::Bump;
use alloc::Cursor;
use blocks::{BLOCK_SIZE, Blocks, GiveBack, MAX_SMALL, Owner, PAGE_SIZE};
use sweep::Sweep;

/// A mark-region space. Indices are in bytes from the heap's base.
///
/// # Examples
/// One cycle of marking and sweeping:
///
/// ```
/// use gc_heap::space::mark_region::MarkRegion;
/// use gc_heap::space::mark_region::blocks::BLOCK_SIZE;
/// use gc_heap::space::object_map::Mark;
/// use gc_heap::{HeapMemory, HeapOptions};
///
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut region = MarkRegion::new(0x10000, 1 << 20);
/// region.extend(0x10000 + 8 * u64::from(BLOCK_SIZE));
/// let (live, dead) = (region.alloc(16).unwrap(), region.alloc(16).unwrap());
///
/// region.begin_marking();
/// // The plan follows references, and scans each object that was not marked yet.
/// assert_eq!(region.mark(live), Mark::New);
/// region.reached(live, 16);
/// region.end_marking();
///
/// region.begin_sweeping();
/// while !region.sweep(&mut memory, &mut 100) {}
/// assert!(region.is_start(live) && !region.is_start(dead));
/// assert_eq!(region.total().objects, 1);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct MarkRegion {
    blocks: Blocks,
    map: ObjectMap,
    /// The place of the next small object, and the place for objects that do not fit there and are
    /// larger than a line.
    small: Cursor,
    medium: Cursor,
    /// The first place in the hole of small objects whose objects are not recorded, and their
    /// number ([`take`](MarkRegion::take)).
    unrecorded: u32,
    unrecorded_objects: u32,
    /// Blocks with holes, the next one last.
    recyclable: Vec<usize>,
    /// Bytes of the holes in the recyclable blocks.
    recyclable_bytes: u64,
    /// None of the recyclable blocks has a hole for an object of this many bytes.
    no_hole: u32,
    /// The current mark of the lines of objects. It is never zero.
    line: u8,
    /// Whether new objects are marked, because marking or evacuation is under way.
    black: bool,
    /// The progress of the sweep.
    sweep: Sweep,
    /// For each block, whether it is to be swept.
    unswept: Vec<bool>,
    /// Large objects, except those that are to be swept.
    large: Vec<u32>,
    /// Large objects that are to be swept.
    unswept_large: Vec<u32>,
    /// The free blocks that are still to be given back.
    giving_back: Option<GiveBack>,
    /// Objects that have not been found to be garbage.
    total: Count,
    /// The part of `total` that is marked.
    marked: Count,
}

impl MarkRegion {
    /// Makes an empty space that begins at `start`, a multiple of [`PAGE_SIZE`], in a heap of at most `maximum`
    /// bytes.
    pub fn new(start: u32, maximum: u64) -> MarkRegion {
        MarkRegion {
            blocks: Blocks::new(start).with_maximum(maximum),
            map: ObjectMap::with_maximum(maximum),
            small: Cursor::default(),
            medium: Cursor::default(),
            unrecorded: 0,
            unrecorded_objects: 0,
            recyclable: Vec::new(),
            recyclable_bytes: 0,
            no_hole: u32::MAX,
            line: 1,
            black: false,
            sweep: Sweep::Done,
            unswept: Vec::new(),
            large: Vec::new(),
            unswept_large: Vec::new(),
            giving_back: None,
            total: Count::default(),
            marked: Count::default(),
        }
    }

    /// Adds all memory up to `end`.
    pub fn extend(&mut self, end: u64) {
        self.blocks.extend(end);
        // Before that there are objects only if some are outside.
        if end > u64::from(self.blocks.start()) {
            self.map.extend(end);
        }
    }

    /// Forgets all objects, and removes all memory.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.map.clear();
        (self.small, self.medium) = Default::default();
        (self.unrecorded, self.unrecorded_objects) = (0, 0);
        self.recyclable.clear();
        (self.recyclable_bytes, self.no_hole) = (0, u32::MAX);
        self.black = false;
        self.sweep = Sweep::Done;
        self.unswept.clear();
        self.large.clear();
        self.unswept_large.clear();
        self.giving_back = None;
        (self.total, self.marked) = Default::default();
    }

    // ---- what it has --------------------------------------------------------

    /// The start of its memory.
    pub fn start(&self) -> u32 {
        self.blocks.start()
    }

    /// The end of its memory.
    pub fn end(&self) -> u32 {
        self.blocks.end()
    }

    /// The end of the memory that was ever used. No object begins there or behind it.
    pub fn touched_end(&self) -> u32 {
        self.blocks.touched_end()
    }

    /// The objects that have not been found to be garbage.
    pub fn total(&self) -> Count {
        self.total
    }

    /// The number of large objects that are not known to be garbage, except those that are to be swept.
    pub fn large_objects(&self) -> usize {
        self.large.len()
    }

    /// The owners of its memory.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Bytes of holes that may be used again.
    pub fn recyclable_bytes(&self) -> u64 {
        self.recyclable_bytes
    }

    /// Free bytes that objects can be expected to use.
    pub fn free_bytes(&self) -> u64 {
        let cursor = self.small.hole.limit - self.small.hole.next;
        let blocks = u64::from(self.blocks.free_blocks()) * u64::from(BLOCK_SIZE);
        blocks + self.recyclable_bytes + u64::from(cursor)
    }

    /// When everything is swept: bytes that are neither in objects nor usable for new ones. These are
    /// the rests of lines and pages, and single free lines. In the two blocks in which objects are
    /// being placed, free lines outside the current hole count too.
    pub fn lost_bytes(&self) -> u64 {
        let rest = |cursor: Cursor| u64::from(cursor.hole.limit - cursor.hole.next);
        let pages = u64::from(self.blocks.free_pages()) * u64::from(PAGE_SIZE);
        let free = pages + self.recyclable_bytes + rest(self.small) + rest(self.medium);
        let all = u64::from(self.blocks.end() - self.blocks.start());
        let aside = self.blocks.aside();
        all.saturating_sub(free + self.total.bytes + aside)
    }

    /// Whether an object begins at `index`, which may be any number.
    #[inline(always)]
    pub fn is_start(&self, index: u32) -> bool {
        self.map.is_start(index)
    }

    /// The last object that begins before `index` and not before `floor`.
    #[inline]
    pub fn start_before(&self, index: u32, floor: u32) -> Option<u32> {
        self.map.start_before(index, floor)
    }

    /// A bit for each object that begins in the `bytes` bytes from `index` on ([`ObjectMap::starts_on`]).
    #[inline]
    pub fn starts_on(&self, index: u32, bytes: u32) -> u64 {
        self.map.starts_on(index, bytes)
    }

    /// The starts of the objects from `start` up to `end`, ascending.
    pub fn starts(&self, start: u32, end: u32) -> Starts<'_> {
        self.map.starts(start, end)
    }

    /// The starts of all objects in its memory, ascending.
    pub fn objects(&self) -> Starts<'_> {
        self.map.starts(self.start(), self.end())
    }

    /// The first object that is marked.
    pub fn first_marked(&self) -> Option<u32> {
        self.map.first_marked()
    }

    /// Whether an object of `size` bytes at `index`, where an object begins, stays inside its
    /// memory.
    #[inline]
    pub fn fits(&self, index: u32, size: u32) -> bool {
        match self.blocks.owner(index) {
            Owner::Block(start) => size <= MAX_SMALL && size <= BLOCK_SIZE - (index - start),
            Owner::Large(start) => {
                // The last byte's page decides, without a walk over the run.
                let last = index.checked_add(size - 1);
                start == index
                    && last.is_some_and(|last| self.blocks.owner(last) == Owner::Large(start))
            }
            Owner::Nobody => false,
        }
    }

    // ---- marking --------------------------------------------------------------

    /// Prepares for marking: new objects are marked from now on. Everything must be swept.
    pub fn begin_marking(&mut self) {
        debug_assert!(
            !self.is_sweeping() && !self.black,
            "marking begins before the last one is over"
        );
        self.giving_back = None;
        self.line = if self.line == 1 { 2 } else { 1 };
        self.black = true;
        self.marked = Count::default();
    }

    /// Marks the object at `index`, which may be any number.
    #[inline(always)]
    pub fn mark(&mut self, index: u32) -> Mark {
        self.map.mark(index)
    }

    /// Whether the object at `index` is marked.
    #[inline]
    pub fn is_marked(&self, index: u32) -> bool {
        self.map.is_marked(index)
    }

    /// Fetches what [`mark`](MarkRegion::mark) reads for `index`, which may be any number.
    #[inline(always)]
    pub fn prefetch_mark(&self, index: u32) {
        self.map.prefetch(index);
    }

    /// Fetches the owner of the memory at `index`, which may be any number, and where objects begin there.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        self.map.prefetch(index);
        self.blocks.prefetch_owner(index);
    }

    /// Marks the lines of a reached object of at most [`MAX_SMALL`] bytes. Returns false if the object
    /// does not fit its block, or is a large one. The caller counts the object
    /// ([`add_marked`](MarkRegion::add_marked)).
    #[inline(always)]
    pub fn reach_small(&mut self, index: u32, size: u32) -> bool {
        self.blocks.mark_lines_of_small(index, size, self.line)
    }

    /// Marks the lines of a reached object that [fits](MarkRegion::fits), unless it is a large one, and counts it.
    #[inline]
    pub fn reached(&mut self, index: u32, size: u32) {
        if size <= MAX_SMALL {
            self.blocks.mark_lines(index, size, self.line);
        }
        self.marked.add(size);
    }

    /// Counts objects that were reached.
    pub fn add_marked(&mut self, count: Count) {
        self.marked.add_all(count);
    }

    /// The objects that were marked and scanned, and those that were marked when they were allocated.
    pub fn marked(&self) -> Count {
        self.marked
    }

    /// Forgets all marks. Nothing is known to be garbage.
    pub fn abandon_marking(&mut self) {
        self.blocks.set_all_lines(self.line);
        self.map.clear_marks();
        self.black = false;
    }

    /// Ends marking. A block must be swept before one of its holes is used again, except the current
    /// ones.
    pub fn end_marking(&mut self) {
        self.recyclable.clear();
        (self.recyclable_bytes, self.no_hole) = (0, u32::MAX);
        self.total = self.marked;
    }

    // ---- objects outside its memory ---------------------------------------------

    /// Records that objects begin at these indices, which are below its memory, so that they can be marked. The heap
    /// has `len` bytes.
    pub fn add_outside(&mut self, objects: &[u32], len: u64) {
        self.map.extend(len);
        objects.iter().for_each(|&index| self.map.set_start(index, false));
    }

    /// Records that an object begins at `index`, which is below its memory and which the map
    /// [covers](MarkRegion::cover).
    #[inline(always)]
    pub fn begin_outside(&mut self, index: u32) {
        self.map.set_start(index, false);
    }

    /// Lets the map cover all that is below `end`.
    pub fn cover(&mut self, end: u64) {
        self.map.extend(end);
    }

    /// Forgets objects outside its memory, from `start` up to `end`, multiples of
    /// [`WORD_BYTES`](super::object_map::WORD_BYTES).
    pub fn forget_outside(&mut self, start: u32, end: u32) {
        self.map.clear_range(start, end);
    }

    /// Forgets objects outside its memory.
    pub fn remove_outside(&mut self, objects: &[u32]) {
        objects.iter().for_each(|&index| self.map.clear_start(index));
    }

    /// Unmarks the marked ones of the objects outside its memory, and forgets and removes the others.
    pub fn sweep_outside(&mut self, objects: &mut Vec<u32>) {
        objects.retain(|&index| {
            let live = self.map.is_marked(index);
            if live {
                self.map.unmark(index);
            } else {
                self.map.clear_start(index);
            }
            live
        });
    }

    // ---- the system's memory ------------------------------------------------------

    /// Bytes of free blocks that are set aside.
    pub fn aside(&self) -> u64 {
        self.blocks.aside()
    }

    /// Sets free blocks of at most `bytes` bytes aside, and gives their memory back to the system
    /// ([`Blocks::set_aside`]). Returns their bytes.
    pub fn set_aside(&mut self, memory: &mut HeapMemory, bytes: u64) -> u64 {
        self.blocks.set_aside(memory, bytes)
    }

    /// Makes blocks of at most `bytes` bytes free again that were set aside. Returns their bytes.
    pub fn take_back(&mut self, bytes: u64) -> u64 {
        self.blocks.take_back(bytes)
    }

    /// Asks the system to provide memory for the next free blocks ([`Blocks::touch_ahead`]).
    pub fn touch_ahead(&mut self, memory: &HeapMemory, bytes: u64) {
        self.blocks.touch_ahead(memory, bytes);
    }

    /// Bytes of free blocks whose memory was given back to the system.
    pub fn given_back(&self) -> u64 {
        self.blocks.given_back()
    }

    /// Begins to give free blocks back to the system, except the first `spare` bytes of them.
    pub fn begin_giving_back(&mut self, spare: u64) {
        self.giving_back = Some(GiveBack::new(spare));
    }

    /// Whether free blocks wait to be given back.
    pub fn is_giving_back(&self) -> bool {
        self.giving_back.is_some()
    }

    /// Gives at most `most` free blocks back.
    pub fn give_back(&mut self, memory: &mut impl FreeMemory, most: u32) {
        if let Some(mut from) = self.giving_back {
            let done = self.blocks.give_back(memory, &mut from, most);
            self.giving_back = (!done).then_some(from);
        }
    }
}
