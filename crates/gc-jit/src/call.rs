//! [`call`]: into compiled code and back, however it ends.
#![allow(unsafe_code)]

use crate::guard::Pending;
use crate::{
    Activation, CallError, EntryTrampoline, HostFunction, JitStore, TrapError, VMStoreContext,
    arch, stack,
};
use anyhow::anyhow;
use gc_types::{EntryStatus, HostCall, Trap, ValRaw};

/// Calls compiled code: `code` with `vmctx`, its arguments taken from `values`, its
/// results left there. `values` has at least [`EntryTrampoline::slots`] slots.
///
/// The store is lent to the call: host functions that the code calls get it back as `&mut S`.
///
/// A Rust panic in a host function is resumed here, when the compiled frames are gone.
/// So is one of a host value that was dropped meanwhile
/// ([`GcStore::resume_host_panic`](gc_runtime::GcStore::resume_host_panic)), however
/// the call ends; but if a host function panicked, it waits.
///
/// # Errors
/// If the code traps or a host function it calls fails. Its frames are then gone; the
/// store and its heap can still be used.
///
/// # Safety
/// - `code` is a published function of the signature the trampoline was made for,
///   compiled with a stack limit, and kept alive during the call with all it can reach;
///   `vmctx` is the one it expects, of this store.
/// - The arguments are values of the parameters' types; references among them belong
///   to this store and were exposed to compiled code.
pub unsafe fn call<S: JitStore>(
    store: &mut S,
    trampoline: &EntryTrampoline,
    code: *const u8,
    vmctx: *mut u8,
    values: &mut [ValRaw],
) -> Result<(), CallError> {
    if values.len() < trampoline.slots() {
        return Err(CallError::Host(anyhow!(
            "a call with {} slots for {} values",
            values.len(),
            trampoline.slots()
        )));
    }
    let handler = (trampoline.handler_pc(), trampoline.frame_offset());
    let enter = |context: &VMStoreContext, activation| {
        let outer = stack::set_running(context);
        // SAFETY: as the caller promises; the activation is on the stack.
        let status = unsafe { trampoline.function()(activation, code, vmctx, values.as_mut_ptr()) };
        stack::set_running(outer);
        status
    };
    activate(store, handler, enter)
}

/// Calls a host function as compiled code would, but without any: `function` with its
/// `context`, its arguments taken from `values`, its results left there. It fails and
/// panics as in [`call`].
///
/// # Errors
/// If the host function fails, or too little of the stack is left.
///
/// # Safety
/// `context` is what `function` expects, of this store, and `values` holds as many slots as
/// its arguments and results need, the arguments as it expects them.
pub unsafe fn call_host<S: JitStore>(
    store: &mut S,
    function: HostFunction,
    context: *mut u8,
    values: &mut [ValRaw],
) -> Result<(), CallError> {
    // No compiled code runs in the activation but what the host function calls, which has
    // activations of its own: nothing resumes in this one.
    activate(store, (0, 0), |_, _| match function(context, values.as_mut_ptr()) {
        HostCall::FAILED => EntryStatus::HOST,
        _ => EntryStatus::OK,
    })
}

/// Does `run` in an activation of the store's, by which host functions find it. Traps and
/// host errors resume at `handler`: an address, and the bytes from its stack pointer up to
/// the frame pointer of the entry trampoline.
#[inline(always)]
fn activate<S: JitStore>(
    store: &mut S,
    handler: (usize, usize),
    run: impl FnOnce(&VMStoreContext, *mut Activation) -> u64,
) -> Result<(), CallError> {
    let jit = store.jit();
    let context: *const VMStoreContext = jit.context();
    if !jit.context().enter_stack(jit.max_stack()) {
        // SAFETY: the store has the context, and is not dropped while its code runs.
        let context = unsafe { &*context };
        return context.with_stack_suspended(|| {
            context.enter_stack(store.jit().max_stack());
            activate_here(store, handler, run)
        });
    }
    activate_here(store, handler, run)
}

/// [`activate`] on the stack that runs.
#[inline(always)]
fn activate_here<S: JitStore>(
    store: &mut S,
    (handler_pc, frame_offset): (usize, usize),
    run: impl FnOnce(&VMStoreContext, *mut Activation) -> u64,
) -> Result<(), CallError> {
    let context: *const VMStoreContext = store.jit().context();
    // SAFETY: the store has the context, and is not dropped while its code runs.
    let context = unsafe { &*context };
    // Compiled code checks its own frames; between them are the host's.
    if arch::stack_pointer() < context.stack.limit.get() {
        return Err(CallError::Trap(TrapError {
            trap: Trap::StackOverflow,
            detail: None,
            backtrace: store.jit().backtrace(),
        }));
    }
    // From here on the store is used through this pointer alone, by host functions too.
    let store: *mut S = store;
    let mut activation = Activation {
        previous: context.stack.activation.get(),
        entry_fp: 0,
        handler_pc,
        frame_offset,
        saved_last_exit_fp: context.stack.last_exit_fp.get(),
        store: store.cast(),
    };
    let (previous, last_exit_fp) = (activation.previous, activation.saved_last_exit_fp);
    let current = &raw mut activation;
    context.stack.activation.set(current);
    context.stack.last_exit_fp.set(0);
    let status = run(context, current);
    context.stack.activation.set(previous);
    context.stack.last_exit_fp.set(last_exit_fp);
    // SAFETY: the references that host functions got of the store are gone.
    let store = unsafe { &mut *store };
    let result = match status {
        EntryStatus::OK => Ok(()),
        _ => Err(failure(store, status)),
    };
    // Not before everything is as it was before the call.
    store.jit_mut().gc_mut().resume_host_panic();
    result
}

/// Why a call ended with `status`.
#[cold]
fn failure<S: JitStore>(store: &mut S, status: u64) -> CallError {
    if status == EntryStatus::HOST {
        return match store.jit_mut().take_pending() {
            Some(Pending::Error(error)) => error,
            Some(Pending::Panic(payload)) => std::panic::resume_unwind(payload),
            None => CallError::Host(anyhow!("a host function failed without saying why")),
        };
    }
    match u8::try_from(status).ok().and_then(Trap::from_code) {
        Some(trap) => {
            let backtrace = store.jit().context().traced.symbolize();
            CallError::Trap(TrapError { trap, detail: None, backtrace })
        }
        None => CallError::Host(anyhow!("compiled code ended with unknown status {status}")),
    }
}
