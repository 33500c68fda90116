//! Checks of all invariants of the generational heap.

use super::GenerationalHeap;
use super::major::Phase;
use crate::space::Count;
use crate::space::object_map::ObjectMap;
use crate::{GcRoot, GcRootsList, HeapError};
use gc_types::GcLayout;
use std::collections::HashSet;

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

impl GenerationalHeap {
    /// Checks that old objects do not overlap and lie in lines and pages that are marked as used;
    /// that headers and references are valid and no forwarding word remains; that every reference
    /// from an old object to a young one is on a dirty card; that memory for inline allocation is
    /// zero; and that nothing is marked unless marking is under way.
    pub(super) fn verify_all(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.space.old.check().or_else(|(at, what)| corrupt(at, what))?;
        let (start, end) = (self.space.old.start(), self.space.old.end());
        if start < end && u64::from(end) > self.core.memory.len() {
            corrupt(end, "the old generation ends after the heap")?;
        }
        let mut young = ObjectMap::default();
        young.extend(u64::from(self.space.nursery.end()));
        self.space.nursery.walk(&self.core, |at, _| {
            young.set_start(at, false);
            Ok(())
        })?;
        self.space.nursery.walk(&self.core, |at, _| self.verify_object(at, &young, |_| true))?;
        self.space.nursery.check_free(&self.core.memory)?;

        // While known garbage is not swept, live objects are marked or were swept.
        let settled = matches!(self.major.phase, Phase::Idle | Phase::Marking);
        let noted = self.noted_slots();
        let mut total = Count::default();
        for at in self.space.old.objects() {
            if self.is_dead(at) {
                self.verify_dead(at)?;
                continue;
            }
            let size = self.core.size_at(at)?;
            self.space.old.check_object(at, size).or_else(|what| corrupt(at, what))?;
            // An array is scanned card by card, so only the card of the element counts.
            let is_array = matches!(self.core.layout_at(at)?, Some(GcLayout::Array(_)));
            let is_dirty = |slot| {
                self.tables.cards.is_found(slot) || !is_array && self.tables.cards.is_found(at)
            };
            self.verify_object(at, &young, is_dirty)?;
            if self.major.phase == Phase::Evacuating {
                self.verify_noted(at, &noted, is_dirty)?;
            }
            total.add(size);
        }
        if !settled {
            return Ok(());
        }
        if total != self.space.old.total() {
            corrupt(start, "the old objects are miscounted")?;
        }
        if self.major.phase == Phase::Idle
            && let Some(at) = self.space.old.first_marked()
        {
            corrupt(at, "an object is marked and no marking is under way")?;
        }
        Ok(())
    }

    /// Checks that a minor collection would visit every root that refers to a young object.
    pub(super) fn verify_remembered(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        if self.tables.all_slots {
            return Ok(());
        }
        let remembered = roots.remembered(&self.tables.slots);
        let remembered: HashSet<usize> = remembered.map(|root| root.address()).collect();
        let young = |root: &GcRoot<'_>| {
            let gc_ref = root.get().filter(|gc_ref| !gc_ref.is_i31())?;
            Some(gc_ref.as_raw_u32()).filter(|&index| self.space.nursery.is_young(index))
        };
        for root in roots.all() {
            if let Some(at) = young(&root)
                && !remembered.contains(&root.address())
            {
                let path = format!("from {} → {at:#x}", root.owner());
                let what = "a slot refers to a young object and is not remembered";
                return Err(HeapError::Verification { at, what, path });
            }
        }
        Ok(())
    }

    /// Whether the old object at `at` is known to be garbage and not swept yet. It may refer to
    /// objects that no longer exist.
    fn is_dead(&self, at: u32) -> bool {
        let unswept = self.major.phase == Phase::Evacuating || self.space.old.is_unswept(at);
        unswept && !self.space.old.is_marked(at)
    }

    /// Checks that an object that is [dead](GenerationalHeap::is_dead) refers to no young object. It cannot get new
    /// references, and the nursery was empty when marking began. Minor collections scan its card.
    fn verify_dead(&self, at: u32) -> Result<(), HeapError> {
        let mut is_sound = true;
        self.core.for_each_ref_at(at, |_, contents| {
            is_sound &= contents
                .as_heap_index()
                .is_none_or(|index| !self.space.nursery.is_young(index.get()));
        })?;
        if is_sound {
            Ok(())
        } else {
            corrupt(at, "a dead object that is not swept refers to a young one")
        }
    }

    /// The slots that evacuation has recorded, ascending.
    fn noted_slots(&self) -> Vec<u32> {
        let log = &self.tables.log;
        let logged = log.unread(&self.core.memory).unwrap_or_default();
        let logged = (0..logged).map(|n| log.get(n).1);
        let mut noted: Vec<u32> =
            self.space.evacuator.slots().iter().copied().chain(logged).collect();
        noted.sort_unstable();
        noted
    }

    /// Checks that evacuation would find every reference in the object at `at` to an object that it
    /// will move.
    fn verify_noted(
        &self,
        at: u32,
        noted: &[u32],
        is_dirty: impl Fn(u32) -> bool,
    ) -> Result<(), HeapError> {
        let mut missing = None;
        self.core.for_each_ref_at(at, |slot, contents| {
            let slot = slot as u32;
            if self.space.evacuator.is_chosen(contents.as_raw_u32())
                && !is_dirty(slot)
                && noted.binary_search(&slot).is_err()
            {
                missing = Some(slot);
            }
        })?;
        let what = "a reference to an object that will be moved was not recorded";
        missing.map_or(Ok(()), |slot| corrupt(slot, what))
    }

    /// Checks an object's header and its references. `is_known` returns whether a collection would
    /// find a reference to a young object in the slot at an index.
    fn verify_object(
        &self,
        at: u32,
        young: &ObjectMap,
        is_known: impl Fn(u32) -> bool,
    ) -> Result<(), HeapError> {
        if self.core.header_at(at)?.collector_bits() != 0 {
            corrupt(at, "an object was moved and no collection is under way")?;
        }
        // Unswept garbage may refer to swept garbage.
        let swept = matches!(self.major.phase, Phase::Idle | Phase::Marking);
        // Marked and new objects refer to no object that marking missed.
        let marked = self.major.phase == Phase::Evacuating;
        let mut result = Ok(());
        self.core.for_each_ref_at(at, |slot, contents| {
            let Some(index) = contents.as_heap_index() else { return };
            let index = index.get();
            if self.space.nursery.is_young(index) {
                if !young.is_start(index) {
                    result = Err("a reference to no young object");
                } else if !is_known(slot as u32) {
                    result = Err("a reference to a young object on a clean card");
                }
            } else if !self.space.old.is_start(index) && swept {
                result = Err("a reference to no object");
            } else if !self.space.old.is_marked(index) && marked {
                result = Err("a reference to an object that marking did not reach");
            }
        })?;
        result.or_else(|what| corrupt(at, what))
    }
}
