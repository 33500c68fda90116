//! Errors in the places of references at calls that may collect.

use super::*;
use cranelift_codegen::ir::Opcode;

const STALE: &str = "a reference is used after a call that may have moved its object";
const STALE_ADDRESS: &str =
    "a value that was computed from a reference is used after a call that may collect";
const BAD_MAP: &str = "a stack map names a slot that may not hold a current reference";
const BAD_RELOAD: &str = "a reference is reloaded from a slot that may not hold a current one";
const NO_REF: &str = "a value that is not a reference is stored in a slot of a stack map";
const NO_MAP: &str = "a reference is stored in a slot that is in no stack map";
const PART: &str = "a slot of a stack map is not accessed as a whole";
const ESCAPES: &str = "the address of a slot of a stack map escapes";
const NOT_PASSED: &str = "a value that is not a reference is passed as one";

/// A slot that no map names any more is not known to hold a reference.
const LOST: &[&str] = &[BAD_MAP, BAD_RELOAD, NO_REF, NOT_PASSED];

#[test]
fn errors_in_roots_are_found() {
    let options = guarded();
    let plant =
        |name, laws: &[&str], change| plant(name, Checker::Roots, &[], &options, laws, change);
    let mut found = Vec::new();
    found.push((
        "a store to a slot is left out",
        plant("store", LOST, |f, i| {
            is_spill(f, i) && f.dfg.insts[i].opcode().can_store() && {
                remove(f, i);
                true
            }
        }),
    ));
    found.push(("a map is left out", plant("map", LOST, |f, i| without_map(f, i).is_some())));
    found.push((
        "an entry is left out",
        plant("entry", LOST, |f, i| {
            let Some((i, mut entries)) = without_map(f, i) else { return false };
            entries.pop();
            for entry in entries {
                f.dfg.append_user_stack_map_entry(i, entry);
            }
            true
        }),
    ));
    found.push((
        "the first entry is left out",
        plant("first", LOST, |f, i| {
            let Some((i, mut entries)) = without_map(f, i) else { return false };
            entries.remove(0);
            for entry in entries {
                f.dfg.append_user_stack_map_entry(i, entry);
            }
            true
        }),
    ));
    found.push((
        "a map names another slot",
        plant("slot", LOST, |f, i| {
            let Some((i, entries)) = without_map(f, i) else { return false };
            let other = f.create_sized_stack_slot(ir::StackSlotData::new(
                ir::StackSlotKind::ExplicitSlot,
                64,
                3,
            ));
            for entry in entries {
                let slot = other;
                f.dfg.append_user_stack_map_entry(i, ir::UserStackMapEntry { slot, ..entry });
            }
            true
        }),
    ));
    found.push((
        "a map is shifted",
        plant(
            "shift",
            &[BAD_MAP, BAD_RELOAD, "a stack map entry outside its slot", PART],
            |f, i| {
                let Some((i, entries)) = without_map(f, i) else { return false };
                for entry in entries {
                    let offset = entry.offset + 8;
                    f.dfg.append_user_stack_map_entry(i, ir::UserStackMapEntry { offset, ..entry });
                }
                true
            },
        ),
    ));
    found.push((
        "an entry of 32 bits",
        plant("narrow", &["a stack map entry that is not as wide as a reference"], |f, i| {
            let Some((i, entries)) = without_map(f, i) else { return false };
            for entry in entries {
                let ty = types::I32;
                f.dfg.append_user_stack_map_entry(i, ir::UserStackMapEntry { ty, ..entry });
            }
            true
        }),
    ));
    found.push((
        "an entry twice",
        plant("twice", &["stack map entries that overlap"], |f, i| {
            let Some(entries) = f.dfg.user_stack_map_entries(i) else { return false };
            let entry = entries[0].clone();
            f.dfg.append_user_stack_map_entry(i, entry);
            true
        }),
    ));
    found.push((
        "an entry a half further",
        plant(
            "half",
            &["stack map entries that overlap", "a stack map entry outside its slot", PART],
            |f, i| {
                let Some(entries) = f.dfg.user_stack_map_entries(i) else { return false };
                let entry = entries[0].clone();
                let offset = entry.offset + 4;
                f.dfg.append_user_stack_map_entry(i, ir::UserStackMapEntry { offset, ..entry });
                true
            },
        ),
    ));
    found.push((
        "a stale copy is stored",
        plant("stale store", &[STALE, NO_REF], |f, i| {
            // The vmctx, or a value that the previous call made stale.
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_store()) {
                return false;
            }
            let vmctx = f.dfg.block_params(f.layout.entry_block().unwrap())[0];
            f.dfg.inst_args_mut(i)[0] = vmctx;
            true
        }),
    ));
    found.push((
        "an integer is stored in a slot",
        plant("integer", &[NO_REF], |f, i| {
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_store()) {
                return false;
            }
            let value = f.dfg.inst_args(i)[0];
            let sum = FuncCursor::new(f).at_inst(i).ins().imul(value, value);
            f.dfg.inst_args_mut(i)[0] = sum;
            true
        }),
    ));
    found.push((
        "half a reference is stored",
        plant("half store", &[PART, BAD_MAP], |f, i| {
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_store()) {
                return false;
            }
            let value = f.dfg.inst_args(i)[0];
            let half = FuncCursor::new(f).at_inst(i).ins().ireduce(types::I32, value);
            f.dfg.inst_args_mut(i)[0] = half;
            true
        }),
    ));
    found.push((
        "a store goes elsewhere",
        plant("elsewhere", &[BAD_MAP, BAD_RELOAD, PART, NO_MAP], |f, i| {
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_store()) {
                return false;
            }
            let InstructionData::Store { offset, .. } = &mut f.dfg.insts[i] else { return false };
            *offset = 4.into();
            true
        }),
    ));
    found.push((
        "a slot's address escapes",
        plant("escape", &[ESCAPES], |f, i| {
            if !is_spill(f, i) {
                return false;
            }
            let address = *f.dfg.inst_args(i).last().unwrap();
            FuncCursor::new(f).at_inst(i).ins().iadd(address, address);
            true
        }),
    ));
    // Uses a value from before the call instead of the reloaded one.
    found.push((
        "a stale copy is used",
        plant("stale use", &[STALE], |f, i| {
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_store()) {
                return false;
            }
            let (stale, slot) = (f.dfg.inst_args(i)[0], f.dfg.inst_args(i)[1]);
            let (_, place) = slot_of(f, slot);
            let Some(reload) = spill_loads(f).into_iter().find(|load| {
                slot_of(f, f.dfg.inst_args(*load)[0]).1 == place && dominates(f, i, *load)
            }) else {
                return false;
            };
            let result = f.dfg.first_result(reload);
            replace(f, result, stale)
        }),
    ));
    found.push((
        "a reload moves before its call",
        plant("moved", &[BAD_RELOAD, STALE], |f, i| {
            if !(is_spill(f, i) && f.dfg.insts[i].opcode().can_load()) {
                return false;
            }
            let block = f.layout.inst_block(i).unwrap();
            let Some(call) = f
                .layout
                .block_insts(block)
                .take_while(|inst| *inst != i)
                .filter(|inst| f.dfg.user_stack_map_entries(*inst).is_some())
                .last()
            else {
                return false;
            };
            let address = f.dfg.value_def(f.dfg.inst_args(i)[0]).unwrap_inst();
            f.layout.remove_inst(address);
            f.layout.remove_inst(i);
            f.layout.insert_inst(address, call);
            f.layout.insert_inst(i, call);
            true
        }),
    ));
    found.push((
        "a loaded reference is not spilled",
        plant("unmarked", &[STALE], |f, i| {
            // Loads the reference from its field before the call and keeps it, as if it had not
            // been marked.
            if region(f, i) != Some(REFS) || !f.dfg.insts[i].opcode().can_load() {
                return false;
            }
            let last = insts(f).into_iter().rev().find(|inst| is_store(f, *inst, REFS)).unwrap();
            let value = f.dfg.first_result(i);
            f.dfg.inst_args_mut(last)[0] = value;
            true
        }),
    ));
    found.push((
        "an address is kept over a call",
        plant("derived", &[STALE_ADDRESS], |f, i| {
            if region(f, i) != Some(REFS) || !f.dfg.insts[i].opcode().can_load() {
                return false;
            }
            let value = f.dfg.first_result(i);
            let next = f.layout.next_inst(i).unwrap();
            let sum = FuncCursor::new(f).at_inst(next).ins().iadd(value, value);
            let end = f.layout.last_inst(f.layout.last_block().unwrap()).unwrap();
            let end = insts(f)
                .into_iter()
                .rev()
                .find(|inst| f.dfg.insts[*inst].opcode() == Opcode::Return)
                .unwrap_or(end);
            FuncCursor::new(f).at_inst(end).ins().iadd(sum, sum);
            true
        }),
    ));
    found.push((
        "an integer is passed as a reference",
        plant("passed", &[NOT_PASSED], |f, i| {
            let InstructionData::Call { func_ref, .. } = f.dfg.insts[i] else { return false };
            let collector = gc_types::HostCall::COLLECTOR;
            if host_call(f, func_ref) != collector {
                return false;
            }
            let value = f.dfg.inst_args(i)[2];
            let sum = FuncCursor::new(f).at_inst(i).ins().iadd(value, value);
            f.dfg.inst_args_mut(i)[2] = sum;
            true
        }),
    ));
    report(&found);
}
