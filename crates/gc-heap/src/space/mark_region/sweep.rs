//! Sweeping a mark region: one large object after the other, then block by block.

use super::MarkRegion;
use super::alloc::Cursor;
use super::blocks::{BLOCK_SIZE, Hole, LINE_SIZE, Owner, PAGE_SIZE};
use crate::memory::FreeMemory;

/// Blocks with fewer free lines than this are not reused.
const MIN_FREE_LINES: u32 = 2;
/// The cost of a block.
const BLOCK_COST: u32 = 16;

/// The progress of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Nothing is to be swept.
    Done,
    /// Large objects are swept. Blocks are swept after them.
    Large,
    /// Blocks are swept. Those before this one are.
    Blocks(usize),
}

impl MarkRegion {
    /// Begins to sweep what was there when marking [ended](MarkRegion::end_marking). New objects are not marked from
    /// now on.
    pub fn begin_sweeping(&mut self) {
        debug_assert!(
            !self.is_sweeping() && self.black,
            "a sweep begins, and no marking has ended"
        );
        self.record();
        self.black = false;
        self.unswept.clear();
        self.unswept.resize(self.blocks.len(), true);
        self.unswept_large = std::mem::take(&mut self.large);
        self.sweep = Sweep::Large;
        // New objects may be placed in these at once, wherever lines become free.
        let current = [self.small.block, self.medium.block];
        self.use_hole(Cursor::default());
        self.medium = Cursor::default();
        for block in current.into_iter().flatten() {
            self.sweep_block(block);
        }
    }

    /// Whether known garbage is not swept yet.
    #[inline]
    pub fn is_sweeping(&self) -> bool {
        self.sweep != Sweep::Done
    }

    /// The numbers of large objects and of blocks that a sweep still has to visit.
    pub fn left_to_sweep(&self) -> (usize, usize) {
        let blocks = match self.sweep {
            Sweep::Done => 0,
            Sweep::Large => self.unswept.len(),
            Sweep::Blocks(next) => self.unswept.len() - next,
        };
        (self.unswept_large.len(), blocks)
    }

    /// Whether the object at `index` is to be swept.
    pub fn is_unswept(&self, index: u32) -> bool {
        match self.blocks.owner(index) {
            Owner::Block(start) => {
                let block = (start - self.blocks.start()) / BLOCK_SIZE;
                self.unswept.get(block as usize).is_some_and(|&unswept| unswept)
            }
            Owner::Large(start) => self.unswept_large.contains(&start),
            Owner::Nobody => false,
        }
    }

    /// Sweeps as far as `budget` allows. Returns whether nothing is left. Under zeal, overwrites the lines and pages in
    /// `memory` that become free.
    pub fn sweep(&mut self, memory: &mut impl FreeMemory, budget: &mut u32) -> bool {
        let mut block = match self.sweep {
            Sweep::Done => return true,
            Sweep::Blocks(block) => block,
            Sweep::Large => {
                if !self.sweep_large(memory, budget) {
                    return false;
                }
                0
            }
        };
        while block < self.unswept.len() && *budget > 0 {
            if self.sweep_block(block) && memory.is_poisoned() {
                self.poison(memory, block);
            }
            block += 1;
            *budget = budget.saturating_sub(BLOCK_COST);
        }
        if block < self.unswept.len() {
            self.sweep = Sweep::Blocks(block);
            return false;
        }
        // Blocks are used again in address order.
        self.recyclable.reverse();
        self.unswept.clear();
        self.sweep = Sweep::Done;
        true
    }

    /// Frees the unmarked objects of one block of small objects. Does nothing for other blocks, and for
    /// those that were swept. Returns whether it did.
    #[inline]
    fn sweep_block(&mut self, block: usize) -> bool {
        let sweeps = std::mem::take(&mut self.unswept[block]) && self.blocks.is_small(block);
        if sweeps {
            self.sweep_small(block);
        }
        sweeps
    }

    /// Overwrites the free lines of a block that was swept.
    #[cold]
    fn poison(&self, memory: &mut impl FreeMemory, block: usize) {
        let mut from = self.blocks.block_start(block);
        while let Some(Hole { next, limit }) = self.blocks.hole(block, from, LINE_SIZE) {
            memory.poison(next.into(), (limit - next).into());
            from = limit;
        }
    }

    #[inline(never)]
    fn sweep_small(&mut self, block: usize) {
        let start = self.blocks.block_start(block);
        let free = self.blocks.sweep_lines(block, self.line);
        self.map.sweep(start, start + BLOCK_SIZE);
        if free == BLOCK_SIZE / LINE_SIZE {
            self.blocks.release_block(block);
        } else if free >= MIN_FREE_LINES {
            self.recyclable.push(block);
            self.no_hole = u32::MAX;
            self.recyclable_bytes += u64::from(free * LINE_SIZE);
        }
    }

    /// Frees the unmarked large objects, as far as `budget` allows. Returns whether all are swept.
    fn sweep_large(&mut self, memory: &mut impl FreeMemory, budget: &mut u32) -> bool {
        while *budget > 0 {
            let Some(start) = self.unswept_large.pop() else { return true };
            let mut cost = 1;
            if self.map.is_marked(start) {
                self.map.unmark(start);
                self.large.push(start);
            } else {
                self.map.clear_start(start);
                let bytes = self.blocks.release_run(start);
                memory.poison(start.into(), bytes.into());
                cost += bytes / PAGE_SIZE / 4;
            }
            *budget = budget.saturating_sub(cost);
        }
        self.unswept_large.is_empty()
    }
}
