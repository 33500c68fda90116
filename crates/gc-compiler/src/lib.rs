//! CLIF for allocation, barriers, casts and safepoints: the half of a collector
//! that is emitted code. No heap, no Wasm.
mod address;
mod array;
mod cast;
mod compiler;
mod env;
mod i31;
mod object;
mod regions;
pub mod collector;

pub use compiler::{GcCompiler, RefPlace};
pub use env::{GcEmitter, GcFuncEnv, CompilerOptions};
