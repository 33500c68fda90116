//! [`Cards`]: the parts of the heap that may refer to young objects, and their bundles.
//!
//! A store of a reference to a young object into an old one marks the card of the object's
//! start, or of the slot in an array (Sobalvarro, "A Lifetime-Based Garbage Collector for LISP
//! Systems on General-Purpose Computers", 1988; Wilson and Moher, "A 'Card-Marking' Scheme for
//! Controlling Intergenerational References", 1989).
//!
//! The cards of a large heap are megabytes, of which few are dirty. Reading all of them was a third
//! of the time of minor collections with 1 GiB of live objects. So whoever marks a card also marks
//! its bundle, and only the cards of dirty bundles are read (the garbage collector of .NET has card
//! bundles too).

use crate::arch::prefetch;
use crate::{HeapError, HeapMemory, IndexedTable};
use gc_types::SideTable;

/// log2 of the number of cards of a bundle, which is also the number of bundles that are tested at once.
const LINE_SHIFT: u32 = 6;
const LINE: usize = 1 << LINE_SHIFT;
/// The value of a card whose objects may refer to young ones, and of its bundle. Others are zero.
const DIRTY: u8 = 1;

/// The cards of a heap, each of `1 << SHIFT` bytes, and their bundles of 64 cards. The bundle of a dirty card is
/// dirty. Both are tables of bytes: emitted code writes [`DIRTY`](Cards::DIRTY) into them.
///
/// # Examples
/// ```
/// use gc_heap::remember::Cards;
/// use gc_heap::{HeapMemory, HeapOptions};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// const SHIFT: u32 = 9;
/// const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, SHIFT);
/// const BUNDLES: SideTable =
///     SideTable::indexed("bundles", HeapDataOffsets::COLLECTOR + 16, SHIFT + 6);
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut cards = Cards::<SHIFT>::new(&memory, CARDS, BUNDLES)?;
/// cards.dirty(0x1_0204);
/// assert!(cards.is_dirty(0x1_03ff) && !cards.is_dirty(0x1_0400));
/// assert_eq!(cards.take_dirty(0x1_0000, 0x2_0000), Some(0x1_0200));
/// assert_eq!(cards.take_dirty(0x1_0000, 0x2_0000), None);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Cards<const SHIFT: u32> {
    cards: IndexedTable,
    bundles: IndexedTable,
}

/// Which of the bytes are [`DIRTY`]: a bit for each. The others are zero.
#[inline(always)]
fn dirty_among(bytes: &[u8; LINE]) -> u64 {
    const { assert!(DIRTY == 1 && LINE == 64) };
    // Byte `n` of a word becomes bit `n` of the product's last byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    if words.clone().fold(0, |n, word| n | word) == 0 {
        return 0;
    }
    (0..).zip(words).fold(0, |bits, (n, word)| bits | (word.wrapping_mul(GATHER) >> 56) << (8 * n))
}

/// The bits from `first` on.
fn bits_from(first: u32) -> u64 {
    u64::MAX << (first % u64::BITS)
}

impl<const SHIFT: u32> Cards<SHIFT> {
    /// The value of a card whose objects may refer to young ones, and of its bundle. Others are zero.
    pub const DIRTY: u8 = DIRTY;
    /// Bytes of heap for each card.
    pub const SIZE: u32 = 1 << SHIFT;
    /// log2 of the number of bytes of heap for each bundle.
    pub const BUNDLE_SHIFT: u32 = SHIFT + LINE_SHIFT;

    const BUNDLE_SIZE: u32 = 1 << Self::BUNDLE_SHIFT;

    /// Clean cards for a heap in `memory`, in these tables.
    ///
    /// # Errors
    /// If the memory's source refuses, there are such tables already, or the collector's ABI has others.
    ///
    /// # Panics
    /// If a table is not [indexed](gc_types::SideForm::Indexed), or with another shift than `SHIFT` and
    /// [`BUNDLE_SHIFT`](Cards::BUNDLE_SHIFT).
    pub fn new(
        memory: &HeapMemory,
        cards: SideTable,
        bundles: SideTable,
    ) -> Result<Cards<SHIFT>, HeapError> {
        let shifts = (cards.shift(), bundles.shift());
        assert_eq!(shifts, (SHIFT, Self::BUNDLE_SHIFT), "the shifts of cards and of bundles");
        Ok(Cards {
            cards: IndexedTable::new(memory, cards)?,
            bundles: IndexedTable::new(memory, bundles)?,
        })
    }

    /// Marks the card of `index` as dirty.
    #[inline]
    pub fn dirty(&mut self, index: u32) {
        if let Some(card) = self.cards.get_mut((index >> SHIFT) as usize)
            && let Some(bundle) = self.bundles.get_mut((index >> Self::BUNDLE_SHIFT) as usize)
        {
            (*card, *bundle) = (DIRTY, DIRTY);
        }
    }

    /// Marks all cards from that of `start` up to `end` as dirty.
    pub fn dirty_all(&mut self, start: u32, end: u32) {
        self.cards_mut(start, end).fill(DIRTY);
        self.bundles_mut(start, end).fill(DIRTY);
    }

    /// Makes cards and bundles from `start` up to `end` as they were in a new heap. All cards that may be dirty must be
    /// in this range: those outside are not found any more if their bundle reaches into it.
    pub fn reset(&mut self, start: u32, end: u32) {
        self.clean_all(start, end);
        self.bundles_mut(start, end).fill(0);
    }

    /// Marks all cards from that of `start` up to `end` as clean. Bundles stay dirty.
    pub fn clean_all(&mut self, start: u32, end: u32) {
        self.cards_mut(start, end).fill(0);
    }

    fn cards_mut(&mut self, start: u32, end: u32) -> &mut [u8] {
        let range = (start >> SHIFT) as usize..end.div_ceil(Self::SIZE) as usize;
        self.cards.get_mut(range).unwrap_or_default()
    }

    fn bundles_mut(&mut self, start: u32, end: u32) -> &mut [u8] {
        let range =
            (start >> Self::BUNDLE_SHIFT) as usize..end.div_ceil(Self::BUNDLE_SIZE) as usize;
        self.bundles.get_mut(range).unwrap_or_default()
    }

    /// Whether the card of `index` is dirty.
    pub fn is_dirty(&self, index: u32) -> bool {
        self.cards.get((index >> SHIFT) as usize).is_some_and(|&card| card != 0)
    }

    /// Whether [`take_dirty`](Cards::take_dirty) finds the card of `index`.
    pub fn is_found(&self, index: u32) -> bool {
        let bundle = self.bundles.get((index >> Self::BUNDLE_SHIFT) as usize);
        self.is_dirty(index) && bundle.is_some_and(|&bundle| bundle != 0)
    }

    /// The start of the bytes of the first dirty card from `start` (a multiple of the card size) up
    /// to `end`. Marks the card as clean, and bundles that have no dirty card.
    #[inline]
    pub fn take_dirty(&mut self, start: u32, end: u32) -> Option<u32> {
        let mut from = start;
        while from < end {
            let bundle =
                self.next_bundle(from >> Self::BUNDLE_SHIFT, end.div_ceil(Self::BUNDLE_SIZE))?;
            from = from.max(bundle << Self::BUNDLE_SHIFT);
            let line = self.cards.as_chunks::<LINE>().0.get(bundle as usize)?;
            let dirty = dirty_among(line);
            let later = dirty & bits_from(from >> SHIFT);
            if later != 0 {
                let card = bundle << (Self::BUNDLE_SHIFT - SHIFT) | later.trailing_zeros();
                let at = card << SHIFT;
                if at >= end {
                    return None;
                }
                self.cards[card as usize] = 0;
                return Some(at);
            }
            if dirty == 0 {
                self.bundles[bundle as usize] = 0;
            }
            from = (bundle + 1).checked_mul(Self::BUNDLE_SIZE)?;
        }
        None
    }

    /// Fetches the cards of the dirty ones among some bundles.
    #[inline]
    fn fetch(&self, first: usize, mut dirty: u64) {
        while dirty != 0 {
            let bundle = first + dirty.trailing_zeros() as usize;
            prefetch(self.cards.as_ptr().wrapping_add(bundle * LINE));
            dirty &= dirty - 1;
        }
    }

    /// The first dirty bundle from `first` up to `end`.
    #[inline]
    fn next_bundle(&self, first: u32, end: u32) -> Option<u32> {
        let (lines, _) = self.bundles.as_chunks::<LINE>();
        let (mut n, mut mask) = (first as usize / LINE, bits_from(first));
        loop {
            let dirty = dirty_among(lines.get(n)?) & mask;
            if dirty != 0 {
                if mask == u64::MAX {
                    self.fetch(n * LINE, dirty);
                }
                let bundle = (n * LINE) as u32 | dirty.trailing_zeros();
                return (bundle < end).then_some(bundle);
            }
            n += 1;
            if n * LINE >= end as usize {
                return None;
            }
            mask = u64::MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};
    use gc_types::HeapDataOffsets;

    const SHIFT: u32 = 7;
    const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, SHIFT);
    const BUNDLES: SideTable =
        SideTable::indexed("bundles", HeapDataOffsets::COLLECTOR + 16, SHIFT + LINE_SHIFT);
    const CARD_SIZE: u32 = 1 << SHIFT;
    const BUNDLE_CARDS: u32 = 1 << LINE_SHIFT;
    const BUNDLE_SIZE: u32 = CARD_SIZE * BUNDLE_CARDS;

    const END: u32 = 4 << 20;

    fn cards() -> Cards<SHIFT> {
        let options = HeapOptions {
            initial: 256 << 10,
            maximum: END.into(),
            bounds: HeapBounds::Checked,
            ..HeapOptions::default()
        };
        Cards::new(&HeapMemory::new(&options).unwrap(), CARDS, BUNDLES).unwrap()
    }

    /// Takes the dirty cards from `start` on.
    fn take(cards: &mut Cards<SHIFT>, start: u32) -> Vec<u32> {
        let mut from = start;
        std::iter::from_fn(|| {
            let card = cards.take_dirty(from, END)?;
            assert!(!cards.is_dirty(card));
            from = card + CARD_SIZE;
            Some(card)
        })
        .collect()
    }

    #[test]
    fn dirty_cards_are_found_and_cleaned() {
        let mut cards = cards();
        let start = 96 << 10;
        assert_eq!(take(&mut cards, start), []);
        let dirty = [start, start + CARD_SIZE - 1, start + CARD_SIZE, 300_000, END - 1];
        dirty.iter().for_each(|&at| cards.dirty(at));
        let third = 300_000 / CARD_SIZE * CARD_SIZE;
        let found = [start, start + CARD_SIZE, third, END - CARD_SIZE];
        assert!(found.iter().all(|&at| cards.is_found(at)));
        assert_eq!(take(&mut cards, start), found);
        assert_eq!(take(&mut cards, start), []);
        // Bundles without a dirty card are clean now.
        assert!(cards.bundles.iter().all(|&bundle| bundle == 0));
        // After the last card nothing happens.
        cards.dirty(u32::MAX);
        assert!(!cards.is_dirty(u32::MAX));
        assert_eq!(cards.take_dirty(END, END), None);
    }

    #[test]
    fn a_card_before_the_first_one_stays_dirty_with_its_bundle() {
        let mut cards = cards();
        for at in [0, CARD_SIZE, BUNDLE_SIZE - 1, BUNDLE_SIZE] {
            cards.dirty(at);
        }
        assert_eq!(take(&mut cards, CARD_SIZE), [CARD_SIZE, BUNDLE_SIZE - CARD_SIZE, BUNDLE_SIZE]);
        assert!(cards.is_found(0));
        assert_eq!(take(&mut cards, 0), [0]);
        assert!(!cards.is_found(0));
        // As emitted code would do if it forgot the bundle.
        cards.dirty(0);
        cards.bundles[0] = 0;
        assert!(cards.is_dirty(0) && !cards.is_found(0));
    }

    #[test]
    fn ranges_of_cards_are_found_in_all_bundles() {
        let mut cards = cards();
        // They begin and end within bundles, and within lines of bundles.
        let (start, end) = (3 * CARD_SIZE + 5, 70 * BUNDLE_SIZE + 5 * CARD_SIZE + 1);
        cards.dirty_all(start, end);
        let all: Vec<u32> = (3..70 * BUNDLE_CARDS + 6).map(|card| card * CARD_SIZE).collect();
        assert_eq!(take(&mut cards, 0), all);
        cards.dirty_all(start, end);
        cards.clean_all(start + CARD_SIZE, end - CARD_SIZE);
        assert_eq!(take(&mut cards, 0), [all[0], *all.last().unwrap()]);
    }

    #[test]
    fn reset_cards_are_found_when_they_are_dirty_again() {
        let mut cards = cards();
        cards.dirty_all(0, END);
        cards.reset(0, END);
        assert!(cards.cards.iter().chain(cards.bundles.iter()).all(|&byte| byte == 0));
        cards.dirty(BUNDLE_SIZE);
        assert_eq!(take(&mut cards, 0), [BUNDLE_SIZE]);
    }
}
