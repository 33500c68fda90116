//! Calls that cannot collect. They need no row in the table of stack maps.
//!
//! [`mark_quiet_calls`] marks them before a function is compiled, and `write::FunctionMap`
//! leaves them out. If a collection happens in such a call after all, the walk of the stack finds no row and
//! ends with an error. So a call that was marked by mistake is not silent.

use cranelift_codegen::ir::{DebugTag, Function, Inst, Opcode};

/// The debug tag of a quiet call.
pub(crate) const QUIET: DebugTag = DebugTag::User(0x5171_e700);

/// Marks the calls of a function for which `may_collect` returns false. Calls that are not marked get a row in
/// the table, whether references are live across them or not.
///
/// Call it when the function is finished, before it is compiled. Cranelift carries a mark as a debug tag of
/// the call, and drops those of `try_call`, which always get a row.
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::{Function, InstructionData};
/// use stack_roots::calls::mark_quiet_calls;
///
/// # let mut func = Function::new();
/// // The functions with a number below 8 are those of the runtime that allocate nothing.
/// mark_quiet_calls(&mut func, |func, call| match func.dfg.insts[call] {
///     InstructionData::Call { func_ref, .. } => func_ref.as_u32() >= 8,
///     _ => true,
/// });
/// ```
pub fn mark_quiet_calls(func: &mut Function, mut may_collect: impl FnMut(&Function, Inst) -> bool) {
    let blocks = func.layout.blocks();
    let insts: Vec<Inst> = blocks.flat_map(|block| func.layout.block_insts(block)).collect();
    for inst in insts {
        let is_call = matches!(func.dfg.insts[inst].opcode(), Opcode::Call | Opcode::CallIndirect);
        if is_call && !is_quiet(func, inst) && !may_collect(func, inst) {
            let tags: Vec<DebugTag> = func.debug_tags.get(inst).to_vec();
            func.debug_tags.set(inst, [QUIET].into_iter().chain(tags));
        }
    }
}

/// Whether a call is marked as one that cannot collect.
pub fn is_quiet(func: &Function, call: Inst) -> bool {
    func.debug_tags.get(call).contains(&QUIET)
}
