//! [`Activation`]: one stay of a store in compiled code, from an entry trampoline
//! until it returns. They nest: compiled code calls the host, which calls compiled
//! code again.

/// One stay in compiled code. It lives on the host's stack, in the frame of the
/// [`call`](crate::call) that made it.
#[derive(Debug)]
#[repr(C)]
pub struct Activation {
    /// The activation below this one, on the same stack.
    pub previous: *mut Activation,
    /// The entry trampoline's frame pointer, written by itself. Zero before, and for good
    /// where the host calls the host.
    pub entry_fp: usize,
    /// Where traps and host errors resume.
    pub handler_pc: usize,
    /// Bytes from the handler's stack pointer up to `entry_fp`.
    pub frame_offset: usize,
    /// What the stack's `last_exit_fp` was when this one began: where the activation
    /// below was left.
    pub saved_last_exit_fp: usize,
    /// The store it was called with, of the type that the store's host calls expect. Host
    /// functions get their reference to the store from here.
    pub store: *mut (),
}
