//! Miri, which has no pages. A reservation is one allocation, which is
//! suitable only for small heaps.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub(crate) fn page_size() -> usize {
    4096
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).expect("a reservation's size")
}

pub(crate) fn reserve(bytes: usize) -> Result<NonNull<u8>, &'static str> {
    if bytes == 0 || bytes > 1 << 30 {
        return Err("guarded heaps do not run under Miri");
    }
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).ok_or("out of memory")
}

/// # Safety
/// There are no conditions: the whole allocation exists already.
pub(crate) unsafe fn commit(_at: *mut u8, _bytes: usize) -> Result<(), &'static str> {
    Ok(())
}

/// # Safety
/// The range is in one of our reservations, and nobody uses it any more.
pub(crate) unsafe fn decommit(at: *mut u8, bytes: usize) -> Result<(), &'static str> {
    // SAFETY: the caller's.
    unsafe { zero(at, bytes) };
    Ok(())
}

/// # Safety
/// The range is in one of our reservations.
pub(crate) unsafe fn zero(at: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { at.write_bytes(0, bytes) };
}

pub(crate) const HUGE_PAGE: u64 = 2 << 20;

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(crate) unsafe fn advise_huge(_at: *mut u8, _bytes: usize) {}

pub(crate) const CAN_TOUCH: bool = false;

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(crate) unsafe fn touch(_at: *mut u8, _bytes: usize) -> bool {
    false
}

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(crate) unsafe fn resident(_at: *mut u8, _bytes: usize, _pages: &mut [u8]) -> bool {
    false
}

/// # Safety
/// The range is one of our whole reservations, and nobody uses it any more.
pub(crate) unsafe fn release(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { dealloc(base.as_ptr(), layout(bytes)) };
}

/// Nobody tells the size of the cache.
pub(crate) fn last_level_cache() -> Option<u64> {
    None
}

/// Wall-clock time, because Miri has no other.
pub(crate) fn thread_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
