//! [`Activation`]: one stay of a store in compiled code, from an entry trampoline
//! until it returns. They nest: compiled code calls the host, which calls compiled
//! code again.

use crate::JitStore;
use std::cell::Cell;

/// One stay in compiled code. It lives on the host's stack, in
/// [`JitStore::call`](crate::JitStore::call)'s frame.
#[derive(Debug)]
#[repr(C)]
pub struct Activation {
    /// The store's activation below this one.
    pub previous: *mut Activation,
    /// The entry trampoline's frame pointer, written by itself. Zero before, and for good
    /// where the host calls the host.
    pub entry_fp: usize,
    /// Where traps and host errors resume.
    pub handler_pc: usize,
    /// Bytes from the handler's stack pointer up to `entry_fp`.
    pub frame_offset: usize,
    /// What the store context's `last_exit_fp` was when this one began: where the
    /// activation below was left.
    pub saved_last_exit_fp: usize,
    /// Whose activation it is.
    pub store: *mut JitStore,
}

thread_local! {
    /// This thread's innermost activation, of whatever store. The one piece of
    /// thread-local state that code here depends on: a signal handler is given
    /// nothing but the faulting registers and must find the activation from them.
    /// Const-initialised and without a destructor, so that a handler may read it.
    static CURRENT: Cell<*mut Activation> = const { Cell::new(std::ptr::null_mut()) };
}

/// This thread's innermost activation; null if it runs no compiled code.
pub(crate) fn current() -> *mut Activation {
    CURRENT.get()
}

/// Sets this thread's innermost activation, returns what it was.
pub(crate) fn replace_current(activation: *mut Activation) -> *mut Activation {
    CURRENT.replace(activation)
}
