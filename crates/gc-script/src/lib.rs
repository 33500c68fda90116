//! Specification scripts, and what else is read and printed as text: values and errors.
//!
//! The command, the conformance suite and the fuzz targets use this crate.
//!
//! * [`run_script`] runs a specification script (`*.wast`), and returns a [`Report`].
//! * [`suite`] says which scripts of the specification's suite run, and what must come of them.
//! * [`proposals`] finds the unsupported proposals that a module needs.
//! * [`values`] reads and prints values.
//! * [`message`] prints errors with their causes.
//! * [`stack`] runs work on a thread that has enough stack for compiled code.
//! * [`random`] has random programs, and [`sandbox`] a program whose heap is damaged. The suite runs them, and
//!   so do fuzz targets.
//!
//! ```
//! use gc_script::run_script;
//! use gc_wasm::Engine;
//!
//! let script = r#"
//!     (module (func (export "two") (result i32) (i32.const 2)))
//!     (assert_return (invoke "two") (i32.const 2))
//!     (assert_return (invoke "two") (i32.const 3))"#;
//! let report = run_script(&Engine::default(), "two.wast", script)?;
//! assert_eq!(report.summary(), "2 passed, 1 failed");
//! assert_eq!(report.failures[0].at, "two.wast:4:6");
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(unsafe_code)]

pub mod message;
pub mod proposals;
pub mod random;
pub mod sandbox;
pub mod stack;
pub mod suite;
pub mod values;

mod script;

pub use script::{Report, ScriptFailure, run_script, run_script_with};
