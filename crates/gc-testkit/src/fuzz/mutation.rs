//! A mutation of bytes, for tests. A fuzzing engine has better ones.

use crate::random;

/// Changes, leaves out or repeats a few bytes of `input`. The result has at most `most` bytes.
pub(super) fn bytes(input: &[u8], most: usize, seed: u32) -> Vec<u8> {
    let mut choices = random::bytes(seed.into(), 256).into_iter();
    let mut choose = |below: usize| {
        let mut word = [0; 4];
        word.fill_with(|| choices.next().unwrap_or(0));
        u32::from_le_bytes(word) as usize % below.max(1)
    };
    let mut bytes = input.to_vec();
    for _ in 0..=choose(8) {
        let at = choose(bytes.len());
        let end = at + choose(bytes.len() - at).min(16);
        match choose(4) {
            0 => bytes.insert(at, choose(256) as u8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(
                bytes.splice(at..at, input[at.min(input.len())..end.min(input.len())].to_vec()),
            ),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = choose(256) as u8;
                }
            }
        }
    }
    bytes.truncate(most);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_and_follow_from_the_seed() {
        let input = random::bytes(1, 100);
        for seed in 0..100 {
            let mutated = bytes(&input, 90, seed);
            assert!(mutated.len() <= 90);
            assert_eq!(mutated, bytes(&input, 90, seed));
            bytes(&[], 90, seed);
        }
        let other = (0..100).filter(|seed| bytes(&input, 200, *seed) != input).count();
        assert!(other > 90);
    }
}
