//! Compiles function bodies to machine code. Each body is validated and translated to CLIF in one
//! pass, and then compiled. All functions are linked into one image. Bodies are independent of each
//! other, so they are compiled in parallel.

mod env;
mod legacy_clauses;
mod metering;
mod ops;
pub(crate) mod signature;
mod stack;
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
use gc_compiler::check::{CheckContext, CheckError, FunctionTypes, check_function};
use gc_compiler::{CompiledFunction, Compiler, GcCompiler, ImageLinker};
use gc_types::{Abi, CodeImage};
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
    /// What operators cost, if code consumes fuel.
    pub(crate) operator_cost: &'a OperatorCostStrategy,
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
            abi: engine.abi(),
            type_words,
            memory: &engine.config().memory,
            check: engine.config().code.verifier,
            parallel: engine.config().code.parallel,
        }
    }
}

/// Validates, translates and compiles all bodies and links them.
///
/// # Errors
/// If a body is invalid, uses an unsupported feature, or exceeds a limit of the compiler. The error
/// names the first such function by index.
pub(crate) fn compile_module(cx: &CompileContext<'_>, bodies: Vec<Body<'_>>) -> Result<CodeImage> {
    let compile =
        |compiler: &mut FunctionCompiler, body: Body<'_>| (body.index, compiler.function(cx, body));
    let compiled: Vec<(u32, Result<CompiledFunction>)> = match cx.parallel {
        true => bodies.into_par_iter().map_init(FunctionCompiler::default, compile).collect(),
        false => {
            let mut compiler = FunctionCompiler::default();
            bodies.into_iter().map(|body| compile(&mut compiler, body)).collect()
        }
    };
    let mut image = ImageLinker::new();
    if cx.type_words == TypeWords::Constants {
        image.made_for(cx.abi);
    }
    for (index, function) in compiled {
        image.define(index, cx.info.func_name(index), function?)?;
        // The host can only call functions for which references can be made.
        if cx.info.funcs[index as usize].func_ref.is_some() {
            image.export(index)?;
        }
    }
    image.link(cx.compiler)
}

/// The CLIF of one function before optimization, and its types if functions are to be checked.
///
/// # Errors
/// If the body is invalid or uses an unsupported feature.
pub(crate) fn translate_function(
    cx: &CompileContext<'_>,
    body: Body<'_>,
) -> Result<(ir::Function, Option<FunctionTypes>)> {
    let mut func = ir::Function::new();
    let index = body.index;
    let types = translate::translate(cx, body, &mut func, &mut Allocations::default())
        .with_context(|| describe(cx, index))?;
    Ok((func, types))
}

/// The error that the checkers find in one function, if any: the broken law and the instruction.
///
/// # Errors
/// As [`translate_function`].
pub(crate) fn check_body(cx: &CompileContext<'_>, body: Body<'_>) -> Result<Option<CheckError>> {
    let (func, types) = translate_function(cx, body)?;
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
    fn function(&mut self, cx: &CompileContext<'_>, body: Body<'_>) -> Result<CompiledFunction> {
        self.function_with(cx, body, Compiler::compile)
    }

    /// Translates and checks `body`, and compiles it with `compile`.
    fn function_with(
        &mut self,
        cx: &CompileContext<'_>,
        body: Body<'_>,
        compile: impl FnOnce(&Compiler, &mut Context) -> Result<CompiledFunction>,
    ) -> Result<CompiledFunction> {
        let index = body.index;
        let context = self.context.get_or_insert_with(Context::new);
        context.clear();
        let compiled =
            match translate::translate(cx, body, &mut context.func, &mut self.allocations) {
                Ok(types) => {
                    check(cx, &context.func, types).and_then(|()| compile(cx.compiler, context))
                }
                Err(error) => Err(error),
            };
        if compiled.is_err() {
            // The state after a failed translation cannot be used for another one.
            *self = FunctionCompiler::default();
        }
        compiled.with_context(|| describe(cx, index))
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
pub(crate) fn compile_body(cx: &CompileContext<'_>, body: Body<'_>) -> Result<CompiledFunction> {
    FunctionCompiler::default().function(cx, body)
}

/// The CLIF of one function after optimization, from which its machine code was made.
///
/// # Errors
/// As [`compile_module`].
pub(crate) fn optimized(cx: &CompileContext<'_>, body: Body<'_>) -> Result<ir::Function> {
    let mut compiler = FunctionCompiler::default();
    compiler.function_with(cx, body, Compiler::compile_anew)?;
    compiler.context.map(|context| context.func).context("the function was not compiled")
}

fn describe(cx: &CompileContext<'_>, index: u32) -> String {
    format!("function {index} `{}`", cx.info.func_name(index))
}
