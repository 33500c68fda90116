//! What every compiled function has, whatever it does: a signature, a check of the stack, an
//! environment in which `gc-compiler` can emit, safepoints.

use crate::compiler::Body;
use anyhow::Result;
use cranelift_codegen::ir::{self, AbiParam, Value, types};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::check::{CheckContext, FunctionTypes, SignatureTypes, ValueType, check_function};
use gc_compiler::safepoints::{References, place_safepoints};
use gc_compiler::{
    GcCompiler, GcEmitter, GcFuncEnv, import_host_call, imported_host_call, set_stack_limit,
};
use gc_types::{Abi, HostCall};

/// The signature of every compiled function: `(vmctx, closure, argument) -> value`.
pub(crate) fn signature() -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext));
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// What our types say of a function: all are of one signature, and its values are references.
fn types(func: &ir::Function) -> FunctionTypes {
    let own = SignatureTypes::with_vmctx([ValueType::Ref; 2], [ValueType::Ref]);
    let mut types = FunctionTypes::new(own.clone());
    for (callee, data) in &func.dfg.ext_funcs {
        match imported_host_call(func, callee) {
            Some(call) => {
                let signature = call.gc_signature().expect("we have no host calls of our own");
                types.declare_host_call(func, callee, call, signature, call.may_collect());
            }
            None => types.declare_signature(data.signature, own.clone()),
        }
    }
    types
}

/// What gc-compiler asks about the function being built.
struct Env {
    abi: Abi,
    vmctx: Value,
    references: References,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.abi
    }

    fn vmctx(&mut self, _: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        let signature = call.gc_signature().expect("we have no host calls of our own");
        import_host_call(func, call, signature)
    }

    fn references(&mut self) -> &mut References {
        &mut self.references
    }
}

/// The functions compiled so far, each with its name and at its number.
pub(crate) struct Program<'t> {
    pub(crate) gc: &'t dyn GcCompiler,
    pub(crate) abi: Abi,
    pub(crate) config: TargetFrontendConfig,
    pub(crate) functions: Vec<(String, ir::Function)>,
}

impl<'t> Program<'t> {
    /// Adds the function that `emit` emits, its first two names those of its closure and its
    /// argument. Returns the names it captures, each with a line it is used in.
    pub(crate) fn add(
        &mut self,
        title: String,
        names: [&'t str; 2],
        depth: usize,
        emit: impl FnOnce(&mut Body<'_, '_, 't>) -> Result<()>,
    ) -> Result<Vec<(&'t str, u32)>> {
        let mut func = ir::Function::with_name_signature(Default::default(), signature());
        set_stack_limit(&mut func, &self.abi.offsets())?;
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let [vmctx, closure, argument] = *builder.block_params(entry) else { unreachable!() };
        let abi = self.abi.clone();
        let mut env = Env { abi, vmctx, references: References::default() };
        let mut e = GcEmitter::new(&mut builder, &mut env, self.gc);
        let values = [closure, argument].map(|value| e.declare_ref(value));
        let locals = names.into_iter().zip(values).collect();
        let mut body = Body { e, program: self, closure, locals, captured: Vec::new(), depth };
        emit(&mut body)?;
        let captured = body.captured;
        builder.seal_all_blocks();
        builder.finalize(self.config);
        place_safepoints(&mut func, &env.references, &|func, callee| {
            imported_host_call(func, callee).is_none_or(HostCall::may_collect)
        })?;
        if cfg!(debug_assertions) {
            let (abi, compiler) = (&self.abi, self.gc);
            check_function(&func, &CheckContext { abi, compiler, types: &types(&func) })?;
        }
        self.functions.push((title, func));
        Ok(captured)
    }
}
