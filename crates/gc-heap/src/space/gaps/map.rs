//! A map of the blocks of a heap: where they begin, which of them are objects, and which objects
//! are mature or marked. It has four bits for each eight bytes of the heap, in native memory.
//!
//! Blocks tile the heap: a block reaches from its start bit to the next one. Where a block of the
//! allocator is free as a whole, there may be no start bit: the allocator's number of free bytes says
//! so. Only the map decides
//! what is an object and how large it is. So nothing that a guest writes into the heap can make the
//! allocator hand memory out twice. (Bitmaps beside the heap are as old as mark-sweep; see Jones,
//! Hosking and Moss, "The Garbage Collection Handbook", 2012, section 2.4.)

use crate::{HeapError, HeapMemory, MemoryPurpose, MemorySource, OnDemand, ZeroedVec};
use std::ops::Range;
use std::sync::Arc;

/// The number of bytes for each bit.
pub const GRANULE: u32 = 8;
/// log2 of the bytes of heap that one group covers.
pub const GROUP_SHIFT: u32 = 9;

/// The bits of 512 bytes of heap: a number for each of [`bits`].
pub type Group = [u64; 4];

/// What the bits of a [`Group`] say.
pub mod bits {
    /// Starts of blocks. A block of the allocator that is free as a whole may have none.
    pub const STARTS: usize = 0;
    /// Starts of blocks that are objects.
    pub const LIVE: usize = 1;
    /// Objects that survived a collection.
    pub const MATURE: usize = 2;
    /// Objects that the search for cycles under way has reached.
    pub const MARKS: usize = 3;
}

/// The map. Indices are in bytes from the heap's base.
///
/// What has no bits uses no memory: a large object, or memory that was never used.
#[derive(Debug)]
pub struct LiveMap {
    groups: ZeroedVec<Group>,
    /// The number of groups of the largest heap.
    maximum: usize,
    /// The end of the last block.
    end: u32,
}

/// The bits of the granules of group `group` that lie in `range`.
#[inline]
fn mask(group: usize, range: &Range<u32>) -> u64 {
    let base = (group as u32) << GROUP_SHIFT;
    let first = range.start.saturating_sub(base) / GRANULE;
    let last = (range.end.saturating_sub(base) / GRANULE).min(64);
    if first >= last {
        return 0;
    }
    (u64::MAX >> (64 - (last - first))) << first
}

fn groups_up_to(end: u64) -> usize {
    end.div_ceil(1 << GROUP_SHIFT) as usize
}

impl LiveMap {
    /// A map without blocks for the heap in `memory`.
    pub fn new(memory: &HeapMemory) -> LiveMap {
        LiveMap::with_maximum(memory.source(), groups_up_to(memory.maximum()))
    }

    fn with_maximum(source: &Arc<dyn MemorySource>, maximum: usize) -> LiveMap {
        let groups = ZeroedVec::new(source, MemoryPurpose::CollectorTable);
        LiveMap { groups, maximum, end: 0 }
    }

    /// Forgets all blocks.
    pub fn clear(&mut self) {
        *self = LiveMap::with_maximum(self.groups.source(), self.maximum);
    }

    /// The same map again, in memory that no source is asked for.
    pub fn copy(&self) -> Result<LiveMap, HeapError> {
        let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
        let mut copy = LiveMap::with_maximum(&source, self.maximum);
        copy.extend(self.end)?;
        // What is zero stays untouched.
        let groups = copy.groups.iter_mut().zip(self.groups.iter());
        groups.filter(|(_, group)| **group != [0; 4]).for_each(|(copy, group)| *copy = *group);
        Ok(copy)
    }

    /// The end of the last block.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Moves the end up to `end`, a multiple of [`GRANULE`]. The new memory belongs to the last
    /// block until another start is set.
    ///
    /// # Errors
    /// If there is no memory for the map. Then nothing changes.
    pub fn extend(&mut self, end: u32) -> Result<(), HeapError> {
        debug_assert!(end >= self.end && end.is_multiple_of(GRANULE));
        self.reserve(end.into())?;
        self.end = end;
        Ok(())
    }

    /// Makes room for the blocks of a heap that will end at `end`.
    ///
    /// # Errors
    /// If there is no memory for the map. Then nothing changes.
    pub fn reserve(&mut self, end: u64) -> Result<(), HeapError> {
        let groups = groups_up_to(end).min(self.maximum);
        self.groups.grow(groups.max(self.groups.len()), self.maximum)
    }

    #[inline]
    fn place(index: u32) -> (usize, u64) {
        ((index >> GROUP_SHIFT) as usize, 1 << (index / GRANULE % 64))
    }

    /// The groups with bits for `range`.
    #[inline]
    pub fn groups_of(range: &Range<u32>) -> Range<usize> {
        let end = range.end.div_ceil(1 << GROUP_SHIFT) as usize;
        (range.start >> GROUP_SHIFT) as usize..end
    }

    /// Number of groups.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The bits of group number `group`, which must exist.
    #[inline]
    pub fn group(&self, group: usize) -> &Group {
        &self.groups[group]
    }

    /// The bits of group number `group`, mutable.
    #[inline]
    pub fn group_mut(&mut self, group: usize) -> &mut Group {
        &mut self.groups[group]
    }

    #[inline]
    fn get(&self, index: u32) -> Option<(&Group, u64)> {
        let (group, bit) = LiveMap::place(index);
        if !index.is_multiple_of(GRANULE) {
            return None;
        }
        self.groups.get(group).map(|group| (group, bit))
    }

    /// The mature objects of group number `group` that are not marked. The group must exist.
    #[inline]
    pub fn unmarked(&self, group: usize) -> impl Iterator<Item = u32> + use<> {
        let bits = self.group(group);
        let mut bits = bits[bits::MATURE] & !bits[bits::MARKS];
        let base = (group as u32) << GROUP_SHIFT;
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            Some(base + bit * GRANULE)
        })
    }

    /// Fetches the bits of `index`, which may be any number.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        let group = self.groups.as_ptr().wrapping_add((index >> GROUP_SHIFT) as usize);
        crate::arch::prefetch(group.cast());
    }

    /// Whether an object begins at `index`, which may be any number.
    #[inline]
    pub fn is_live(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group[bits::LIVE] & bit != 0)
    }

    /// Whether a mature object begins at `index`, which may be any number.
    #[inline]
    pub fn is_mature(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group[bits::MATURE] & bit != 0)
    }

    /// Whether an object that is marked begins at `index`, which may be any number.
    #[inline]
    pub fn is_marked(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group[bits::MARKS] & bit != 0)
    }

    /// Whether a block begins at `index`, which may be any number.
    pub fn is_start(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group[bits::STARTS] & bit != 0)
    }

    /// Starts a block at `index`, below the end.
    #[inline]
    pub fn set_start(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        self.groups[group][bits::STARTS] |= bit;
    }

    /// Makes the block at `index` an object.
    #[inline]
    pub fn set_live(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        group[bits::STARTS] |= bit;
        group[bits::LIVE] |= bit;
    }

    /// Makes the object at `index` mature. Returns whether it was not mature before.
    #[inline]
    pub fn set_mature(&mut self, index: u32) -> bool {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        debug_assert!(group[bits::LIVE] & bit != 0);
        let was_young = group[bits::MATURE] & bit == 0;
        group[bits::MATURE] |= bit;
        was_young
    }

    /// Marks the object at `index`. Returns whether it was not marked before.
    #[inline]
    pub fn set_marked(&mut self, index: u32) -> bool {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        debug_assert!(group[bits::LIVE] & bit != 0);
        let was_unmarked = group[bits::MARKS] & bit == 0;
        group[bits::MARKS] |= bit;
        was_unmarked
    }

    /// Unmarks the object at `index`.
    #[inline]
    pub fn clear_mark(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        self.groups[group][bits::MARKS] &= !bit;
    }

    /// Unmarks all objects of group number `group`. Does not touch memory that has no marks.
    #[inline]
    pub fn clear_marks(&mut self, group: usize) {
        let marks = &mut self.groups[group][bits::MARKS];
        if *marks != 0 {
            *marks = 0;
        }
    }

    /// Makes the object at `index` a free block.
    #[inline]
    pub fn set_free(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        group[bits::LIVE] &= !bit;
        group[bits::MATURE] &= !bit;
        group[bits::MARKS] &= !bit;
    }

    /// Removes all block starts in `range`, so that it belongs to the block before it.
    pub fn clear_starts(&mut self, range: Range<u32>) {
        for group in LiveMap::groups_of(&range) {
            let mask = mask(group, &range);
            let group = &mut self.groups[group];
            debug_assert!(group[bits::LIVE] & mask == 0);
            // Most groups of a large range have none, and are in no cache.
            if group[bits::STARTS] & mask != 0 {
                group[bits::STARTS] &= !mask;
            }
        }
    }

    /// The first granule in `range` whose bit is set in `pick` of its group.
    #[inline]
    fn first(&self, range: &Range<u32>, pick: impl Fn(&Group) -> u64) -> Option<u32> {
        for group in LiveMap::groups_of(range) {
            let bits = pick(&self.groups[group]) & mask(group, range);
            if bits != 0 {
                return Some(((group as u32) << GROUP_SHIFT) + bits.trailing_zeros() * GRANULE);
            }
        }
        None
    }

    /// The start of the first block in `range`.
    #[inline]
    pub fn first_start(&self, range: Range<u32>) -> Option<u32> {
        self.first(&range, |group| group[bits::STARTS])
    }

    /// The start of the last block in `range`.
    pub fn last_start(&self, range: Range<u32>) -> Option<u32> {
        for group in LiveMap::groups_of(&range).rev() {
            let bits = self.groups[group][bits::STARTS] & mask(group, &range);
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                return Some(((group as u32) << GROUP_SHIFT) + bit * GRANULE);
            }
        }
        None
    }

    /// The first run of adjacent free blocks that begin in `range`, cut off at its end.
    #[inline]
    pub fn free_run(&self, range: Range<u32>) -> Option<Range<u32>> {
        let start = self.first(&range, |group| group[bits::STARTS] & !group[bits::LIVE])?;
        let end = self.first(&(start..range.end), |group| group[bits::LIVE]);
        Some(start..end.unwrap_or(range.end))
    }

    /// The granules in `range` whose bit is set in `pick` of their group, ascending.
    pub fn blocks(
        &self,
        range: Range<u32>,
        pick: impl Fn(&Group) -> u64,
    ) -> impl Iterator<Item = u32> {
        LiveMap::groups_of(&range).flat_map(move |group| {
            let mut bits = pick(&self.groups[group]) & mask(group, &range);
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(((group as u32) << GROUP_SHIFT) + bit * GRANULE)
            })
        })
    }

    /// The starts of all objects, ascending.
    pub fn objects(&self) -> impl Iterator<Item = u32> {
        self.blocks(0..self.end, |group| group[bits::LIVE])
    }

    /// The group that has the bits of `index`, and a mask of the bits below.
    pub fn bits_below(index: u32) -> (usize, u64) {
        let (group, bit) = LiveMap::place(index);
        (group, bit - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> LiveMap {
        let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
        LiveMap::with_maximum(&source, 1 << 20)
    }

    #[test]
    fn blocks_tile_the_heap() {
        let mut map = map();
        map.extend(8192).unwrap();
        let starts = [64, 72, 504, 512, 1024, 4096, 8184];
        starts.iter().for_each(|&at| map.set_start(at));
        map.set_live(72);
        map.set_live(8184);
        for pair in starts.windows(2) {
            assert_eq!(map.first_start(pair[0] + 8..8192), Some(pair[1]));
            assert_eq!(map.last_start(0..pair[1]), Some(pair[0]));
        }
        assert_eq!(map.first_start(8192..8192), None);
        assert_eq!(map.objects().collect::<Vec<_>>(), [72, 8184]);
        assert_eq!(map.free_run(0..8192), Some(64..72));
        assert_eq!(map.free_run(72..8192), Some(504..8184));
        assert_eq!(map.free_run(72..1000), Some(504..1000));
        assert_eq!(map.free_run(8184..8192), None);
        map.clear_starts(512..4096);
        assert_eq!(map.first_start(512..8192), Some(4096));
        assert_eq!(map.blocks(0..8192, |group| group[bits::STARTS]).count(), 5);
    }

    #[test]
    fn objects_mature_are_marked_and_freed() {
        let mut map = map();
        map.extend(1024).unwrap();
        map.set_live(64);
        assert!(map.set_mature(64) && !map.set_mature(64) && map.is_mature(64));
        assert!(map.set_marked(64) && !map.set_marked(64) && map.is_marked(64));
        map.clear_mark(64);
        assert!(!map.is_marked(64) && map.is_live(64));
        map.set_free(64);
        assert!(!map.is_live(64) && !map.is_mature(64) && map.is_start(64));
    }

    #[test]
    fn any_number_may_be_asked_for() {
        let mut map = map();
        map.extend(1024).unwrap();
        map.set_live(64);
        for index in [0, 1, 63, 65, 68, 72, 1024, 4096, u32::MAX, u32::MAX - 7] {
            assert!(!map.is_live(index) && !map.is_mature(index), "{index}");
            assert!(!map.is_marked(index) && !map.is_start(index), "{index}");
        }
        assert!(map.is_live(64));
    }

    #[test]
    fn masks_cover_what_lies_in_their_group() {
        assert_eq!(mask(0, &(0..512)), u64::MAX);
        assert_eq!(mask(0, &(8..16)), 2);
        assert_eq!(mask(1, &(0..1 << 20)), u64::MAX);
        assert_eq!(mask(1, &(0..512)), 0);
        assert_eq!(mask(1, &(0..520)), 1);
        assert_eq!(mask(0, &(504..512)), 1 << 63);
        assert_eq!(mask(0, &(64..64)), 0);
    }
}
