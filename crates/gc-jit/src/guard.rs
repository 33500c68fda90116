//! Guards for host functions that compiled code calls. They keep an error or a panic until the
//! activation has been unwound.
//!
//! A Rust error or panic cannot travel through compiled frames. So a host function's body runs
//! inside [`host_call_guard`], which keeps the error or panic in the store and returns a sentinel.
//! The sentinel makes the trampoline resume at the entry, where [`call`](crate::call) takes the
//! error or panic out of the store.
//!
//! This is also the only place where a vmctx becomes a reference to a store.
#![allow(unsafe_code)]

use crate::{
    CallError, Cancelled, JitStore, ThrownException, TrapError, VMContextPrefix, exceptions,
};
use gc_heap::HeapError;
use gc_types::host_calls::HostCallResult;
use gc_types::{HostCall, Trap};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The reason why an activation is being unwound.
pub(crate) enum Pending {
    Error(CallError),
    Panic(Box<dyn Any + Send>),
}

/// The store with which the compiled code of `vmctx` was called.
///
/// # Safety
/// `vmctx` is the pointer that compiled code passed to the running host function. It begins with a
/// [`VMContextPrefix`] of a store of type `S` that is inside [`call`](crate::call) on this thread.
/// No other reference to that store is used while the result is in use.
unsafe fn store_of<'a, S: JitStore>(vmctx: *mut u8) -> &'a mut S {
    // SAFETY: as the caller promises. The context of an active store has the store's pointer from
    // its innermost call.
    unsafe {
        let context = &*(*vmctx.cast::<VMContextPrefix>()).store_context;
        &mut *context.store.get().cast::<S>()
    }
}

/// Runs the body of a host function with the caller's store. Returns the value that the host
/// function must return: the body's result, or [`HostCall::FAILED`] if the body failed or panicked.
///
/// If the error is a [`ThrownException`], execution continues at the innermost handler of the
/// calling code that catches the [pending exception](crate::JitState::set_pending_exception). If
/// there is none, the call ends with this error.
///
/// If the error is a [`Trap`], a [`TrapError`] or a [`HeapError`] without context around it, the
/// call ends as a trap. Any other error ends it as [`CallError::Host`]. A panic is resumed by
/// [`call`](crate::call) when the compiled frames are gone.
///
/// # Safety
/// `vmctx` is the pointer that compiled code passed to the running host function. It begins with a
/// [`VMContextPrefix`] of a store of type `S` that is inside [`call`](crate::call) on this thread.
/// No other reference to that store is in use.
#[inline]
pub unsafe fn host_call_guard<S: JitStore>(
    vmctx: *mut u8,
    body: impl FnOnce(&mut S) -> anyhow::Result<u64>,
) -> u64 {
    // SAFETY: as the caller promises.
    let store = unsafe { store_of::<S>(vmctx) };
    match catch_unwind(AssertUnwindSafe(|| body(store))) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => fail(store, error),
        Err(payload) => panicked(store, payload),
    }
}

/// Keeps the error of a host function, unless it is an exception that compiled code catches.
#[cold]
#[inline(never)]
fn fail<S: JitStore>(store: &mut S, error: anyhow::Error) -> u64 {
    let error = match error.is::<ThrownException>().then(|| exceptions::is_caught(store)) {
        Some(Ok(true)) => return HostCall::FAILED,
        Some(Ok(false)) => CallError::Host(error),
        Some(Err(error)) => classify(store, error),
        None => classify(store, error),
    };
    set_failed(store, error);
    HostCall::FAILED
}

/// Keeps the error of a host function, and records the compiled functions on the stack if somebody may
/// want to know them.
pub(crate) fn set_failed<S: JitStore>(store: &mut S, error: CallError) {
    // A walk for each call of many nested ones would take quadratic time.
    if let CallError::Host(why) = &error
        && !why.is::<Cancelled>()
        && !store.has_backtrace(why)
    {
        store.jit_mut().trace_failure();
    }
    store.jit_mut().set_pending(Pending::Error(error));
}

/// Keeps the panic of a host function.
#[cold]
#[inline(never)]
fn panicked<S: JitStore>(store: &mut S, payload: Box<dyn Any + Send>) -> u64 {
    store.jit_mut().set_pending(Pending::Panic(payload));
    HostCall::FAILED
}

/// Runs the body of a host call, as [`host_call_guard`] does if it may fail. A panic in a host call
/// that cannot fail aborts the process. (Panics of host values' destructors do not reach it; see
/// [`GcStore::resume_host_panic`](gc_heap::GcStore::resume_host_panic).)
///
/// # Safety
/// As for [`host_call_guard`].
#[inline(always)]
pub(crate) unsafe fn run_host_call<S, R>(vmctx: *mut u8, body: impl FnOnce(&mut S) -> R) -> u64
where
    S: JitStore,
    R: HostCallResult<Error: Into<anyhow::Error>>,
{
    if R::FALLIBLE {
        // SAFETY: passed on.
        return unsafe {
            host_call_guard::<S>(vmctx, |store| body(store).into_word().map_err(Into::into))
        };
    }
    // SAFETY: as the caller promises.
    let store = unsafe { store_of::<S>(vmctx) };
    match catch_unwind(AssertUnwindSafe(|| body(store).into_word())) {
        Ok(Ok(word)) => word,
        _ => std::process::abort(),
    }
}

/// The trap with which compiled code ends if the heap fails with `error`.
pub(crate) fn trap_of(error: &HeapError) -> Trap {
    match error {
        HeapError::TooLarge { .. } => Trap::AllocationTooLarge,
        HeapError::OutOfBounds { .. } => Trap::ArrayOutOfBounds,
        HeapError::NeedsRoom { .. }
        | HeapError::OutOfMemory { .. }
        | HeapError::Refused { .. }
        | HeapError::NoMemory { .. }
        | HeapError::System { .. } => Trap::OutOfMemory,
        // The other errors are about types, kinds or references that were read from the heap.
        _ => Trap::CorruptHeap,
    }
}

/// The error that the caller of the unwound activation gets for `error`.
pub(crate) fn classify<S: JitStore>(store: &S, error: anyhow::Error) -> CallError {
    let trap = |trap, detail| {
        CallError::Trap(TrapError { trap, detail, backtrace: store.jit().backtrace() })
    };
    // Only the outermost error is examined: context around a trap says more than the trap alone.
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
