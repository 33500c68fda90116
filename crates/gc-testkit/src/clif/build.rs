//! Builds a random program as CLIF, like a small embedder of `gc-compiler`.

use super::emit::Build;
use super::program::Program;
use super::world::{
    GLOBAL, HOST_QUIET, NATIVE, PROGRAM, TABLE, WORDS, host_signature, own_signature,
};
use anyhow::{Result, anyhow};
use cranelift_codegen::ir::{self, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::check::{CheckContext, FunctionTypes, Memory, SignatureTypes, ValueType};
use gc_compiler::regions;
use gc_compiler::safepoints::{References, place_safepoints};
use gc_compiler::simplify::simplify;
use gc_compiler::{
    FUNCTION_NAMESPACE, GcCompiler, GcEmitter, GcFuncEnv, HOST_CALL_NAMESPACE, declare_vmctx_slot,
    host_call_signature, set_stack_limit,
};
use gc_types::{Abi, HostCall, RootKind};
use std::collections::HashMap;

/// A built function.
#[derive(Clone, Debug)]
pub struct Built {
    /// The function before safepoints were placed.
    pub before: ir::Function,
    /// The function with safepoints.
    pub func: ir::Function,
    /// The function's types.
    pub types: FunctionTypes,
    /// The references that the emitter marked.
    pub references: References,
}

/// Runs the checkers over a function.
///
/// # Errors
/// The law that the function breaks, and the function.
pub fn check(built: &Built, compiler: &dyn GcCompiler, abi: &Abi) -> Result<()> {
    let cx = CheckContext { abi, compiler, types: &built.types };
    gc_compiler::check::check_function(&built.func, &cx)
        .map_err(|error| anyhow!("{}: {error}\n{}", compiler.name(), built.func))
}

/// The frontend's settings for the machine.
fn frontend_config() -> Result<TargetFrontendConfig> {
    let machine = cranelift_native::builder().map_err(|why| anyhow!("{why}"))?;
    Ok(machine.finish(settings::Flags::new(settings::builder()))?.frontend_config())
}

/// Whether a call of `callee` may collect.
fn may_collect(func: &ir::Function, callee: ir::FuncRef) -> bool {
    let ir::ExternalName::User(name) = func.dfg.ext_funcs[callee].name else { return true };
    let name = &func.params.user_named_funcs()[name];
    if name.namespace == FUNCTION_NAMESPACE {
        return true;
    }
    let call = HostCall::from_index(name.index);
    call.may_collect() && call != HOST_QUIET.0
}

/// `(vmctx, reference, i64) -> reference`.
fn own_types() -> SignatureTypes {
    SignatureTypes::with_vmctx([ValueType::Ref, ValueType::Data], [ValueType::Ref])
}

struct Env {
    abi: Abi,
    vmctx: Value,
    references: References,
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

    fn references(&mut self) -> &mut References {
        &mut self.references
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
    /// Emits the program for a collector, simplifies it if asked, and places safepoints.
    ///
    /// # Errors
    /// If the function is too large. No random program is.
    pub fn build(&self, compiler: &dyn GcCompiler, abi: &Abi, simplifies: bool) -> Result<Built> {
        let name = ir::UserFuncName::user(FUNCTION_NAMESPACE, PROGRAM);
        let mut func = ir::Function::with_name_signature(name, own_signature());
        set_stack_limit(&mut func, &abi.offsets())?;
        declare_vmctx_slot(&mut func);
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
            references: References::default(),
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
        for (call, callee) in &env.host_calls {
            let collects = may_collect(&func, *callee);
            types.declare_host_call(&func, *callee, *call, host_signature(*call), collects);
        }
        types.declare_region(TABLE, Memory::Refs(RootKind::Table));
        types.declare_region(GLOBAL, Memory::Refs(RootKind::Global));
        types.declare_region(NATIVE, Memory::Native);
        types.declare_region(WORDS, Memory::Data);
        if simplifies {
            simplify(&mut func, &mut env.references);
        }
        let before = func.clone();
        place_safepoints(&mut func, &env.references, &may_collect)?;
        Ok(Built { before, func, types, references: env.references })
    }
}
