//! A heap of pairs in two halves, and the collector that copies live pairs from one to the other (Cheney, "A
//! nonrecursive list compacting algorithm", 1970).
//!
//! A value is null, an integer `2n + 1`, or the address of a pair. A pair is two values. A pair that was copied has
//! the new address in its first word, with the lowest two bits `10`, which no value has.

/// The words of a pair.
pub const PAIR: usize = 2;

const FORWARDED: u64 = 2;

/// A heap of pairs.
#[derive(Debug)]
pub struct Heap {
    /// Where pairs are allocated.
    space: Box<[u64]>,
    /// The other half.
    other: Box<[u64]>,
    /// The words of `space` in use.
    used: usize,
    /// Collect at every allocation.
    zeal: bool,
    /// How often it was collected.
    pub collections: u64,
}

impl Heap {
    /// A heap with two halves for this number of pairs.
    pub fn new(pairs: usize, zeal: bool) -> Heap {
        let half = || vec![0; pairs * PAIR].into_boxed_slice();
        Heap { space: half(), other: half(), used: 0, zeal, collections: 0 }
    }

    /// Whether a pair can be allocated without a collection.
    pub fn has_room(&self) -> bool {
        !self.zeal && self.used + PAIR <= self.space.len()
    }

    /// Allocates a pair. `None` if the heap is full.
    pub fn pair(&mut self, head: u64, tail: u64) -> Option<u64> {
        let pair = self.space.get_mut(self.used..self.used + PAIR)?;
        self.used += PAIR;
        pair.copy_from_slice(&[head, tail]);
        Some(pair.as_ptr().expose_provenance() as u64)
    }

    /// The place of a pair in `space`. `None` if `value` is no pair of this half.
    fn place(&self, value: u64) -> Option<usize> {
        let offset = value.checked_sub(self.space.as_ptr().addr() as u64)?;
        let word = (offset / 8) as usize;
        (value & 7 == 0 && word < self.used).then_some(word)
    }

    /// Begins a collection. The roots are [forwarded](Copying::forward) then.
    pub fn collect(&mut self) -> Copying<'_> {
        self.collections += 1;
        Copying { to: 0, heap: self }
    }
}

/// A collection.
#[derive(Debug)]
pub struct Copying<'h> {
    heap: &'h mut Heap,
    /// The words of `other` in use.
    to: usize,
}

impl Copying<'_> {
    /// The new address of a pair, which is copied if it was not before. Other values stay as they are.
    ///
    /// # Panics
    /// If the value is the address of what is no pair: a stale reference.
    pub fn forward(&mut self, value: u64) -> u64 {
        if value == 0 || value & 1 != 0 {
            return value;
        }
        let heap = &mut *self.heap;
        let from = heap.place(value).unwrap_or_else(|| panic!("{value:#x} is no pair of the heap"));
        if heap.space[from] & 3 == FORWARDED {
            return heap.space[from] & !3;
        }
        heap.other[self.to..self.to + PAIR].copy_from_slice(&heap.space[from..from + PAIR]);
        let new = heap.other[self.to..].as_ptr().expose_provenance() as u64;
        heap.space[from] = new | FORWARDED;
        self.to += PAIR;
        new
    }

    /// Copies what the copied pairs refer to, and ends the collection.
    pub fn finish(mut self) {
        let mut scanned = 0;
        while scanned < self.to {
            let value = self.heap.other[scanned];
            self.heap.other[scanned] = self.forward(value);
            scanned += 1;
        }
        let heap = self.heap;
        std::mem::swap(&mut heap.space, &mut heap.other);
        heap.used = self.to;
        if heap.zeal {
            // A stale reference leads to what is no value.
            heap.other.fill(6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_copied_and_garbage_is_not() {
        let mut heap = Heap::new(4, true);
        let tail = heap.pair(3, 0).unwrap();
        let list = heap.pair(1, tail).unwrap();
        heap.pair(5, tail).unwrap();
        let mut copying = heap.collect();
        let moved = copying.forward(list);
        assert_eq!(copying.forward(list), moved);
        copying.finish();
        assert_eq!(heap.used, 2 * PAIR);
        let at = heap.place(moved).unwrap();
        assert_eq!(heap.space[at], 1);
        let tail = heap.place(heap.space[at + 1]).unwrap();
        assert_eq!(heap.space[tail..tail + 2], [3, 0]);
    }

    #[test]
    #[should_panic(expected = "is no pair of the heap")]
    fn a_stale_reference_is_found() {
        let mut heap = Heap::new(4, true);
        let stale = heap.pair(1, 0).unwrap();
        heap.collect().finish();
        heap.collect().forward(stale);
    }
}
