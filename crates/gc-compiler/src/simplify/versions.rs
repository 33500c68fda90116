//! [`Versions`]: which stores a load can see.
//!
//! Memory has *versions*: each store makes a new version of its alias region, and each call and each
//! other fence a new version of all regions. Where control joins and the versions differ, the block
//! begins with a version of its own. (This is memory in SSA form: Chow, Chan, Liu, Lo and Streich,
//! "Effective Representation of Aliases and Indirect Memory Operations in SSA Form", 1996.)

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntityRef, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, AliasRegion, Block, Inst, InstructionData};

/// The largest product of the number of regions and the numbers of blocks, edges and calls. Larger
/// functions stay as they are. (Each round takes a time that is proportional to it.)
const MOST: usize = 1 << 22;
/// The most rounds in which versions are computed. Few functions need more than four.
const ROUNDS: usize = 8;

/// A version of a region. Zero is the version of a block that was not visited yet.
pub(super) type Version = u32;

/// The version with which a function begins.
const FIRST: Version = 1;

/// What an instruction does to the versions.
enum Effect {
    None,
    /// It stores to a region.
    Region(AliasRegion),
    /// It may store anywhere.
    All,
}

fn effect(func: &ir::Function, inst: Inst) -> Effect {
    let data = &func.dfg.insts[inst];
    let opcode = data.opcode();
    if opcode.is_call() {
        return Effect::All;
    }
    match data {
        InstructionData::Store { flags, .. } => match func.dfg.mem_flags[*flags].alias_region() {
            Some(region) => Effect::Region(region),
            None => Effect::All,
        },
        _ if opcode.can_store() || opcode.other_side_effects() => Effect::All,
        _ => Effect::None,
    }
}

/// Whether the versions of a function with these blocks are computed quickly.
fn is_small(func: &ir::Function, cfg: &ControlFlowGraph, blocks: &[Block]) -> bool {
    let Some(mut left) = MOST.checked_div(func.dfg.alias_regions.len()) else { return true };
    for block in blocks {
        let is_fence = |inst: &Inst| matches!(effect(func, *inst), Effect::All);
        let fences = func.layout.block_insts(*block).filter(is_fence).count();
        match left.checked_sub(1 + cfg.pred_iter(*block).count() + fences) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// The versions at the beginning of each block.
pub(super) struct Versions {
    regions: usize,
    /// The place of each reachable block in reverse post-order.
    order: SecondaryMap<Block, Option<u32>>,
    /// The versions of all regions at the beginning of each block, in that order.
    start: Vec<Version>,
    /// The version that instruction 0 makes.
    made: Version,
}

impl Versions {
    /// `None` if the function is too large, or has no regions.
    pub(super) fn new(
        func: &ir::Function,
        cfg: &ControlFlowGraph,
        tree: &DominatorTree,
    ) -> Option<Versions> {
        let regions = func.dfg.alias_regions.len();
        let blocks: Vec<Block> = tree.cfg_rpo().copied().collect();
        let size = blocks.len() * regions;
        if size == 0 || !is_small(func, cfg, &blocks) {
            return None;
        }
        let mut order = SecondaryMap::new();
        for (at, block) in (0..).zip(&blocks) {
            order[*block] = Some(at);
        }
        // A join has a number for each region, and each instruction one.
        let made = FIRST + 1 + size as Version;
        let mut versions = Versions { regions, order, start: vec![0; size], made };
        versions.start[..regions].fill(FIRST);
        let changes: Vec<Vec<Version>> =
            blocks.iter().map(|block| versions.changes(func, *block)).collect();
        for _ in 0..ROUNDS {
            let mut changed = false;
            for (at, block) in blocks.iter().enumerate().skip(1) {
                changed |= versions.join(cfg, at, *block, &changes);
            }
            if !changed {
                return Some(versions);
            }
        }
        None
    }

    /// The versions that `block` makes of each region. Zero if it makes none.
    pub(super) fn changes(&self, func: &ir::Function, block: Block) -> Vec<Version> {
        let mut changes = vec![0; self.regions];
        for inst in func.layout.block_insts(block) {
            self.apply(func, inst, &mut changes);
        }
        changes
    }

    /// Changes the versions of the regions to those after `inst`.
    pub(super) fn apply(&self, func: &ir::Function, inst: Inst, versions: &mut [Version]) {
        let new = self.made + inst.as_u32();
        match effect(func, inst) {
            Effect::None => {}
            Effect::Region(region) => versions[region.index()] = new,
            Effect::All => versions.fill(new),
        }
    }

    /// Joins what the predecessors of `block`, which is block `at`, end with. Returns whether the
    /// versions at its beginning have changed.
    fn join(
        &mut self,
        cfg: &ControlFlowGraph,
        at: usize,
        block: Block,
        changes: &[Vec<Version>],
    ) -> bool {
        let place = at * self.regions;
        let own = FIRST + 1 + place as Version;
        let mut joined = vec![0; self.regions];
        for edge in cfg.pred_iter(block) {
            let Some(from) = self.order[edge.block] else { continue };
            let from = from as usize;
            let start = &self.start[from * self.regions..][..self.regions];
            let end = start.iter().zip(&changes[from]);
            for ((joined, (start, change)), own) in joined.iter_mut().zip(end).zip(own..) {
                let version = if *change == 0 { *start } else { *change };
                if *joined == 0 {
                    *joined = version;
                } else if version != 0 && version != *joined {
                    *joined = own;
                }
            }
        }
        let mut changed = false;
        let known = self.start[place..][..self.regions].iter_mut();
        for ((known, joined), own) in known.zip(joined).zip(own..) {
            // A join keeps a version of its own.
            if *known != own && *known != joined {
                *known = joined;
                changed = true;
            }
        }
        changed
    }

    /// The versions at the beginning of `block`. `None` if it cannot be reached.
    pub(super) fn at(&self, block: Block) -> Option<&[Version]> {
        let at = self.order[block]? as usize * self.regions;
        Some(&self.start[at..at + self.regions])
    }
}
