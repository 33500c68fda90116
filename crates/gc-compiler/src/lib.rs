//! CLIF for allocation, barriers, casts and safepoints: the half of a collector
//! that is emitted code. No heap, no Wasm.
//!
//! An embedder builds a function with a `FunctionBuilder`, says what it knows of
//! it in a [`GcFuncEnv`], and hands both, as a [`GcEmitter`], to the
//! [`GcCompiler`] of the collector it was told to use. What does not depend on
//! the collector (casts, reference tests, `i31`, function references) is a
//! method of [`GcEmitter`] itself.
//!
//! Three things hold for every instruction emitted here. A reference is an `I64`
//! whose upper half is zero, and 32 bits in memory. Every memory access carries an
//! alias region ([`regions`]), and every access to the heap whose address derives
//! from heap bytes a trap code ([`GcEmitter`] tells which). A call to the host
//! stands in a cold block and goes to a trampoline that clobbers nothing.

mod address;
mod array;
mod cast;
mod compiler;
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
pub use env::{CompilerOptions, GcEmitter, GcFuncEnv, host_call_signature, trap_code};
pub use func_ref::{FuncRefTest, FuncRefType};
pub use object::Extend;
