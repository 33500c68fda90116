//! Linux: the stack of a thread, files to wait for, and processors that execute new code.
#![allow(unsafe_code)]

use anyhow::{Context as _, Result};
use rustix::event::{EventfdFlags, eventfd};
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Once, OnceLock};

/// The code of a signal with which the kernel says no more than that an address is one that no page can have.
pub(crate) const SI_KERNEL: libc::c_int = 0x80;

/// The error number of the last system call of this thread, which a signal handler must not change.
///
/// # Safety
/// The caller does not use it on another thread.
pub(crate) unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: it returns an address.
    unsafe { libc::__errno_location() }
}

/// The addresses of the stack of this thread. `None` if the system does not tell.
pub(crate) fn this_thread_stack() -> Option<Range<usize>> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the calls ask about the calling thread. The attributes are initialised if and only if
    // the first call succeeds, and they are destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let mut lowest = std::ptr::null_mut();
        let mut size = 0;
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (found == 0).then(|| lowest.addr()..lowest.addr() + size)
    }
}

/// A file that becomes readable when it is signalled.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> Result<Event> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Event(eventfd(0, flags).context("making a file to wait for an interrupt")?))
    }

    /// Makes it readable.
    pub(crate) fn signal(&self) {
        // If its count is at its maximum, it is readable.
        let _full = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        // It is empty if it was never signalled.
        let _empty = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// The file.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes all threads of the process forget instructions that they have fetched, before they execute another one
/// (`membarrier(2)`). Processors with coherent caches of instructions do not need it.
#[cfg_attr(target_arch = "x86_64", expect(dead_code, reason = "its caches are coherent"))]
pub(crate) fn synchronize_threads() {
    // `linux/membarrier.h`.
    const GLOBAL: libc::c_int = 1;
    const PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 5;
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 6;
    // SAFETY: the call has no effect on memory.
    let barrier =
        |command: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 };
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| barrier(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE));
    // Linux before 4.16 and filters of system calls have no such barrier. The other one waits until each processor has
    // switched threads, which synchronizes it too. It takes some milliseconds.
    let synchronized = (registered && barrier(PRIVATE_EXPEDITED_SYNC_CORE)) || barrier(GLOBAL);
    if !synchronized {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            log::warn!(
                "the system refuses `membarrier`: publish code before other threads run code"
            );
        });
    }
}
