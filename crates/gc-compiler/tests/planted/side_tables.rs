//! Errors in accesses to a collector's native tables.

use super::sandbox::{set_offset, with_address};
use super::*;
use cranelift_codegen::ir::Opcode;
use gc_types::collector::{bump, drc, generational};

const SHIFT: &str = "the place in a side table is not shifted as the ABI says";
const NOT_ACCESSED: &str = "a side table is indexed by a place that was not accessed";
const NOT_FRESH: &str = "a side table is indexed by an object that is not allocated here";
const MASK: &str = "the number of an entry of a side table is not masked as the ABI says";
const SWITCH: &str = "a side table is accessed without a test of its switch";
const NO_ENTRY: &str = "a place in a list that is no number of an entry";
const NO_ROOM: &str = "a list is accessed without a comparison with its capacity";
const MOVED: &str = "a side table is accessed after a call that may move it";
const BEYOND: &str = "an access beyond an entry of a side table";
const NO_PLACE: &str = "a side table is accessed without a place";
const ESCAPES: &str = "the address of a side table is not only accessed";
const OWNED: &str = "a store to a word that belongs to a side table";
const VARIABLE: &str = "a place in the heap data that is not constant";
const NO_TABLE: &str = "an address in the heap data that is no side table's";

/// Whether `i` accesses a table.
fn is_table(f: &Function, i: Inst) -> bool {
    f.dfg.insts[i].memflags_data(&f.dfg).is_some()
        && matches!(region(f, i), Some(regions::CARDS | regions::SIDE_TABLE))
}

/// The address of the table, and the place in it.
fn parts(f: &Function, i: Inst) -> [ir::Value; 2] {
    let address = *f.dfg.inst_args(i).last().unwrap();
    let args = f.dfg.inst_args(f.dfg.value_def(address).unwrap_inst());
    [args[0], args[1]]
}

/// The operands of `value`, if it is the result of this operation.
fn operands(f: &Function, opcode: Opcode, value: ir::Value) -> Option<[ir::Value; 2]> {
    let inst = f.dfg.value_def(value).inst()?;
    let args = f.dfg.inst_args(inst);
    (f.dfg.insts[inst].opcode() == opcode).then(|| [args[0], args[1]])
}

/// Gives the access another place, made from the operand of the old one and its constant, if the old one
/// is the result of `opcode`.
fn with_place(
    f: &mut Function,
    i: Inst,
    opcode: Opcode,
    place: impl FnOnce(&mut FuncCursor<'_>, ir::Value, ir::Value) -> ir::Value,
) -> bool {
    if !is_table(f, i) {
        return false;
    }
    let [table, old] = parts(f, i);
    let Some([from, by]) = operands(f, opcode, old) else { return false };
    with_address(f, i, |c, _| {
        let place = place(c, from, by);
        c.ins().iadd(table, place)
    })
}

#[test]
fn errors_in_places_of_side_tables_are_found() {
    let options = guarded();
    let plant = |name, collectors: &[&str], laws: &[&str], change| {
        (name, plant(name, Checker::Sandbox, collectors, &options, laws, change))
    };
    let both = &["drc", "generational"][..];
    let found = [
        plant("another shift", both, &[SHIFT], |f, i| {
            with_place(f, i, Opcode::Ushr, |c, from, _| c.ins().ushr_imm_u(from, 4))
        }),
        plant("no shift", both, &[SHIFT], |f, i| with_place(f, i, Opcode::Ushr, |_, from, _| from)),
        plant("a place that was not accessed", both, &[NOT_ACCESSED, NOT_FRESH], |f, i| {
            with_place(f, i, Opcode::Ushr, |c, from, by| {
                let other = c.ins().band_imm_u(from, 0xffff_ff00);
                c.ins().ushr(other, by)
            })
        }),
        plant("another mask", &["generational"], &[MASK], |f, i| {
            with_place(f, i, Opcode::Band, |c, from, _| c.ins().band_imm_u(from, 0x1fff))
        }),
        plant("no mask of the log", &["generational"], &[MASK], |f, i| {
            with_place(f, i, Opcode::Ishl, |c, from, by| {
                let Some([from, _]) = operands(c.func, Opcode::Band, from) else { return from };
                c.ins().ishl(from, by)
            })
        }),
        plant("entries of another size", both, &[MASK, NO_ENTRY], |f, i| {
            with_place(f, i, Opcode::Ishl, |c, from, _| c.ins().ishl_imm_u(from, 4))
        }),
        plant("after an entry", both, &[BEYOND], |f, i| {
            is_table(f, i) && set_offset(f, i, |offset| offset + 5)
        }),
        plant("no place", both, &[NO_PLACE], |f, i| {
            is_table(f, i) && {
                let [table, _] = parts(f, i);
                with_address(f, i, |_, _| table)
            }
        }),
    ];
    report(&found);
}

#[test]
fn errors_around_side_tables_are_found() {
    let options = guarded();
    let plant = |name, collectors: &[&str], laws: &[&str], change| {
        (name, plant(name, Checker::Sandbox, collectors, &options, laws, change))
    };
    let both = &["drc", "generational"][..];
    let found = [
        plant("no test of the switch", &["generational"], &[SWITCH], |f, i| {
            is_word(f, i, generational::MARKING) && set_offset(f, i, |offset| offset + 4)
        }),
        plant("no comparison with the capacity", &["drc"], &[NO_ROOM], |f, i| {
            is_word(f, i, drc::LIST_CAPACITY) && set_offset(f, i, |offset| offset - 4)
        }),
        plant("a call before the access", &["drc"], &[MOVED], |f, i| {
            if !is_store(f, i, regions::SIDE_TABLE) {
                return false;
            }
            // The call that lets the host append.
            let is_call = |other: &Inst| match f.dfg.insts[*other] {
                InstructionData::Call { .. } => f.dfg.inst_args(*other).len() == 4,
                _ => false,
            };
            let Some(call) = insts(f).into_iter().find(is_call) else { return false };
            let InstructionData::Call { func_ref, .. } = f.dfg.insts[call] else { unreachable!() };
            let vmctx = f.dfg.inst_args(call)[0];
            let mut c = FuncCursor::new(f).at_inst(i);
            let (operation, zero) = (c.ins().iconst(types::I32, 0), c.ins().iconst(types::I64, 0));
            c.ins().call(func_ref, &[vmctx, operation, zero, zero]);
            true
        }),
        plant("a note about an object of the host", &["drc"], &[NOT_FRESH], |f, i| {
            let is_result = region(f, i) == Some(regions::HOST_RESULT);
            if !is_result || !f.dfg.insts[i].opcode().can_load() {
                return false;
            }
            let is_note = |other: &Inst| {
                is_store(f, *other, regions::SIDE_TABLE)
                    && operands(f, Opcode::Ushr, parts(f, *other)[1]).is_some()
            };
            let note = insts(f).into_iter().find(is_note).unwrap();
            let load = |value: ir::Value| {
                let inst = f.dfg.value_def(value).unwrap_inst();
                let InstructionData::Load { flags, arg, offset, .. } = f.dfg.insts[inst] else {
                    unreachable!()
                };
                (f.dfg.mem_flags[flags], arg, offset)
            };
            let (table_flags, data, table_at) = load(parts(f, note)[0]);
            let (data_flags, vmctx, data_at) = load(data);
            let note_flags = f.dfg.insts[note].memflags_data(&f.dfg).unwrap();
            let object = f.dfg.first_result(i);
            let mut c = FuncCursor::new(f).after_inst(i);
            let data = c.ins().load(types::I64, data_flags, vmctx, data_at);
            let table = c.ins().load(types::I64, table_flags, data, table_at);
            let place = c.ins().ushr_imm_u(object, 3);
            let address = c.ins().iadd(table, place);
            let one = c.ins().iconst(types::I8, 1);
            c.ins().store(note_flags, one, address, 0);
            true
        }),
        plant("a cursor that is no end of an object", &["drc"], &[OWNED], |f, i| {
            let moves = is_store(f, i, regions::HEAP_CURSOR)
                && matches!(f.dfg.insts[i], InstructionData::Store { offset, .. }
                    if i32::from(offset) == bump::NEXT.cast_signed());
            moves && {
                let start = FuncCursor::new(f).at_inst(i).ins().iconst(types::I64, 1 << 16);
                f.dfg.inst_args_mut(i)[0] = start;
                true
            }
        }),
        plant("a variable place in the heap data", both, &[VARIABLE], |f, i| {
            let is_limit = is_word(f, i, bump::LIMIT) || is_word(f, i, generational::MARKING);
            is_limit && {
                with_address(f, i, |c, data| {
                    let narrow = c.ins().iconst(types::I32, 8);
                    let narrow = c.ins().rotl_imm_u(narrow, 1);
                    let wide = c.ins().uextend(types::I64, narrow);
                    c.ins().iadd(data, wide)
                })
            }
        }),
        plant("an address that is stored", &["drc", "generational"], &[ESCAPES], |f, i| {
            is_table(f, i) && {
                let [table, _] = parts(f, i);
                let flags = f.dfg.insts[i].memflags_data(&f.dfg).unwrap();
                let place = *f.dfg.inst_args(i).last().unwrap();
                FuncCursor::new(f).at_inst(i).ins().store(flags, table, place, 0);
                true
            }
        }),
        plant("an address that is multiplied", &["drc", "generational"], &[ESCAPES], |f, i| {
            is_table(f, i) && {
                let [table, _] = parts(f, i);
                FuncCursor::new(f).at_inst(i).ins().imul_imm_s(table, 3);
                true
            }
        }),
        plant("an address that is overwritten", &["drc", "generational"], &[OWNED], |f, i| {
            let is_address =
                [drc::LIST.address(), generational::CARDS.address()].into_iter().any(|word| {
                    is_word(f, i, word) && f.dfg.value_type(f.dfg.first_result(i)) == types::I64
                });
            is_address && {
                let InstructionData::Load { arg, offset, flags, .. } = f.dfg.insts[i] else {
                    unreachable!()
                };
                let flags = f.dfg.mem_flags[flags];
                let mut c = FuncCursor::new(f).at_inst(i);
                let zero = c.ins().iconst(types::I32, 0);
                c.ins().store(flags, zero, arg, offset);
                true
            }
        }),
        plant("an address that is no table's", &["drc", "generational"], &[NO_TABLE], |f, i| {
            let is_address =
                [drc::LIST.address(), drc::STARTS.address(), generational::CARDS.address()]
                    .into_iter()
                    .any(|word| is_word(f, i, word));
            let is_wide = is_address && f.dfg.value_type(f.dfg.first_result(i)) == types::I64;
            is_wide && set_offset(f, i, |_| 104)
        }),
    ];
    report(&found);
}
