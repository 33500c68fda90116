//! A bit for each eight bytes of the heap, in native memory.

use gc_types::OBJECT_ALIGN;
use std::ops::Range;

/// The bytes of the heap that one word of the bitmap covers.
pub(crate) const WORD: u32 = OBJECT_ALIGN * 64;

/// A set of heap indices that are multiples of [`OBJECT_ALIGN`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap(Vec<u64>);

impl Bitmap {
    /// Makes room for indices below `end`. New indices are not in the set.
    pub(crate) fn extend(&mut self, end: u32) {
        self.0.resize(end.div_ceil(WORD) as usize, 0);
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// The words, each for [`WORD`] bytes. The lowest bit is for the lowest index.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    /// The word and the bit for `index`. `None` if it is not aligned or there is no room for it.
    pub(crate) fn place(&self, index: u32) -> Option<(usize, u64)> {
        let (word, bit) = ((index / WORD) as usize, index % WORD / OBJECT_ALIGN);
        (index.is_multiple_of(OBJECT_ALIGN) && word < self.0.len()).then_some((word, 1 << bit))
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.place(index).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    pub(crate) fn insert(&mut self, index: u32) {
        if let Some((word, bit)) = self.place(index) {
            self.0[word] |= bit;
        }
    }

    /// Adds every index in `range`.
    pub(crate) fn insert_range(&mut self, range: Range<u32>) {
        let (first, last) = (self.place(range.start), self.place(range.end - OBJECT_ALIGN));
        let (Some((first, low)), Some((last, high))) = (first, last) else { return };
        // From the lowest bit up, and up to the highest bit.
        let (from, to) = (low.wrapping_neg(), high | (high - 1));
        if first == last {
            self.0[first] |= from & to;
        } else {
            self.0[first] |= from;
            self.0[first + 1..last].fill(!0);
            self.0[last] |= to;
        }
    }

    /// The first index from `start` on that is in the set if `wanted` is true, or that is not in
    /// the set if `wanted` is false.
    pub(crate) fn next(&self, start: u32, wanted: bool) -> Option<u32> {
        let (mut word, bit) = self.place(start)?;
        let turned = |word: u64| if wanted { word } else { !word };
        let mut left = turned(self.0[word]) & bit.wrapping_neg();
        while left == 0 {
            word += 1;
            left = turned(*self.0.get(word)?);
        }
        Some(word as u32 * WORD + left.trailing_zeros() * OBJECT_ALIGN)
    }

    /// The indices of the set that are in `range`, in order.
    pub(crate) fn in_range(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let found = self.next(from, true).filter(|&found| found < range.end)?;
            from = found + OBJECT_ALIGN;
            Some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set_of_aligned_indices() {
        let mut set = Bitmap::default();
        set.insert(8);
        assert!(!set.contains(8), "there is no room for it");
        set.extend(0x2000);
        for index in [0x1ff8, 8, 0x200, 0x1f8] {
            set.insert(index);
            assert!(set.contains(index));
        }
        set.insert(12);
        assert!(!set.contains(12) && !set.contains(16) && !set.contains(u32::MAX));
        assert_eq!(set.in_range(0..0x2000).collect::<Vec<_>>(), [8, 0x1f8, 0x200, 0x1ff8]);
        assert_eq!(set.in_range(16..0x200).collect::<Vec<_>>(), [0x1f8]);
        set.clear();
        assert_eq!(set.in_range(0..0x2000).count(), 0);
    }

    #[test]
    fn ranges_are_added_and_found_again() {
        for (start, end) in [(8, 16), (0, 0x200), (0x1f8, 0x208), (0x1f0, 0x800), (0, 0x1000)] {
            let mut set = Bitmap::default();
            set.extend(0x1000);
            set.insert_range(start..end);
            let expected: Vec<u32> = (start..end).step_by(8).collect();
            assert_eq!(set.in_range(0..0x1000).collect::<Vec<_>>(), expected);
            assert_eq!(set.next(0, true), Some(start));
            assert_eq!(set.next(start, false), (end < 0x1000).then_some(end));
        }
    }
}
