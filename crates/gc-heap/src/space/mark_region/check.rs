//! Checks of the tables of a mark region.

use super::MarkRegion;
use super::blocks::{BLOCK_SIZE, Hole, Owner, PAGE_SIZE};

impl MarkRegion {
    /// Checks that the tables agree with each other.
    ///
    /// # Errors
    /// The place and the description of an error.
    pub fn check(&self) -> Result<(), (u32, &'static str)> {
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
    pub fn check_object(&self, index: u32, size: u32) -> Result<(), &'static str> {
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
