//! The conformance suite: all tests for a collector, built-in or not, as trials of a test binary.
//!
//! * [`heap`]: named checks of each promise of the runtime half, random operations compared with a
//!   shadow heap, and damage, all without compiled code.
//! * [`embedding`]: a host that holds references, tested through compiled code: handles, host
//!   values, limits, reuse.
//! * [`spec`]: the specification's scripts.
//! * [`laws`]: whether the checkers notice stores without a barrier.
//! * [`programs`]: programs with known answers.
//! * [`random`]: random programs, which must have the same results under every collector.
//! * [`sandbox`]: a heap that is overwritten while compiled code uses it.
//!
//! Each area runs on heaps with and without checked bounds, and with and without zeal (a collection
//! at every allocation, with the heap verified before and after).
//!
//! To run the whole suite for your own collector, add a test target without a harness with this one
//! line:
//!
//! ```no_run
//! # fn my_collector() -> gc_wasm::Collector { gc_wasm::Collector::null() }
//! gc_conformance::conformance!(my_collector());
//! ```
//!
//! It takes the arguments of any test binary: a part of a name runs the trials whose name contains
//! it, and `--list` lists all trials. `TESTKIT_SCALE`, a percentage, scales the work of the heap's
//! checks and the number of random programs.
//!
//! # Features
//!
//! `suite`, the default, includes everything. `heap` alone has the checks of heaps without compiled
//! code, and depends on neither Cranelift nor Wasm.
#![deny(unsafe_code)]

#[cfg(feature = "heap")]
pub mod heap;

#[cfg(feature = "suite")]
mod suite;
#[cfg(feature = "suite")]
pub use gc_testkit::trials::conclude;
#[cfg(feature = "suite")]
pub use suite::{embedding, laws, main, programs, random, run, sandbox, scripts, spec, trials};

/// Defines the `main` of a test target without a harness. It runs the whole suite for each
/// [`Collector`](gc_wasm::Collector) argument.
#[cfg(feature = "suite")]
#[macro_export]
macro_rules! conformance {
    ($($collector:expr),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::main(&[$($collector),+])
        }
    };
}
