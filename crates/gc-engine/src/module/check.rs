//! What is checked of a function when it is defined: its signature, its CLIF, its imports, and that it returns.

use super::body::{Env, IMPORTS, REFERENCES};
use super::globals::{CELLS, CONSTANTS, GLOBAL_REFS, GLOBALS};
use super::{Function, FunctionBody, FunctionHandle, Module, clif_signature};
use crate::{Signature, Type};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cranelift_codegen::ir::{self, InstructionData};
use gc_compiler::check::{FunctionTypes, Memory, SignatureTypes, ValueType, host_call_types};
use gc_compiler::{
    Annotations, BuiltFunction, FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, host_call_signature,
};
use gc_types::{Abi, HostCall, RootKind};
use std::collections::HashMap;
use std::sync::Arc;

impl Module {
    /// Checks that a function obeys the rules of this crate.
    pub(super) fn check(
        &mut self,
        function: &FunctionHandle,
        func: ir::Function,
        env: Env,
        end: Option<ir::Block>,
    ) -> Result<BuiltFunction> {
        let expected = clif_signature(function.signature());
        ensure!(
            func.signature.call_conv == expected.call_conv,
            "its calling convention was changed to `{}`: after a trap nothing would restore the \
             host's registers; it must be `{}`",
            func.signature.call_conv,
            expected.call_conv
        );
        ensure!(func.signature == expected, "its signature was changed while it was built");
        let compiler = self.engine.compiler();
        self.context.clear();
        self.context.func = func;
        self.context.compute_cfg();
        self.context.compute_domtree();
        if let Some(end) = end {
            ensure!(
                !self.context.domtree.is_reachable(end),
                "it can reach its end without returning {}",
                function.signature()
            );
        }
        if self.engine.verifies() {
            let verified = cranelift_codegen::verify_function(&self.context.func, compiler.isa());
            verified.map_err(|errors| anyhow!("its CLIF is not valid:\n{errors}"))?;
        }
        let removed = self.context.eliminate_unreachable_code(compiler.isa());
        removed.map_err(|error| anyhow!("{error}"))?;
        let func = &self.context.func;
        for inst in func.layout.blocks().flat_map(|block| func.layout.block_insts(block)) {
            let is_try = matches!(
                func.dfg.insts[inst],
                InstructionData::TryCall { .. } | InstructionData::TryCallIndirect { .. }
            );
            ensure!(
                !is_try || env.try_calls.contains(&inst),
                "it has a `try_call` that was made with the builder: use `try_catch`"
            );
        }
        let func = std::mem::replace(&mut self.context.func, ir::Function::new());
        let types = match self.engine.verifies() {
            true => {
                Some(types(&self.functions, function, &func, &env.signatures, self.engine.abi())?)
            }
            false => None,
        };
        let annotations = Annotations { types, ..env.annotations };
        Ok(BuiltFunction::new(func, annotations))
    }
}

/// The types of `function` and its callees, for the checkers. Fails if it imports something else
/// than functions of the module and the engine's host calls, each with its own signature: Cranelift
/// calls with the signature of the import, and the checkers know that of the callee.
fn types(
    functions: &[Function],
    function: &FunctionHandle,
    func: &ir::Function,
    calls: &[(ir::SigRef, Arc<Signature>)],
    abi: &Abi,
) -> Result<FunctionTypes> {
    let types = |types: &[Type]| types.iter().map(|ty| check_type(*ty)).collect::<Vec<_>>();
    let signature = |signature: &Signature| {
        SignatureTypes::with_vmctx(types(signature.params()), types(signature.results()))
    };
    let mut known = FunctionTypes::new(signature(function.signature()));
    known.declare_region(IMPORTS, Memory::Native);
    known.declare_region(REFERENCES, Memory::Data);
    known.declare_region(CELLS, Memory::Native);
    known.declare_region(GLOBALS, Memory::Data);
    known.declare_region(GLOBAL_REFS, Memory::Refs(RootKind::Global));
    known.declare_region(CONSTANTS, Memory::Refs(RootKind::Constant));
    let mut declared = HashMap::new();
    for (code, called) in calls {
        let types = signature(called);
        known.declare_signature(*code, types.clone());
        declared.insert(*code, types);
    }
    for data in func.dfg.ext_funcs.values() {
        let ir::ExternalName::User(name) = data.name else {
            bail!("it imports {}, which is not a function of its module", data.name.display(None));
        };
        let ir::UserExternalName { namespace, index } = func.params.user_named_funcs()[name];
        let (name, expected, types) = match namespace {
            FUNCTION_NAMESPACE => {
                let found = functions.get(index as usize);
                let is_own = |found: &&Function| {
                    !found.forgotten && !matches!(found.body, FunctionBody::Imported(_))
                };
                let found = found.filter(is_own);
                let handle = &found
                    .with_context(|| format!("it imports function {index}, which is not declared"))?
                    .handle;
                let types = signature(handle.signature());
                known.declare_signature(data.signature, types.clone());
                (handle.name(), clif_signature(handle.signature()), types)
            }
            HOST_CALL_NAMESPACE => {
                let call = HostCall::from_index(index);
                let signature = abi.host_call(call).with_context(|| {
                    format!("it imports host call {index}, which its engine does not have")
                })?;
                let types = host_call_types(signature);
                (signature.name, host_call_signature(signature), types)
            }
            _ => bail!("it imports a function of the unknown namespace {namespace}"),
        };
        let imported = &func.dfg.signatures[data.signature];
        ensure!(
            *imported == expected,
            "it imports `{name}` with the signature {imported}, but its signature is {expected}"
        );
        // The checkers know the types of a signature, and not those of each callee.
        let first = declared.entry(data.signature).or_insert_with(|| types.clone());
        ensure!(
            *first == types,
            "it imports `{name}` with the `SigRef` of a function of another type"
        );
    }
    Ok(known)
}

fn check_type(ty: Type) -> ValueType {
    match ty {
        Type::Ref => ValueType::Ref,
        Type::I32 | Type::I64 | Type::F32 | Type::F64 | Type::Func => ValueType::Data,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Collector, Engine, Module, Type};
    use cranelift_codegen::ir::InstBuilder as _;
    use gc_types::HostCall;

    /// A collector may emit a call for which the embedder has no host call.
    #[test]
    fn a_host_call_that_the_engine_does_not_have_is_named() {
        for collector in Collector::all() {
            let mut module = Module::new(&Engine::new(collector).unwrap());
            let built = module.function("f", [Type::I64], [], |f| {
                let value = f.param(0);
                f.gc().call_host(HostCall::from_index(4000), &[value]);
                let result = f.gc().host_result_i64();
                f.ins().band(result, value);
            });
            assert_eq!(
                format!("{:#}", built.unwrap_err()),
                "function `f`: it imports host call 4000, which its engine does not have"
            );
        }
    }
}
