//! Tests that the checkers find errors. Correct functions of every collector are changed in one
//! place at a time, at every place where a kind of change is possible. The reported law is compared
//! with the expected ones.
//!
//! Each change must be found at every place where it is possible, except where it has no bad
//! effect. Each kind of change excludes such places itself.

#[path = "../common/mod.rs"]
mod common;

mod barriers;
mod roots;
mod sandbox;
mod side_tables;
mod vectors;

use common::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    self, Function, Inst, InstBuilder, InstructionData, MemFlagsData, types,
};
use gc_compiler::check::{CheckError, Checker};
use gc_compiler::{ArrayInit, GcCompiler, GcEmitter, RefPlace, regions};
use gc_types::{Abi, ArrayLayout, RootKind, StorageType, StructLayout};

fn pair() -> StructLayout {
    StructLayout::new([StorageType::Ref, StorageType::Ref, StorageType::I64]).unwrap()
}

const REFS_ARRAY: ArrayLayout = ArrayLayout::new(StorageType::Ref);

/// Allocates, reads, writes and casts in a loop, with two references that stay live.
fn program(e: &mut GcEmitter<'_, '_>, a: Args) -> Option<ir::Value> {
    let (head, exit) = (e.builder.create_block(), e.builder.create_block());
    let list = e.builder.append_block_param(head, types::I64);
    let left = e.builder.append_block_param(head, types::I32);
    e.declare_ref(list);
    e.builder.ins().jump(head, &[a.a.into(), a.x.into()]);
    e.builder.switch_to_block(head);
    let cell = e.struct_new(a.word, &pair(), &[list, a.b, a.l]);
    let array = e.array_new(a.word, &REFS_ARRAY, ArrayInit::Elements(&[cell, list]));
    let table = RefPlace::Native { address: a.l, offset: 8, region: SLOTS, kind: RootKind::Table };
    let old = e.read_ref(table);
    e.write_ref(table, array);
    e.struct_set(old, &pair(), 0, cell);
    let element = e.array_get(array, &REFS_ARRAY, a.y, None);
    e.array_set(a.b, &REFS_ARRAY, a.z, element);
    let next = e.builder.ins().iadd_imm_s(left, -1);
    e.builder.ins().brif(next, head, &[cell.into(), next.into()], exit, &[]);
    e.builder.seal_block(head);
    e.continue_in(exit);
    Some(e.struct_get(cell, &pair(), 2, None))
}

/// The function of `program` as it is emitted or, if `simplifies`, as it is compiled.
fn correct(
    program: Op<'_>,
    compiler: &dyn GcCompiler,
    options: &Abi,
    simplifies: bool,
) -> Function {
    let func = build_with(&host_isa(), compiler, options, program, simplifies);
    check(&func, compiler, options, &Checker::ALL)
        .unwrap_or_else(|error| panic!("{error}\n{func}"));
    func
}

fn insts(func: &Function) -> Vec<Inst> {
    func.layout.blocks().flat_map(|block| func.layout.block_insts(block)).collect()
}

fn region(func: &Function, inst: Inst) -> Option<u32> {
    let flags = func.dfg.insts[inst].memflags_data(&func.dfg)?;
    flags.alias_region().map(|region| func.dfg.alias_regions[region].user_id)
}

fn is_store(func: &Function, inst: Inst, wanted: u32) -> bool {
    func.dfg.insts[inst].opcode().can_store() && region(func, inst) == Some(wanted)
}

fn is_spill(func: &Function, inst: Inst) -> bool {
    region(func, inst).is_some_and(|region| region >= regions::STACK_MAP_SPILL)
}

fn set_flags(func: &mut Function, inst: Inst, change: impl Fn(MemFlagsData) -> MemFlagsData) {
    let old = func.dfg.insts[inst].memflags_data(&func.dfg).expect("an access");
    let new = func.dfg.mem_flags.insert(change(old)).expect("few flags");
    match &mut func.dfg.insts[inst] {
        InstructionData::Load { flags, .. } | InstructionData::Store { flags, .. } => *flags = new,
        _ => panic!("neither a load nor a store"),
    }
}

/// A change that plants an error. Makes the change at `inst` if it is possible, and returns whether
/// it was.
type Change = fn(&mut Function, Inst) -> bool;

/// Plants `change` wherever it is possible, in the functions of every collector or of the named
/// collectors. `checker` must find each one, with one of `laws`. Returns the number of planted
/// errors.
fn plant(
    name: &str,
    checker: Checker,
    collectors: &[&str],
    options: &Abi,
    laws: &[&str],
    change: Change,
) -> usize {
    plant_in(&program, name, checker, collectors, options, laws, change)
}

/// As [`plant`], in the functions of `program`.
fn plant_in(
    program: Op<'_>,
    name: &str,
    checker: Checker,
    collectors: &[&str],
    options: &Abi,
    laws: &[&str],
    change: Change,
) -> usize {
    let mut found = 0;
    let both = COLLECTORS.iter().flat_map(|compiler| [(*compiler, false), (*compiler, true)]);
    for (compiler, simplifies) in both {
        if !collectors.is_empty() && !collectors.contains(&compiler.name()) {
            continue;
        }
        let func = correct(program, compiler, options, simplifies);
        for inst in insts(&func) {
            let mut changed = func.clone();
            if !change(&mut changed, inst) {
                continue;
            }
            let at = format!("{name}, {}, at {}", compiler.name(), func.dfg.display_inst(inst));
            match check(&changed, compiler, options, &[checker]) {
                Ok(()) => panic!("{at}: not found\n{changed}"),
                Err(CheckError { law, .. }) => {
                    assert!(laws.contains(&law), "{at}: {law}\n{changed}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 0, "{name}: nowhere");
    found
}

fn remove(func: &mut Function, inst: Inst) {
    func.layout.remove_inst(inst);
}

/// The loads from slots of stack maps.
fn spill_loads(func: &Function) -> Vec<Inst> {
    insts(func)
        .into_iter()
        .filter(|inst| is_spill(func, *inst) && func.dfg.insts[*inst].opcode().can_load())
        .collect()
}

fn host_call(func: &Function, callee: ir::FuncRef) -> gc_types::HostCall {
    let ir::ExternalName::User(name) = func.dfg.ext_funcs[callee].name else {
        panic!("only host calls are called")
    };
    gc_types::HostCall::from_index(func.params.user_named_funcs()[name].index)
}

/// Checks that at least twenty errors of each kind were planted and found.
fn report(found: &[(&str, usize)]) {
    let total: usize = found.iter().map(|(_, found)| found).sum();
    assert!(total >= 20, "{total}: {found:?}");
}

fn slot_of(func: &Function, address: ir::Value) -> (ir::StackSlot, i32) {
    match func.dfg.insts[func.dfg.value_def(address).unwrap_inst()] {
        InstructionData::StackAddr { stack_slot, offset, .. } => (stack_slot, offset.into()),
        _ => panic!("not a slot's address"),
    }
}

fn dominates(func: &Function, a: Inst, b: Inst) -> bool {
    let cfg = cranelift_codegen::flowgraph::ControlFlowGraph::with_function(func);
    let tree = cranelift_codegen::dominator_tree::DominatorTree::with_function(func, &cfg);
    tree.dominates(a, b, &func.layout)
}

/// Replaces all uses of a value. Returns whether there are any.
fn replace(func: &mut Function, from: ir::Value, to: ir::Value) -> bool {
    let mut any = false;
    for inst in insts(func) {
        func.dfg.map_inst_values(inst, |value| {
            any |= value == from;
            if value == from { to } else { value }
        });
    }
    any
}

/// Replaces the call `inst` by a copy without a stack map. Returns the copy and the old map.
fn without_map(func: &mut Function, inst: Inst) -> Option<(Inst, Vec<ir::UserStackMapEntry>)> {
    let entries = func.dfg.user_stack_map_entries(inst)?.to_vec();
    let InstructionData::Call { func_ref, .. } = func.dfg.insts[inst] else { return None };
    let args = func.dfg.inst_args(inst).to_vec();
    let copy = FuncCursor::new(func).at_inst(inst).ins().call(func_ref, &args);
    func.layout.remove_inst(inst);
    Some((copy, entries))
}

/// The load of this word of the heap data.
fn is_word(f: &Function, i: Inst, wanted: u32) -> bool {
    match f.dfg.insts[i] {
        InstructionData::Load { opcode: ir::Opcode::Load, offset, .. } => {
            region(f, i) == Some(regions::HEAP_DATA) && i32::from(offset) == wanted.cast_signed()
        }
        _ => false,
    }
}
