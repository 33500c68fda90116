//! Host calls pass the vmctx in the register in which functions get it.
//!
//! A host call has the convention `CallConv::PreserveAll`, which passes arguments as the platform does. On aarch64
//! `CallConv::Tail`, with which functions get their vmctx, begins with a later register. A vmctx that is the first argument
//! would have to be moved, and the register allocator would move or reload it in the hot path for the sake of calls in
//! cold blocks. So other arguments are before it, in the registers that `CallConv::Tail` does not use for parameters. If
//! there are too few of them, the vmctx is there too. All this is done to functions just before they are compiled, so
//! that CLIF is the same for all processors.

use super::arch::Arch;
use super::names::HOST_CALL_NAMESPACE;
use super::try_calls::change_args;
use cranelift_codegen::ir::{
    self, ExceptionTableData, ExternalName, InstructionData, SigRef, UserFuncName, types,
};
use cranelift_codegen::isa::CallConv;
use std::collections::{BTreeSet, HashMap};

/// Changes the order of the arguments of the host calls of `func`, and of its parameters if it is the trampoline of one.
pub(super) fn align(arch: &dyn Arch, func: &mut ir::Function) {
    let before = arch.registers_before_tail();
    if before == 0 {
        return;
    }
    if is_trampoline(func) {
        move_first(&mut func.signature.params, before);
        if let Some(entry) = func.layout.entry_block() {
            let params = func.dfg.detach_block_params(entry);
            let mut params = params.as_slice(&func.dfg.value_lists).to_vec();
            let vmctx = params[0];
            move_first(&mut params, before);
            for (at, param) in params.into_iter().enumerate() {
                match param == vmctx && at < before {
                    true => _ = func.dfg.append_block_param(entry, types::I64),
                    false => func.dfg.attach_block_param(entry, param),
                }
            }
        }
    }

    let is_host_call = |name: &ExternalName| match name {
        ExternalName::User(name) => {
            func.params.user_named_funcs()[*name].namespace == HOST_CALL_NAMESPACE
        }
        _ => false,
    };
    let callees = func.dfg.ext_funcs.iter().filter(|(_, callee)| is_host_call(&callee.name));
    // In order, so that the function and its key in a cache are always the same.
    let callees: BTreeSet<ir::FuncRef> = callees.map(|(callee, _)| callee).collect();
    if callees.is_empty() {
        return;
    }
    let ir::Function { stencil: ir::function::FunctionStencil { dfg, layout, .. }, .. } = func;
    let mut signatures: HashMap<SigRef, SigRef> = HashMap::new();
    for callee in &callees {
        let old = dfg.ext_funcs[*callee].signature;
        let new = *signatures.entry(old).or_insert_with(|| {
            let mut signature = dfg.signatures[old].clone();
            move_first(&mut signature.params, before);
            dfg.signatures.push(signature)
        });
        dfg.ext_funcs[*callee].signature = new;
    }
    for inst in layout.blocks().flat_map(|block| layout.block_insts(block)) {
        match dfg.insts[inst] {
            InstructionData::Call { func_ref, .. } if callees.contains(&func_ref) => {
                change_args(dfg, inst, |args| move_first(args, before));
            }
            InstructionData::TryCall { func_ref, exception, .. } if callees.contains(&func_ref) => {
                change_args(dfg, inst, |args| move_first(args, before));
                let table = &dfg.exception_tables[exception];
                let signature = dfg.ext_funcs[func_ref].signature;
                // Another call may have the same table, so this one gets a table of its own.
                let table =
                    ExceptionTableData::new(signature, *table.normal_return(), table.items());
                let table = dfg.exception_tables.push(table);
                if let InstructionData::TryCall { exception, .. } = &mut dfg.insts[inst] {
                    *exception = table;
                }
            }
            _ => {}
        }
    }
}

/// Moves the first of `list` so that `before` are before it. If there are not so many, it is among them too.
fn move_first<T: Clone>(list: &mut Vec<T>, before: usize) {
    let Some(first) = list.first().cloned() else { return };
    while list.len() <= before {
        list.push(first.clone());
    }
    list[..=before].rotate_left(1);
}

/// Whether a function is the trampoline of a host call.
fn is_trampoline(func: &ir::Function) -> bool {
    let named =
        matches!(&func.name, UserFuncName::User(name) if name.namespace == HOST_CALL_NAMESPACE);
    named && func.signature.call_conv == CallConv::PreserveAll
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_after_so_many() {
        let moved = |list: &str, before| {
            let mut list = list.chars().collect();
            move_first(&mut list, before);
            list.into_iter().collect::<String>()
        };
        assert_eq!([0, 1, 2].map(|before| moved("abcd", before)), ["abcd", "bacd", "bcad"]);
        assert_eq!(["a", "ab", "abc"].map(|list| moved(list, 2)), ["aaa", "baa", "bca"]);
    }
}
