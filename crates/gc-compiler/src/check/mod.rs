//! Checkers for the laws of emitted code. Like regalloc2's checker, they derive the facts again
//! from the finished function and do not trust the emitter or the safepoint pass. Their inputs are
//! the CLIF and the program's types ([`FunctionTypes`]), which say which parameters, results and
//! memory are references.
//!
//! | file | law |
//! |---|---|
//! | [`stack_roots::check`] | References survive a call that may collect only in the slots of its stack map, and no stale reference is used after it. |
//! | `barriers` | Every store of a reference in the heap, a table or a global has the collector's [barrier](BarrierLaw). |
//! | `sandbox` | Every heap address has the sandbox's form, and no native address is loaded from the heap. With `side_tables`: a collector's native tables are accessed in the forms that the ABI has. |
//!
//! The checkers are for debug builds, tests and fuzzing. Run them after safepoints are placed and
//! before Cranelift optimizes the function. The time of each is nearly proportional to the
//! function's size.
//!
//! # Examples
//! A function keeps a reference across a call that may collect, and the reference was not marked:
//!
//! ```
//! use cranelift_codegen::cursor::{Cursor, FuncCursor};
//! use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Signature, types};
//! use cranelift_codegen::isa::CallConv;
//! use gc_compiler::check::{CheckContext, Checker, FunctionTypes, SignatureTypes, ValueType};
//! use gc_compiler::check::check_function;
//! use gc_compiler::safepoints::{References, place_safepoints};
//! use gc_compiler::{GcCompiler, collector::copying::CopyingCompiler, import_function};
//! use gc_types::Abi;
//!
//! // fn(vmctx, reference) -> reference
//! let mut signature = Signature::new(CallConv::Tail);
//! signature.params.extend([AbiParam::new(types::I64); 2]);
//! signature.returns.push(AbiParam::new(types::I64));
//! let mut func = Function::with_name_signature(Default::default(), signature.clone());
//! let callee = import_function(&mut func, 1, signature);
//! let entry = func.dfg.make_block();
//! let [vmctx, reference] = [0, 1].map(|_| func.dfg.append_block_param(entry, types::I64));
//! let mut cursor = FuncCursor::new(&mut func);
//! cursor.insert_block(entry);
//! cursor.ins().call(callee, &[vmctx, reference]);
//! cursor.ins().return_(&[reference]);
//!
//! let own = SignatureTypes::with_vmctx([ValueType::Ref], [ValueType::Ref]);
//! let mut types = FunctionTypes::new(own.clone());
//! types.declare_signature(func.dfg.ext_funcs[callee].signature, own);
//! let compiler = CopyingCompiler;
//! let abi = Abi::new(compiler.abi());
//! let cx = CheckContext { abi: &abi, laws: compiler.barrier_laws(), types: &types };
//!
//! let mut references = References::default();
//! let mut unmarked = func.clone();
//! place_safepoints(&mut unmarked, &references, &|_, _| true)?;
//! assert_eq!(check_function(&unmarked, &cx).unwrap_err().checker, Checker::Roots);
//!
//! references.mark(reference);
//! place_safepoints(&mut func, &references, &|_, _| true)?;
//! check_function(&func, &cx)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How
//! The checkers share the facts of [`stack_roots::check`] (whether a value is a reference, a pointer or an
//! integer, and which collections are between two points), `fresh` (objects allocated since the last
//! collection), and `view` (the forms of addresses). `language` says what is special of this crate's code.

mod barriers;
mod fresh;
mod language;
mod linear;
mod sandbox;
mod side_tables;
mod types;
mod view;

use cranelift_codegen::ir;
use gc_types::Abi;
use stack_roots::check::{BrokenLaw, check_facts};
use std::fmt;

pub use barriers::{BarrierLaw, Matcher, RefStore, Step, StorePlace, Wanted, When};
pub use linear::Linear;
pub use types::{FunctionTypes, Memory, SignatureTypes, ValueType, host_call_types};

/// A checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checker {
    /// Checks stack maps, and references that live across a collection.
    Roots,
    /// Checks write barriers.
    Barriers,
    /// Checks addresses and memory accesses.
    Sandbox,
}

impl Checker {
    /// All checkers, in the order in which they run.
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
    /// The checker that found the error.
    pub checker: Checker,
    /// The law that is broken.
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

/// The settings with which a function was built.
#[derive(Clone, Copy, Debug)]
pub struct CheckContext<'a> {
    /// The ABI of the code.
    pub abi: &'a Abi,
    /// The rules of the [barrier](crate::GcCompiler::barrier_laws) of the collector.
    pub laws: &'a [BarrierLaw],
    /// The types of the function.
    pub types: &'a FunctionTypes,
}

/// Checks `func` with every checker.
///
/// # Errors
/// Returns the first broken law and the instruction that breaks it.
pub fn check_function(func: &ir::Function, cx: &CheckContext<'_>) -> Result<(), CheckError> {
    let language = language::Emitted::new(func, cx);
    let view = view::View::new(func, cx, &language);
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
    let language = language::Emitted::new(func, cx);
    run(&view::View::new(func, cx, &language), checker)
}

fn run(view: &view::View<'_>, checker: Checker) -> Result<(), CheckError> {
    let checked = match checker {
        Checker::Roots => check_facts(view.facts()),
        Checker::Barriers => barriers::check(view),
        Checker::Sandbox => sandbox::check(view),
    };
    checked.map_err(|BrokenLaw { law, inst }| CheckError {
        checker,
        law,
        instruction: view.func.dfg.display_inst(inst).to_string(),
    })
}
