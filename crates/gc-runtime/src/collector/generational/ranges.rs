//! Barriers for ranges of references: the host copies and fills arrays.
//!
//! Each card is marked at most once, and its slots are tested many at a time. They are not tested if
//! the card is marked already, or the cards of the slots that were copied are not.

use super::GenerationalHeap;
use super::major::Phase;
use super::scavenge::{BATCH_BYTES, young_among};
use crate::HeapError;
use crate::HeapView;
use gc_types::VMGcRef;
use gc_types::collector::generational::{CARD_SIZE, NURSERY_START, is_young};

impl GenerationalHeap {
    /// Copies `count` references within the heap, with all barriers. The ranges may overlap.
    pub(super) fn copy_refs(&mut self, to: u64, from: u64, count: u32) -> Result<(), HeapError> {
        self.mark_overwritten(to, count);
        self.core.copy_refs_at(to, from, count)?;
        if to >= u64::from(self.nursery.end) {
            if self.major.evacuator.is_active() {
                for at in slots(to, count) {
                    let Some(word) = self.core.memory.read_u32(at) else { break };
                    self.remember_field(at, word);
                }
            } else {
                self.mark_cards_of(to, from, count);
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
            && at >= u64::from(self.nursery.end)
            && count > 0
        {
            if self.is_young(word) {
                let end = at + 4 * u64::from(count);
                self.tables.cards.dirty_all(at as u32, u32::try_from(end).unwrap_or(u32::MAX));
            } else if self.major.evacuator.is_active() {
                slots(at, count).for_each(|at| self.note_slot(at, word));
            }
        }
        Ok(())
    }

    /// Marks what is overwritten, because it may be alive in the snapshot.
    fn mark_overwritten(&mut self, at: u64, count: u32) {
        if self.major.phase == Phase::Marking {
            for at in slots(at, count) {
                let Some(old) = self.core.memory.read_u32(at) else { break };
                self.mark(old);
            }
        }
    }

    /// Marks the cards of those slots that refer to young objects. The slots are in the heap, and have
    /// been copied from the slots at `from` on. The slots of a clean card refer to no young object.
    fn mark_cards_of(&mut self, to: u64, from: u64, count: u32) {
        let nursery = self.nursery.end - NURSERY_START;
        let from_old = from >= u64::from(self.nursery.end);
        let end = to + 4 * u64::from(count);
        let Some(bytes) = self.core.memory.bytes() else { return };
        let mut at = to;
        while at < end {
            // The slots may be misaligned in a damaged heap.
            let of_card = (at + 1).next_multiple_of(CARD_SIZE.into()).min(end);
            let (source, last) = (from + (at - to), from + (of_card - 1 - to));
            let is_known = self.tables.cards.is_dirty(at as u32)
                || from_old
                    && !self.tables.cards.is_dirty(source as u32)
                    && !self.tables.cards.is_dirty(last as u32);
            if !is_known && has_young(&bytes, at, of_card, nursery) {
                self.tables.cards.dirty(at as u32);
            }
            at = of_card;
        }
    }
}

/// Whether a slot from `at` up to `end` refers to a young object.
fn has_young(bytes: &impl HeapView, mut at: u64, end: u64, nursery: u32) -> bool {
    while at < end {
        let words = if at + BATCH_BYTES <= end { bytes.read_words(at) } else { None };
        let young = if let Some(words) = words {
            at += BATCH_BYTES;
            young_among(&words, nursery) != 0
        } else {
            at += 4;
            is_young(bytes.read_u32(at - 4).unwrap_or_default(), nursery)
        };
        if young {
            return true;
        }
    }
    false
}

/// The places of `count` slots from `at` on.
fn slots(at: u64, count: u32) -> impl Iterator<Item = u64> {
    (0..u64::from(count)).map(move |n| at.saturating_add(n * 4))
}
