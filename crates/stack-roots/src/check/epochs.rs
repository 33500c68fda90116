//! Epochs: they tell between which points of a function a collection may happen.
//!
//! Every call that may collect begins a new epoch. Every block where paths of different epochs join
//! also begins a new epoch. If a value is used in another epoch than the one in which it was
//! defined, it was kept across a collection on some path. If it is used in its own epoch, it was
//! not.
//!
//! This is the SSA form of an imaginary variable that each such call assigns. It is exact for the
//! same reason as SSA form. Let `d` be a definition and `u` a use that it dominates. If their
//! epochs differ, a joining block `b` or a call is between them on the dominator tree. In the case
//! of a block, two paths from two assignments meet only in `b`. So at most one of them passes `d`.
//! Since `d` dominates `b`, the other path begins after `d`, and it begins at a call that may
//! collect. The joining blocks are the iterated dominance frontier of the blocks with such calls
//! (Sreedhar and Gao, "A Linear Time Algorithm for Placing φ-Nodes", 1995).

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst, Value, ValueDef};
use std::collections::BinaryHeap;

/// The epochs of a function.
#[derive(Debug)]
pub struct Epochs {
    /// The epoch at the beginning of each block.
    start: SecondaryMap<Block, u32>,
    /// The epoch before each instruction.
    before: SecondaryMap<Inst, u32>,
    /// The epoch after each instruction.
    after: SecondaryMap<Inst, u32>,
}

impl Epochs {
    pub(super) fn new(
        func: &Function,
        cfg: &ControlFlowGraph,
        tree: &DominatorTree,
        rpo: &[Block],
        is_safepoint: &dyn Fn(Inst) -> bool,
    ) -> Epochs {
        let mut epochs = Epochs {
            start: SecondaryMap::new(),
            before: SecondaryMap::new(),
            after: SecondaryMap::new(),
        };
        let collecting: Vec<Block> = rpo
            .iter()
            .copied()
            .filter(|block| func.layout.block_insts(*block).any(is_safepoint))
            .collect();
        let joins = joins(cfg, tree, rpo, &collecting);
        let mut last = 0;
        let mut begin = || {
            last += 1;
            last
        };
        let mut end: SecondaryMap<Block, u32> = SecondaryMap::new();
        for &block in rpo {
            let mut epoch = match tree.idom(block) {
                Some(above) if !joins.contains(block) => end[above],
                _ => begin(),
            };
            epochs.start[block] = epoch;
            for inst in func.layout.block_insts(block) {
                epochs.before[inst] = epoch;
                if is_safepoint(inst) {
                    epoch = begin();
                }
                epochs.after[inst] = epoch;
            }
            end[block] = epoch;
        }
        epochs
    }

    /// The epoch before `inst`.
    pub fn before(&self, inst: Inst) -> u32 {
        self.before[inst]
    }

    /// The epoch after `inst`.
    pub fn after(&self, inst: Inst) -> u32 {
        self.after[inst]
    }

    /// The epoch in which `value` was defined.
    pub fn of(&self, func: &Function, value: Value) -> u32 {
        match func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.after[inst],
            ValueDef::Param(block, _) => self.start[block],
            ValueDef::Union(..) => 0,
        }
    }
}

/// The blocks in which paths from different blocks of `collecting`, or from the entry, join.
fn joins(
    cfg: &ControlFlowGraph,
    tree: &DominatorTree,
    rpo: &[Block],
    collecting: &[Block],
) -> EntitySet<Block> {
    let mut level: SecondaryMap<Block, u32> = SecondaryMap::new();
    for &block in rpo {
        level[block] = tree.idom(block).map_or(0, |above| level[above] + 1);
    }
    let mut joins = EntitySet::new();
    let mut visited = EntitySet::new();
    // The deepest blocks come first, so that each block is visited once.
    let mut roots: BinaryHeap<(u32, Block)> =
        collecting.iter().map(|block| (level[*block], *block)).collect();
    let mut work = Vec::new();
    while let Some((root_level, root)) = roots.pop() {
        if visited.insert(root) {
            work.push(root);
        }
        while let Some(block) = work.pop() {
            for successor in cfg.succ_iter(block) {
                if level[successor] <= root_level && joins.insert(successor) {
                    roots.push((level[successor], successor));
                }
            }
            work.extend(tree.children(block).filter(|child| visited.insert(*child)));
        }
    }
    joins
}
