//! Checks of all invariants of two generations.

use super::Generations;
use crate::remember::Cards;
use crate::space::Count;
use crate::space::object_map::ObjectMap;
use crate::{HeapCore, HeapError};
use gc_types::GcLayout;
use std::collections::HashSet;

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

impl Generations {
    /// Checks that old objects do not overlap and lie in lines and pages that are marked as used;
    /// that headers and references are valid and no forwarding word remains; that every reference
    /// from an old object to a young one is on a dirty card; that memory for inline allocation is
    /// zero; and that nothing is marked unless marking is under way. Between the end of `marking` and the begin of the
    /// sweep, what is not marked is garbage.
    ///
    /// # Errors
    /// The first error, and its place.
    pub fn check<const SHIFT: u32>(
        &self,
        core: &HeapCore,
        cards: &Cards<SHIFT>,
        marking: Marking,
    ) -> Result<(), HeapError> {
        core.check_damage()?;
        self.old.region.check().or_else(|(at, what)| corrupt(at, what))?;
        let (start, end) = (self.old.region.start(), self.old.region.end());
        if start < end && u64::from(end) > core.memory.len() {
            corrupt(end, "the old generation ends after the heap")?;
        }
        let mut young = ObjectMap::default();
        young.extend(u64::from(self.nursery.end()));
        self.nursery.walk(core, |at, _| {
            young.set_start(at, false);
            Ok(())
        })?;
        self.nursery.walk(core, |at, _| self.check_object(core, at, &young, marking, |_| true))?;
        self.nursery.check_free(&core.memory)?;
        self.check_survivors(core)?;
        let used =
            u64::from(self.nursery.size()) + self.nursery.survivors.held() + self.old_in_use();
        if used != core.in_use() {
            corrupt(start, "the bytes that are in use are miscounted")?;
        }

        // While known garbage is not swept, live objects are marked or were swept.
        let mut total = Count::default();
        for at in self.old.region.objects() {
            if self.is_dead(at, marking) {
                self.check_dead(core, at)?;
                continue;
            }
            let size = core.size_at(at)?;
            self.old.region.check_object(at, size).or_else(|what| corrupt(at, what))?;
            // An array is scanned card by card, so only the card of the element counts.
            let is_array = matches!(core.layout_at(at)?, Some(GcLayout::Array(_)));
            let is_dirty = |slot| cards.is_found(slot) || !is_array && cards.is_found(at);
            self.check_object(core, at, &young, marking, is_dirty)?;
            total.add(size);
        }
        if self.old.region.is_sweeping() || marking == Marking::Ended {
            return Ok(());
        }
        if total != self.old.region.total() {
            corrupt(start, "the old objects are miscounted")?;
        }
        if marking == Marking::None
            && let Some(at) = self.old.region.first_marked()
        {
            corrupt(at, "an object is marked and no marking is under way")?;
        }
        Ok(())
    }

    /// Checks that survivors begin where the map says.
    fn check_survivors(&self, core: &HeapCore) -> Result<(), HeapError> {
        let objects = self.nursery.survivors.objects();
        let mut starts = self.old.region.starts(objects.start, objects.end);
        let mut bytes = 0;
        core.walk(objects.start, objects.end, |at, size| {
            bytes += u64::from(size);
            match starts.next() == Some(at) {
                true => Ok(()),
                false => corrupt(at, "the map has no survivor there"),
            }
        })?;
        match starts.next() {
            Some(at) => corrupt(at, "the map has a survivor where none is"),
            None => self.nursery.survivors.check(bytes),
        }
    }

    /// Checks, when marking has ended, that an evacuation would find every reference that it must update: in a slot that
    /// is recorded or among the `logged` ones, or on a dirty card.
    ///
    /// # Errors
    /// The first slot that it would not find.
    pub fn check_evacuation<const SHIFT: u32>(
        &self,
        core: &HeapCore,
        cards: &Cards<SHIFT>,
        logged: impl Iterator<Item = u32>,
    ) -> Result<(), HeapError> {
        let known: HashSet<u32> =
            self.old.evacuator.slots().iter().copied().chain(logged).collect();
        for at in self.old.region.objects().filter(|&at| !self.is_dead(at, Marking::Ended)) {
            let is_array = matches!(core.layout_at(at)?, Some(GcLayout::Array(_)));
            let is_dirty = |slot| cards.is_found(slot) || !is_array && cards.is_found(at);
            let mut missing = None;
            core.for_each_ref_at(at, |slot, contents| {
                let (slot, chosen) =
                    (slot as u32, self.old.evacuator.is_chosen(contents.as_raw_u32()));
                if chosen && !is_dirty(slot) && !known.contains(&slot) {
                    missing = Some(slot);
                }
            })?;
            if let Some(slot) = missing {
                corrupt(slot, "a reference to an object that will be moved was not recorded")?;
            }
        }
        Ok(())
    }

    /// Whether the old object at `at` is known to be garbage and not swept yet. It may refer to
    /// objects that no longer exist.
    fn is_dead(&self, at: u32, marking: Marking) -> bool {
        let unswept = marking == Marking::Ended || self.old.region.is_unswept(at);
        unswept && !self.old.region.is_marked(at)
    }

    /// Checks that an object that is [dead](Generations::is_dead) refers to no young object. It cannot get new
    /// references, and the nursery was empty when marking began. Minor collections scan its card.
    fn check_dead(&self, core: &HeapCore, at: u32) -> Result<(), HeapError> {
        let mut is_sound = true;
        core.for_each_ref_at(at, |_, contents| {
            let young = |index: u32| self.nursery.is_young(index);
            is_sound &= contents.as_heap_index().is_none_or(|index| !young(index.get()));
        })?;
        match is_sound {
            true => Ok(()),
            false => corrupt(at, "a dead object that is not swept refers to a young one"),
        }
    }

    /// Checks an object's header and its references. `is_known` returns whether a collection would
    /// find a reference to a young object in the slot at an index.
    fn check_object(
        &self,
        core: &HeapCore,
        at: u32,
        young: &ObjectMap,
        marking: Marking,
        is_known: impl Fn(u32) -> bool,
    ) -> Result<(), HeapError> {
        if core.header_at(at)?.collector_bits() != 0 {
            corrupt(at, "an object was moved and no collection is under way")?;
        }
        // Unswept garbage may refer to swept garbage. Marked and new objects refer to no object that marking missed.
        let ended = marking == Marking::Ended;
        let swept = !ended && !self.old.region.is_sweeping();
        let mut result = Ok(());
        core.for_each_ref_at(at, |slot, contents| {
            let Some(index) = contents.as_heap_index() else { return };
            let index = index.get();
            if self.nursery.is_young(index) {
                if !young.is_start(index) {
                    result = Err("a reference to no young object");
                } else if !is_known(slot as u32) {
                    result = Err("a reference to a young object on a clean card");
                }
            } else if !self.old.region.is_start(index) && swept {
                result = Err("a reference to no object");
            } else if !self.old.region.is_marked(index) && ended {
                result = Err("a reference to an object that marking did not reach");
            }
        })?;
        result.or_else(|what| corrupt(at, what))
    }
}

/// The progress of marking, between two parts of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// No marking is under way. What the last one did not find is swept, or waits for its sweep.
    None,
    /// Marking is under way.
    UnderWay,
    /// Marking has ended, and the sweep has not begun.
    Ended,
}
