//! A thin driver for code that Cranelift compiles: code memory, trampolines,
//! stack walks, traps. It knows no Wasm and no collector.
//!
//! The parts, in the order an embedder meets them:
//!
//! 1. [`JitCompiler`] compiles `ir::Function`s to [`CompiledFunction`]s, on as many
//!    threads as wanted. Functions call each other and the host by the names that
//!    [`import_function`] and [`import_host_call`] declare.
//! 2. [`CodeImageBuilder`] links them into a [`CodeImage`]: position-independent
//!    bytes and tables (traps, stack maps, source locations), nothing absolute.
//! 3. [`CodeMemory::publish`] maps an image executable and registers its addresses.
//! 4. A [`JitStore`] joins a [`GcStore`](gc_runtime::GcStore) with the
//!    [`VMStoreContext`] that compiled code reads, and [`JitStore::call`] runs code
//!    through an [`EntryTrampoline`]. Compiled code calls the host through host
//!    calls and [`ExitTrampoline`]s; both record where compiled code was left.
//! 5. From there a [`StackWalk`] finds every frame and its references. A trap or a
//!    failing host function resumes at the entry trampoline's handler, and `call`
//!    returns a [`CallError`].
//!
//! Nothing here is global but the registry of published code, the signal handler
//! that reads it, and one thread-local word: the thread's innermost activation.
#![deny(unsafe_code)]

mod activation;
mod arch;
mod backtrace;
mod call;
mod code_memory;
mod compile;
mod error;
mod gc_calls;
mod guard;
mod image;
mod names;
mod registry;
mod signals;
mod stack_bounds;
mod store;
mod trampoline;
mod val_raw;
mod vmcontext;
mod walk;

pub use activation::Activation;
pub use backtrace::{Backtrace, BacktraceFrame};
pub use code_memory::{CodeMemory, FrameInfo};
pub use compile::{CompiledFunction, JitCompiler, JitOptions, OptLevel};
pub use error::{CallError, TrapError};
pub use gc_compiler::host_call_signature;
pub use guard::{host_call_guard, host_call_guard_infallible};
pub use image::{CodeImage, CodeImageBuilder, FunctionId, FunctionInfo};
pub use names::{
    FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, VMCTX_SLOT_KEY, declare_vmctx_slot, import_function,
    import_host_call, imported_host_call, set_stack_limit,
};
pub use registry::lookup_code;
pub use store::{EmbedderHooks, JitStore, StoreRoots};
pub use trampoline::{EntryTrampoline, ExitTrampoline};
pub use val_raw::ValRaw;
pub use vmcontext::{HostFunction, VMContextPrefix, VMFuncRef, VMHostFuncContext, VMStoreContext};
pub use walk::{Frame, StackWalk};
