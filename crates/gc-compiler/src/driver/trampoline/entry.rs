//! Entry trampolines: the host calls compiled code.
//!
//! An entry trampoline is an `extern "C"` function `(activation, callee's code, callee's vmctx,
//! values)`. It takes the arguments from `values` and leaves the results there. It records its
//! frame pointer in the activation and makes the call with a `try_call`. After a trap, or when a
//! host function has failed, execution resumes at the handler of the `try_call`. So no setjmp is
//! needed, and the trampoline's own epilogue restores the host's callee-saved registers. It returns
//! an [`EntryStatus`].

use super::*;
use cranelift_codegen::ir::{BlockArg, ExceptionTableData, ExceptionTableItem};

/// The trampoline by which the host calls functions of `signature`. It is compiled if it is new.
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
