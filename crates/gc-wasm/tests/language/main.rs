//! Tests of programs in WebAssembly, and of the code that is compiled for them: instructions, traps,
//! exceptions, tail calls, optimisations, and references that must stay valid.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/executor.rs"]
mod executor;

mod compile_bombs;
mod compile_time;
mod constant_data;
mod exceptions;
mod explore_sides;
mod folding;
mod globals;
mod handler_registers;
mod i31_arithmetic;
mod inlining;
mod likely_calls;
mod liveness;
mod many_handlers;
mod memories;
mod names;
mod out_of_memory;
mod simd;
mod stack;
mod tables;
mod tail_calls;
mod traps;
mod typing;
