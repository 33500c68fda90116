//! Tests of compiled code as it runs: with a heap, on its stack, and with calls to the host.

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
