//! A map of the blocks of a heap: where they begin, which of them are objects, and which objects
//! are mature or marked. It has four bits for each eight bytes of the heap, in native memory.
//!
//! Blocks tile the heap: a block reaches from its start bit to the next one. Only the map decides
//! what is an object and how large it is. So nothing that a guest writes into the heap can make the
//! allocator hand memory out twice. (Bitmaps beside the heap are as old as mark-sweep; see Jones,
//! Hosking and Moss, "The Garbage Collection Handbook", 2012, section 2.4.)

use std::ops::Range;

/// The number of bytes for each bit.
pub(super) const GRANULE: u32 = 8;
/// log2 of the bytes of heap that one group covers.
pub(super) const GROUP_SHIFT: u32 = 9;

/// The bits of 512 bytes of heap.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct Group {
    /// Starts of blocks.
    pub(super) starts: u64,
    /// Starts of blocks that are objects.
    pub(super) live: u64,
    /// Objects that survived a collection.
    pub(super) mature: u64,
    /// Objects that the collection under way found on the stack or reached.
    pub(super) marks: u64,
}

/// The map. Indices are in bytes from the heap's base.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveMap {
    groups: Vec<Group>,
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

impl LiveMap {
    /// The end of the last block.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Moves the end up to `end`, a multiple of [`GRANULE`]. The new memory belongs to the last
    /// block until another start is set.
    pub(super) fn extend(&mut self, end: u32) {
        debug_assert!(end >= self.end && end.is_multiple_of(GRANULE));
        self.groups.resize((end as usize).div_ceil(1 << GROUP_SHIFT), Group::default());
        self.end = end;
    }

    /// Forgets all blocks.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.end = 0;
    }

    #[inline]
    fn place(index: u32) -> (usize, u64) {
        ((index >> GROUP_SHIFT) as usize, 1 << (index / GRANULE % 64))
    }

    /// The groups with bits for `range`.
    #[inline]
    pub(super) fn groups_of(range: &Range<u32>) -> Range<usize> {
        let end = range.end.div_ceil(1 << GROUP_SHIFT) as usize;
        (range.start >> GROUP_SHIFT) as usize..end
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The bits of group number `group`, which must exist.
    #[inline]
    pub(super) fn group(&self, group: usize) -> &Group {
        &self.groups[group]
    }

    /// The bits of group number `group`, mutable.
    #[inline]
    pub(super) fn group_mut(&mut self, group: usize) -> &mut Group {
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

    /// Fetches the bits of `index`, which may be any number.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        let group = self.groups.as_ptr().wrapping_add((index >> GROUP_SHIFT) as usize);
        crate::memory::prefetch(group.cast());
    }

    /// Whether an object begins at `index`, which may be any number.
    #[inline]
    pub(super) fn is_live(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group.live & bit != 0)
    }

    /// Whether a mature object begins at `index`, which may be any number.
    #[inline]
    pub(super) fn is_mature(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group.mature & bit != 0)
    }

    /// Whether an object that is marked begins at `index`, which may be any number.
    #[inline]
    pub(super) fn is_marked(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group.marks & bit != 0)
    }

    /// Whether a block begins at `index`, which may be any number.
    pub(super) fn is_start(&self, index: u32) -> bool {
        self.get(index).is_some_and(|(group, bit)| group.starts & bit != 0)
    }

    /// Starts a block at `index`, below the end.
    #[inline]
    pub(super) fn set_start(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        self.groups[group].starts |= bit;
    }

    /// Makes the block at `index` an object.
    #[inline]
    pub(super) fn set_live(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        group.starts |= bit;
        group.live |= bit;
    }

    /// Makes the object at `index` mature. Returns whether it was not mature before.
    #[inline]
    pub(super) fn set_mature(&mut self, index: u32) -> bool {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        debug_assert!(group.live & bit != 0);
        let was_young = group.mature & bit == 0;
        group.mature |= bit;
        was_young
    }

    /// Marks the object at `index`. Returns whether it was not marked before.
    #[inline]
    pub(super) fn set_marked(&mut self, index: u32) -> bool {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        debug_assert!(group.live & bit != 0);
        let was_unmarked = group.marks & bit == 0;
        group.marks |= bit;
        was_unmarked
    }

    /// Unmarks the object at `index`.
    #[inline]
    pub(super) fn clear_mark(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        self.groups[group].marks &= !bit;
    }

    /// Makes the object at `index` a free block.
    #[inline]
    pub(super) fn set_free(&mut self, index: u32) {
        let (group, bit) = LiveMap::place(index);
        let group = &mut self.groups[group];
        group.live &= !bit;
        group.mature &= !bit;
        group.marks &= !bit;
    }

    /// Removes all block starts in `range`, so that it belongs to the block before it.
    pub(super) fn clear_starts(&mut self, range: Range<u32>) {
        for group in LiveMap::groups_of(&range) {
            let mask = mask(group, &range);
            let group = &mut self.groups[group];
            debug_assert!(group.live & mask == 0);
            // Most groups of a large range have none, and are in no cache.
            if group.starts & mask != 0 {
                group.starts &= !mask;
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
    pub(super) fn first_start(&self, range: Range<u32>) -> Option<u32> {
        self.first(&range, |group| group.starts)
    }

    /// The start of the last block in `range`.
    pub(super) fn last_start(&self, range: Range<u32>) -> Option<u32> {
        for group in LiveMap::groups_of(&range).rev() {
            let bits = self.groups[group].starts & mask(group, &range);
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                return Some(((group as u32) << GROUP_SHIFT) + bit * GRANULE);
            }
        }
        None
    }

    /// The first run of adjacent free blocks that begin in `range`, cut off at its end.
    #[inline]
    pub(super) fn free_run(&self, range: Range<u32>) -> Option<Range<u32>> {
        let start = self.first(&range, |group| group.starts & !group.live)?;
        let end = self.first(&(start..range.end), |group| group.live);
        Some(start..end.unwrap_or(range.end))
    }

    /// The granules in `range` whose bit is set in `pick` of their group, ascending.
    pub(super) fn blocks(
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
    pub(super) fn objects(&self) -> impl Iterator<Item = u32> {
        self.blocks(0..self.end, |group| group.live)
    }

    /// The group that has the bits of `index`, and a mask of the bits below.
    pub(super) fn bits_below(index: u32) -> (usize, u64) {
        let (group, bit) = LiveMap::place(index);
        (group, bit - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_tile_the_heap() {
        let mut map = LiveMap::default();
        map.extend(8192);
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
        assert_eq!(map.blocks(0..8192, |group| group.starts).count(), 5);
    }

    #[test]
    fn objects_mature_are_marked_and_freed() {
        let mut map = LiveMap::default();
        map.extend(1024);
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
        let mut map = LiveMap::default();
        map.extend(1024);
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
