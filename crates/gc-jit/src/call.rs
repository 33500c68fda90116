//! [`call`]: a call into compiled code, and all the ways in which it can end.
#![allow(unsafe_code)]

use crate::guard::{Pending, classify};
use crate::stack::CallingThread;
use crate::{
    Activation, Backtrace, CallError, EntryTrampoline, HostFunction, JitStore, TrapError,
    VMStoreContext, arch,
};
use anyhow::anyhow;
use gc_types::{EntryStatus, HostCall, Trap, ValRaw};

/// Calls the compiled function `code` with `vmctx`. Takes the arguments from `values` and leaves
/// the results there. `values` must have at least [`EntryTrampoline::slots`] slots.
///
/// The call borrows the store. Host functions that the code calls get it as `&mut S`.
///
/// A Rust panic in a host function is resumed here, when the compiled frames are gone. The panic of
/// a host value's destructor that ran during the call is resumed here too
/// ([`GcStore::resume_host_panic`](gc_heap::GcStore::resume_host_panic)), whether the call
/// returns or fails. If a host function panicked as well, the destructor's panic waits.
///
/// # Errors
/// If the trampoline is in code for another kind of store, if there are too few slots, if the code
/// traps, or if a host function that it calls fails. The code's frames are then gone, and
/// the store and its heap can still be used. Also if a panic has interrupted a collection of the
/// heap ([`GcStore::check_usable`](gc_heap::GcStore::check_usable)).
///
/// # Safety
/// - `code` is a published function. It has the signature that the trampoline was made for, and it
///   was compiled with a stack limit. It and all code that it can reach stay alive during the call.
///   `vmctx` belongs to this store and is the one that the function expects.
/// - [`JitStore::jit`] and [`JitStore::jit_mut`] return the state of which the vmctx is. The
///   [`GcStore`](gc_heap::GcStore) of this state, and the memory of its heap, are those with which
///   the state was made, or which a [lazy](gc_heap::GcStore::lazy) store made since.
/// - The arguments have the parameters' types. References among them belong to this store and were
///   exposed to compiled code.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// use gc_jit::{CodeMemory, HostCallTable, JitState, JitStore, call};
/// use gc_runtime::{GcStore, HeapOptions, collector::CopyingCollector};
/// use gc_types::{CallSignature, ValRaw, ValueType};
/// use std::sync::Arc;
///
/// # fn main() -> anyhow::Result<()> {
/// let options = HeapOptions::default();
/// let abi = Arc::new(options.abi(&CopyingCollector));
/// let signature = CallSignature::new([ValueType::I64; 2], [ValueType::I64]);
/// # let image = compile(&abi, &signature, |b, params| {
/// #     let sum = b.ins().iadd(params[1], params[2]);
/// #     b.ins().return_(&[sum]);
/// # })?;
/// // Function 0 of the image adds two numbers.
/// let code = CodeMemory::publish(image, &abi, &[])?;
///
/// let gc = GcStore::new(&CopyingCollector, &options)?;
/// let jit = JitState::new(gc, &HostCallTable::new(&abi, &[])?, 1 << 20)?;
/// let mut store = Store::new(jit); // It implements `JitStore`.
/// store.jit_mut().keep_alive(code.clone())?;
/// let mut vmctx = Box::new(store.jit_mut().vmctx_prefix(0)?);
///
/// let trampoline = code.entry_trampoline(&signature).unwrap();
/// let function = code.function_address(0).unwrap();
/// let mut values = [ValRaw::i64(20), ValRaw::i64(22)];
/// let vmctx = (&raw mut *vmctx).cast();
/// // SAFETY: the function has this signature and a stack limit, and the store keeps its code alive.
/// // The vmctx belongs to the store.
/// unsafe { call(&mut store, &trampoline, function, vmctx, &mut values)? };
/// assert_eq!(values[0].get_i64(), 42);
/// # Ok(())
/// # }
/// ```
#[inline(always)]
pub unsafe fn call<S: JitStore>(
    store: &mut S,
    trampoline: &EntryTrampoline,
    code: *const u8,
    vmctx: *mut u8,
    values: &mut [ValRaw],
) -> Result<(), CallError> {
    let jit = store.jit_mut();
    let usable = jit.gc_mut().enter_compiled();
    if !usable || values.len() < trampoline.slots() || !jit.has_abi_of(trampoline.memory()) {
        check(store, trampoline, values)?;
    }
    let entry = Entry::new(store);
    if !entry.is_on_stack() {
        // SAFETY: passed on.
        return unsafe { call_on_new_stack(store, trampoline, code, vmctx, values) };
    }
    let handler = (trampoline.handler_pc(), trampoline.frame_offset());
    let (function, values) = (trampoline.function(), values.as_mut_ptr());
    entry.activate(store, handler, move |context, thread, activation| {
        let outer = thread.replace_running(context);
        // SAFETY: as the caller promises. The activation is on the stack.
        let status = unsafe { function(activation, code, vmctx, values) };
        thread.restore_running(context, outer);
        status
    })
}

/// [`call`] while compiled code of the store is on another native stack.
///
/// # Safety
/// As for [`call`].
#[cold]
#[inline(never)]
unsafe fn call_on_new_stack<S: JitStore>(
    store: &mut S,
    trampoline: &EntryTrampoline,
    code: *const u8,
    vmctx: *mut u8,
    values: &mut [ValRaw],
) -> Result<(), CallError> {
    // SAFETY: passed on.
    suspended(store, |store| unsafe { call(store, trampoline, code, vmctx, values) })
}

/// Checks that a call may begin.
#[cold]
fn check<S: JitStore>(
    store: &S,
    trampoline: &EntryTrampoline,
    values: &[ValRaw],
) -> Result<(), CallError> {
    let (slots, needed) = (values.len(), trampoline.slots());
    if slots < needed {
        return Err(CallError::Host(anyhow!("a call with {slots} slots for {needed} values")));
    }
    store.jit().check_code(trampoline.memory()).map_err(CallError::Host)?;
    store.jit().gc().check_usable().map_err(|error| classify(store, error.into()))
}

/// Calls a host function directly, as compiled code would call it: `function` with its `context`.
/// Takes the arguments from `values` and leaves the results there. Errors and panics are reported
/// as by [`call`].
///
/// # Errors
/// If the host function fails or too little stack is left.
///
/// # Safety
/// `context` belongs to this store and is the one that `function` expects. `values` has enough
/// slots for the arguments and the results, and the arguments have the types that `function`
/// expects.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// use gc_jit::{JitStore, VMHostFuncContext, call_host, host_call_guard};
/// use gc_types::ValRaw;
///
/// /// Halves an even number.
/// extern "C" fn half(context: *mut u8, values: *mut ValRaw) -> u64 {
///     // SAFETY: it is called with a context of a `Store` and one value.
///     unsafe {
///         host_call_guard::<Store>(context, |_store| {
///             let number = (*values).get_i64();
///             anyhow::ensure!(number % 2 == 0, "{number} is odd");
///             *values = ValRaw::i64(number / 2);
///             Ok(0)
///         })
///     }
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// # let mut store = new_store()?;
/// let prefix = store.jit_mut().vmctx_prefix_without_heap(0);
/// let mut context = Box::new(VMHostFuncContext { prefix, function: half });
/// let context = (&raw mut *context).cast();
/// let mut values = [ValRaw::i64(42)];
/// // SAFETY: the context belongs to the store, and the function takes and returns one value.
/// unsafe { call_host(&mut store, half, context, &mut values)? };
/// assert_eq!(values[0].get_i64(), 21);
/// // SAFETY: as above.
/// let error = unsafe { call_host(&mut store, half, context, &mut values) }.unwrap_err();
/// assert_eq!(error.to_string(), "21 is odd");
/// # Ok(())
/// # }
/// ```
pub unsafe fn call_host<S: JitStore>(
    store: &mut S,
    function: HostFunction,
    context: *mut u8,
    values: &mut [ValRaw],
) -> Result<(), CallError> {
    let entry = Entry::new(store);
    if !entry.is_on_stack() {
        // SAFETY: passed on.
        return suspended(store, |store| unsafe { call_host(store, function, context, values) });
    }
    // No compiled code runs in this activation. Compiled code that the host function calls has an
    // activation of its own. So nothing resumes in this one.
    entry.activate(store, (0, 0), |_, _, _| match function(context, values.as_mut_ptr()) {
        HostCall::FAILED => EntryStatus::HOST,
        _ => EntryStatus::OK,
    })
}

/// Suspends the stack on which the store's compiled code is, and runs `action` on a new one: on the
/// running native stack.
#[cold]
fn suspended<S: JitStore, R>(store: &mut S, action: impl FnOnce(&mut S) -> R) -> R {
    let context = store.jit().shared_context().clone();
    context.with_stack_suspended(|| action(store))
}

/// What a call needs to begin.
struct Entry<'a> {
    context: &'a VMStoreContext,
    thread: CallingThread,
    max_stack: usize,
}

impl<'a> Entry<'a> {
    #[inline(always)]
    fn new<S: JitStore>(store: &S) -> Entry<'a> {
        let jit = store.jit();
        let (context, max_stack): (*const VMStoreContext, usize) = (jit.context(), jit.max_stack());
        // SAFETY: the store has the context, and is not dropped while its code runs.
        let context = unsafe { &*context };
        Entry { context, thread: CallingThread::new(), max_stack }
    }

    /// Whether the call can be made on the store's running stack. It is prepared then.
    #[inline(always)]
    fn is_on_stack(&self) -> bool {
        self.context.enter_stack(self.thread, self.max_stack)
    }

    /// Runs `run` in a new activation of the store. Host functions find the store by the context.
    /// Traps and host errors resume at `handler`: an address, and the number of bytes from the
    /// handler's stack pointer up to the entry trampoline's frame pointer.
    #[inline(always)]
    fn activate<S: JitStore>(
        self,
        store: &mut S,
        (handler_pc, frame_offset): (usize, usize),
        run: impl FnOnce(&VMStoreContext, CallingThread, *mut Activation) -> u64,
    ) -> Result<(), CallError> {
        let Entry { context, thread, .. } = self;
        // Compiled code checks the stack limit for its own frames. The host's frames lie between them
        // and are checked here.
        if arch::stack_pointer() < context.stack.limit.get() {
            return Err(at_host_limit(store));
        }
        // From here on the store is used only through this pointer, also by host functions.
        let outer = context.store.replace(std::ptr::from_mut(store).cast());
        let mut activation = Activation {
            previous: context.stack.activation.get(),
            entry_fp: 0,
            handler_pc,
            frame_offset,
            saved_last_exit_fp: context.stack.last_exit_fp.get(),
        };
        let (previous, last_exit_fp) = (activation.previous, activation.saved_last_exit_fp);
        let current = &raw mut activation;
        context.stack.activation.set(current);
        context.stack.last_exit_fp.set(0);
        let status = run(context, thread, current);
        context.stack.activation.set(previous);
        context.stack.last_exit_fp.set(last_exit_fp);
        context.store.set(outer);
        // The panic of a host value comes last, when the state is again what it was before the call.
        match status {
            EntryStatus::OK => {
                store.jit_mut().gc_mut().resume_host_panic();
                Ok(())
            }
            status => Err(failure(store, status)),
        }
    }
}

/// The trap of a call for which too little stack is left.
#[cold]
fn at_host_limit<S: JitStore>(store: &mut S) -> CallError {
    let trap = at_limit(store.jit().context());
    let backtrace = store.jit().backtrace();
    store.jit_mut().gc_mut().resume_host_panic();
    CallError::Trap(TrapError { trap, detail: None, backtrace })
}

/// The trap of code that reached the stack's limit.
#[cold]
fn at_limit(context: &VMStoreContext) -> Trap {
    if context.is_interrupted() { Trap::Interrupt } else { Trap::StackOverflow }
}

/// The reason why a call ended with `status`.
#[cold]
fn failure<S: JitStore>(store: &mut S, status: u64) -> CallError {
    let error = reason(store, status);
    store.jit_mut().gc_mut().resume_host_panic();
    error
}

fn reason<S: JitStore>(store: &mut S, status: u64) -> CallError {
    if status == EntryStatus::HOST {
        return match store.jit_mut().take_pending() {
            Some(Pending::Error(error)) => error,
            Some(Pending::Panic(payload)) => std::panic::resume_unwind(payload),
            None => CallError::Host(anyhow!("a host function failed without an error")),
        };
    }
    match u8::try_from(status).ok().and_then(Trap::from_code) {
        Some(trap) => {
            let trap = match trap {
                Trap::StackOverflow => at_limit(store.jit().context()),
                trap => trap,
            };
            let backtrace = Backtrace::symbolize(&store.jit().context().traced);
            CallError::Trap(TrapError { trap, detail: None, backtrace })
        }
        None => CallError::Host(anyhow!("compiled code ended with unknown status {status}")),
    }
}
