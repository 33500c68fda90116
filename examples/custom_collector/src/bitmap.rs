//! A bit for each place where an object can begin, in native memory.

use gc_types::OBJECT_ALIGN;

/// A set of heap indices that are multiples of [`OBJECT_ALIGN`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap(Vec<u64>);

impl Bitmap {
    /// Makes room for indices below `end`. New indices are not in the set.
    pub(crate) fn extend(&mut self, end: u64) {
        let words = end.div_ceil(u64::from(OBJECT_ALIGN) * 64);
        self.0.resize(words as usize, 0);
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// The word and the bit for `index`. `None` if no object can begin there.
    fn place(&self, index: u32) -> Option<(usize, u64)> {
        let bit = index / OBJECT_ALIGN;
        let word = (bit / 64) as usize;
        (index.is_multiple_of(OBJECT_ALIGN) && word < self.0.len()).then(|| (word, 1 << (bit % 64)))
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.place(index).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    /// Adds `index`. Returns whether it was not in the set.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let Some((word, bit)) = self.place(index) else { return false };
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// The indices in the set, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0_u32..).flat_map(|(&word, number)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((number * 64 + bit) * OBJECT_ALIGN)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set_of_aligned_indices() {
        let mut set = Bitmap::default();
        assert!(!set.insert(8) && !set.contains(8), "there is no room for it");
        set.extend(0x2000);
        for index in [0x1ff8, 8, 0x200, 0x1f8] {
            assert!(set.insert(index) && !set.insert(index) && set.contains(index));
        }
        assert!(!set.insert(12) && !set.contains(12) && !set.contains(16));
        assert!(!set.insert(0x2000) && !set.contains(u32::MAX));
        assert_eq!(set.iter().collect::<Vec<_>>(), [8, 0x1f8, 0x200, 0x1ff8]);
        set.clear();
        assert_eq!(set.iter().count(), 0);
    }
}
