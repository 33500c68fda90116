//! Allocation in a mark region.
//!
//! As in Immix, objects larger than a line that do not fit the current hole go to a separate block, so that
//! allocation does not skip small holes because of them. A caller that allocates many objects at once keeps the
//! place of the next one in a register ([`Bump`]), and their lines are marked together.

use super::MarkRegion;
use super::blocks::{BLOCK_SIZE, Hole, LINE_SIZE, MAX_SMALL};
use crate::HeapMemory;
use crate::space::Count;

/// A hole in a block, and the block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub(super) hole: Hole,
    pub(super) block: Option<usize>,
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
/// ([`MarkRegion::take_at`]).
#[derive(Clone, Copy, Debug)]
pub struct Bump {
    hole: Hole,
    /// Number of objects that are not recorded.
    objects: u32,
}

impl Bump {
    /// The place of the next object, if it is a small one of `size` bytes.
    #[inline(always)]
    pub fn peek(&self, size: u32) -> Option<u32> {
        let at = self.hole.next;
        (size <= self.hole.limit - at).then_some(at)
    }
}

impl MarkRegion {
    /// Takes memory for an object of `size` bytes, a multiple of 8, and records that it begins
    /// there. The memory is not zeroed.
    #[inline]
    pub fn alloc(&mut self, size: u32) -> Option<u32> {
        let at = self.take(size);
        self.record();
        at
    }

    /// As [`alloc`](MarkRegion::alloc), but the memory is zero. Pages of a large object that are zero already
    /// are not written.
    pub fn alloc_zeroed(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        if size > MAX_SMALL {
            let at = self.blocks.take_zeroed_run(memory, size)?;
            self.begin_large(at, size);
            return Some(at);
        }
        let at = self.alloc(size)?;
        memory.fill(at.into(), size.into(), 0)?;
        Some(at)
    }

    /// As [`alloc`](MarkRegion::alloc), but the object may be counted and its lines be marked only by the
    /// next [`record`](MarkRegion::record). Many objects in one hole are recorded at once.
    #[inline(always)]
    pub fn take(&mut self, size: u32) -> Option<u32> {
        let mut bump = self.bump();
        let at = self.take_at(&mut bump, size);
        self.set_bump(bump);
        at
    }

    /// The place of the next small objects. It must be [put back](MarkRegion::set_bump) before anything else
    /// takes memory or records objects.
    #[inline(always)]
    pub fn bump(&self) -> Bump {
        Bump { hole: self.small.hole, objects: self.unrecorded_objects }
    }

    /// Puts back the place of the next small objects.
    #[inline(always)]
    pub fn set_bump(&mut self, bump: Bump) {
        (self.small.hole, self.unrecorded_objects) = (bump.hole, bump.objects);
    }

    /// As [`take`](MarkRegion::take), at the place that the caller keeps.
    #[inline(always)]
    pub fn take_at(&mut self, bump: &mut Bump, size: u32) -> Option<u32> {
        if size > MAX_SMALL || bump.peek(size).is_none() {
            let taken;
            (taken, *bump) = self.take_elsewhere(*bump, size);
            return taken;
        }
        Some(self.take_peeked(bump, size))
    }

    /// Takes the place that [`Bump::peek`] returned.
    #[inline(always)]
    pub fn take_peeked(&mut self, bump: &mut Bump, size: u32) -> u32 {
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
    pub fn record(&mut self) {
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
    pub(super) fn use_hole(&mut self, cursor: Cursor) {
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
        // The rest of the place for larger objects, or another hole of its block.
        let mut medium = self.medium;
        if medium.hole.limit - medium.hole.next < size {
            medium.hole = self.blocks.hole(medium.block?, medium.hole.limit, size)?;
        }
        self.medium = Cursor::default();
        self.use_hole(medium);
        Some(())
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
            return self.share_small(size);
        }
        let found = self.recyclable.iter().enumerate().rev().find_map(|(place, &block)| {
            Some((place, self.blocks.hole(block, self.blocks.block_start(block), size)?))
        });
        let Some((place, hole)) = found else {
            self.no_hole = size;
            return self.share_small(size);
        };
        let block = self.recyclable.remove(place);
        self.recyclable_bytes =
            self.recyclable_bytes.saturating_sub(u64::from(self.free_in(block)));
        self.medium = Cursor { hole, block: Some(block) };
        Some(())
    }

    /// Takes the block of small objects for larger ones, if it has a later hole for one of `size` bytes. In a heap of a
    /// few blocks there may be no other.
    fn share_small(&mut self, size: u32) -> Option<()> {
        let block = self.small.block?;
        let hole = self.blocks.hole(block, self.small.hole.limit, size)?;
        self.use_hole(Cursor::default());
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
    pub(super) fn free_in(&self, block: usize) -> u32 {
        self.blocks.free_lines(block) * LINE_SIZE
    }
}
