//! Bytes from a seed, the same on every machine, so that a failure can be reproduced from its seed.

/// `length` bytes that depend only on `seed` (SplitMix64: Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators", 2014).
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_the_seed() {
        assert_eq!(bytes(7, 33), bytes(7, 33));
        assert_eq!(bytes(7, 33)[..10], bytes(7, 10)[..]);
        assert_ne!(bytes(7, 33), bytes(8, 33));
        assert_eq!(bytes(0, 8), 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
