//! The barriers of the generational heap that the host runs.

use super::GenerationalHeap;
use gc_heap::HeapError;
use gc_heap::space::generations::Phase;
use gc_types::VMGcRef;

impl GenerationalHeap {
    /// The barrier for a store of a reference outside the heap, in the slot at `address`.
    pub(super) fn remember_slot(&mut self, address: usize, word: u32) {
        if self.space.nursery.is_young(word) {
            self.tables.slots.insert(address);
        }
    }

    /// Stores a reference into the heap, with all barriers.
    pub(super) fn write_field(
        &mut self,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        self.mark_overwritten(at, 1);
        self.core.write_ref_at(at, source)?;
        self.remember_field(at, source.map_or(0, VMGcRef::as_raw_u32));
        Ok(())
    }

    /// The barrier after a store of a reference into the heap, into the slot at `at`.
    #[inline]
    fn remember_field(&mut self, at: u64, word: u32) {
        if at >= u64::from(self.space.nursery.end()) {
            if self.space.nursery.is_young(word) {
                self.tables.cards.dirty(at as u32);
            } else {
                self.cycle().note_slot(at, word);
            }
        }
    }

    /// Copies `count` references within the heap, with all barriers. The ranges may overlap.
    pub(super) fn copy_refs(&mut self, to: u64, from: u64, count: u32) -> Result<(), HeapError> {
        self.mark_overwritten(to, count);
        self.core.copy_refs_at(to, from, count)?;
        if to >= u64::from(self.space.nursery.end()) {
            if self.space.old.evacuator.is_active() {
                for at in slots(to, count) {
                    let Some(word) = self.core.memory.read_u32(at) else { break };
                    self.remember_field(at, word);
                }
            } else {
                let nursery = self.space.nursery.most();
                self.tables.cards.dirty_copied(&mut self.core.memory, nursery, to, from, count);
            }
        }
        Ok(())
    }

    /// Overwrites `count` references within the heap with new references to `source`'s object, with
    /// all barriers.
    pub(super) fn fill_refs(
        &mut self,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        self.mark_overwritten(at, count);
        self.core.fill_refs_at(at, source, count)?;
        if let Some(word) = source.map(VMGcRef::as_raw_u32)
            && at >= u64::from(self.space.nursery.end())
            && count > 0
        {
            if self.space.nursery.is_young(word) {
                let end = at + 4 * u64::from(count);
                self.tables.cards.dirty_all(at as u32, u32::try_from(end).unwrap_or(u32::MAX));
            } else if self.space.old.evacuator.is_active() {
                slots(at, count).for_each(|at| self.cycle().note_slot(at, word));
            }
        }
        Ok(())
    }

    /// Marks what is overwritten, because it may be alive in the snapshot. What young objects refer to is marked, or was
    /// found in the snapshot.
    fn mark_overwritten(&mut self, at: u64, count: u32) {
        if self.major.phase() == Phase::Marking && at >= u64::from(self.space.nursery.end()) {
            for at in slots(at, count) {
                let Some(old) = self.core.memory.read_u32(at) else { break };
                self.cycle().mark_overwritten(old, at);
            }
        }
    }
}

/// The places of `count` slots from `at` on.
fn slots(at: u64, count: u32) -> impl Iterator<Item = u64> {
    (0..u64::from(count)).map(move |n| at.saturating_add(n * 4))
}
