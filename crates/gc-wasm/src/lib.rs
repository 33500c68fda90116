//! A WebAssembly engine over pluggable collectors.
#![allow(dead_code)]

pub(crate) mod compile;
mod host_calls;
mod module;
mod types;
mod vmctx;
