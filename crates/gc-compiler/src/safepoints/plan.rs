//! Decides for references that are live across calls that may collect where they are in registers,
//! where they are in slots, and where they must be reloaded.
//!
//! For each such reference and each block where it is live:
//!
//! - It is *valid* at a block's beginning if it is in a register on some path there. The
//!   predecessors on the other paths reload it at their ends. A call that may collect makes it
//!   invalid, and its next use reloads it.
//! - Its *slot* is good at a block's beginning if it was stored on every path there. The slot stays
//!   good, because a collection updates it. Where the reference is invalid, its slot is good.
//! - It is *renamed* at a block's beginning if it may have been reloaded on a path there. Then it
//!   is in another value than the one that defined it.

use super::liveness::{Liveness, def_block};
use super::{Limits, Ref, Refs};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst};
use std::collections::{BinaryHeap, HashMap};

/// The effect of a block on a reference.
#[derive(Clone, Copy, Debug, Default)]
struct Events {
    /// A call in the block may collect while the reference is live.
    collects: bool,
    /// The reference is used after the last such call, or at all if there is none.
    used_last: bool,
}

/// The place of a reference at a block's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// In the value that defined it.
    Original,
    /// In the value that has it at the end of the block's only predecessor.
    Predecessors,
    /// In a new parameter of the block.
    Parameter,
    /// Only in its slot.
    InSlot,
}

/// The state of one reference at one block's beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtBlock {
    pub(super) arrival: Arrival,
    /// Whether the slot holds the reference.
    pub(super) slot_good: bool,
}

/// The plan for a function.
pub(super) struct Plan {
    /// Keep references in their slots: store them at the definition, load them at each use.
    pub(super) in_slots: bool,
    /// The state by block and reference, for references that are spilled anywhere.
    pub(super) at: HashMap<(Block, Ref), AtBlock>,
    /// References that a block reloads at its end, ascending.
    pub(super) reload_at_end: HashMap<Block, Vec<Ref>>,
    /// Each spilled reference's offset in bytes in the frame's slot.
    pub(super) offsets: HashMap<Ref, u32>,
    /// Bytes of the frame's slot.
    pub(super) frame_bytes: u32,
    /// The number of alias regions for its words.
    pub(super) regions: u32,
}

impl Plan {
    pub(super) fn new(
        func: &Function,
        cfg: &ControlFlowGraph,
        refs: &Refs,
        live: &Liveness,
        limits: &Limits,
    ) -> Plan {
        let (events, instructions) = events(func, refs, live);
        let (offsets, frame_bytes) = assign_slots(func, cfg, refs, live);
        let mut plan = Plan {
            in_slots: false,
            at: HashMap::new(),
            reload_at_end: HashMap::new(),
            offsets,
            frame_bytes,
            regions: super::slot_regions(instructions),
        };
        let live_in: usize = func.layout.blocks().map(|block| live.live_in[block].len()).sum();
        if live_in > (limits.live_in)(instructions) {
            plan.in_slots = true;
            return plan;
        }
        let budget = (limits.added)(instructions);
        let mut cost = 0;
        let mut blocks: Vec<Vec<Block>> = vec![Vec::new(); refs.values.len()];
        for block in func.layout.blocks() {
            for &r in &live.live_in[block] {
                blocks[r as usize].push(block);
            }
        }
        for &r in &live.spilled {
            let home = def_block(func, refs.values[r as usize]);
            let one = One { cfg, home, blocks: &blocks[r as usize], events: &events[r as usize] };
            cost += one.plan(r, &mut plan);
            if cost > budget {
                plan.in_slots = true;
                plan.at.clear();
                plan.reload_at_end.clear();
                break;
            }
        }
        plan
    }
}

/// The effect of each block on each spilled reference, and the number of instructions.
fn events(func: &Function, refs: &Refs, live: &Liveness) -> (Vec<HashMap<Block, Events>>, usize) {
    let mut events: Vec<HashMap<Block, Events>> = vec![HashMap::new(); refs.values.len()];
    let mut instructions = 0;
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            instructions += 1;
            for value in func.dfg.inst_values(inst) {
                if let Some(r) = refs.get(value) {
                    events[r as usize].entry(block).or_default().used_last = true;
                }
            }
            for &r in live.across.get(&inst).into_iter().flatten() {
                *events[r as usize].entry(block).or_default() =
                    Events { collects: true, used_last: false };
            }
        }
    }
    (events, instructions)
}

/// One reference that is being planned.
struct One<'a> {
    cfg: &'a ControlFlowGraph,
    home: Block,
    /// The blocks at whose beginning it is live.
    blocks: &'a [Block],
    events: &'a HashMap<Block, Events>,
}

#[derive(Clone, Copy, Debug)]
struct Facts {
    valid: bool,
    slot_good: bool,
    renamed: bool,
}

impl One<'_> {
    fn events(&self, block: Block) -> Events {
        self.events.get(&block).copied().unwrap_or_default()
    }

    /// Whether it is in a register at the end of `block`, without reloads at the end.
    fn valid_out(&self, block: Block, facts: &HashMap<Block, Facts>) -> bool {
        let events = self.events(block);
        if events.collects {
            events.used_last
        } else {
            block == self.home || events.used_last || facts[&block].valid
        }
    }

    fn slot_good_out(&self, block: Block, facts: &HashMap<Block, Facts>) -> bool {
        self.events(block).collects || (block != self.home && facts[&block].slot_good)
    }

    /// Whether it is in another value than its definition at the end of `block`.
    fn renamed_out(&self, block: Block, facts: &HashMap<Block, Facts>, reloads: bool) -> bool {
        let events = self.events(block);
        if events.collects {
            events.used_last || reloads
        } else if block == self.home {
            false
        } else if facts[&block].valid {
            facts[&block].renamed
        } else {
            events.used_last || reloads
        }
    }

    /// Propagates `change` along edges from all blocks for which `out` holds. `change` returns
    /// whether it changed the facts at the successor's beginning.
    fn propagate(
        &self,
        facts: &mut HashMap<Block, Facts>,
        out: impl Fn(Block, &HashMap<Block, Facts>) -> bool,
        change: impl Fn(&mut Facts) -> bool,
    ) {
        let mut work: Vec<Block> = self.blocks.iter().copied().chain([self.home]).collect();
        while let Some(block) = work.pop() {
            if !out(block, facts) {
                continue;
            }
            for successor in self.cfg.succ_iter(block) {
                if let Some(facts) = facts.get_mut(&successor)
                    && change(facts)
                {
                    work.push(successor);
                }
            }
        }
    }

    /// Adds this reference to the plan. Returns the number of added instructions and parameters.
    fn plan(&self, r: Ref, plan: &mut Plan) -> usize {
        let unknown = Facts { valid: false, slot_good: true, renamed: false };
        let mut facts: HashMap<Block, Facts> =
            self.blocks.iter().map(|block| (*block, unknown)).collect();
        self.propagate(
            &mut facts,
            |block, facts| self.valid_out(block, facts),
            |facts| !std::mem::replace(&mut facts.valid, true),
        );
        self.propagate(
            &mut facts,
            |block, facts| !self.slot_good_out(block, facts),
            |facts| std::mem::replace(&mut facts.slot_good, false),
        );
        let mut cost = 0;
        let reloads_at_end = |block: Block, facts: &HashMap<Block, Facts>| {
            !self.valid_out(block, facts)
                && self.cfg.succ_iter(block).any(|s| facts.get(&s).is_some_and(|f| f.valid))
        };
        self.propagate(
            &mut facts,
            |block, facts| self.renamed_out(block, facts, reloads_at_end(block, facts)),
            |facts| !std::mem::replace(&mut facts.renamed, true),
        );
        for &block in self.blocks.iter().chain([&self.home]) {
            if reloads_at_end(block, &facts) {
                plan.reload_at_end.entry(block).or_default().push(r);
                cost += 2;
            }
        }
        for &block in self.blocks {
            let Facts { valid, slot_good, renamed } = facts[&block];
            let predecessors = self.cfg.pred_iter(block).take(2).count();
            let arrival = match (valid, renamed, predecessors) {
                (false, ..) => Arrival::InSlot,
                (true, false, _) => Arrival::Original,
                (true, true, 1) => Arrival::Predecessors,
                (true, true, _) => Arrival::Parameter,
            };
            if arrival == Arrival::Parameter {
                cost += self.cfg.pred_iter(block).count();
            }
            plan.at.insert((block, r), AtBlock { arrival, slot_good });
        }
        cost
    }
}

/// Gives each spilled reference a place in the frame. References that are never live at the same
/// time share a place (Poletto and Sarkar, "Linear Scan Register Allocation", 1999).
fn assign_slots(
    func: &Function,
    cfg: &ControlFlowGraph,
    refs: &Refs,
    live: &Liveness,
) -> (HashMap<Ref, u32>, u32) {
    let mut spans: HashMap<Ref, (u32, u32)> =
        live.spilled.iter().map(|r| (*r, (u32::MAX, 0))).collect();
    let mut extend = |r: Ref, from: u32, to: u32| {
        if let Some((start, end)) = spans.get_mut(&r) {
            *start = (*start).min(from);
            *end = (*end).max(to);
        }
    };
    let mut position = 0;
    let touch = |func: &Function,
                 inst: Inst,
                 position: u32,
                 extend: &mut dyn FnMut(Ref, u32, u32)| {
        for value in func.dfg.inst_values(inst).chain(func.dfg.inst_results(inst).iter().copied()) {
            if let Some(r) = refs.get(value) {
                extend(r, position, position);
            }
        }
    };
    for block in func.layout.blocks() {
        let start = position;
        for value in func.dfg.block_params(block) {
            if let Some(r) = refs.get(*value) {
                extend(r, start, start);
            }
        }
        for &r in &live.live_in[block] {
            extend(r, start, start);
        }
        for inst in func.layout.block_insts(block) {
            position += 1;
            touch(func, inst, position, &mut extend);
        }
        position += 1;
        for successor in cfg.succ_iter(block) {
            for &r in &live.live_in[successor] {
                extend(r, position, position);
            }
        }
    }
    let mut order: Vec<(u32, u32, Ref)> =
        spans.into_iter().map(|(r, (start, end))| (start, end, r)).collect();
    order.sort_unstable();
    let mut offsets = HashMap::with_capacity(order.len());
    let mut active: BinaryHeap<std::cmp::Reverse<(u32, u32)>> = BinaryHeap::new();
    let mut free: Vec<u32> = Vec::new();
    let mut bytes = 0;
    for (start, end, r) in order {
        while let Some(std::cmp::Reverse((ended, offset))) = active.peek().copied()
            && ended < start
        {
            active.pop();
            free.push(offset);
        }
        let offset = free.pop().unwrap_or_else(|| {
            bytes += 8;
            bytes - 8
        });
        active.push(std::cmp::Reverse((end, offset)));
        offsets.insert(r, offset);
    }
    (offsets, bytes)
}
