//! [`Activation`]: one call of a store into compiled code, from the entry trampoline until it returns. Activations nest: compiled code calls the host, and the host calls compiled code again.

/// One call into compiled code. It lives on the host's stack, in the frame of the
/// [`call`](crate::call) that made it.
#[derive(Debug)]
#[repr(C)]
pub struct Activation {
    /// The activation below this one, on the same stack.
    pub previous: *mut Activation,
    /// The entry trampoline's frame pointer. The trampoline writes it; before that it is zero. It
    /// stays zero when the host calls a host function.
    pub entry_fp: usize,
    /// The address where execution resumes after a trap or a host error.
    pub handler_pc: usize,
    /// Bytes from the handler's stack pointer up to `entry_fp`.
    pub frame_offset: usize,
    /// The stack's `last_exit_fp` when this activation began: the place where the activation below
    /// was left.
    pub saved_last_exit_fp: usize,
}
