//! What Rust's library does on any processor, and under Miri.

/// Which of the words are even and less than `end`: a bit for each of them.
#[inline(always)]
pub(crate) fn even_below(words: &[u32; 16], end: u32) -> u32 {
    (0..).zip(words).map(|(n, &word)| u32::from(word < end && word & 1 == 0) << n).sum()
}

/// Copies `count` bytes. The ranges may overlap.
///
/// # Safety
/// Both ranges must be valid.
pub(crate) unsafe fn copy_range(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's.
    unsafe { from.copy_to(to, count) }
}
