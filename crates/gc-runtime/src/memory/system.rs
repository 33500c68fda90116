//! Reserves, commits, zeroes and releases pages of the operating system.
#![allow(unsafe_code)]

use crate::HeapError;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

fn refused(attempt: &str, bytes: usize, error: rustix::io::Errno) -> HeapError {
    HeapError::System { what: format!("{attempt} {bytes} bytes of GC heap: {error}") }
}

pub(super) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

pub(super) fn reserve(bytes: usize) -> Result<*mut u8, HeapError> {
    // SAFETY: a private mapping at an address that the system picks touches no existing memory.
    let base = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    base.map(|base| base.cast()).map_err(|error| refused("reserving", bytes, error))
}

/// # Safety
/// The range is page-aligned, inside one of our reservations, and not yet committed.
pub(super) unsafe fn commit(at: *mut u8, bytes: usize) -> Result<(), HeapError> {
    // SAFETY: the caller's.
    unsafe { rustix::mm::mprotect(at.cast(), bytes, MprotectFlags::READ | MprotectFlags::WRITE) }
        .map_err(|error| refused("mapping", bytes, error))
}

/// # Safety
/// The range is page-aligned and committed, and nobody holds references to it.
pub(super) unsafe fn zero(at: *mut u8, bytes: usize) {
    // Only Linux promises zeroes after MADV_DONTNEED.
    // SAFETY: the caller's.
    let given_back = cfg!(target_os = "linux")
        && unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxDontNeed) }.is_ok();
    if !given_back {
        // SAFETY: the caller's.
        unsafe { at.write_bytes(0, bytes) };
    }
}

/// # Safety
/// The range is one of our whole reservations, and nobody uses it any more.
pub(super) unsafe fn release(base: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    if let Err(error) = unsafe { rustix::mm::munmap(base.cast(), bytes) } {
        log::error!("{}", refused("unmapping", bytes, error));
    }
}
