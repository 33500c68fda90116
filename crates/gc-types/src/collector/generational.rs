//! `generational`: a bump nursery in front of a mark-region old generation.
//!
//! The nursery ([`nursery`](super::nursery)) is the first [`nursery_size`](super::nursery::nursery_size) bytes of the heap after the null page. One subtraction
//! and one unsigned comparison with constants test whether a reference refers to a young object.
//! They also exclude null and most `i31`s. Emitted code allocates between [`NEXT`] and [`LIMIT`].
//! When it stores a reference to a young object into an old one, it marks a card: a byte of a
//! native table that has one byte for each [`CARD_SIZE`] bytes of heap. In an array the card is
//! that of the slot, otherwise that of the object's start. With a card it marks the card's bundle,
//! a byte of a second table, unless the card was marked before. While old objects are being marked
//! ([`MARKING`] is not zero), emitted code appends each reference that is overwritten in an old object to a native log.
//!
//! The collector's header word is zero, except in an object that the current collection has moved.
//! There it is a forwarding word.

use crate::{CollectorAbi, HeapDataOffsets, NULL_PAGE_SIZE, RootKind, SideTable};

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "generational";

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
/// Heap data, u32: a store into an old object needs a barrier if its value, less the start of the nursery, is at most
/// this. While old objects are being marked it is the largest number, and otherwise the last place of the nursery: one
/// comparison shows both whether overwritten references must be logged and whether a value is young.
pub const YOUNG_LAST: u32 = MARKING + 4;
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

/// The version of what both halves must know. In the second one [`YOUNG_LAST`] is a word of the heap data.
const VERSION: u64 = 2;

/// What both halves of the collector must know, without the options of a heap.
pub fn abi() -> CollectorAbi {
    [CARDS, BUNDLES, SLOT_CARDS, LOG]
        .into_iter()
        .fold(CollectorAbi::new(NAME).with("version", VERSION), CollectorAbi::with_table)
}

/// Whether stores into slots of this kind mark slot cards. For the other kinds, either the slots
/// are few and every collection visits them, or they are written only once, before they are
/// registered.
pub const fn has_slot_cards(kind: RootKind) -> bool {
    matches!(kind, RootKind::Table)
}

const _: () = assert!(LOG_CAPACITY.is_power_of_two() && SLOT_CARDS_LEN.is_power_of_two());
const _: () = assert!(NULL_PAGE_SIZE.is_multiple_of(CARD_SIZE));
