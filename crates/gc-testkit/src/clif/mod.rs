//! Random functions that use a heap, as CLIF. They test the emitter, the safepoint pass and the
//! checkers (feature `clif`).
//!
//! A [`Program`] is made from bytes, so a seed or a fuzzer can make one, and failing programs can
//! be shrunk. It has a few blocks with any control flow between them: loops, joins, switches, and
//! irreducible control flow. Its variables hold references, 32-bit and 64-bit integers and function
//! references. It uses everything that `gc-compiler` emits: allocation, reads and writes of fields,
//! elements, tables and globals, casts and tests, `i31`s, bulk operations, host calls, and calls of
//! other compiled functions that may collect.
//!
//! [`Program::build`] emits it for any collector, as an embedder does, and finishes it: it may be
//! simplified, safepoints are placed, and the checkers run over the result.
//!
//! ```
//! use gc_compiler::collector::copying::CopyingCompiler;
//! use gc_testkit::clif::{Program, abi};
//!
//! let program = Program::from_bytes(&gc_testkit::random::bytes(7, 500));
//! let abi = abi(&CopyingCompiler, true);
//! let function = program.build(&CopyingCompiler, &abi, true)?;
//! assert!(function.func().layout.entry_block().is_some());
//! # Ok::<(), anyhow::Error>(())
//! ```

mod build;
mod emit;
mod idioms;
mod mutate;
mod operations;
mod program;
pub mod world;

pub use build::finish;
pub use mutate::mutate;
pub use operations::Operations;
pub use program::Program;
pub use world::abi;
