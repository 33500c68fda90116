//! Computes the references that are live at the beginning of each block and across each call that
//! may collect. It walks from each use back to the definition (Boissinot et al., "Computing
//! Liveness Sets for SSA-Form Programs", 2011).

use super::{Ref, Refs, TooManyReferences};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst, Value, ValueDef};
use std::collections::HashMap;

/// The result of the liveness analysis.
pub(super) struct Liveness {
    /// References live at each block's beginning, ascending, without the block's parameters.
    pub(super) live_in: SecondaryMap<Block, Vec<Ref>>,
    /// Calls that may collect, with the references live across them, ascending.
    pub(super) across: HashMap<Inst, Vec<Ref>>,
    /// References live across any such call, ascending.
    pub(super) spilled: Vec<Ref>,
}

/// The block in which a value is defined.
pub(super) fn def_block(func: &Function, value: Value) -> Block {
    match func.dfg.value_def(value) {
        ValueDef::Param(block, _) => block,
        ValueDef::Result(inst, _) => {
            func.layout.inst_block(inst).expect("an instruction that is in a block")
        }
        ValueDef::Union(..) => unreachable!("only while optimising"),
    }
}

impl Liveness {
    pub(super) fn new(
        func: &Function,
        cfg: &ControlFlowGraph,
        refs: &Refs,
        is_safepoint: &dyn Fn(&Function, Inst) -> bool,
        limit: usize,
    ) -> Result<Liveness, TooManyReferences> {
        let live_in = live_in(func, cfg, refs, limit)?;
        let mut across: HashMap<Inst, Vec<Ref>> = HashMap::new();
        let mut is_spilled = vec![false; refs.values.len()];
        let mut entries = 0;
        let mut live = LiveSet::new(refs.values.len());
        for block in func.layout.blocks() {
            live.clear();
            for successor in cfg.succ_iter(block) {
                for &r in &live_in[successor] {
                    live.insert(r);
                }
            }
            let mut at = func.layout.last_inst(block);
            while let Some(inst) = at {
                for value in func.dfg.inst_results(inst) {
                    if let Some(r) = refs.get(*value) {
                        live.remove(r);
                    }
                }
                if is_safepoint(func, inst) {
                    let mut held = live.to_vec();
                    held.sort_unstable();
                    entries += held.len();
                    if entries > limit {
                        return Err(TooManyReferences { entries, limit });
                    }
                    for &r in &held {
                        is_spilled[r as usize] = true;
                    }
                    if !held.is_empty() {
                        across.insert(inst, held);
                    }
                }
                for value in func.dfg.inst_values(inst) {
                    if let Some(r) = refs.get(value) {
                        live.insert(r);
                    }
                }
                at = func.layout.prev_inst(inst);
            }
        }
        let spilled = (0..refs.values.len() as Ref).filter(|r| is_spilled[*r as usize]).collect();
        Ok(Liveness { live_in, across, spilled })
    }
}

fn live_in(
    func: &Function,
    cfg: &ControlFlowGraph,
    refs: &Refs,
    limit: usize,
) -> Result<SecondaryMap<Block, Vec<Ref>>, TooManyReferences> {
    // The blocks in which each reference is used, without adjacent duplicates.
    let mut uses: Vec<Vec<Block>> = vec![Vec::new(); refs.values.len()];
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                if let Some(r) = refs.get(value)
                    && uses[r as usize].last() != Some(&block)
                {
                    uses[r as usize].push(block);
                }
            }
        }
    }
    let mut live_in: SecondaryMap<Block, Vec<Ref>> = SecondaryMap::new();
    let mut entries = 0;
    for (r, work) in uses.iter_mut().enumerate() {
        let home = def_block(func, refs.values[r]);
        while let Some(block) = work.pop() {
            // References are processed in order, so the last entry shows whether this one was here
            // before.
            if block == home || live_in[block].last() == Some(&(r as Ref)) {
                continue;
            }
            live_in[block].push(r as Ref);
            entries += 1;
            if entries > limit {
                return Err(TooManyReferences { entries, limit });
            }
            work.extend(cfg.pred_iter(block).map(|pred| pred.block));
        }
    }
    Ok(live_in)
}

/// A set of references with constant-time operations (Briggs and Torczon, "An
/// Efficient Representation for Sparse Sets", 1993).
struct LiveSet {
    members: Vec<Ref>,
    places: Vec<u32>,
}

impl LiveSet {
    fn new(universe: usize) -> LiveSet {
        LiveSet { members: Vec::new(), places: vec![0; universe] }
    }

    fn contains(&self, r: Ref) -> bool {
        self.members.get(self.places[r as usize] as usize) == Some(&r)
    }

    fn insert(&mut self, r: Ref) {
        if !self.contains(r) {
            self.places[r as usize] = self.members.len() as u32;
            self.members.push(r);
        }
    }

    fn remove(&mut self, r: Ref) {
        if self.contains(r) {
            let place = self.places[r as usize] as usize;
            self.members.swap_remove(place);
            if let Some(moved) = self.members.get(place) {
                self.places[*moved as usize] = place as u32;
            }
        }
    }

    fn clear(&mut self) {
        self.members.clear();
    }

    fn to_vec(&self) -> Vec<Ref> {
        self.members.clone()
    }
}
