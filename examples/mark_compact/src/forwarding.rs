//! The new place of each object.

use crate::bitmap::Bitmap;
use gc_types::{NULL_PAGE_SIZE, OBJECT_ALIGN};
use std::ops::Range;

// ANCHOR: forwarding
/// The live bytes of the heap, and their new places when the live objects slide together.
///
/// An object's new index is the heap's first index plus the number of live bytes before the object.
/// For each word of the bitmap, the sum up to the word is computed once. The bytes in the object's
/// own word are counted.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    live: Bitmap,
    /// For each word of `live`, the new place of the first live byte in it.
    starts: Vec<u32>,
}

impl Forwarding {
    /// Computes the new places of all marked objects.
    pub(crate) fn compute(&mut self) {
        self.starts.clear();
        let mut to = NULL_PAGE_SIZE;
        self.starts.extend(self.live.words().iter().map(|word| {
            let start = to;
            to += word.count_ones() * OBJECT_ALIGN;
            start
        }));
    }

    /// The new place of the object at `index`. `None` if it is dead.
    pub(crate) fn get(&self, index: u32) -> Option<u32> {
        let (word, bit) = self.live.place(index)?;
        let lives = self.live.words()[word];
        let before = (lives & (bit - 1)).count_ones() * OBJECT_ALIGN;
        (lives & bit != 0).then(|| self.starts[word] + before)
    }
}
// ANCHOR_END: forwarding

impl Forwarding {
    /// Makes room for a heap that ends at `end`.
    pub(crate) fn extend(&mut self, end: u32) {
        self.live.extend(end);
    }

    /// Removes all marks.
    pub(crate) fn clear(&mut self) {
        self.live.clear();
    }

    /// Marks the bytes of an object.
    pub(crate) fn mark(&mut self, object: Range<u32>) {
        self.live.insert_range(object);
    }

    pub(crate) fn is_marked(&self, index: u32) -> bool {
        self.live.contains(index)
    }

    /// The first run of live bytes in `range`. It ends before the next dead byte.
    pub(crate) fn next_run(&self, range: Range<u32>) -> Option<Range<u32>> {
        let start = self.live.next(range.start, true).filter(|&start| start < range.end)?;
        let end = self.live.next(start, false).unwrap_or(range.end);
        Some(start..end.min(range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_slides_together() {
        let mut forwarding = Forwarding::default();
        let at = NULL_PAGE_SIZE;
        forwarding.extend(at + 0x1000);
        for object in [at + 8..at + 24, at + 0x100..at + 0x480, at + 0xff0..at + 0x1000] {
            forwarding.mark(object);
        }
        forwarding.compute();
        assert_eq!(forwarding.get(at), None);
        assert_eq!(forwarding.get(at + 8), Some(at));
        assert_eq!(forwarding.get(at + 0x100), Some(at + 16));
        assert_eq!(forwarding.get(at + 0xff0), Some(at + 16 + 0x380));
        assert_eq!(forwarding.get(at + 0x480), None);
        assert_eq!((forwarding.get(at + 9), forwarding.get(u32::MAX)), (None, None));
        let next_run = |from| forwarding.next_run(at + from..at + 0x1000);
        assert_eq!(next_run(0), Some(at + 8..at + 24));
        assert_eq!(next_run(24), Some(at + 0x100..at + 0x480));
        assert_eq!(next_run(0x480), Some(at + 0xff0..at + 0x1000));
        assert_eq!(next_run(0x1000), None);
    }
}
