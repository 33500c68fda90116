//! The native structures that compiled code reads, as Rust sees them. Their
//! offsets are [`VMOffsets`]'s, pinned by the assertions at the end.

use crate::Activation;
use crate::backtrace::TracedPcs;
use crate::stack::{SuspendedStack, VMStack};
use gc_runtime::HeapMapping;
use gc_types::{NULL_PAGE_SIZE, Trap, VMOffsets, ValRaw};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// A word that compiled code reads or writes while the host holds only shared references
/// to it. One thread at a time uses it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Word(AtomicUsize);

impl Word {
    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// As [`Word`], an address.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Pointer<T>(AtomicPtr<T>);

impl<T> Pointer<T> {
    pub(crate) const fn new(pointer: *mut T) -> Pointer<T> {
        Pointer(AtomicPtr::new(pointer))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, pointer: *mut T) {
        self.0.store(pointer, Ordering::Relaxed);
    }
}

impl<T> Default for Pointer<T> {
    fn default() -> Pointer<T> {
        Pointer::new(std::ptr::null_mut())
    }
}

/// What all vmctxs of one store share. Compiled code reads and writes the fields that have
/// offsets in [`VMOffsets`]; the rest is for the signal handler.
///
/// Its [`JitState`](crate::JitState) owns it and it never moves. Everything in it can be
/// changed through a shared reference, because compiled code holds its address all the time.
#[derive(Debug)]
#[repr(C)]
pub struct VMStoreContext {
    /// The stack that compiled code runs on.
    pub(crate) stack: VMStack,
    /// Host functions by [`HostCall`](gc_types::HostCall) index.
    host_calls: Pointer<*const u8>,
    /// Where host-call trampolines leave their result.
    host_result: AtomicU64,
    reserved: Word,
    /// The type display table.
    pub(crate) type_displays: Pointer<u32>,
    /// Function references by id.
    pub(crate) func_refs: Pointer<*mut VMFuncRef>,
    /// Number of ids in that table.
    pub(crate) func_refs_len: Word,
    /// Which native stack compiled code is on.
    pub(crate) native_stack: Word,
    /// The stack that was suspended last; null if there is none.
    pub(crate) suspended: Pointer<SuspendedStack>,
    /// The heap's addresses.
    heap: Arc<HeapMapping>,
    /// Where a signal handler notes the stack.
    pub(crate) traced: TracedPcs,
}

impl VMStoreContext {
    /// The context of a store over `heap`. `host_calls` must live as long.
    pub(crate) fn new(heap: Arc<HeapMapping>, host_calls: *const *const u8) -> VMStoreContext {
        VMStoreContext {
            stack: VMStack::default(),
            host_calls: Pointer::new(host_calls.cast_mut()),
            host_result: AtomicU64::new(0),
            reserved: Word::default(),
            type_displays: Pointer::default(),
            func_refs: Pointer::default(),
            func_refs_len: Word::default(),
            native_stack: Word::default(),
            suspended: Pointer::default(),
            heap,
            traced: TracedPcs::new(),
        }
    }

    /// The heap's addresses.
    pub(crate) fn heap(&self) -> &HeapMapping {
        &self.heap
    }

    /// What a fault at `address` means, given that the instruction may fault for `trap`.
    /// `None` if no instruction of ours can fault there. For the signal handler.
    pub(crate) fn classify_fault(&self, trap: Trap, address: usize) -> Option<Trap> {
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
}

/// A callable: code, the vmctx to call it with, and its type.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VMFuncRef {
    /// The code's address (`CallConv::Tail`).
    pub code: *const u8,
    /// The vmctx to pass.
    pub vmctx: *mut u8,
    /// Its type's index in the engine.
    pub ty: u32,
    /// Its id in the store's table, never zero.
    pub id: u32,
}

/// What every vmctx begins with.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct VMContextPrefix {
    /// The heap's base address.
    pub heap_base: *mut u8,
    /// The collector's [heap data](gc_types::HeapDataOffsets).
    pub heap_data: *mut u8,
    /// The store context.
    pub store_context: *const VMStoreContext,
}

/// A host function as an exit trampoline calls it: gets
/// its [`VMHostFuncContext`] and the array that holds its arguments and takes its
/// results. Returns [`HostCall::FAILED`](gc_types::HostCall::FAILED) if it failed
/// (use [`host_call_guard`](crate::host_call_guard)), anything else if not.
pub type HostFunction = extern "C" fn(context: *mut u8, values: *mut ValRaw) -> u64;

/// The vmctx of a host function that compiled code calls like its own. An embedder
/// puts its own data behind it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct VMHostFuncContext {
    /// What every vmctx begins with.
    pub prefix: VMContextPrefix,
    /// What the exit trampoline calls.
    pub function: HostFunction,
}

const _: () = {
    use std::mem::offset_of;
    const O: VMOffsets = VMOffsets::HOST;
    macro_rules! pin {
        ($($ty:ident.$field:ident = $offset:ident;)*) => {
            $(assert!(offset_of!($ty, $field) == O.$offset() as usize);)*
        };
    }
    pin! {
        VMStack.limit = store_stack_limit;
        VMStack.last_exit_fp = store_last_exit_fp;
        VMStack.activation = store_activation;
        VMStoreContext.host_calls = store_host_calls;
        VMStoreContext.host_result = store_host_result;
        VMStoreContext.type_displays = store_type_displays;
        VMStoreContext.func_refs = store_func_refs;
        VMStoreContext.func_refs_len = store_func_refs_len;
        VMFuncRef.code = func_ref_code;
        VMFuncRef.vmctx = func_ref_vmctx;
        VMFuncRef.ty = func_ref_type;
        VMFuncRef.id = func_ref_id;
        VMContextPrefix.heap_base = vmctx_heap_base;
        VMContextPrefix.heap_data = vmctx_heap_data;
        VMContextPrefix.store_context = vmctx_store_context;
        VMHostFuncContext.function = vmctx_prefix_size;
        Activation.previous = activation_previous;
        Activation.entry_fp = activation_entry_fp;
        Activation.handler_pc = activation_handler_pc;
        Activation.frame_offset = activation_frame_offset;
    }
    assert!(offset_of!(VMStoreContext, stack) == 0);
    assert!(size_of::<VMFuncRef>() == O.func_ref_size() as usize);
    assert!(size_of::<VMContextPrefix>() == O.vmctx_prefix_size() as usize);
};
