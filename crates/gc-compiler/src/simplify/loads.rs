//! Loads of what was loaded or stored before are removed.
//!
//! Cranelift does this too, but not in loops: where a loop writes to an alias region or makes a call
//! anywhere, its analysis forgets what each block of the loop has loaded when the block ends. So the
//! header of an object would be loaded for each of several casts, and the heap's base in each block.
//!
//! Two loads of one address return the same if the region has the same [version](super::versions) at
//! both, and one of them dominates the other. Between them there is no call, so no value lives longer
//! across a call than before.

use super::versions::{Version, Versions};
use crate::regions;
use crate::safepoints::References;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntityRef, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, AliasRegion, Block, Inst, InstructionData, MemFlags, Opcode, Type, Value, types,
};
use std::collections::{HashMap, HashSet};

/// Removes loads of `func` whose results are known.
pub(super) fn remove_known_loads(func: &mut ir::Function, references: &mut References) {
    let cfg = ControlFlowGraph::with_function(func);
    let tree = DominatorTree::with_function(func, &cfg);
    let Some(versions) = Versions::new(func, &cfg, &tree) else { return };
    super::hoist::hoist(func, &cfg, &tree, &versions);
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
