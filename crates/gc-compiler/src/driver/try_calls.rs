//! Calls with handlers keep values in callee-saved registers, as other calls do. So a handler that
//! is not used costs nothing.
//!
//! Cranelift must be told so: for a `try_call` with `CallConv::Tail` it assumes that unwinding
//! restores no register, and spills everything around the call. So the call gets a signature with
//! another convention, which passes the same values in the same registers. The driver restores the
//! registers when it unwinds ([`ImageFunction::saved`](gc_types::ImageFunction::saved)).

use super::machine;
use cranelift_codegen::ir::{
    self, ExceptionTableData, ExtFuncData, FuncRef, InstructionData, SigRef,
};
use std::collections::HashMap;

/// Changes the signatures of the calls with handlers of `func`, where that is possible.
pub(super) fn keep_registers(func: &mut ir::Function) {
    if func.dfg.exception_tables.is_empty() {
        return;
    }
    let mut signatures: HashMap<SigRef, Option<SigRef>> = HashMap::new();
    let mut callees: HashMap<FuncRef, FuncRef> = HashMap::new();
    let ir::Function { stencil: ir::function::FunctionStencil { dfg, layout, .. }, .. } = func;
    for inst in layout.blocks().filter_map(|block| layout.last_inst(block)) {
        let Some(table) = dfg.insts[inst].exception_table() else { continue };
        let old = dfg.exception_tables[table].signature();
        let new = signatures.entry(old).or_insert_with(|| {
            let signature = machine::signature_with_handlers(&dfg.signatures[old])?;
            Some(dfg.signatures.push(signature))
        });
        let Some(signature) = *new else { continue };
        let data = &dfg.exception_tables[table];
        let data = ExceptionTableData::new(signature, *data.normal_return(), data.items());
        dfg.exception_tables[table] = data;
        if let InstructionData::TryCall { func_ref, .. } = &mut dfg.insts[inst] {
            let callee = callees.entry(*func_ref).or_insert_with(|| {
                let callee = ExtFuncData { signature, ..dfg.ext_funcs[*func_ref].clone() };
                dfg.ext_funcs.push(callee)
            });
            *func_ref = *callee;
        }
    }
}
