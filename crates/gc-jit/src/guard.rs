//! Host code called by compiled code: what it may throw, kept until the activation
//! has been unwound.
//!
//! Neither a Rust error nor a Rust panic can travel through compiled frames. A host
//! function's shim runs inside [`host_call_guard`], which keeps either in the store and
//! returns the sentinel that makes the trampoline resume at the entry, where
//! [`call`](crate::call) picks it up.
//!
//! This is also the one place where a vmctx becomes a reference to a store.
#![allow(unsafe_code)]

use crate::{CallError, JitStore, TrapError, VMContextPrefix};
use gc_runtime::HeapError;
use gc_types::{HostCall, Trap};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why an activation is being unwound.
pub(crate) enum Pending {
    Error(CallError),
    Panic(Box<dyn Any + Send>),
}

/// The store that compiled code of `vmctx` was called with.
///
/// # Safety
/// `vmctx` is what compiled code passed to the host function that this is called in: it
/// begins with a [`VMContextPrefix`] of a store of type `S` that is inside
/// [`call`](crate::call) on this thread, and no other reference to that store is used while
/// the result is.
unsafe fn store_of<'a, S: JitStore>(vmctx: *mut u8) -> &'a mut S {
    // SAFETY: as the caller promises; an active store has an activation, which holds the
    // pointer that its call keeps the store by.
    unsafe {
        let context = &*(*vmctx.cast::<VMContextPrefix>()).store_context;
        &mut *(*context.stack.activation.get()).store.cast::<S>()
    }
}

/// Runs the body of a host function, which gets the store that its caller runs over. Its
/// result, or [`HostCall::FAILED`] if it failed or panicked, is what the host function
/// returns.
///
/// An error that is a [`Trap`], a [`TrapError`] or a [`HeapError`] (with no context put
/// around it) ends the call as a trap, anything else as [`CallError::Host`]. A panic is
/// resumed in the host function's host, past the compiled frames.
///
/// # Safety
/// `vmctx` is what compiled code passed to the host function this is called in: it
/// begins with a [`VMContextPrefix`] of a store of type `S` that is inside
/// [`call`](crate::call) on this thread, and no other reference to that store is in use.
pub unsafe fn host_call_guard<S: JitStore>(
    vmctx: *mut u8,
    body: impl FnOnce(&mut S) -> anyhow::Result<u64>,
) -> u64 {
    // SAFETY: as the caller promises.
    let store = unsafe { store_of::<S>(vmctx) };
    let pending = match catch_unwind(AssertUnwindSafe(|| body(store))) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => Pending::Error(classify(store, error)),
        Err(payload) => Pending::Panic(payload),
    };
    store.jit_mut().set_pending(pending);
    HostCall::FAILED
}

/// Runs the body of a host function that cannot fail: a panic in it aborts the process.
/// (Those of host values that are dropped do not come out of the heap here: see
/// [`GcStore::resume_host_panic`](gc_runtime::GcStore::resume_host_panic).)
///
/// # Safety
/// As for [`host_call_guard`].
pub unsafe fn host_call_guard_infallible<S: JitStore>(
    vmctx: *mut u8,
    body: impl FnOnce(&mut S) -> u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let store = unsafe { store_of::<S>(vmctx) };
    catch_unwind(AssertUnwindSafe(|| body(store))).unwrap_or_else(|_| std::process::abort())
}

/// What a heap's refusal is to compiled code.
pub(crate) fn trap_of(error: &HeapError) -> Trap {
    match error {
        HeapError::TooLarge { .. } => Trap::AllocationTooLarge,
        HeapError::OutOfBounds { .. } => Trap::ArrayOutOfBounds,
        HeapError::NeedsRoom { .. }
        | HeapError::OutOfMemory { .. }
        | HeapError::Refused { .. }
        | HeapError::System { .. } => Trap::OutOfMemory,
        // Types, kinds and references come from the heap, in the end.
        _ => Trap::CorruptHeap,
    }
}

/// What `error` is to the caller of the activation it ends.
fn classify<S: JitStore>(store: &S, error: anyhow::Error) -> CallError {
    let trap = |trap, detail| {
        CallError::Trap(TrapError { trap, detail, backtrace: store.jit().backtrace() })
    };
    // Only the outermost error counts: with context around it, it says more than a trap
    // could.
    let outermost = error.chain().next();
    if outermost.is_some_and(|e| e.is::<CallError>()) {
        return error.downcast().unwrap_or_else(CallError::Host);
    }
    if outermost.is_some_and(|e| e.is::<TrapError>()) {
        return error.downcast().map_or_else(CallError::Host, CallError::Trap);
    }
    if let Some(why) = outermost.and_then(|e| e.downcast_ref::<Trap>()) {
        return trap(*why, None);
    }
    if let Some(why) = outermost.and_then(|e| e.downcast_ref::<HeapError>()) {
        return trap(trap_of(why), Some(why.clone()));
    }
    CallError::Host(error)
}
