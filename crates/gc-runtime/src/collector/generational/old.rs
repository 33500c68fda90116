//! The old generation: small objects in the holes of blocks, large ones in runs of pages, and a map
//! of where objects begin.
//!
//! As in Immix, objects larger than a line that do not fit the current hole go to a separate block,
//! so that allocation does not skip small holes because of them. Between collections of the old
//! generation memory is only taken. Every line with an object is marked, so an unmarked line is
//! free.
//!
//! Each block, and each large object, is swept or not. Objects are allocated while others wait for
//! their sweep: in holes of blocks that are swept, and in free blocks.

mod sweep;

use super::nursery::Count;
use crate::HeapMemory;
use crate::space::blocks::{BLOCK_SIZE, Blocks, Hole, LINE_SIZE, MAX_SMALL, Owner, PAGE_SIZE};
use crate::space::object_map::ObjectMap;

/// Blocks with fewer free lines than this are not reused.
const MIN_FREE_LINES: u32 = 2;

/// A hole in a block, and the block.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    hole: Hole,
    block: Option<usize>,
}

impl Cursor {
    #[inline(always)]
    fn bump(&mut self, size: u32) -> Option<u32> {
        let at = self.hole.next;
        if size <= self.hole.limit - at {
            self.hole.next += size;
            Some(at)
        } else {
            None
        }
    }
}

/// The place of the next small objects, for a caller that takes memory for many of them
/// ([`take_at`](Old::take_at)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bump {
    hole: Hole,
    /// Number of objects that are not recorded.
    objects: u32,
}

impl Bump {
    /// The place of the next object, if it is a small one of `size` bytes.
    #[inline(always)]
    pub(super) fn peek(&self, size: u32) -> Option<u32> {
        let at = self.hole.next;
        (size <= self.hole.limit - at).then_some(at)
    }
}

/// The old generation.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) blocks: Blocks,
    pub(super) map: ObjectMap,
    /// The place of the next small object, and the place for objects that do not fit there and are
    /// larger than a line.
    small: Cursor,
    medium: Cursor,
    /// The first place in the hole of small objects whose objects are not recorded, and their
    /// number ([`take`](Old::take)).
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
    /// For each block, whether it is to be swept.
    unswept: Vec<bool>,
    /// Large objects, except those that are to be swept.
    pub(super) large: Vec<u32>,
    /// Large objects that are to be swept.
    unswept_large: Vec<u32>,
    /// Objects that have not been found to be garbage.
    pub(super) total: Count,
    /// The part of `total` that is marked.
    marked: Count,
}

impl Old {
    /// Makes an empty old generation that begins at `start`, of a heap of at most `maximum` bytes.
    pub(super) fn new(start: u32, maximum: u64) -> Old {
        Old {
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
            unswept: Vec::new(),
            large: Vec::new(),
            unswept_large: Vec::new(),
            total: Count::default(),
            marked: Count::default(),
        }
    }

    /// Adds all memory up to `end`.
    pub(super) fn extend(&mut self, end: u64) {
        self.blocks.extend(end);
        // Before that there are objects only if some are retained.
        if end > u64::from(self.blocks.start()) {
            self.map.extend(end);
        }
    }

    /// Forgets all objects, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.map.clear();
        (self.small, self.medium) = Default::default();
        (self.unrecorded, self.unrecorded_objects) = (0, 0);
        self.recyclable.clear();
        (self.recyclable_bytes, self.no_hole) = (0, u32::MAX);
        self.black = false;
        self.unswept.clear();
        self.large.clear();
        self.unswept_large.clear();
        (self.total, self.marked) = Default::default();
    }

    /// Free bytes that objects can be expected to use.
    pub(super) fn free_bytes(&self) -> u64 {
        let cursor = self.small.hole.limit - self.small.hole.next;
        let blocks = u64::from(self.blocks.free_blocks()) * u64::from(BLOCK_SIZE);
        blocks + self.recyclable_bytes + u64::from(cursor)
    }

    /// Takes memory for an object of `size` bytes, a multiple of 8, and records that it begins
    /// there. The memory is not zeroed.
    #[inline]
    pub(super) fn alloc(&mut self, size: u32) -> Option<u32> {
        let at = self.take(size);
        self.record();
        at
    }

    /// As [`alloc`](Old::alloc), but the memory is zero. Pages of a large object that are zero already
    /// are not written.
    pub(super) fn alloc_zeroed(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        if size > MAX_SMALL {
            let at = self.blocks.take_zeroed_run(memory, size)?;
            self.begin_large(at, size);
            return Some(at);
        }
        let at = self.alloc(size)?;
        memory.fill(at.into(), size.into(), 0)?;
        Some(at)
    }

    /// As [`alloc`](Old::alloc), but the object may be counted and its lines be marked only by the
    /// next [`record`](Old::record). Many objects in one hole are recorded at once.
    #[inline(always)]
    pub(super) fn take(&mut self, size: u32) -> Option<u32> {
        let mut bump = self.bump();
        let at = self.take_at(&mut bump, size);
        self.set_bump(bump);
        at
    }

    /// The place of the next small objects. It must be [put back](Old::set_bump) before anything else
    /// takes memory or records objects.
    #[inline(always)]
    pub(super) fn bump(&self) -> Bump {
        Bump { hole: self.small.hole, objects: self.unrecorded_objects }
    }

    /// Puts back the place of the next small objects.
    #[inline(always)]
    pub(super) fn set_bump(&mut self, bump: Bump) {
        (self.small.hole, self.unrecorded_objects) = (bump.hole, bump.objects);
    }

    /// As [`take`](Old::take), at the place that the caller keeps.
    #[inline(always)]
    pub(super) fn take_at(&mut self, bump: &mut Bump, size: u32) -> Option<u32> {
        if size > MAX_SMALL || bump.peek(size).is_none() {
            let taken;
            (taken, *bump) = self.take_elsewhere(*bump, size);
            return taken;
        }
        Some(self.take_peeked(bump, size))
    }

    /// Takes the place that [`Bump::peek`] returned.
    #[inline(always)]
    pub(super) fn take_peeked(&mut self, bump: &mut Bump, size: u32) -> u32 {
        let at = bump.hole.next;
        bump.hole.next = at + size;
        bump.objects += 1;
        self.map.set_start(at, self.black);
        at
    }

    #[cold]
    #[inline(never)]
    fn take_elsewhere(&mut self, bump: Bump, size: u32) -> (Option<u32>, Bump) {
        self.set_bump(bump);
        let at = if size > MAX_SMALL { self.alloc_large(size) } else { self.take_slow(size) };
        (at, self.bump())
    }

    #[cold]
    fn take_slow(&mut self, size: u32) -> Option<u32> {
        if size <= LINE_SIZE {
            self.next_small(size)?;
            let at = self.small.bump(size)?;
            self.map.set_start(at, self.black);
            self.unrecorded_objects += 1;
            return Some(at);
        }
        let at = match self.medium.bump(size) {
            Some(at) => at,
            None => {
                self.next_medium(size)?;
                self.medium.bump(size)?
            }
        };
        self.map.set_start(at, self.black);
        self.count(at, size, 1);
        Some(at)
    }

    /// Counts the objects that were taken, and marks their lines.
    #[inline]
    pub(super) fn record(&mut self) {
        let (from, next) = (self.unrecorded, self.small.hole.next);
        if from < next {
            let objects = std::mem::take(&mut self.unrecorded_objects);
            self.unrecorded = next;
            self.count(from, next - from, objects.into());
        }
    }

    /// Counts adjacent small objects, and marks their lines.
    #[inline]
    fn count(&mut self, at: u32, bytes: u32, objects: u64) {
        self.blocks.mark_all_lines(at, bytes, self.line);
        let more = Count { objects, bytes: bytes.into() };
        self.total.add_all(more);
        self.marked.add_all(more);
    }

    /// Places small objects in the hole of `cursor` from now on.
    fn use_hole(&mut self, cursor: Cursor) {
        self.record();
        self.small = cursor;
        self.unrecorded = cursor.hole.next;
    }

    #[cold]
    fn alloc_large(&mut self, size: u32) -> Option<u32> {
        let at = self.blocks.take_run(size)?;
        self.begin_large(at, size);
        Some(at)
    }

    /// Records a large object.
    fn begin_large(&mut self, at: u32, size: u32) {
        self.map.set_start(at, self.black);
        self.large.push(at);
        self.total.add(size);
        self.marked.add(size);
    }

    /// Moves the cursor of small objects to the next hole.
    fn next_small(&mut self, size: u32) -> Option<()> {
        if let Some(block) = self.small.block
            && let Some(hole) = self.blocks.hole(block, self.small.hole.limit, size)
        {
            self.use_hole(Cursor { hole, ..self.small });
            return Some(());
        }
        while let Some(block) = self.recyclable.pop() {
            self.recyclable_bytes =
                self.recyclable_bytes.saturating_sub(u64::from(self.free_in(block)));
            if let Some(hole) = self.blocks.hole(block, self.blocks.block_start(block), size) {
                self.use_hole(Cursor { hole, block: Some(block) });
                return Some(());
            }
        }
        if let Some(cursor) = self.take_block() {
            self.use_hole(cursor);
            return Some(());
        }
        // The rest of the place for larger objects.
        if self.medium.hole.limit - self.medium.hole.next >= size {
            let medium = std::mem::take(&mut self.medium);
            self.use_hole(medium);
            return Some(());
        }
        None
    }

    /// Moves the cursor of objects larger than a line to a place for one of `size`
    /// bytes.
    fn next_medium(&mut self, size: u32) -> Option<()> {
        if let Some(cursor) = self.take_block() {
            self.medium = cursor;
            return Some(());
        }
        if let Some(block) = self.medium.block
            && let Some(hole) = self.blocks.hole(block, self.medium.hole.limit, size)
        {
            self.medium.hole = hole;
            return Some(());
        }
        if size >= self.no_hole {
            return None;
        }
        let found = self.recyclable.iter().enumerate().rev().find_map(|(place, &block)| {
            Some((place, self.blocks.hole(block, self.blocks.block_start(block), size)?))
        });
        let Some((place, hole)) = found else {
            self.no_hole = size;
            return None;
        };
        let block = self.recyclable.remove(place);
        self.recyclable_bytes =
            self.recyclable_bytes.saturating_sub(u64::from(self.free_in(block)));
        self.medium = Cursor { hole, block: Some(block) };
        Some(())
    }

    fn take_block(&mut self) -> Option<Cursor> {
        let block = self.blocks.take_block()?;
        if let Some(unswept) = self.unswept.get_mut(block) {
            *unswept = false;
        }
        let next = self.blocks.block_start(block);
        Some(Cursor { hole: Hole { next, limit: next + BLOCK_SIZE }, block: Some(block) })
    }

    /// Bytes of a block's free lines.
    fn free_in(&self, block: usize) -> u32 {
        self.blocks.free_lines(block) * LINE_SIZE
    }

    /// Whether an object of `size` bytes at `index`, where an object begins, stays inside its
    /// memory.
    #[inline]
    pub(super) fn fits(&self, index: u32, size: u32) -> bool {
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

    // ---- marking (sweeping is in `sweep.rs`) ---------------------------------

    /// Prepares for marking: new objects are marked from now on.
    pub(super) fn begin_marking(&mut self) {
        self.line = if self.line == 1 { 2 } else { 1 };
        self.black = true;
        self.marked = Count::default();
    }

    /// Marks the lines of a reached object of at most [`MAX_SMALL`] bytes. Returns false if the object
    /// does not fit its block, or is a large one. The caller counts the object
    /// ([`add_marked`](Old::add_marked)).
    #[inline(always)]
    pub(super) fn reach_small(&mut self, index: u32, size: u32) -> bool {
        self.blocks.mark_lines_of_small(index, size, self.line)
    }

    /// Marks the lines of a reached object, unless it is a large one, and counts it.
    #[inline]
    pub(super) fn reached(&mut self, index: u32, size: u32) {
        if size <= MAX_SMALL {
            self.blocks.mark_lines(index, size, self.line);
        }
        self.marked.add(size);
    }

    /// Counts objects that were reached.
    pub(super) fn add_marked(&mut self, count: Count) {
        self.marked.add_all(count);
    }

    /// Number of objects that were marked and scanned.
    #[cfg(test)]
    pub(super) fn marked_objects(&self) -> u64 {
        self.marked.objects
    }

    /// Forgets all marks. Nothing is known to be garbage.
    pub(super) fn abandon_marking(&mut self) {
        self.blocks.set_all_lines(self.line);
        self.map.clear_marks();
        self.black = false;
    }

    /// Blocks with holes.
    pub(super) fn recyclable(&self) -> &[usize] {
        &self.recyclable
    }

    /// Keeps the recyclable blocks for which `keep` returns true.
    pub(super) fn keep_recyclable(&mut self, keep: impl Fn(usize) -> bool) {
        self.recyclable.retain(|&block| keep(block));
        let free = self.recyclable.iter().map(|&block| u64::from(self.free_in(block)));
        self.recyclable_bytes = free.sum();
    }

    /// Records that the last allocated object is a copy of an object that was counted.
    pub(super) fn uncount_copy(&mut self, size: u32) {
        self.total.remove(size);
        self.marked.remove(size);
    }

    /// Marks the lines of an object again.
    pub(super) fn mark_lines_again(&mut self, index: u32, size: u32) {
        self.blocks.mark_lines(index, size, self.line);
    }

    /// Bytes of the marked objects, including those that were marked when allocated.
    pub(super) fn marked_bytes(&self) -> u64 {
        self.marked.bytes
    }

    /// Ends marking. A block must be swept before one of its holes is used again, except the current
    /// ones.
    pub(super) fn end_marking(&mut self) {
        self.recyclable.clear();
        (self.recyclable_bytes, self.no_hole) = (0, u32::MAX);
        self.total = self.marked;
    }

    /// Bytes of holes that may be used again.
    pub(super) fn recyclable_bytes(&self) -> u64 {
        self.recyclable_bytes
    }

    /// When everything is swept: bytes that are neither in objects nor usable for new ones. These are
    /// the rests of lines and pages, and single free lines. In the two blocks in which objects are
    /// being placed, free lines outside the current hole count too.
    pub(super) fn lost_bytes(&self) -> u64 {
        let rest = |cursor: Cursor| u64::from(cursor.hole.limit - cursor.hole.next);
        let pages = u64::from(self.blocks.free_pages()) * u64::from(PAGE_SIZE);
        let free = pages + self.recyclable_bytes + rest(self.small) + rest(self.medium);
        let all = u64::from(self.blocks.end() - self.blocks.start());
        all.saturating_sub(free + self.total.bytes)
    }

    /// Checks that the tables agree with each other.
    ///
    /// # Errors
    /// The place and the description of an error.
    pub(super) fn check(&self) -> Result<(), (u32, &'static str)> {
        self.blocks.check()?;
        let mut large = [&self.large[..], &self.unswept_large].concat();
        large.sort_unstable();
        let mut in_pages = Vec::new();
        let mut at = self.blocks.start();
        while at < self.blocks.end() {
            match self.blocks.owner(at) {
                Owner::Large(start) if start == at => {
                    in_pages.push(at);
                    at += self.blocks.run_size(at);
                }
                Owner::Large(_) => return Err((at, "pages of a large object that is not there")),
                Owner::Block(_) => at += BLOCK_SIZE,
                Owner::Nobody => at += PAGE_SIZE,
            }
        }
        if large != in_pages {
            return Err((self.blocks.start(), "large objects and their pages do not agree"));
        }
        for cursor in [self.small, self.medium] {
            let Hole { next, limit } = cursor.hole;
            let Some(block) = cursor.block else { continue };
            let start = self.blocks.block_start(block);
            if !(self.blocks.is_small(block) && start <= next && limit - start <= BLOCK_SIZE) {
                return Err((next, "objects are allocated outside a block"));
            }
            if self.map.starts(next, limit).next().is_some() {
                return Err((next, "objects are allocated over others"));
            }
        }
        Ok(())
    }

    /// Checks that an object of `size` bytes at `index` fits its memory and has the right marks.
    ///
    /// # Errors
    /// A description of the error.
    pub(super) fn check_object(&self, index: u32, size: u32) -> Result<(), &'static str> {
        if !self.fits(index, size) {
            return Err("an object does not fit in its memory");
        }
        let end = index + size;
        if self.map.starts(index + 8, end).next().is_some() {
            return Err("an object begins inside another");
        }
        if matches!(self.blocks.owner(index), Owner::Block(_))
            && !self.black
            && !self.blocks.lines_are(index, size, self.line)
        {
            return Err("an object is in a line that is not marked");
        }
        Ok(())
    }
}
