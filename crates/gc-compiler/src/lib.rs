//! Everything that uses Cranelift. One part emits CLIF for allocation, barriers, casts and
//! safepoints: this is the emitted half of a collector. The driver compiles functions and links
//! them into a [`CodeImage`](gc_types::CodeImage). This crate has no heap and does not depend on
//! Wasm.
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
//! [`Compiler::finish`] inlines calls into a [`BuiltFunction`], simplifies it, places its safepoints and
//! checks it. [`Compiler::compile`] compiles the result, and an [`ImageLinker`] links functions.
//! All functions of an image are compiled for the same [`Abi`](gc_types::Abi).

mod address;
mod annotations;
mod array;
mod array_meter;
mod array_range;
mod cast;
mod compiler;
mod driver;
mod env;
mod exception;
mod finish;
mod func_ref;
mod i31;
mod object;

pub mod cache;
pub mod check;
pub mod collector;
pub mod inline;
pub mod regions;
pub mod safepoints;
mod side_table;
pub mod simplify;

pub use address::{Access, Trust};
pub use annotations::{AllocationSite, AllocationSites, Annotations};
pub use array::ArrayInit;
pub use cast::{RefTest, TestTarget};
pub use compiler::{GcCompiler, RefPlace};
pub use driver::{
    Compilation, CompilationEnded, CompileOptions, CompiledFunction, Compiler, FUNCTION_NAMESPACE,
    FrameStep, HOST_CALL_NAMESPACE, ImageLinker, Meter, MeterCalls, ObjectCode, ObjectFrame,
    ObjectReloc, ObjectTarget, OptLevel, RegallocAlgorithm, Symbol, TYPE_WORD_NAMESPACE,
    VMCTX_SLOT_KEY, call_signature, import_function, import_host_call, import_type_word,
    imported_host_call, tag_of_relay, tag_of_throw, type_word, zero_extended,
};
pub use env::{CollectorCode, GcEmitter, GcFuncEnv, host_call_signature, trap_code};
pub use finish::{BuiltFunction, FinishedFunction, Finisher};
pub use func_ref::{FuncRefTest, FuncRefType};
pub use object::Extend;
