//! [`JitStore::call`]: into compiled code and back, however it ends.
#![allow(unsafe_code)]

use crate::guard::Pending;
use crate::{
    Activation, Backtrace, CallError, EntryTrampoline, HostFunction, JitStore, TrapError,
    VMStoreContext, activation, arch,
};
use anyhow::anyhow;
use gc_types::{EntryStatus, HostCall, Trap, ValRaw};

impl JitStore {
    /// Calls compiled code: `code` with `vmctx`, its arguments taken from `values`, its
    /// results left there. `values` has at least [`EntryTrampoline::slots`] slots.
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
    /// - `store` is valid, and no reference to it is in use during the call but those
    ///   that host functions get from their vmctx. If the call is made by such a host
    ///   function, `store` derives from its.
    /// - `code` is a published function of the signature the trampoline was made for,
    ///   compiled with a stack limit, and kept alive during
    ///   the call with all it can reach; `vmctx` is the one it expects, of this store.
    /// - The arguments are values of the parameters' types; references among them belong
    ///   to this store and were exposed to compiled code.
    pub unsafe fn call(
        store: *mut JitStore,
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
        // The context is the store's first field.
        let context = store.cast::<VMStoreContext>();
        // SAFETY: the store is valid, and no reference to it is in use here or, but for
        // those of host functions, during the trampoline's call.
        unsafe {
            check_stack(store)?;
            let mut activation = Activation {
                previous: (*context).activation,
                entry_fp: 0,
                handler_pc: trampoline.handler_pc(),
                frame_offset: trampoline.frame_offset(),
                saved_last_exit_fp: (*context).last_exit_fp,
                store,
            };
            let current = &raw mut activation;
            (*context).activation = current;
            (*context).last_exit_fp = 0;
            let outer = activation::replace_current(current);
            let status = trampoline.function()(current, code, vmctx, values.as_mut_ptr());
            activation::replace_current(outer);
            (*context).activation = (*current).previous;
            (*context).last_exit_fp = (*current).saved_last_exit_fp;
            let result = match status {
                EntryStatus::OK => Ok(()),
                _ => Err(failure(&mut *store, status)),
            };
            // Not before everything is as it was before the call.
            (*store).gc_mut().resume_host_panic();
            result
        }
    }
}

impl JitStore {
    /// Calls a host function as compiled code would, but without any: `function` with its
    /// `context`, its arguments taken from `values`, its results left there. It fails and
    /// panics as in [`call`](JitStore::call).
    ///
    /// # Errors
    /// If the host function fails, or too little of the stack is left.
    ///
    /// # Safety
    /// - `store` is valid and used by nobody else, as for [`call`](JitStore::call).
    /// - `context` is what `function` expects, of this store, and `values` holds as many
    ///   slots as its arguments and results need, the arguments as it expects them.
    pub unsafe fn call_host(
        store: *mut JitStore,
        function: HostFunction,
        context: *mut u8,
        values: &mut [ValRaw],
    ) -> Result<(), CallError> {
        let store_context = store.cast::<VMStoreContext>();
        // SAFETY: as in `call`. No compiled code runs in the activation but what the host
        // function calls, which has activations of its own.
        unsafe {
            check_stack(store)?;
            let mut activation = Activation {
                previous: (*store_context).activation,
                entry_fp: 0,
                handler_pc: 0,
                frame_offset: 0,
                saved_last_exit_fp: (*store_context).last_exit_fp,
                store,
            };
            (*store_context).activation = &raw mut activation;
            (*store_context).last_exit_fp = 0;
            let returned = function(context, values.as_mut_ptr());
            (*store_context).activation = activation.previous;
            (*store_context).last_exit_fp = activation.saved_last_exit_fp;
            let result = match returned {
                HostCall::FAILED => Err(failure(&mut *store, EntryStatus::HOST)),
                _ => Ok(()),
            };
            (*store).gc_mut().resume_host_panic();
            result
        }
    }
}

/// Fails if there is too little stack for another call. The outermost call sets the limit.
///
/// # Safety
/// `store` is valid and used by nobody else.
unsafe fn check_stack(store: *mut JitStore) -> Result<(), CallError> {
    // The context is the store's first field.
    let context = store.cast::<VMStoreContext>();
    // SAFETY: as the caller promises.
    unsafe {
        if (*context).activation.is_null() {
            (*context).stack_limit = JitStore::outermost_stack_limit((*store).max_stack);
        }
        // Compiled code checks its own frames; between them are the host's.
        if arch::stack_pointer() < (*context).stack_limit {
            return Err(CallError::Trap(TrapError {
                trap: Trap::StackOverflow,
                detail: None,
                backtrace: Backtrace::capture(&*store),
            }));
        }
    }
    Ok(())
}

/// Why a call ended with `status`.
#[cold]
fn failure(store: &mut JitStore, status: u64) -> CallError {
    if status == EntryStatus::HOST {
        return match store.pending.take() {
            Some(Pending::Error(error)) => error,
            Some(Pending::Panic(payload)) => std::panic::resume_unwind(payload),
            None => CallError::Host(anyhow!("a host function failed without saying why")),
        };
    }
    match u8::try_from(status).ok().and_then(Trap::from_code) {
        Some(trap) => {
            let backtrace = store.traced.symbolize();
            CallError::Trap(TrapError { trap, detail: None, backtrace })
        }
        None => CallError::Host(anyhow!("compiled code ended with unknown status {status}")),
    }
}
