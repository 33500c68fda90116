//! The native tables that emitted code writes: cards, remembered slots, and the log
//! of overwritten references.
//!
//! The cards of old objects are in `cards.rs`. Slots outside the heap have cards too, selected by
//! address. The log keeps the references that the snapshot for marking would otherwise
//! lose (Yuasa, "Real-Time Garbage Collection on General-Purpose Machines", 1990).
//!
//! Emitted code never calls the host for a full log. The log wraps around and the count continues.
//! So the loss of entries is known, and marking begins again.

use super::cards::Cards;
use crate::{HeapError, HeapMemory, MaskedTable, RememberedSlots};
use gc_types::collector::generational::{
    LOG, LOG_CAPACITY, LOG_LEN, NURSERY_START, SLOT_CARD_SHIFT, SLOT_CARDS, WILL_EVACUATE,
};

/// The tables. Each has its final size from the start and never moves.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) cards: Cards,
    slots: RememberedSlots,
    log: MaskedTable<u64>,
    /// Whether emitted code should log, but there is no memory for the log.
    unlogged: bool,
    /// Number of log entries that were read.
    read: u64,
    /// Whether slots that are not in the table may refer to young objects.
    all_slots: bool,
}

impl Tables {
    /// Empty tables for a heap in `memory`, whose nursery ends at `nursery_end`.
    ///
    /// # Errors
    /// If the memory's source refuses.
    pub(super) fn new(memory: &HeapMemory, nursery_end: u32) -> Result<Tables, HeapError> {
        let cards = Cards::new(memory)?;
        let slots = RememberedSlots::new(memory, SLOT_CARDS, SLOT_CARD_SHIFT)?;
        Ok(Tables {
            cards,
            slots: slots.with_young(NURSERY_START..nursery_end),
            log: MaskedTable::new(memory, LOG)?,
            unlogged: false,
            read: 0,
            all_slots: false,
        })
    }

    /// Empties all tables. The length of the log was zeroed. Cards below `nursery_end` stay.
    pub(super) fn reset(&mut self, nursery_end: u32, end: u32) {
        self.cards.clean_all(nursery_end, end);
        self.forget_slots();
        self.read = 0;
        self.unlogged = false;
        self.switch_log(0);
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
        self.read = 0;
        memory.set_data_u64(LOG_LEN, 0);
        self.unlogged = !self.switch_log(logging.into());
    }

    /// Writes the word that tells emitted code whether to log. Returns whether there is memory for that.
    fn switch_log(&mut self, value: u32) -> bool {
        let switched = self.log.switch(value);
        if let Err(error) = &switched {
            log::warn!("marking cannot be interleaved with the program: {error}");
        }
        switched.is_ok()
    }

    /// Sets whether emitted code marks the cards of all references in large new arrays, because their
    /// referents may be moved when marking ends.
    pub(super) fn set_evacuation(&mut self, evacuates: bool) {
        let marking = self.log.switched();
        let bit = if evacuates && marking != 0 { WILL_EVACUATE } else { 0 };
        self.switch_log(marking & !WILL_EVACUATE | bit);
    }

    /// Number of log entries that were not read yet. `None` if some were lost.
    pub(super) fn logged(&self, memory: &HeapMemory) -> Option<u32> {
        if self.unlogged {
            return None;
        }
        let unread = memory.data_u64(LOG_LEN).checked_sub(self.read)?;
        (unread <= LOG_CAPACITY).then_some(unread as u32)
    }

    /// The `n`th unread entry: the overwritten word and its slot.
    pub(super) fn log(&self, n: u32) -> (u32, u32) {
        let entry = self.log.get(self.read.wrapping_add(n.into())).unwrap_or(0);
        (entry as u32, (entry >> 32) as u32)
    }

    /// Reads the next entry of the log. There must be one.
    pub(super) fn next_logged(&mut self) -> (u32, u32) {
        let entry = self.log(0);
        self.read += 1;
        entry
    }

    /// Overwrites the `n`th entry of the log, as emitted code does.
    #[cfg(test)]
    pub(super) fn set_log(&mut self, n: u64, word: u32, slot: u32) {
        self.log.set(n, u64::from(slot) << 32 | u64::from(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};
    use gc_types::collector::generational::MARKING;

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

    #[test]
    fn a_log_that_wrapped_around_is_known_to_have() {
        let mut memory = memory();
        let mut tables = Tables::new(&memory, 2 * NURSERY_START).unwrap();
        assert_eq!(tables.logged(&memory), Some(0));
        tables.set_logging(&mut memory, true);
        assert_eq!((memory.data_u32(MARKING), tables.logged(&memory)), (1, Some(0)));
        memory.set_data_u64(LOG_LEN, LOG_CAPACITY);
        assert_eq!(tables.logged(&memory), Some(LOG_CAPACITY as u32));
        memory.set_data_u64(LOG_LEN, LOG_CAPACITY + 1);
        assert_eq!(tables.logged(&memory), None);
        // One entry was read, so it may be overwritten.
        tables.set_log(0, 5, 7);
        assert_eq!(tables.next_logged(), (5, 7));
        assert_eq!(tables.logged(&memory), Some(LOG_CAPACITY as u32));
        tables.set_logging(&mut memory, false);
        assert_eq!((memory.data_u32(MARKING), tables.logged(&memory)), (0, Some(0)));
    }
}
