//! Replaces `system.rs` under Miri, which has no pages. A heap is one allocation, which is suitable
//! only for small heaps.
#![allow(unsafe_code)]

use crate::HeapError;
use std::alloc::{Layout, alloc_zeroed, dealloc};

pub(super) fn page_size() -> u64 {
    4096
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).expect("a heap's size")
}

pub(super) fn reserve(bytes: usize) -> Result<*mut u8, HeapError> {
    if bytes > 1 << 30 {
        return Err(HeapError::System { what: "guarded heaps do not run under Miri".into() });
    }
    // SAFETY: heaps are never empty.
    Ok(unsafe { alloc_zeroed(layout(bytes)) })
}

/// # Safety
/// There are no conditions: the whole allocation exists already.
pub(super) unsafe fn commit(_at: *mut u8, _bytes: usize) -> Result<(), HeapError> {
    Ok(())
}

/// # Safety
/// The range is in one of our reservations.
pub(super) unsafe fn zero(at: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { at.write_bytes(0, bytes) };
}

/// # Safety
/// The range is one of our whole reservations, and nobody uses it any more.
pub(super) unsafe fn release(base: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { dealloc(base, layout(bytes)) };
}
