//! What the driver refuses in every build, since it costs next to nothing to see and goes wrong
//! without a word otherwise: a calling convention that trampolines and traps do not work with,
//! and a function for which nobody placed safepoints.

use super::names;
use crate::regions;
use anyhow::{Result, ensure};
use cranelift_codegen::ir::{self, InstructionData};
use cranelift_codegen::isa::CallConv;

/// Refuses a function that an embedder built wrongly.
///
/// # Errors
/// What is wrong with it.
pub(super) fn refuse(func: &ir::Function) -> Result<()> {
    let own = func.signature.call_conv;
    ensure!(
        own == CallConv::Tail,
        "a function of the calling convention `{own}`: compiled code is `tail`, since a trap leaves \
         it without restoring the registers that others promise to keep"
    );
    let mut may_collect = false;
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            let dfg = &func.dfg;
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
                "{}: a call by the calling convention `{found}`, where the callee is `{wanted}`",
                dfg.display_inst(inst)
            );
            may_collect |= !dfg.insts[inst].opcode().is_return()
                && host_call.is_none_or(|call| call.may_collect());
        }
    }
    ensure!(
        !may_collect || func.dfg.alias_regions.contains(regions::SAFEPOINTS),
        "a function with calls that may collect, for which no safepoints were placed: call \
         `gc_compiler::safepoints::place_safepoints` when it is built, also if it has no references"
    );
    Ok(())
}
