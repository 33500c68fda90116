//! A map of the starts of objects and of the objects that were reached: two bits for each eight
//! bytes of the heap, in native memory.
//!
//! Only the start bits decide what is an object. A reference from a corrupt heap is followed only
//! if an object begins where it points. (Bitmaps beside the heap are as old as mark-sweep; see
//! Jones, Hosking and Moss, "The Garbage Collection Handbook", 2012, section 2.4.) Both bits of an
//! object are in one cache line, because marking reads one before it sets the other.

use super::zeros;
use crate::ZeroedVec;

/// log2 of the number of bytes for each bit.
const GRANULE_SHIFT: u32 = 3;
/// log2 of the bytes of heap that one pair of words covers.
const WORD_SHIFT: u32 = GRANULE_SHIFT + 6;
/// Bytes of heap that one pair of words covers.
pub const WORD_BYTES: u32 = 1 << WORD_SHIFT;

/// Start and mark bits of [`WORD_BYTES`] of heap.
type Pair = [u64; 2];
/// The place of the start bits, and that of the mark bits.
const STARTS: usize = 0;
const MARKS: usize = 1;

/// The result of [`ObjectMap::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The object was not marked before. Now it is marked.
    New,
    /// The object was marked before.
    Old,
    /// No object begins there.
    NoObject,
}

/// The map. Indices are in bytes from the heap's base.
///
/// # Examples
/// ```
/// use gc_heap::space::object_map::{Mark, ObjectMap};
///
/// let mut map = ObjectMap::default();
/// map.extend(0x20000);
/// map.set_start(0x10000, false);
/// assert_eq!(map.mark(0x10000), Mark::New);
/// assert_eq!(map.mark(0x10000), Mark::Old);
/// assert_eq!(map.mark(0x10008), Mark::NoObject);
/// ```
#[derive(Debug)]
pub struct ObjectMap {
    pairs: ZeroedVec<Pair>,
    /// The most pairs that there can be.
    most: usize,
}

/// A map of a heap of any size.
impl Default for ObjectMap {
    fn default() -> ObjectMap {
        ObjectMap::with_maximum(1 << 32)
    }
}

impl ObjectMap {
    /// A map of a heap that never has more than `maximum` bytes.
    pub fn with_maximum(maximum: u64) -> ObjectMap {
        let most = maximum.div_ceil(u64::from(WORD_BYTES)) as usize;
        ObjectMap { pairs: zeros::empty(), most }
    }

    /// Extends the map to cover the heap up to `end`.
    pub fn extend(&mut self, end: u64) {
        let pairs = end.div_ceil(u64::from(WORD_BYTES)) as usize;
        zeros::extend(&mut self.pairs, pairs, self.most);
    }

    /// Forgets all objects.
    pub fn clear(&mut self) {
        zeros::clear(&mut self.pairs);
    }

    #[inline(always)]
    fn place(index: u32) -> (usize, u64) {
        ((index >> WORD_SHIFT) as usize, 1 << (index >> GRANULE_SHIFT & 63))
    }

    /// Whether an object begins at `index`, which may be any number.
    #[inline]
    pub fn is_start(&self, index: u32) -> bool {
        let (word, bit) = ObjectMap::place(index);
        index & 7 == 0 && self.pairs.get(word).is_some_and(|pair| pair[STARTS] & bit != 0)
    }

    /// Whether the object that begins at `index` is marked.
    #[inline]
    pub fn is_marked(&self, index: u32) -> bool {
        let (word, bit) = ObjectMap::place(index);
        self.pairs.get(word).is_some_and(|pair| pair[MARKS] & bit != 0)
    }

    /// Records that an object begins at `index`, a multiple of 8 that the map covers. `marked` is
    /// its mark.
    #[inline]
    pub fn set_start(&mut self, index: u32, marked: bool) {
        let (word, bit) = ObjectMap::place(index);
        let pair = &mut self.pairs[word];
        pair[STARTS] |= bit;
        if marked {
            pair[MARKS] |= bit;
        }
    }

    /// Removes the object that begins at `index`.
    pub fn clear_start(&mut self, index: u32) {
        let (word, bit) = ObjectMap::place(index);
        let pair = &mut self.pairs[word];
        pair[STARTS] &= !bit;
        pair[MARKS] &= !bit;
    }

    /// Removes every object from `start` up to `end` (multiples of [`WORD_BYTES`]), if the map covers them.
    pub fn clear_range(&mut self, start: u32, end: u32) {
        let pairs = (start >> WORD_SHIFT) as usize..(end >> WORD_SHIFT) as usize;
        self.pairs.get_mut(pairs).unwrap_or_default().fill(Pair::default());
    }

    /// Marks the object that begins at `index`, which may be any number.
    #[inline]
    pub fn mark(&mut self, index: u32) -> Mark {
        let (word, bit) = ObjectMap::place(index);
        match self.pairs.get_mut(word) {
            Some(pair) if index & 7 == 0 && pair[STARTS] & bit != 0 => {
                let was = pair[MARKS] & bit;
                pair[MARKS] |= bit;
                if was == 0 { Mark::New } else { Mark::Old }
            }
            _ => Mark::NoObject,
        }
    }

    /// Unmarks the object that begins at `index`.
    pub fn unmark(&mut self, index: u32) {
        let (word, bit) = ObjectMap::place(index);
        if let Some(pair) = self.pairs.get_mut(word) {
            pair[MARKS] &= !bit;
        }
    }

    /// Unmarks every object.
    pub fn clear_marks(&mut self) {
        for pair in self.pairs.iter_mut().filter(|pair| pair[MARKS] != 0) {
            pair[MARKS] = 0;
        }
    }

    /// The first object that is marked.
    pub fn first_marked(&self) -> Option<u32> {
        let word = self.pairs.iter().position(|pair| pair[MARKS] != 0)?;
        let bit = self.pairs[word][MARKS].trailing_zeros();
        Some(((word as u32) << WORD_SHIFT) + (bit << GRANULE_SHIFT))
    }

    /// Removes every unmarked object from `start` up to `end` (multiples of [`WORD_BYTES`]) and
    /// unmarks the others. Returns the number of the others.
    pub fn sweep(&mut self, start: u32, end: u32) -> u32 {
        let mut live = 0;
        for pair in &mut self.pairs[(start >> WORD_SHIFT) as usize..(end >> WORD_SHIFT) as usize] {
            live += pair[MARKS].count_ones();
            *pair = [pair[MARKS], 0];
        }
        live
    }

    /// The starts of the objects from `start` up to `end`, ascending.
    pub fn starts(&self, start: u32, end: u32) -> Starts<'_> {
        let (word, bit) = ObjectMap::place(start.saturating_add(7));
        let bits = self.pairs.get(word).map_or(0, |pair| pair[STARTS] & !(bit - 1));
        Starts { map: self, word, bits, end }
    }

    /// The start bits of the `bytes` bytes from `index` on: one bit for each eight bytes. `bytes` is
    /// a power of two from 8 to [`WORD_BYTES`], and `index` is a multiple of it.
    #[inline]
    pub fn starts_on(&self, index: u32, bytes: u32) -> u64 {
        debug_assert!(
            bytes.is_power_of_two() && bytes <= WORD_BYTES && index.is_multiple_of(bytes)
        );
        let (word, bit) = (index >> WORD_SHIFT, (index % WORD_BYTES) >> GRANULE_SHIFT);
        let starts = self.pairs.get(word as usize).map_or(0, |pair| pair[STARTS]);
        (starts >> bit) & (u64::MAX >> (64 - (bytes >> GRANULE_SHIFT)))
    }

    /// Fetches the bits of `index`, which may be any number.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        let pair = self.pairs.as_ptr().wrapping_add((index >> WORD_SHIFT) as usize);
        crate::arch::prefetch(pair.cast());
    }

    /// The last object that begins before `index` and not before `floor`.
    pub fn start_before(&self, index: u32, floor: u32) -> Option<u32> {
        let (mut word, bit) = ObjectMap::place(index);
        let last = (floor >> WORD_SHIFT) as usize;
        let mut bits = self.pairs.get(word)?[STARTS] & (bit - 1);
        loop {
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                let at = ((word as u32) << WORD_SHIFT) + (bit << GRANULE_SHIFT);
                return (at >= floor).then_some(at);
            }
            word = word.checked_sub(1).filter(|&word| word >= last)?;
            bits = self.pairs[word][STARTS];
        }
    }
}

/// Iterates over the starts of objects.
#[derive(Clone, Debug)]
pub struct Starts<'a> {
    map: &'a ObjectMap,
    word: usize,
    bits: u64,
    end: u32,
}

impl Iterator for Starts<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.bits == 0 {
            self.word += 1;
            if (self.word as u64) << WORD_SHIFT >= u64::from(self.end) {
                return None;
            }
            self.bits = self.map.pairs.get(self.word)?[STARTS];
        }
        let bit = self.bits.trailing_zeros();
        let at = ((self.word as u32) << WORD_SHIFT) + (bit << GRANULE_SHIFT);
        self.bits &= self.bits - 1;
        (at < self.end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_begin_where_they_were_said_to() {
        let mut map = ObjectMap::default();
        map.extend(8192);
        let starts = [64, 72, 504, 512, 1024, 4096, 8184];
        starts.iter().for_each(|&at| map.set_start(at, false));
        assert_eq!(map.starts(0, 8192).collect::<Vec<_>>(), starts);
        assert_eq!(map.starts(72, 512).collect::<Vec<_>>(), [72, 504]);
        assert_eq!(map.starts(73, 1025).collect::<Vec<_>>(), [504, 512, 1024]);
        assert_eq!(map.starts(1032, 4096).next(), None);
        assert_eq!(map.start_before(4096, 0), Some(1024));
        assert_eq!(map.start_before(1024, 600), None);
        assert_eq!(map.start_before(512, 512), None);
        assert_eq!(map.start_before(513 + 7, 512), Some(512));
        assert_eq!(map.start_before(64, 0), None);
    }

    #[test]
    fn any_number_may_be_asked_for() {
        let mut map = ObjectMap::default();
        map.extend(1024);
        map.set_start(64, false);
        for index in [0, 1, 63, 65, 68, 72, 1024, 4096, u32::MAX, u32::MAX - 7] {
            assert!(!map.is_start(index), "{index}");
            assert_eq!(map.mark(index), Mark::NoObject, "{index}");
        }
        assert!(map.is_start(64));
        assert_eq!((map.mark(64), map.mark(64)), (Mark::New, Mark::Old));
    }

    #[test]
    fn what_is_not_marked_ends() {
        let mut map = ObjectMap::default();
        map.extend(4096);
        for at in [0, 8, 512, 1024, 2048] {
            map.set_start(at, at == 8);
        }
        map.mark(1024);
        map.mark(2048);
        assert_eq!(map.first_marked(), Some(8));
        assert_eq!(map.sweep(0, 2048), 2);
        assert_eq!(map.starts(0, 4096).collect::<Vec<_>>(), [8, 1024, 2048]);
        assert!(map.is_marked(2048) && !map.is_marked(8));
        map.unmark(2048);
        map.clear_start(8);
        assert_eq!(map.first_marked(), None);
        assert_eq!(map.starts(0, 4096).collect::<Vec<_>>(), [1024, 2048]);
    }
}
