//! Every fuzz target: those of gc-testkit, and those that need Wasm.
//!
//! This crate has the generators, the oracles, and the models of what a program of Rust or C knows (worlds).
//!
//! A [`Target`] joins a generator with an oracle and knows no fuzzing engine. libFuzzer runs it
//! under `fuzz/`. The test target `fuzz` of this crate runs it on the stable compiler: on each
//! input under `fuzz/corpus/` and `fuzz/regressions/`, and on some inputs made from seeds. The
//! book's page "Fuzzing" has the table of all targets and says how to add one.
//!
//! ```
//! let target = gc_fuzz::find("heap_agree").unwrap();
//! gc_fuzz::run(&target, b"some bytes", None);
//! ```
//!
//! A target tells [`report`] the configuration and the modules that it makes from its input, so that
//! they can be seen.
#![deny(unsafe_code)]

pub mod differential;
pub mod report;

mod api;
mod artifact;
mod async_drop;
mod code_corrupt;
mod collectors_agree;
mod compile;
mod compile_maybe_invalid;
mod compiling;
mod fuzzgen;
mod heaps;
mod instantiate;
mod instantiate_many;
mod list;
mod native_objects;
mod reachable;
mod refs;
mod spectests;
mod stack_maps;
mod table_ops;
mod value;
mod way;

use anyhow::Result;
use gc_testkit::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use gc_testkit::fuzz::Target;

/// All targets, by name. `differential` is among them with the feature `peers`.
pub fn targets() -> Vec<Target> {
    let mut targets = gc_testkit::fuzz::targets();
    targets.extend([
        api::RUST,
        api::C,
        artifact::TARGET,
        async_drop::TARGET,
        code_corrupt::TARGET,
        collectors_agree::TARGET,
        compile::TARGET,
        compile_maybe_invalid::TARGET,
        fuzzgen::TARGET,
        heaps::AGREE,
        heaps::CORRUPT,
        heaps::OPS,
        instantiate::TARGET,
        instantiate_many::TARGET,
        native_objects::TARGET,
        spectests::TARGET,
        stack_maps::TARGET,
        table_ops::TARGET,
    ]);
    #[cfg(feature = "peers")]
    targets.push(differential::TARGET);
    targets.sort_unstable_by_key(|target| target.name);
    targets
}

/// The target with this name.
pub fn find(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

/// Runs `target` on an input. With `files`, the modules of an input that fails are written to files
/// whose names begin with this path. The folder is made.
///
/// # Panics
/// If the target finds a fault. The message is the fault.
pub fn run(target: &Target, input: &[u8], files: Option<&Path>) {
    report::begin(files);
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let fault = match result {
        Ok(Ok(())) => return,
        Ok(Err(fault)) => format!("{fault:?}"),
        Err(panic) => format!("it panicked: {}", panic_text(&*panic)),
    };
    report::write();
    panic!("{}: {fault}", target.name);
}

/// Checks the environment variables that restrict targets, so that a mistake in them is found before
/// the first input.
///
/// # Errors
/// If one has an unknown name, or names a program that cannot be started.
pub fn check_variables() -> Result<()> {
    #[cfg(feature = "peers")]
    differential::check_variables()?;
    gc_testkit::clif::Operations::allowed().map(drop)
}

/// Runs code of others, whose panics are no faults of this project. `None` if it panics.
fn foreign<R>(work: impl FnOnce() -> R) -> Option<R> {
    gc_testkit::panics::expecting_a_panic(work).ok()
}
