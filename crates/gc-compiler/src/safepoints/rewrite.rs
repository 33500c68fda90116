//! Carries out a [`Plan`]: inserts stores, reloads, stack maps, and block parameters for references
//! that arrive in different values.

use super::liveness::Liveness;
use super::plan::{Arrival, Plan};
use super::{Ref, Refs, slot_region};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    Block, Function, Inst, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind,
    UserStackMapEntry, Value, types,
};
use std::collections::{HashMap, HashSet};

/// The place of a reference at a program point.
#[derive(Clone, Copy)]
struct State {
    /// The value that has the reference; `None` if only its slot has it.
    value: Option<Value>,
    slot_good: bool,
}

struct Rewriter<'a> {
    func: &'a mut Function,
    refs: &'a Refs,
    plan: &'a Plan,
    slot: StackSlot,
    /// The states of the references that are live here.
    states: HashMap<Ref, State>,
}

pub(super) fn rewrite(
    func: &mut Function,
    cfg: &ControlFlowGraph,
    refs: &Refs,
    live: &Liveness,
    plan: &Plan,
) {
    let slot = func.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        plan.frame_bytes,
        3,
    ));
    let mut rewriter = Rewriter { func, refs, plan, slot, states: HashMap::new() };
    if plan.in_slots {
        rewriter.keep_in_slots(live);
        return;
    }
    let spilled: HashSet<Ref> = live.spilled.iter().copied().collect();
    let order = reverse_postorder(rewriter.func, cfg);
    // Parameters come first, because a loop's end needs those of its beginning.
    let mut params: HashMap<(Block, Ref), Value> = HashMap::new();
    let mut arriving: HashMap<Block, Vec<Ref>> = HashMap::new();
    for &block in &order {
        for &r in &live.live_in[block] {
            let at = plan.at.get(&(block, r));
            if at.is_some_and(|at| at.arrival == Arrival::Parameter) {
                let param = rewriter.func.dfg.append_block_param(block, types::I64);
                params.insert((block, r), param);
                arriving.entry(block).or_default().push(r);
            }
        }
    }
    let mut ends: HashMap<(Block, Ref), Value> = HashMap::new();
    for &block in &order {
        rewriter.states.clear();
        for &r in &live.live_in[block] {
            let Some(at) = plan.at.get(&(block, r)) else { continue };
            let value = match at.arrival {
                Arrival::Original => Some(refs.values[r as usize]),
                Arrival::Parameter => Some(params[&(block, r)]),
                Arrival::Predecessors => {
                    let before = cfg.pred_iter(block).next().expect("one predecessor").block;
                    Some(ends[&(before, r)])
                }
                Arrival::InSlot => None,
            };
            rewriter.states.insert(r, State { value, slot_good: at.slot_good });
        }
        let own: Vec<Value> = rewriter.func.dfg.block_params(block).to_vec();
        rewriter.define(&own, &spilled);
        rewriter.block(block, live, &spilled);
        for successor in cfg.succ_iter(block) {
            for &r in &live.live_in[successor] {
                if let Some(State { value: Some(value), .. }) = rewriter.states.get(&r) {
                    ends.insert((block, r), *value);
                }
            }
        }
    }
    rewriter.pass_arguments(&arriving, &ends);
}

/// The reachable blocks, each after its dominators.
fn reverse_postorder(func: &Function, cfg: &ControlFlowGraph) -> Vec<Block> {
    let Some(entry) = func.layout.entry_block() else { return Vec::new() };
    let mut seen = HashSet::from([entry]);
    let mut stack = vec![(entry, false)];
    let mut order = Vec::new();
    while let Some((block, done)) = stack.pop() {
        if done {
            order.push(block);
            continue;
        }
        stack.push((block, true));
        for successor in cfg.succ_iter(block) {
            if seen.insert(successor) {
                stack.push((successor, false));
            }
        }
    }
    order.reverse();
    order
}

impl Rewriter<'_> {
    fn flags(&mut self, offset: u32) -> MemFlagsData {
        let region = slot_region(self.func, offset, self.plan.regions);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    fn cursor_at(&mut self, inst: Inst) -> FuncCursor<'_> {
        let srcloc = self.func.srcloc(inst);
        let mut cursor = FuncCursor::new(self.func).at_inst(inst);
        cursor.set_srcloc(srcloc);
        cursor
    }

    fn store_before(&mut self, inst: Inst, r: Ref, value: Value) {
        let (offset, slot) = (self.plan.offsets[&r], self.slot);
        let flags = self.flags(offset);
        let mut cursor = self.cursor_at(inst);
        let address = cursor.ins().stack_addr(types::I64, slot, offset.cast_signed());
        cursor.ins().store(flags, value, address, 0);
    }

    fn reload_before(&mut self, inst: Inst, r: Ref) -> Value {
        let (offset, slot) = (self.plan.offsets[&r], self.slot);
        let flags = self.flags(offset);
        let mut cursor = self.cursor_at(inst);
        let address = cursor.ins().stack_addr(types::I64, slot, offset.cast_signed());
        cursor.ins().load(types::I64, flags, address, 0)
    }

    fn map(&mut self, inst: Inst, live: &[Ref]) {
        for r in live {
            let (slot, offset) = (self.slot, self.plan.offsets[r]);
            let entry = UserStackMapEntry { ty: types::I64, slot, offset };
            self.func.dfg.append_user_stack_map_entry(inst, entry);
        }
    }

    fn define(&mut self, values: &[Value], spilled: &HashSet<Ref>) {
        for value in values {
            if let Some(r) = self.refs.get(*value).filter(|r| spilled.contains(r)) {
                self.states.insert(r, State { value: Some(*value), slot_good: false });
            }
        }
    }

    /// The value that has reference `r` before `inst`. Reloads the reference if necessary.
    fn value_before(&mut self, inst: Inst, r: Ref) -> Value {
        let state = self.states[&r];
        if let Some(value) = state.value {
            return value;
        }
        debug_assert!(state.slot_good, "a reference that is neither in a value nor in its slot");
        let value = self.reload_before(inst, r);
        self.states.insert(r, State { value: Some(value), slot_good: true });
        value
    }

    fn block(&mut self, block: Block, live: &Liveness, spilled: &HashSet<Ref>) {
        let last = self.func.layout.last_inst(block);
        let mut at = self.func.layout.first_inst(block);
        while let Some(inst) = at {
            at = self.func.layout.next_inst(inst);
            if Some(inst) == last
                && let Some(reload) = self.plan.reload_at_end.get(&block)
            {
                for &r in reload {
                    self.value_before(inst, r);
                }
            }
            self.rename_uses(inst, spilled);
            if let Some(across) = live.across.get(&inst) {
                for &r in across {
                    let state = self.states[&r];
                    if !state.slot_good {
                        let value = state.value.expect("in a value if not in its slot");
                        self.store_before(inst, r, value);
                    }
                    self.states.insert(r, State { value: None, slot_good: true });
                }
                self.map(inst, across);
            }
            let results: Vec<Value> = self.func.dfg.inst_results(inst).to_vec();
            self.define(&results, spilled);
        }
    }

    fn rename_uses(&mut self, inst: Inst, spilled: &HashSet<Ref>) {
        let mut renamed: Vec<(Value, Value)> = Vec::new();
        let used: Vec<Value> = self.func.dfg.inst_values(inst).collect();
        for value in used {
            if let Some(r) = self.refs.get(value).filter(|r| spilled.contains(r))
                && !renamed.iter().any(|(from, _)| *from == value)
            {
                let now = self.value_before(inst, r);
                renamed.push((value, now));
            }
        }
        replace(self.func, inst, &renamed);
    }

    /// Adds arguments to every jump to a block with new parameters.
    fn pass_arguments(
        &mut self,
        arriving: &HashMap<Block, Vec<Ref>>,
        ends: &HashMap<(Block, Ref), Value>,
    ) {
        let blocks: Vec<Block> = self.func.layout.blocks().collect();
        for block in blocks {
            let Some(inst) = self.func.layout.last_inst(block) else { continue };
            // An unreachable block may pass any value.
            let mut anything = None;
            let count = {
                let dfg = &self.func.dfg;
                dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables).len()
            };
            for i in 0..count {
                let target = {
                    let dfg = &self.func.dfg;
                    dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)[i]
                        .block(&dfg.value_lists)
                };
                for r in arriving.get(&target).into_iter().flatten() {
                    let value = ends.get(&(block, *r)).copied().or(anything).unwrap_or_else(|| {
                        let null = self.cursor_at(inst).ins().iconst(types::I64, 0);
                        anything = Some(null);
                        null
                    });
                    let dfg = &mut self.func.dfg;
                    dfg.insts[inst]
                        .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[i]
                        .append_argument(value, &mut dfg.value_lists);
                }
            }
        }
    }

    /// Stores each spilled reference at its definition and loads it at each use.
    fn keep_in_slots(&mut self, live: &Liveness) {
        let spilled: HashSet<Ref> = live.spilled.iter().copied().collect();
        let blocks: Vec<Block> = self.func.layout.blocks().collect();
        for block in blocks {
            let params: Vec<Value> = self.func.dfg.block_params(block).to_vec();
            let first = self.func.layout.first_inst(block);
            let mut at = first;
            let mut pending: Vec<Value> = params;
            while let Some(inst) = at {
                at = self.func.layout.next_inst(inst);
                let mut fresh: HashMap<Ref, Value> = HashMap::new();
                for value in std::mem::take(&mut pending) {
                    if let Some(r) = self.refs.get(value).filter(|r| spilled.contains(r)) {
                        self.store_before(inst, r, value);
                        fresh.insert(r, value);
                    }
                }
                let used: Vec<Value> = self.func.dfg.inst_values(inst).collect();
                let mut renamed: Vec<(Value, Value)> = Vec::new();
                for value in used {
                    if let Some(r) = self.refs.get(value).filter(|r| spilled.contains(r))
                        && !fresh.contains_key(&r)
                        && !renamed.iter().any(|(from, _)| *from == value)
                    {
                        let now = self.reload_before(inst, r);
                        renamed.push((value, now));
                    }
                }
                replace(self.func, inst, &renamed);
                if let Some(across) = live.across.get(&inst) {
                    self.map(inst, across);
                }
                pending = self.func.dfg.inst_results(inst).to_vec();
            }
        }
    }
}

fn replace(func: &mut Function, inst: Inst, renamed: &[(Value, Value)]) {
    if renamed.iter().any(|(from, to)| from != to) {
        func.dfg.map_inst_values(inst, |value| {
            renamed.iter().find(|(from, _)| *from == value).map_or(value, |(_, to)| *to)
        });
    }
}
