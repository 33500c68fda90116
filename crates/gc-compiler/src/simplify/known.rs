//! What is known is not tested again.
//!
//! A walk over the dominator tree keeps what the tests and types above a block say of each reference.
//! It is a fact about a value in SSA form, so nothing makes it wrong later: objects move, but they
//! keep their types. Where control joins, what all predecessors know remains. At the head of a loop
//! what was known before the loop remains, and what the types say of its parameters. (The method is
//! that of value range propagation on the dominator tree, as in Patterson, "Accurate Static Branch
//! Prediction by Value Range Propagation", 1995, with another lattice.)

use super::facts::{Conditions, Facts, Test};
use crate::safepoints::References;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, Block, BlockArg, Inst, InstBuilder, InstructionData, Opcode, Value, types,
};
use std::collections::HashMap;

/// The most facts that are remembered for one edge into a join.
const MOST: usize = 64;

/// Removes the tests of `func` whose outcome is known. Returns whether there were any.
pub(super) fn remove_known_tests(func: &mut ir::Function, references: &References) -> bool {
    let found = Walk::new(func, references).walk();
    if found.is_empty() {
        return false;
    }
    for (inst, answer) in found {
        replace(func, inst, answer);
    }
    true
}

/// Replaces a test whose outcome is known.
fn replace(func: &mut ir::Function, inst: Inst, answer: bool) {
    match func.dfg.insts[inst] {
        InstructionData::Brif { blocks, .. } => {
            let call = blocks[usize::from(!answer)];
            let block = call.block(&func.dfg.value_lists);
            let args: Vec<BlockArg> = call.args(&func.dfg.value_lists).collect();
            func.replace(inst).jump(block, &args);
        }
        InstructionData::CondTrap { .. } => {
            func.layout.remove_inst(inst);
        }
        _ => {
            let ty = func.dfg.value_type(func.dfg.first_result(inst));
            func.replace(inst).iconst(ty, i64::from(answer));
        }
    }
}

/// One step of the walk.
enum Visit {
    Enter(Block),
    /// Forgets the facts of the block that is left, which are those after this number.
    Leave(usize),
}

struct Walk<'a> {
    conditions: Conditions<'a>,
    references: &'a References,
    cfg: ControlFlowGraph,
    tree: DominatorTree,
    /// The number of each block in reverse post-order.
    order: SecondaryMap<Block, u32>,
    /// What is known in the block that is visited.
    facts: HashMap<Value, Facts>,
    /// The facts that were changed, with what was known before.
    undo: Vec<(Value, Facts)>,
    /// For each branch into a join that was visited, what is known there beyond the facts above the
    /// join, and the outcome that leads there.
    edges: HashMap<(Inst, Block), HashMap<Value, Facts>>,
    /// The depth of each block in the dominator tree.
    depth: SecondaryMap<Block, u32>,
    /// Where the facts begin in `undo` of the blocks above the visited one, and of itself, by depth.
    path: Vec<usize>,
    found: Vec<(Inst, bool)>,
}

impl<'a> Walk<'a> {
    fn new(func: &'a ir::Function, references: &'a References) -> Walk<'a> {
        let cfg = ControlFlowGraph::with_function(func);
        let tree = DominatorTree::with_function(func, &cfg);
        let mut order = SecondaryMap::new();
        for (number, block) in tree.cfg_rpo().enumerate() {
            order[*block] = number as u32;
        }
        Walk {
            conditions: Conditions {
                func,
                references: crate::safepoints::all_references(func, references),
            },
            references,
            cfg,
            tree,
            order,
            facts: HashMap::new(),
            undo: Vec::new(),
            edges: HashMap::new(),
            depth: SecondaryMap::new(),
            path: Vec::new(),
            found: Vec::new(),
        }
    }

    fn func(&self) -> &'a ir::Function {
        self.conditions.func
    }

    fn walk(mut self) -> Vec<(Inst, bool)> {
        let Some(entry) = self.func().layout.entry_block() else { return Vec::new() };
        // Of two blocks with the same dominator, that which comes first in reverse post-order is
        // visited first. So the predecessors of a join are visited before it, except in loops.
        let mut stack = vec![Visit::Enter(entry)];
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Enter(block) => {
                    let begin = self.undo.len();
                    self.depth[block] = self.path.len() as u32;
                    self.path.push(begin);
                    self.enter(block);
                    self.block(block);
                    stack.push(Visit::Leave(begin));
                    let mut children: Vec<Block> = self.tree.children(block).collect();
                    children.sort_unstable_by_key(|child| std::cmp::Reverse(self.order[*child]));
                    stack.extend(children.into_iter().map(Visit::Enter));
                }
                Visit::Leave(begin) => {
                    self.path.pop();
                    for (value, facts) in self.undo.drain(begin..).rev() {
                        self.facts.insert(value, facts);
                    }
                }
            }
        }
        self.found
    }

    fn known(&self, value: Value) -> Facts {
        let value = self.func().dfg.resolve_aliases(value);
        if let Some(facts) = self.facts.get(&value).filter(|facts| !facts.is_empty()) {
            return *facts;
        }
        let declared = Facts::from(self.references.known(value));
        declared.and(self.conditions.definition(value))
    }

    /// The answer to a test that can be removed.
    fn answer(&self, value: Value, test: Test) -> Option<bool> {
        let answer = test.answer(self.known(value));
        // By this test barriers find out that there is nothing to do. The checkers of barriers must
        // see it.
        answer.filter(|answer| test != Test::Object || *answer)
    }

    fn learn(&mut self, value: Value, facts: Facts) {
        let before = self.facts.get(&value).copied().unwrap_or_default();
        let now = self.known(value).and(facts);
        if now != before {
            self.undo.push((value, before));
            self.facts.insert(value, now);
        }
    }

    /// Learns what the edges into `block` tell.
    fn enter(&mut self, block: Block) {
        let mut predecessors = self.cfg.pred_iter(block);
        let reachable = |tree: &DominatorTree, from: Block| tree.is_reachable(from);
        let edges: Vec<(Block, Inst)> = predecessors
            .by_ref()
            .filter(|edge| reachable(&self.tree, edge.block))
            .map(|edge| (edge.block, edge.inst))
            .collect();
        let mut known: Vec<HashMap<Value, Facts>> = Vec::with_capacity(edges.len());
        for (from, inst) in &edges {
            // The end of a loop is visited later.
            let back = self.order[*from] >= self.order[block];
            known.push(match back {
                true => HashMap::new(),
                false => self.edges.remove(&(*inst, block)).unwrap_or_default(),
            });
        }
        let Some((first, rest)) = known.split_first() else { return };
        let mut joined: Vec<(Value, Facts)> = first.iter().map(|(v, f)| (*v, *f)).collect();
        for other in rest {
            joined.retain_mut(|(value, facts)| {
                let other = match other.get(value) {
                    Some(other) => *other,
                    None => self.known(*value),
                };
                *facts = facts.meet(other);
                !facts.is_empty()
            });
        }
        // The order must not depend on that of a hash map.
        joined.sort_unstable_by_key(|(value, _)| *value);
        for (value, facts) in joined {
            self.learn(value, facts);
        }
        self.params(block, &edges, &known);
    }

    /// Learns what all predecessors pass for each parameter.
    fn params(&mut self, block: Block, edges: &[(Block, Inst)], known: &[HashMap<Value, Facts>]) {
        let dfg = &self.func().dfg;
        for (n, param) in dfg.block_params(block).iter().enumerate() {
            if dfg.value_type(*param) != types::I64 {
                continue;
            }
            let mut all: Option<Facts> = None;
            for ((_, inst), known) in edges.iter().zip(known) {
                let calls =
                    dfg.insts[*inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
                for call in calls.iter().filter(|call| call.block(&dfg.value_lists) == block) {
                    let facts = match call.args(&dfg.value_lists).nth(n) {
                        Some(BlockArg::Value(arg)) => {
                            let arg = dfg.resolve_aliases(arg);
                            if arg == *param {
                                continue;
                            }
                            known.get(&arg).copied().unwrap_or_else(|| self.known(arg))
                        }
                        _ => Facts::default(),
                    };
                    all = Some(all.map_or(facts, |all| all.meet(facts)));
                }
            }
            if let Some(facts) = all.filter(|facts| !facts.is_empty()) {
                self.learn(*param, facts);
            }
        }
    }

    /// Visits the instructions of `block`, and notes what is known where it ends.
    fn block(&mut self, block: Block) {
        let func = self.func();
        for inst in func.layout.block_insts(block) {
            match func.dfg.insts[inst] {
                InstructionData::CondTrap { opcode, arg, .. } => {
                    let Some((value, test, positive)) = self.conditions.test(arg) else { continue };
                    // It goes on with this answer.
                    let goes_on = (opcode == Opcode::Trapz) == positive;
                    let facts = self.known(value);
                    if self.answer(value, test) == Some(goes_on) {
                        self.found.push((inst, goes_on));
                    } else {
                        self.learn(value, test.implies(goes_on, facts));
                    }
                }
                InstructionData::IntCompare { opcode: Opcode::Icmp, .. } => {
                    let result = func.dfg.first_result(inst);
                    let Some((value, test, positive)) = self.conditions.test(result) else {
                        continue;
                    };
                    if let Some(answer) = self.answer(value, test) {
                        self.found.push((inst, answer == positive));
                    }
                }
                InstructionData::Brif { arg, blocks, .. } => self.branch(block, inst, arg, blocks),
                _ => {
                    let data = &func.dfg.insts[inst];
                    let dfg = &func.dfg;
                    let calls = data.branch_destination(&dfg.jump_tables, &dfg.exception_tables);
                    for call in calls {
                        self.leave(block, inst, call.block(&dfg.value_lists), None);
                    }
                }
            }
        }
    }

    fn branch(&mut self, block: Block, inst: Inst, arg: Value, blocks: [ir::BlockCall; 2]) {
        let func = self.func();
        let [yes, no] = blocks.map(|call| call.block(&func.dfg.value_lists));
        let test = self.conditions.test(arg);
        let facts = test.map(|(value, ..)| self.known(value)).unwrap_or_default();
        let answer = test.and_then(|(value, test, positive)| {
            self.answer(value, test).map(|answer| answer == positive)
        });
        self.found.extend(answer.map(|answer| (inst, answer)));
        for (taken, to) in [(true, yes), (false, no)] {
            let learned = test.filter(|_| yes != no).map(|(value, test, positive)| {
                (value, facts.and(test.implies(taken == positive, facts)))
            });
            self.leave(block, inst, to, learned);
        }
    }

    /// Notes what is known on the edge from `from` to `to`: all that was learned below the block
    /// above `to`, and what the branch tells.
    fn leave(&mut self, from: Block, inst: Inst, to: Block, learned: Option<(Value, Facts)>) {
        // Nothing is used of the edge that closes a loop.
        if self.order[to] <= self.order[from] {
            return;
        }
        // What is known in the block above `to` is known in `to` anyway. Below it begins what the next
        // block on the path has learned.
        let above = self.tree.idom(to).map_or(0, |above| self.depth[above] as usize);
        let begin = self.path.get(above + 1).copied().unwrap_or(self.undo.len());
        let mut known: HashMap<Value, Facts> = HashMap::new();
        for (value, _) in self.undo[begin..].iter().rev().take(MOST) {
            known.insert(*value, self.known(*value));
        }
        if let Some((value, facts)) = learned {
            known.insert(value, facts);
        }
        if !known.is_empty() {
            self.edges.insert((inst, to), known);
        }
    }
}
