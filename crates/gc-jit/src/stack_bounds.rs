//! How far down this thread's stack may be used.
#![allow(unsafe_code)]

use std::cell::Cell;

/// Stack that is kept for the host below compiled code's limit: host functions,
/// collectors and signal handlers run there. A thread whose stack is small keeps a
/// quarter of it.
const HOST_HEADROOM: usize = 256 << 10;

thread_local! {
    /// The answer, once asked for; zero before. Asking the system is slow.
    static LOWEST: Cell<usize> = const { Cell::new(0) };
}

/// The lowest address compiled code's stack pointer may have on this thread, whatever
/// its own limit says. One (no bound) if the system does not tell.
pub(crate) fn lowest_for_compiled_code() -> usize {
    match LOWEST.get() {
        0 => {
            let lowest = ask().unwrap_or(1);
            LOWEST.set(lowest);
            lowest
        }
        lowest => lowest,
    }
}

fn ask() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: asks about the calling thread; the attributes are initialised if and only
    // if the call succeeds, and are destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let mut lowest = std::ptr::null_mut();
        let mut size = 0;
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (found == 0).then(|| lowest.addr() + HOST_HEADROOM.min(size / 4))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bound_is_below_us_and_not_far() {
        const SIZE: usize = 64 << 20;
        let check = || {
            let (sp, lowest) = (crate::arch::stack_pointer(), super::lowest_for_compiled_code());
            let usable = sp.checked_sub(lowest).expect("the bound is above us");
            assert!((SIZE - (1 << 20)..SIZE).contains(&usable), "{usable}");
        };
        std::thread::Builder::new().stack_size(SIZE).spawn(check).unwrap().join().unwrap();
    }
}
