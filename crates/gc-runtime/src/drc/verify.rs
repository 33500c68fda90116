//! Checks of all invariants of the deferred-reference-counting heap.

use super::DrcHeap;
use super::counts::count;
use super::cycles::Phase;
use gc_heap::space::gaps::map::{GROUP_SHIFT, LiveMap, bits};
use gc_heap::{GcRootsIter, HeapError};
use gc_types::VMGcKind;
use gc_types::collector::drc::{LIST_MASK, LISTED, MATURE};

/// Numbers the objects 0, 1, 2, … in address order.
struct Ranks {
    /// Live bits of each 512 bytes, and the number of objects below them.
    groups: Vec<(u64, u32)>,
}

impl Ranks {
    fn new(map: &LiveMap) -> Ranks {
        let mut below = 0;
        let groups = (0..map.group_count()).map(|group| {
            let live = map.group(group)[bits::LIVE];
            let group = (live, below);
            below += live.count_ones();
            group
        });
        Ranks { groups: groups.collect() }
    }

    /// The number of the object at `index`. An object must begin there.
    fn of(&self, index: u32) -> usize {
        let (group, lower) = LiveMap::bits_below(index);
        let (live, below) = self.groups[group];
        (below + (live & lower).count_ones()) as usize
    }
}

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

impl DrcHeap {
    /// Checks that blocks tile the heap and agree with the allocator; that headers, sizes and
    /// references are valid; that the list and the flags agree; and that no count is smaller than
    /// the number of references from mature objects and, if `roots` is given, from counted roots.
    pub(super) fn verify_all(&self, roots: Option<GcRootsIter<'_>>) -> Result<(), HeapError> {
        self.core.check_damage()?;
        let map = &self.space.synced_map()?;
        self.space.check(map).or_else(|(at, what)| corrupt(at, what))?;
        if u64::from(map.end()) > self.core.memory.len() {
            corrupt(map.end(), "the allocator's end is after the heap's end")?;
        }
        if !self.work.is_over() {
            corrupt(0, "a collection left work undone")?;
        }
        if self.core.memory.data_u32(LIST_MASK) != self.cycles.list_mask() {
            corrupt(0, "emitted code does not know whether a search for cycles marks")?;
        }

        let marked = (0..map.group_count()).find(|&group| map.group(group)[bits::MARKS] != 0);
        if let Some(group) = marked.filter(|_| self.cycles.phase() == Phase::Idle) {
            corrupt(
                (group as u32) << GROUP_SHIFT,
                "an object is marked and no search is under way",
            )?;
        }

        let ranks = Ranks::new(map);
        let objects = map.objects().count();
        let mut is_listed = vec![false; objects];
        let in_part = self.work.dying.cursor.map(|cursor| cursor.array);
        let dying = self.work.dying.objects.iter().copied().chain(in_part);
        for entry in self.list.entries(&self.core.memory).chain(dying) {
            if !map.is_live(entry) {
                corrupt(entry, "a listed entry is not an object")?;
            }
            if std::mem::replace(&mut is_listed[ranks.of(entry)], true) {
                corrupt(entry, "an object is listed twice")?;
            }
        }

        let mut references = vec![0u32; objects];
        let mut values = 0;
        for (rank, object) in map.objects().enumerate() {
            let header = self.core.header_at(object)?;
            let bits = header.collector_bits();
            values += u32::from(header.kind() == Some(VMGcKind::ExternRef));
            let size = self.core.size_at(object)?;
            let (extent, is_large) = self.space.extent_in(map, object);
            // No other block starts inside an object that crosses blocks.
            let inside = object + 8..object + extent;
            if extent != size || is_large && map.first_start(inside).is_some() {
                corrupt(object, "an object's size is not that of its block")?;
            }
            if (bits & LISTED != 0) != is_listed[rank] {
                corrupt(object, "an object's flag disagrees with the list")?;
            }
            if (bits & MATURE != 0) != map.is_mature(object) {
                corrupt(object, "an object's flag disagrees with the map")?;
            }
            // Some of their referents have lost their counts, or are free.
            if in_part == Some(object) || self.cycles.is_garbage(map, object) {
                continue;
            }
            let (mut dangling, mut dead) = (false, false);
            self.core.for_each_ref_at(object, |_, contents| match contents.as_heap_index() {
                Some(target) if map.is_live(target.get()) => {
                    dead |= self.cycles.is_garbage(map, target.get());
                    references[ranks.of(target.get())] += u32::from(bits & MATURE != 0);
                }
                Some(_) => dangling = true,
                None => {}
            })?;
            if dangling {
                corrupt(object, "an object refers to something that is not an object")?;
            }
            if dead {
                corrupt(object, "an object refers to garbage that a search for cycles has found")?;
            }
        }
        for root in roots.into_iter().flatten() {
            let target = root.get().and_then(|gc_ref| gc_ref.as_heap_index());
            if let Some(target) = target.filter(|target| map.is_live(target.get())) {
                references[ranks.of(target.get())] += u32::from(root.is_counted());
                // Before the sweep it may be rescued.
                if self.cycles.phase() == Phase::Sweep && self.cycles.is_garbage(map, target.get())
                {
                    corrupt(
                        target.get(),
                        "a root refers to garbage that a search for cycles has found",
                    )?;
                }
            }
        }
        if values != self.values {
            corrupt(0, "externrefs are miscounted")?;
        }

        for (rank, object) in map.objects().enumerate() {
            let bits = self.core.header_at(object)?.collector_bits();
            if count(bits) < references[rank] {
                corrupt(object, "an object has more references than are counted")?;
            }
            let unseen = if bits & MATURE != 0 { count(bits) == 0 } else { count(bits) > 0 };
            if unseen && !is_listed[rank] && !self.cycles.is_garbage(map, object) {
                corrupt(object, "an object is missing in the list")?;
            }
        }
        Ok(())
    }
}
