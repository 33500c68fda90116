//! Which calls of a function are inlined.

use super::{Candidate, InlineLimits, Round};
use crate::driver::{FUNCTION_NAMESPACE, loop_depths};
use cranelift_codegen::ir::{self, ExternalName, InstructionData, Opcode};
use std::collections::HashMap;

/// Cold blocks may have this many times as many instructions as the others before they count. The slow
/// paths of allocations and barriers are cold.
const COLD: usize = 4;

/// The most words that a body keeps across its calls if it is inlined into a function of its cycle.
const MOST_LIVE: usize = 16;

/// The number of arguments of a branch or call, and of entries of a jump table, that do not count.
const OPERANDS: usize = 6;
/// This many of the others count as an instruction.
const MORE_OPERANDS: usize = 4;

/// The size of a function: its instructions in blocks that are not cold, without constants and jumps.
/// Whatever takes time to compile counts if there is much of it: cold instructions, arguments, and the
/// entries of jump tables.
pub(super) fn weight(func: &ir::Function) -> usize {
    let (mut hot, mut cold, mut operands) = (0, 0, 0);
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            operands += operands_of(func, inst).saturating_sub(OPERANDS);
            let opcode = func.dfg.insts[inst].opcode();
            if !matches!(
                opcode,
                Opcode::Iconst | Opcode::F32const | Opcode::F64const | Opcode::Jump
            ) {
                *if func.layout.is_cold(block) { &mut cold } else { &mut hot } += 1;
            }
        }
    }
    (hot + operands / MORE_OPERANDS).max(cold / COLD)
}

/// The number of arguments and results of a call, or of destinations of a branch and their arguments.
fn operands_of(func: &ir::Function, inst: ir::Inst) -> usize {
    let dfg = &func.dfg;
    let call = match dfg.insts[inst].opcode().is_call() {
        true => dfg.inst_args(inst).len() + dfg.inst_results(inst).len(),
        false => 0,
    };
    let destinations = dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    let branch = destinations.iter().map(|to| 1 + to.len(&dfg.value_lists));
    call + branch.sum::<usize>()
}

/// Whether `inst` is a call.
pub(super) fn is_call(func: &ir::Function, inst: ir::Inst) -> bool {
    func.dfg.insts[inst].opcode().is_call()
}

/// The number of calls in `func`.
pub(super) fn calls(func: &ir::Function) -> usize {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    insts.filter(|inst| is_call(func, *inst)).count()
}

/// What a call at `inst` adds to each call of the body that is inlined there: its handlers and their
/// arguments.
fn handlers(func: &ir::Function, inst: ir::Inst) -> usize {
    let InstructionData::TryCall { exception, .. } = func.dfg.insts[inst] else { return 0 };
    let table = &func.dfg.exception_tables[exception];
    let lists = &func.dfg.value_lists;
    table.all_branches().iter().map(|call| 1 + call.len(lists)).sum::<usize>() / MORE_OPERANDS
}

/// The function of the image that a direct call calls, if `inst` is one.
pub(super) fn callee(func: &ir::Function, inst: ir::Inst) -> Option<u32> {
    let (InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. }) =
        func.dfg.insts[inst]
    else {
        return None;
    };
    let data = &func.dfg.ext_funcs[func_ref];
    let ExternalName::User(name) = data.name else { return None };
    let name = &func.params.user_named_funcs()[name];
    (name.namespace == FUNCTION_NAMESPACE && !data.patchable).then_some(name.index)
}

/// The number of instructions by which `func` may grow.
pub(super) fn growth(func: &ir::Function, limits: &InlineLimits) -> usize {
    let weight = weight(func);
    let growth = limits.growth + weight / 100 * limits.growth_per_hundred;
    growth.min(limits.largest_caller.saturating_sub(weight))
}

/// A call that can be inlined.
struct Site<'a> {
    inst: ir::Inst,
    callee: u32,
    found: &'a Candidate,
    /// The instructions that inlining it adds.
    weight: usize,
}

/// The calls of `func` that are inlined in this round, and the functions that they call. `cycle` is the
/// number of the cycle of calls that `func` is in. `growth` is the number of instructions by which it may
/// still grow.
pub(super) fn choose<'a>(
    func: &ir::Function,
    candidate: &dyn Fn(u32) -> Option<&'a Candidate>,
    limits: &InlineLimits,
    cycle: Option<usize>,
    round: Round,
    growth: &mut usize,
) -> HashMap<ir::Inst, u32> {
    let is_small = |depth: usize, site: &Site<'_>| {
        let most = if depth == 0 { limits.callee } else { limits.callee_in_loop };
        let in_cycle = cycle.is_some() && site.found.cycle == cycle;
        if in_cycle && site.found.live > MOST_LIVE {
            return false;
        }
        site.weight <= if in_cycle { most.max(limits.callee_in_cycle) } else { most }
    };
    let mut sites = Vec::new();
    for block in func.layout.blocks().filter(|block| !func.layout.is_cold(*block)) {
        for inst in func.layout.block_insts(block) {
            let Some(callee) = callee(func, inst) else { continue };
            let found = candidate(callee).filter(|found| !found.has_relays);
            let Some(found) = found else { continue };
            let weight = found.weight + found.calls * handlers(func, inst);
            let site = Site { inst, callee, found, weight };
            if is_small(0, &site) || is_small(1, &site) {
                sites.push((block, site));
            }
        }
    }
    if sites.is_empty() {
        return HashMap::new();
    }
    let depths = loop_depths(func);
    let mut sites: Vec<(usize, Site<'_>)> = sites
        .into_iter()
        .map(|(block, site)| (depths[block], site))
        .filter(|(depth, site)| is_small(*depth, site))
        .filter(|(depth, _)| round == Round::First || *depth > 0)
        .collect();
    // The order of calls that are equal in both is that of the layout.
    sites.sort_by_key(|(depth, site)| (std::cmp::Reverse(*depth), site.weight));
    let mut chosen = HashMap::new();
    for (_, site) in sites {
        let Some(left) = growth.checked_sub(site.weight) else { continue };
        *growth = left;
        chosen.insert(site.inst, site.callee);
    }
    chosen
}
