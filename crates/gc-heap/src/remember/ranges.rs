//! The cards of ranges of references, which the host copies.
//!
//! Each card is marked at most once, and its slots are tested many at a time. They are not tested if
//! the card is marked already, or the cards of the slots that were copied are not.

use super::Cards;
use crate::trace::scavenge::{BATCH_BYTES, young_among};
use crate::{HeapMemory, HeapView};
use gc_types::collector::nursery::{NURSERY_START, is_young};

impl<const SHIFT: u32> Cards<SHIFT> {
    /// Marks the cards of those slots, from the one at `to` on, that refer to young objects. They are `count` slots in
    /// old objects, and were copied from the slots at `from` on. The slots of a clean card refer to no young object.
    /// The nursery has `nursery` bytes.
    pub fn dirty_copied(
        &mut self,
        memory: &mut HeapMemory,
        nursery: u32,
        to: u64,
        from: u64,
        count: u32,
    ) {
        let from_old = from >= u64::from(NURSERY_START) + u64::from(nursery);
        let end = to + 4 * u64::from(count);
        let Some(bytes) = memory.bytes() else { return };
        let mut at = to;
        while at < end {
            // The slots may be misaligned in a damaged heap.
            let of_card = (at + 1).next_multiple_of(Self::SIZE.into()).min(end);
            let (source, last) = (from + (at - to), from + (of_card - 1 - to));
            let is_known = self.is_dirty(at as u32)
                || from_old && !self.is_dirty(source as u32) && !self.is_dirty(last as u32);
            if !is_known && has_young(&bytes, at, of_card, nursery) {
                self.dirty(at as u32);
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
