//! [`RememberedSlots`]: the slots outside the stack and the heap that a write barrier has recorded.

use std::ops::Range;

/// A set of slots outside stack and heap. It distinguishes slots only by some bits of their
/// addresses, so it may contain more slots than were added. Emitted code can add a slot with one
/// store.
///
/// # Examples
/// ```
/// use gc_runtime::RememberedSlots;
///
/// // 64 cards for 512 bytes each.
/// let mut remembered = RememberedSlots::new(64, 9);
/// remembered.insert(0x1000);
/// assert!(remembered.contains(0x1000) && remembered.contains(0x11fc));
/// assert!(!remembered.contains(0x1200));
/// ```
#[derive(Debug)]
pub struct RememberedSlots {
    /// The card of the slot at address `a` is `(a >> shift) % cards.len()`. A card is zero if none
    /// of its slots is in the set.
    cards: Vec<u8>,
    shift: u32,
    young: Range<u32>,
}

impl RememberedSlots {
    /// Makes an empty set with `cards` cards (a power of two), each for `1 << shift` bytes.
    pub fn new(cards: u32, shift: u32) -> RememberedSlots {
        debug_assert!(cards.is_power_of_two() && shift >= 2);
        RememberedSlots { cards: vec![0; cards as usize], shift, young: 0..u32::MAX }
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
    pub(super) fn young(&self) -> &Range<u32> {
        &self.young
    }

    fn card(&self, address: usize) -> usize {
        (address >> self.shift) & (self.cards.len().wrapping_sub(1))
    }

    /// Adds the slot at this address.
    #[inline]
    pub fn insert(&mut self, address: usize) {
        let card = self.card(address);
        if let Some(card) = self.cards.get_mut(card) {
            *card = 1;
        }
    }

    /// Whether the slot at this address may have been added.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.cards.get(self.card(address)).is_some_and(|&card| card != 0)
    }

    /// The number of slots, from the one at this address on, that share its card.
    pub(super) fn slots_from(&self, address: usize) -> usize {
        let bytes = (1 << self.shift) - (address & ((1 << self.shift) - 1));
        (bytes / size_of::<u32>()).max(1)
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.cards.fill(0);
    }

    /// The cards. Emitted code may write them, and they never move.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.cards.as_mut_ptr()
    }
}
