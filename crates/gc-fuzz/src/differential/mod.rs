//! Modules of `wasm-smith` do the same here as in another engine, or in another configuration.
//!
//! [`generate()`] makes a module: every feature of WebAssembly 3.0, code that ends, and the same bits
//! for every NaN. Globals count what it executes ([`instrument()`]), and bulk operations on memories,
//! tables and arrays are added. Its exported functions are called
//! with numbers and with references that it returned before. A run of a module is written down as a
//! [`Run`] in words that belong to no engine, so that two runs can be compared.
//!
//! One of the engines chooses the calls and their arguments while it runs the module, and the other
//! repeats them. If one has used up something (the stack, the heap), the comparison of this module
//! ends there.
//!
//! All but the generator needs the feature `peers`, which brings the other engines.

mod bulk;
mod features;
mod generate;
mod instrument;
mod run;

#[cfg(feature = "peers")]
mod allowed;
#[cfg(feature = "peers")]
mod embedding;
#[cfg(feature = "peers")]
pub mod ours;
#[cfg(feature = "peers")]
mod target;
#[cfg(feature = "peers")]
mod v8;
#[cfg(feature = "peers")]
mod wasmi;
#[cfg(feature = "peers")]
pub mod wasmtime;

pub use features::Features;
pub(crate) use generate::config;
pub use generate::{FUEL, generate};
pub use instrument::{COUNTERS, FUEL_EXPORT, instrument};
#[cfg(feature = "peers")]
pub use ours::Setting;
pub use run::{Argument, Call, Number, ObservedValue, Outcome, Run, Verdict, compare, hash};

#[cfg(feature = "peers")]
pub(crate) use target::{TARGET, check_variables};

/// The first bytes of an input make choices. The others become the module.
pub const CHOICES: usize = 40;

/// Bytes of stack for compiled code in all engines. What calls itself until its fuel is used seldom
/// needs more.
#[cfg(feature = "peers")]
pub const STACK: usize = 1 << 20;

/// The error of a host function that has no value to return.
#[cfg(feature = "peers")]
const NO_VALUE: &str = "the host has no value of this type";

/// The failure of a module for whose imports there are no values.
const NO_IMPORT: &str = "an import for which there is no value";
