//! Checks that the allocator's tables agree with each other and with the map.

use super::map::{Group, LiveMap, bits};
use super::{Count, GRANULE, GapSpace, bytes};
use std::ops::Range;

impl GapSpace {
    /// Checks that the blocks of the complete `map` tile the heap, and that all other tables agree
    /// with it. An error has the place and a description. Only a bug in the allocator can make this
    /// fail.
    pub fn check(&self, map: &LiveMap) -> Result<(), (u32, &'static str)> {
        if map.end() < self.start || self.free.len() != self.blocks() {
            return Err((map.end(), "blocks are missing"));
        }
        let next = self.notes.next().max(self.run.start);
        let mut young = self.young.clone();
        young.push(self.run.start..next.min(self.run.end));
        young.sort_by_key(|range| range.start);
        let mut young = young.into_iter().peekable();
        let (mut live, mut large) = (Count::default(), 0);
        for block in 0..self.free.len() {
            let range = self.block(block);
            let inside = |run: &Range<u32>| range.contains(&run.start) && !run.is_empty();
            let mut expected = self.free[block];
            if inside(&self.run) {
                expected = expected.wrapping_add(self.run.end - next);
            }
            if inside(&self.overflow) {
                expected = expected.wrapping_add(bytes(&self.overflow));
            }
            if self.free[block] == bytes(&range) {
                let objects = |group: &Group| group[bits::LIVE] | group[bits::MATURE];
                if let Some(at) = map.blocks(range, objects).next() {
                    return Err((at, "an object in a free block"));
                }
                continue;
            }
            let mut free = 0;
            let crossing = self.large.range(..range.start).next_back();
            let mut at = crossing.map_or(range.start, |(at, size)| range.start.max(at + size));
            while at < range.end {
                if !map.is_start(at) {
                    return Err((at, "a block without a start"));
                }
                let next = map.first_start(at + GRANULE..range.end);
                let mut size = next.unwrap_or(range.end) - at;
                if map.is_live(at) {
                    if let (None, Some(&crossing)) = (next, self.large.get(&at)) {
                        size = crossing;
                        large += 1;
                        if !map.is_mature(at) && !self.young_large.contains(&at) {
                            return Err((at, "a large young object is forgotten"));
                        }
                    } else if !map.is_mature(at) {
                        while young.next_if(|range| range.end <= at).is_some() {}
                        if !young.peek().is_some_and(|range| range.contains(&at)) {
                            return Err((at, "a young object is forgotten"));
                        }
                    }
                    live.add(size);
                    if at + size > self.fresh {
                        return Err((at, "a live block in fresh memory"));
                    }
                } else if map.is_mature(at) {
                    return Err((at, "a free block is mature"));
                } else {
                    free += size;
                }
                if map.is_marked(at) && !map.is_mature(at) {
                    return Err((at, "what is marked is not a mature object"));
                }
                at += size;
            }
            if free != expected {
                return Err((range.start, "a block's free memory is miscounted"));
            }
        }
        if large != self.large.len() {
            return Err((0, "a large entry is not an object"));
        }
        if live != self.tallies()[1] {
            return Err((0, "live objects are miscounted"));
        }
        Ok(())
    }
}
