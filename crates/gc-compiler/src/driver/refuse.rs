//! The checks that the driver makes in every build. They are cheap, and they find mistakes that
//! would otherwise be silent, such as a calling convention that does not work with trampolines and traps.

use super::names;
use anyhow::{Result, ensure};
use cranelift_codegen::ir::{self, InstructionData, Opcode, types};
use cranelift_codegen::isa::CallConv;

/// Checks that an embedder built `func` correctly.
///
/// # Errors
/// If a calling convention is wrong, or if an instruction would end the process.
pub(super) fn refuse(func: &ir::Function) -> Result<()> {
    let own = func.signature.call_conv;
    ensure!(
        own == CallConv::Tail,
        "the function has the calling convention `{own}`, but compiled code must be `tail`: a trap \
         leaves a function without restoring the callee-saved registers"
    );
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            let dfg = &func.dfg;
            ensure!(
                dfg.insts[inst].opcode() != Opcode::Debugtrap,
                "`debugtrap` would end the process: use `trap` with a code"
            );
            let (callee, signature) = match dfg.insts[inst] {
                InstructionData::Call { func_ref, .. }
                | InstructionData::TryCall { func_ref, .. } => {
                    (Some(func_ref), dfg.ext_funcs[func_ref].signature)
                }
                InstructionData::CallIndirect { sig_ref, .. } => (None, sig_ref),
                InstructionData::TryCallIndirect { exception, .. } => {
                    (None, dfg.exception_tables[exception].signature())
                }
                _ => continue,
            };
            let host_call = callee.and_then(|callee| names::imported_host_call(func, callee));
            let wanted = if host_call.is_some() { CallConv::PreserveAll } else { CallConv::Tail };
            let found = dfg.signatures[signature].call_conv;
            ensure!(
                found == wanted,
                "{}: the call has the calling convention `{found}`, but the callee has `{wanted}`",
                dfg.display_inst(inst)
            );
            if host_call.is_some() {
                // `host_args` changes their order before Cranelift's verifier sees them.
                let params = &dfg.signatures[signature].params;
                let (given, wanted) = (dfg.inst_args(inst).len(), params.len());
                ensure!(
                    params.first().is_some_and(|vmctx| vmctx.value_type == types::I64),
                    "{}: the first parameter of a host call is the vmctx",
                    dfg.display_inst(inst)
                );
                ensure!(
                    given == wanted,
                    "{}: the host call has {wanted} parameters, but the call has {given} arguments",
                    dfg.display_inst(inst)
                );
            }
        }
    }
    Ok(())
}
