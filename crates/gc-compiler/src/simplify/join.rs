//! Blocks that always follow each other become one.
//!
//! An inlined body begins and ends in blocks of its own. So there are jumps between blocks that have no
//! other predecessor and no other successor. The passes that look at one block, or at its last
//! instruction, see more in the joined block.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{self, Block, InstructionData, Opcode};

/// Joins the blocks of `func`. A block with parameters is not joined to the one before it, and hot and cold
/// blocks stay apart.
pub(super) fn join(func: &mut ir::Function) {
    let mut predecessors: SecondaryMap<Block, u32> = SecondaryMap::new();
    for block in func.layout.blocks() {
        let Some(last) = func.layout.last_inst(block) else { continue };
        let dfg = &func.dfg;
        for call in dfg.insts[last].branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
            predecessors[call.block(&dfg.value_lists)] += 1;
        }
    }
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        // It may be a part of another one already.
        if !func.layout.is_block_inserted(block) {
            continue;
        }
        while let Some(next) = only_successor(func, block) {
            let (is_cold, next_is_cold) = (func.layout.is_cold(block), func.layout.is_cold(next));
            let has_params = !func.dfg.block_params(next).is_empty();
            if predecessors[next] != 1 || next == block || has_params || is_cold != next_is_cold {
                break;
            }
            let jump = func.layout.last_inst(block).expect("it has a jump");
            func.layout.remove_inst(jump);
            while let Some(inst) = func.layout.first_inst(next) {
                func.layout.remove_inst(inst);
                func.layout.append_inst(inst, block);
            }
            func.layout.remove_block(next);
        }
    }
}

/// The block that `block` jumps to, if it ends with a jump.
fn only_successor(func: &ir::Function, block: Block) -> Option<Block> {
    let last = func.layout.last_inst(block)?;
    match func.dfg.insts[last] {
        InstructionData::Jump { opcode: Opcode::Jump, destination } => {
            Some(destination.block(&func.dfg.value_lists))
        }
        _ => None,
    }
}
