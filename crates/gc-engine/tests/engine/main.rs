//! Tests of the engine for languages that do not compile to WebAssembly.

#[path = "../common/mod.rs"]
mod common;

mod casts;
mod exceptions;
mod first_hour;
mod functions;
mod globals;
mod groups;
mod host_values;
mod late_heap;
mod mistakes;
mod modules;
mod pieces;
mod raw_code;
mod replaced;
mod saved;
mod thirty_mistakes;
