//! Tests the translation of whole modules under every collector: the CLIF verifies and compiles,
//! and has the expected shapes. Other tests run the code.

mod lengths;
mod operators;
mod shapes;
mod spec;

use super::inlining;
use super::{CompileContext, TypeWords, compile_module, finish_one};
use crate::config::supported;
use crate::module::parse::parse;
use crate::types::registry::TypeRegistry;
use crate::vm::layout::VMContextLayout;
use anyhow::{Context as _, Result};
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{CompileOptions, Compiler, GcCompiler, OptLevel};
use gc_types::{Abi, CodeImage, HeapBounds};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime_types::OperatorCostStrategy;

const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

struct Fixture {
    bounds: HeapBounds,
    zeal: bool,
    type_words: TypeWords,
    options: CompileOptions,
}

impl Fixture {
    fn new(opt_level: OptLevel) -> Fixture {
        let options = CompileOptions { opt_level, verifier: true, ..CompileOptions::default() };
        Fixture { bounds: HeapBounds::Guarded, zeal: false, type_words: TypeWords::Table, options }
    }

    fn compiler(&self, gc: &dyn GcCompiler) -> Compiler {
        let abi = Abi::new(gc.abi().with("nursery", 1 << 20))
            .with_bounds(self.bounds)
            .with_zeal(self.zeal)
            .with_host_calls(crate::host_calls::table(false));
        Compiler::new(gc, &abi, &self.options).unwrap()
    }

    fn with<T>(
        &self,
        registry: &TypeRegistry,
        gc: &dyn GcCompiler,
        wasm: &[u8],
        then: impl FnOnce(&CompileContext<'_>, Vec<crate::module::parse::Body<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (info, bodies) = parse(registry, supported(), wasm)?;
        let compiler = self.compiler(gc);
        let layout = VMContextLayout::new(compiler.abi().offsets(), &info)?;
        let cx = CompileContext {
            info: &info,
            layout: &layout,
            registry,
            gc,
            compiler: &compiler,
            compilation: compiler.begin(),
            abi: &Arc::new(compiler.abi().clone()),
            type_words: self.type_words,
            memory: &crate::Config::new().memory,
            loads_before_stores: false,
            check: true,
            parallel: false,
            inlining: true,
            operator_cost: &OperatorCostStrategy::Default,
            marks: None,
        };
        then(&cx, bodies)
    }

    fn compile(
        &self,
        registry: &TypeRegistry,
        gc: &dyn GcCompiler,
        wasm: &[u8],
    ) -> Result<CodeImage> {
        self.with(registry, gc, wasm, compile_module)
    }

    /// The CLIF of each function of a module in text, by index.
    fn clif(&self, gc: &dyn GcCompiler, wat: &str) -> BTreeMap<u32, String> {
        let wasm = wat::parse_str(wat).unwrap();
        let registry = TypeRegistry::new().unwrap();
        self.with(&registry, gc, &wasm, |cx, bodies| {
            let (functions, candidates) = inlining::prepare(cx, bodies)?;
            functions
                .into_iter()
                .map(|function| {
                    let index = function.index();
                    let finished = finish_one(cx, &candidates, function)?;
                    let func = finished.func();
                    cranelift_codegen::verify_function(func, cx.compiler.isa())
                        .with_context(|| func.display().to_string())?;
                    Ok((index, func.display().to_string()))
                })
                .collect()
        })
        .unwrap()
    }

    /// Translates, verifies and compiles a module in text under every collector and
    /// with every option.
    fn accepts(&mut self, wat: &str) {
        let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
        let (guarded, checked) = (HeapBounds::Guarded, HeapBounds::Checked);
        for (bounds, zeal) in [(guarded, false), (checked, false), (guarded, true)] {
            (self.bounds, self.zeal) = (bounds, zeal);
            for type_words in [TypeWords::Constants, TypeWords::Table] {
                self.type_words = type_words;
                for gc in COLLECTORS {
                    let registry = TypeRegistry::new().unwrap();
                    if let Err(error) = self.compile(&registry, gc, &wasm) {
                        panic!("{}, {bounds}, zeal {zeal}: {error:#}\n{wat}", gc.name());
                    }
                }
            }
        }
    }

    fn error(&self, wat: &str) -> String {
        let wasm = wat::parse_str(wat).unwrap();
        let registry = TypeRegistry::new().unwrap();
        let error = self.compile(&registry, &NullCompiler, &wasm).unwrap_err();
        format!("{error:#}")
    }
}
