//! Host-call trampolines: compiled code calls a service of the host. The call clobbers no register
//! (`CallConv::PreserveAll`), so that a call in a cold block costs nothing in the hot path. This
//! convention has no result registers, so the trampoline leaves the result in the store context. Such a
//! call takes 4.4 ns, and one with the System V convention 2.3 (prototype).

use super::*;
use crate::driver::names::HOST_CALL_NAMESPACE;
use crate::host_call_signature;
use gc_types::HostSignature;

/// The trampoline of `call`. It is compiled if it is new.
pub(in crate::driver) fn host_call(
    compiler: &Compiler,
    call: HostCall,
    signature: &HostSignature,
) -> Result<Arc<CompiledFunction>> {
    compiler.trampoline(Trampoline::HostCall(call), || {
        let mut func = build(compiler, host_call_signature(signature), |builder, params| {
            let exit = record_exit(builder, params[0]);
            let store_context = exit.store_context;
            let args: Vec<Value> = params
                .iter()
                .map(|param| {
                    let ty = builder.func.dfg.value_type(*param);
                    widen(builder, *param, ty)
                })
                .collect();

            let mut host = Signature::new(CallConv::SystemV);
            host.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
            host.returns.push(AbiParam::new(types::I64));
            let host = builder.import_signature(host);
            let host_calls = builder.ins().load(
                types::I64,
                trusted(),
                store_context,
                O.store_host_calls() as i32,
            );
            let offset = call.index() * u32::from(O.pointer_size());
            let function = builder.ins().load(types::I64, trusted(), host_calls, offset as i32);
            let inst = builder.ins().call_indirect(host, function, &args);
            let result = builder.inst_results(inst)[0];
            if signature.fallible {
                unwind_if_failed(compiler, builder, &exit, result);
            }
            if signature.result.is_some() {
                builder.ins().store(trusted(), result, store_context, O.store_host_result() as i32);
            }
            builder.ins().return_(&[]);
        });
        func.name = UserFuncName::user(HOST_CALL_NAMESPACE, call.index());
        func
    })
}
