//! Sweeping the old generation: block by block, and one large object after the other.

use super::{MIN_FREE_LINES, Old};
use crate::space::blocks::{BLOCK_SIZE, LINE_SIZE, Owner, PAGE_SIZE};

impl Old {
    /// Begins to sweep what was there when marking ended. New objects are not marked from now on.
    pub(in super::super) fn begin_sweeping(&mut self) {
        self.record();
        self.black = false;
        self.unswept.clear();
        self.unswept.resize(self.blocks.len(), true);
        self.unswept_large = std::mem::take(&mut self.large);
        // New objects may be placed in these at once.
        for block in [self.small.block, self.medium.block].into_iter().flatten() {
            self.sweep_block(block);
        }
    }

    /// Number of blocks of which some may be unswept.
    pub(in super::super) fn blocks_to_sweep(&self) -> usize {
        self.unswept.len()
    }

    /// Whether the object at `index` is to be swept.
    pub(in super::super) fn is_unswept(&self, index: u32) -> bool {
        match self.blocks.owner(index) {
            Owner::Block(start) => {
                let block = (start - self.blocks.start()) / BLOCK_SIZE;
                self.unswept.get(block as usize).is_some_and(|&unswept| unswept)
            }
            Owner::Large(start) => self.unswept_large.contains(&start),
            Owner::Nobody => false,
        }
    }

    /// Frees the unmarked objects of one block of small objects. Does nothing for other blocks, and for
    /// those that were swept.
    pub(in super::super) fn sweep_block(&mut self, block: usize) {
        if !std::mem::take(&mut self.unswept[block]) || !self.blocks.is_small(block) {
            return;
        }
        let start = self.blocks.block_start(block);
        let free = self.blocks.sweep_lines(block, self.line);
        self.map.sweep(start, start + BLOCK_SIZE);
        if self.small.block == Some(block) || self.medium.block == Some(block) {
            return;
        }
        if free == BLOCK_SIZE / LINE_SIZE {
            self.blocks.release_block(block);
        } else if free >= MIN_FREE_LINES {
            self.recyclable.push(block);
            self.no_hole = u32::MAX;
            self.recyclable_bytes += u64::from(free * LINE_SIZE);
        }
    }

    /// Frees the unmarked large objects, as far as `budget` allows. Returns whether all are swept.
    pub(in super::super) fn sweep_large(&mut self, budget: &mut u32) -> bool {
        while *budget > 0 {
            let Some(start) = self.unswept_large.pop() else { return true };
            let mut cost = 1;
            if self.map.is_marked(start) {
                self.map.unmark(start);
                self.large.push(start);
            } else {
                self.map.clear_start(start);
                cost += self.blocks.release_run(start) / PAGE_SIZE / 4;
            }
            *budget = budget.saturating_sub(cost);
        }
        self.unswept_large.is_empty()
    }

    /// Ends sweeping. Blocks are used again in address order.
    pub(in super::super) fn end_sweeping(&mut self) {
        self.recyclable.reverse();
        self.unswept.clear();
    }
}
