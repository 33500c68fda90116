//! What marking still has to visit.
//!
//! Marking misses the cache twice for each object: at the object's mark bit and at its header. So
//! both are fetched before they are needed. A reference waits in a short queue while the mark bit is
//! fetched, and a marked object in another one while its header is fetched (Chen-Yong Cher, Antony
//! L. Hosking and T. N. Vijaykumar, "Software Prefetching for Mark-Sweep Garbage Collection", 2004).
//! Between the two queues is a stack. It has only marked objects, so it never has more entries than
//! there are objects, and one for each array.

/// Number of entries in a queue.
const WAITING: usize = 16;

/// A queue of entries whose memory is being fetched.
#[derive(Debug, Default)]
struct Waiting {
    entries: [u64; WAITING],
    first: usize,
    count: usize,
}

impl Waiting {
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.count == WAITING
    }

    /// Adds an entry. The queue is not full.
    #[inline(always)]
    fn push(&mut self, entry: u64) {
        self.entries[(self.first + self.count) % WAITING] = entry;
        self.count += 1;
    }

    /// The oldest entry.
    #[inline(always)]
    fn pop(&mut self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let entry = self.entries[self.first];
        (self.first, self.count) = ((self.first + 1) % WAITING, self.count - 1);
        Some(entry)
    }
}

/// A marked object that is to be scanned from one of its elements on, in the upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grey(u64);

impl Grey {
    #[inline(always)]
    pub(super) fn new(index: u32, from: u32) -> Grey {
        Grey(u64::from(from) << 32 | u64::from(index))
    }

    #[inline(always)]
    pub(super) fn index(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(super) fn from(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// References to be marked, and marked objects to be scanned.
#[derive(Debug, Default)]
pub(super) struct ToMark {
    /// References whose mark bits are being fetched.
    references: Waiting,
    stack: Vec<u64>,
    /// Marked objects whose headers are being fetched.
    grey: Waiting,
}

impl ToMark {
    pub(super) fn clear(&mut self) {
        self.stack.clear();
        self.references.count = 0;
        self.grey.count = 0;
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.stack.is_empty() && self.references.count == 0 && self.grey.count == 0
    }

    /// Adds a marked object.
    #[inline(always)]
    pub(super) fn push(&mut self, object: Grey) {
        self.stack.push(object.0);
    }

    /// Adds a reference whose mark bit is being fetched. If too many wait, returns the oldest one,
    /// which is to be marked now.
    #[inline(always)]
    pub(super) fn wait(&mut self, reference: u32) -> Option<u32> {
        let oldest = if self.references.is_full() { self.reference() } else { None };
        self.references.push(reference.into());
        oldest
    }

    /// The reference that waits longest.
    #[inline(always)]
    pub(super) fn reference(&mut self) -> Option<u32> {
        self.references.pop().map(|reference| reference as u32)
    }

    /// Fills the queue of marked objects from the stack and calls `fetch` for each of them. Returns
    /// whether the queue is full.
    #[inline(always)]
    pub(super) fn fill(&mut self, mut fetch: impl FnMut(Grey)) -> bool {
        while !self.grey.is_full() {
            let Some(object) = self.stack.pop() else { return false };
            fetch(Grey(object));
            self.grey.push(object);
        }
        true
    }

    /// The marked object that waits longest.
    #[inline(always)]
    pub(super) fn grey(&mut self) -> Option<Grey> {
        self.grey.pop().map(Grey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_the_oldest_comes_first() {
        let mut to_mark = ToMark::default();
        assert!(to_mark.is_empty());
        let some = 3 * WAITING as u32;
        // References come out in order, once too many wait.
        let mut out: Vec<u32> = (0..some).filter_map(|n| to_mark.wait(8 * n)).collect();
        assert_eq!(out.len(), some as usize - WAITING);
        out.extend(std::iter::from_fn(|| to_mark.reference()));
        assert_eq!(out, (0..some).map(|n| 8 * n).collect::<Vec<_>>());
        assert!(to_mark.is_empty());
        // Objects come from the top of the stack, and wait in a queue.
        (0..some).for_each(|n| to_mark.push(Grey::new(8 * n, n)));
        let mut fetched = 0;
        let mut seen = 0;
        while {
            to_mark.fill(|_| fetched += 1);
            !to_mark.is_empty()
        } {
            let object = to_mark.grey().unwrap();
            assert_eq!(object, Grey::new(8 * (some - 1 - seen), some - 1 - seen));
            assert_eq!((object.index(), object.from()), (8 * object.from(), some - 1 - seen));
            seen += 1;
        }
        assert_eq!((seen, fetched), (some, some));
        to_mark.push(Grey::new(8, 0));
        assert_eq!(to_mark.wait(16), None);
        to_mark.clear();
        assert!(to_mark.is_empty() && to_mark.grey().is_none() && to_mark.reference().is_none());
    }
}
