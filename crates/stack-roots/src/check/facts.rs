//! [`Facts`]: what is known of a function: its blocks, which calls may collect, the slots of stack maps, and the
//! kind of each value.

use super::epochs::Epochs;
use super::kinds::{self, ValueKinds};
use super::types::Language;
use crate::derived;
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    Block, BlockCall, FuncRef, Function, Inst, InstructionData, MemFlagsData, Opcode, SigRef,
    StackSlot, Value,
};
use std::collections::{HashMap, HashSet};

/// A load or store with an explicit size.
#[derive(Clone, Copy, Debug)]
pub struct MemoryAccess {
    /// The address, without the offset.
    pub address: Value,
    /// Bytes.
    pub offset: i32,
    /// Bytes.
    pub size: u32,
    /// The stored value. `None` for a load.
    pub stored: Option<Value>,
    /// The flags.
    pub flags: MemFlagsData,
}

/// A word of a stack slot, and its offset in bytes.
pub(super) type Slot = (StackSlot, u32);

/// A function and what is known of it. The checker of roots makes it, and other checkers may use it too.
pub struct Facts<'a> {
    /// The function.
    pub func: &'a Function,
    /// Its language.
    pub language: &'a dyn Language,
    /// Its control flow.
    pub cfg: ControlFlowGraph,
    /// The reachable blocks, each after its dominators.
    pub rpo: Vec<Block>,
    /// Between which points a collection may happen.
    pub epochs: Epochs,
    tree: DominatorTree,
    pub(super) kinds: SecondaryMap<Value, ValueKinds>,
    /// The slots in stack maps, with their offsets.
    pub(super) root_slots: HashSet<Slot>,
    /// The stack slots that contain them or derived pointers.
    pub(super) root_frames: HashSet<StackSlot>,
    /// The slots of derived pointers, and the slot of each one's base.
    pub(super) derived_slots: HashMap<Slot, Slot>,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("func", &self.func.name).finish_non_exhaustive()
    }
}

impl<'a> Facts<'a> {
    /// Analyzes a function.
    pub fn new(func: &'a Function, language: &'a dyn Language) -> Facts<'a> {
        let cfg = ControlFlowGraph::with_function(func);
        let tree = DominatorTree::with_function(func, &cfg);
        let rpo: Vec<Block> = tree.cfg_rpo().copied().collect();
        let epochs =
            Epochs::new(func, &cfg, &tree, &rpo, &|inst| is_safepoint(func, language, inst));
        let root_slots = root_slots(func);
        let derived_slots: HashMap<Slot, Slot> = derived::slots(func)
            .into_iter()
            .map(|slots| ((slots.derived, 0), (slots.base, 0)))
            .collect();
        let frames = root_slots.iter().chain(derived_slots.keys()).map(|(slot, _)| *slot);
        let mut facts = Facts {
            root_frames: frames.collect(),
            func,
            language,
            cfg,
            rpo,
            epochs,
            tree,
            kinds: SecondaryMap::new(),
            root_slots,
            derived_slots,
        };
        kinds::compute(&mut facts);
        facts
    }

    /// Whether the entry leads to `block`.
    pub fn is_reachable(&self, block: Block) -> bool {
        self.tree.is_reachable(block)
    }

    /// Whether every path to `b` has executed `a` before.
    pub fn dominates(&self, a: Inst, b: Inst) -> bool {
        a != b && self.tree.dominates(a, b, &self.func.layout)
    }

    /// Whether `inst` is a call that may collect and that returns.
    pub fn is_safepoint(&self, inst: Inst) -> bool {
        is_safepoint(self.func, self.language, inst)
    }

    /// The possible destinations of a terminator.
    pub fn destinations(&self, inst: Inst) -> &'a [BlockCall] {
        let dfg = &self.func.dfg;
        dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
    }

    /// What `value` may be.
    pub fn kind(&self, value: Value) -> ValueKinds {
        self.kinds[self.func.dfg.resolve_aliases(value)]
    }

    /// The instruction whose result is `value`.
    pub fn definition(&self, value: Value) -> Option<(Inst, InstructionData)> {
        let dfg = &self.func.dfg;
        let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
        Some((inst, dfg.insts[inst]))
    }

    /// The bits of an integer constant.
    pub fn iconst(&self, value: Value) -> Option<i64> {
        match self.definition(value)?.1 {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// The operands of `value`, if it is the result of this operation.
    pub fn binary(&self, wanted: Opcode, value: Value) -> Option<[Value; 2]> {
        match self.definition(value)?.1 {
            InstructionData::Binary { opcode, args } if opcode == wanted => {
                Some(args.map(|arg| self.func.dfg.resolve_aliases(arg)))
            }
            _ => None,
        }
    }

    /// The operand of `value`, if it is the result of this operation.
    pub fn unary(&self, wanted: Opcode, value: Value) -> Option<Value> {
        match self.definition(value)?.1 {
            InstructionData::Unary { opcode, arg } if opcode == wanted => {
                Some(self.func.dfg.resolve_aliases(arg))
            }
            _ => None,
        }
    }

    /// The number of the alias region of an access.
    pub fn region(&self, inst: Inst) -> Option<u32> {
        let flags = self.func.dfg.insts[inst].memflags_data(&self.func.dfg)?;
        flags.alias_region().map(|region| self.func.dfg.alias_regions[region].user_id)
    }

    /// The memory access of `inst`, if it is a load or store.
    pub fn access(&self, inst: Inst) -> Option<MemoryAccess> {
        let dfg = &self.func.dfg;
        let data = dfg.insts[inst];
        let flags = data.memflags_data(dfg)?;
        let (address, offset, stored, opcode, ty) = match data {
            InstructionData::Load { arg, offset, opcode, .. } => {
                (arg, offset, None, opcode, dfg.value_type(dfg.inst_results(inst)[0]))
            }
            InstructionData::Store { args, offset, opcode, .. } => {
                (args[1], offset, Some(args[0]), opcode, dfg.value_type(args[0]))
            }
            _ => return None,
        };
        let size = match opcode {
            Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => 1,
            Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => 2,
            Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => 4,
            // They widen eight bytes to a vector.
            Opcode::Uload8x8 | Opcode::Sload8x8 => 8,
            Opcode::Uload16x4 | Opcode::Sload16x4 => 8,
            Opcode::Uload32x2 | Opcode::Sload32x2 => 8,
            _ => ty.bytes(),
        };
        let address = dfg.resolve_aliases(address);
        let stored = stored.map(|value| dfg.resolve_aliases(value));
        Some(MemoryAccess { address, offset: offset.into(), size, stored, flags })
    }

    /// The stack slot of an access, and the offset in it.
    pub fn slot(&self, inst: Inst) -> Option<(StackSlot, u32)> {
        let access = self.access(inst)?;
        match self.definition(access.address)?.1 {
            InstructionData::StackAddr { stack_slot, offset, .. } => {
                let offset = i32::from(offset).checked_add(access.offset)?;
                Some((stack_slot, u32::try_from(offset).ok()?))
            }
            _ => None,
        }
    }

    /// Whether an access is to a slot in a stack map, or to one of a derived pointer.
    pub fn is_root_slot_access(&self, inst: Inst) -> bool {
        self.root_slot_kind(inst).is_some()
    }

    /// What the slot of an access holds, if it is in a stack map or is that of a derived pointer.
    pub(super) fn root_slot_kind(&self, inst: Inst) -> Option<ValueKinds> {
        let slot = self.slot(inst)?;
        match self.is_root_slot(slot) {
            true if self.derived_slots.contains_key(&slot) => {
                Some(ValueKinds::WIDE | ValueKinds::DERIVED)
            }
            true => Some(ValueKinds::REF),
            false => None,
        }
    }

    pub(super) fn is_root_slot(&self, slot: Slot) -> bool {
        self.root_slots.contains(&slot) || self.derived_slots.contains_key(&slot)
    }

    /// The slots that a collection in the call `inst` keeps current: those that its stack map names, and those of
    /// derived pointers whose base it names.
    pub(super) fn kept(&self, inst: Inst) -> HashSet<Slot> {
        let entries = self.func.dfg.user_stack_map_entries(inst).unwrap_or_default();
        let mut kept: HashSet<Slot> =
            entries.iter().map(|entry| (entry.slot, entry.offset)).collect();
        let derived = self.derived_slots.iter().filter(|(_, base)| kept.contains(base));
        let derived: Vec<Slot> = derived.map(|(derived, _)| *derived).collect();
        kept.extend(derived);
        kept
    }
}

/// The function that a call names.
pub(super) fn callee(func: &Function, inst: Inst) -> Option<FuncRef> {
    match func.dfg.insts[inst] {
        InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
            Some(func_ref)
        }
        _ => None,
    }
}

/// The signature of a call of any kind.
pub fn signature(func: &Function, inst: Inst) -> Option<SigRef> {
    let dfg = &func.dfg;
    match dfg.insts[inst] {
        InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
            Some(dfg.ext_funcs[func_ref].signature)
        }
        InstructionData::CallIndirect { sig_ref, .. } => Some(sig_ref),
        InstructionData::TryCallIndirect { exception, .. } => {
            Some(dfg.exception_tables[exception].signature())
        }
        _ => None,
    }
}

fn is_safepoint(func: &Function, language: &dyn Language, inst: Inst) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    opcode.is_call() && !opcode.is_return() && language.may_collect(func, inst)
}

/// The slots in stack maps, with offsets in bytes.
fn root_slots(func: &Function) -> HashSet<Slot> {
    let mut slots = HashSet::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for entry in func.dfg.user_stack_map_entries(inst).unwrap_or_default() {
                slots.insert((entry.slot, entry.offset));
            }
        }
    }
    slots
}
