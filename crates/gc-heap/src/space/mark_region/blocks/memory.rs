//! What the memory of free blocks has: the system is asked for it, it is given back, or the block is set aside.

use super::{ASIDE, BLOCK_SIZE, Blocks, FREE, PAGES};
use crate::HeapMemory;
use crate::memory::FreeMemory;
use crate::space::Residue;

/// The blocks that are still to be given back: free blocks from `block` on, except the first
/// `keep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveBack {
    block: usize,
    keep: u32,
}

impl GiveBack {
    /// Gives back all free blocks but the first `spare` bytes.
    pub fn new(spare: u64) -> GiveBack {
        let keep = spare.div_ceil(u64::from(BLOCK_SIZE));
        GiveBack { block: 0, keep: u32::try_from(keep).unwrap_or(u32::MAX) }
    }
}

impl Blocks {
    // ---- touching ahead -----------------------------------------------------

    /// Asks the system to provide memory for the first of the next free blocks, `bytes` bytes of
    /// them, that have none. Does nothing while half of these blocks have memory, because a request
    /// wakes a thread.
    pub fn touch_ahead(&mut self, memory: &HeapMemory, bytes: u64) {
        let most = (bytes / u64::from(BLOCK_SIZE)) as usize;
        let free = (self.next_block..self.len()).filter(|&block| self.used[block] == 0).take(most);
        let mut next =
            free.enumerate().filter(|&(_, block)| self.residues[block] != Residue::Dirty);
        let Some((ready, first)) = next.next() else { return };
        if ready > most / 2 {
            return;
        }
        let next = next.map(|(_, block)| block);
        let end = next.zip(first + 1..).take_while(|(block, next)| block == next).count();
        let blocks = first..first + 1 + end;
        for residue in &mut self.residues[blocks.clone()] {
            self.given_back_count -= u32::from(*residue == Residue::GivenBack);
            *residue = Residue::Dirty;
        }
        let (at, bytes) = (self.block_start(first), blocks.len() as u64 * u64::from(BLOCK_SIZE));
        memory.touch_ahead(at.into(), bytes);
    }

    // ---- giving back --------------------------------------------------------

    /// Bytes of free blocks whose memory was given back to the system.
    pub fn given_back(&self) -> u64 {
        u64::from(self.given_back_count) * u64::from(BLOCK_SIZE)
    }

    /// Gives the memory of at most `most` free blocks back to the system, beginning at `from`.
    /// Returns whether none are left.
    pub fn give_back(
        &mut self,
        memory: &mut impl FreeMemory,
        from: &mut GiveBack,
        most: u32,
    ) -> bool {
        let mut left = most;
        while left > 0 {
            let Some(&used) = self.used.get(from.block) else { return true };
            if used != 0 || from.keep > 0 {
                from.keep -= u32::from(used == 0);
                from.block += 1;
                continue;
            }
            let (first, residue) = (from.block, self.residues[from.block]);
            while left > 0
                && self.used.get(from.block) == Some(&0)
                && self.residues[from.block] == residue
            {
                self.residues[from.block] = Residue::GivenBack;
                (from.block, left) = (from.block + 1, left - 1);
            }
            let count = (from.block - first) as u32;
            self.given_back_count += if residue == Residue::GivenBack { 0 } else { count };
            if residue != Residue::Dirty {
                continue;
            }
            let bytes = u64::from(count) * u64::from(BLOCK_SIZE);
            memory.give_back(self.block_start(first).into(), bytes);
        }
        false
    }

    // ---- setting aside ------------------------------------------------------

    /// Bytes of blocks that are set aside.
    pub fn aside(&self) -> u64 {
        self.aside.len() as u64 * u64::from(BLOCK_SIZE)
    }

    /// Sets free blocks of at most `bytes` bytes aside, the last ones: nothing is placed there, and their memory goes back
    /// to the system. Returns their bytes.
    pub fn set_aside(&mut self, memory: &mut HeapMemory, bytes: u64) -> u64 {
        let before = self.aside.len();
        let most = (bytes / u64::from(BLOCK_SIZE)) as usize;
        let free = (0..self.len()).rev().filter(|&block| self.used[block] == 0);
        self.aside.extend(free.take(most));
        for at in before..self.aside.len() {
            let block = self.aside[at];
            if self.residues[block] == Residue::Dirty {
                let _mapped = memory.give_back(self.block_start(block).into(), BLOCK_SIZE.into());
            }
            (block * PAGES..(block + 1) * PAGES).for_each(|page| self.set_owner(page, ASIDE));
        }
        (self.aside.len() - before) as u64 * u64::from(BLOCK_SIZE)
    }

    /// Makes blocks of at most `bytes` bytes free again that were set aside, the last ones, because what is mapped next is
    /// behind them. Returns their bytes.
    pub fn take_back(&mut self, bytes: u64) -> u64 {
        let most = (bytes / u64::from(BLOCK_SIZE)) as usize;
        self.aside.sort_unstable();
        let kept = self.aside.len().saturating_sub(most);
        let blocks = self.aside.split_off(kept);
        for &block in &blocks {
            (block * PAGES..(block + 1) * PAGES).for_each(|page| self.set_owner(page, FREE));
            self.residues[block] = Residue::GivenBack;
            self.given_back_count += 1;
            self.next_block = self.next_block.min(block);
            self.next_page = self.next_page.min(block * PAGES);
        }
        blocks.len() as u64 * u64::from(BLOCK_SIZE)
    }
}
