//! Exit trampolines: compiled code calls a host function by a function reference, in the same way
//! as a compiled function.
//!
//! The callee's vmctx names the host function, after the prefix that all vmctxs have. The
//! trampoline stores the arguments in an array of [`ValRaw`] in its frame and loads the results
//! from the same array.

use super::*;

/// The trampoline for host functions of `signature`. It is compiled if it is new. Its address is
/// the `code` in references to such functions.
pub(in crate::driver) fn exit(
    compiler: &Compiler,
    signature: &CallSignature,
) -> Result<Arc<CompiledFunction>> {
    compiler.trampoline(Trampoline::Exit(signature.clone()), || {
        let caller = clif_signature(signature);
        build(compiler, caller.clone(), |builder, params| {
            let (vmctx, args) = params.split_first().expect("the vmctx");
            let exit = record_exit(builder, *vmctx);
            let array = slot_array(builder, signature.slots());
            store_values(builder, array, args);

            let mut host = Signature::new(CallConv::SystemV);
            host.params.extend([AbiParam::new(types::I64); 2]);
            host.returns.push(AbiParam::new(types::I64));
            let host = builder.import_signature(host);
            let function =
                builder.ins().load(types::I64, trusted(), *vmctx, O.vmctx_prefix_size() as i32);
            let call = builder.ins().call_indirect(host, function, &[*vmctx, array]);
            let result = builder.inst_results(call)[0];
            unwind_if_failed(compiler, builder, &exit, result);

            let results = load_values(builder, array, &caller.returns);
            builder.ins().return_(&results);
        })
    })
}
