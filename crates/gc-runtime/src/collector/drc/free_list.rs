//! The allocator: segregated free lists over a [`BlockMap`].
//!
//! Blocks of up to [`SMALL_MAX`] bytes have one stack for each size: freeing
//! pushes, allocating pops, nothing is searched. A size whose stack is empty is
//! carved off the *bump region*, a chunk taken from the large blocks, so that
//! what is allocated together stands together. Large blocks are found by best
//! fit and merge with their large neighbours when freed. Small ones never merge
//! then; when an allocation finds no room although much was freed in small
//! blocks, [`FreeList::consolidate`] rebuilds every list from the map, merging
//! all that is adjacent. (Segregated fits with deferred coalescing: Wilson,
//! Johnstone, Neely and Boles, "Dynamic Storage Allocation: A Survey and Critical
//! Review", 1995.)
//!
//! All of it is in native memory. An index to free is untrusted, a size is never
//! asked for: the map knows both.

use super::block_map::{BlockMap, GRANULE};
use std::collections::{BTreeMap, BTreeSet};

/// The largest small block in bytes.
pub(super) const SMALL_MAX: u32 = 256;
/// Bytes the bump region is refilled with.
const CHUNK: u32 = 32 << 10;
/// Stacks, by size in granules; number 0 is never used.
const CLASSES: usize = (SMALL_MAX / GRANULE) as usize + 1;

/// A block that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    /// Where it begins, in bytes from the heap's base.
    pub(super) index: u32,
    /// How many of its first bytes were used before; the others were never
    /// handed out since the heap was made or reset.
    pub(super) used: u32,
}

/// The allocator of one heap.
#[derive(Debug)]
pub(super) struct FreeList {
    map: BlockMap,
    /// Where the first block begins.
    start: u32,
    /// Free small blocks by size in granules.
    small: [Vec<u32>; CLASSES],
    /// Bit `n`: `small[n]` may have a block. (Set if it has; may be stale.)
    nonempty: u64,
    /// The bump region, one free block unless it is empty.
    bump: u32,
    bump_end: u32,
    /// Free large blocks: size by start, and (size, start).
    large: BTreeMap<u32, u32>,
    large_by_size: BTreeSet<(u32, u32)>,
    /// Everything from here on was never handed out.
    fresh: u32,
    /// Bytes in live blocks, and their number.
    live_bytes: u64,
    live_objects: u64,
    /// Bytes freed into small blocks since the last consolidation.
    small_freed: u64,
}

impl FreeList {
    /// An allocator of nothing, whose first block will begin at `start`.
    pub(super) fn new(start: u32) -> FreeList {
        let mut map = BlockMap::default();
        map.extend(start);
        FreeList {
            map,
            start,
            small: [const { Vec::new() }; CLASSES],
            nonempty: 0,
            bump: start,
            bump_end: start,
            large: BTreeMap::new(),
            large_by_size: BTreeSet::new(),
            fresh: start,
            live_bytes: 0,
            live_objects: 0,
            small_freed: 0,
        }
    }

    /// Forgets everything, as if new; keeps the memory of its lists.
    pub(super) fn clear(&mut self) {
        self.map.clear();
        self.map.extend(self.start);
        self.forget_free_blocks();
        (self.fresh, self.live_bytes, self.live_objects) = (self.start, 0, 0);
    }

    fn forget_free_blocks(&mut self) {
        self.small.iter_mut().for_each(Vec::clear);
        self.large.clear();
        self.large_by_size.clear();
        (self.bump, self.bump_end) = (self.start, self.start);
        (self.nonempty, self.small_freed) = (0, 0);
    }

    /// Adds the memory up to `end`, which was never used.
    pub(super) fn extend(&mut self, end: u32) {
        let old = self.map.end();
        if end > old {
            self.map.extend(end);
            self.map.set_start(old);
            self.insert(old, end - old);
        }
    }

    // ---- questions --------------------------------------------------------

    /// Whether an object begins at `index`, which may be any number.
    #[inline]
    pub(super) fn is_object(&self, index: u32) -> bool {
        self.map.is_live(index)
    }

    /// Bytes of the object that begins at `index`; `None` if none does.
    #[inline]
    pub(super) fn size(&self, index: u32) -> Option<u32> {
        self.map.is_live(index).then(|| self.map.size(index))
    }

    /// The map, to walk objects.
    pub(super) fn map(&self) -> &BlockMap {
        &self.map
    }

    /// Bytes in live objects.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Number of live objects.
    pub(super) fn live_objects(&self) -> u64 {
        self.live_objects
    }

    /// Bytes in free small blocks of which merging might make larger ones: those
    /// that were freed since they were last merged and not handed out again.
    pub(super) fn mergeable(&self) -> u64 {
        let stacks = self.small.iter().zip(0u64..);
        let free = stacks.map(|(stack, class)| stack.len() as u64 * class * u64::from(GRANULE));
        self.small_freed.min(free.sum())
    }

    /// Bytes that are not in live objects.
    pub(super) fn free_bytes(&self) -> u64 {
        u64::from(self.map.end() - self.start) - self.live_bytes
    }

    // ---- allocation -------------------------------------------------------

    /// Hands out `size` bytes, a multiple of [`GRANULE`] and not zero, or `None`
    /// if no free block is large enough.
    #[inline]
    pub(super) fn alloc(&mut self, size: u32) -> Option<Allocation> {
        debug_assert!(size > 0 && size.is_multiple_of(GRANULE));
        let index = if size <= SMALL_MAX {
            match self.small[(size / GRANULE) as usize].pop() {
                Some(index) => index,
                None => match self.carve(size) {
                    Some(index) => index,
                    None => self.alloc_small_slow(size)?,
                },
            }
        } else {
            self.alloc_large(size)?
        };
        self.map.set_live(index, true);
        self.live_bytes += u64::from(size);
        self.live_objects += 1;
        let used = self.fresh.saturating_sub(index).min(size);
        self.fresh = self.fresh.max(index + size);
        Some(Allocation { index, used })
    }

    /// Takes `size` bytes off the bump region.
    #[inline]
    fn carve(&mut self, size: u32) -> Option<u32> {
        let index = self.bump;
        if self.bump_end - index < size {
            return None;
        }
        self.bump = index + size;
        if self.bump < self.bump_end {
            self.map.set_start(self.bump);
        }
        Some(index)
    }

    #[cold]
    fn alloc_small_slow(&mut self, size: u32) -> Option<u32> {
        // A new bump region, from a block that is large enough or from the largest.
        let source = self.large_by_size.range((CHUNK, 0)..).next().or(self.large_by_size.last());
        if let Some(&(block_size, index)) = source {
            self.remove_large(index, block_size);
            self.retire_bump();
            let taken = block_size.min(CHUNK);
            self.give_back_tail(index, taken, block_size);
            (self.bump, self.bump_end) = (index, index + taken);
            return self.carve(size);
        }
        // A larger small block, split.
        let class = (size / GRANULE) as usize;
        let mut candidates = self.nonempty & (u64::MAX << (class + 1));
        while candidates != 0 {
            let larger = candidates.trailing_zeros() as usize;
            if let Some(index) = self.small[larger].pop() {
                self.give_back_tail(index, size, larger as u32 * GRANULE);
                return Some(index);
            }
            self.nonempty &= !(1 << larger);
            candidates &= candidates - 1;
        }
        None
    }

    #[cold]
    fn alloc_large(&mut self, size: u32) -> Option<u32> {
        if let Some(&(block_size, index)) = self.large_by_size.range((size, 0)..).next() {
            self.remove_large(index, block_size);
            self.give_back_tail(index, size, block_size);
            return Some(index);
        }
        // The bump region may be larger than any free block.
        self.carve(size)
    }

    /// Keeps the first `keep` bytes of a block of `size`, frees the rest.
    fn give_back_tail(&mut self, index: u32, keep: u32, size: u32) {
        if keep < size {
            self.map.set_start(index + keep);
            self.insert(index + keep, size - keep);
        }
    }

    /// Turns what is left of the bump region into an ordinary free block.
    fn retire_bump(&mut self) {
        let (index, end) = (self.bump, self.bump_end);
        self.bump_end = index;
        if index < end {
            self.insert(index, end - index);
        }
    }

    /// Adds the free block of `size` at `index`, whose start bit is set, to its list.
    #[inline]
    fn insert(&mut self, index: u32, size: u32) {
        if size <= SMALL_MAX {
            let class = (size / GRANULE) as usize;
            self.small[class].push(index);
            self.nonempty |= 1 << class;
        } else {
            self.insert_large(index, size);
        }
    }

    fn insert_large(&mut self, mut index: u32, mut size: u32) {
        if let Some(&next) = self.large.get(&(index + size)) {
            self.map.clear_start(index + size);
            self.remove_large(index + size, next);
            size += next;
        }
        let before = self.large.range(..index).next_back().map(|(&at, &size)| (at, size));
        if let Some((previous, previous_size)) = before
            && previous + previous_size == index
        {
            self.map.clear_start(index);
            self.remove_large(previous, previous_size);
            (index, size) = (previous, size + previous_size);
        }
        self.large.insert(index, size);
        self.large_by_size.insert((size, index));
    }

    fn remove_large(&mut self, index: u32, size: u32) {
        self.large.remove(&index);
        self.large_by_size.remove(&(size, index));
    }

    // ---- freeing ----------------------------------------------------------

    /// Takes the object at `index` back; its size in bytes. `None`, and nothing
    /// happens, if no object begins there.
    #[inline]
    pub(super) fn free(&mut self, index: u32) -> Option<u32> {
        let size = self.size(index)?;
        self.map.set_live(index, false);
        self.live_bytes -= u64::from(size);
        self.live_objects -= 1;
        if size <= SMALL_MAX {
            self.small_freed += u64::from(size);
        }
        self.insert(index, size);
        Some(size)
    }

    /// Merges all free blocks that are adjacent.
    pub(super) fn consolidate(&mut self) {
        self.forget_free_blocks();
        let end = self.map.end();
        let mut index = self.start;
        while index < end {
            let mut next = self.map.next_start(index);
            if !self.map.is_live(index) {
                while next < end && !self.map.is_live(next) {
                    self.map.clear_start(next);
                    next = self.map.next_start(index);
                }
                self.insert(index, next - index);
            }
            index = next;
        }
    }

    // ---- checking ---------------------------------------------------------

    /// Checks that the blocks tile the heap and that each free one is in exactly
    /// one list; otherwise where that is not so, and what is wrong. Only a bug of
    /// this file can make it fail.
    pub(super) fn check(&self) -> Result<(), (u32, &'static str)> {
        let mut listed = BTreeMap::new();
        let mut list = |index, size| match listed.insert(index, size) {
            None => Ok(()),
            Some(_) => Err((index, "a block is free twice")),
        };
        for (class, stack) in self.small.iter().enumerate() {
            if !stack.is_empty() && self.nonempty & (1 << class) == 0 {
                return Err((0, "a free list is forgotten"));
            }
            stack.iter().try_for_each(|&index| list(index, class as u32 * GRANULE))?;
        }
        for (&index, &size) in &self.large {
            if !self.large_by_size.contains(&(size, index)) {
                return Err((index, "a large block is not in both lists"));
            }
            list(index, size)?;
        }
        if self.large.len() != self.large_by_size.len() {
            return Err((0, "a large block is not in both lists"));
        }
        if self.bump < self.bump_end {
            list(self.bump, self.bump_end - self.bump)?;
        }
        let (mut live_bytes, mut live_objects) = (0, 0);
        let mut index = self.start;
        while index < self.map.end() {
            if !self.map.is_start(index) {
                return Err((index, "a block without a start"));
            }
            let size = self.map.size(index);
            if self.map.is_live(index) {
                live_bytes += u64::from(size);
                live_objects += 1;
                if index + size > self.fresh {
                    return Err((index, "a live block in fresh memory"));
                }
            } else if listed.remove(&index) != Some(size) {
                return Err((index, "a free block is in no list, or in a wrong one"));
            }
            index += size;
        }
        if let Some((&index, _)) = listed.iter().next() {
            return Err((index, "a live block is in a free list"));
        }
        if (live_bytes, live_objects) != (self.live_bytes, self.live_objects) {
            return Err((0, "live blocks are miscounted"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arbtest::arbtest;
    use std::ops::Range;

    const START: u32 = 64 << 10;

    fn list(bytes: u32) -> FreeList {
        let mut list = FreeList::new(START);
        list.extend(START + bytes);
        list.check().unwrap();
        list
    }

    #[test]
    fn a_freed_block_is_handed_out_again() {
        let mut list = list(1 << 20);
        let first = list.alloc(24).unwrap();
        assert_eq!(first, Allocation { index: START, used: 0 });
        assert_eq!(list.alloc(24).unwrap().index, START + 24);
        assert_eq!(list.free(START), Some(24));
        assert_eq!(list.alloc(24).unwrap(), Allocation { index: START, used: 24 });
        list.check().unwrap();
    }

    #[test]
    fn what_is_no_object_cannot_be_freed() {
        let mut list = list(1 << 16);
        let at = list.alloc(64).unwrap().index;
        for index in [0, 8, at + 4, at + 8, at + 64, START + (1 << 16), u32::MAX] {
            assert_eq!(list.free(index), None);
        }
        assert_eq!(list.free(at), Some(64));
        assert_eq!(list.free(at), None, "not twice");
        list.check().unwrap();
    }

    #[test]
    fn large_blocks_merge_when_freed() {
        let mut list = list(1 << 20);
        let blocks: Vec<u32> = (0..4).map(|_| list.alloc(1 << 18).unwrap().index).collect();
        assert_eq!(list.alloc(8), None);
        for i in [0, 2, 1, 3] {
            list.free(blocks[i]).unwrap();
            list.check().unwrap();
        }
        assert_eq!(list.alloc(1 << 20).unwrap(), Allocation { index: START, used: 1 << 20 });
    }

    #[test]
    fn small_blocks_merge_when_consolidated() {
        let mut list = list(1 << 16);
        let mut blocks = Vec::new();
        while let Some(block) = list.alloc(40) {
            blocks.push(block.index);
        }
        blocks.iter().for_each(|&index| assert_eq!(list.free(index), Some(40)));
        assert_eq!(list.alloc(1 << 16), None);
        assert!(list.mergeable() > 60 << 10);
        list.consolidate();
        list.check().unwrap();
        assert_eq!(list.alloc(1 << 16).map(|block| block.index), Some(START));
    }

    #[test]
    fn larger_small_blocks_are_split_when_nothing_else_is_left() {
        let mut list = list(4096);
        let blocks: Vec<u32> = (0..16).map(|_| list.alloc(256).unwrap().index).collect();
        assert_eq!(list.alloc(8), None);
        list.free(blocks[3]).unwrap();
        for i in 0..32 {
            assert_eq!(list.alloc(8).unwrap().index, blocks[3] + i * 8);
            list.check().unwrap();
        }
        assert_eq!(list.alloc(8), None);
    }

    #[test]
    fn random_use_agrees_with_a_model() {
        arbtest(|u| {
            let mut list = FreeList::new(START);
            let mut end = START;
            let mut model: Vec<Range<u32>> = Vec::new();
            let mut touched = START;
            for _ in 0..u.int_in_range(1..=200)? {
                match u.int_in_range(0..=9)? {
                    0..=4 => {
                        let size = match u.int_in_range(0..=2)? {
                            0 => u.int_in_range(1..=8u32)?,
                            1 => u.int_in_range(1..=40)?,
                            _ => u.int_in_range(1..=1200)?,
                        } * GRANULE;
                        if let Some(Allocation { index, used }) = list.alloc(size) {
                            let new = index..index + size;
                            assert!(index >= START && new.end <= end && index.is_multiple_of(8));
                            for old in &model {
                                assert!(new.end <= old.start || old.end <= new.start, "overlap");
                            }
                            assert!(index + used <= touched.max(index));
                            assert!(used == size || index + used >= touched, "used is too small");
                            touched = touched.max(new.end);
                            model.push(new);
                        }
                    }
                    5..=7 if !model.is_empty() => {
                        let block = model.swap_remove(u.choose_index(model.len())?);
                        assert_eq!(list.size(block.start), Some(block.end - block.start));
                        assert_eq!(list.free(block.start), Some(block.end - block.start));
                    }
                    8 => {
                        let index = u.arbitrary::<u32>()? % (end + 64);
                        if !model.iter().any(|block| block.start == index) {
                            assert_eq!(list.free(index), None);
                        }
                    }
                    9 => match u.int_in_range(0..=3)? {
                        0 => list.consolidate(),
                        1 if u.ratio(1, 4)? => {
                            list.clear();
                            model.clear();
                            touched = START;
                            list.extend(end);
                        }
                        _ => {
                            end += u.int_in_range(1..=4)? * 4096;
                            list.extend(end);
                        }
                    },
                    _ => {}
                }
                list.check().unwrap();
            }
            let mut live: Vec<u32> = model.iter().map(|block| block.start).collect();
            live.sort_unstable();
            assert_eq!(list.map().live_blocks().collect::<Vec<_>>(), live);
            list.consolidate();
            // Consolidated, the largest gap between objects can be had whole.
            let mut gaps: Vec<u32> = Vec::new();
            let mut at = START;
            model.sort_unstable_by_key(|block| block.start);
            for block in &model {
                gaps.push(block.start - at);
                at = block.end;
            }
            gaps.push(end - at);
            if let Some(&gap) = gaps.iter().max().filter(|&&gap| gap > 0) {
                assert!(list.alloc(gap).is_some());
            }
            Ok(())
        });
    }
}
