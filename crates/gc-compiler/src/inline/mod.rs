//! Inlining of direct calls between the functions of an image.
//!
//! Cranelift copies the callee's body ([`cranelift_codegen::inline`]). This module decides which calls
//! are inlined, and carries over what Cranelift does not know: which values are references, the
//! source locations, and the types for the checkers. It runs before safepoints are placed. So the
//! references of caller and callee get one stack map where an inlined body may collect.
//!
//! # In which order
//!
//! A function whose body is small is a candidate. [`Inlining::new`] inlines candidates
//! into each other, callees first, so a chain of small calls becomes one body. Then
//! [`Compiler::finish`](crate::Compiler::finish) inlines them into every function, in parallel if the
//! embedder wants. A call in a loop is inlined
//! before a call outside of it, and a small callee before a larger one, until the caller has grown as
//! far as [`InlineLimits`] say. Blocks with many such calls are cut first (`cut`).
//!
//! The calls in loops that inlined bodies make can be inlined too ([`InlineLimits::again_in_loops`]). A
//! body may be larger if its function and the caller call each other
//! ([`InlineLimits::callee_in_cycle`]).
//!
//! Cycles of calls have an end: a candidate has no calls of itself inlined, and of two candidates that
//! call each other, one is inlined into the other, but not the other way round.
//!
//! A candidate into which much is inlined is often too large to be inlined itself. To inline the body that
//! it had before was slower: `richards` took 1.05 of its time.
//!
//! # Exceptions
//!
//! A call with handlers gives its handlers to the calls in the inlined body. Of the host calls only
//! those get them that [may throw](InlineLimits::may_throw). The others keep all registers.

mod choose;
mod copy;
mod cut;
mod limits;
mod live;
mod locations;
mod order;
mod straighten;
#[cfg(test)]
mod tests;

pub use limits::InlineLimits;
pub use locations::{CodeLocation, InlinedCalls};

use crate::annotations::Annotations;
use crate::driver::has_relays;
use crate::finish::BuiltFunction;
use anyhow::{Result, anyhow};
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::{Context, ir};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// The functions of an image whose calls may be inlined, and the limits for that.
///
/// # Examples
/// ```
/// # use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// # use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, InstBuilder, Signature, types};
/// # use cranelift_codegen::isa::CallConv;
/// use gc_compiler::inline::{InlineLimits, Inlining};
/// use gc_compiler::{
///     BuiltFunction, CompileOptions, Finisher, GcCompiler, collector::null::NullCompiler, import_function,
/// };
/// use gc_types::Abi;
///
/// # let mut signature = Signature::new(CallConv::Tail);
/// # signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// # let with_entry = || {
/// #     let mut func = Function::with_name_signature(Default::default(), signature.clone());
/// #     let entry = func.dfg.make_block();
/// #     let vmctx = func.dfg.append_block_param(entry, types::I64);
/// #     func.layout.append_block(entry);
/// #     (func, entry, vmctx)
/// # };
/// # let (mut called, entry, _) = with_entry();
/// # FuncCursor::new(&mut called).at_bottom(entry).ins().return_(&[]);
/// # let (mut caller, entry, vmctx) = with_entry();
/// // `caller` calls function 1, whose CLIF is `called`.
/// let callee = import_function(&mut caller, 1, signature.clone());
/// # let mut cursor = FuncCursor::new(&mut caller).at_bottom(entry);
/// # cursor.ins().call(callee, &[vmctx]);
/// # cursor.ins().return_(&[]);
/// let called = BuiltFunction::new(called, Default::default());
/// let inlining = Inlining::new([(1, called)], InlineLimits::default())?;
///
/// let abi = Abi::new(NullCompiler.abi());
/// let finisher = Finisher::new(&NullCompiler, &abi, &CompileOptions::default());
/// let finished = finisher.finish(BuiltFunction::new(caller, Default::default()), &inlining)?;
/// assert_eq!(finished.annotations().inlined.calls()[0].function, 1);
/// assert!(!finished.func().display().to_string().contains("call fn0"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Inlining {
    candidates: BTreeMap<u32, Candidate>,
    limits: InlineLimits,
}

impl Inlining {
    /// Nothing is inlined.
    pub fn none() -> Inlining {
        Inlining::default()
    }

    /// Calls of `functions` may be inlined. They have the numbers that they have in the image. They are
    /// inlined into each other at once.
    ///
    /// The signature of a function must be the one with which others call it.
    ///
    /// # Errors
    /// If a function becomes too large for Cranelift.
    pub fn new(
        functions: impl IntoIterator<Item = (u32, BuiltFunction)>,
        limits: InlineLimits,
    ) -> Result<Inlining> {
        let candidate = |(index, function): (u32, BuiltFunction)| {
            let (func, annotations) = function.into_parts();
            (index, Candidate::new(func, annotations))
        };
        let mut candidates = functions.into_iter().map(candidate).collect();
        order::inline_into_candidates(&mut candidates, &limits)?;
        Ok(Inlining { candidates, limits })
    }

    /// A copy of the function with this number, with what is inlined into it. `None` if calls of it are
    /// never inlined.
    pub fn function(&self, index: u32) -> Option<BuiltFunction> {
        let Candidate { func, annotations, .. } = self.candidates.get(&index)?;
        Some(BuiltFunction::with_calls_inlined(func.clone(), annotations.clone()))
    }

    /// Inlines calls of `func`, and carries over to `annotations` what belongs to the inlined bodies.
    ///
    /// # Errors
    /// If the function becomes too large for Cranelift.
    pub(crate) fn inline_into(
        &self,
        func: &mut ir::Function,
        annotations: &mut Annotations,
    ) -> Result<()> {
        if !self.candidates.is_empty() {
            let candidate = |index| self.candidates.get(&index);
            inline_calls(func, annotations, &candidate, &self.limits, None)?;
        }
        Ok(())
    }
}

/// A function whose calls may be inlined.
#[derive(Clone, Debug)]
struct Candidate {
    func: ir::Function,
    annotations: Annotations,
    weight: usize,
    /// Whether it is only inlined into, because a copy would have the same relays.
    has_relays: bool,
    /// The number of its calls.
    calls: usize,
    /// The words that are live across one of them.
    live: usize,
    /// The number of the cycle of calls that it is in, if it is in one.
    cycle: Option<usize>,
}

impl Candidate {
    /// A candidate. `func` has neither stack slots nor stack maps.
    fn new(mut func: ir::Function, mut annotations: Annotations) -> Candidate {
        annotations.resolve_aliases(&func.dfg);
        func.dfg.resolve_all_aliases();
        // The table of inlined calls must not grow faster than the code.
        let weight = choose::weight(&func) + annotations.inlined.calls().len();
        let (calls, live) = (choose::calls(&func), live::across_calls(&func));
        let has_relays = has_relays(&func);
        Candidate { func, annotations, weight, has_relays, calls, live, cycle: None }
    }
}

/// Inlines calls of `func`, which is in this cycle of calls, if in any, and carries over to `annotations`
/// what belongs to the inlined bodies. Returns the numbers of the inlined functions, without those that were
/// inlined into them before, each once and ascending.
///
/// # Errors
/// If the function becomes too large for Cranelift.
fn inline_calls<'a>(
    func: &mut ir::Function,
    annotations: &mut Annotations,
    candidate: &dyn Fn(u32) -> Option<&'a Candidate>,
    limits: &InlineLimits,
    cycle: Option<usize>,
) -> Result<Vec<u32>> {
    let mut growth = choose::growth(func, limits);
    let mut functions = Vec::new();
    for round in [Round::First, Round::InLoops] {
        if round == Round::InLoops && !limits.again_in_loops {
            break;
        }
        let chosen = choose::choose(func, candidate, limits, cycle, round, &mut growth);
        if chosen.is_empty() {
            break;
        }
        inline_chosen(func, annotations, candidate, limits, chosen, &mut functions)?;
    }
    functions.sort_unstable();
    functions.dedup();
    Ok(functions)
}

/// Which calls are inlined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// All calls of the function.
    First,
    /// The calls in loops that the inlined bodies make, or that were left.
    InLoops,
}

/// Inlines the `chosen` calls, and adds their functions to `functions`.
fn inline_chosen<'a>(
    func: &mut ir::Function,
    annotations: &mut Annotations,
    candidate: &dyn Fn(u32) -> Option<&'a Candidate>,
    limits: &InlineLimits,
    chosen: HashMap<ir::Inst, u32>,
    functions: &mut Vec<u32>,
) -> Result<()> {
    cut::cut(func, |inst| chosen.contains_key(&inst));
    let calls = &annotations.inlined;
    let mut inliner = Inliner { candidate, chosen, calls, copies: Vec::new() };
    let mut context = Context::for_function(std::mem::replace(func, ir::Function::new()));
    let result = context.inline(&mut inliner);
    *func = context.func;
    result.map_err(|error| anyhow!("inlining its callees failed: {error}"))?;
    let Inliner { copies, .. } = inliner;
    for copy in &copies {
        copy::annotate(func, annotations, copy, limits.may_throw)?;
        functions.push(copy.call.function);
    }
    straighten::straighten(func);
    // The results of an inlined call have become aliases of what the callee returns.
    annotations.resolve_aliases(&func.dfg);
    func.dfg.resolve_all_aliases();
    Ok(())
}

/// Tells Cranelift which calls are inlined.
struct Inliner<'f, 'a> {
    candidate: &'f dyn Fn(u32) -> Option<&'a Candidate>,
    chosen: HashMap<ir::Inst, u32>,
    /// The calls that were inlined before.
    calls: &'f InlinedCalls,
    copies: Vec<copy::Copy<'a>>,
}

impl Inline for Inliner<'_, '_> {
    fn inline(
        &mut self,
        caller: &ir::Function,
        inst: ir::Inst,
        _opcode: ir::Opcode,
        _callee: ir::FuncRef,
        _args: &[ir::Value],
    ) -> InlineCommand<'_> {
        let chosen = self.chosen.get(&inst).copied();
        let Some((function, callee)) =
            chosen.and_then(|index| Some((index, (self.candidate)(index)?)))
        else {
            return InlineCommand::KeepCall;
        };
        self.copies.push(copy::Copy::new(caller, self.calls, inst, function, callee));
        InlineCommand::Inline { callee: Cow::Borrowed(&callee.func), visit_callee: false }
    }
}
