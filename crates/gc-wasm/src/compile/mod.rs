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
use anyhow::{Context as _, Result, bail};
use cranelift_codegen::{Context, ir};
use gc_compiler::check::{CheckContext, CheckError, FunctionTypes, check_function};
use gc_compiler::inline::InlinedCalls;
use gc_compiler::{Compilation, CompiledFunction, Compiler, GcCompiler, ImageLinker};
use gc_types::{Abi, CodeImage};
use inlining::{Inlining, Source};
use rayon::prelude::*;
use std::sync::Arc;
use translate::{Allocations, Translation};
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
    /// Whether to check the built functions against the laws of emitted code.
    pub(crate) check: bool,
    /// Whether functions are compiled on several threads.
    pub(crate) parallel: bool,
    /// Whether small functions are inlined.
    pub(crate) inlining: bool,
    /// Whether functions are simplified.
    pub(crate) optimizes: bool,
    /// What operators cost, if code consumes fuel.
    pub(crate) operator_cost: &'a OperatorCostStrategy,
    /// Source locations are offsets in the module, shifted to the left by this number of bits.
    pub(crate) location_bits: u32,
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
            operator_cost: &engine.config().operator_cost,
            gc: engine.collector().compiler(),
            compiler: engine.compiler(),
            compilation: engine.compiler().begin(),
            abi: engine.abi(),
            type_words,
            memory: &engine.config().memory,
            check: engine.config().code.verifier,
            parallel: engine.config().code.parallel,
            inlining: engine.config().code.inlines(),
            optimizes: engine.config().code.optimizes(),
            location_bits: 0,
        }
    }

    /// The source location of the operator at `offset` in the module.
    fn location(&self, offset: usize) -> ir::SourceLoc {
        ir::SourceLoc::new((offset as u32) << self.location_bits)
    }
}

/// Validates, translates and compiles all bodies and links them.
///
/// # Errors
/// If a body is invalid, uses an unsupported feature, or exceeds a limit of the compiler. The error
/// names the first such function by index. Also if the compilation is ended; the error then names a
/// function that was being compiled, or the next one.
pub(crate) fn compile_module(cx: &CompileContext<'_>, bodies: Vec<Body<'_>>) -> Result<CodeImage> {
    let (functions, inlining) = inlining::prepare(cx, bodies)?;
    // `None` if the compilation was ended before the function was begun.
    let compile = |compiler: &mut FunctionCompiler, function: Source<'_>| {
        let index = function.index();
        let goes_on = cx.compilation.check().is_ok();
        let compile = || compiler.function(cx, &inlining, function, Compiler::compile_inlined);
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

/// The CLIF of one function before optimization, with what is inlined into it, and its types if
/// functions are to be checked.
///
/// # Errors
/// If the body is invalid or uses an unsupported feature.
pub(crate) fn translate_function(
    cx: &CompileContext<'_>,
    inlining: &Inlining,
    function: Source<'_>,
) -> Result<(ir::Function, Option<FunctionTypes>)> {
    let mut func = ir::Function::new();
    let translation = inlining.translate(cx, function, &mut func, &mut Allocations::default())?;
    Ok((func, translation.annotations.types))
}

/// The error that the checkers find in one function, if any: the broken law and the instruction.
///
/// # Errors
/// As [`translate_function`].
pub(crate) fn check_one(
    cx: &CompileContext<'_>,
    inlining: &Inlining,
    function: Source<'_>,
) -> Result<Option<CheckError>> {
    let (func, types) = translate_function(cx, inlining, function)?;
    let types = types.context("the function was not to be checked")?;
    let cx = CheckContext { abi: cx.abi, compiler: cx.gc, types: &types };
    Ok(check_function(&func, &cx).err())
}

/// The compiler of one thread.
#[derive(Default)]
struct FunctionCompiler {
    context: Option<Context>,
    allocations: Allocations,
}

impl FunctionCompiler {
    /// Translates and checks `function`, and compiles it with `compile`.
    fn function(
        &mut self,
        cx: &CompileContext<'_>,
        inlining: &Inlining,
        function: Source<'_>,
        compile: impl FnOnce(
            &Compiler,
            &mut Context,
            &InlinedCalls,
            &Compilation,
        ) -> Result<CompiledFunction>,
    ) -> Result<CompiledFunction> {
        let index = function.index();
        let context = self.context.get_or_insert_with(Context::new);
        context.clear();
        let translated = inlining.translate(cx, function, &mut context.func, &mut self.allocations);
        let compiled = translated.and_then(|Translation { annotations, .. }| {
            check(cx, &context.func, annotations.types)
                .and_then(|()| compile(cx.compiler, context, &annotations.inlined, &cx.compilation))
                .with_context(|| describe(cx, index))
        });
        if compiled.is_err() {
            // The state after a failed translation cannot be used for another one.
            *self = FunctionCompiler::default();
        }
        compiled
    }
}

/// Fails if a function breaks the laws of emitted code, which would be a bug of this project.
/// `types` are given if it is to be checked.
fn check(cx: &CompileContext<'_>, func: &ir::Function, types: Option<FunctionTypes>) -> Result<()> {
    if let Some(types) = types {
        let cx = CheckContext { abi: cx.abi, compiler: cx.gc, types: &types };
        check_function(func, &cx)?;
    }
    Ok(())
}

/// Compiles one function.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn compile_one(
    cx: &CompileContext<'_>,
    inlining: &Inlining,
    function: Source<'_>,
) -> Result<CompiledFunction> {
    FunctionCompiler::default().function(cx, inlining, function, Compiler::compile_inlined)
}

/// The CLIF of one function after optimization, from which its machine code was made.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn optimized(
    cx: &CompileContext<'_>,
    inlining: &Inlining,
    function: Source<'_>,
) -> Result<ir::Function> {
    let mut compiler = FunctionCompiler::default();
    compiler.function(cx, inlining, function, Compiler::compile_anew)?;
    compiler.context.map(|context| context.func).context("the function was not compiled")
}

/// One function as it is compiled.
pub(crate) struct Stages {
    /// The CLIF before optimization.
    pub(crate) clif: ir::Function,
    /// The CLIF after optimization.
    pub(crate) optimized: ir::Function,
    /// What was inlined into both.
    pub(crate) inlined: InlinedCalls,
    /// The code that was made from it.
    pub(crate) compiled: CompiledFunction,
}

/// Compiles one function, and keeps what is made on the way.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn stages(
    cx: &CompileContext<'_>,
    inlining: &Inlining,
    function: Source<'_>,
) -> Result<Stages> {
    let mut before = None;
    let mut compiler = FunctionCompiler::default();
    let compile = |compiler: &Compiler,
                   context: &mut Context,
                   inlined: &InlinedCalls,
                   compilation: &Compilation| {
        before = Some((context.func.clone(), inlined.clone()));
        compiler.compile_anew(context, inlined, compilation)
    };
    let compiled = compiler.function(cx, inlining, function, compile)?;
    let optimized = compiler.context.map(|context| context.func);
    let (Some((clif, inlined)), Some(optimized)) = (before, optimized) else {
        bail!("the function was not compiled");
    };
    Ok(Stages { clif, optimized, inlined, compiled })
}

fn describe(cx: &CompileContext<'_>, index: u32) -> String {
    format!("function {index} `{}`", cx.info.func_name(index))
}
