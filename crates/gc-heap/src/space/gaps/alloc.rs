//! Placing objects: in the run if they are small, in the overflow run, or in the first gap that is
//! large enough.

use super::map::{GRANULE, bits};
use super::{BLOCK, GapSpace, MEDIUM, OVERFLOW_MAX, OVERFLOW_RUN, SCARCE, SHORT, bytes};
use crate::HeapMemory;
use std::ops::Range;

impl GapSpace {
    /// The first free range from `from` on with at least `want` bytes, in a block with at least
    /// `least` free bytes. Skips the blocks of the runs. A block that is free as a whole is found as a
    /// whole, also if `from` is inside it.
    pub(super) fn find_run(&self, from: u32, want: u32, least: u32) -> Option<Range<u32>> {
        let end = self.map.end();
        let in_use = [&self.run, &self.overflow]
            .map(|run| (!run.is_empty()).then(|| self.block_of(run.start)));
        let mut at = from;
        while at < end {
            let (block, block_end) = (self.block_of(at), self.block_end(at));
            if self.free[block] < least || in_use.contains(&Some(block)) {
                at = block_end;
                continue;
            }
            let block_range = self.block(block);
            let free = match self.free[block] == bytes(&block_range) {
                true => Some(block_range),
                false => self.map.free_run(at..block_end),
            };
            match free {
                Some(run) if bytes(&run) >= want => return Some(run),
                Some(run) => at = run.end,
                None => at = block_end,
            }
        }
        None
    }

    /// Allocates `size` zeroed bytes for a young object. `size` is a non-zero multiple of
    /// [`GRANULE`]. `None` if none of the examined free ranges is large enough.
    #[inline]
    pub fn alloc(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        debug_assert!(size > 0 && size.is_multiple_of(GRANULE));
        self.bump(size).or_else(|| self.alloc_slow(memory, size))
    }

    /// Allocates in the run, if the object fits.
    #[inline]
    pub fn bump(&mut self, size: u32) -> Option<u32> {
        let (next, limit) = (self.notes.next(), self.notes.limit());
        let end = next.checked_add(size).filter(|&end| end <= limit)?;
        self.notes.advance(end);
        let (word, shift) = self.note(next)?;
        self.notes.note(word, shift);
        Some(next)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        if size <= MEDIUM {
            if size > SHORT
                && self.serves_smaller()
                && let Some(index) = self.alloc_overflow(memory, size)
            {
                self.passed_at = self.notes.next();
                return Some(index);
            }
            self.retire_run();
            let (want, least) = match self.thorough {
                true => (size, size),
                false => (size.max(SHORT), SCARCE),
            };
            let run = self.find_run(self.cursor, want, least);
            self.cursor = run.as_ref().map_or(self.map.end(), |run| run.end);
            self.begin_run(memory, run?);
            return self.bump(size);
        }
        if size <= OVERFLOW_MAX {
            return self.alloc_overflow(memory, size);
        }
        if size <= BLOCK {
            return self.alloc_exactly(memory, size);
        }
        self.alloc_large(memory, size)
    }

    /// Whether objects were allocated in the run since one that did not fit last went elsewhere. Then
    /// another one goes elsewhere too, and leaves the run, or the next one, to smaller objects. If each
    /// of them ended the run, a program that makes small and larger objects in turn would search for a
    /// run for nearly every object.
    fn serves_smaller(&self) -> bool {
        !self.run.is_empty() && self.notes.next() != self.passed_at
    }

    /// Allocates in the overflow run, or in the next one.
    fn alloc_overflow(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        if bytes(&self.overflow) < size {
            self.retire_overflow();
            let run = self.next_overflow(size)?;
            self.take(memory, run.clone());
            self.overflow = run;
        }
        let index = self.overflow.start;
        self.overflow.start += size;
        self.begin_object(index, size, self.overflow.end);
        Some(index)
    }

    /// The next free range for overflow. The search begins where the first one was found before the last
    /// collection, because most of what was there is likely to have died, and it goes round once.
    fn next_overflow(&mut self, size: u32) -> Option<Range<u32>> {
        let want = OVERFLOW_RUN.max(size);
        let mut run = self.find_run(self.overflow_cursor, want, OVERFLOW_RUN);
        if run.is_none() && !self.overflow_wrapped {
            self.overflow_wrapped = true;
            run = self.find_run(self.start, want, OVERFLOW_RUN);
        }
        self.overflow_cursor = run.as_ref().map_or(self.map.end(), |run| run.end);
        let found = run.as_ref().map_or(self.start, |run| run.start);
        self.overflow_first.get_or_insert(found);
        run
    }

    /// Like [`alloc`](GapSpace::alloc), but examines all free memory. Until the next collection
    /// `alloc` does the same.
    #[cold]
    pub fn alloc_anywhere(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        self.retire_all();
        if size <= MEDIUM {
            if !std::mem::replace(&mut self.thorough, true) {
                self.cursor = self.start;
            }
            return self.alloc_slow(memory, size);
        }
        if size > BLOCK {
            return self.alloc_large(memory, size);
        }
        self.alloc_exactly(memory, size)
    }

    /// Allocates exactly the memory that the object needs.
    fn alloc_exactly(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        let free = self
            .find_run(self.exact_cursor, size, size)
            .or_else(|| self.find_run(self.start, size, size))?;
        let index = free.start;
        self.exact_cursor = index;
        self.take(memory, index..index + size);
        self.begin_object(index, size, free.end);
        Some(index)
    }

    /// Enters a young object of `size` bytes into the map, at the start of a range that was free up
    /// to `end`.
    fn begin_object(&mut self, index: u32, size: u32, end: u32) {
        self.map.set_live(index);
        if index + size < end {
            self.map.set_start(index + size);
        }
        match self.young.last_mut() {
            Some(last) if last.end == index && !(index - self.start).is_multiple_of(BLOCK) => {
                last.end += size;
            }
            _ => self.young.push(index..index + size),
        }
        self.count_allocation(size);
    }

    fn count_allocation(&mut self, size: u32) {
        self.young_tally.add(size);
        self.allocations.add(size);
        self.allocated += u64::from(size);
    }

    fn begin_run(&mut self, memory: &mut HeapMemory, run: Range<u32>) {
        self.take(memory, run.clone());
        let block_start = self.block(self.block_of(run.start)).start;
        self.notes.hand_out(memory, block_start, run.clone());
        self.synced = run.start;
        self.run = run;
    }

    pub(super) fn retire_run(&mut self) {
        self.sync();
        let run = std::mem::replace(&mut self.run, self.start..self.start);
        self.notes.take_back();
        if run.start < self.synced {
            self.young.push(run.start..self.synced);
        }
        if !run.is_empty() {
            self.give_back(self.synced..run.end);
        }
        self.synced = self.start;
    }

    fn retire_overflow(&mut self) {
        let left = std::mem::replace(&mut self.overflow, self.start..self.start);
        self.give_back(left);
    }

    pub(super) fn retire_all(&mut self) {
        self.retire_run();
        self.retire_overflow();
    }

    /// Allocates an object that crosses the end of a block, in the first adjacent free memory that
    /// is large enough.
    #[cold]
    fn alloc_large(&mut self, memory: &mut HeapMemory, size: u32) -> Option<u32> {
        self.retire_all();
        let index =
            self.find_large(self.large_cursor, size).or_else(|| self.find_large(0, size))?;
        self.large_cursor = self.block_of(index);
        let end = index + size;
        self.take(memory, index..end);
        self.map.set_live(index);
        if end < self.map.end() {
            self.map.set_start(end);
        }
        self.large.insert(index, size);
        self.young_large.push(index);
        self.count_allocation(size);
        Some(index)
    }

    /// The first free range of `size` bytes, more than a block's, in the blocks from number `from`
    /// on. For most blocks the number of free bytes is enough to decide.
    pub(super) fn find_large(&self, from: usize, size: u32) -> Option<u32> {
        // The start of the free range that reaches the end of the last examined block.
        let mut begin: Option<u32> = None;
        for block in from..self.free.len() {
            let (range, free) = (self.block(block), self.free[block]);
            if free == bytes(&range) {
                let begin = *begin.get_or_insert(range.start);
                if range.end - begin >= size {
                    return Some(begin);
                }
                continue;
            }
            if let Some(begin) = begin
                && range.start - begin + free >= size
                && let Some(first) = self.map.free_run(range.clone())
                && first.start == range.start
                && first.end - begin >= size
            {
                return Some(begin);
            }
            let next = self.free.get(block + 1).copied().unwrap_or(0);
            let may_begin = free > 0 && (next == BLOCK || free + next >= size);
            begin = if may_begin { self.free_end(range) } else { None };
        }
        None
    }

    /// The start of the free range at the end of a partly used block, if there is one.
    fn free_end(&self, block: Range<u32>) -> Option<u32> {
        let last = self.map.blocks(block.clone(), |group| group[bits::LIVE]).last();
        let begin = match last {
            Some(object) => object.checked_add(self.extent(object).0),
            None => self.map.free_run(block.clone()).map(|run| run.start),
        };
        begin.filter(|&begin| begin < block.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::gaps::ROUND;
    use crate::space::gaps::map::{GROUP_SHIFT, bits};
    use crate::{HeapBounds, HeapOptions};
    use gc_types::{HeapDataOffsets, NULL_PAGE_SIZE, SideTable};

    const STARTS: SideTable =
        SideTable::indexed_new("starts", HeapDataOffsets::COLLECTOR + 8, GRANULE.trailing_zeros());

    #[test]
    fn the_first_gap_that_is_large_enough_is_found() {
        let bounds = HeapBounds::Checked;
        let (initial, maximum) = (4 << 20, 4 << 20);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        let mut random = 1_u32;
        let mut random = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for round in 0..40 {
            let mut memory = HeapMemory::new(&options).unwrap();
            let mut space = GapSpace::new(&memory, NULL_PAGE_SIZE, STARTS).unwrap();
            // The last block is incomplete.
            space.extend(memory.len() as u32 - 12 * 1024).unwrap();
            let most = [200, 6000, 40_000, 90_000][round % 4];
            let mut objects = Vec::new();
            while let Some(object) = space.alloc(&mut memory, (random(most) + 8) & !7) {
                objects.push(object);
            }
            space.begin_collection();
            objects.iter().for_each(|&object| space.make_mature(object));
            while space.reclaim_young().is_some() {}
            space.begin_anew(true);
            // Frees adjacent objects, so that there are gaps of all lengths.
            let mut from = 0;
            while from < objects.len() {
                let longest = 1 << random(12);
                let row = 1 + random(longest) as usize;
                for &object in objects.iter().skip(from).take(row) {
                    space.free_mature(object).unwrap();
                }
                from += row + 1 + random(20) as usize;
            }
            space.check(space.map()).unwrap();
            let mut gaps = Vec::new();
            let mut end = space.start;
            for object in space.map().objects() {
                gaps.push(end..object);
                end = object + space.size(object);
            }
            gaps.push(end..space.map().end());
            for size in (BLOCK + 8..20 * BLOCK).step_by(1000) {
                let first = gaps.iter().find(|gap| bytes(gap) >= size).map(|gap| gap.start);
                assert_eq!(space.find_large(0, size), first, "round {round}, {size} bytes");
            }
        }
    }

    /// Objects of all sizes tile a heap that grows, whatever part of its last block is used then.
    #[test]
    fn a_heap_grows_in_the_middle_of_a_block() {
        let bounds = HeapBounds::Checked;
        let (initial, maximum) = (4 << 20, 4 << 20);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        let part = BLOCK / 2;
        for used in [0, GRANULE, part - GRANULE, part] {
            for size in [16, part, BLOCK - used, BLOCK, 2 * BLOCK, 3 * BLOCK + part] {
                let mut memory = HeapMemory::new(&options).unwrap();
                let mut space = GapSpace::new(&memory, NULL_PAGE_SIZE, STARTS).unwrap();
                space.extend(NULL_PAGE_SIZE + part).unwrap();
                let first = (used > 0).then(|| space.alloc_exactly(&mut memory, used).unwrap());
                space.extend(NULL_PAGE_SIZE + 6 * BLOCK + part).unwrap();
                space.check(&space.synced_map().unwrap()).unwrap();
                let mut objects = Vec::from_iter(first);
                while let Some(object) = space.alloc_anywhere(&mut memory, size) {
                    objects.push(object);
                }
                space.check(&space.synced_map().unwrap()).unwrap();
                let bytes = |n: usize| n as u32 * size + used;
                assert!(!objects.is_empty() && bytes(objects.len() - 1) <= 6 * BLOCK + part);
                // All of them die.
                space.begin_collection();
                let mut group = 0;
                while group < space.map().group_count() as u32 {
                    let dead = space.map().group(group as usize)[bits::LIVE].count_ones();
                    let known = objects.iter().filter(|&at| at >> GROUP_SHIFT == group).count();
                    assert_eq!(dead as usize, known, "{used} {size}: group {group}");
                    objects.retain(|&at| at >> GROUP_SHIFT != group);
                    group = space.next_group(group);
                }
                assert!(objects.is_empty(), "{used} {size}: {objects:x?} are in no group");
                while space.reclaim_young().is_some() {}
                space.begin_anew(true);
                space.check(space.map()).unwrap();
                let whole = space.alloc_anywhere(&mut memory, 6 * BLOCK + part);
                assert_eq!(whole, Some(NULL_PAGE_SIZE), "{used} {size}");
                space.check(&space.synced_map().unwrap()).unwrap();
            }
        }
    }

    /// Small objects that live, with gaps of 112 bytes between them, and free memory behind them.
    fn with_gaps(memory: &mut HeapMemory, gaps: usize) -> GapSpace {
        let mut space = GapSpace::new(memory, NULL_PAGE_SIZE, STARTS).unwrap();
        space.extend(memory.len() as u32).unwrap();
        let objects: Vec<u32> = (0..8 * gaps).filter_map(|_| space.alloc(memory, 16)).collect();
        space.begin_collection();
        objects.iter().step_by(8).for_each(|&object| space.make_mature(object));
        while space.reclaim_young().is_some() {}
        space.begin_anew(true);
        space
    }

    /// The number of runs that objects of these sizes in turn begin.
    fn runs(space: &mut GapSpace, memory: &mut HeapMemory, sizes: &[u32], objects: usize) -> usize {
        let (mut runs, mut last) = (0, space.run.start);
        for &size in sizes.iter().cycle().take(objects) {
            space.alloc(memory, size).unwrap();
            runs += usize::from(space.run.start != last);
            last = space.run.start;
        }
        space.check(&space.synced_map().unwrap()).unwrap();
        runs
    }

    /// Small and larger objects in turn begin about as many runs as the small ones alone: a larger one
    /// that does not fit does not end a run that has room for small ones.
    #[test]
    fn objects_that_do_not_fit_leave_the_run_to_smaller_ones() {
        let bounds = HeapBounds::Checked;
        let (initial, maximum) = (8 << 20, 8 << 20);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        const PAIRS: usize = 7000;
        for cycle in 0..4 {
            let mut memory = HeapMemory::new(&options).unwrap();
            let mut space = with_gaps(&mut memory, 10_000);
            for _ in 0..cycle {
                runs(&mut space, &mut memory, &[16, 112], 2 * PAIRS);
                // All of them die.
                space.begin_collection();
                while space.reclaim_young().is_some() {}
                space.begin_anew(true);
            }
            // A gap has room for seven.
            let in_turn = runs(&mut space, &mut memory, &[16, 112], 2 * PAIRS);
            assert!(in_turn <= PAIRS / 7 + 1, "{in_turn}");
            // Larger ones alone use the gaps too.
            let alone = runs(&mut space, &mut memory, &[112], 1000);
            assert!(alone >= 490, "{alone}");
        }
    }

    /// Within a round, runs that died are not used again. A new one begins at the start, and so does one after the end.
    #[test]
    fn the_search_for_runs_goes_round() {
        let bounds = HeapBounds::Checked;
        let (initial, maximum) = (8 << 20, 8 << 20);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let mut space = GapSpace::new(&memory, NULL_PAGE_SIZE, STARTS).unwrap();
        space.extend(memory.len() as u32).unwrap();
        // The first object after a collection of what was allocated in `bytes` bytes, all of which dies.
        let mut next = |space: &mut GapSpace, bytes: u32| {
            (0..bytes / 64).for_each(|_| _ = space.alloc(&mut memory, 64).unwrap());
            space.begin_collection();
            while space.reclaim_young().is_some() {}
            space.begin_anew(false);
            space.alloc(&mut memory, 64).unwrap()
        };
        let round = ROUND as u32;
        let places = [next(&mut space, round / 2), next(&mut space, round / 2 + BLOCK)];
        assert!(
            places[0] >= NULL_PAGE_SIZE + round / 2 && places[1] == NULL_PAGE_SIZE,
            "{places:?}"
        );
        // The heap ends within the round.
        assert_ne!(next(&mut space, 64), NULL_PAGE_SIZE);
        space.cursor = space.map.end();
        assert_eq!(next(&mut space, 64), NULL_PAGE_SIZE);
    }

    /// Where no memory is left for a longer run, the larger objects use the gaps.
    #[test]
    fn without_overflow_every_gap_is_used() {
        let bounds = HeapBounds::Checked;
        let (initial, maximum) = (1 << 20, 1 << 20);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let gaps = (memory.usable() / 128) as usize;
        let mut space = with_gaps(&mut memory, gaps);
        assert_eq!(runs(&mut space, &mut memory, &[16, 112], gaps), gaps);
        assert_eq!(space.alloc(&mut memory, 112), None);
    }
}
