//! Inlining of direct calls between the functions of an image.
//!
//! Cranelift copies the callee's body ([`cranelift_codegen::inline`]). This module decides which calls
//! are inlined, and carries over what Cranelift does not know: which values are references, the
//! source locations, and the types for the checkers. It runs before safepoints are placed. So the
//! references of caller and callee get one stack map where an inlined body may collect.
//!
//! # In which order
//!
//! A function whose body is small is a [`Candidate`]. [`inline_into_candidates`] inlines candidates
//! into each other, callees first, so a chain of small calls becomes one body. Then [`inline_calls`]
//! inlines them into every function, in parallel if the embedder wants. A call in a loop is inlined
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
mod live;
mod locations;
mod order;
mod straighten;
#[cfg(test)]
mod tests;

pub use locations::{CodeLocation, InlinedCalls};
pub use order::inline_into_candidates;

use crate::check::FunctionTypes;
use crate::driver::has_relays;
use crate::safepoints::References;
use anyhow::{Result, anyhow};
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::{Context, ir};
use gc_types::HostCall;
use std::borrow::Cow;
use std::collections::HashMap;

/// How far functions grow by inlining, and which host calls throw. Numbers are instructions of CLIF in
/// blocks that are not cold, without constants and jumps. If a function has more than four times as many
/// in cold blocks, a quarter of those counts instead. A branch or call with more than six arguments or
/// destinations counts once more for each four of them. If a call has handlers, each call of the inlined
/// body gets them, and they count like destinations. Without these additions, a module of 16 KB whose
/// branch hints call nearly everything cold was compiled to 305 MB of code, one of 32 KB with jump
/// tables to 135 MB, and one of 9 KB with hundreds of handlers to 742 MB. The last now has 28 MB.
#[derive(Clone, Copy, Debug)]
pub struct InlineLimits {
    /// The largest callee of a call outside of loops.
    pub callee: usize,
    /// The largest callee of a call in a loop.
    pub callee_in_loop: usize,
    /// The largest callee of a call that may be made again by the callee: both functions are
    /// candidates, and each calls the other, directly or through further candidates. A body that keeps
    /// more than sixteen words across one of its calls is not inlined there, because each level of the
    /// recursion would have room for them. In a test with thirty vectors in a function that is rarely
    /// called, 16,000 levels fitted on the stack with it inlined, and 500,000 without.
    pub callee_in_cycle: usize,
    /// The number of instructions by which every function may grow.
    pub growth: usize,
    /// The number of instructions by which a function may grow in addition, for each hundred
    /// instructions that it has.
    pub growth_per_hundred: usize,
    /// The largest function into which calls are inlined. None becomes larger by it. Larger functions
    /// are soon [huge](crate::CompileOptions::huge_function), and are then not optimized.
    pub largest_caller: usize,
    /// Whether calls in loops are inlined a second time: those that the inlined bodies make, and those
    /// that were left for want of room. So a recursive function that a loop calls has one call more
    /// inlined.
    pub again_in_loops: bool,
    /// Whether a host call of the embedder may throw an exception, as [`HostCall::THROW`] does. By
    /// default each of them may. Such a call gets the handlers of the call that is inlined, so its
    /// result must not be read after it.
    pub may_throw: fn(HostCall) -> bool,
}

impl Default for InlineLimits {
    fn default() -> InlineLimits {
        InlineLimits {
            callee: 30,
            callee_in_loop: 120,
            callee_in_cycle: 30,
            growth: 400,
            growth_per_hundred: 50,
            largest_caller: crate::CompileOptions::HUGE_FUNCTION / 2,
            again_in_loops: false,
            may_throw: |call| call.gc_signature().is_none(),
        }
    }
}

/// What belongs to a function besides its CLIF, until its safepoints are placed.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// Its references into the heap.
    pub references: References,
    /// Its types, if it is to be checked.
    pub types: Option<FunctionTypes>,
    /// The calls that were inlined into it.
    pub inlined: InlinedCalls,
}

/// A function that can be inlined: finished CLIF without safepoints.
#[derive(Clone, Debug)]
pub struct Candidate {
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
    /// A candidate. `func` is finished and has neither stack slots nor stack maps.
    pub fn new(mut func: ir::Function, mut annotations: Annotations) -> Candidate {
        annotations.references.resolve_aliases(&func.dfg);
        func.dfg.resolve_all_aliases();
        // The table of inlined calls must not grow faster than the code.
        let weight = choose::weight(&func) + annotations.inlined.calls().len();
        let (calls, live) = (choose::calls(&func), live::across_calls(&func));
        let has_relays = has_relays(&func);
        Candidate { func, annotations, weight, has_relays, calls, live, cycle: None }
    }

    /// Its CLIF.
    pub fn func(&self) -> &ir::Function {
        &self.func
    }

    /// What belongs to it besides its CLIF.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }
}

/// Inlines calls of `func`, and carries over to `annotations` what belongs to the inlined bodies.
/// Returns the indices of the inlined functions, without those that were inlined into them before,
/// each once and ascending.
///
/// `candidate` returns the function of the image with an index, if it can be inlined. The callee's
/// signature must be the one with which `func` calls it.
///
/// # Errors
/// If the function becomes too large for Cranelift.
///
/// # Examples
/// ```
/// # use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// # use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, InstBuilder, Signature, types};
/// # use cranelift_codegen::isa::CallConv;
/// use gc_compiler::import_function;
/// use gc_compiler::inline::{Annotations, Candidate, InlineLimits, inline_calls};
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
/// let candidate = Candidate::new(called, Annotations::default());
///
/// let mut annotations = Annotations::default();
/// let find = |index| (index == 1).then_some(&candidate);
/// let inlined = inline_calls(&mut caller, &mut annotations, &find, &InlineLimits::default())?;
/// assert_eq!(inlined, [1]);
/// assert!(!caller.display().to_string().contains("call fn0"));
/// # anyhow::Ok(())
/// ```
pub fn inline_calls<'a>(
    func: &mut ir::Function,
    annotations: &mut Annotations,
    candidate: &dyn Fn(u32) -> Option<&'a Candidate>,
    limits: &InlineLimits,
) -> Result<Vec<u32>> {
    inline_in_cycle(func, annotations, candidate, limits, None)
}

/// [`inline_calls`] for a function that is in this cycle of calls, if in any.
fn inline_in_cycle<'a>(
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
    annotations.references.resolve_aliases(&func.dfg);
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
