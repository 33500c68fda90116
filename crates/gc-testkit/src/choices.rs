//! The choices of a generator: from a seed, or from the bytes of a fuzzer's input.

/// Makes choices. Those of the same seed or the same bytes are the same on every machine.
///
/// ```
/// use gc_testkit::choices::Choices;
///
/// let mut choices = Choices::from_bytes(&[7, 1]);
/// assert_eq!(choices.pick(&["a", "b", "c"]), "b");
/// assert_eq!(choices.below(100), 1);
/// // After the last byte all choices are the first ones.
/// assert_eq!(choices.pick(&["a", "b", "c"]), "a");
/// ```
#[derive(Clone, Debug)]
pub struct Choices(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The state of xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
    /// generators, scrambled", 2016).
    Seed(u64),
    /// A choice takes as few bytes as it needs. After the last byte all choices are 0.
    Bytes(std::vec::IntoIter<u8>),
}

impl Choices {
    /// Choices that never end.
    pub fn from_seed(seed: u64) -> Choices {
        Choices(Source::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// A number below `n`.
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        let number = match &mut self.0 {
            Source::Seed(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
            }
            Source::Bytes(bytes) => {
                let mut number = 0;
                let mut largest = n as u64 - 1;
                while largest > 0 {
                    number = number << 8 | u64::from(bytes.next().unwrap_or(0));
                    largest >>= 8;
                }
                number
            }
        };
        (number % n as u64) as usize
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        (self.below(1 << 32) as u64) << 32 | self.below(1 << 32) as u64
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// True once in `n` times, and if all bytes are used.
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Endless choices from the next few bytes.
    pub fn many(&mut self) -> Choices {
        Choices::from_seed(self.below(1 << 24) as u64)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// An element of `from`.
    ///
    /// # Panics
    /// If `from` is empty.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// The choices of an input.
    pub fn from_bytes(bytes: &[u8]) -> Choices {
        Choices(Source::Bytes(Vec::from(bytes).into_iter()))
    }

    /// Whether all bytes are used.
    pub fn is_at_end(&self) -> bool {
        match &self.0 {
            Source::Seed(_) => false,
            Source::Bytes(bytes) => bytes.len() == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_used_as_needed() {
        let mut choices = Choices::from_bytes(&[7, 1, 2, 199, 1, 2, 3, 4]);
        assert_eq!(choices.below(1), 0);
        assert_eq!(choices.below(5), 2);
        assert_eq!(choices.below(1000), 0x0102);
        assert!(!choices.chance(50) && choices.chance(50));
        assert_eq!(choices.word(), 0x0203_0400_0000_0000);
        assert!(choices.is_at_end() && choices.pick(&[5, 6]) == 5);
    }

    #[test]
    fn seeds_differ() {
        let numbers = |seed| {
            let mut choices = Choices::from_seed(seed);
            [(); 9].map(|()| choices.below(100))
        };
        assert_eq!(numbers(3), numbers(3));
        assert_ne!(numbers(3), numbers(4));
        assert!(!Choices::from_seed(3).is_at_end());
    }
}
