//! Choices from bytes. When all bytes are used, every choice is the first one.

use gc_testkit::random;

/// A sequence of choices.
#[derive(Clone, Debug)]
pub struct Choices {
    bytes: std::vec::IntoIter<u8>,
}

impl Choices {
    /// The choices that these bytes make.
    pub fn new(bytes: &[u8]) -> Choices {
        Choices { bytes: Vec::from(bytes).into_iter() }
    }

    /// Choices from a seed.
    pub fn seeded(seed: u64) -> Choices {
        Choices { bytes: random::bytes(seed, 1 << 14).into_iter() }
    }

    /// Many choices from the next few bytes.
    pub fn many(&mut self) -> Choices {
        let seed = [self.byte(), self.byte(), self.byte()];
        Choices::seeded(u64::from_le_bytes([seed[0], seed[1], seed[2], 0, 0, 0, 0, 0]))
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    /// The next eight bytes.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// True once in `n` times, and if all bytes are used.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `these`.
    pub fn one_of<T: Clone>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())].clone()
    }
}
