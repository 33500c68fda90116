//! The native tables that emitted code writes: the cards of old objects, remembered slots, and the log
//! of overwritten references ([`remember`](crate::remember)).

use crate::remember::{Cards, OverwrittenLog, RememberedSlots};
use crate::{HeapError, HeapMemory};
use gc_types::collector::generational::{
    BUNDLE_CARDS, BUNDLES, CARD_SHIFT, CARDS, DIRTY, LOG, LOG_LEN, NURSERY_START, SLOT_CARD_SHIFT,
    SLOT_CARDS, WILL_EVACUATE,
};

// What the host does and what emitted code does must be the same.
const _: () = assert!(Cards::<CARD_SHIFT>::DIRTY == DIRTY);
const _: () = assert!(Cards::<CARD_SHIFT>::BUNDLE_SHIFT - CARD_SHIFT == BUNDLE_CARDS.ilog2());

/// The tables. Each has its final size from the start and never moves.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) cards: Cards<CARD_SHIFT>,
    slots: RememberedSlots,
    log: OverwrittenLog,
    /// Whether slots that are not in the table may refer to young objects.
    all_slots: bool,
}

impl Tables {
    /// Empty tables for a heap in `memory`, whose nursery ends at `nursery_end`.
    ///
    /// # Errors
    /// If the memory's source refuses.
    pub(super) fn new(memory: &HeapMemory, nursery_end: u32) -> Result<Tables, HeapError> {
        let cards = Cards::new(memory, CARDS, BUNDLES)?;
        let slots = RememberedSlots::new(memory, SLOT_CARDS, SLOT_CARD_SHIFT)?;
        let slots = slots.with_young(NURSERY_START..nursery_end);
        let log = OverwrittenLog::new(memory, LOG, LOG_LEN)?;
        Ok(Tables { cards, slots, log, all_slots: false })
    }

    /// Empties all tables. The length of the log was zeroed. Cards below `nursery_end` stay.
    pub(super) fn reset(&mut self, nursery_end: u32, end: u32) {
        self.cards.clean_all(nursery_end, end);
        self.forget_slots();
        self.log.reset();
    }

    // ---- slots ----------------------------------------------------------------

    /// Remembers the slot at `address`.
    pub(super) fn remember(&mut self, address: usize) {
        self.slots.insert(address);
    }

    /// Records that any slot may refer to a young object.
    pub(super) fn remember_all(&mut self) {
        self.all_slots = true;
    }

    /// Whether slots that are not remembered may refer to young objects.
    pub(super) fn wants_all_slots(&self) -> bool {
        self.all_slots
    }

    /// The remembered slots.
    pub(super) fn slots(&self) -> &RememberedSlots {
        &self.slots
    }

    /// Forgets all slots, because none refers to a young object.
    pub(super) fn forget_slots(&mut self) {
        self.slots.clear();
        self.all_slots = false;
    }

    // ---- log ------------------------------------------------------------------

    /// Sets whether emitted code logs the references that it overwrites. If there is no memory for
    /// the log, entries count as lost from now on.
    pub(super) fn set_logging(&mut self, memory: &mut HeapMemory, logging: bool) {
        self.log.begin(memory, logging.into());
    }

    /// Sets whether emitted code marks the cards of all references in large new arrays, because their
    /// referents may be moved when marking ends.
    pub(super) fn set_evacuation(&mut self, evacuates: bool) {
        let marking = self.log.switched();
        let bit = if evacuates && marking != 0 { WILL_EVACUATE } else { 0 };
        self.log.switch(marking & !WILL_EVACUATE | bit);
    }

    /// Number of log entries that were not read yet. `None` if some were lost.
    pub(super) fn logged(&self, memory: &HeapMemory) -> Option<u32> {
        self.log.unread(memory)
    }

    /// The `n`th unread entry: the overwritten word and its slot.
    pub(super) fn log(&self, n: u32) -> (u32, u32) {
        self.log.get(n)
    }

    /// Reads the next entry of the log. There must be one.
    pub(super) fn next_logged(&mut self) -> (u32, u32) {
        self.log.next()
    }

    /// Overwrites the `n`th entry of the log, as emitted code does.
    #[cfg(test)]
    pub(super) fn set_log(&mut self, n: u64, word: u32, slot: u32) {
        self.log.set(n, word, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};

    fn memory() -> HeapMemory {
        let options = HeapOptions {
            initial: 256 << 10,
            maximum: 1 << 20,
            bounds: HeapBounds::Checked,
            ..HeapOptions::default()
        };
        HeapMemory::new(&options).unwrap()
    }

    #[test]
    fn slots_are_remembered_until_they_are_forgotten() {
        let memory = memory();
        let mut tables = Tables::new(&memory, 2 * NURSERY_START).unwrap();
        tables.remember(5000);
        assert!(tables.slots().contains(5000) && !tables.slots().contains(500));
        tables.remember_all();
        assert!(tables.wants_all_slots());
        tables.forget_slots();
        assert!(!tables.wants_all_slots() && !tables.slots().contains(5000));
    }
}
