//! The native structures that compiled code reads, as Rust sees them. Their
//! offsets are [`VMOffsets`]'s, pinned by the assertions at the end.

use crate::Activation;
use gc_types::{VMOffsets, ValRaw};

/// What all vmctxs of one store share. Compiled code reads and writes it; it is
/// the first field of its [`JitStore`](crate::JitStore), so that a vmctx leads there.
#[derive(Debug)]
#[repr(C)]
pub struct VMStoreContext {
    /// The lowest stack pointer compiled code may have.
    pub stack_limit: usize,
    /// Frame pointer of the trampoline through which the innermost activation last
    /// called the host; zero before it did.
    pub last_exit_fp: usize,
    /// The innermost activation.
    pub activation: *mut Activation,
    /// Host functions by [`HostCall`](gc_types::HostCall) index.
    pub host_calls: *const *const u8,
    /// Where host-call trampolines leave their result.
    pub host_result: u64,
    reserved: usize,
    /// The type display table.
    pub type_displays: *const u32,
    /// Function references by id.
    pub func_refs: *const *mut VMFuncRef,
    /// Number of ids in that table.
    pub func_refs_len: usize,
}

impl VMStoreContext {
    pub(crate) const fn new() -> VMStoreContext {
        VMStoreContext {
            stack_limit: 0,
            last_exit_fp: 0,
            activation: std::ptr::null_mut(),
            host_calls: std::ptr::null(),
            host_result: 0,
            reserved: 0,
            type_displays: std::ptr::null(),
            func_refs: std::ptr::null(),
            func_refs_len: 0,
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
    pub store_context: *mut VMStoreContext,
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
        VMStoreContext.stack_limit = store_stack_limit;
        VMStoreContext.last_exit_fp = store_last_exit_fp;
        VMStoreContext.activation = store_activation;
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
    assert!(size_of::<VMFuncRef>() == O.func_ref_size() as usize);
    assert!(size_of::<VMContextPrefix>() == O.vmctx_prefix_size() as usize);
};
