//! Entry trampolines: the host calls compiled code.
//!
//! An entry trampoline is an `extern "C"` function `(activation, callee's code, callee's
//! vmctx, values)`: it takes the arguments from `values` and leaves the results there. It
//! records its frame pointer in the activation and calls with a `try_call`, whose handler
//! is where a signal handler, or a trampoline whose host function failed, resumes: no
//! setjmp, and the host's callee-saved registers are restored by the trampoline's own
//! epilogue. It returns an [`EntryStatus`].

use super::*;
use cranelift_codegen::ir::{BlockArg, ExceptionTableData, ExceptionTableItem};

/// The trampoline through which the host can call functions of `signature`, compiled now
/// or before.
pub(in crate::driver) fn entry(
    compiler: &Compiler,
    signature: &CallSignature,
) -> Result<Arc<CompiledFunction>> {
    compiler.trampoline(Trampoline::Entry(signature.clone()), || {
        let callee = clif_signature(signature);
        let mut outer = Signature::new(CallConv::SystemV);
        outer.params.extend([AbiParam::new(types::I64); 4]);
        outer.returns.push(AbiParam::new(types::I64));
        build(compiler, outer, |builder, params| {
            let &[activation, code, vmctx, values] = params else { unreachable!() };
            let fp = builder.ins().get_frame_pointer(types::I64);
            builder.ins().store(trusted(), fp, activation, O.activation_entry_fp() as i32);
            let mut args = vec![vmctx];
            args.extend(load_values(builder, values, &callee.params[1..]));

            let returned = builder.create_block();
            let results: Vec<Value> = callee
                .returns
                .iter()
                .map(|ret| builder.append_block_param(returned, ret.value_type))
                .collect();
            let unwound = builder.create_block();
            builder.set_cold_block(unwound);
            let status = builder.append_block_param(unwound, types::I64);

            let sig = builder.import_signature(callee.clone());
            let results_args: Vec<BlockArg> =
                (0..results.len() as u32).map(BlockArg::TryCallRet).collect();
            let pool = &mut builder.func.dfg.value_lists;
            let normal = ir::BlockCall::new(returned, results_args, pool);
            let handler = ir::BlockCall::new(unwound, [BlockArg::TryCallExn(0)], pool);
            let table =
                ExceptionTableData::new(sig, normal, [ExceptionTableItem::Default(handler)]);
            let table = builder.func.dfg.exception_tables.push(table);
            builder.ins().try_call_indirect(code, &args, table);

            builder.switch_to_block(returned);
            store_values(builder, values, &results);
            let ok = builder.ins().iconst(types::I64, EntryStatus::OK as i64);
            builder.ins().return_(&[ok]);

            builder.switch_to_block(unwound);
            builder.ins().return_(&[status]);
        })
    })
}
