//! The part of a native stack that compiled code may use.

use crate::os;

/// Bytes of stack below compiled code's limit that are reserved for the host. Host functions,
/// collectors and signal handlers run there. A thread with a small stack reserves a quarter of it.
const HOST_HEADROOM: usize = 256 << 10;

/// The lowest address for compiled code on a stack that has `size` bytes from `bottom` on.
pub(crate) fn lowest_on(bottom: usize, size: usize) -> usize {
    bottom + HOST_HEADROOM.min(size / 4)
}

/// The lowest address that compiled code's stack pointer may have on the stack of this thread. `None`
/// if the system does not tell.
pub(crate) fn of_this_thread() -> Option<usize> {
    os::this_thread_stack().map(|stack| lowest_on(stack.start, stack.len()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bound_is_below_us_and_not_far() {
        const SIZE: usize = 64 << 20;
        let check = || {
            let (sp, lowest) = (crate::arch::stack_pointer(), super::of_this_thread().unwrap());
            let usable = sp.checked_sub(lowest).expect("the bound is above the stack pointer");
            assert!((SIZE - (1 << 20)..SIZE).contains(&usable), "{usable}");
        };
        std::thread::Builder::new().stack_size(SIZE).spawn(check).unwrap().join().unwrap();
    }
}
