//! Checks of all invariants of the generational heap.

use super::GenerationalHeap;
use gc_heap::space::generations::{Marking, Phase};
use gc_heap::{GcRootsList, HeapError};

impl GenerationalHeap {
    /// Checks the two generations, and that evacuation would find every reference that it must update.
    pub(super) fn verify_all(&self) -> Result<(), HeapError> {
        let marking = match self.major.phase() {
            Phase::Marking => Marking::UnderWay,
            Phase::Evacuating => Marking::Ended,
            Phase::Idle | Phase::Sweeping | Phase::GivingBack => Marking::None,
        };
        let (core, tables) = (&self.core, &self.tables);
        self.space.old.check_lost()?;
        self.space.check(core, &tables.cards, marking)?;
        if marking == Marking::Ended {
            let logged = tables.log.unread(&core.memory).unwrap_or_default();
            let logged = (0..logged).map(|n| tables.log.get(n).1);
            self.space.check_evacuation(core, &tables.cards, logged)?;
        }
        Ok(())
    }

    /// Checks that a minor collection would visit every root that refers to a young object.
    pub(super) fn verify_remembered(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        match self.tables.all_slots {
            true => Ok(()),
            false => {
                roots.check_remembered(&self.tables.slots, |at| self.space.nursery.is_young(at))
            }
        }
    }
}
