//! Calls with handlers keep values in callee-saved registers, as other calls do. So a handler that
//! is not used costs nothing.
//!
//! Cranelift must be told so: for a `try_call` with `CallConv::Tail` it assumes that unwinding
//! restores no register, and spills everything around the call. So the call gets a signature with
//! another convention, which passes the same values in the same registers. The driver restores the
//! registers when it unwinds ([`ImageFunction::saved`](gc_types::ImageFunction::saved)).

use super::arch::{self, Arch};
use cranelift_codegen::ir::{
    self, BlockArg, BlockCall, ExceptionTableData, ExtFuncData, FuncRef, InstructionData, SigRef,
};
use std::collections::HashMap;

/// Changes the signatures of the calls with handlers of `func`, where that is possible.
pub(super) fn keep_registers(arch: &dyn Arch, func: &mut ir::Function) {
    if func.dfg.exception_tables.is_empty() {
        return;
    }
    // So many arguments and results at the beginning have no meaning.
    let unused = arch.registers_before_tail();
    let mut signatures: HashMap<SigRef, Option<SigRef>> = HashMap::new();
    let mut callees: HashMap<FuncRef, FuncRef> = HashMap::new();
    let ir::Function { stencil: ir::function::FunctionStencil { dfg, layout, .. }, .. } = func;
    for inst in layout.blocks().filter_map(|block| layout.last_inst(block)) {
        let Some(table) = dfg.insts[inst].exception_table() else { continue };
        let old = dfg.exception_tables[table].signature();
        let new = signatures.entry(old).or_insert_with(|| {
            let signature = arch::signature_with_handlers(arch, &dfg.signatures[old])?;
            Some(dfg.signatures.push(signature))
        });
        let Some(signature) = *new else { continue };
        // They are the first argument once more.
        change_args(dfg, inst, |args| {
            let more: Vec<_> = args.first().into_iter().copied().cycle().take(unused).collect();
            args.splice(0..0, more);
        });
        // Another call may have the same table, so this one gets a table of its own.
        let data = &dfg.exception_tables[table];
        let returned = data.normal_return();
        let args: Vec<_> = returned.args(&dfg.value_lists).collect();
        let args = args.into_iter().map(|arg| match arg {
            BlockArg::TryCallRet(number) => BlockArg::TryCallRet(number + unused as u32),
            other => other,
        });
        let returned = BlockCall::new(returned.block(&dfg.value_lists), args, &mut dfg.value_lists);
        let data = ExceptionTableData::new(signature, returned, data.items());
        let table = dfg.exception_tables.push(data);
        if let InstructionData::TryCall { exception, .. }
        | InstructionData::TryCallIndirect { exception, .. } = &mut dfg.insts[inst]
        {
            *exception = table;
        }
        if let InstructionData::TryCall { func_ref, .. } = &mut dfg.insts[inst] {
            let callee = callees.entry(*func_ref).or_insert_with(|| {
                let callee = ExtFuncData { signature, ..dfg.ext_funcs[*func_ref].clone() };
                dfg.ext_funcs.push(callee)
            });
            *func_ref = *callee;
        }
    }
}

/// Changes the arguments of a call.
pub(super) fn change_args(
    dfg: &mut ir::DataFlowGraph,
    inst: ir::Inst,
    change: impl FnOnce(&mut Vec<ir::Value>),
) {
    let (list, at) = match &mut dfg.insts[inst] {
        InstructionData::Call { args, .. } | InstructionData::TryCall { args, .. } => (args, 0),
        // The first is the address of the callee.
        InstructionData::TryCallIndirect { args, .. } => (args, 1),
        other => unreachable!("no such call: {other:?}"),
    };
    let mut values = list.as_slice(&dfg.value_lists).to_vec();
    let mut args = values.split_off(at);
    change(&mut args);
    values.extend(args);
    *list = ir::ValueList::from_slice(&values, &mut dfg.value_lists);
}

#[cfg(test)]
mod tests {
    use crate::collector::copying::CopyingCompiler;
    use crate::driver::arch::TailRegisters;
    use crate::{BuiltFunction, CompileOptions, Compiler, GcCompiler, import_function};
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::{
        AbiParam, ArgumentPurpose, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem,
        Function, InstBuilder, InstructionData, Signature, types,
    };
    use cranelift_codegen::isa::CallConv;
    use gc_types::{Abi, CALLEE_SAVED, Machine, Processor};

    /// A function whose only parameter lives across a call with a handler, or across one of `calls` calls with the
    /// same table of handlers. The callee takes and returns this many numbers.
    fn caller(args: usize, results: usize, calls: usize) -> Function {
        let mut own = Signature::new(CallConv::Tail);
        own.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
        let mut called = own.clone();
        own.params.push(AbiParam::new(types::I64));
        own.returns.push(AbiParam::new(types::I64));
        called.params.extend(vec![AbiParam::new(types::I64); args]);
        called.returns.extend(vec![AbiParam::new(types::I64); results]);

        let mut func = Function::with_name_signature(Default::default(), own);
        let [entry, returned, caught] = [(); 3].map(|()| func.dfg.make_block());
        let vmctx = func.dfg.append_block_param(entry, types::I64);
        let param = func.dfg.append_block_param(entry, types::I64);
        for _ in 0..results {
            func.dfg.append_block_param(returned, types::I64);
        }
        let exn = func.dfg.append_block_param(caught, types::I64);
        let callee = import_function(&mut func, 1, called);
        let signature = func.dfg.ext_funcs[callee].signature;
        let pool = &mut func.dfg.value_lists;
        let passed = (0..results as u32).map(BlockArg::TryCallRet);
        let normal = BlockCall::new(returned, passed, pool);
        let handler = BlockCall::new(caught, [BlockArg::TryCallExn(0)], pool);
        let items = [ExceptionTableItem::Default(handler)];
        let table = ExceptionTableData::new(signature, normal, items);
        let table = func.dfg.exception_tables.push(table);

        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(entry);
        let mut passed = vec![vmctx];
        passed.resize(args + 1, param);
        for _ in 1..calls {
            let [this, others] = [(); 2].map(|()| cursor.func.dfg.make_block());
            cursor.ins().brif(param, this, &[], others, &[]);
            cursor.insert_block(this);
            cursor.ins().try_call(callee, &passed, table);
            cursor.insert_block(others);
        }
        cursor.ins().try_call(callee, &passed, table);
        cursor.insert_block(returned);
        cursor.ins().return_(&[param]);
        cursor.insert_block(caught);
        let sum = cursor.ins().iadd(param, exn);
        cursor.ins().return_(&[sum]);
        func
    }

    /// The number of callee-saved registers that a function uses or loses, which makes such a call.
    fn registers(args: usize, results: usize) -> usize {
        let func = caller(args, results, 1);
        let abi = Abi::new(CopyingCompiler.abi());
        let compiler = Compiler::new(&CopyingCompiler, &abi, &CompileOptions::default()).unwrap();
        let function = BuiltFunction::new(func, Default::default());
        let function = compiler.compile_alone(function).unwrap();
        assert_eq!(function.handlers().len(), 1);
        function.saved.iter().filter(|slot| **slot != 0).count()
    }

    #[test]
    fn calls_with_the_same_handlers_change_alike() {
        for processor in Processor::ALL {
            let machine = Machine::new(processor.name(), "linux");
            let arch = crate::driver::arch::of(&machine).unwrap();
            let mut func = caller(2, 1, 3);
            super::keep_registers(arch, &mut func);
            let calls = func.layout.blocks().filter_map(|block| func.layout.last_inst(block));
            let mut count = 0;
            for call in calls {
                let InstructionData::TryCall { exception, func_ref, .. } = func.dfg.insts[call]
                else {
                    continue;
                };
                let table = &func.dfg.exception_tables[exception];
                let signature = func.dfg.ext_funcs[func_ref].signature;
                assert_eq!(table.signature(), signature);
                let signature = &func.dfg.signatures[signature];
                assert_eq!(signature.call_conv, CallConv::SystemV);
                assert_eq!(func.dfg.inst_args(call).len(), signature.params.len());
                let args = table.normal_return().args(&func.dfg.value_lists);
                let last = BlockArg::TryCallRet(signature.returns.len() as u32 - 1);
                assert!(args.eq([last]));
                count += 1;
            }
            assert_eq!(count, 3);
        }
    }

    #[test]
    fn calls_with_handlers_keep_registers_where_the_conventions_agree() {
        let arch = crate::driver::arch::of(&Machine::host()).unwrap();
        let TailRegisters { params: [params, _], results: [results, _], .. } =
            arch.tail_registers();
        // One of the parameters is the vmctx.
        for (args, results) in [(0, 0), (1, 1), (params - 1, results)] {
            assert_eq!(registers(args, results), 1, "{args} {results}");
        }
        // Arguments on the stack, which the callee removes, or other result registers: the call
        // loses all registers.
        for (args, results) in [(params, results), (1, results + 1)] {
            assert_eq!(registers(args, results), CALLEE_SAVED, "{args} {results}");
        }
    }
}
