//! Edges of `try_call`s. A `try_call` that may collect ends its block, so references are reloaded
//! at the beginning of its successors, which are the normal one and the handlers. This is possible
//! if a successor has no other predecessor and the edge passes no reference, which would be stale.
//! Every other edge gets its own block.

use super::Refs;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, Block, BlockArg, BlockCall, Inst, InstBuilder, Value};
use std::collections::HashMap;

/// Splits edges so that references can be reloaded after each `try_call` that may collect.
pub(super) fn split(
    func: &mut ir::Function,
    refs: &Refs,
    is_safepoint: &dyn Fn(&ir::Function, Inst) -> bool,
) {
    let collecting: Vec<(Block, Inst)> = func
        .layout
        .blocks()
        .filter_map(|block| Some((block, func.layout.last_inst(block)?)))
        .filter(|(_, last)| {
            func.dfg.insts[*last].opcode().is_terminator() && is_safepoint(func, *last)
        })
        .collect();
    if collecting.is_empty() {
        return;
    }
    let mut edges: HashMap<Block, usize> = HashMap::new();
    for block in func.layout.blocks() {
        let Some(last) = func.layout.last_inst(block) else { continue };
        for call in destinations(func, last) {
            *edges.entry(call.block(&func.dfg.value_lists)).or_default() += 1;
        }
    }
    for (block, inst) in collecting {
        for n in 0..destinations(func, inst).len() {
            let call = destinations(func, inst)[n];
            let target = call.block(&func.dfg.value_lists);
            let args: Vec<BlockArg> = call.args(&func.dfg.value_lists).collect();
            let passes_ref = args
                .iter()
                .any(|arg| matches!(arg, BlockArg::Value(value) if refs.get(*value).is_some()));
            if passes_ref || edges[&target] > 1 {
                split_one(func, (block, inst, n), target, &args);
            }
        }
    }
}

/// Inserts a block in the `n`th edge of a `try_call`.
fn split_one(
    func: &mut ir::Function,
    (block, inst, n): (Block, Inst, usize),
    target: Block,
    args: &[BlockArg],
) {
    let between = func.dfg.make_block();
    func.layout.insert_block_after(between, block);
    if func.layout.is_cold(target) {
        func.layout.set_cold(between);
    }
    // Values that the call itself passes become parameters of the new block. The new block passes
    // all other values.
    let mut from_call = Vec::new();
    let mut passed: Vec<BlockArg> = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        passed.push(match arg {
            BlockArg::Value(value) => BlockArg::Value(*value),
            of_call => {
                from_call.push(*of_call);
                let param = func.dfg.block_params(target)[i];
                let ty = func.dfg.value_type(param);
                let received: Value = func.dfg.append_block_param(between, ty);
                BlockArg::Value(received)
            }
        });
    }
    let srcloc = func.srcloc(inst);
    let mut cursor = FuncCursor::new(func).at_bottom(between);
    cursor.set_srcloc(srcloc);
    cursor.ins().jump(target, &passed);
    let dfg = &mut func.dfg;
    let edge = BlockCall::new(between, from_call, &mut dfg.value_lists);
    dfg.insts[inst].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[n] =
        edge;
}

fn destinations(func: &ir::Function, inst: Inst) -> &[BlockCall] {
    let dfg = &func.dfg;
    dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
}
