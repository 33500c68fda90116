//! Jump threading: a block that only tests an outcome which its predecessors know is skipped.
//!
//! A reference test gathers its outcome in the parameter of a block, and so does an inlined function
//! that returns a truth value. Mostly the block then branches on it. The predecessors that pass a
//! constant can branch to the right place themselves, and the others can make the test. The facts of
//! a test are then known on both sides of it. (Mueller and Whalley, "Avoiding Unconditional Jumps by
//! Code Replication", 1992.)

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, Block, BlockArg, BlockCall, Inst, InstBuilder, InstructionData, Opcode, Value,
};
use std::collections::HashMap;

/// The most instructions before the branch of a block that is skipped.
const MOST: usize = 4;

/// The most predecessors that get a copy of a block.
const COPIES: usize = 4;

/// Skips the blocks of `func` that only branch on what they are passed. Returns whether there were
/// any.
pub(super) fn thread(func: &mut ir::Function) -> bool {
    let blocks: Vec<Block> = func.layout.blocks().skip(1).collect();
    let mut candidates: Vec<Block> =
        blocks.into_iter().filter(|block| is_test(func, *block)).collect();
    if candidates.is_empty() {
        return false;
    }
    let escaping = escaping(func);
    candidates.retain(|block| {
        let dfg = &func.dfg;
        let insts = func.layout.block_insts(*block).flat_map(|inst| dfg.inst_results(inst));
        dfg.block_params(*block).iter().chain(insts).all(|value| !escaping.contains(*value))
    });
    let tree = DominatorTree::with_function(func, &ControlFlowGraph::with_function(func));
    let mut predecessors = Predecessors::default();
    func.layout.blocks().for_each(|block| predecessors.add(func, block));
    // A copy of a loop's head would give the loop two entries. No change here makes a loop.
    let is_head = |edges: &[Edge], block: Block| {
        let is_back = |from: Block| !tree.is_reachable(from) || tree.block_dominates(block, from);
        !tree.is_reachable(block) || edges.iter().any(|(from, _)| is_back(*from))
    };
    candidates.retain(|block| !is_head(&predecessors.of(func, *block), *block));
    let mut changed = false;
    for block in candidates {
        // Each predecessor is looked at once, and those that it is replaced with.
        let mut froms = predecessors.of(func, block);
        while let Some((from, _)) = froms.pop() {
            let stays_within =
                func.dfg.block_params(from).iter().all(|param| !escaping.contains(*param));
            if !stays_within || !only_forwards(func, from, block) {
                continue;
            }
            let edges = predecessors.of(func, from);
            if can_forward(func, &edges) && !is_head(&edges, from) {
                forward(func, &edges, from);
                edges.iter().for_each(|(pred, _)| predecessors.add(func, *pred));
                froms.extend(edges);
            }
        }
        let edges = predecessors.of(func, block);
        let insts: Vec<Inst> = edges.iter().map(|(_, inst)| *inst).collect();
        if !skip(func, block, &insts) {
            continue;
        }
        changed = true;
        edges.iter().for_each(|(from, _)| predecessors.add(func, *from));
        if predecessors.of(func, block).is_empty() {
            while let Some(inst) = func.layout.first_inst(block) {
                func.layout.remove_inst(inst);
            }
            func.layout.remove_block(block);
        }
    }
    changed
}

/// A block and its branch to another one.
type Edge = (Block, Inst);

/// The branches to each block. A branch that leads elsewhere by now is dropped when the block is asked
/// for, so a change takes no longer where many branches lead to one block.
#[derive(Default)]
struct Predecessors(SecondaryMap<Block, Vec<Edge>>);

impl Predecessors {
    /// Adds the branch at the end of `block`.
    fn add(&mut self, func: &ir::Function, block: Block) {
        let Some(branch) = func.layout.last_inst(block) else { return };
        let dfg = &func.dfg;
        for call in dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
            self.0[call.block(&dfg.value_lists)].push((block, branch));
        }
    }

    /// The branches to `block`, in the order of their numbers.
    fn of(&mut self, func: &ir::Function, block: Block) -> Vec<Edge> {
        let edges = &mut self.0[block];
        edges.sort_unstable_by_key(|(_, branch)| *branch);
        edges.dedup();
        edges.retain(|(from, branch)| {
            func.layout.inst_block(*branch) == Some(*from) && leads_to(func, *branch, block)
        });
        edges.clone()
    }
}

/// Whether a branch leads to `block`.
fn leads_to(func: &ir::Function, branch: Inst, block: Block) -> bool {
    let dfg = &func.dfg;
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    calls.iter().any(|call| call.block(&dfg.value_lists) == block)
}

/// Whether `block` has parameters, few and simple instructions, and a branch on a value that they
/// compute.
fn is_test(func: &ir::Function, block: Block) -> bool {
    let dfg = &func.dfg;
    if dfg.block_params(block).is_empty() {
        return false;
    }
    let mut insts = func.layout.block_insts(block).rev();
    let branches = insts.next().is_some_and(|last| dfg.insts[last].opcode() == Opcode::Brif);
    let simple = |inst: Inst| {
        matches!(
            dfg.insts[inst].opcode(),
            Opcode::Iconst | Opcode::Uextend | Opcode::Sextend | Opcode::Ireduce | Opcode::Icmp
        )
    };
    branches && insts.by_ref().take(MOST).all(simple) && insts.next().is_none()
}

/// The values that are used in another block than the one that defines them.
fn escaping(func: &ir::Function) -> EntitySet<Value> {
    let dfg = &func.dfg;
    let mut found = EntitySet::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in dfg.inst_values(inst) {
                let value = dfg.resolve_aliases(value);
                let home = match dfg.value_def(value) {
                    ir::ValueDef::Result(inst, _) => func.layout.inst_block(inst),
                    ir::ValueDef::Param(block, _) => Some(block),
                    ir::ValueDef::Union(..) => None,
                };
                if home != Some(block) {
                    found.insert(value);
                }
            }
        }
    }
    found
}

/// What a block computes for one predecessor.
struct Evaluation {
    /// The constants among its values.
    constants: HashMap<Value, i64>,
    /// The arguments for its parameters.
    args: HashMap<Value, Value>,
}

impl Evaluation {
    fn of(func: &ir::Function, block: Block, args: &[Value]) -> Evaluation {
        let dfg = &func.dfg;
        let mut constants = HashMap::new();
        for (param, arg) in dfg.block_params(block).iter().zip(args) {
            if let Some(constant) = constant(func, *arg) {
                constants.insert(*param, constant);
            }
        }
        for inst in func.layout.block_insts(block) {
            let known = |value: Value| {
                let value = dfg.resolve_aliases(value);
                constants.get(&value).copied().or_else(|| self::constant(func, value))
            };
            let result = match dfg.insts[inst] {
                InstructionData::Unary { opcode, arg } => {
                    known(arg).and_then(|bits| match opcode {
                        Opcode::Uextend => Some(bits & mask(dfg.value_type(arg))),
                        Opcode::Sextend => Some(sign_extended(bits, dfg.value_type(arg))),
                        Opcode::Ireduce => Some(bits & mask(dfg.ctrl_typevar(inst))),
                        _ => None,
                    })
                }
                InstructionData::IntCompare { opcode: Opcode::Icmp, args: [a, b], cond } => {
                    let ty = dfg.value_type(a);
                    known(a).zip(known(b)).and_then(|(a, b)| {
                        let (a, b) = (a & mask(ty), b & mask(ty));
                        Some(i64::from(match cond {
                            ir::condcodes::IntCC::Equal => a == b,
                            ir::condcodes::IntCC::NotEqual => a != b,
                            _ => return None,
                        }))
                    })
                }
                _ => None,
            };
            if let (Some(result), Some(value)) = (result, dfg.inst_results(inst).first()) {
                constants.insert(*value, result);
            }
        }
        let params = dfg.block_params(block).iter().copied();
        Evaluation { constants, args: params.zip(args.iter().copied()).collect() }
    }
}

fn mask(ty: ir::Type) -> i64 {
    if ty.bits() >= 64 { -1 } else { (1 << ty.bits()) - 1 }
}

fn sign_extended(bits: i64, ty: ir::Type) -> i64 {
    let unused = 64 - ty.bits().min(64);
    bits << unused >> unused
}

fn constant(func: &ir::Function, value: Value) -> Option<i64> {
    let inst = func.dfg.value_def(func.dfg.resolve_aliases(value)).inst()?;
    match func.dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
            Some(imm.bits() & mask(func.dfg.value_type(value)))
        }
        _ => None,
    }
}

/// Whether `from` only passes its parameters on to `block`. An inlined body gathers its results in such
/// a block.
fn only_forwards(func: &ir::Function, from: Block, block: Block) -> bool {
    let Some(last) = func.layout.last_inst(from) else { return false };
    let InstructionData::Jump { destination, .. } = func.dfg.insts[last] else { return false };
    func.layout.first_inst(from) == Some(last)
        && destination.block(&func.dfg.value_lists) == block
        && !func.dfg.block_params(from).is_empty()
}

/// Whether the branches to a block that [`only_forwards`] can lead to where it forwards to.
fn can_forward(func: &ir::Function, edges: &[Edge]) -> bool {
    let is_branch =
        |inst: Inst| matches!(func.dfg.insts[inst].opcode(), Opcode::Jump | Opcode::Brif);
    !edges.is_empty() && edges.iter().all(|(_, branch)| is_branch(*branch))
}

/// Lets the predecessors of `from` jump to where it [forwards](only_forwards) to. `edges` are the branches to it.
fn forward(func: &mut ir::Function, edges: &[Edge], from: Block) {
    let jump = func.layout.last_inst(from).expect("it has a jump");
    let [destination] =
        *func.dfg.insts[jump].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
    else {
        unreachable!("a jump has one destination");
    };
    let lists = &func.dfg.value_lists;
    let (target, passed_on) =
        (destination.block(lists), destination.args(lists).collect::<Vec<_>>());
    let params: HashMap<Value, usize> =
        func.dfg.block_params(from).iter().enumerate().map(|(at, param)| (*param, at)).collect();
    for (_, edge) in edges {
        for arm in arms(func, *edge, from) {
            let args = passed(func, *edge, arm).expect("a branch passes values");
            let substitute = |arg: &BlockArg| match arg {
                BlockArg::Value(value) => {
                    let value = func.dfg.resolve_aliases(*value);
                    BlockArg::Value(params.get(&value).map_or(value, |at| args[*at]))
                }
                other => *other,
            };
            let args: Vec<BlockArg> = passed_on.iter().map(substitute).collect();
            redirect(func, *edge, arm, target, args);
        }
    }
    func.layout.remove_inst(jump);
    func.layout.remove_block(from);
}

/// Lets an arm of a branch lead to `target`.
fn redirect(func: &mut ir::Function, edge: Inst, arm: usize, target: Block, args: Vec<BlockArg>) {
    let dfg = &mut func.stencil.dfg;
    let call = BlockCall::new(target, args, &mut dfg.value_lists);
    dfg.insts[edge].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[arm] =
        call;
}

/// Lets the predecessors of `block` do what it does. `edges` are the branches to it.
fn skip(func: &mut ir::Function, block: Block, edges: &[Inst]) -> bool {
    let mut copies = 0;
    let mut changed = false;
    // A copy is worth it only if another predecessor knows the outcome.
    let outcomes: Vec<Inst> =
        edges.iter().copied().filter(|edge| knows_outcome(func, *edge, block)).collect();
    if outcomes.is_empty() {
        return false;
    }
    for edge in edges {
        match func.dfg.insts[*edge] {
            InstructionData::Brif { .. } => changed |= redirect_arms(func, *edge, block),
            InstructionData::Jump { .. } => {
                if redirect_arms(func, *edge, block) {
                    changed = true;
                } else if copies < COPIES {
                    copies += 1;
                    changed |= copy_into(func, *edge, block);
                }
            }
            _ => {}
        }
    }
    changed
}

/// The values that a branch passes to `block` by its arm with number `arm`.
fn passed(func: &ir::Function, edge: Inst, arm: usize) -> Option<Vec<Value>> {
    let dfg = &func.dfg;
    let call = dfg.insts[edge].branch_destination(&dfg.jump_tables, &dfg.exception_tables)[arm];
    let value = |arg| match arg {
        BlockArg::Value(value) => Some(dfg.resolve_aliases(value)),
        BlockArg::TryCallRet(_) | BlockArg::TryCallExn(_) => None,
    };
    call.args(&dfg.value_lists).map(value).collect()
}

/// The numbers of the arms of a branch that lead to `block`.
fn arms(func: &ir::Function, edge: Inst, block: Block) -> Vec<usize> {
    let dfg = &func.dfg;
    let calls = dfg.insts[edge].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    let to = |call: &BlockCall| call.block(&dfg.value_lists) == block;
    calls.iter().enumerate().filter(|(_, call)| to(call)).map(|(arm, _)| arm).collect()
}

fn knows_outcome(func: &ir::Function, edge: Inst, block: Block) -> bool {
    arms(func, edge, block).iter().any(|arm| destination(func, edge, *arm, block).is_some())
}

/// Where `block` branches to when it is reached by this arm of a branch, with its arguments.
fn destination(
    func: &ir::Function,
    edge: Inst,
    arm: usize,
    block: Block,
) -> Option<(Block, Vec<BlockArg>)> {
    let args = passed(func, edge, arm)?;
    let evaluation = Evaluation::of(func, block, &args);
    let dfg = &func.dfg;
    let last = func.layout.last_inst(block)?;
    let InstructionData::Brif { arg, blocks: [yes, no], .. } = dfg.insts[last] else {
        return None;
    };
    let condition = dfg.resolve_aliases(arg);
    let outcome = evaluation.constants.get(&condition).copied()?;
    let call = if outcome != 0 { yes } else { no };
    let substitute = |arg: BlockArg| match arg {
        BlockArg::Value(value) => {
            let value = dfg.resolve_aliases(value);
            let defined_here = dfg
                .value_def(value)
                .inst()
                .is_some_and(|inst| func.layout.inst_block(inst) == Some(block));
            match evaluation.args.get(&value) {
                Some(arg) => Some(BlockArg::Value(*arg)),
                None if defined_here => None,
                None => Some(BlockArg::Value(value)),
            }
        }
        other => Some(other),
    };
    let args = call.args(&dfg.value_lists).map(substitute).collect::<Option<Vec<BlockArg>>>()?;
    Some((call.block(&dfg.value_lists), args))
}

/// Redirects the arms of a branch to `block` that know its outcome.
fn redirect_arms(func: &mut ir::Function, edge: Inst, block: Block) -> bool {
    let mut changed = false;
    for arm in arms(func, edge, block) {
        let Some((target, args)) = destination(func, edge, arm, block) else { continue };
        redirect(func, edge, arm, target, args);
        changed = true;
    }
    changed
}

/// Replaces a jump to `block` with a copy of it.
fn copy_into(func: &mut ir::Function, edge: Inst, block: Block) -> bool {
    let Some(args) = passed(func, edge, 0) else { return false };
    let mut values: HashMap<Value, Value> =
        func.dfg.block_params(block).iter().copied().zip(args).collect();
    let insts: Vec<Inst> = func.layout.block_insts(block).collect();
    let location = func.srcloc(edge);
    for inst in insts {
        let data = func.dfg.insts[inst];
        let mut cursor = FuncCursor::new(func).at_inst(edge).with_srcloc(location);
        let dfg = &cursor.func.dfg;
        let copied = |value: Value| {
            let value = dfg.resolve_aliases(value);
            values.get(&value).copied().unwrap_or(value)
        };
        match data {
            InstructionData::Brif { arg, blocks, .. } => {
                let condition = copied(arg);
                let calls = blocks.map(|call| {
                    let args = call.args(&dfg.value_lists).map(|arg| match arg {
                        BlockArg::Value(value) => BlockArg::Value(copied(value)),
                        other => other,
                    });
                    (call.block(&dfg.value_lists), args.collect::<Vec<BlockArg>>())
                });
                let [(yes, yes_args), (no, no_args)] = &calls;
                cursor.ins().brif(condition, *yes, yes_args, *no, no_args);
            }
            InstructionData::UnaryImm { imm, .. } => {
                let ty = dfg.ctrl_typevar(inst);
                let copy = cursor.ins().iconst(ty, imm);
                values.insert(cursor.func.dfg.first_result(inst), copy);
            }
            InstructionData::Unary { opcode, arg } => {
                let (arg, ty) = (copied(arg), dfg.ctrl_typevar(inst));
                let copy = match opcode {
                    Opcode::Uextend => cursor.ins().uextend(ty, arg),
                    Opcode::Sextend => cursor.ins().sextend(ty, arg),
                    _ => cursor.ins().ireduce(ty, arg),
                };
                values.insert(cursor.func.dfg.first_result(inst), copy);
            }
            InstructionData::IntCompare { cond, args: [a, b], .. } => {
                let [a, b] = [copied(a), copied(b)];
                let copy = cursor.ins().icmp(cond, a, b);
                values.insert(cursor.func.dfg.first_result(inst), copy);
            }
            _ => unreachable!("no other instruction is in such a block"),
        }
    }
    func.layout.remove_inst(edge);
    true
}
