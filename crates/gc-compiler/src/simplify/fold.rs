//! Allocation folding: several objects that are allocated in a row need one test of the limit.
//!
//! Each inline allocation tests whether its object fits, and calls the host if not. After the call
//! nothing that was loaded before is known any more. So the code is made twice where allocations follow
//! each other without anything between them that may collect. The first copy tests once, for all
//! objects, and has neither branches nor calls. The second copy is the old code, and is cold: it runs
//! when not all objects fit. (Clifford, Payer, Starzinger and Titzer, "Allocation Folding Based on
//! Dominance", ISMM 2014, fold allocations in the same way, but reserve the memory of all objects at
//! once. Here each object still moves the cursor, so that an instruction between two allocations may
//! trap and leaves no gap.)
//!
//! A host call that only makes room would also keep the old code away from the hot path. It would fail in
//! a heap that is nearly full and in which each object still fits somewhere.

use crate::regions::{self, Region};
use crate::safepoints::References;
use crate::{AllocationSite, AllocationSites, Annotations};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, Block, BlockArg, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef, types,
};
use gc_types::collector::bump::NEXT;
use std::collections::HashMap;

/// The most allocations that are folded into one.
const MOST: usize = 8;
/// The most bytes that they may have together. Where more do not fit, less memory may be left unused
/// without folding.
const MOST_BYTES: u64 = 1 << 10;
/// The most instructions that are copied for them.
const MOST_INSTS: usize = 160;

/// An inline allocation.
struct Site {
    /// The block that tests whether the object fits.
    check: Block,
    /// What its emitter recorded.
    recorded: AllocationSite,
    /// Bytes.
    size: u64,
    /// The block that allocates, and the one that calls the host.
    fast: Block,
    slow: Block,
    /// Where both continue.
    merge: Block,
}

/// Allocations that follow each other.
struct Group {
    sites: Vec<Site>,
    /// The blocks that one execution passes, from the first site's `fast` to the last site's, without
    /// those that call the host. Each jumps to the next one or ends with a site's test.
    path: Vec<Block>,
}

/// Folds allocations of `func`. Returns whether there were any to fold.
pub(super) fn fold(func: &mut ir::Function, annotations: &mut Annotations) -> bool {
    if annotations.allocations.len() < 2 {
        return false;
    }
    let sites = &annotations.allocations;
    let cfg = ControlFlowGraph::with_function(func);
    let mut in_group: SecondaryMap<Block, u32> = SecondaryMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for block in func.layout.blocks() {
        if in_group[block] != 0 {
            continue;
        }
        let Some(group) =
            Site::at(func, &cfg, sites, block).and_then(|site| Group::new(func, &cfg, sites, site))
        else {
            continue;
        };
        // A group may begin in the middle of a longer one that is found later.
        if group.blocks().any(|block| in_group[block] != 0) {
            continue;
        }
        groups.push(group);
        let number = groups.len() as u32;
        groups[groups.len() - 1].blocks().for_each(|block| in_group[block] = number);
    }
    if groups.is_empty() {
        return false;
    }
    let values = take_out(func, &groups, &in_group);
    for (group, values) in groups.iter().zip(&values) {
        group.fold(func, &mut annotations.references, values);
    }
    true
}

impl Site {
    /// The allocation whose test ends `check`, if the size is known and if its blocks are still as its
    /// emitter made them.
    fn at(
        func: &ir::Function,
        cfg: &ControlFlowGraph,
        sites: &AllocationSites,
        check: Block,
    ) -> Option<Site> {
        let branch = func.layout.last_inst(check)?;
        let recorded = sites.at(branch)?;
        let InstructionData::Brif { blocks: [yes, no], .. } = func.dfg.insts[branch] else {
            return None;
        };
        let lists = &func.dfg.value_lists;
        let (fast, slow) = (yes.block(lists), no.block(lists));
        let merge = jump_target(func, fast)?;
        let made_by = |value| func.dfg.value_def(value).inst();
        let is_here =
            |value| made_by(value).and_then(|inst| func.layout.inst_block(inst)) == Some(check);
        let read = made_by(recorded.next)?;
        let moves = |inst: &Inst| *inst == recorded.moves_cursor;
        let is_whole = yes.len(lists) + no.len(lists) == 0
            && is_here(recorded.next)
            && is_here(recorded.limit)
            && recorded.countdown.is_none_or(is_here)
            && insts_after(func, read).all(|inst| keeps_cursor(func, inst))
            && [fast, slow].iter().all(|block| only_predecessor(cfg, *block) == Some(branch))
            && func.layout.block_insts(fast).any(|inst| moves(&inst))
            && func.layout.block_insts(fast).all(|i| moves(&i) || keeps_cursor(func, i))
            && jump_target(func, slow) == Some(merge)
            && cfg.pred_iter(merge).count() == 2;
        let size = constant(func, recorded.size, 8)?;
        is_whole.then_some(Site { check, recorded, size, fast, slow, merge })
    }
}

impl Group {
    /// The longest group that begins with `first`. `None` if it is alone.
    fn new(
        func: &ir::Function,
        cfg: &ControlFlowGraph,
        sites: &AllocationSites,
        first: Site,
    ) -> Option<Group> {
        let (mut bytes, mut insts) = (first.size, func.layout.block_insts(first.fast).count());
        let mut group = Group { path: vec![first.fast], sites: vec![first] };
        while group.sites.len() < MOST {
            let mut block = group.sites[group.sites.len() - 1].merge;
            let mut between = vec![block];
            let site = loop {
                insts += func.layout.block_insts(block).count();
                if insts > MOST_INSTS
                    || !func.layout.block_insts(block).all(|i| keeps_cursor(func, i))
                {
                    break None;
                }
                let Some(next) = jump_target(func, block) else {
                    break Site::at(func, cfg, sites, block);
                };
                if only_predecessor(cfg, next).is_none() {
                    break None;
                }
                between.push(next);
                block = next;
            };
            let Some(site) = site else { break };
            bytes += site.size;
            insts += func.layout.block_insts(site.fast).count();
            if bytes > MOST_BYTES || insts > MOST_INSTS {
                break;
            }
            group.path.extend(between);
            group.path.push(site.fast);
            group.sites.push(site);
        }
        (group.sites.len() > 1).then_some(group)
    }

    /// The blocks whose code is copied, and those that call the host.
    fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.path.iter().copied().chain(self.sites.iter().map(|site| site.slow))
    }

    /// Where the group ends.
    fn end(&self) -> &Site {
        &self.sites[self.sites.len() - 1]
    }

    /// Makes the copy that tests once. `out` are the values that the group passes to the block that
    /// follows it, behind the arguments that are there.
    fn fold(&self, func: &mut ir::Function, references: &mut References, out: &[Value]) {
        let first = &self.sites[0];
        let [all_fit, old] = [(); 2].map(|()| func.dfg.make_block());
        func.layout.insert_block_after(all_fit, first.check);
        func.layout.insert_block_after(old, all_fit);
        let AllocationSite { branch, next, limit, countdown, .. } = first.recorded;
        let location = func.srcloc(branch);
        let InstructionData::Brif { arg, .. } = func.dfg.insts[branch] else { return };
        let total: u64 = self.sites.iter().map(|site| site.size).sum();
        let mut cursor = FuncCursor::new(func).at_inst(branch).with_srcloc(location);
        let total = cursor.ins().iconst(types::I64, total.cast_signed());
        let end = cursor.ins().iadd(next, total);
        let mut fits = cursor.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, limit);
        if let Some(countdown) = countdown {
            // None of the allocations is the one at which zeal collects.
            let count = cursor.ins().iconst(types::I32, self.sites.len() as i64);
            let left = cursor.ins().icmp(IntCC::UnsignedGreaterThan, countdown, count);
            fits = cursor.ins().band(fits, left);
        }
        cursor.ins().brif(fits, all_fit, &[], old, &[]);
        func.layout.remove_inst(branch);
        let mut cursor = FuncCursor::new(func).at_bottom(old).with_srcloc(location);
        cursor.ins().brif(arg, first.fast, &[], first.slow, &[]);

        let mut copies: HashMap<Value, Value> = HashMap::new();
        for &block in &self.path {
            let insts: Vec<Inst> = func.layout.block_insts(block).collect();
            for inst in insts {
                if !func.dfg.insts[inst].opcode().is_terminator() {
                    copy(func, references, inst, all_fit, &mut copies);
                }
            }
            pass(func, block, &mut copies);
        }
        let end = self.end();
        let own = func.layout.last_inst(end.fast);
        let own = own.map(|jump| func.dfg.inst_values(jump).collect::<Vec<Value>>());
        let args: Vec<BlockArg> = own
            .into_iter()
            .flatten()
            .chain(out.iter().copied())
            .map(|value| copies.get(&value).copied().unwrap_or(value).into())
            .collect();
        FuncCursor::new(func).at_bottom(all_fit).with_srcloc(location).ins().jump(end.merge, &args);
        for from in [end.fast, end.slow] {
            let Some(jump) = func.layout.last_inst(from) else { continue };
            let dfg = &mut func.stencil.dfg;
            let calls = dfg.insts[jump]
                .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
            for call in calls {
                out.iter().for_each(|value| call.append_argument(*value, &mut dfg.value_lists));
            }
        }
        let cold = self.blocks().chain([old]);
        cold.for_each(|block| func.layout.set_cold(block));
    }
}

/// Appends a copy of `inst` to `block`.
fn copy(
    func: &mut ir::Function,
    references: &mut References,
    inst: Inst,
    block: Block,
    copies: &mut HashMap<Value, Value>,
) {
    let copy = func.dfg.clone_inst(inst);
    func.dfg.map_inst_values(copy, |value| copies.get(&value).copied().unwrap_or(value));
    func.layout.append_inst(copy, block);
    let location = func.srcloc(inst);
    func.set_srcloc(copy, location);
    let (old, new) = (func.dfg.inst_results(inst), func.dfg.inst_results(copy));
    for (old, new) in old.iter().zip(new) {
        if references.contains(*old) {
            references.mark_known(*new, references.known(*old));
        }
        copies.insert(*old, *new);
    }
}

/// Adds the copies of what `block` passes to the block to which it jumps.
fn pass(func: &ir::Function, block: Block, copies: &mut HashMap<Value, Value>) {
    let dfg = &func.dfg;
    let Some(jump) = func.layout.last_inst(block) else { return };
    let InstructionData::Jump { destination, .. } = dfg.insts[jump] else { return };
    let params = dfg.block_params(destination.block(&dfg.value_lists));
    for (param, arg) in params.iter().zip(dfg.inst_values(jump)) {
        let copy = copies.get(&arg).copied().unwrap_or(arg);
        copies.insert(*param, copy);
    }
}

/// Lets the values that a group defines and that are used after it pass through a parameter of the
/// block that follows the group. Constants are made again there. Returns these values for each group,
/// in the order of the parameters.
fn take_out(
    func: &mut ir::Function,
    groups: &[Group],
    in_group: &SecondaryMap<Block, u32>,
) -> Vec<Vec<Value>> {
    let mut taken: HashMap<Value, Value> = HashMap::new();
    let mut out: Vec<Vec<Value>> = vec![Vec::new(); groups.len()];
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let insts: Vec<Inst> = func.layout.block_insts(block).collect();
        for inst in insts {
            let values: Vec<Value> = func.dfg.inst_values(inst).collect();
            for &value in &values {
                let group = home_group(func, in_group, value);
                if group == 0 || group == in_group[block] || taken.contains_key(&value) {
                    continue;
                }
                let group = group as usize - 1;
                let merge = groups[group].end().merge;
                let ty = func.dfg.value_type(value);
                let new = match definition(func, value) {
                    Some((_, InstructionData::UnaryImm { opcode: Opcode::Iconst, imm })) => {
                        let cursor = FuncCursor::new(func);
                        cursor.at_first_insertion_point(merge).ins().iconst(ty, imm)
                    }
                    _ => {
                        out[group].push(value);
                        func.dfg.append_block_param(merge, ty)
                    }
                };
                taken.insert(value, new);
            }
            if !taken.is_empty() && values.iter().any(|value| taken.contains_key(value)) {
                rename(func, in_group, block, inst, &taken);
            }
        }
    }
    out
}

/// Lets an instruction use the parameters instead of the values of other groups.
fn rename(
    func: &mut ir::Function,
    in_group: &SecondaryMap<Block, u32>,
    block: Block,
    inst: Inst,
    taken: &HashMap<Value, Value>,
) {
    let values: Vec<Value> = func.dfg.inst_values(inst).collect();
    let renamed: Vec<Value> = values
        .into_iter()
        .map(|value| match taken.get(&value) {
            Some(new) if home_group(func, in_group, value) != in_group[block] => *new,
            _ => value,
        })
        .collect();
    func.dfg.overwrite_inst_values(inst, renamed.into_iter());
}

/// The number of the group that defines `value`, or zero.
fn home_group(func: &ir::Function, in_group: &SecondaryMap<Block, u32>, value: Value) -> u32 {
    let home = match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => func.layout.inst_block(inst),
        ValueDef::Param(block, _) => Some(block),
        ValueDef::Union(..) => None,
    };
    home.map_or(0, |home| in_group[home])
}

// ---- the code around an allocation -------------------------------------------------

fn definition(func: &ir::Function, value: Value) -> Option<(Inst, InstructionData)> {
    let inst = func.dfg.value_def(func.dfg.resolve_aliases(value)).inst()?;
    Some((inst, func.dfg.insts[inst]))
}

fn region(func: &ir::Function, inst: Inst) -> Option<Region> {
    let flags = func.dfg.insts[inst].memflags()?;
    let region = func.dfg.mem_flags[flags].alias_region()?;
    Some(func.dfg.alias_regions[region].user_id)
}

/// Whether `inst` neither allocates nor moves the cursor, and control may go on behind it.
fn keeps_cursor(func: &ir::Function, inst: Inst) -> bool {
    let data = &func.dfg.insts[inst];
    let opcode = data.opcode();
    let stores = match data {
        InstructionData::Store { offset, .. } => {
            let next = i32::from(*offset) == NEXT.cast_signed();
            match region(func, inst) {
                Some(regions::HEAP_CURSOR) => next,
                Some(_) => false,
                None => true,
            }
        }
        _ => opcode.can_store() || opcode.other_side_effects(),
    };
    let branches = opcode.is_terminator();
    !opcode.is_call()
        && (branches && matches!(opcode, Opcode::Jump | Opcode::Brif) || !branches && !stores)
}

fn insts_after(func: &ir::Function, inst: Inst) -> impl Iterator<Item = Inst> + '_ {
    std::iter::successors(func.layout.next_inst(inst), |inst| func.layout.next_inst(*inst))
}

/// The only branch to `block`.
fn only_predecessor(cfg: &ControlFlowGraph, block: Block) -> Option<Inst> {
    let mut edges = cfg.pred_iter(block);
    match (edges.next(), edges.next()) {
        (Some(edge), None) => Some(edge.inst),
        _ => None,
    }
}

/// Where `block` jumps to, if it ends with a jump.
fn jump_target(func: &ir::Function, block: Block) -> Option<Block> {
    match func.dfg.insts[func.layout.last_inst(block)?] {
        InstructionData::Jump { destination, .. } => Some(destination.block(&func.dfg.value_lists)),
        _ => None,
    }
}

/// The value of a constant, or of the arithmetic with constants that the size of an array is. `depth`
/// bounds the work.
fn constant(func: &ir::Function, value: Value, depth: u32) -> Option<u64> {
    let depth = depth.checked_sub(1)?;
    let of = |value| constant(func, value, depth);
    match definition(func, value)?.1 {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
            let unused = 64 - func.dfg.value_type(value).bits().min(64);
            Some(imm.bits().cast_unsigned() << unused >> unused)
        }
        InstructionData::Unary { opcode: Opcode::Uextend, arg } => of(arg),
        InstructionData::Binary { opcode, args: [a, b] } => match opcode {
            Opcode::Iadd => Some(of(a)?.wrapping_add(of(b)?)),
            Opcode::Ishl => of(a)?.checked_shl(u32::try_from(of(b)?).ok()?),
            Opcode::Band => Some(of(a)? & of(b)?),
            _ => None,
        },
        _ => None,
    }
}
