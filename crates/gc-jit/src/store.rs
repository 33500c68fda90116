//! [`JitStore`]: a heap joined with what compiled code needs to run over it.
#![allow(unsafe_code)]

use crate::backtrace::TracedPcs;
use crate::guard::Pending;
use crate::{
    CodeMemory, StackWalk, VMContextPrefix, VMFuncRef, VMStoreContext, arch, gc_calls, signals,
    walk,
};
use anyhow::Result;
use gc_runtime::{GcRootsList, GcStore, HeapMapping, IncompleteWalk, TraceRoots};
use gc_types::{NULL_PAGE_SIZE, VMGcRef, VMOffsets};
use std::marker::{PhantomData, PhantomPinned};
use std::sync::Arc;

/// What the embedder adds to a [`JitStore`].
#[derive(Clone, Copy, Debug)]
pub struct EmbedderHooks {
    /// The embedder's own data, passed to each hook and kept for
    /// [`JitStore::embedder`].
    pub data: *mut (),
    /// Adds the embedder's roots (tables, globals, handles). It is called while the
    /// [`GcStore`] is borrowed: it must not touch the [`JitStore`].
    ///
    /// # Safety
    /// `data` is [`data`](EmbedderHooks::data). The slots added must meet
    /// [`GcRootsList::add_non_stack_root`]'s contract.
    pub trace_roots:
        unsafe fn(data: *mut (), roots: &mut GcRootsList) -> Result<(), IncompleteWalk>,
    /// Gives `drop` the references of the embedder's handles that were dropped since it
    /// was called last ([`TraceRoots::drop_dead_handles`]). As above, it must not touch
    /// the [`JitStore`].
    ///
    /// # Safety
    /// `data` is [`data`](EmbedderHooks::data).
    pub drop_dead_handles: unsafe fn(data: *mut (), drop: &mut dyn FnMut(VMGcRef)),
    /// Whether type `actual` is type `expected` or a subtype of it
    /// ([`HostCall::IS_SUBTYPE`](gc_types::HostCall::IS_SUBTYPE)); both are untrusted.
    ///
    /// # Safety
    /// `data` is [`data`](EmbedderHooks::data).
    pub is_subtype: unsafe fn(data: *mut (), actual: u32, expected: u32) -> bool,
}

impl EmbedderHooks {
    /// No data, no roots, no handles, and no type a subtype of another.
    pub const NONE: EmbedderHooks = EmbedderHooks {
        data: std::ptr::null_mut(),
        trace_roots: |_, _| Ok(()),
        drop_dead_handles: |_, _| (),
        is_subtype: |_, actual, expected| actual == expected,
    };
}

/// One heap and the state of the compiled code that runs over it. It never moves: every
/// vmctx points to it.
///
/// While compiled code runs ([`JitStore::call`]), host functions get at their store
/// through the vmctx they are passed ([`host_call_guard`](crate::host_call_guard)).
#[repr(C)]
pub struct JitStore {
    /// First, so that a pointer to it is one to the store.
    context: VMStoreContext,
    gc: GcStore,
    hooks: EmbedderHooks,
    /// Why the innermost activation is being unwound.
    pub(crate) pending: Option<Pending>,
    /// Where a signal handler notes the stack.
    pub(crate) traced: TracedPcs,
    /// What `context.host_calls` points to.
    host_calls: Box<[*const u8]>,
    /// Code that must live as long as the store.
    code: Vec<Arc<CodeMemory>>,
    /// The heap's addresses, for the signal handler.
    heap: Arc<HeapMapping>,
    pub(crate) max_stack: usize,
    _pinned: PhantomPinned,
}

const _: () = assert!(std::mem::offset_of!(JitStore, context) == 0);

// SAFETY: the pointers are to memory the store owns (host-call table, function-reference
// table), to code, or to activations, which exist only during `call`, whose caller keeps
// the store where it is. The hooks' data is the embedder's, whose contract (`set_embedder`)
// covers threads.
unsafe impl Send for JitStore {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl Sync for JitStore {}

impl std::fmt::Debug for JitStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitStore").field("context", &self.context).finish_non_exhaustive()
    }
}

impl JitStore {
    /// A store over `gc`'s heap. `host_calls` are the embedder's host functions: entry
    /// `n` is [`HostCall::embedder(n)`](gc_types::HostCall::embedder)'s, `extern "C"`
    /// as [`HostCall`](gc_types::HostCall)'s contract says. Compiled code may use up to
    /// `max_stack` bytes of stack from the outermost call on (less if the thread's stack
    /// is smaller).
    ///
    /// # Errors
    /// If the signal handler cannot be installed.
    pub fn new(gc: GcStore, host_calls: &[*const u8], max_stack: usize) -> Result<Box<JitStore>> {
        signals::install()?;
        let host_calls: Box<[*const u8]> =
            gc_calls::table().into_iter().chain(host_calls.iter().copied()).collect();
        let heap = gc.heap().core().memory.mapping();
        let mut store = Box::new(JitStore {
            context: VMStoreContext::new(),
            gc,
            hooks: EmbedderHooks::NONE,
            pending: None,
            traced: TracedPcs::new(),
            host_calls,
            code: Vec::new(),
            heap,
            max_stack,
            _pinned: PhantomPinned,
        });
        store.context.host_calls = store.host_calls.as_ptr();
        store.refresh_func_refs();
        Ok(store)
    }

    /// The store that `vmctx` belongs to.
    ///
    /// # Safety
    /// `vmctx` begins with a [`VMContextPrefix`] of a store that lives.
    pub unsafe fn from_vmctx(vmctx: *mut u8) -> *mut JitStore {
        // SAFETY: as the caller promises; the context is the store's first field, and the
        // pointer in the prefix was made from one to the whole store.
        unsafe { (*vmctx.cast::<VMContextPrefix>()).store_context.cast() }
    }

    /// What the vmctxs of this store begin with.
    pub fn vmctx_prefix(&mut self) -> VMContextPrefix {
        VMContextPrefix {
            heap_base: self.heap.base(),
            heap_data: self.heap.data().cast_mut(),
            store_context: (&raw mut *self).cast(),
        }
    }

    /// The heap with its side tables.
    pub fn gc(&self) -> &GcStore {
        &self.gc
    }

    /// The heap with its side tables, to change them. Call
    /// [`refresh_func_refs`](JitStore::refresh_func_refs) after a function reference was
    /// interned.
    pub fn gc_mut(&mut self) -> &mut GcStore {
        &mut self.gc
    }

    /// The heap and the roots of this store, as allocation and collection want them.
    pub fn gc_and_roots(&mut self) -> (&mut GcStore, StoreRoots<'_>) {
        let roots =
            StoreRoots { context: &raw const self.context, hooks: self.hooks, _store: PhantomData };
        (&mut self.gc, roots)
    }

    /// Sets the embedder's data and hooks.
    ///
    /// # Safety
    /// The data must stay valid for the hooks, on every thread the store is used on, until
    /// others are set or the store is dropped, and the hooks must do what
    /// [`EmbedderHooks`] says.
    pub unsafe fn set_embedder(&mut self, hooks: EmbedderHooks) {
        self.hooks = hooks;
    }

    /// The embedder's data.
    pub fn embedder(&self) -> *mut () {
        self.hooks.data
    }

    /// Points compiled code to the type display table.
    ///
    /// # Safety
    /// `table` is readable for
    /// [`DISPLAY_TABLE_SIZE`](gc_types::VMOffsets::DISPLAY_TABLE_SIZE) bytes for as long as
    /// compiled code runs, and its rows are those of the types the store's objects have.
    pub unsafe fn set_type_displays(&mut self, table: *const u32) {
        self.context.type_displays = table;
    }

    /// Tells compiled code where the function-reference table is now. To be called after
    /// each [`FuncRefTable::intern`](gc_runtime::FuncRefTable::intern).
    pub fn refresh_func_refs(&mut self) {
        let table = self.gc.func_refs();
        // The table keeps addresses, which it knows no more about.
        self.context.func_refs = table.base().cast::<*mut VMFuncRef>();
        self.context.func_refs_len = table.len();
    }

    /// Keeps `code` alive as long as the store.
    pub fn keep_alive(&mut self, code: Arc<CodeMemory>) {
        if !self.code.iter().any(|kept| Arc::ptr_eq(kept, &code)) {
            self.code.push(code);
        }
    }

    /// The code that is kept.
    pub fn code(&self) -> &[Arc<CodeMemory>] {
        &self.code
    }

    /// What compiled code sees of this store.
    pub fn context(&self) -> &VMStoreContext {
        &self.context
    }

    pub(crate) fn is_subtype(&self, actual: u32, expected: u32) -> bool {
        // SAFETY: the embedder's data, as `set_embedder`'s caller promised.
        unsafe { (self.hooks.is_subtype)(self.hooks.data, actual, expected) }
    }

    /// Whether compiled code of this store is on the stack.
    pub fn is_active(&self) -> bool {
        !self.context.activation.is_null()
    }

    /// The frames of compiled code on the stack, innermost first.
    pub fn stack_walk(&self) -> StackWalk<'_> {
        // SAFETY: whoever holds a reference to an active store is a host function that its
        // compiled code called, on the thread and above the frames it runs in.
        unsafe { StackWalk::new(&raw const self.context) }
    }

    /// The vmctx of the compiled function that called the host, if that was a compiled
    /// function (rather than the host itself, through a trampoline) and keeps its vmctx
    /// in a slot that the image names.
    pub fn caller_vmctx(&self) -> Option<*mut u8> {
        let frame = self.stack_walk().next()?.ok()?;
        // SAFETY: an activation on the store's list is on the stack.
        let entry_fp = unsafe { self.context.activation.as_ref()?.entry_fp };
        if frame.fp > entry_fp {
            return None;
        }
        frame.vmctx()
    }

    /// What a fault at `address` means, given that the instruction may fault for `trap`.
    /// `None` if no instruction of ours can fault there. For the signal handler.
    pub(crate) fn classify_fault(
        &self,
        trap: gc_types::Trap,
        address: usize,
    ) -> Option<gc_types::Trap> {
        use gc_types::Trap;
        if !matches!(trap, Trap::NullReference | Trap::CorruptHeap) {
            return Some(trap);
        }
        // A null function reference is an address, not an index into the heap.
        let func_ref_size = VMOffsets::HOST.func_ref_size() as usize;
        if trap == Trap::NullReference && address < func_ref_size {
            return Some(Trap::NullReference);
        }
        match address.checked_sub(self.heap.base().addr())? {
            offset if offset < NULL_PAGE_SIZE as usize => Some(Trap::NullReference),
            offset if offset < self.heap.reserved() => Some(Trap::CorruptHeap),
            _ => None,
        }
    }

    /// The lowest stack pointer that compiled code may have if it is entered for the first
    /// time here.
    pub(crate) fn outermost_stack_limit(max_stack: usize) -> usize {
        arch::stack_pointer()
            .saturating_sub(max_stack)
            .max(crate::stack_bounds::lowest_for_compiled_code())
    }
}

/// All roots of a [`JitStore`]: the references in its compiled frames, and what its
/// embedder names. Borrowed beside the heap by
/// [`gc_and_roots`](JitStore::gc_and_roots).
#[derive(Debug)]
pub struct StoreRoots<'a> {
    context: *const VMStoreContext,
    hooks: EmbedderHooks,
    _store: PhantomData<&'a JitStore>,
}

impl TraceRoots for StoreRoots<'_> {
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        // SAFETY: borrowed from a store that a host function holds exclusively: its frames
        // are at rest for as long as `self` lives.
        unsafe { walk::trace_stack(self.context, roots)? };
        // SAFETY: as `set_embedder`'s caller promised.
        unsafe { (self.hooks.trace_roots)(self.hooks.data, roots) }
    }

    fn drop_dead_handles(&mut self, drop: &mut dyn FnMut(VMGcRef)) {
        // SAFETY: as above.
        unsafe { (self.hooks.drop_dead_handles)(self.hooks.data, drop) }
    }
}
