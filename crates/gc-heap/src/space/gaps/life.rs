//! The life of objects: they mature, or die young, or die mature, and their memory is free again.

use super::map::{LiveMap, bits};
use super::{Count, GapSpace, ROUND, bytes};
use std::ops::Range;

impl GapSpace {
    /// Makes the new object at `index`, which is in the map, mature without waiting for a
    /// collection.
    pub fn bear_mature(&mut self, index: u32) {
        if self.count_mature(index).is_some() {
            self.born_mature.push(index);
        }
    }

    /// Makes the young object at `index` mature. Returns its size if it was young and is in a range
    /// of young objects that will be given back.
    #[inline]
    fn count_mature(&mut self, index: u32) -> Option<u32> {
        let (size, large) = self.extent(index);
        if !self.map.set_mature(index) {
            return None;
        }
        self.young_tally.remove(size);
        self.mature_tally.add(size);
        (!large).then_some(size)
    }

    /// Begins a collection: the rest of the runs becomes free, and all allocated objects are
    /// entered in the map.
    pub fn begin_collection(&mut self) {
        self.retire_all();
        while let Some(index) = self.born_mature.pop() {
            self.keep(index, self.size(index));
        }
    }

    /// Removes the young object at `index` from the range that will be given back.
    #[inline]
    fn keep(&mut self, index: u32, size: u32) {
        let block = self.block_of(index);
        self.free[block] = self.free[block].wrapping_sub(size);
    }

    /// Makes the young object at `index`, which is in the map, mature during a collection.
    #[inline]
    pub fn make_mature(&mut self, index: u32) {
        if let Some(size) = self.count_mature(index) {
            self.keep(index, size);
        }
    }

    /// Frees the mature object at `index`. Returns its range, or `None` and does nothing if none
    /// begins there.
    #[inline]
    pub fn free_mature(&mut self, index: u32) -> Option<Range<u32>> {
        if !self.map.is_mature(index) {
            return None;
        }
        let (size, large) = self.extent(index);
        self.map.set_free(index);
        self.mature_tally.remove(size);
        if large {
            self.large.remove(&index);
            self.give_back(index..index + size);
        } else {
            let block = self.block_of(index);
            self.free[block] = self.free[block].wrapping_add(size);
        }
        Some(index..index + size)
    }

    /// Frees the objects in one range of young objects that did not mature. Returns the range, or
    /// `None` if there are no more.
    pub fn reclaim_young(&mut self) -> Option<Range<u32>> {
        if let Some(range) = self.young.pop() {
            for group in LiveMap::groups_of(&range) {
                let group = self.map.group_mut(group);
                group[bits::LIVE] &= group[bits::MATURE];
            }
            let block = self.block_of(range.start);
            self.free[block] = self.free[block].wrapping_add(bytes(&range));
            return Some(range);
        }
        while let Some(index) = self.young_large.pop() {
            if self.map.is_mature(index) {
                continue;
            }
            // It may have matured and died since.
            let Some(size) = self.large.remove(&index) else { continue };
            self.map.set_free(index);
            self.give_back(index..index + size);
            return Some(index..index + size);
        }
        None
    }

    /// Begins to allocate again after a collection, and forgets the list of young objects. The search for runs begins
    /// again at the start, if it should, or if it has reached the end or 4 MiB were allocated since it began.
    pub fn begin_anew(&mut self, from_start: bool) {
        debug_assert!(self.run.is_empty() && self.overflow.is_empty());
        self.round += self.allocated;
        if from_start || self.round >= ROUND || self.cursor >= self.map.end() || self.thorough {
            (self.cursor, self.round) = (self.start, 0);
        }
        self.overflow_cursor = self.overflow_first.take().unwrap_or(self.start);
        self.overflow_wrapped = self.overflow_cursor == self.start;
        (self.exact_cursor, self.large_cursor) = (self.start, 0);
        self.thorough = false;
        self.young_tally = Count::default();
        self.allocated = 0;
    }
}
