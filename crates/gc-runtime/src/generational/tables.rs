//! The native tables that emitted code writes: the cards of old objects, remembered slots, and the log
//! of overwritten references ([`remember`](gc_heap::remember)).

use gc_heap::remember::{Cards, OverwrittenLog, RememberedSlots};
use gc_heap::{HeapError, HeapMemory};
use gc_types::collector::generational::{
    BUNDLE_CARDS, BUNDLES, CARD_SHIFT, CARDS, DIRTY, LOG, LOG_LEN, SLOT_CARD_SHIFT, SLOT_CARDS,
    WILL_EVACUATE,
};
use gc_types::collector::nursery::NURSERY_START;

// What the host does and what emitted code does must be the same.
const _: () = assert!(Cards::<CARD_SHIFT>::DIRTY == DIRTY);
const _: () = assert!(Cards::<CARD_SHIFT>::BUNDLE_SHIFT - CARD_SHIFT == BUNDLE_CARDS.ilog2());
const _: () = assert!(OverwrittenLog::EVACUATES == WILL_EVACUATE);

/// The tables. Each has its final size from the start and never moves.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) cards: Cards<CARD_SHIFT>,
    pub(super) slots: RememberedSlots,
    pub(super) log: OverwrittenLog,
    /// Whether slots that are not in the table may refer to young objects.
    pub(super) all_slots: bool,
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
        let log = log.with_bound((nursery_end - NURSERY_START).saturating_sub(1));
        Ok(Tables { cards, slots, log, all_slots: false })
    }

    /// Empties all tables. The length of the log was zeroed. Cards outside the old generation, which is from `start`
    /// to `end`, stay.
    pub(super) fn reset(&mut self, start: u32, end: u32) {
        self.cards.reset(start, end);
        self.forget_slots();
        self.log.reset();
    }

    /// Forgets all slots, because none refers to a young object.
    pub(super) fn forget_slots(&mut self) {
        self.slots.clear();
        self.all_slots = false;
    }
}
