//! The owners of the memory of a mark region: blocks of lines for small objects, runs of pages for large ones.
//!
//! A block has 256 lines. A line as a whole is free or in use. New objects are allocated by
//! bumping an index through runs of free lines (holes), and through whole free blocks. A page
//! belongs to a block of small objects, belongs to one large object, which never moves, or is
//! free.
//!
//! The tables of used lines and pages are here, never in the heap.

mod memory;
#[cfg(test)]
mod tests;

pub use memory::GiveBack;

use crate::space::{Residue, zeros};
use crate::{HeapMemory, ZeroedVec};
use std::ops::Range;

/// Bytes of a block.
pub const BLOCK_SIZE: u32 = 32 << 10;
/// Bytes of a line.
pub const LINE_SIZE: u32 = 128;
/// Bytes of a page, the unit of allocation for large objects.
pub const PAGE_SIZE: u32 = 4 << 10;
/// The largest object that goes into a block, in bytes.
pub const MAX_SMALL: u32 = 8 << 10;

const LINES: usize = (BLOCK_SIZE / LINE_SIZE) as usize;
const PAGES: usize = (BLOCK_SIZE / PAGE_SIZE) as usize;

/// Number of lines of all blocks, the last of which may be incomplete, from `start` up to `end`.
fn lines_up_to(end: u64, start: u32) -> usize {
    end.saturating_sub(start.into()).div_ceil(BLOCK_SIZE.into()) as usize * LINES
}

/// Owner of a free page.
const FREE: u32 = 0;
/// Owner of the pages of a block of small objects.
const SMALL: u32 = 1;
/// Owner of the pages of a block that is set aside.
const ASIDE: u32 = 2;

const _: () = assert!(gc_types::NULL_PAGE_SIZE > ASIDE && MAX_SMALL <= BLOCK_SIZE);

/// The owner of the memory at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The memory is free, or it is outside this space.
    Nobody,
    /// The block of small objects that begins there.
    Block(u32),
    /// The large object that begins there.
    Large(u32),
}

/// A run of free bytes in which objects are allocated by bumping an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hole {
    /// The place of the next object.
    pub next: u32,
    /// The end that no object may pass.
    pub limit: u32,
}

/// The tables. Indices are in bytes from the heap's base.
///
/// # Examples
/// ```
/// use gc_heap::space::mark_region::blocks::{BLOCK_SIZE, Blocks, Owner};
///
/// let mut blocks = Blocks::new(0x10000);
/// blocks.extend(0x10000 + 8 * u64::from(BLOCK_SIZE));
///
/// // A small object is allocated in a hole of a block, and marked.
/// let block = blocks.take_block().unwrap();
/// let start = blocks.block_start(block);
/// let object = blocks.hole(block, start, 16).unwrap().next;
/// assert_eq!(blocks.owner(object), Owner::Block(start));
/// blocks.mark_lines(object, 16, 1);
/// assert_eq!(blocks.sweep_lines(block, 1), 255, "one of 256 lines is in use");
///
/// // A large object has pages of its own.
/// let large = blocks.take_run(100_000).unwrap();
/// assert_eq!(blocks.owner(large), Owner::Large(large));
/// blocks.release_run(large);
/// assert_eq!(blocks.owner(large), Owner::Nobody);
/// ```
#[derive(Debug)]
pub struct Blocks {
    /// The start of the first block.
    start: u32,
    /// The most lines that there can be.
    most_lines: usize,
    /// The owner of each page that is mapped.
    pages: Vec<u32>,
    /// For each block, the number of pages that are not free. Pages that are not mapped count as
    /// not free.
    used: Vec<u8>,
    /// For each line, the collector's mark. Zero if the line is free.
    lines: ZeroedVec<u8>,
    free_blocks: u32,
    free_pages: u32,
    /// Number of pages up to the last one that was ever taken.
    touched: usize,
    /// For each block, what its memory has. Blocks in use are dirty.
    residues: Vec<Residue>,
    given_back_count: u32,
    /// The blocks that are set aside.
    aside: Vec<usize>,
    /// The places where searches begin.
    next_block: usize,
    next_page: usize,
}

impl Blocks {
    /// A space without blocks. The first block will begin at `start`, a multiple of [`PAGE_SIZE`].
    pub fn new(start: u32) -> Blocks {
        Blocks {
            start,
            most_lines: lines_up_to(1 << 32, start),
            pages: Vec::new(),
            used: Vec::new(),
            lines: zeros::empty(),
            free_blocks: 0,
            free_pages: 0,
            touched: 0,
            residues: Vec::new(),
            given_back_count: 0,
            aside: Vec::new(),
            next_block: 0,
            next_page: 0,
        }
    }

    /// The same space, which never ends after `maximum`.
    #[must_use]
    pub fn with_maximum(self, maximum: u64) -> Blocks {
        Blocks { most_lines: lines_up_to(maximum, self.start), ..self }
    }

    /// Adds all memory up to `end` to the space.
    pub fn extend(&mut self, end: u64) {
        let pages = (end.saturating_sub(u64::from(self.start)) / u64::from(PAGE_SIZE)) as usize;
        let blocks = pages.div_ceil(PAGES);
        if blocks > self.used.len() {
            let before = self.used.len();
            self.used.resize(blocks, PAGES as u8);
            if blocks > self.residues.len() {
                self.residues.resize(blocks, Residue::Untouched);
            }
            if !pages.is_multiple_of(PAGES) && self.residues[blocks - 1] == Residue::GivenBack {
                // Its first pages are used before it is complete.
                self.residues[blocks - 1] = Residue::Untouched;
            }
            let added = &self.residues[before..blocks];
            let given_back = added.iter().filter(|residue| **residue == Residue::GivenBack);
            self.given_back_count += given_back.count() as u32;
            zeros::extend(&mut self.lines, blocks * LINES, self.most_lines);
        }
        // A page that is not mapped counts as taken. Now it is free.
        while self.pages.len() < pages {
            let page = self.pages.len();
            self.pages.push(SMALL);
            self.set_owner(page, FREE);
        }
    }

    /// Removes all memory. What is [added](Blocks::extend) again is free, and has what it had.
    pub fn clear(&mut self) {
        *self = Blocks {
            residues: std::mem::take(&mut self.residues),
            most_lines: self.most_lines,
            ..Blocks::new(self.start)
        };
    }

    /// The start of the first block.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The end of the last page.
    pub fn end(&self) -> u32 {
        self.start + self.pages.len() as u32 * PAGE_SIZE
    }

    /// The end of the last page that was ever taken. No object begins there or behind it.
    pub fn touched_end(&self) -> u32 {
        self.start + self.touched as u32 * PAGE_SIZE
    }

    /// Number of blocks that are wholly free.
    pub fn free_blocks(&self) -> u32 {
        self.free_blocks
    }

    /// Number of free pages, including those of free blocks.
    pub fn free_pages(&self) -> u32 {
        self.free_pages
    }

    /// Number of blocks. The last one may be incomplete.
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// The start of block `block`.
    pub fn block_start(&self, block: usize) -> u32 {
        self.start + block as u32 * BLOCK_SIZE
    }

    fn set_owner(&mut self, page: usize, owner: u32) {
        let block = page / PAGES;
        let was = std::mem::replace(&mut self.pages[page], owner);
        match (was, owner) {
            (FREE, FREE) => {}
            (FREE, _) => {
                self.free_blocks -= u32::from(self.used[block] == 0);
                let residue = std::mem::replace(&mut self.residues[block], Residue::Dirty);
                self.given_back_count -= u32::from(residue == Residue::GivenBack);
                self.free_pages -= 1;
                self.used[block] += 1;
                self.touched = self.touched.max(page + 1);
            }
            (_, FREE) => {
                self.used[block] -= 1;
                self.free_blocks += u32::from(self.used[block] == 0);
                self.free_pages += 1;
            }
            _ => {}
        }
    }

    /// The owner of the memory at `index`, which may be any number.
    #[inline]
    pub fn owner(&self, index: u32) -> Owner {
        let page = index.wrapping_sub(self.start) / PAGE_SIZE;
        match self.pages.get(page as usize) {
            None | Some(&(FREE | ASIDE)) => Owner::Nobody,
            Some(&SMALL) => Owner::Block(index - (index - self.start) % BLOCK_SIZE),
            Some(&start) => Owner::Large(start),
        }
    }

    /// Fetches what [`owner`](Blocks::owner) reads for `index`, which may be any number.
    #[inline(always)]
    pub fn prefetch_owner(&self, index: u32) {
        let page = index.wrapping_sub(self.start) / PAGE_SIZE;
        crate::arch::prefetch(self.pages.as_ptr().wrapping_add(page as usize).cast());
    }

    /// Bytes of the run of pages that the large object at `start` has.
    pub fn run_size(&self, start: u32) -> u32 {
        let first = (start.wrapping_sub(self.start) / PAGE_SIZE) as usize;
        let pages = self.pages.get(first..).unwrap_or_default();
        pages.iter().take_while(|&&owner| owner == start).count() as u32 * PAGE_SIZE
    }

    // ---- small objects ----------------------------------------------------

    /// Whether this block is one of small objects.
    pub fn is_small(&self, block: usize) -> bool {
        self.pages.get(block * PAGES) == Some(&SMALL)
    }

    /// Makes a free block one of small objects.
    pub fn take_block(&mut self) -> Option<usize> {
        if self.free_blocks == 0 {
            return None;
        }
        let (before, behind) = self.used.split_at(self.next_block.min(self.used.len()));
        let found = behind.iter().position(|&used| used == 0).map(|n| n + before.len());
        let block = found.or_else(|| before.iter().position(|&used| used == 0))?;
        (block * PAGES..(block + 1) * PAGES).for_each(|page| self.set_owner(page, SMALL));
        self.next_block = block + 1;
        Some(block)
    }

    /// Makes a block of small objects free.
    pub fn release_block(&mut self, block: usize) {
        (block * PAGES..(block + 1) * PAGES).for_each(|page| self.set_owner(page, FREE));
        self.next_block = self.next_block.min(block);
        self.next_page = self.next_page.min(block * PAGES);
    }

    fn lines_of(&self, block: usize) -> &[u8] {
        &self.lines[block * LINES..(block + 1) * LINES]
    }

    /// Number of free lines of a block.
    pub fn free_lines(&self, block: usize) -> u32 {
        self.lines_of(block).iter().map(|&mark| u32::from(mark == 0)).sum()
    }

    /// Marks the lines of a small object.
    #[inline]
    pub fn mark_lines(&mut self, index: u32, size: u32, value: u8) {
        let first = (index - self.start) / LINE_SIZE;
        let last = (index - self.start + size - 1) / LINE_SIZE;
        for line in first..=last {
            self.lines[line as usize] = value;
        }
    }

    /// Marks the lines of an object of `size` bytes at `index`, where an object begins, if it is inside
    /// a block of small objects. Returns whether it is.
    #[inline(always)]
    pub fn mark_lines_of_small(&mut self, index: u32, size: u32, value: u8) -> bool {
        let at = index.wrapping_sub(self.start);
        let is_small = self.pages.get((at / PAGE_SIZE) as usize) == Some(&SMALL);
        if !is_small || size > BLOCK_SIZE - at % BLOCK_SIZE {
            return false;
        }
        let (first, last) = (at / LINE_SIZE, (at + size - 1) / LINE_SIZE);
        for line in first..=last {
            self.lines[line as usize] = value;
        }
        true
    }

    /// Marks the lines of adjacent small objects of `bytes` bytes together.
    pub fn mark_all_lines(&mut self, index: u32, bytes: u32, value: u8) {
        let first = (index - self.start) / LINE_SIZE;
        let last = (index - self.start + bytes - 1) / LINE_SIZE;
        self.lines[first as usize..=last as usize].fill(value);
    }

    /// Whether all lines of a small object are marked with `value`.
    pub fn lines_are(&self, index: u32, size: u32, value: u8) -> bool {
        let first = (index - self.start) / LINE_SIZE;
        let last = (index - self.start + size - 1) / LINE_SIZE;
        self.lines[first as usize..=last as usize].iter().all(|&line| line == value)
    }

    /// Frees the lines of a block that are not marked with `value`. Returns the number of free
    /// lines.
    pub fn sweep_lines(&mut self, block: usize, value: u8) -> u32 {
        let mut free = 0;
        for line in &mut self.lines[block * LINES..(block + 1) * LINES] {
            let keep = *line == value;
            *line = if keep { value } else { 0 };
            free += u32::from(!keep);
        }
        free
    }

    /// Changes every non-zero line mark to `value`.
    pub fn set_all_lines(&mut self, value: u8) {
        self.lines.iter_mut().filter(|line| **line != 0).for_each(|line| *line = value);
    }

    /// The next hole of at least `size` bytes in block number `block`, from `from` on. `from` is
    /// the start of a line of that block, or its end.
    pub fn hole(&self, block: usize, from: u32, size: u32) -> Option<Hole> {
        let start = self.block_start(block);
        let lines = self.lines_of(block);
        let needed = size.div_ceil(LINE_SIZE) as usize;
        let mut line = ((from - start) / LINE_SIZE) as usize;
        loop {
            line += lines.get(line..)?.iter().position(|&mark| mark == 0)?;
            let rest = &lines[line..];
            let length = rest.iter().position(|&mark| mark != 0).unwrap_or(rest.len());
            if length >= needed {
                let next = start + line as u32 * LINE_SIZE;
                return Some(Hole { next, limit: next + length as u32 * LINE_SIZE });
            }
            line += length;
        }
    }

    // ---- large objects ----------------------------------------------------

    /// Takes pages for an object of `size` bytes. Returns the object's start.
    pub fn take_run(&mut self, size: u32) -> Option<u32> {
        let pages = self.next_run(size)?;
        Some(self.take_pages(pages))
    }

    /// As [`take_run`](Blocks::take_run), and makes the run's bytes zero, as far as they are not. What
    /// was never used, or was given back since, is not written.
    pub fn take_zeroed_run(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        let pages = self.next_run(size)?;
        let start = u64::from(self.start) + pages.start as u64 * u64::from(PAGE_SIZE);
        let end = start + u64::from(size);
        let place = |block: usize| u64::from(self.start) + block as u64 * u64::from(BLOCK_SIZE);
        let mut block = pages.start / PAGES;
        let residues = &self.residues[block..pages.end.div_ceil(PAGES)];
        for alike in residues.chunk_by(|a, b| a.is_zero() == b.is_zero()) {
            let from = place(block).max(start);
            block += alike.len();
            if !alike[0].is_zero() {
                memory.zero(from, place(block).min(end) - from)?;
            }
        }
        Some(self.take_pages(pages))
    }

    /// The next free pages for an object of `size` bytes.
    fn next_run(&self, size: u32) -> Option<Range<usize>> {
        let needed = size.div_ceil(PAGE_SIZE) as usize;
        if needed > self.free_pages as usize {
            return None;
        }
        let from = self.next_page.min(self.pages.len());
        let found = self.find_run(from, self.pages.len(), needed);
        let overlap = (from + needed).min(self.pages.len());
        let first = found.or_else(|| self.find_run(0, overlap, needed))?;
        Some(first..first + needed)
    }

    /// Takes free pages for a large object. Returns the object's start.
    fn take_pages(&mut self, pages: Range<usize>) -> u32 {
        let start = self.start + pages.start as u32 * PAGE_SIZE;
        pages.clone().for_each(|page| self.set_owner(page, start));
        self.next_page = pages.end;
        start
    }

    /// The first of `needed` adjacent free pages among pages `from` to `end`.
    fn find_run(&self, from: usize, end: usize, needed: usize) -> Option<usize> {
        let (mut page, mut run) = (from, 0);
        while page < end {
            if page.is_multiple_of(PAGES) && usize::from(self.used[page / PAGES]) == PAGES {
                run = 0;
                page += PAGES;
                continue;
            }
            run = if self.pages[page] == FREE { run + 1 } else { 0 };
            page += 1;
            if run == needed {
                return Some(page - needed);
            }
        }
        None
    }

    /// Frees the pages of the large object at `start`. Returns their bytes.
    pub fn release_run(&mut self, start: u32) -> u32 {
        let size = self.run_size(start);
        let first = ((start - self.start) / PAGE_SIZE) as usize;
        (first..first + (size / PAGE_SIZE) as usize).for_each(|page| self.set_owner(page, FREE));
        self.next_page = self.next_page.min(first);
        self.next_block = self.next_block.min(first / PAGES);
        size
    }

    /// Checks that the counters agree with the tables.
    ///
    /// # Errors
    /// Returns the place and a description of the first error.
    pub fn check(&self) -> Result<(), (u32, &'static str)> {
        let mut free = (0, 0);
        for block in 0..self.len() {
            let at = self.block_start(block);
            let pages = &self.pages[block * PAGES..((block + 1) * PAGES).min(self.pages.len())];
            let free_pages = pages.iter().filter(|&&owner| owner == FREE).count();
            if usize::from(self.used[block]) != PAGES - free_pages {
                return Err((at, "a block's free pages are miscounted"));
            }
            free = (free.0 + u32::from(free_pages == PAGES), free.1 + free_pages as u32);
            let small = pages.iter().filter(|&&owner| owner == SMALL).count();
            if small != 0 && small != PAGES {
                return Err((at, "a block is shared by small and large objects"));
            }
        }
        let given_back = (0..self.len()).filter(|&n| self.residues[n] == Residue::GivenBack);
        let (count, in_use) =
            given_back.fold((0, None), |(count, in_use), block| match self.used[block] {
                0 => (count + 1, in_use),
                _ => (count, Some(block)),
            });
        if let Some(block) = in_use {
            return Err((self.block_start(block), "a block in use counts as given back"));
        }
        if count != self.given_back_count {
            return Err((self.start, "the blocks that were given back are miscounted"));
        }
        if free != (self.free_blocks, self.free_pages) {
            return Err((self.start, "the free blocks and pages are miscounted"));
        }
        Ok(())
    }
}
