//! [`JitStore::call`]: into compiled code and back, however it ends.
#![allow(unsafe_code)]

use crate::guard::Pending;
use crate::trampoline::{EntryTrampoline, STATUS_HOST, STATUS_OK};
use crate::{
    Activation, Backtrace, CallError, JitStore, TrapError, VMStoreContext, ValRaw, activation, arch,
};
use anyhow::anyhow;
use gc_types::Trap;

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
    ///   compiled with [`set_stack_limit`](crate::set_stack_limit), and kept alive during
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
                STATUS_OK => Ok(()),
                _ => Err(failure(&mut *store, status)),
            };
            // Not before everything is as it was before the call.
            (*store).gc_mut().resume_host_panic();
            result
        }
    }
}

/// Why a call ended with `status`.
#[cold]
fn failure(store: &mut JitStore, status: u64) -> CallError {
    if status == STATUS_HOST {
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
