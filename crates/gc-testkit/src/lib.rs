//! Tests that prove a collector, without a JIT and without trust in the collector.
//!
//! * [`mutator`]: a mock mutator. It has a stack, a table, globals and host handles, and uses a
//!   heap as compiled code and its host do, through the barriers of `GcHeap`. It names its roots as
//!   a moving collector needs.
//! * [`shadow`]: the expected state of the heap: the graph of objects in ordinary Rust values, and
//!   which of them must be alive.
//! * [`ops`]: operations, generated from bytes. A [`place`] is where a mutator keeps a reference.
//! * [`patterns`]: lists, arrays with holes and other uses of a heap, as many operations each.
//! * [`differential`]: runs operations on both and compares all that is reachable.
//! * [`agreement`]: runs operations under several collectors side by side. They must have the same
//!   results and leave the same [`graph`].
//! * [`corrupt`]: runs operations while the heap's bytes are overwritten, and searches for damage
//!   outside the heap.
//! * `clif` (with the feature `clif`): random functions as CLIF, to test the emitter and the
//!   checkers.
//! * [`fuzz`]: the fuzz targets that need no Wasm.
//! * [`choices`]: the choices of a generator of programs, from a seed or from bytes.
//! * [`objects`]: damages what a linked program knows of its code.
//! * [`panics`]: panics that a test expects.
//! * `trials` (with the feature `trials`): runs trials, or a sample of them.
//!
//! A [`Subject`] describes a collector, and bytes encode the operations:
//!
//! ```
//! use arbitrary::Unstructured;
//! use gc_runtime::collector::DrcCollector;
//! use gc_testkit::{Reclaims, Subject, differential, random};
//!
//! let subject = Subject::new(&DrcCollector, Reclaims::Everything);
//! differential::run(&subject, &mut Unstructured::new(&random::bytes(7, 1000)))?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! The crate `gc-conformance` has the suite that checks each promise of the traits and runs all of
//! this.
//!
//! A fault of a collector never causes a panic here. It is reported as an error that says where it
//! was found. The amount of work scales with [`scaled`].
#![deny(unsafe_code)]

pub mod agreement;
pub mod choices;
#[cfg(feature = "clif")]
pub mod clif;
pub mod corrupt;
pub mod differential;
pub mod fuzz;
pub mod graph;
pub mod mutator;
pub mod objects;
pub mod ops;
pub mod panics;
pub mod patterns;
pub mod place;
pub mod random;
pub mod roots;
pub mod schema;
pub mod shadow;
pub mod threads;
#[cfg(feature = "trials")]
pub mod trials;

mod host_value;
mod subject;

pub use gc_heap::Reclaims;
pub use host_value::{Ledger, Token};
pub use panics::panic_text;
pub use subject::Subject;

/// `amount` of work, scaled by the environment variable `TESTKIT_SCALE`, a percentage. The default
/// is 100; use less under sanitizers and more for long runs. The result is at least 1.
///
/// # Panics
/// If the variable is set and is not a number.
pub fn scaled(amount: u64) -> u64 {
    let percent = match std::env::var("TESTKIT_SCALE") {
        Ok(text) => text.parse().expect("TESTKIT_SCALE is a percentage, as in 10"),
        Err(_) => 100,
    };
    amount.saturating_mul(percent).div_ceil(100).max(1)
}
