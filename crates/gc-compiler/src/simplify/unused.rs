//! Removes what is left of tests that were removed.

use crate::regions;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, Block, BlockArg, Inst, InstBuilder, InstructionData, Opcode, Value,
};

/// The most rounds. In each the innermost branches without a choice are removed, and those around them
/// may then have no choice either.
const ROUNDS: usize = 16;

/// Removes blocks that cannot be reached, computations that nobody uses, and branches without a choice.
pub(super) fn remove(func: &mut ir::Function) {
    for _ in 0..ROUNDS {
        remove_unreachable(func);
        remove_unused(func);
        if !remove_branches(func) {
            break;
        }
    }
}

fn remove_unreachable(func: &mut ir::Function) {
    let cfg = ControlFlowGraph::with_function(func);
    let tree = DominatorTree::with_function(func, &cfg);
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks.into_iter().filter(|block| !tree.is_reachable(*block)) {
        while let Some(inst) = func.layout.first_inst(block) {
            func.layout.remove_inst(inst);
        }
        func.layout.remove_block(block);
    }
}

/// Removes branches both of whose arms lead to the same place. Returns whether there were any.
fn remove_branches(func: &mut ir::Function) -> bool {
    let mut changed = false;
    let branches: Vec<Inst> =
        func.layout.blocks().filter_map(|block| func.layout.last_inst(block)).collect();
    for branch in branches {
        let InstructionData::Brif { blocks, .. } = func.dfg.insts[branch] else { continue };
        let [yes, no] = blocks.map(|call| {
            let pool = &func.dfg.value_lists;
            (call.block(pool), call.args(pool).collect::<Vec<BlockArg>>())
        });
        let (after_yes, after_no) = (forwards_to(func, &yes), forwards_to(func, &no));
        if after_yes == after_no {
            let (block, args) = after_yes;
            func.replace(branch).jump(block, &args);
            changed = true;
        }
    }
    changed
}

type Target = (Block, Vec<BlockArg>);

/// Where control goes from `target`, if that block only jumps on.
fn forwards_to(func: &ir::Function, target: &Target) -> Target {
    let (block, args) = target;
    let first = func.layout.first_inst(*block);
    match first.map(|inst| func.dfg.insts[inst]) {
        Some(InstructionData::Jump { destination, .. })
            if args.is_empty() && func.dfg.block_params(*block).is_empty() =>
        {
            let pool = &func.dfg.value_lists;
            (destination.block(pool), destination.args(pool).collect())
        }
        _ => target.clone(),
    }
}

/// Removes computations and reads of native memory that nobody uses, and such reads of headers. A read
/// of a header can only trap in a damaged heap.
fn remove_unused(func: &mut ir::Function) {
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in &blocks {
        for inst in func.layout.block_insts(*block) {
            for value in func.dfg.inst_values(inst) {
                uses[func.dfg.resolve_aliases(value)] += 1;
            }
        }
    }
    for block in blocks.iter().rev() {
        let insts: Vec<Inst> = func.layout.block_insts(*block).collect();
        for inst in insts.into_iter().rev() {
            let results = func.dfg.inst_results(inst);
            if results.is_empty() || results.iter().any(|value| uses[*value] > 0) {
                continue;
            }
            if is_read(func, inst) || is_pure(func, inst) {
                for value in func.dfg.inst_values(inst).collect::<Vec<_>>() {
                    uses[func.dfg.resolve_aliases(value)] -= 1;
                }
                func.layout.remove_inst(inst);
            }
        }
    }
}

fn is_read(func: &ir::Function, inst: Inst) -> bool {
    let InstructionData::Load { opcode: Opcode::Load, flags, .. } = func.dfg.insts[inst] else {
        return false;
    };
    let flags = func.dfg.mem_flags[flags];
    flags.notrap()
        || flags
            .alias_region()
            .is_some_and(|region| func.dfg.alias_regions[region].user_id == regions::HEADER)
}

fn is_pure(func: &ir::Function, inst: Inst) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    !opcode.can_trap()
        && !opcode.other_side_effects()
        && !opcode.can_load()
        && !opcode.can_store()
        && !opcode.is_call()
        && !opcode.is_terminator()
        && !opcode.is_branch()
}
