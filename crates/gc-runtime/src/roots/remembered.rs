//! [`RememberedSlots`]: the slots outside stack and heap that a write barrier noted.

/// A set of slots outside stack and heap, which may hold more than was added to it: slots
/// are told apart by some bits of their addresses. Emitted code can add to it by a store.
#[derive(Debug, Default)]
pub struct RememberedSlots {
    /// The card of the slot at address `a` is `(a >> shift) % cards.len()`, zero if no
    /// slot of it is in the set.
    cards: Vec<u8>,
    shift: u32,
}

impl RememberedSlots {
    /// An empty set with `cards` cards, a power of two, each for `1 << shift` bytes.
    pub fn new(cards: u32, shift: u32) -> RememberedSlots {
        debug_assert!(cards.is_power_of_two() && shift >= 2);
        RememberedSlots { cards: vec![0; cards as usize], shift }
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

    /// How many slots from the one at this address on are in the set if it is, and are
    /// not if it is not.
    pub(super) fn slots_from(&self, address: usize) -> usize {
        let bytes = (1 << self.shift) - (address & ((1 << self.shift) - 1));
        (bytes / size_of::<u32>()).max(1)
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.cards.fill(0);
    }

    /// The cards, which emitted code may write; they never move.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.cards.as_mut_ptr()
    }
}
