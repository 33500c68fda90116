//! From functions to an image: Cranelift, configured the way compiled code needs it here,
//! and the linker that makes a [`CodeImage`](gc_types::CodeImage) of what it compiled.
//!
//! The parts, in the order an embedder meets them:
//!
//! 1. `names`: how the functions it builds declare what they call.
//! 2. `compile`: [`Compiler`](crate::Compiler) compiles one function at a time, on as many
//!    threads as wanted, to a [`CompiledFunction`](crate::CompiledFunction).
//! 3. `link`: [`ImageLinker`](crate::ImageLinker) puts functions and the trampolines they
//!    need together.
//! 4. `trampoline`: the ways between host and compiled code, which every image brings
//!    along.

mod compile;
mod link;
mod machine;
mod names;
mod refuse;
mod signature;
mod trampoline;

pub use compile::{CompileOptions, CompiledFunction, Compiler, OptLevel};
pub use link::ImageLinker;
pub(crate) use names::zero_extended;
pub use names::{
    FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, TYPE_WORD_NAMESPACE, VMCTX_SLOT_KEY,
    declare_vmctx_slot, import_function, import_host_call, import_type_word, imported_host_call,
    set_stack_limit, type_word,
};
pub use signature::call_signature;
