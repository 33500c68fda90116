//! Inlining within a module: small functions are translated first, and inlined into each other. The
//! others are translated when they are compiled. So only the CLIF of small functions is kept.

use super::env::Uses;
use super::targets::Targets;
use super::translate::{self, Allocations, Translation};
use super::{CompileContext, describe};
use crate::host_calls;
use crate::module::parse::Body;
use anyhow::{Context as _, Error, Result};
use cranelift_codegen::ir;
use gc_compiler::inline::{Candidate, InlineLimits, inline_calls, inline_into_candidates};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// The largest body that is inlined, in bytes of WebAssembly. The compiler's own limit counts the
/// instructions of CLIF, most of which stand for some bytes.
const MAX_BODY: usize = 160;

/// The largest sum of the bodies that may be inlined, in bytes of WebAssembly. The CLIF of each is
/// kept, some 50 times this.
const MAX_BODIES: usize = 1 << 20;

/// How many bytes of WebAssembly the functions of a small module have at most. It is compiled soon, so
/// more is inlined into it.
const SMALL_MODULE: usize = 32 << 10;

/// The largest callee of a call outside of loops in a small module, in instructions of CLIF. Which of
/// these calls are often made is not known, so all are treated as calls in loops are. In all modules this
/// would make the code of the largest program 28 % larger.
const CALLEE_IN_SMALL_MODULE: usize = 120;

/// The largest body that is inlined in a small module, in bytes of WebAssembly.
const MAX_BODY_IN_SMALL_MODULE: usize = 400;

/// The largest callee in a small module of a function that it calls back, in instructions of CLIF.
/// Recursion is a loop, and such functions often work for each other: `eval` and `apply`.
const CALLEE_IN_CYCLE: usize = 300;

/// The most instructions by which each function of a small module may grow.
const GROWTH_IN_SMALL_MODULE: usize = 600;

/// The sum of these for the functions of a small module, which may have thousands of them. So a module
/// of many tiny functions is compiled soon, too.
const GROWTH_OF_SMALL_MODULE: usize = 120_000;

/// A function of a module that is to be compiled.
pub(crate) enum Source<'a> {
    /// It is to be translated.
    Body(Body<'a>),
    /// It has this index, and is one of the [`Inlining::candidates`].
    Candidate(u32),
    /// Its translation failed.
    Failed(u32, Error),
}

impl Source<'_> {
    /// The function's index, imports included.
    pub(crate) fn index(&self) -> u32 {
        match self {
            Source::Body(body) => body.index,
            Source::Candidate(index) | Source::Failed(index, _) => *index,
        }
    }
}

/// The functions of a module that can be inlined.
#[derive(Default)]
pub(crate) struct Inlining {
    candidates: BTreeMap<u32, Candidate>,
    uses: HashMap<u32, Uses>,
    targets: Targets,
    limits: InlineLimits,
}

/// Translates the small ones of `bodies`, in parallel if the engine compiles in parallel, and inlines
/// them into each other. Returns all functions in the order of their bodies.
///
/// # Errors
/// If a function becomes too large for Cranelift.
pub(crate) fn prepare<'a>(
    cx: &CompileContext<'_>,
    bodies: Vec<Body<'a>>,
) -> Result<(Vec<Source<'a>>, Inlining)> {
    if !cx.inlining {
        return Ok((bodies.into_iter().map(Source::Body).collect(), Inlining::default()));
    }
    let size: usize = bodies.iter().map(|body| body.body.range().len()).sum();
    let functions = bodies.len();
    let is_small_module = size <= SMALL_MODULE;
    let most = if is_small_module { MAX_BODY_IN_SMALL_MODULE } else { MAX_BODY };
    let mut bytes = 0;
    let mut is_small = |body: &Body<'_>| {
        let size = body.body.range().len();
        let fits = size <= most && bytes + size <= MAX_BODIES;
        bytes += if fits { size } else { 0 };
        fits
    };
    let bodies: Vec<(Body<'a>, bool)> = bodies
        .into_iter()
        .map(|body| {
            let small = is_small(&body);
            (body, small)
        })
        .collect();
    let targets = Targets::new(cx.info);
    let translate = |allocations: &mut Allocations, (body, small): (Body<'a>, bool)| {
        if !small || cx.compilation.check().is_err() {
            return (Source::Body(body), None);
        }
        let (index, mut func) = (body.index, ir::Function::new());
        match translate::translate(cx, &targets, body, &mut func, allocations) {
            Ok(translation) => (Source::Candidate(index), Some((func, translation))),
            Err(error) => {
                // The state after a failed translation cannot be used for another one.
                *allocations = Allocations::default();
                (Source::Failed(index, error), None)
            }
        }
    };
    let translated: Vec<_> = match cx.parallel {
        true => bodies.into_par_iter().map_init(Allocations::default, translate).collect(),
        false => {
            let mut allocations = Allocations::default();
            bodies.into_iter().map(|body| translate(&mut allocations, body)).collect()
        }
    };
    let mut limits =
        InlineLimits { may_throw: host_calls::may_throw(cx.abi), ..InlineLimits::default() };
    if is_small_module {
        limits.callee = CALLEE_IN_SMALL_MODULE;
        limits.callee_in_cycle = CALLEE_IN_CYCLE;
        limits.growth = GROWTH_IN_SMALL_MODULE.min(GROWTH_OF_SMALL_MODULE / functions.max(1));
        limits.again_in_loops = true;
    }
    let mut inlining = Inlining { targets, limits, ..Inlining::default() };
    let mut sources = Vec::with_capacity(translated.len());
    for (source, translated) in translated {
        if let Some((func, Translation { annotations, uses })) = translated {
            inlining.candidates.insert(source.index(), Candidate::new(func, annotations));
            inlining.uses.insert(source.index(), uses);
        }
        sources.push(source);
    }
    inlining.inline_mutually()?;
    Ok((sources, inlining))
}

impl Inlining {
    /// Inlines the candidates into each other.
    fn inline_mutually(&mut self) -> Result<()> {
        let Inlining { candidates, uses, limits, .. } = self;
        inline_into_candidates(candidates, limits, |index, inlined| {
            let mut own = uses.get(&index).copied().unwrap_or_default();
            inlined.iter().filter_map(|callee| uses.get(callee)).for_each(|uses| own.add(uses));
            uses.insert(index, own);
        })
    }

    /// The CLIF of a function with all that is inlined into it, in `func`, which must be empty.
    ///
    /// # Errors
    /// If the body is invalid, uses an unsupported feature, or exceeds a limit.
    pub(super) fn translate(
        &self,
        cx: &CompileContext<'_>,
        source: Source<'_>,
        func: &mut ir::Function,
        allocations: &mut Allocations,
    ) -> Result<Translation> {
        let index = source.index();
        let translated = match source {
            Source::Body(body) => self.translate_body(cx, body, func, allocations),
            Source::Candidate(index) => self.copy_of(index, func),
            Source::Failed(_, error) => Err(error),
        };
        let finished = translated.and_then(|mut translation| {
            translate::finish(cx, func, &mut translation)?;
            Ok(translation)
        });
        finished.with_context(|| describe(cx, index))
    }

    fn translate_body(
        &self,
        cx: &CompileContext<'_>,
        body: Body<'_>,
        func: &mut ir::Function,
        allocations: &mut Allocations,
    ) -> Result<Translation> {
        let Translation { mut annotations, mut uses } =
            translate::translate(cx, &self.targets, body, func, allocations)?;
        if !self.candidates.is_empty() {
            let candidate = |callee| self.candidates.get(&callee);
            let inlined = inline_calls(func, &mut annotations, &candidate, &self.limits)?;
            inlined.iter().filter_map(|callee| self.uses.get(callee)).for_each(|own| uses.add(own));
        }
        Ok(Translation { annotations, uses })
    }

    fn copy_of(&self, index: u32, func: &mut ir::Function) -> Result<Translation> {
        let candidate = self.candidates.get(&index).context("the function was not translated")?;
        *func = candidate.func().clone();
        let uses = self.uses.get(&index).copied().unwrap_or_default();
        Ok(Translation { annotations: candidate.annotations().clone(), uses })
    }
}
