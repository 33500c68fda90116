//! Tests the translation of whole modules under every collector: the CLIF verifies and compiles,
//! and has the expected shapes. Other tests run the code.

mod operators;
mod shapes;
mod spec;

use super::{CompileContext, compile_module, translate_function};
use crate::module::parse::parse;
use crate::types::registry::TypeRegistry;
use crate::vmctx::VMContextLayout;
use anyhow::{Context as _, Result};
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{CompilerOptions, GcCompiler};
use gc_jit::{CodeImage, JitCompiler, JitOptions, OptLevel};
use gc_types::VMOffsets;
use std::collections::BTreeMap;

const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

struct Fixture {
    jit: JitCompiler,
    options: CompilerOptions,
}

impl Fixture {
    fn new(opt_level: OptLevel) -> Fixture {
        let options = JitOptions { opt_level, verifier: true, ..JitOptions::default() };
        Fixture {
            jit: JitCompiler::new(&options).unwrap(),
            options: CompilerOptions {
                offsets: VMOffsets::HOST,
                guarded: true,
                zeal: false,
                nursery: 1 << 20,
            },
        }
    }

    fn with<T>(
        &self,
        registry: &TypeRegistry,
        gc: &dyn GcCompiler,
        wasm: &[u8],
        then: impl FnOnce(&CompileContext<'_>, Vec<crate::module::parse::Body<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (info, bodies) = parse(registry, wasm)?;
        let layout = VMContextLayout::new(self.options.offsets, &info);
        let cx = CompileContext {
            info: &info,
            layout: &layout,
            registry,
            gc,
            options: &self.options,
            jit: &self.jit,
            check: true,
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
            bodies
                .into_iter()
                .map(|body| {
                    let index = body.index;
                    let func = translate_function(cx, body)?;
                    cranelift_codegen::verify_function(&func, self.jit.isa())
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
        for gc in COLLECTORS {
            for (guarded, zeal) in [(true, false), (false, false), (true, true)] {
                self.options.guarded = guarded;
                self.options.zeal = zeal;
                let registry = TypeRegistry::new().unwrap();
                if let Err(error) = self.compile(&registry, gc, &wasm) {
                    panic!("{}, guarded {guarded}, zeal {zeal}: {error:#}\n{wat}", gc.name());
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
