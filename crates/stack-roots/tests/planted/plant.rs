//! Changes of functions, and what the tests know of functions without the checker.

use crate::code::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, Block, BlockArg, Function, Inst, InstBuilder, InstructionData, MemFlagsData, Opcode,
    StackSlot, Type, UserStackMapEntry, Value, ValueDef, types,
};
use stack_roots::check::{SignatureTypes, ValueType};
use std::collections::HashSet;

pub(crate) const STALE: &str = "a reference is used after a call that may have moved its object";
pub(crate) const STALE_ADDRESS: &str =
    "a value that was computed from a reference is used after a call that may collect";
pub(crate) const BAD_MAP: &str = "a stack map names a slot that may not hold a current reference";
pub(crate) const BAD_RELOAD: &str =
    "a reference is reloaded from a slot that may not hold a current one";
pub(crate) const NO_REF: &str =
    "a value that is not a reference is stored in a slot of a stack map";
pub(crate) const NO_DERIVED: &str =
    "a value that was not computed from a reference is stored as a derived pointer";
pub(crate) const NO_MAP: &str = "a reference is stored in a slot that is in no stack map";
pub(crate) const PART: &str = "a slot of a stack map is not accessed as a whole";
pub(crate) const BAD_ACCESS: &str = "an access outside a slot of a stack map";
pub(crate) const ESCAPES: &str = "the address of a slot of a stack map escapes";
pub(crate) const NOT_PASSED: &str = "a value that is not a reference is passed as one";
pub(crate) const PASSED: &str = "a reference is passed as a value that is not a reference";
pub(crate) const OVERLAP: &str = "stack map entries that overlap";
pub(crate) const OUTSIDE: &str = "a stack map entry outside its slot";
pub(crate) const TAIL: &str = "a tail call of a function that returns other results";
pub(crate) const NUMBER: &str = "a signature that has another number of values than of types";
pub(crate) const UNDECLARED: &str = "a call whose types are not declared";

/// What is found if a map does not name a slot: it is not current later, or it is in no map at all.
pub(crate) const LOST: &[&str] = &[BAD_MAP, BAD_RELOAD, NO_MAP, NO_REF];

/// A kind of faults.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The laws of which the checker may report one.
    pub(crate) laws: &'static [&'static str],
    /// Plants the fault at each place where it is possible, and returns the changed programs.
    pub(crate) plant: fn(&Program, &Case) -> Vec<Case>,
    /// Whether Cranelift's verifier accepts the changed programs.
    pub(crate) valid: bool,
}

impl Kind {
    pub(crate) const fn new(
        name: &'static str,
        laws: &'static [&'static str],
        plant: fn(&Program, &Case) -> Vec<Case>,
    ) -> Kind {
        Kind { name, laws, plant, valid: true }
    }
}

/// The places of one kind at an instruction, for example entries of a map or arguments.
const PLACES: usize = 8;

/// Makes a change at each instruction and place where it is possible.
pub(crate) fn everywhere(
    case: &Case,
    change: impl Fn(&mut Case, Inst, usize) -> bool,
) -> Vec<Case> {
    let mut planted = Vec::new();
    for inst in insts(&case.func) {
        for place in 0..PLACES {
            let mut changed = case.clone();
            if change(&mut changed, inst, place) {
                planted.push(changed);
            }
        }
    }
    planted
}

pub(crate) fn insts(func: &Function) -> Vec<Inst> {
    func.layout.blocks().flat_map(|block| func.layout.block_insts(block)).collect()
}

pub(crate) fn opcode(func: &Function, inst: Inst) -> Opcode {
    func.dfg.insts[inst].opcode()
}

pub(crate) fn entries(func: &Function, call: Inst) -> Vec<UserStackMapEntry> {
    let entries = func.dfg.user_stack_map_entries(call).unwrap_or_default().to_vec();
    assert!(entries.len() <= PLACES);
    entries
}

/// Replaces a call by a copy with this map.
pub(crate) fn with_map(func: &mut Function, call: Inst, entries: &[UserStackMapEntry]) {
    let copy = func.dfg.clone_inst(call);
    func.layout.insert_inst(copy, call);
    func.dfg.replace_with_aliases(call, copy);
    func.layout.remove_inst(call);
    let tags: Vec<ir::DebugTag> = func.debug_tags.get(call).to_vec();
    func.debug_tags.set(copy, tags);
    func.dfg.append_user_stack_map_entries(copy, entries.iter().cloned());
}

/// Adds a changed copy of each entry of a map of a call that may collect.
pub(crate) fn add_entries(
    case: &Case,
    change: impl Fn(&mut Function, &mut UserStackMapEntry),
) -> Vec<Case> {
    everywhere(case, |case, call, place| {
        let entry = entries(&case.func, call).get(place).cloned();
        let (Some(mut entry), true) = (entry, collects(case, call)) else { return false };
        change(&mut case.func, &mut entry);
        case.func.dfg.append_user_stack_map_entry(call, entry);
        true
    })
}

/// Changes one entry of a map of a call that may collect.
pub(crate) fn at_entries(
    case: &Case,
    change: impl Fn(&mut Function, &mut UserStackMapEntry),
) -> Vec<Case> {
    everywhere(case, |case, call, place| {
        let mut entries = entries(&case.func, call);
        let (Some(entry), true) = (entries.get_mut(place), collects(case, call)) else {
            return false;
        };
        change(&mut case.func, entry);
        with_map(&mut case.func, call, &entries);
        true
    })
}

pub(crate) fn new_slot(func: &mut Function, bytes: u32) -> StackSlot {
    func.create_sized_stack_slot(ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, bytes, 3))
}

/// A load or a store of a slot in a stack map, or of a derived pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spill {
    pub(crate) inst: Inst,
    pub(crate) slot: StackSlot,
    pub(crate) is_derived: bool,
    /// The stored value.
    pub(crate) stored: Option<Value>,
}

pub(crate) fn is_derived(func: &Function, slot: StackSlot) -> bool {
    func.sized_stack_slots[slot].key.is_some_and(|key| key.bits() & 1 != 0)
}

/// The slots that a map names.
pub(crate) fn root_slots(func: &Function) -> Vec<StackSlot> {
    let mut slots: Vec<StackSlot> = insts(func)
        .into_iter()
        .flat_map(|inst| entries(func, inst).into_iter().map(|entry| entry.slot))
        .collect();
    slots.sort();
    slots.dedup();
    slots
}

pub(crate) fn spill(func: &Function, inst: Inst) -> Option<Spill> {
    let (address, stored) = match func.dfg.insts[inst] {
        InstructionData::Load { arg, .. } => (arg, None),
        InstructionData::Store { args, .. } => (args[1], Some(args[0])),
        _ => return None,
    };
    let address = func.dfg.value_def(func.dfg.resolve_aliases(address)).inst()?;
    let InstructionData::StackAddr { stack_slot: slot, .. } = func.dfg.insts[address] else {
        return None;
    };
    let is_derived = is_derived(func, slot);
    let stored = stored.map(|value| func.dfg.resolve_aliases(value));
    (is_derived || root_slots(func).contains(&slot)).then_some(Spill {
        inst,
        slot,
        is_derived,
        stored,
    })
}

pub(crate) fn spills(func: &Function) -> Vec<Spill> {
    insts(func).into_iter().filter_map(|inst| spill(func, inst)).collect()
}

/// The types of a call of any kind.
pub(crate) fn call_types(case: &Case, call: Inst) -> Option<SignatureTypes> {
    let signature = case.func.dfg.call_signature(call)?;
    let (_, types) = case.said.signatures.iter().find(|(of, _)| *of == signature)?;
    Some(types.clone())
}

/// The types of the values that leave the function in a call or a return, and the number of the first of
/// these arguments.
pub(crate) fn leaving(case: &Case, inst: Inst) -> (usize, Vec<ValueType>) {
    if opcode(&case.func, inst) == Opcode::Return {
        return (0, case.said.own.results.clone());
    }
    let params = call_types(case, inst).map(|types| types.params).unwrap_or_default();
    (case.func.dfg.inst_args(inst).len().saturating_sub(params.len()), params)
}

/// Whether a collection may happen in `inst`.
pub(crate) fn collects(case: &Case, inst: Inst) -> bool {
    let opcode = opcode(&case.func, inst);
    let quiet = match case.func.dfg.insts[inst] {
        InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
            case.said.quiet.contains(&func_ref)
        }
        _ => false,
    };
    opcode.is_call() && !opcode.is_return() && !quiet
}

pub(crate) fn destinations(func: &Function, inst: Inst) -> &[ir::BlockCall] {
    let dfg = &func.dfg;
    dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
}

fn next(func: &Function, inst: Inst) -> Vec<Inst> {
    let pool = &func.dfg.value_lists;
    let blocks = destinations(func, inst).iter().map(|call| call.block(pool));
    let firsts = blocks.filter_map(|block| func.layout.first_inst(block));
    func.layout.next_inst(inst).into_iter().chain(firsts).collect()
}

/// Whether a path leads from the definition of `value` to `at`, with a collection on it. If the value is
/// `passed` on an edge of `at`, a collection in `at` counts as well.
///
/// It follows all paths, and does not use the epochs of the checker.
pub(crate) fn is_stale(case: &Case, value: Value, at: Inst, passed: bool) -> bool {
    let func = &case.func;
    let value = func.dfg.resolve_aliases(value);
    let (starts, definition) = match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => (next(func, inst), Some(inst)),
        ValueDef::Param(block, _) => {
            let first = func.layout.first_inst(block);
            (first.into_iter().collect(), first)
        }
        ValueDef::Union(..) => unreachable!("there are no unions before optimizations"),
    };
    let mut work: Vec<(Inst, bool)> = starts.into_iter().map(|inst| (inst, false)).collect();
    let mut seen = HashSet::new();
    while let Some((inst, collected)) = work.pop() {
        if !seen.insert((inst, collected)) {
            continue;
        }
        let after = collected || collects(case, inst);
        if inst == at && (collected || passed && after) {
            return true;
        }
        // The value is defined anew after its definition.
        work.extend(
            next(func, inst)
                .into_iter()
                .filter(|next| Some(*next) != definition)
                .map(|i| (i, after)),
        );
    }
    false
}

fn tree(func: &Function) -> DominatorTree {
    DominatorTree::with_function(func, &ControlFlowGraph::with_function(func))
}

/// Whether every path to `at` has executed `inst` before.
pub(crate) fn dominates(func: &Function, inst: Inst, at: Inst) -> bool {
    inst != at && tree(func).dominates(inst, at, &func.layout)
}

/// Whether `value` is defined at `at`.
pub(crate) fn is_defined(func: &Function, value: Value, at: Inst) -> bool {
    match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => dominates(func, inst, at),
        ValueDef::Param(block, _) => {
            tree(func).block_dominates(block, func.layout.inst_block(at).unwrap())
        }
        ValueDef::Union(..) => false,
    }
}

/// The blocks that are reached only through handlers of exceptions.
pub(crate) fn handlers(func: &Function) -> Vec<Block> {
    let tree = tree(func);
    let mut handlers = Vec::new();
    for inst in insts(func) {
        let Some(table) = func.dfg.insts[inst].exception_table() else { continue };
        for item in func.dfg.exception_tables[table].items() {
            if let ir::ExceptionTableItem::Tag(_, call) = item {
                handlers.push(call.block(&func.dfg.value_lists));
            }
        }
    }
    func.layout
        .blocks()
        .filter(|block| handlers.iter().any(|handler| tree.block_dominates(*handler, *block)))
        .collect()
}

/// The values that an instruction uses: its arguments, and then those that it passes to blocks. Whether each
/// is passed to a block.
pub(crate) fn uses(func: &Function, inst: Inst) -> Vec<(Value, bool)> {
    let args = func.dfg.inst_args(inst).iter().map(|arg| (*arg, false));
    let passed = destinations(func, inst).iter().flat_map(|call| call.args(&func.dfg.value_lists));
    let passed = passed.filter_map(|arg| arg.as_value()).map(|arg| (arg, true));
    args.chain(passed).map(|(value, passed)| (func.dfg.resolve_aliases(value), passed)).collect()
}

/// Replaces one of the values that an instruction uses.
pub(crate) fn set_use(func: &mut Function, inst: Inst, number: usize, new: Value) {
    let mut at = 0;
    func.dfg.map_inst_values(inst, |value| {
        at += 1;
        if at - 1 == number { new } else { value }
    });
}

/// Whether a reference is required: the value is stored in a slot of a map, passed or returned as a
/// reference, or becomes such a value.
pub(crate) fn is_required(case: &Case, value: Value) -> bool {
    let func = &case.func;
    let mut work = vec![func.dfg.resolve_aliases(value)];
    let mut seen = HashSet::new();
    while let Some(value) = work.pop() {
        if !seen.insert(value) {
            continue;
        }
        for inst in insts(func) {
            let (first, types) = leaving(case, inst);
            for (n, arg) in func.dfg.inst_args(inst).iter().enumerate() {
                if func.dfg.resolve_aliases(*arg) != value {
                    continue;
                }
                let is_ref = |n: usize| types.get(n) == Some(&ValueType::Ref);
                let stored = spill(func, inst).is_some_and(|s| s.stored == Some(value));
                if stored || n >= first && is_ref(n - first) {
                    return true;
                }
                if opcode(func, inst) == Opcode::Select && n > 0 {
                    work.push(func.dfg.first_result(inst));
                }
            }
            for call in destinations(func, inst) {
                let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
                for (arg, param) in call.args(&func.dfg.value_lists).zip(params) {
                    if arg.as_value().map(|arg| func.dfg.resolve_aliases(arg)) == Some(value) {
                        work.push(*param);
                    }
                }
            }
        }
    }
    false
}

/// The values that calls with this argument on their edges give to blocks.
pub(crate) fn edge_values(func: &Function, call: Inst, wanted: BlockArg) -> Vec<Value> {
    let mut values = Vec::new();
    for to in destinations(func, call) {
        let params = func.dfg.block_params(to.block(&func.dfg.value_lists));
        let args = to.args(&func.dfg.value_lists).zip(params);
        values.extend(args.filter(|(arg, _)| *arg == wanted).map(|(_, param)| *param));
    }
    values
}

/// Half of a reference.
pub(crate) fn half(case: &Case) -> Type {
    case.said.reference.half_width().unwrap()
}

/// Loads from a slot before `at`.
pub(crate) fn load_slot(func: &mut Function, at: Inst, slot: StackSlot, ty: Type) -> Value {
    let mut at = FuncCursor::new(func).at_inst(at);
    let address = at.ins().stack_addr(types::I64, slot, 0);
    at.ins().load(ty, MemFlagsData::trusted(), address, 0)
}

/// An integer before `at`. It is even, so it is no tagged integer.
pub(crate) fn integer(case: &mut Case, at: Inst) -> Value {
    let ty = case.said.reference;
    FuncCursor::new(&mut case.func).at_inst(at).ins().iconst(ty, 42)
}
