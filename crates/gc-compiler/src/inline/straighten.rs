//! Removes the parameters of blocks with one predecessor.
//!
//! An inlined body jumps to the code after the call and passes its results. Mostly it does so in one
//! place. Then each result has two names, and each name of a reference would be stored at the next
//! safepoint.

use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, Block, BlockArg, BlockCall, Inst, Value};

/// Makes the parameters of blocks with one predecessor aliases of the values that are passed.
pub(super) fn straighten(func: &mut ir::Function) {
    let cfg = ControlFlowGraph::with_function(func);
    let blocks: Vec<Block> = func.layout.blocks().skip(1).collect();
    for block in blocks {
        let mut predecessors = cfg.pred_iter(block);
        let (Some(edge), None) = (predecessors.next(), predecessors.next()) else { continue };
        let Some(args) = passed(func, edge.inst, block) else { continue };
        let params = func.dfg.detach_block_params(block);
        let params = params.as_slice(&func.dfg.value_lists).to_vec();
        for (param, arg) in params.into_iter().zip(args) {
            func.dfg.change_to_alias(param, arg);
        }
        let dfg = &mut func.stencil.dfg;
        let calls = dfg.insts[edge.inst]
            .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
        for call in calls {
            if call.block(&dfg.value_lists) == block {
                *call = BlockCall::new(block, [], &mut dfg.value_lists);
            }
        }
    }
}

/// The values that `branch` passes to `block`, if it has parameters and all are values that the
/// branch passes once.
fn passed(func: &ir::Function, branch: Inst, block: Block) -> Option<Vec<Value>> {
    let dfg = &func.dfg;
    let params = dfg.block_params(block);
    if params.is_empty() {
        return None;
    }
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    let mut calls = calls.iter().filter(|call| call.block(&dfg.value_lists) == block);
    let (Some(call), None) = (calls.next(), calls.next()) else { return None };
    let value = |arg| match arg {
        BlockArg::Value(value) => Some(dfg.resolve_aliases(value)),
        BlockArg::TryCallRet(_) | BlockArg::TryCallExn(_) => None,
    };
    let args = call.args(&dfg.value_lists).map(value).collect::<Option<Vec<Value>>>()?;
    // A block that passes its own parameters to itself cannot be reached.
    let own = args.iter().any(|arg| params.contains(arg));
    (!own).then_some(args)
}
