//! Checkers: they re-derive from a finished function alone that it keeps the laws of
//! emitted code, in the manner of regalloc2's checker. They trust neither the emitter nor
//! the safepoint pass. What they are given is the CLIF, and what the program's types say
//! ([`FunctionTypes`]): which parameters, results and memory are references.
//!
//! | file | law |
//! |---|---|
//! | `roots` | References survive a call that may collect in the slots of its stack map, and nothing stale is used after it. |
//! | `barriers` | What is stored in the heap, a table or a global goes with the collector's [barrier](BarrierLaw). |
//! | `sandbox` | Every heap address has the sandbox's form, and no native address comes out of the heap. |
//!
//! For debug builds, tests and fuzzing. To be run when safepoints were placed and before
//! Cranelift optimises. Each takes time that is nearly proportional to the function.
//!
//! What they share says what a value is: `kinds` (reference, pointer, integer), `epochs`
//! (how far a point is from the last collection), `fresh` (objects allocated since then),
//! `view` (shapes of addresses).

mod barriers;
mod epochs;
mod fresh;
mod kinds;
mod roots;
mod sandbox;
mod types;
mod view;

use crate::GcCompiler;
use cranelift_codegen::ir;
use gc_types::Abi;
use std::fmt;

pub use barriers::{BarrierLaw, Matcher, RefStore, Step, StorePlace, Wanted, When};
pub use types::{FunctionTypes, Memory, SignatureTypes, ValueType};
pub use view::Linear;

/// Which checker found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checker {
    /// Stack maps, and values from before a collection.
    Roots,
    /// Write barriers.
    Barriers,
    /// Addresses.
    Sandbox,
}

impl Checker {
    /// All of them, in the order they are run in.
    pub const ALL: [Checker; 3] = [Checker::Roots, Checker::Barriers, Checker::Sandbox];
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Checker::Roots => "roots",
            Checker::Barriers => "barriers",
            Checker::Sandbox => "sandbox",
        })
    }
}

/// A law that a function breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// Who found it.
    pub checker: Checker,
    /// What is wrong.
    pub law: &'static str,
    /// The instruction, as CLIF.
    pub instruction: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.checker, self.law, self.instruction)
    }
}

impl std::error::Error for CheckError {}

/// What a function was built with.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// What the code depends on.
    pub abi: &'a Abi,
    /// The collector, which tells [what its barrier is](GcCompiler::barrier_laws).
    pub compiler: &'a dyn GcCompiler,
    /// What the types say of the function.
    pub types: &'a FunctionTypes,
}

impl fmt::Debug for CheckContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckContext")
            .field("abi", self.abi)
            .field("compiler", &self.compiler.name())
            .field("types", self.types)
            .finish()
    }
}

/// Where a law is broken.
struct Broken {
    law: &'static str,
    inst: ir::Inst,
}

/// Checks `func` with every checker.
///
/// # Errors
/// The first law that is broken, with the instruction that breaks it.
pub fn check_function(func: &ir::Function, cx: &CheckContext<'_>) -> Result<(), CheckError> {
    let view = view::View::new(func, cx);
    Checker::ALL.into_iter().try_for_each(|checker| run(&view, checker))
}

/// Checks `func` with one checker.
///
/// # Errors
/// As [`check_function`].
pub fn check_function_with(
    func: &ir::Function,
    cx: &CheckContext<'_>,
    checker: Checker,
) -> Result<(), CheckError> {
    run(&view::View::new(func, cx), checker)
}

fn run(view: &view::View<'_>, checker: Checker) -> Result<(), CheckError> {
    let checked = match checker {
        Checker::Roots => roots::check(view),
        Checker::Barriers => barriers::check(view),
        Checker::Sandbox => sandbox::check(view),
    };
    checked.map_err(|Broken { law, inst }| CheckError {
        checker,
        law,
        instruction: view.func.dfg.display_inst(inst).to_string(),
    })
}
