//! Compiles function bodies to machine code. Each body is validated and translated to CLIF in one
//! pass, and then compiled. All functions are linked into one image. The small bodies are translated
//! first, so that they can be inlined into the others. Otherwise bodies are independent of each
//! other, and they are compiled in parallel.

mod env;
pub(crate) mod inlining;
mod legacy_clauses;
mod metering;
mod ops;
pub(crate) mod signature;
mod stack;
mod targets;
mod translate;

#[cfg(test)]
mod tests;

use crate::Engine;
use crate::module::info::ModuleInfo;
use crate::module::parse::Body;
use crate::types::registry::TypeRegistry;
use crate::vm::layout::VMContextLayout;
use crate::vm::memory::MemorySettings;
use anyhow::{Context as _, Result};
use cranelift_codegen::{Context, ir};
use gc_compiler::check::CheckError;
use gc_compiler::{
    CollectorCode, Compilation, CompiledFunction, Compiler, FinishedFunction, GcCompiler,
    ImageLinker,
};
use gc_types::{Abi, CodeImage, Processor};
use inlining::{Candidates, Source};
use rayon::prelude::*;
use std::sync::Arc;
use translate::Allocations;
use wasmtime_types::OperatorCostStrategy;

pub(crate) use env::func_type;

/// The settings with which all functions of a module are compiled.
pub(crate) struct CompileContext<'a> {
    pub(crate) info: &'a ModuleInfo,
    pub(crate) layout: &'a VMContextLayout,
    pub(crate) registry: &'a TypeRegistry,
    pub(crate) gc: &'a dyn GcCompiler,
    pub(crate) compiler: &'a Compiler,
    /// Whether to go on.
    pub(crate) compilation: Compilation,
    /// The ABI of the code.
    pub(crate) abi: &'a Arc<Abi>,
    /// Where the code has the indices and header words of types from.
    pub(crate) type_words: TypeWords,
    /// How linear memories are laid out.
    pub(crate) memory: &'a MemorySettings,
    /// Whether code reads the bytes that it stores to in a linear memory first ([`Processor::tears_stores`]).
    pub(crate) loads_before_stores: bool,
    /// Whether to check the built functions against the laws of emitted code.
    pub(crate) check: bool,
    /// Whether functions are compiled on several threads.
    pub(crate) parallel: bool,
    /// Whether small functions are inlined.
    pub(crate) inlining: bool,
    /// What operators cost, if code consumes fuel.
    pub(crate) operator_cost: &'a OperatorCostStrategy,
    /// How source locations say what instructions are for, if they do.
    pub(crate) marks: Option<LocationMarks>,
}

/// How source locations say what instructions are for, beside the offset in the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocationMarks {
    /// The offset is shifted to the left by this number of bits.
    pub(crate) bits: u32,
    /// Marks what the collector has emitted ([`GcFuncEnv::emitted`](gc_compiler::GcFuncEnv::emitted)).
    pub(crate) mark: fn(&mut ir::Function, CollectorCode, usize),
}

/// Where compiled code has the indices and header words of types from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeWords {
    /// They are constants of the engine in the code. Such code is the fastest, and cannot be saved.
    Constants,
    /// Code reads them from the table after it, which is filled when the code is published.
    Table,
}

impl<'a> CompileContext<'a> {
    /// The settings with which `engine` compiles the functions of a module.
    pub(crate) fn new(
        engine: &'a Engine,
        info: &'a ModuleInfo,
        layout: &'a VMContextLayout,
        type_words: TypeWords,
    ) -> CompileContext<'a> {
        CompileContext {
            info,
            layout,
            registry: engine.types(),
            operator_cost: &engine.config().metering.operator_cost,
            gc: engine.collector().compiler(),
            compiler: engine.compiler(),
            compilation: engine.compiler().begin(),
            abi: engine.abi(),
            type_words,
            memory: &engine.config().memory,
            loads_before_stores: engine
                .abi()
                .machine()
                .processor()
                .is_some_and(Processor::tears_stores),
            check: engine.config().code.verifier,
            parallel: engine.config().code.parallel,
            inlining: engine.config().code.inlines(),
            marks: None,
        }
    }

    /// The source location of the operator at `offset` in the module.
    fn location(&self, offset: usize) -> ir::SourceLoc {
        ir::SourceLoc::new((offset as u32) << self.marks.map_or(0, |marks| marks.bits))
    }
}

/// Validates, translates and compiles all bodies and links them.
///
/// # Errors
/// If a body is invalid, uses an unsupported feature, or exceeds a limit of the compiler. The error
/// names the first such function by index. Also if the compilation is ended; the error then names a
/// function that was being compiled, or the next one.
pub(crate) fn compile_module(cx: &CompileContext<'_>, bodies: Vec<Body<'_>>) -> Result<CodeImage> {
    let (functions, candidates) = inlining::prepare(cx, bodies)?;
    // `None` if the compilation was ended before the function was begun.
    let compile = |compiler: &mut FunctionCompiler, function: Source<'_>| {
        let index = function.index();
        let goes_on = cx.compilation.check().is_ok();
        let compile = || compiler.function(cx, &candidates, function, Compiler::compile);
        (index, goes_on.then(compile))
    };
    let compiled: Vec<(u32, Option<Result<CompiledFunction>>)> = match cx.parallel {
        true => functions.into_par_iter().map_init(FunctionCompiler::default, compile).collect(),
        false => {
            let mut compiler = FunctionCompiler::default();
            functions.into_iter().map(|function| compile(&mut compiler, function)).collect()
        }
    };
    let mut image = ImageLinker::new();
    if cx.type_words == TypeWords::Constants {
        image.made_for(cx.abi);
    }
    let mut left = None;
    for (index, function) in compiled {
        let Some(function) = function else {
            left.get_or_insert(index);
            continue;
        };
        image.define(index, cx.info.func_name(index), function?)?;
        // The host can only call functions for which references can be made.
        if cx.info.funcs[index as usize].func_ref.is_some() {
            image.export(index)?;
        }
    }
    if let Some(index) = left {
        cx.compilation.check().with_context(|| describe(cx, index))?;
    }
    image.link(cx.compiler)
}

/// One function before optimization, with what is inlined into it.
///
/// # Errors
/// If the body is invalid or uses an unsupported feature. If it is to be checked, the first error that the
/// checkers find ([`CheckError`]).
pub(crate) fn finish_one(
    cx: &CompileContext<'_>,
    candidates: &Candidates,
    function: Source<'_>,
) -> Result<FinishedFunction> {
    candidates.finish(cx, function, ir::Function::new(), &mut Allocations::default())
}

/// The error that the checkers find in one function, if any: the broken law and the instruction.
///
/// # Errors
/// As [`finish_one`], for other errors.
pub(crate) fn check_one(
    cx: &CompileContext<'_>,
    candidates: &Candidates,
    function: Source<'_>,
) -> Result<Option<CheckError>> {
    match finish_one(cx, candidates, function) {
        Ok(_) => Ok(None),
        Err(error) => error.downcast().map(Some),
    }
}

/// The compiler of one thread.
#[derive(Default)]
struct FunctionCompiler {
    context: Option<Context>,
    allocations: Allocations,
}

impl FunctionCompiler {
    /// Translates and finishes `function`, and compiles it with `compile`.
    fn function(
        &mut self,
        cx: &CompileContext<'_>,
        candidates: &Candidates,
        function: Source<'_>,
        compile: impl FnOnce(
            &Compiler,
            &mut Context,
            FinishedFunction,
            &Compilation,
        ) -> Result<CompiledFunction>,
    ) -> Result<CompiledFunction> {
        let index = function.index();
        let context = self.context.get_or_insert_with(Context::new);
        context.clear();
        let func = std::mem::replace(&mut context.func, ir::Function::new());
        let finished = candidates.finish(cx, function, func, &mut self.allocations);
        let compiled = finished.and_then(|finished| {
            compile(cx.compiler, context, finished, &cx.compilation)
                .with_context(|| describe(cx, index))
        });
        if compiled.is_err() {
            // The state after a failed translation cannot be used for another one.
            *self = FunctionCompiler::default();
        }
        compiled
    }
}

/// Compiles one function.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn compile_one(
    cx: &CompileContext<'_>,
    candidates: &Candidates,
    function: Source<'_>,
) -> Result<CompiledFunction> {
    FunctionCompiler::default().function(cx, candidates, function, Compiler::compile)
}

/// One function as it is compiled.
pub(crate) struct Stages {
    /// The function before optimization.
    pub(crate) finished: FinishedFunction,
    /// The CLIF after optimization, from which the machine code was made.
    pub(crate) optimized: ir::Function,
    /// The code that was made from it.
    pub(crate) compiled: CompiledFunction,
}

/// Compiles one function, and keeps what is made on the way.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn stages(
    cx: &CompileContext<'_>,
    candidates: &Candidates,
    function: Source<'_>,
) -> Result<Stages> {
    let index = function.index();
    let finished = finish_one(cx, candidates, function)?;
    let mut context = Context::new();
    let compiled = cx
        .compiler
        .compile_anew(&mut context, finished.clone(), &cx.compilation)
        .with_context(|| describe(cx, index))?;
    Ok(Stages { finished, optimized: context.func, compiled })
}

fn describe(cx: &CompileContext<'_>, index: u32) -> String {
    format!("function {index} `{}`", cx.info.func_name(index))
}
