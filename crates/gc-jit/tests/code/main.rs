//! Compiled code that runs with a heap, its stack and its host.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod exceptions;
mod fibers;
mod heap;
mod late_heap;
mod refusals;
mod saved;
mod traps;
mod walks;
