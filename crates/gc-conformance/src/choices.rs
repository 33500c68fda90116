//! The choices of a generator: from a seed, or from the bytes of a fuzzer's input.

/// Makes choices. Those of the same seed or the same bytes are the same on every machine.
pub(crate) enum Choices {
    /// The state of xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
    /// generators, scrambled", 2016).
    Seed(u64),
    /// A choice takes as few bytes as it needs. After the last byte all choices are 0.
    #[cfg_attr(not(feature = "fuzz"), expect(dead_code, reason = "only targets have bytes"))]
    Bytes(std::vec::IntoIter<u8>),
}

impl Choices {
    /// Choices that never end.
    pub(crate) fn from_seed(seed: u64) -> Choices {
        Choices::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`, which is not zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let number = match self {
            Choices::Seed(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
            }
            Choices::Bytes(bytes) => {
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
    pub(crate) fn word(&mut self) -> u32 {
        self.below(1 << 32) as u32
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// An element of `from`, which is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[cfg(feature = "fuzz")]
impl Choices {
    /// The choices of an input.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Choices {
        Choices::Bytes(Vec::from(bytes).into_iter())
    }

    /// Whether all bytes are used.
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Choices::Seed(_) => false,
            Choices::Bytes(bytes) => bytes.len() == 0,
        }
    }
}

#[cfg(all(test, feature = "fuzz"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_used_as_needed() {
        let mut choices = Choices::from_bytes(&[7, 1, 2, 200, 1, 2, 3, 4]);
        assert_eq!(choices.below(1), 0);
        assert_eq!(choices.below(5), 2);
        assert_eq!(choices.below(1000), 0x0102);
        assert!(!choices.chance(50) && choices.chance(50));
        assert_eq!(choices.word(), 0x0203_0400);
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
