//! Inlining within a module: small functions are translated first, and inlined into each other. The
//! others are translated when they are compiled. So only the CLIF of small functions is kept.

use super::targets::Targets;
use super::translate::{self, Allocations};
use super::{CompileContext, describe};
use crate::host_calls;
use crate::module::parse::Body;
use anyhow::{Context as _, Error, Result};
use cranelift_codegen::ir;
use gc_compiler::FinishedFunction;
use gc_compiler::inline::{InlineLimits, Inlining};
use rayon::prelude::*;

/// The largest body that is inlined, in bytes of WebAssembly. The compiler's own limit counts the
/// instructions of CLIF, most of which stand for some bytes.
const MAX_BODY: usize = 160;

/// The largest sum of the bodies that may be inlined, in bytes of WebAssembly. The CLIF of each is
/// kept, some 50 times this.
const MAX_BODIES: usize = 1 << 20;

/// How many bytes of WebAssembly the functions of a small module have at most. It is compiled soon, so
/// more is inlined into it.
const SMALL_MODULE: usize = 32 << 10;

/// The largest body that is inlined in a small module, in bytes of WebAssembly.
const MAX_BODY_IN_SMALL_MODULE: usize = 400;

/// A function of a module that is to be compiled.
pub(crate) enum Source<'a> {
    /// It is to be translated.
    Body(Body<'a>),
    /// It has this index, and is one of the [`Candidates`].
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

/// The small functions of a module, translated.
pub(crate) struct Candidates {
    inlining: Inlining,
    targets: Targets,
}

/// Translates the small ones of `bodies`, in parallel if the engine compiles in parallel, and inlines
/// them into each other. Returns all functions in the order of their bodies.
///
/// # Errors
/// If a function becomes too large for Cranelift.
pub(crate) fn prepare<'a>(
    cx: &CompileContext<'_>,
    bodies: Vec<Body<'a>>,
) -> Result<(Vec<Source<'a>>, Candidates)> {
    if !cx.inlining {
        let none = Candidates { inlining: Inlining::none(), targets: Targets::default() };
        return Ok((bodies.into_iter().map(Source::Body).collect(), none));
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
        let index = body.index;
        match translate::translate(cx, &targets, body, ir::Function::new(), allocations) {
            Ok(built) => (Source::Candidate(index), Some(built)),
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
    let limits = match is_small_module {
        true => InlineLimits::for_small_module(functions),
        false => InlineLimits::default(),
    };
    let limits = InlineLimits { may_throw: host_calls::may_throw(cx.abi), ..limits };
    let mut candidates = Vec::new();
    let mut sources = Vec::with_capacity(translated.len());
    for (source, built) in translated {
        candidates.extend(built.map(|built| (source.index(), built)));
        sources.push(source);
    }
    let inlining = Inlining::new(candidates, limits)?;
    Ok((sources, Candidates { inlining, targets }))
}

impl Candidates {
    /// A function as it is finished: with all that is inlined into it. The memory of `func`, which must be
    /// empty, is used.
    ///
    /// # Errors
    /// If the body is invalid, uses an unsupported feature, or exceeds a limit. If the compilation is ended.
    pub(super) fn finish(
        &self,
        cx: &CompileContext<'_>,
        source: Source<'_>,
        func: ir::Function,
        allocations: &mut Allocations,
    ) -> Result<FinishedFunction> {
        let index = source.index();
        let built = match source {
            Source::Body(body) => translate::translate(cx, &self.targets, body, func, allocations),
            Source::Candidate(index) => {
                self.inlining.function(index).context("the function was not translated")
            }
            Source::Failed(_, error) => Err(error),
        };
        built
            .and_then(|built| cx.compiler.finish(built, &self.inlining, &cx.compilation))
            .with_context(|| describe(cx, index))
    }
}
