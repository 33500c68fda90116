//! Checks of all invariants of the generational heap.

use super::GenerationalHeap;
use super::major::Phase;
use crate::space::generations::Marking;
use crate::{GcRoot, GcRootsList, HeapError};
use gc_types::GcLayout;
use std::collections::HashSet;

impl GenerationalHeap {
    /// Checks the two generations, and that evacuation would find every reference that it must update.
    pub(super) fn verify_all(&self) -> Result<(), HeapError> {
        let marking = match self.major.phase {
            Phase::Marking => Marking::UnderWay,
            Phase::Evacuating => Marking::Ended,
            Phase::Idle | Phase::Sweeping | Phase::GivingBack => Marking::None,
        };
        self.space.check(&self.core, &self.tables.cards, marking)?;
        if marking == Marking::Ended {
            let noted = self.noted_slots();
            let live = |&at: &u32| !self.space.is_dead(at, marking);
            self.space
                .old
                .objects()
                .filter(live)
                .try_for_each(|at| self.verify_noted(at, &noted))?;
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
    fn verify_noted(&self, at: u32, noted: &[u32]) -> Result<(), HeapError> {
        let is_array = matches!(self.core.layout_at(at)?, Some(GcLayout::Array(_)));
        let cards = &self.tables.cards;
        let is_dirty = |slot| cards.is_found(slot) || !is_array && cards.is_found(at);
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
        missing.map_or(Ok(()), |at| Err(HeapError::Corrupt { at, what }))
    }
}
