//! Replaces `system.rs` under Miri, which has no pages. A reservation is one allocation, which is
//! suitable only for small heaps.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

pub(super) fn page_size() -> usize {
    4096
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).expect("a reservation's size")
}

pub(super) fn reserve(bytes: usize) -> Result<NonNull<u8>, &'static str> {
    if bytes == 0 || bytes > 1 << 30 {
        return Err("guarded heaps do not run under Miri");
    }
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).ok_or("out of memory")
}

/// # Safety
/// There are no conditions: the whole allocation exists already.
pub(super) unsafe fn commit(_at: *mut u8, _bytes: usize) -> Result<(), &'static str> {
    Ok(())
}

/// # Safety
/// The range is in one of our reservations, and nobody uses it any more.
pub(super) unsafe fn decommit(at: *mut u8, bytes: usize) -> Result<(), &'static str> {
    // SAFETY: the caller's.
    unsafe { zero(at, bytes) };
    Ok(())
}

/// # Safety
/// The range is in one of our reservations.
pub(super) unsafe fn zero(at: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { at.write_bytes(0, bytes) };
}

pub(super) const HUGE_PAGE: u64 = 2 << 20;

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(super) unsafe fn advise_huge(_at: *mut u8, _bytes: usize) {}

pub(super) const CAN_TOUCH: bool = false;

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(super) unsafe fn touch(_at: *mut u8, _bytes: usize) -> bool {
    false
}

/// # Safety
/// There are no conditions: nothing is known of pages.
pub(super) unsafe fn resident(_at: *mut u8, _bytes: usize, _pages: &mut [u8]) -> bool {
    false
}

/// # Safety
/// The range is one of our whole reservations, and nobody uses it any more.
pub(super) unsafe fn release(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { dealloc(base.as_ptr(), layout(bytes)) };
}
