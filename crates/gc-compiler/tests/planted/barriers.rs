//! Errors in the barriers of stores.

use super::*;
use cranelift_codegen::ir::Opcode;
use cranelift_codegen::ir::condcodes::IntCC;
use gc_types::collector::{drc, generational, nursery};

const CARD: &str = "a young reference is stored in an object whose card may be clean";
const BUNDLE: &str = "the bundle of a dirty card may be clean";
const LOG: &str =
    "a reference that an old object had is not logged while old objects are being marked";
const PLACE: &str = "the place of a reference that an old object had is not logged while old objects are being marked";
const SLOT_CARD: &str = "the card of a written slot outside the heap may be clean";
const COUNT: &str = "a stored reference is not counted";
const LIST: &str = "a young object is counted but not listed";
const COUNT_DOWN: &str = "an overwritten reference is not counted down";
const DEAD: &str = "an object whose count reaches zero is not listed";
const NOWHERE: &str = "a reference is stored where the collector does not look for references";
const NO_REF: &str = "a value that is not a reference is stored where references are";

const ANY: &[&str] = &[CARD, BUNDLE, LOG, SLOT_CARD, COUNT, LIST, COUNT_DOWN, DEAD];

/// Whether `inst` stores a reference that is not a constant.
fn is_ref_store(func: &Function, inst: Inst) -> bool {
    [regions::STRUCT_REF_FIELD, regions::ARRAY_REF_ELEMENT, SLOTS]
        .iter()
        .any(|region| is_store(func, inst, *region))
        && func.dfg.value_type(func.dfg.inst_args(inst)[0]) == types::I64
}

/// Whether a store is to an object that is not fresh, or outside the heap.
fn has_barrier(func: &Function, inst: Inst) -> bool {
    let flags = func.dfg.insts[inst].memflags_data(&func.dfg);
    let may_trap = flags.is_some_and(|flags| flags.trap_code().is_some());
    is_ref_store(func, inst) && (may_trap || region(func, inst) == Some(SLOTS))
}

/// Whether a store is alone in its block. There `drc` stores to a young object, whose references
/// are not counted.
fn is_to_young(func: &Function, inst: Inst) -> bool {
    let block = func.layout.inst_block(inst).unwrap();
    let young = |inst| func.dfg.insts[inst].opcode().is_terminator() || is_ref_store(func, inst);
    func.layout.block_insts(block).filter(|inst| !is_spill(func, *inst)).all(young)
        && func.dfg.insts[func.layout.last_inst(block).unwrap()].opcode() == Opcode::Jump
}

/// Whether the block of a store goes on with a card.
fn has_cards_after(func: &Function, inst: Inst) -> bool {
    let block = func.layout.inst_block(inst).unwrap();
    func.layout.block_insts(block).any(|inst| region(func, inst) == Some(regions::CARDS))
}

/// Replaces the value of a store by a load's result that the barrier is not for.
fn store_another(f: &mut Function, i: Inst) -> bool {
    let entry = insts(f).into_iter().find(|inst| region(f, *inst) == Some(REFS)).unwrap();
    let (raw, flags) = (f.dfg.inst_args(entry)[0], f.dfg.insts[entry].memflags_data(&f.dfg));
    let other = FuncCursor::new(f).at_inst(i).ins().load(types::I64, flags.unwrap(), raw, 0);
    f.dfg.inst_args_mut(i)[0] = other;
    true
}

/// Moves a store by an element.
fn store_elsewhere(f: &mut Function, i: Inst) -> bool {
    let InstructionData::Store { offset, .. } = &mut f.dfg.insts[i] else { return false };
    *offset = (i32::from(*offset) + 4).into();
    true
}

/// Changes the constant that is the second operand of an operation.
fn change_constant(f: &mut Function, i: Inst, opcode: Opcode, from: i64, to: i64) -> bool {
    if f.dfg.insts[i].opcode() != opcode {
        return false;
    }
    let Some(&operand) = f.dfg.inst_args(i).get(1) else { return false };
    let Some(constant) = f.dfg.value_def(operand).inst() else { return false };
    let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = f.dfg.insts[constant] else {
        return false;
    };
    let ty = f.dfg.value_type(operand);
    let mask = if ty == types::I32 { u64::from(u32::MAX) } else { u64::MAX };
    if imm.bits().cast_unsigned() & mask != from.cast_unsigned() & mask {
        return false;
    }
    let other = FuncCursor::new(f).at_inst(i).ins().iconst(ty, to);
    f.dfg.inst_args_mut(i)[1] = other;
    true
}

#[test]
fn errors_in_barriers_are_found() {
    let options = guarded();
    let plant = |name, collectors: &[&str], laws: &[&str], change| {
        (name, plant(name, Checker::Barriers, collectors, &options, laws, change))
    };
    const BOTH: &[&str] = &["drc", "generational"];
    const GENERATIONAL: &[&str] = &["generational"];
    const DRC: &[&str] = &["drc"];
    let found = [
        plant("a card is not marked", GENERATIONAL, &[CARD, BUNDLE, SLOT_CARD], |f, i| {
            is_store(f, i, regions::CARDS) && {
                f.layout.remove_inst(i);
                true
            }
        }),
        plant("a card is marked clean", GENERATIONAL, &[CARD, BUNDLE, SLOT_CARD], |f, i| {
            is_store(f, i, regions::CARDS) && {
                let other = i64::from(generational::DIRTY) + 1;
                let clean = FuncCursor::new(f).at_inst(i).ins().iconst(types::I8, other);
                f.dfg.inst_args_mut(i)[0] = clean;
                true
            }
        }),
        plant("the card beside it is marked", GENERATIONAL, &[CARD, BUNDLE, SLOT_CARD], |f, i| {
            is_store(f, i, regions::CARDS) && {
                let InstructionData::Store { offset, .. } = &mut f.dfg.insts[i] else {
                    return false;
                };
                *offset = 1.into();
                true
            }
        }),
        plant("cards are of another size", GENERATIONAL, &[CARD], |f, i| {
            let shift = i64::from(generational::CARD_SHIFT);
            change_constant(f, i, Opcode::Ushr, shift, shift + 1)
        }),
        plant("bundles are of another size", GENERATIONAL, &[BUNDLE], |f, i| {
            let shift = i64::from(generational::BUNDLE_SHIFT);
            change_constant(f, i, Opcode::Ushr, shift, shift - 1)
        }),
        plant("slots' cards are of another size", GENERATIONAL, &[SLOT_CARD], |f, i| {
            let shift = i64::from(generational::SLOT_CARD_SHIFT);
            change_constant(f, i, Opcode::Ushr, shift, shift + 1)
        }),
        plant("young is less than it is", GENERATIONAL, &[CARD], |f, i| {
            change_constant(f, i, Opcode::Icmp, 1 << 20, 1 << 19)
        }),
        plant("young begins elsewhere", GENERATIONAL, &[CARD], |f, i| {
            let start = -i64::from(nursery::NURSERY_START);
            change_constant(f, i, Opcode::Iadd, start, start + 8)
        }),
        plant("the young are not looked at", GENERATIONAL, &[CARD], |f, i| {
            if let InstructionData::IntCompare { args, cond, .. } = &mut f.dfg.insts[i]
                && *cond == IntCC::UnsignedLessThan
            {
                args.swap(0, 1);
                return true;
            }
            false
        }),
        plant("nothing is logged", GENERATIONAL, &[LOG, PLACE], |f, i| {
            is_store(f, i, regions::SIDE_TABLE) && {
                f.layout.remove_inst(i);
                true
            }
        }),
        plant("the log has another place", GENERATIONAL, &[PLACE], |f, i| {
            is_store(f, i, regions::SIDE_TABLE)
                && matches!(&f.dfg.insts[i], InstructionData::Store { offset, .. } if i32::from(*offset) == 4)
                && {
                    let value = f.dfg.inst_args(i)[0];
                    let other = FuncCursor::new(f).at_inst(i).ins().iadd_imm_u(value, 4);
                    f.dfg.inst_args_mut(i)[0] = other;
                    true
                }
        }),
        plant("another flag than marking's", GENERATIONAL, &[LOG], |f, i| {
            let marking = generational::MARKING.cast_signed();
            match &mut f.dfg.insts[i] {
                InstructionData::Load { offset, .. } if i32::from(*offset) == marking => {
                    *offset = (marking + 4).into();
                    region(f, i) == Some(regions::HEAP_DATA)
                }
                _ => false,
            }
        }),
        plant("another overwritten reference", BOTH, &[LOG, COUNT_DOWN, DEAD], |f, i| {
            // The loads of the barrier, which are in a block that continues with the store.
            let is_old = match region(f, i) {
                Some(regions::STRUCT_REF_FIELD | regions::ARRAY_REF_ELEMENT) => {
                    let result = f.dfg.inst_results(i).first().copied();
                    let counted = |inst: &Inst| {
                        let args = f.dfg.inst_args(*inst);
                        // The log has 64 bits for it, and a list of `drc` has 32.
                        let is_entry = is_store(f, *inst, regions::SIDE_TABLE)
                            && args.first() == result.as_ref()
                            && insts(f).iter().any(|&other| {
                                f.dfg.inst_args(other) != args
                                    && f.dfg.inst_args(other).get(1) == args.get(1)
                                    && is_store(f, other, regions::SIDE_TABLE)
                            });
                        let is_bor = f.dfg.insts[*inst].opcode() == Opcode::Bor;
                        is_entry || is_bor && args.get(1) == result.as_ref()
                    };
                    f.dfg.insts[i].opcode().can_load() && insts(f).iter().any(counted)
                }
                _ => false,
            };
            if !is_old {
                return false;
            }
            let InstructionData::Load { offset, .. } = &mut f.dfg.insts[i] else { return false };
            *offset = (i32::from(*offset) + 8).into();
            true
        }),
        plant("a count is not stored", DRC, &[COUNT, COUNT_DOWN], |f, i| {
            is_store(f, i, regions::HEADER)
                && f.dfg.value_type(f.dfg.inst_args(i)[0]) == types::I32
                && !f.layout.is_cold(f.layout.inst_block(i).unwrap())
                && {
                    f.layout.remove_inst(i);
                    true
                }
        }),
        plant("two are counted for one", DRC, &[COUNT, LIST], |f, i| {
            let one = i64::from(drc::COUNT_ONE);
            change_constant(f, i, Opcode::Iadd, one, 2 * one)
        }),
        plant("two are counted down for one", DRC, &[COUNT_DOWN], |f, i| {
            let one = -i64::from(drc::COUNT_ONE);
            change_constant(f, i, Opcode::Iadd, one, 2 * one)
        }),
        plant("an object is not listed", DRC, &[LIST, DEAD], |f, i| {
            // The note that an object begins somewhere is a byte.
            is_store(f, i, regions::SIDE_TABLE)
                && f.dfg.value_type(f.dfg.inst_args(i)[0]) != types::I8
                && f.layout.is_cold(f.layout.inst_block(i).unwrap())
                && {
                    f.layout.remove_inst(i);
                    true
                }
        }),
        plant("another word than the list's mask", DRC, &[DEAD], |f, i| {
            let mask = drc::LIST_MASK.cast_signed();
            match &mut f.dfg.insts[i] {
                InstructionData::Load { offset, .. } if i32::from(*offset) == mask => {
                    *offset = (mask + 4).into();
                    region(f, i) == Some(regions::HEAP_DATA)
                }
                _ => false,
            }
        }),
        plant("the list's mask is not looked at", DRC, &[DEAD], |f, i| {
            let all = match &f.dfg.insts[i] {
                InstructionData::Binary { opcode: Opcode::Band, args } => *args,
                _ => return false,
            };
            let mask = f.dfg.value_def(all[1]).inst();
            let is_mask = mask.is_some_and(|mask| region(f, mask) == Some(regions::HEAP_DATA));
            is_mask && {
                f.dfg.inst_args_mut(i)[1] = all[0];
                true
            }
        }),
        plant("the host is not told of a full list", DRC, &[LIST, DEAD], |f, i| {
            let InstructionData::Call { func_ref, .. } = f.dfg.insts[i] else { return false };
            host_call(f, func_ref) == gc_types::HostCall::COLLECTOR && {
                f.layout.remove_inst(i);
                true
            }
        }),
        plant("mature is another bit", DRC, &[COUNT, COUNT_DOWN], |f, i| {
            let mature = i64::from(drc::MATURE);
            change_constant(f, i, Opcode::Band, mature, 2 * mature)
        }),
        plant("the null test is of another tag", DRC, ANY, |f, i| {
            change_constant(f, i, Opcode::Rotr, 1, 2)
        }),
        plant("another reference is stored", DRC, ANY, |f, i| {
            has_barrier(f, i) && !is_to_young(f, i) && store_another(f, i)
        }),
        plant("another reference is stored", GENERATIONAL, ANY, |f, i| {
            // A card is marked whatever is stored.
            let marks_card = has_cards_after(f, i) || region(f, i) == Some(SLOTS);
            has_barrier(f, i) && !marks_card && store_another(f, i)
        }),
        plant("another place is stored to", DRC, ANY, |f, i| {
            let is_cold = f.layout.is_cold(f.layout.inst_block(i).unwrap());
            has_barrier(f, i) && !is_cold && !is_to_young(f, i) && store_elsewhere(f, i)
        }),
        plant("another place is stored to", GENERATIONAL, ANY, |f, i| {
            // Another field of the object has the same card.
            let is_field = region(f, i) == Some(regions::STRUCT_REF_FIELD);
            let same = is_to_young(f, i) || is_field && has_cards_after(f, i);
            has_barrier(f, i) && !same && store_elsewhere(f, i)
        }),
        plant("the barrier is cut off by a collection", BOTH, ANY, |f, i| {
            if !has_barrier(f, i) {
                return false;
            }
            let alloc = insts(f).into_iter().find(|inst| {
                matches!(f.dfg.insts[*inst], InstructionData::Call { func_ref, .. }
                    if host_call(f, func_ref) == gc_types::HostCall::ALLOC_STRUCT)
            });
            let alloc = alloc.unwrap();
            let InstructionData::Call { func_ref, .. } = f.dfg.insts[alloc] else {
                return false;
            };
            let args = f.dfg.inst_args(alloc).to_vec();
            // A barrier is before the store, after it, or on both sides.
            FuncCursor::new(f).at_inst(i).ins().call(func_ref, &args);
            let next = f.layout.next_inst(i).unwrap();
            FuncCursor::new(f).at_inst(next).ins().call(func_ref, &args);
            true
        }),
        plant("an old object is believed to be fresh", BOTH, ANY, |f, i| {
            if !is_ref_store(f, i) || region(f, i) == Some(SLOTS) || has_barrier(f, i) {
                return false;
            }
            let entry = insts(f).into_iter().find(|inst| region(f, *inst) == Some(REFS)).unwrap();
            let (raw, flags) =
                (f.dfg.inst_args(entry)[0], f.dfg.insts[entry].memflags_data(&f.dfg));
            let address = f.dfg.value_def(f.dfg.inst_args(i)[1]).unwrap_inst();
            let base = f.dfg.inst_args(address)[0];
            let mut cursor = FuncCursor::new(f).at_inst(i);
            let other = cursor.ins().load(types::I64, flags.unwrap(), raw, 0);
            let address = cursor.ins().iadd(base, other);
            f.dfg.inst_args_mut(i)[1] = address;
            true
        }),
        plant("a reference is stored as a number", &[], &[NOWHERE], |f, i| {
            if !is_ref_store(f, i) {
                return false;
            }
            let data = regions::intern(f, regions::STRUCT_FIELD);
            set_flags(f, i, |flags| flags.with_alias_region(Some(data)));
            true
        }),
        plant("a number is stored as a reference", &[], &[NO_REF], |f, i| {
            if !is_ref_store(f, i) {
                return false;
            }
            let value = f.dfg.inst_args(i)[0];
            let number = FuncCursor::new(f).at_inst(i).ins().imul(value, value);
            f.dfg.inst_args_mut(i)[0] = number;
            true
        }),
    ];
    report(&found);
}

/// The load traps if the object is null. If the entry were counted before, the collector would read an entry that was
/// not written.
#[test]
fn what_is_overwritten_is_loaded_before_its_entry_is_counted() {
    let compiler = COLLECTORS.iter().find(|compiler| compiler.name() == "generational").unwrap();
    for simplifies in [false, true] {
        let func = correct(&program, *compiler, &guarded(), simplifies);
        let logs = |block: &ir::Block| {
            func.layout.block_insts(*block).any(|inst| is_store(&func, inst, regions::SIDE_TABLE))
        };
        let blocks: Vec<_> = func.layout.blocks().filter(logs).collect();
        assert_eq!(blocks.len(), 2, "a field and an element");
        for block in blocks {
            let place = |wanted: &dyn Fn(Inst) -> bool| {
                func.layout.block_insts(block).position(wanted).expect("a block that logs")
            };
            let refs = [regions::STRUCT_REF_FIELD, regions::ARRAY_REF_ELEMENT];
            let loaded = place(&|inst| {
                let is_ref = region(&func, inst).is_some_and(|region| refs.contains(&region));
                func.dfg.insts[inst].opcode().can_load() && is_ref
            });
            let counted = place(&|inst| is_store(&func, inst, regions::HEAP_CURSOR));
            assert!(loaded < counted, "{func}");
        }
    }
}
