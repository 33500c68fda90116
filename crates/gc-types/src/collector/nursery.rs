//! A nursery: the part of a heap in which objects are born. It is at the heap's begin, and has its final size from
//! the start, so that emitted code can test with constants whether a reference refers into it: with one subtraction
//! and one unsigned comparison, which also exclude null and most `i31`s.

use crate::NULL_PAGE_SIZE;

/// The option for the nursery's size in bytes.
pub const NURSERY: &str = "nursery";
/// The index at which the nursery begins.
pub const NURSERY_START: u32 = NULL_PAGE_SIZE;
/// The size of a nursery, in bytes, is a multiple of this.
pub const NURSERY_ALIGN: u32 = 4 << 10;
/// The maximum number of bytes of a nursery.
pub const MAX_NURSERY: u32 = 256 << 20;

/// The bytes of addresses of a nursery, if the option is `requested` bytes: whole units of [`NURSERY_ALIGN`], at most
/// [`MAX_NURSERY`]. They do not depend on the size of the heap, so neither does emitted code. A heap uses a part of
/// them.
pub const fn nursery_size(requested: u64) -> u32 {
    let size = if requested > MAX_NURSERY as u64 { MAX_NURSERY as u64 } else { requested };
    (size / NURSERY_ALIGN as u64) as u32 * NURSERY_ALIGN
}

/// Whether the reference `word` refers into a nursery of `size` bytes.
pub const fn is_young(word: u32, size: u32) -> bool {
    word.wrapping_sub(NURSERY_START) < size && word & crate::I31::TAG == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nursery_has_whole_units_and_a_bound() {
        assert_eq!(nursery_size(4 << 20), 4 << 20);
        assert_eq!(nursery_size((1 << 20) + 5), 1 << 20);
        assert_eq!(nursery_size(u64::MAX), MAX_NURSERY);
        assert_eq!([0, 1, 4095].map(nursery_size), [0; 3]);
    }

    #[test]
    fn null_and_tagged_words_are_not_young() {
        let size = 1 << 20;
        assert!(is_young(NURSERY_START, size) && is_young(NURSERY_START + size - 8, size));
        for word in [0, 1, NURSERY_START - 8, NURSERY_START + 1, NURSERY_START + size, u32::MAX] {
            assert!(!is_young(word, size), "{word:#x}");
        }
        assert!(!is_young(NURSERY_START, 0));
    }
}
