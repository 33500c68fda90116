//! The notes for new objects, one byte for each object, and their conversion to bits of the map.
//!
//! Emitted code cannot set a bit as cheaply as a byte. There are notes for one block, the block of
//! the run. When the run is left, or when the map is read, the notes become bits, eight at a time.

use super::map::{LiveMap, bits};
use super::{BLOCK, Count, GRANULE, GapSpace};
use crate::HeapError;
use std::ops::Range;

/// Gathers the lowest bit of each of eight bytes.
#[inline]
fn gather(notes: u64) -> u64 {
    (notes & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

impl GapSpace {
    /// The word that has the note of `index`, and the bit of that word (in little-endian order)
    /// that is the note. `None` if `index` is not in the run.
    #[inline]
    pub(super) fn note(&self, index: u32) -> Option<(usize, u32)> {
        if !self.run.contains(&index) || !index.is_multiple_of(GRANULE) {
            return None;
        }
        let place = (index - self.start) % BLOCK / GRANULE;
        Some((place as usize / 8, place % 8 * 8))
    }

    /// Enters all objects allocated in the run into the map.
    #[inline]
    pub fn sync(&mut self) {
        let next = self.notes.next();
        if self.run.is_empty() || next <= self.synced || next > self.run.end {
            return;
        }
        let mut objects = 0;
        for word in self.noted_words(next) {
            let (group, bits) = self.noted(word);
            if bits != 0 {
                self.notes.clear_word(word);
                let group = self.map.group_mut(group);
                group[bits::STARTS] |= bits;
                group[bits::LIVE] |= bits;
                objects += u64::from(bits.count_ones());
            }
        }
        if next < self.run.end {
            self.map.set_start(next);
        }
        let size = u64::from(next - self.synced);
        for tally in [&mut self.young_tally, &mut self.allocations] {
            tally.objects += objects;
            tally.bytes += size;
        }
        self.allocated += size;
        self.synced = next;
    }

    /// The words of notes that may belong to objects that are not in the map yet.
    #[inline]
    fn noted_words(&self, next: u32) -> Range<usize> {
        let word = |index: u32| ((index - self.start) % BLOCK / GRANULE) as usize / 8;
        word(self.synced)..word(next - GRANULE) + 1
    }

    /// A word of notes as bits of the map, with the number of their group.
    #[inline]
    fn noted(&self, word: usize) -> (usize, u64) {
        let block_start = self.start + (self.run.start - self.start) / BLOCK * BLOCK;
        let granule = (block_start / GRANULE) as usize + word * 8;
        let bits = gather(self.notes.word(word));
        (granule / 64, bits << (granule % 64))
    }

    /// Whether an object at `index`, which may be any number, was allocated in the
    /// run and is not in the map yet.
    #[inline]
    pub(super) fn is_noted(&self, index: u32) -> bool {
        self.note(index).is_some_and(|(word, bit)| self.notes.word(word) >> bit & 1 != 0)
    }

    /// A complete copy of the map.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn synced_map(&self) -> Result<LiveMap, HeapError> {
        let mut map = self.map.copy()?;
        let next = self.notes.next();
        if !self.run.is_empty() && next > self.synced && next <= self.run.end {
            for word in self.noted_words(next) {
                let (group, bits) = self.noted(word);
                if bits != 0 {
                    map.group_mut(group)[bits::STARTS] |= bits;
                    map.group_mut(group)[bits::LIVE] |= bits;
                }
            }
            if next < self.run.end {
                map.set_start(next);
            }
        }
        Ok(map)
    }

    /// The numbers of all objects ever allocated, of live objects, and of mature objects.
    pub fn tallies(&self) -> [Count; 3] {
        let mut missing = Count::default();
        let next = self.notes.next();
        if !self.run.is_empty() && next > self.synced && next <= self.run.end {
            let count = |word| u64::from(self.noted(word).1.count_ones());
            missing.objects = self.noted_words(next).map(count).sum();
            missing.bytes = u64::from(next - self.synced);
        }
        let sum = |tallies: &[Count]| Count {
            objects: tallies.iter().map(|tally| tally.objects).sum(),
            bytes: tallies.iter().map(|tally| tally.bytes).sum(),
        };
        [
            sum(&[self.allocations, missing]),
            sum(&[self.young_tally, self.mature_tally, missing]),
            self.mature_tally,
        ]
    }
}
