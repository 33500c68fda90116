//! Loads of what was loaded or stored before are removed.
//!
//! Cranelift does this too, but not in loops: where a loop writes to an alias region or makes a call
//! anywhere, its analysis forgets what each block of the loop has loaded when the block ends. So the
//! header of an object would be loaded for each of several casts, and the heap's base in each block.
//!
//! Memory has *versions*: each store makes a new version of its alias region, and each call and each
//! other fence a new version of all regions. Where control joins and the versions differ, the block
//! begins with a version of its own. (This is memory in SSA form: Chow, Chan, Liu, Lo and Streich,
//! "Effective Representation of Aliases and Indirect Memory Operations in SSA Form", 1996.) Two loads
//! of one address return the same if the region has the same version at both, and one of them
//! dominates the other. Between them there is no call, so no value lives longer across a call than
//! before.

use crate::regions;
use crate::safepoints::References;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntityRef, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, AliasRegion, Block, Inst, InstructionData, MemFlags, Opcode, Type, Value, types,
};
use std::collections::{HashMap, HashSet};

/// The largest product of the number of regions and the numbers of blocks, edges and calls. Larger
/// functions stay as they are. (Each round takes a time that is proportional to it.)
const MOST: usize = 1 << 22;
/// The most rounds in which versions are computed. Few functions need more than four.
const ROUNDS: usize = 8;

/// A version of a region. Zero is the version of a block that was not visited yet.
type Version = u32;

/// The version with which a function begins.
const FIRST: Version = 1;

/// Removes loads of `func` whose results are known.
pub(super) fn remove_known_loads(func: &mut ir::Function, references: &mut References) {
    let cfg = ControlFlowGraph::with_function(func);
    let tree = DominatorTree::with_function(func, &cfg);
    let Some(versions) = Versions::new(func, &cfg, &tree) else { return };
    let all = crate::safepoints::all_references(func, references);
    let mut walk = Walk {
        versions,
        references: all,
        numbers: HashMap::new(),
        leaders: SecondaryMap::new(),
        known: HashMap::new(),
        undo: Vec::new(),
        now: Vec::new(),
    };
    if walk.walk(func, &tree) {
        references.resolve_aliases(&func.dfg);
        func.dfg.resolve_all_aliases();
    }
}

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
struct Versions {
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
    fn new(func: &ir::Function, cfg: &ControlFlowGraph, tree: &DominatorTree) -> Option<Versions> {
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
    fn changes(&self, func: &ir::Function, block: Block) -> Vec<Version> {
        let mut changes = vec![0; self.regions];
        for inst in func.layout.block_insts(block) {
            self.apply(func, inst, &mut changes);
        }
        changes
    }

    /// Changes the versions of the regions to those after `inst`.
    fn apply(&self, func: &ir::Function, inst: Inst, versions: &mut [Version]) {
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
    fn at(&self, block: Block) -> Option<&[Version]> {
        let at = self.order[block]? as usize * self.regions;
        Some(&self.start[at..at + self.regions])
    }
}

/// A computation that has no effect and depends on nothing but its operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Computation {
    opcode: Opcode,
    ty: Type,
    args: [Option<Value>; 2],
    immediate: i64,
}

/// A word of memory at one version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    version: Version,
    region: AliasRegion,
    address: Value,
    offset: i32,
    /// How it is loaded.
    opcode: Opcode,
    ty: Type,
}

/// One step of the walk over the dominator tree.
enum Visit {
    Enter(Block),
    /// Forgets what was learned after this number of words.
    Leave(usize),
}

struct Walk {
    versions: Versions,
    /// The values whose upper halves are zero.
    references: HashSet<Value>,
    numbers: HashMap<Computation, Value>,
    /// For a value that is computed again, the first value that is computed so.
    leaders: SecondaryMap<Value, Option<Value>>,
    known: HashMap<Word, Value>,
    /// The words that became known, with what was known of them before.
    undo: Vec<(Word, Option<Value>)>,
    /// The versions at the visited instruction.
    now: Vec<Version>,
}

impl Walk {
    /// Returns whether a load was removed.
    fn walk(&mut self, func: &mut ir::Function, tree: &DominatorTree) -> bool {
        let Some(entry) = func.layout.entry_block() else { return false };
        let mut changed = false;
        let mut stack = vec![Visit::Enter(entry)];
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Enter(block) => {
                    stack.push(Visit::Leave(self.undo.len()));
                    changed |= self.block(func, block);
                    stack.extend(tree.children(block).map(Visit::Enter));
                }
                Visit::Leave(len) => {
                    for (word, before) in self.undo.drain(len..).rev() {
                        match before {
                            Some(value) => self.known.insert(word, value),
                            None => self.known.remove(&word),
                        };
                    }
                }
            }
        }
        changed
    }

    fn block(&mut self, func: &mut ir::Function, block: Block) -> bool {
        let Some(start) = self.versions.at(block) else { return false };
        self.now.clear();
        self.now.extend_from_slice(start);
        let mut changed = false;
        let mut next = func.layout.first_inst(block);
        while let Some(inst) = next {
            next = func.layout.next_inst(inst);
            if let InstructionData::Load { opcode, arg, flags, offset } = func.dfg.insts[inst] {
                let result = func.dfg.first_result(inst);
                let ty = func.dfg.value_type(result);
                let Some(word) = self.word(func, opcode, ty, arg, flags, offset.into()) else {
                    continue;
                };
                // Barriers load what they overwrite, and do not mark it. The checkers must see this.
                let is_barrier = opcode == Opcode::Uload32 && !self.references.contains(&result);
                match self.known.get(&word) {
                    Some(_) if is_barrier => {}
                    Some(&value) => {
                        func.dfg.clear_results(inst);
                        func.dfg.change_to_alias(result, value);
                        func.layout.remove_inst(inst);
                        changed = true;
                    }
                    None if !is_barrier => self.learn(word, result),
                    None => {}
                }
                continue;
            }
            self.versions.apply(func, inst, &mut self.now);
            match func.dfg.insts[inst] {
                InstructionData::Store { opcode, args: [data, address], flags, offset } => {
                    let data = func.dfg.resolve_aliases(data);
                    let loaded = match opcode {
                        Opcode::Store => Some((Opcode::Load, func.dfg.value_type(data))),
                        Opcode::Istore32 if self.references.contains(&data) => {
                            Some((Opcode::Uload32, types::I64))
                        }
                        _ => None,
                    };
                    if let Some((opcode, ty)) = loaded
                        && let Some(word) =
                            self.word(func, opcode, ty, address, flags, offset.into())
                    {
                        self.learn(word, data);
                    }
                }
                _ => self.number(func, inst),
            }
        }
        changed
    }

    /// The word that is accessed. `None` if nothing is known of such accesses.
    fn word(
        &self,
        func: &ir::Function,
        opcode: Opcode,
        ty: Type,
        address: Value,
        flags: MemFlags,
        offset: i32,
    ) -> Option<Word> {
        let flags = func.dfg.mem_flags[flags];
        let region = flags.alias_region()?;
        // The host and other threads write these at any time.
        let changes = [regions::POLL_PAGE, regions::EPOCHS];
        if changes.contains(&func.dfg.alias_regions[region].user_id)
            || flags.explicit_endianness().is_some()
        {
            return None;
        }
        let address = self.leader(func, address);
        Some(Word { version: self.now[region.index()], region, address, offset, opcode, ty })
    }

    fn learn(&mut self, word: Word, value: Value) {
        let before = self.known.insert(word, value);
        self.undo.push((word, before));
    }

    /// The first value that is computed as `value` is.
    fn leader(&self, func: &ir::Function, value: Value) -> Value {
        let value = func.dfg.resolve_aliases(value);
        self.leaders[value].unwrap_or(value)
    }

    /// Finds the leader of what `inst` computes.
    fn number(&mut self, func: &ir::Function, inst: Inst) {
        let data = func.dfg.insts[inst];
        let (args, immediate) = match data {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => ([None; 2], imm.bits()),
            InstructionData::Unary {
                opcode: Opcode::Uextend | Opcode::Sextend | Opcode::Ireduce,
                arg,
            } => ([Some(self.leader(func, arg)), None], 0),
            InstructionData::Binary {
                opcode:
                    Opcode::Iadd
                    | Opcode::Isub
                    | Opcode::Ishl
                    | Opcode::Ushr
                    | Opcode::Band
                    | Opcode::Bor,
                args,
            } => (args.map(|arg| Some(self.leader(func, arg))), 0),
            _ => return,
        };
        let result = func.dfg.first_result(inst);
        let ty = func.dfg.value_type(result);
        let computation = Computation { opcode: data.opcode(), ty, args, immediate };
        let leader = *self.numbers.entry(computation).or_insert(result);
        if leader != result {
            self.leaders[result] = Some(leader);
        }
    }
}
