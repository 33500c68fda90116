//! Linux: reserves, commits, zeroes and releases pages.

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};
use std::ptr::NonNull;
use std::time::Duration;

/// Bytes of a page. This is not that of `rustix`, which reads the kernel's vDSO. Under valgrind that is
/// not mapped.
pub(crate) fn page_size() -> usize {
    region::page::size()
}

/// Reserves inaccessible address space.
pub(crate) fn reserve(bytes: usize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: a private mapping at an address that the system picks touches no existing memory.
    let base = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    Ok(NonNull::new(base?.cast()).expect("a mapping is not at address zero"))
}

/// Makes bytes accessible. They are zero if they were never accessible, or were decommitted.
///
/// # Safety
/// The range is page-aligned and inside one of our reservations.
pub(crate) unsafe fn commit(at: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { rustix::mm::mprotect(at.cast(), bytes, MprotectFlags::READ | MprotectFlags::WRITE) }
}

/// Makes bytes inaccessible and gives their pages back.
///
/// # Safety
/// The range is page-aligned and inside one of our reservations, and nobody uses it any more.
pub(crate) unsafe fn decommit(at: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's. Only Linux promises zeroes after MADV_DONTNEED.
    unsafe {
        zero(at, bytes);
        rustix::mm::mprotect(at.cast(), bytes, MprotectFlags::empty())
    }
}

/// Makes accessible bytes zero and gives their pages back, if the system can.
///
/// # Safety
/// The range is page-aligned and accessible, and nobody holds references to it.
pub(crate) unsafe fn zero(at: *mut u8, bytes: usize) {
    // Only Linux promises zeroes after MADV_DONTNEED.
    // SAFETY: the caller's.
    let given_back =
        unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxDontNeed) }.is_ok();
    if !given_back {
        // SAFETY: the caller's.
        unsafe { at.write_bytes(0, bytes) };
    }
}

/// Bytes of a huge page.
pub(crate) const HUGE_PAGE: u64 = 2 << 20;

/// Asks for huge pages in a range that will be written. It is only a hint.
///
/// # Safety
/// The range is page-aligned and inside one of our reservations.
pub(crate) unsafe fn advise_huge(at: *mut u8, bytes: usize) {
    // SAFETY: the caller's. The contents do not change.
    if let Err(error) = unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxHugepage) } {
        // Not every kernel has them.
        log::trace!("no huge pages: {error}");
    }
}

/// Whether the system can [touch](touch) pages. An old one may refuse nevertheless.
pub(crate) const CAN_TOUCH: bool = true;

/// Makes the system provide memory for a range, as if each page was written. It changes no byte.
/// Returns whether the system knows how.
///
/// # Safety
/// The range is page-aligned and inside one of our reservations.
pub(crate) unsafe fn touch(at: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's. The contents do not change.
    match unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxPopulateWrite) } {
        // Before Linux 5.14.
        Err(Errno::INVAL) => false,
        Err(error) => {
            log::trace!("{bytes} bytes are not touched ahead: {error}");
            true
        }
        Ok(()) => true,
    }
}

/// Sets the lowest bit of the `n`th entry of `pages` if the `n`th page is in physical memory now.
/// A page that is not may still have been written: the system may have swapped it out. Returns
/// whether the system can tell.
///
/// # Safety
/// The range is page-aligned and inside one of our reservations. `pages` has an entry for each of
/// its pages.
pub(crate) unsafe fn resident(at: *mut u8, bytes: usize, pages: &mut [u8]) -> bool {
    debug_assert!(pages.len() * page_size() >= bytes);
    // SAFETY: the caller's.
    unsafe { libc::mincore(at.cast(), bytes, pages.as_mut_ptr().cast()) == 0 }
}

/// Releases address space.
///
/// # Safety
/// The range is one of our whole reservations, and nobody uses it any more.
pub(crate) unsafe fn release(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's.
    if let Err(error) = unsafe { rustix::mm::munmap(base.as_ptr().cast(), bytes) } {
        log::error!("unmapping {bytes} bytes: {error}");
    }
}

/// The time for which this thread has used a processor. Unlike wall-clock time, it does not grow while
/// other processes use the processor. Each call takes some 200 ns.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
