//! Reclaim for C: the functions of `wasm.h`, the interface that engines of WebAssembly share, and those
//! of `reclaim.h`, which has what that one lacks: collectors, objects of the GC heap, exceptions, fuel,
//! epochs and the reasons of errors. Both headers are in the folder `include`.
//!
//! C links `libreclaim.a` or `libreclaim.so`. From Rust, use `gc-wasm`; this crate has the same
//! functions for tests.
//!
//! ```
//! use reclaim::{wasm_engine_delete, wasm_engine_new, wasm_store_delete, wasm_store_new};
//!
//! let engine = wasm_engine_new().unwrap();
//! let store = wasm_store_new(Some(&engine));
//! // An engine lives until its stores are deleted.
//! wasm_engine_delete(Some(engine));
//! wasm_store_delete(store);
//! ```
//!
//! # Safety
//! What the functions get is checked as far as it can be: NULL, handles of another store, types of
//! another engine, and values of another type are errors. The rest is up to the caller, as always in C:
//! a pointer is NULL or one that a function here has returned and that was not deleted, a vector has as
//! many elements as it says, and a store, with everything that belongs to it, is used by one thread at a
//! time. The functions are not `unsafe`, because their types say the rest.
#![allow(non_camel_case_types)]

mod engine;
mod error;
mod exceptions;
mod externals;
mod func;
mod gc;
mod global;
mod host_info;
mod instance;
mod macros;
mod memory;
mod module;
mod objects;
mod raw;
mod reference;
mod store;
mod table;
mod trap;
mod types;
mod value;
mod vector;

pub use engine::*;
pub use error::{CallResult, reclaim_last_error};
pub use exceptions::*;
pub use externals::*;
pub use func::*;
pub use gc::*;
pub use global::*;
pub use host_info::Finalizer;
pub use instance::*;
pub use memory::*;
pub use module::*;
pub use objects::*;
pub use raw::*;
pub use reference::*;
pub use store::*;
pub use table::*;
pub use trap::*;
pub use types::*;
pub use value::*;
pub use vector::*;
