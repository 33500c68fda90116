//! Operations on references: those of tables, globals, structs and arrays, casts, and calls of a
//! host that takes, makes and drops references and collects. The model is Wasmtime's target
//! `gc_ops`.
//!
//! The bytes encode a list of operations on typed locals ([`ops`]). [`emit`] makes a module of them,
//! and [`model`] executes them on ordinary Rust values. [`run`] compares everything that the host
//! can see: the arguments of its functions, results and traps, the graph of objects behind globals
//! and tables, which host values live, and how many objects.

mod emit;
mod graph;
mod model;
mod ops;
mod run;
mod schema;
mod steps;

use gc_testkit::fuzz::Target;

pub(super) const TARGET: Target =
    Target { name: "table_ops", run: run::run, seeds: 200, length: 500, mutate: Some(ops::mutate) };
