//! Everything Cranelift: CLIF for allocation, barriers, casts and safepoints, which is the
//! half of a collector that is emitted code, and the driver that compiles functions and
//! links them into a [`CodeImage`](gc_types::CodeImage). No heap, no Wasm.
//!
//! An embedder builds a function with a `FunctionBuilder` and describes it in a [`GcFuncEnv`]. Both,
//! with the [`GcCompiler`] of the chosen collector, make a [`GcEmitter`]. Its methods emit structs
//! and arrays, casts, reference tests, `i31` and function references. The emitter leaves what a
//! collector decides (allocation, barriers) to the [`GcCompiler`].
//!
//! Three rules hold for every emitted instruction. A reference is an `I64` whose upper half is
//! zero, and 32 bits in memory. Every memory access has an alias region ([`regions`]), and every
//! heap access whose address derives from heap bytes has a trap code (see [`GcEmitter`]). A call to
//! the host is in a cold block and goes to a trampoline that clobbers no register.
//!
//! A finished function goes to [`Compiler::compile`], and the result to an [`ImageLinker`]. All of
//! it is compiled for one [`Abi`](gc_types::Abi).

mod address;
mod array;
mod cast;
mod compiler;
mod driver;
mod env;
mod func_ref;
mod i31;
mod object;

pub mod check;
pub mod collector;
pub mod regions;
pub mod safepoints;

pub use address::{Access, Trust};
pub use array::ArrayInit;
pub use cast::{RefTest, TestTarget};
pub use compiler::{GcCompiler, RefPlace};
pub use driver::{
    CompileOptions, CompiledFunction, Compiler, FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE,
    ImageLinker, OptLevel, TYPE_WORD_NAMESPACE, VMCTX_SLOT_KEY, call_signature, declare_vmctx_slot,
    import_function, import_host_call, import_type_word, imported_host_call, set_stack_limit,
    type_word,
};
pub use env::{GcEmitter, GcFuncEnv, host_call_signature, trap_code};
pub use func_ref::{FuncRefTest, FuncRefType};
pub use object::Extend;
