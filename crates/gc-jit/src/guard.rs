//! Host code called by compiled code: what it may throw, kept until the activation
//! has been unwound.
//!
//! Neither a Rust error nor a Rust panic can travel through compiled frames. A host
//! function's shim runs inside [`host_call_guard`], which keeps either in the store and
//! returns the sentinel that makes the trampoline resume at the entry, where
//! [`JitStore::call`](crate::JitStore::call) picks it up.
#![allow(unsafe_code)]

use crate::{Backtrace, CallError, JitStore, TrapError};
use gc_runtime::HeapError;
use gc_types::{HostCall, Trap};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why an activation is being unwound.
pub(crate) enum Pending {
    Error(CallError),
    Panic(Box<dyn Any + Send>),
}

/// Runs the body of a host function. Its result, or
/// [`HostCall::FAILED`] if it failed or panicked, is what the host function returns.
///
/// An error that is a [`Trap`], a [`TrapError`] or a [`HeapError`] (with no context put
/// around it) ends the call as a trap, anything else as [`CallError::Host`]. A panic is
/// resumed in the host function's host, past the compiled frames.
///
/// # Safety
/// `vmctx` is what compiled code passed to the host function this is called in: it
/// begins with a [`VMContextPrefix`](crate::VMContextPrefix) of a store that is inside
/// [`JitStore::call`] on this thread, and no other reference to that store is in use.
pub unsafe fn host_call_guard(
    vmctx: *mut u8,
    body: impl FnOnce(&mut JitStore) -> anyhow::Result<u64>,
) -> u64 {
    // SAFETY: as the caller promises.
    let store = unsafe { JitStore::from_vmctx(vmctx) };
    let pending = {
        // SAFETY: as the caller promises; this reference ends with the body.
        let body = AssertUnwindSafe(|| body(unsafe { &mut *store }));
        match catch_unwind(body) {
            Ok(Ok(value)) => return value,
            // SAFETY: as above, and the body's reference is gone.
            Ok(Err(error)) => Pending::Error(classify(unsafe { &*store }, error)),
            Err(payload) => Pending::Panic(payload),
        }
    };
    // SAFETY: as above.
    unsafe { (*store).pending = Some(pending) };
    HostCall::FAILED
}

/// Runs the body of a host function that cannot fail: a panic in it aborts the process.
/// (Those of host values that are dropped do not come out of the heap here: see
/// [`GcStore::resume_host_panic`](gc_runtime::GcStore::resume_host_panic).)
///
/// # Safety
/// As for [`host_call_guard`].
pub unsafe fn host_call_guard_infallible(
    vmctx: *mut u8,
    body: impl FnOnce(&mut JitStore) -> u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let store = unsafe { JitStore::from_vmctx(vmctx) };
    // SAFETY: as above.
    let body = AssertUnwindSafe(|| body(unsafe { &mut *store }));
    catch_unwind(body).unwrap_or_else(|_| std::process::abort())
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
fn classify(store: &JitStore, error: anyhow::Error) -> CallError {
    let trap = |trap, detail| {
        CallError::Trap(TrapError { trap, detail, backtrace: Backtrace::capture(store) })
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
