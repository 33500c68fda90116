//! Builds a random program as CLIF, like a small embedder of `gc-compiler`.

use super::emit::Build;
use super::program::Program;
use super::world::{GLOBAL, NATIVE, PROGRAM, TABLE, WORDS, host_signature, own_signature};
use anyhow::{Result, anyhow};
use cranelift_codegen::ir::{self, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::check::{FunctionTypes, Memory, SignatureTypes, ValueType};
use gc_compiler::inline::Inlining;
use gc_compiler::regions;
use gc_compiler::{
    Annotations, BuiltFunction, CompileOptions, FUNCTION_NAMESPACE, FinishedFunction, Finisher,
    GcCompiler, GcEmitter, GcFuncEnv, HOST_CALL_NAMESPACE, OptLevel, host_call_signature,
};
use gc_types::{Abi, HostCall, RootKind};
use std::collections::HashMap;

/// The frontend's settings for the machine.
fn frontend_config() -> Result<TargetFrontendConfig> {
    let machine = cranelift_native::builder().map_err(|why| anyhow!("{why}"))?;
    Ok(machine.finish(settings::Flags::new(settings::builder()))?.frontend_config())
}

/// `(vmctx, reference, i64) -> reference`.
fn own_types() -> SignatureTypes {
    SignatureTypes::with_vmctx([ValueType::Ref, ValueType::Data], [ValueType::Ref])
}

struct Env {
    abi: Abi,
    vmctx: Value,
    annotations: Annotations,
    host_calls: HashMap<HostCall, ir::FuncRef>,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.abi
    }

    fn vmctx(&mut self, _func: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        *self.host_calls.entry(call).or_insert_with(|| {
            let signature = host_call_signature(host_signature(call));
            import(func, HOST_CALL_NAMESPACE, call.index(), signature)
        })
    }

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }
}

fn import(
    func: &mut ir::Function,
    namespace: u32,
    index: u32,
    signature: ir::Signature,
) -> ir::FuncRef {
    let name = ir::UserExternalName { namespace, index };
    let name = ir::ExternalName::user(func.declare_imported_user_function(name));
    let signature = func.import_signature(signature);
    func.import_function(ir::ExtFuncData { name, signature, colocated: true, patchable: false })
}

impl Program {
    /// Emits the program for a collector, and finishes it, which runs the checkers.
    ///
    /// # Errors
    /// The law that the function breaks, and the function. If the function is too large, which no random
    /// program is.
    pub fn build(
        &self,
        compiler: &dyn GcCompiler,
        abi: &Abi,
        simplifies: bool,
    ) -> Result<FinishedFunction> {
        let (func, annotations) = self.emit(compiler, abi)?;
        let function = BuiltFunction::new(func.clone(), annotations);
        finish(compiler, abi, simplifies, function)
            .map_err(|error| anyhow!("{}: {error:#}\n{func}", compiler.name()))
    }

    /// Emits the program for a collector. It has no safepoints yet.
    ///
    /// # Errors
    /// If the function is too large. No random program is.
    pub fn emit(
        &self,
        compiler: &dyn GcCompiler,
        abi: &Abi,
    ) -> Result<(ir::Function, Annotations)> {
        let name = ir::UserFuncName::user(FUNCTION_NAMESPACE, PROGRAM);
        let mut func = ir::Function::with_name_signature(name, own_signature());
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        // Cranelift keeps locations relative to that of the first instruction.
        builder.set_srcloc(ir::SourceLoc::new(self.location));
        let [vmctx, reference, wide] = *builder.block_params(entry) else { unreachable!() };
        let callee = import(builder.func, FUNCTION_NAMESPACE, PROGRAM, own_signature());
        let signature = builder.import_signature(own_signature());
        let mut env = Env {
            abi: abi.clone(),
            vmctx,
            annotations: Annotations::default(),
            host_calls: HashMap::new(),
        };
        for region in [TABLE, GLOBAL, NATIVE, WORDS] {
            regions::intern(builder.func, region);
        }
        let mut build = Build {
            e: GcEmitter::new(&mut builder, &mut env, compiler),
            callee,
            signature,
            variables: Default::default(),
        };
        build.e.declare_ref(reference);
        build.declare(reference, wide);
        build.program(self);
        builder.seal_all_blocks();
        builder.finalize(frontend_config()?);
        let mut types = FunctionTypes::new(own_types());
        types.declare_signature(func.dfg.ext_funcs[callee].signature, own_types());
        types.declare_signature(signature, own_types());
        types.declare_region(TABLE, Memory::Refs(RootKind::Table));
        types.declare_region(GLOBAL, Memory::Refs(RootKind::Global));
        types.declare_region(NATIVE, Memory::Native);
        types.declare_region(WORDS, Memory::Data);
        let annotations =
            Annotations { types: Some(types), leaves_instance: true, ..env.annotations };
        Ok((func, annotations))
    }
}

/// Finishes a function of a program, with nothing inlined.
///
/// # Errors
/// As [`Finisher::finish`].
pub fn finish(
    compiler: &dyn GcCompiler,
    abi: &Abi,
    simplifies: bool,
    function: BuiltFunction,
) -> Result<FinishedFunction> {
    let opt_level = if simplifies { OptLevel::Speed } else { OptLevel::None };
    let options = CompileOptions { opt_level, ..CompileOptions::default() };
    Finisher::new(compiler, abi, &options).finish(function, &Inlining::none())
}
