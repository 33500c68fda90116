//! aarch64: prefetches. The rest is portable: the compiler makes vector instructions of it, and no slow cases of the C
//! library are known.

use std::arch::asm;

/// Prefetches what is at `pointer`, which may be any number.
#[inline(always)]
pub(crate) fn prefetch(pointer: *const u8) {
    // SAFETY: it never faults.
    unsafe {
        asm!("prfm pldl1keep, [{}]", in(reg) pointer, options(nostack, readonly, preserves_flags));
    }
}

/// Prefetches what is at `pointer`, which may be any number, because it will be written.
#[inline(always)]
pub(crate) fn prefetch_for_write(pointer: *const u8) {
    // SAFETY: it never faults.
    unsafe {
        asm!("prfm pstl1keep, [{}]", in(reg) pointer, options(nostack, readonly, preserves_flags));
    }
}
