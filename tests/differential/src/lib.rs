//! Random WebAssembly modules, to run in two engines and to compare what they do.
//!
//! [`generate`] makes a module from a seed with `wasm-smith`: every feature of WebAssembly 3.0, code
//! that ends, and the same bits for every NaN. [`instrument`] adds globals to it that count what it
//! executes. A run of a module is written down as a [`Run`] in words that belong to neither engine,
//! so that two runs can be compared. The engines themselves are in the tests of this package.

mod generate;
mod instrument;
mod run;

pub use generate::{FUEL, Seeded, generate};
pub use instrument::{COUNTERS, FUEL_EXPORT, instrument};
pub use run::{Argument, Call, Outcome, Run, Value, Verdict, compare, hash};
