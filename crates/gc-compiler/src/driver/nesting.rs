//! How deeply loops are nested in a function, and how many are around each block.
//!
//! Cranelift's optimiser looks at all loops around each instruction, and its time grows with the
//! third power of the depth: 1000 nested loops that each allocate an object took 4 s, and 2000 took
//! 33 s. Nobody writes such functions by hand, but the author of a module may.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function};
use cranelift_codegen::loop_analysis::LoopAnalysis;
use std::borrow::Cow;

/// The number of loops around each block of `func`. It is zero for blocks that cannot be reached.
pub(crate) fn loop_depths(func: &Function) -> SecondaryMap<Block, usize> {
    let (reachable, loops) = analyse(func);
    let mut depths = SecondaryMap::new();
    for block in reachable.layout.blocks() {
        depths[block] = loops.loop_level(block).level();
    }
    depths
}

/// Whether more than `most` loops of `func`, at most 200, are nested in each other.
pub(super) fn is_deeper(func: &Function, most: usize) -> bool {
    debug_assert!(most <= 200, "the analysis counts up to a limit");
    // Each loop has a block that is its head. Most functions have too few blocks.
    if func.dfg.num_blocks() <= most {
        return false;
    }
    let (reachable, loops) = analyse(func);
    if loops.loops().count() <= most {
        return false;
    }
    reachable.layout.blocks().any(|block| loops.loop_level(block).level() > most)
}

/// The reachable part of `func`, and its loops.
fn analyse(func: &Function) -> (Cow<'_, Function>, LoopAnalysis) {
    let mut cfg = ControlFlowGraph::with_function(func);
    let mut dominators = DominatorTree::with_function(func, &cfg);
    // The analysis does not end if a block that cannot be reached leads into a loop.
    let mut reachable = Cow::Borrowed(func);
    if func.layout.blocks().any(|block| !dominators.is_reachable(block)) {
        let pruned = reachable.to_mut();
        for block in func.layout.blocks().filter(|block| !dominators.is_reachable(*block)) {
            while let Some(inst) = pruned.layout.first_inst(block) {
                pruned.layout.remove_inst(inst);
            }
            pruned.layout.remove_block(block);
        }
        cfg = ControlFlowGraph::with_function(pruned);
        dominators = DominatorTree::with_function(pruned, &cfg);
    }
    let mut loops = LoopAnalysis::new();
    loops.compute(&reachable, &cfg, &dominators);
    (reachable, loops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::{InstBuilder, types};

    /// A function with `count` loops, nested in each other or one after the other.
    fn loops(count: usize, nested: bool) -> Function {
        let mut func = Function::new();
        let heads: Vec<_> = (0..count).map(|_| func.dfg.make_block()).collect();
        let ends: Vec<_> = (0..count).map(|_| func.dfg.make_block()).collect();
        let entry = func.dfg.make_block();
        let exit = func.dfg.make_block();
        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(entry);
        let again = cursor.ins().iconst(types::I8, 1);
        cursor.ins().jump(heads[0], &[]);
        for i in 0..count {
            cursor.insert_block(heads[i]);
            let next = if nested { heads.get(i + 1) } else { None };
            cursor.ins().jump(*next.unwrap_or(&ends[i]), &[]);
        }
        for i in 0..count {
            cursor.insert_block(ends[i]);
            let next = match nested {
                true => i.checked_sub(1).map(|outer| ends[outer]),
                false => heads.get(i + 1).copied(),
            };
            cursor.ins().brif(again, heads[i], &[], next.unwrap_or(exit), &[]);
        }
        cursor.insert_block(exit);
        cursor.ins().return_(&[]);
        func
    }

    #[test]
    fn nests_are_found() {
        for (count, most) in [(10, 9), (101, 100), (150, 100), (2000, 100)] {
            assert!(is_deeper(&loops(count, true), most), "{count}");
        }
        for (count, most) in [(1, 1), (10, 10), (100, 100)] {
            assert!(!is_deeper(&loops(count, true), most), "{count}");
        }
        assert!(!is_deeper(&loops(2000, false), 1));
    }

    /// The analysis of Cranelift ran on and used all memory.
    #[test]
    fn blocks_that_cannot_be_reached_may_lead_into_loops() {
        let mut func = loops(2000, true);
        let head = func.layout.blocks().nth(1000).unwrap();
        let last = func.layout.last_block().unwrap();
        let lost: Vec<_> = (0..2).map(|_| func.dfg.make_block()).collect();
        let mut cursor = FuncCursor::new(&mut func);
        cursor.goto_bottom(last);
        for block in &lost {
            cursor.insert_block(*block);
            cursor.ins().jump(head, &[]);
        }
        assert!(is_deeper(&func, 100));
        assert!(!is_deeper(&loops(2000, false), 1));
    }
}
