//! [`RememberedSlots`]: the slots outside the stack and the heap that a write barrier has recorded.

use crate::{HeapError, HeapMemory, MaskedTable};
use gc_types::SideTable;
use std::ops::Range;

/// A set of slots outside stack and heap. It distinguishes slots only by some bits of their
/// addresses, so it may contain more slots than were added. Emitted code can add a slot with one
/// store.
///
/// # Examples
/// ```
/// use gc_heap::remember::RememberedSlots;
/// use gc_heap::{HeapMemory, HeapOptions};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// // 64 cards for 512 bytes each.
/// const SLOTS: SideTable = SideTable::masked("slots", HeapDataOffsets::COLLECTOR + 8, 0, 64);
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut remembered = RememberedSlots::new(&memory, SLOTS, 9)?;
/// remembered.insert(0x1000);
/// assert!(remembered.contains(0x1000) && remembered.contains(0x11fc));
/// assert!(!remembered.contains(0x1200));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct RememberedSlots {
    /// The card of the slot at address `a` is entry `a >> shift`. A card is zero if none of its slots is in
    /// the set.
    cards: MaskedTable<u8>,
    shift: u32,
    young: Range<u32>,
}

impl RememberedSlots {
    /// Makes an empty set for a heap in `memory`. Its cards are the table `cards`, each for `1 << shift` bytes.
    ///
    /// # Errors
    /// If there is such a table already, or its memory is refused.
    ///
    /// # Panics
    /// If the table is not [masked](gc_types::SideForm::Masked), or its entries have several bytes.
    pub fn new(
        memory: &HeapMemory,
        cards: SideTable,
        shift: u32,
    ) -> Result<RememberedSlots, HeapError> {
        debug_assert!(shift >= 2);
        Ok(RememberedSlots { cards: MaskedTable::new(memory, cards)?, shift, young: 0..u32::MAX })
    }

    /// Says between which heap indices the young objects are. The slots of
    /// [fixed tables](gc_types::RootKind::FixedTable), which no barrier records, count as remembered if
    /// they refer to such an object. Without this call every reference counts as young.
    ///
    /// # Panics
    /// If the range ends before it begins.
    #[must_use]
    pub fn with_young(self, young: Range<u32>) -> RememberedSlots {
        assert!(young.start <= young.end, "the range of young objects ends before it begins");
        RememberedSlots { young, ..self }
    }

    /// The heap indices of young objects.
    pub(crate) fn young(&self) -> &Range<u32> {
        &self.young
    }

    /// Adds the slot at this address.
    #[inline]
    pub fn insert(&mut self, address: usize) {
        self.cards.set((address >> self.shift) as u64, 1);
    }

    /// Whether the slot at this address may have been added.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.cards.get((address >> self.shift) as u64).is_some_and(|card| card != 0)
    }

    /// The number of slots, from the one at this address on, that share its card.
    pub(crate) fn slots_from(&self, address: usize) -> usize {
        let bytes = (1 << self.shift) - (address & ((1 << self.shift) - 1));
        (bytes / size_of::<u32>()).max(1)
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.cards.clear();
    }
}
