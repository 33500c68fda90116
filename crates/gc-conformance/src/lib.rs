//! The conformance suite: everything a collector is put to, ours or anybody's, as trials
//! of a test binary.
//!
//! * [`heap`]: named checks of each promise that the runtime half makes, random operations
//!   beside a shadow heap, and damage, all without compiled code.
//! * [`embedding`]: what a host that holds references sees, through compiled code:
//!   handles, host values, limits, reuse.
//! * [`spec`]: the specification's scripts.
//! * [`programs`]: programs with known answers.
//! * [`random`]: random programs, which must come to the same under every collector.
//! * [`sandbox`]: a heap that is overwritten while compiled code works on it.
//!
//! Each area runs on heaps with and without checked bounds, as usual and with zeal: a
//! collection at every allocation, with the heap verified around it.
//!
//! The whole of it for a collector of one's own is a test target without a harness whose
//! file is one line:
//!
//! ```no_run
//! # fn my_collector() -> gc_wasm::Collector { gc_wasm::Collector::null() }
//! gc_conformance::conformance!(my_collector());
//! ```
//!
//! It takes the arguments of any test binary: a part of a trial's name runs those trials,
//! `--list` lists them. `TESTKIT_SCALE` scales the work of the heap's checks.
//!
//! # Features
//!
//! `suite`, the default, is all of this. `heap` alone is the checks of heaps, for those who
//! have no compiled code: it brings neither Cranelift nor Wasm. `scripts` alone is what runs
//! specification scripts, with values and errors as text, for the command.
#![deny(unsafe_code)]

#[cfg(feature = "heap")]
pub mod heap;

#[cfg(feature = "scripts")]
pub mod message;
#[cfg(feature = "scripts")]
pub mod scripts;
#[cfg(feature = "scripts")]
pub mod stack;
#[cfg(feature = "scripts")]
pub mod values;

#[cfg(feature = "suite")]
mod suite;
#[cfg(feature = "suite")]
pub use suite::{embedding, main, programs, random, run, sandbox, spec, trials};

/// Makes the `main` of a test target without a harness: the whole suite for each of the
/// [`Collector`](gc_wasm::Collector)s that are its arguments.
#[cfg(feature = "suite")]
#[macro_export]
macro_rules! conformance {
    ($($collector:expr),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::main(&[$($collector),+])
        }
    };
}
