//! Edges of `try_call`s. A `try_call` that may collect ends its block, so references are reloaded
//! in its successors, which are the normal one and the handlers. This is possible if all
//! predecessors of a successor end with such calls, and no edge passes a reference, which would be
//! stale.
//!
//! Every other edge is led through a block. An edge that passes a reference gets its own. All others
//! with the same successor share one, because a function may have many thousand calls with one
//! handler. The register allocator takes time for each block that is far from its predecessor.

use super::Refs;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, Block, BlockArg, BlockCall, Inst, InstBuilder, Value};
use std::collections::HashMap;

/// The edges into a block.
#[derive(Clone, Copy, Default)]
struct Edges {
    all: usize,
    /// Those of collecting `try_call`s that pass no reference.
    plain: usize,
    /// The block through which the plain edges are led.
    shared: Option<Block>,
}

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
    let mut edges: HashMap<Block, Edges> = HashMap::new();
    for block in func.layout.blocks() {
        let Some(last) = func.layout.last_inst(block) else { continue };
        for call in destinations(func, last) {
            edges.entry(call.block(&func.dfg.value_lists)).or_default().all += 1;
        }
    }
    let mut args = Vec::new();
    for (_, inst) in &collecting {
        for call in destinations(func, *inst) {
            if !passes_ref(func, refs, call) {
                let target = call.block(&func.dfg.value_lists);
                edges.entry(target).or_default().plain += 1;
            }
        }
    }
    for (block, inst) in collecting {
        for n in 0..destinations(func, inst).len() {
            let call = destinations(func, inst)[n];
            let target = call.block(&func.dfg.value_lists);
            args.clear();
            args.extend(call.args(&func.dfg.value_lists));
            let at = (block, inst, n);
            let into = edges.get_mut(&target).expect("it was counted");
            if passes_ref(func, refs, &call) || into.all > into.plain && into.plain == 1 {
                split_one(func, at, target, &args);
            } else if into.all > into.plain {
                let shared = *into.shared.get_or_insert_with(|| share(func, (block, inst), target));
                redirect(func, at, shared, &args);
            }
        }
    }
}

fn passes_ref(func: &ir::Function, refs: &Refs, call: &BlockCall) -> bool {
    let is_ref = |arg| matches!(arg, BlockArg::Value(value) if refs.get(value).is_some());
    call.args(&func.dfg.value_lists).any(is_ref)
}

/// Inserts a block that jumps to `target`, after the block of the `try_call` `inst`.
fn insert_before(func: &mut ir::Function, (block, _): (Block, Inst), target: Block) -> Block {
    let between = func.dfg.make_block();
    func.layout.insert_block_after(between, block);
    if func.layout.is_cold(target) {
        func.layout.set_cold(between);
    }
    between
}

/// Makes a block that has the parameters of `target` and passes them on.
fn share(func: &mut ir::Function, from: (Block, Inst), target: Block) -> Block {
    let between = insert_before(func, from, target);
    let passed: Vec<BlockArg> = (0..func.dfg.block_params(target).len())
        .map(|i| BlockArg::Value(copy_param(func, target, i, between)))
        .collect();
    jump(func, from.1, between, target, &passed);
    between
}

/// Inserts a block in the `n`th edge of a `try_call`.
fn split_one(
    func: &mut ir::Function,
    (block, inst, n): (Block, Inst, usize),
    target: Block,
    args: &[BlockArg],
) {
    let between = insert_before(func, (block, inst), target);
    // Values that the call itself passes become parameters of the new block. The new block passes
    // all other values.
    let mut from_call = Vec::new();
    let mut passed: Vec<BlockArg> = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        passed.push(match arg {
            BlockArg::Value(value) => BlockArg::Value(*value),
            of_call => {
                from_call.push(*of_call);
                BlockArg::Value(copy_param(func, target, i, between))
            }
        });
    }
    jump(func, inst, between, target, &passed);
    redirect(func, (block, inst, n), between, &from_call);
}

/// Gives `block` a parameter of the type of the `i`th one of `target`.
fn copy_param(func: &mut ir::Function, target: Block, i: usize, block: Block) -> Value {
    let param = func.dfg.block_params(target)[i];
    let ty = func.dfg.value_type(param);
    func.dfg.append_block_param(block, ty)
}

/// Ends `from` with a jump to `target`, at the location of `inst`.
fn jump(func: &mut ir::Function, inst: Inst, from: Block, target: Block, passed: &[BlockArg]) {
    let srcloc = func.srcloc(inst);
    let mut cursor = FuncCursor::new(func).at_bottom(from);
    cursor.set_srcloc(srcloc);
    cursor.ins().jump(target, passed);
}

/// Makes the `n`th edge of a `try_call` lead to `target`.
fn redirect(
    func: &mut ir::Function,
    (_, inst, n): (Block, Inst, usize),
    target: Block,
    args: &[BlockArg],
) {
    let dfg = &mut func.dfg;
    let edge = BlockCall::new(target, args.iter().copied(), &mut dfg.value_lists);
    dfg.insts[inst].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[n] =
        edge;
}

fn destinations(func: &ir::Function, inst: Inst) -> &[BlockCall] {
    let dfg = &func.dfg;
    dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
}
