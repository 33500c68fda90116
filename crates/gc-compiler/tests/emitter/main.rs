//! Tests of the code that is emitted for operations on the heap, and of the checkers of its laws.

#[path = "../common/mod.rs"]
mod common;

mod barriers;
mod casts;
mod check;
mod emitted;
mod execute;
mod generational;
mod ranges;
mod refused;
