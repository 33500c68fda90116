//! `generational`: a bump nursery in front of a mark-region old generation.
//!
//! The nursery is the first [`nursery_size`] bytes of the heap after the null page. One subtraction
//! and one unsigned comparison with constants test whether a reference refers to a young object.
//! They also exclude null and most `i31`s. Emitted code allocates between [`NEXT`] and [`LIMIT`].
//! When it stores a reference to a young object into an old one, it marks a card: a byte of a
//! native table that has one byte for each [`CARD_SIZE`] bytes of heap. In an array the card is
//! that of the slot, otherwise that of the object's start. With a card it marks the card's bundle,
//! a byte of a second table, unless the card was marked before. While old objects are being marked
//! ([`MARKING`] is not zero), emitted code appends each overwritten reference to a native log.
//!
//! The collector's header word is zero, except in an object that the current collection has moved.
//! There it is the new index plus [`FORWARDED`].

use crate::{CollectorAbi, HeapDataOffsets, NULL_PAGE_SIZE, RootKind, SideTable};

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "generational";

/// Header flag: the other bits are the object's new index.
pub const FORWARDED: u32 = 1;

/// log2 of [`CARD_SIZE`].
pub const CARD_SHIFT: u32 = 7;
/// Bytes of heap for each card. Before the memory of several cards was fetched at the same time, cards of
/// 512 bytes were as fast. With it, smaller ones are: `hash_map` took 0.85 of its time.
pub const CARD_SIZE: u32 = 1 << CARD_SHIFT;
/// The value of a card whose objects may refer to young ones. Other cards are zero.
pub const DIRTY: u8 = 1;

/// Heap data, u32: non-zero while overwritten references must be logged. [`WILL_EVACUATE`] may be set.
pub const MARKING: u32 = HeapDataOffsets::COLLECTOR + 8;
/// A bit of [`MARKING`]: the card of every reference in a large new array must be marked, because its
/// referent may be moved when marking ends.
pub const WILL_EVACUATE: u32 = 2;
/// Heap data, u64: number of logged stores. If it is larger than [`LOG_CAPACITY`], the first
/// entries were overwritten.
pub const LOG_LEN: u32 = HeapDataOffsets::COLLECTOR + 16;
/// The log. Entry `n` is at `n % LOG_CAPACITY`: `index of the slot << 32 | the reference that was overwritten`,
/// which may be zero, an `i31`, or young.
pub const LOG: SideTable =
    SideTable::masked("log", HeapDataOffsets::COLLECTOR + 24, 3, LOG_CAPACITY as u32)
        .with_switch(MARKING);
/// The log's capacity in entries.
pub const LOG_CAPACITY: u64 = 1 << 20;

/// The cards.
pub const CARDS: SideTable =
    SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 32, CARD_SHIFT);

/// The card bundles. A bundle is [`DIRTY`] if one of its cards is. It may also be dirty if none is. A
/// collection reads only the cards of dirty bundles, because a heap of 1 GiB has 8 MiB of cards.
pub const BUNDLES: SideTable =
    SideTable::indexed("bundles", HeapDataOffsets::COLLECTOR + 48, BUNDLE_SHIFT);
/// log2 of the number of bytes of heap for each bundle. A bundle has [`BUNDLE_CARDS`] cards.
pub const BUNDLE_SHIFT: u32 = CARD_SHIFT + 6;
/// Number of cards of a bundle: one cache line.
pub const BUNDLE_CARDS: u32 = 1 << (BUNDLE_SHIFT - CARD_SHIFT);

/// The slot cards. A non-zero card says that slots outside stack and heap were written. The card of a slot at
/// address `a` is entry `(a >> SLOT_CARD_SHIFT) % SLOT_CARDS_LEN`.
pub const SLOT_CARDS: SideTable =
    SideTable::masked("slot-cards", HeapDataOffsets::COLLECTOR + 40, 0, SLOT_CARDS_LEN);
/// log2 of the number of adjacent bytes of memory that share a slot card.
pub const SLOT_CARD_SHIFT: u32 = 10;
/// Number of slot cards.
pub const SLOT_CARDS_LEN: u32 = 1 << 12;

/// What both halves of the collector must know, without the options of a heap.
pub fn abi() -> CollectorAbi {
    [CARDS, BUNDLES, SLOT_CARDS, LOG]
        .into_iter()
        .fold(CollectorAbi::new(NAME), CollectorAbi::with_table)
}

/// Whether stores into slots of this kind mark slot cards. For the other kinds, either the slots
/// are few and every collection visits them, or they are written only once, before they are
/// registered.
pub const fn has_slot_cards(kind: RootKind) -> bool {
    matches!(kind, RootKind::Table)
}

const _: () = assert!(LOG_CAPACITY.is_power_of_two() && SLOT_CARDS_LEN.is_power_of_two());
const _: () = assert!(NULL_PAGE_SIZE.is_multiple_of(CARD_SIZE));

/// The option for the nursery's size in bytes.
pub const NURSERY: &str = "nursery";
/// The index at which the nursery begins.
pub const NURSERY_START: u32 = NULL_PAGE_SIZE;
/// The size of a nursery, in bytes, is a multiple of this.
pub const NURSERY_ALIGN: u32 = 4 << 10;
/// The maximum number of bytes of a nursery.
pub const MAX_NURSERY: u32 = 256 << 20;

/// The size in bytes of the nursery of a heap that may grow to `maximum` bytes (counted from its
/// base), if the option is `requested` bytes. The nursery is at most an eighth of the heap after the
/// null page, because old objects cannot use its place.
pub const fn nursery_size(requested: u64, maximum: u64) -> u32 {
    let usable = maximum.saturating_sub(NULL_PAGE_SIZE as u64);
    let mut size = usable / 8;
    if size > requested {
        size = requested;
    }
    if size > MAX_NURSERY as u64 {
        size = MAX_NURSERY as u64;
    }
    (size / NURSERY_ALIGN as u64) as u32 * NURSERY_ALIGN
}

/// Whether the reference `word` refers into a nursery of `size` bytes.
pub const fn is_young(word: u32, size: u32) -> bool {
    word.wrapping_sub(NURSERY_START) < size && word & crate::I31::TAG == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nursery_is_a_small_part_of_the_heap() {
        assert_eq!(nursery_size(4 << 20, 2 << 30), 4 << 20);
        assert_eq!(nursery_size(4 << 20, (1 << 20) + (64 << 10)), 128 << 10);
        assert_eq!(nursery_size((1 << 20) + 5, 4 << 30), 1 << 20);
        assert_eq!(nursery_size(u64::MAX, u64::MAX), MAX_NURSERY);
        assert_eq!(nursery_size(u64::MAX, 1 << 30), (128 << 20) - (8 << 10));
        for maximum in [0, 1, 64 << 10, (64 << 10) + 100] {
            assert_eq!(nursery_size(4 << 20, maximum), 0);
        }
    }

    #[test]
    fn null_and_tagged_words_are_not_young() {
        let size = 1 << 20;
        assert!(is_young(NURSERY_START, size) && is_young(NURSERY_START + size - 8, size));
        for word in [0, 1, NURSERY_START - 8, NURSERY_START + 1, NURSERY_START + size, u32::MAX] {
            assert!(!is_young(word, size), "{word:#x}");
        }
        assert!(!is_young(NURSERY_START, 0));
    }
}
