//! [`JitStore`], which an embedder's store implements, and [`JitState`], the driver's part of a
//! store.
//!
//! An embedder's store is one value of the embedder's type `S`. The driver's state is a field of
//! it. `S` implements [`JitStore`], which gives access to that field, to the heap together with all
//! roots, and to the data that host calls need. No part of the store points to another part:
//! [`call`](crate::call) takes the whole store, and a host function gets the whole store.
#![allow(unsafe_code)]

use crate::exceptions::Exception;
use crate::guard::Pending;
use crate::interrupt::Interrupt;
use crate::traced::TracedPcs;
use crate::walk::RawFrames;
use crate::{
    Backtrace, Blocking, CodeMemory, HostCallTable, InterruptHandle, Part, StackWalk,
    VMContextPrefix, VMFuncRef, VMStoreContext, fiber, signals, stack, walk,
};
use anyhow::{Context as _, Result, ensure};
use gc_heap::{FrameSlot, GcRootsList, GcStore, HeapMapping, IncompleteWalk, TraceRoots};
use gc_types::{VMGcKind, VMGcRef};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// A store for compiled code.
///
/// # Examples
///
/// A store that has only a heap and a counter that host functions change:
///
/// ```
/// use gc_jit::{HostCallTable, JitState, JitStore};
/// use gc_runtime::{GcStore, HeapOptions, collector::NullCollector};
/// use std::sync::Arc;
///
/// struct Store {
///     jit: JitState<Store>,
///     calls: u32,
/// }
///
/// impl JitStore for Store {
///     fn jit(&self) -> &JitState<Store> {
///         &self.jit
///     }
///
///     fn jit_mut(&mut self) -> &mut JitState<Store> {
///         &mut self.jit
///     }
/// }
///
/// let options = HeapOptions::default();
/// let abi = Arc::new(options.abi(&NullCollector));
/// let gc = GcStore::new(&NullCollector, &options)?;
/// let jit = JitState::new(gc, &HostCallTable::new(&abi, &[])?, 1 << 20)?;
/// let store = Store { jit, calls: 0 };
/// assert!(!store.jit().is_active());
/// assert_eq!(store.calls, 0);
/// # anyhow::Ok(())
/// ```
pub trait JitStore: Sized {
    /// The driver's state. Always the same value, with the heap with which it was made:
    /// [`call`](crate::call) relies on that.
    fn jit(&self) -> &JitState<Self>;

    /// The driver's state, mutable. The same value as that of [`jit`](JitStore::jit).
    fn jit_mut(&mut self) -> &mut JitState<Self>;

    /// Whether type `actual` is type `expected` or a subtype of it
    /// ([`HostCall::IS_SUBTYPE`](gc_types::HostCall::IS_SUBTYPE)). Both are untrusted. By default
    /// no type is a subtype of another.
    fn is_subtype(&self, actual: u32, expected: u32) -> bool {
        actual == expected
    }

    /// Whether `error` has the compiled functions that were on the stack, so that a host function
    /// that fails with it passes it on. Otherwise the driver records them
    /// ([`take_backtrace`](JitState::take_backtrace)). By default no error has them.
    fn has_backtrace(&self, error: &anyhow::Error) -> bool {
        let _ = error;
        false
    }

    /// Called before each [`Part`] of a long host call. The store may charge for the part, end the call
    /// with an error, or run code. If it runs code or collects, the compiled caller must treat the host
    /// call as one that may collect. By default nothing happens.
    ///
    /// # Errors
    /// The reason to end the call, before the part is done.
    fn before_part(&mut self, part: &Part) -> Result<()> {
        let _ = part;
        Ok(())
    }

    /// Whether compiled code may throw this object, which comes from the code and is untrusted. By default
    /// only exceptions can be thrown ([`VMGcKind::ExnRef`]).
    fn can_throw(&self, object: &VMGcRef) -> bool {
        self.jit().gc().is_kind(object, VMGcKind::ExnRef)
    }

    /// Whether a handler for `tag` catches `exception`. The handler is in code that runs with the
    /// vmctx of the number `vmctx`. The exception's tag is in the heap and therefore untrusted. By
    /// default only handlers without a tag catch anything.
    fn catches(&self, vmctx: usize, tag: u32, exception: &VMGcRef) -> bool {
        let (_, _, _) = (vmctx, tag, exception);
        false
    }
}

/// The driver's part of a store of type `S`: the heap, the context that compiled code reads, and
/// the code that the store keeps alive.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// use gc_jit::{HostCallTable, JitState, JitStore};
/// use gc_runtime::{GcStore, HeapOptions, NoStack, collector::CopyingCollector};
/// use std::sync::Arc;
///
/// # fn main() -> anyhow::Result<()> {
/// let options = HeapOptions::default();
/// let abi = Arc::new(options.abi(&CopyingCollector));
/// let gc = GcStore::new(&CopyingCollector, &options)?;
/// let jit = JitState::new(gc, &HostCallTable::new(&abi, &[])?, 1 << 20)?;
/// let mut store = Store::new(jit); // It implements `JitStore`.
///
/// // The host allocates. It holds the only reference, so nothing keeps the object alive.
/// let (gc, mut roots) = store.jit_mut().gc_and_stack();
/// gc.alloc_externref(&mut roots, Box::new("a value")).map_err(|(error, _)| error)?;
/// assert!(gc.gc(&mut roots)?);
/// assert_eq!(gc.stats().live_objects, 0);
/// # Ok(())
/// # }
/// ```
pub struct JitState<S> {
    context: Arc<VMStoreContext>,
    gc: GcStore,
    /// The reason why the innermost activation is being unwound.
    pending: Mutex<Option<Pending>>,
    /// The compiled functions that were on the stack when the last call failed otherwise than by a
    /// trap.
    failed: Option<Box<TracedPcs>>,
    /// The exception that is being thrown through the host.
    pub(crate) exception: Exception,
    /// The table of host functions to which the context points, with the ABI of the store's code.
    host_calls: HostCallTable<S>,
    /// Code that must live as long as the store, by ascending addresses.
    code: Vec<Arc<CodeMemory>>,
    /// The counters of epochs that code may have seen, the current one last.
    pub(crate) epoch_counters: Vec<Arc<AtomicU64>>,
    max_stack: usize,
    is_metered: bool,
}

impl<S> std::fmt::Debug for JitState<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitState").field("context", &self.context).finish_non_exhaustive()
    }
}

impl<S: JitStore> JitState<S> {
    /// Creates the state of a store with `gc`'s heap, which may be [lazy](GcStore::lazy), for code
    /// with the ABI of `host_calls`. Compiled code may use `max_stack` bytes of stack from the
    /// outermost call on, or less if the thread's stack is smaller.
    ///
    /// # Errors
    /// If that ABI is for another kind of heap (the error names the difference), if the heap's memory
    /// [was replaced](GcStore::check_memory), if the signal handler cannot be installed, or if the
    /// system refuses the page that loops poll.
    pub fn new(
        gc: GcStore,
        host_calls: &HostCallTable<S>,
        max_stack: usize,
    ) -> Result<JitState<S>> {
        gc.check_abi(host_calls.abi()).context(
            "the heap and the code of a store do not fit (here: the heap, there: the code)",
        )?;
        signals::install()?;
        let heap = gc.mapping().clone();
        let interrupt = match host_calls.abi().polls() {
            true => Some(Arc::new(Interrupt::new()?)),
            false => None,
        };
        let mut state = JitState {
            context: Arc::new(VMStoreContext::new(heap, host_calls.as_ptr(), interrupt)),
            gc,
            pending: Mutex::new(None),
            failed: None,
            exception: Exception::default(),
            host_calls: host_calls.clone(),
            code: Vec::new(),
            epoch_counters: Vec::new(),
            max_stack,
            is_metered: host_calls.abi().fuel() || host_calls.abi().epochs(),
        };
        if host_calls.abi().epochs() {
            state.set_epoch_counter(Arc::default());
        }
        state.refresh_func_refs();
        Ok(state)
    }

    /// The prefix of a vmctx of this store. `number` is the embedder's number for the vmctx. Host
    /// calls get it, and [`caller`](JitState::caller) returns it. If the store is
    /// [lazy](GcStore::lazy), this makes its heap.
    ///
    /// # Errors
    /// If the system refuses the memory for the heap, or if this memory
    /// [was replaced](GcStore::check_memory).
    pub fn vmctx_prefix(&mut self, number: usize) -> Result<VMContextPrefix> {
        self.gc.ensure_heap().context("making the GC heap")?;
        self.gc.check_memory().context("the heap is not in the memory that was made for it")?;
        let heap = self.context.made_heap(|| self.gc.mapping().clone());
        Ok(self.prefix(heap, number))
    }

    /// Like [`vmctx_prefix`](JitState::vmctx_prefix), but for code that does not use the heap: it
    /// allocates nothing, and none of its parameters, results, globals and tables can hold an
    /// object. It is also for the context of a host function. A store with only such prefixes never
    /// makes a heap.
    ///
    /// If the code uses the heap nevertheless, an allocation fails, and an access to an object
    /// traps, because the heap of this prefix has no memory.
    pub fn vmctx_prefix_without_heap(&self, number: usize) -> VMContextPrefix {
        self.prefix(self.context.first_heap(), number)
    }

    fn prefix(&self, heap: &HeapMapping, number: usize) -> VMContextPrefix {
        VMContextPrefix {
            heap_base: heap.base(),
            heap_data: heap.data().cast_mut(),
            store_context: Arc::as_ptr(&self.context),
            number,
            poll_page: self.context.poll_page(),
        }
    }

    /// The heap with its side tables.
    pub fn gc(&self) -> &GcStore {
        &self.gc
    }

    /// The heap with its side tables, mutable. Call
    /// [`refresh_func_refs`](JitState::refresh_func_refs) after you have added a function
    /// reference.
    ///
    /// Do not put another store or other [memory](gc_heap::HeapCore::memory) in the place of
    /// these: the vmctxs of this state have the addresses of the heap with which it was made.
    /// [`call`](crate::call) must not be used after that.
    pub fn gc_mut(&mut self) -> &mut GcStore {
        &mut self.gc
    }

    /// The heap and the references in compiled frames, borrowed together.
    pub fn gc_and_stack(&mut self) -> (&mut GcStore, StackRoots<'_>) {
        (&mut self.gc, StackRoots { context: &self.context })
    }

    /// Tells compiled code where the type display table is.
    ///
    /// # Safety
    /// `table` is readable for [`DISPLAY_TABLE_SIZE`](gc_types::VMOffsets::DISPLAY_TABLE_SIZE)
    /// bytes as long as compiled code runs. Its rows belong to the types of the store's objects.
    pub unsafe fn set_type_displays(&mut self, table: *const u32) {
        self.context.type_displays.set(table.cast_mut());
    }

    /// Tells compiled code where the function-reference table is. Call this after each
    /// [`FuncRefTable::add`](gc_heap::FuncRefTable::add).
    pub fn refresh_func_refs(&mut self) {
        let table = self.gc.func_refs();
        // The table holds addresses of [`VMFuncRef`]s.
        self.context.func_refs.set(table.base().cast::<*mut VMFuncRef>().cast_mut());
        self.context.func_refs_len.set(table.len());
    }

    /// Keeps `code` alive as long as the store. Returns whether the store did not keep it before.
    ///
    /// # Errors
    /// If it was published for another kind of store. The error names the difference.
    pub fn keep_alive(&mut self, code: Arc<CodeMemory>) -> Result<bool> {
        self.check_code(&code)?;
        let place = self.code.partition_point(|kept| kept.base() < code.base());
        let is_new = self.code.get(place).is_none_or(|kept| kept.base() != code.base());
        if is_new {
            self.code.insert(place, code);
        }
        Ok(is_new)
    }

    /// Stops keeping `code` alive.
    ///
    /// # Safety
    /// No frame of this code is on the store's stacks ([`code_on_stack`](JitState::code_on_stack)), and
    /// nothing that other code of the store can reach has an address in it: no function reference, no
    /// trampoline, no vmctx of it.
    pub unsafe fn release(&mut self, code: &CodeMemory) {
        // Other code may get its addresses.
        self.exception.forget_sites();
        self.code.retain(|kept| kept.base() != code.base());
    }

    /// The addresses of the first bytes of all code that has a frame on the store's stacks. One may be
    /// there more than once.
    ///
    /// # Errors
    /// If the stacks cannot be walked to the end. Then there may be more.
    pub fn code_on_stack(&self) -> Result<Vec<*const u8>, IncompleteWalk> {
        let mut found = Vec::new();
        // SAFETY: as for `stack_walk`.
        let mut frames = unsafe { RawFrames::from_exit(&self.context) };
        while let Some(frame) = frames.next() {
            let frame = frame.map_err(walk::incomplete)?;
            let code = self.code_at(frame.pc).ok_or_else(|| walk::unpublished(frame))?;
            if found.last() != Some(&code.base()) {
                found.push(code.base());
            }
        }
        Ok(found)
    }

    /// Those of these numbers that may be in a frame of the store's compiled code, or of the host functions that
    /// it called: a word of 32 bits there has the same bits. So it may be too many (Boehm and Weiser, "Garbage
    /// Collection in an Uncooperative Environment", 1988). `None` if the stack cannot be searched: if the store
    /// has several stacks, or if another stack runs than the one on which its code runs.
    pub fn numbers_on_stack(&self, numbers: &BTreeSet<u32>) -> Option<BTreeSet<u32>> {
        if !self.is_active() || numbers.is_empty() {
            return Some(BTreeSet::new());
        }
        // SAFETY: the state is one of a store that the host holds, so none of its frames runs.
        let words = unsafe { stack::words_of(&self.context)? };
        let halves = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        Some(halves.filter(|half| numbers.contains(half)).collect())
    }

    /// Checks that `code` was published for this kind of store.
    ///
    /// # Errors
    /// If it was not. The error names the difference.
    pub fn check_code(&self, code: &CodeMemory) -> Result<()> {
        if self.has_abi_of(code) { Ok(()) } else { self.compare(code) }
    }

    /// Whether `code` was published with the very ABI of this state. Others may be equal.
    #[inline(always)]
    pub(crate) fn has_abi_of(&self, code: &CodeMemory) -> bool {
        Arc::ptr_eq(self.host_calls.abi(), code.abi())
    }

    #[cold]
    fn compare(&self, code: &CodeMemory) -> Result<()> {
        self.host_calls.abi().accepts(code.abi()).context(
            "the code was compiled for another kind of store (here: the store, there: the code)",
        )
    }

    /// The code that the store keeps alive, by ascending addresses.
    pub fn code(&self) -> &[Arc<CodeMemory>] {
        &self.code
    }

    /// The code that contains the address `pc`, if the store keeps it alive.
    pub(crate) fn code_at(&self, pc: usize) -> Option<&CodeMemory> {
        let after = self.code.partition_point(|code| code.base().addr() <= pc);
        let code = &self.code[after.checked_sub(1)?];
        code.offset_of(pc).map(|_| &**code)
    }

    /// The part of this store that compiled code reads.
    pub(crate) fn context(&self) -> &VMStoreContext {
        &self.context
    }

    /// The same, shared.
    pub(crate) fn shared_context(&self) -> &Arc<VMStoreContext> {
        &self.context
    }

    /// The number of bytes of stack that compiled code may use.
    pub(crate) fn max_stack(&self) -> usize {
        self.max_stack
    }

    /// Records why the innermost activation is being unwound.
    pub(crate) fn set_pending(&mut self, why: Pending) {
        *self.pending.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Takes the recorded reason.
    pub(crate) fn take_pending(&mut self) -> Option<Pending> {
        self.pending.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records the compiled functions on the stack, unless an error is passed on by a host function
    /// whose callee has failed: then they are recorded already, with those that are gone.
    pub(crate) fn trace_failure(&mut self) {
        let traced = TracedPcs::new();
        // SAFETY: as for `stack_walk`.
        traced.note(unsafe { RawFrames::from_exit(&self.context) }.pcs(), false);
        if !self.failed.as_ref().is_some_and(|inner| inner.contains(&traced)) {
            self.failed = Some(Box::new(traced));
        }
    }

    /// Takes the compiled functions that were on the stack when a call last failed because of an
    /// error of a host function, or because of an exception that nobody caught. `None` if there was
    /// no such error since this was last called, or without the feature `backtrace`. A
    /// [`TrapError`](crate::TrapError) has a backtrace itself. Take it after each call that fails
    /// otherwise: what is not taken may be returned for a later failure.
    pub fn take_backtrace(&mut self) -> Option<Backtrace> {
        let backtrace = Backtrace::symbolize(&*self.failed.take()?);
        (!backtrace.is_empty()).then_some(backtrace)
    }

    /// A handle that interrupts the store's code from another thread. `None` if
    /// [loops are not polled](gc_types::Abi::polls).
    pub fn interrupt_handle(&self) -> Option<InterruptHandle> {
        InterruptHandle::new(&self.context)
    }

    /// Takes an [interrupt](InterruptHandle::interrupt) back, so that code can be called again.
    ///
    /// # Errors
    /// If code of the store is on a stack: it must end first.
    pub fn clear_interrupt(&mut self) -> Result<()> {
        let is_suspended = !self.context.suspended.get().is_null();
        ensure!(!self.is_active() && !is_suspended, "the interrupted code has not ended");
        if let Some(interrupt) = &self.context.interrupt {
            interrupt.clear();
        }
        Ok(())
    }

    /// Whether the store's code was [interrupted](InterruptHandle::interrupt). A host call that takes
    /// long looks at it from time to time.
    pub fn is_interrupted(&self) -> bool {
        self.context.is_interrupted()
    }

    /// Whether code consumes fuel or checks epochs, so that each part of a host call is told to the
    /// store.
    pub(crate) fn is_metered(&self) -> bool {
        self.is_metered
    }

    /// Whether compiled code of this store is on a stack.
    pub fn is_active(&self) -> bool {
        !self.context.stack.activation.get().is_null()
    }

    /// The frames of compiled code on the store's stacks, innermost first.
    pub fn stack_walk(&self) -> StackWalk<'_> {
        // SAFETY: only a host function that its compiled code called holds a reference to an active
        // store. The compiled frames wait for that function.
        unsafe { StackWalk::new(&self.context) }
    }

    /// The compiled functions on the store's stacks, beginning where compiled code last called the
    /// host. Empty without the feature `backtrace`.
    pub fn backtrace(&self) -> Backtrace {
        // SAFETY: as for `stack_walk`.
        unsafe { Backtrace::capture(&self.context) }
    }

    /// The number of the vmctx of the compiled function that called the host. `None` if the host
    /// itself made the call, or if the image names no slot in which the function keeps its vmctx.
    pub fn caller(&self) -> Option<usize> {
        let mut walk = self.stack_walk();
        let frame = walk.next()?.ok()?;
        let innermost = self.context.stack.activation.get().cast_const();
        if walk.activation() != innermost {
            return None;
        }
        let vmctx = frame.vmctx()?.cast::<VMContextPrefix>();
        // SAFETY: a running function got a vmctx, and keeps it in this slot.
        Some(unsafe { (*vmctx).number })
    }
}

impl<S> Drop for JitState<S> {
    fn drop(&mut self) {
        // This can only happen if a host function replaces the store that it got. Its compiled
        // callers would then use freed memory.
        if !self.context.stack.activation.get().is_null() {
            log::error!("a store was dropped while its compiled code ran");
            std::process::abort();
        }
    }
}

/// The references in a store's compiled frames. [`gc_and_stack`](JitState::gc_and_stack) borrows
/// them together with the heap.
#[derive(Debug)]
pub struct StackRoots<'a> {
    context: &'a Arc<VMStoreContext>,
}

impl TraceRoots for StackRoots<'_> {
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        // SAFETY: this is borrowed from a store that a host function holds exclusively. So no frame
        // runs as long as `self` lives.
        unsafe { walk::trace_stack(self.context, roots) }
    }

    fn frame_of(&self, slot: usize) -> Option<FrameSlot> {
        // SAFETY: as above.
        unsafe { walk::frame_of(self.context, slot) }
    }

    fn wants_increments(&self) -> bool {
        fiber::yields_in_collections(self.context)
    }

    fn between_increments(&mut self) {
        if let Some(blocking) = Blocking::of(self.context) {
            // A collection whose fiber was dropped goes on without yielding.
            let _cancelled = blocking.yield_now();
        }
    }
}
