//! How deeply loops are nested in a function, and how many are around each block.
//!
//! Cranelift's optimiser looks at all loops around each instruction, and its time grows with the
//! third power of the depth: 1000 nested loops that each allocate an object took 4 s, and 2000 took
//! 33 s. Nobody writes such functions by hand, but the author of a module may.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function};

/// The number of loops around each block of `func`. It is zero for blocks that cannot be reached.
pub(crate) fn loop_depths(func: &Function) -> SecondaryMap<Block, usize> {
    let cfg = ControlFlowGraph::with_function(func);
    let tree = DominatorTree::with_function(func, &cfg);
    let loops = Loops::new(&cfg, &tree);
    let mut depths = SecondaryMap::new();
    for block in tree.cfg_rpo() {
        depths[*block] = loops.inner[*block].map_or(0, |inner| loops.depths[inner]);
    }
    depths
}

/// Whether more than `most` loops of `func` are nested in each other.
pub(super) fn is_deeper(func: &Function, most: usize) -> bool {
    // Each loop has a block that is its head. Most functions have too few blocks.
    if func.dfg.num_blocks() <= most {
        return false;
    }
    let cfg = ControlFlowGraph::with_function(func);
    let tree = DominatorTree::with_function(func, &cfg);
    Loops::new(&cfg, &tree).depths.iter().any(|depth| *depth > most)
}

/// The loops of a function. A loop has a head that dominates all its blocks.
///
/// Cranelift's `LoopAnalysis` finds the same loops. But it climbs through all inner loops at each branch
/// to an outer one, in time that is quadratic in the depth, and does not end if a block that cannot be
/// reached leads into a loop. So this is the algorithm of Tarjan ("Testing Flow Graph Reducibility",
/// 1974): the inner loops that are known are one node.
struct Loops {
    /// The innermost loop of each block.
    inner: SecondaryMap<Block, Option<usize>>,
    /// The number of loops around the blocks of each loop, itself included.
    depths: Vec<usize>,
}

impl Loops {
    fn new(cfg: &ControlFlowGraph, tree: &DominatorTree) -> Loops {
        let mut inner: SecondaryMap<Block, Option<usize>> = SecondaryMap::new();
        let closes = |head: Block, from: Block| tree.block_dominates(head, from);
        let reachable = |block: Block| {
            let edges = cfg.pred_iter(block).map(|edge| edge.block);
            edges.filter(|from| tree.is_reachable(*from))
        };
        let is_head = |block: &&Block| reachable(**block).any(|from| closes(**block, from));
        let heads: Vec<Block> = tree.cfg_rpo().filter(is_head).copied().collect();
        for (number, head) in heads.iter().enumerate() {
            inner[*head] = Some(number);
        }
        let mut parents: Vec<Option<usize>> = vec![None; heads.len()];
        let mut outermost: Vec<usize> = (0..heads.len()).collect();
        let mut work = Vec::new();
        // Outer loops come before inner ones in reverse post-order.
        for (number, head) in heads.iter().enumerate().rev() {
            work.extend(reachable(*head).filter(|from| closes(*head, *from)));
            while let Some(block) = work.pop() {
                match inner[block] {
                    None => {
                        inner[block] = Some(number);
                        work.extend(reachable(block));
                    }
                    Some(known) => {
                        let known = find(&mut outermost, known);
                        if known != number {
                            parents[known] = Some(number);
                            outermost[known] = number;
                            work.extend(reachable(heads[known]));
                        }
                    }
                }
            }
        }
        let mut depths: Vec<usize> = Vec::with_capacity(heads.len());
        for parent in parents {
            depths.push(1 + parent.map_or(0, |parent| depths[parent]));
        }
        Loops { inner, depths }
    }
}

/// The outermost known loop around a loop. Shortens the paths on the way.
fn find(outermost: &mut [usize], mut inner: usize) -> usize {
    while outermost[inner] != inner {
        outermost[inner] = outermost[outermost[inner]];
        inner = outermost[inner];
    }
    inner
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

    /// A branch from the innermost loop to each head.
    #[test]
    fn many_branches_to_outer_loops() {
        let count = 100_000;
        let mut func = Function::new();
        let heads: Vec<_> = (0..count).map(|_| func.dfg.make_block()).collect();
        let ends: Vec<_> = (0..count).map(|_| func.dfg.make_block()).collect();
        let [entry, exit] = [(); 2].map(|()| func.dfg.make_block());
        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(entry);
        let again = cursor.ins().iconst(types::I8, 1);
        cursor.ins().jump(heads[0], &[]);
        for i in 0..count {
            cursor.insert_block(heads[i]);
            cursor.ins().jump(*heads.get(i + 1).unwrap_or(&ends[0]), &[]);
        }
        for i in 0..count {
            cursor.insert_block(ends[i]);
            cursor.ins().brif(again, heads[i], &[], *ends.get(i + 1).unwrap_or(&exit), &[]);
        }
        cursor.insert_block(exit);
        cursor.ins().return_(&[]);
        assert!(is_deeper(&func, 100));
        // Each branch leads, by way of the innermost loop, to all others.
        let depths = loop_depths(&func);
        assert_eq!([ends[0], ends[5], exit].map(|block| depths[block]), [count, count, 0]);
    }

    /// The analysis of Cranelift runs on and uses all memory.
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
