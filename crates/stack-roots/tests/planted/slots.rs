//! Faults in the accesses to slots of stack maps.

use crate::code::Case;
use crate::plant::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    self, Function, Inst, InstBuilder, InstructionData, MemFlagsData, Opcode, Value, types,
};

/// Whether another store in the same slot comes before this one on every path. Then the slot holds another
/// current reference without this store.
fn is_stored_before(func: &Function, store: Spill) -> bool {
    let others = spills(func).into_iter().filter(|other| {
        other.stored.is_some() && other.slot == store.slot && other.inst != store.inst
    });
    others.into_iter().any(|other| dominates(func, other.inst, store.inst))
}

fn stores(case: &Case, place: usize, inst: Inst) -> Option<(Spill, Value)> {
    let store = spill(&case.func, inst).filter(|_| place == 0)?;
    Some((store, store.stored?))
}

fn offset_of(func: &mut Function, inst: Inst) -> &mut ir::immediates::Offset32 {
    match &mut func.dfg.insts[inst] {
        InstructionData::Load { offset, .. } | InstructionData::Store { offset, .. } => offset,
        _ => panic!("neither a load nor a store"),
    }
}

/// Moves an access and the address before it.
fn move_before(func: &mut Function, access: Inst, at: Inst) {
    let address = *func.dfg.inst_args(access).last().unwrap();
    let address = func.dfg.value_def(address).unwrap_inst();
    for inst in [address, access] {
        func.layout.remove_inst(inst);
        func.layout.insert_inst(inst, at);
    }
}

fn without_store(case: &Case, derived: bool) -> Vec<Case> {
    everywhere(case, |case, inst, place| {
        let Some((store, _)) = stores(case, place, inst) else { return false };
        let possible = store.is_derived == derived && !is_stored_before(&case.func, store);
        if possible {
            case.func.layout.remove_inst(inst);
        }
        possible
    })
}

/// Stores integers instead of references or derived pointers.
fn with_integer(case: &Case, derived: bool) -> Vec<Case> {
    everywhere(case, |case, inst, place| {
        let Some((store, value)) = stores(case, place / 2, inst) else { return false };
        if store.is_derived != derived || case.takes_any() && !derived {
            return false;
        }
        let new = match place {
            0 => integer(case, inst),
            // It was computed from a reference.
            _ if derived => return false,
            _ => FuncCursor::new(&mut case.func).at_inst(inst).ins().imul(value, value),
        };
        set_use(&mut case.func, inst, 0, new);
        true
    })
}

pub(crate) const KINDS: &[Kind] = &[
    Kind::new("a reference is not stored in its slot", &[BAD_MAP, BAD_RELOAD], |_, case| {
        without_store(case, false)
    }),
    Kind::new("a derived pointer is not stored", &[BAD_MAP, BAD_RELOAD], |_, case| {
        without_store(case, true)
    }),
    Kind::new("an integer is stored in a slot", &[NO_REF], |_, case| with_integer(case, false)),
    Kind::new("an integer is stored as a derived pointer", &[NO_DERIVED], |_, case| {
        with_integer(case, true)
    }),
    Kind::new("half a reference is stored", &[PART], |_, case| {
        everywhere(case, |case, inst, place| {
            let Some((_, value)) = stores(case, place, inst) else { return false };
            let ty = half(case);
            let half = FuncCursor::new(&mut case.func).at_inst(inst).ins().ireduce(ty, value);
            // The type of a store is that of its argument.
            set_use(&mut case.func, inst, 0, half);
            true
        })
    }),
    Kind::new(
        "an access is shifted by half a reference",
        &[NO_MAP, NO_REF, NOT_PASSED, PART, BAD_ACCESS],
        |_, case| {
            everywhere(case, |case, inst, place| {
                let possible = place == 0 && spill(&case.func, inst).is_some();
                if possible {
                    let bytes = case.said.reference.bytes() as i32 / 2;
                    *offset_of(&mut case.func, inst) = bytes.into();
                }
                possible
            })
        },
    ),
    Kind::new(
        "an access is outside its slot",
        &[BAD_ACCESS, NO_DERIVED, NO_MAP, NO_REF, NOT_PASSED],
        |_, case| {
            everywhere(case, |case, inst, place| {
                if place > 1 || spill(&case.func, inst).is_none() {
                    return false;
                }
                let bytes = case.said.reference.bytes() as i32;
                *offset_of(&mut case.func, inst) = [bytes, -bytes][place].into();
                true
            })
        },
    ),
    Kind::new("a slot is loaded before it is stored", &[BAD_RELOAD], |_, case| {
        let mut planted = Vec::new();
        let derived =
            case.func.sized_stack_slots.keys().filter(|slot| is_derived(&case.func, *slot));
        for slot in root_slots(&case.func).into_iter().chain(derived) {
            let mut changed = case.clone();
            let entry = case.func.layout.entry_block().unwrap();
            let first = case.func.layout.first_inst(entry).unwrap();
            load_slot(&mut changed.func, first, slot, case.said.reference);
            planted.push(changed);
        }
        planted
    }),
    Kind::new("a load moves before the store", &[BAD_RELOAD, STALE, STALE_ADDRESS], |_, case| {
        everywhere(case, |case, inst, place| {
            let Some((store, _)) = stores(case, place, inst) else { return false };
            let after = spills(&case.func).into_iter().find(|load| {
                load.stored.is_none()
                    && load.slot == store.slot
                    && dominates(&case.func, inst, load.inst)
            });
            let (Some(load), false) = (after, is_stored_before(&case.func, store)) else {
                return false;
            };
            let address = case.func.dfg.inst_args(inst)[1];
            let address = case.func.dfg.value_def(address).unwrap_inst();
            move_before(&mut case.func, load.inst, address);
            true
        })
    }),
    Kind::new(
        "a store moves after its call",
        &[STALE, STALE_ADDRESS, BAD_MAP, BAD_RELOAD],
        |_, case| {
            everywhere(case, |case, inst, place| {
                let Some((store, _)) = stores(case, place, inst) else { return false };
                let func = &case.func;
                let block = func.layout.inst_block(inst).unwrap();
                let after = func.layout.block_insts(block).skip_while(|other| *other != inst);
                let mut calls = after.filter(|other| collects(case, *other));
                // The base of a derived pointer is in the map, and not the derived pointer.
                let is_kept = |call: &Inst| {
                    store.is_derived
                        || entries(func, *call).iter().any(|entry| entry.slot == store.slot)
                };
                let Some(call) = calls.next().filter(is_kept) else { return false };
                let Some(next) = func.layout.next_inst(call) else { return false };
                move_before(&mut case.func, inst, next);
                true
            })
        },
    ),
    Kind::new(
        "a stale reference is stored in its slot again",
        &[STALE, STALE_ADDRESS],
        |_, case| {
            let mut planted = Vec::new();
            for store in spills(&case.func).into_iter().filter(|spill| spill.stored.is_some()) {
                planted.extend(everywhere(case, |case, call, place| {
                    let value = store.stored.unwrap();
                    let is_call = collects(case, call) && is_defined(&case.func, value, call);
                    let Some(next) =
                        case.func.layout.next_inst(call).filter(|_| is_call && place == 0)
                    else {
                        return false;
                    };
                    let mut at = FuncCursor::new(&mut case.func).at_inst(next);
                    let address = at.ins().stack_addr(types::I64, store.slot, 0);
                    at.ins().store(MemFlagsData::trusted(), value, address, 0);
                    true
                }));
            }
            planted
        },
    ),
    Kind::new("a reference is stored in a slot that no map names", &[NO_MAP], |_, case| {
        everywhere(case, |case, inst, place| {
            let Some((_, value)) = stores(case, place, inst) else { return false };
            let slot = new_slot(&mut case.func, 8);
            let mut at = FuncCursor::new(&mut case.func).at_inst(inst);
            let address = at.ins().stack_addr(types::I64, slot, 0);
            at.ins().store(MemFlagsData::trusted(), value, address, 0);
            true
        })
    }),
    Kind::new("a reference is stored at a computed address of the frame", &[NO_MAP], |_, case| {
        everywhere(case, |case, inst, place| {
            let Some((_, value)) = stores(case, place / 2, inst) else { return false };
            let slot = new_slot(&mut case.func, 32);
            let mut at = FuncCursor::new(&mut case.func).at_inst(inst);
            let address = at.ins().stack_addr(types::I64, slot, 0);
            let index = at.ins().iconst(types::I64, 8);
            let sum = match place {
                0 => at.ins().iadd(address, index),
                _ => at.ins().iadd(index, address),
            };
            let sum = at.ins().iadd(sum, index);
            at.ins().store(MemFlagsData::trusted(), value, sum, 0);
            true
        })
    }),
    Kind::new("the address of a slot is computed with or stored", &[ESCAPES], |_, case| {
        everywhere(case, |case, inst, place| {
            if place > 2 || spill(&case.func, inst).is_none() {
                return false;
            }
            let address = *case.func.dfg.inst_args(inst).last().unwrap();
            let slot = new_slot(&mut case.func, 8);
            let mut at = FuncCursor::new(&mut case.func).at_inst(inst);
            match place {
                0 => _ = at.ins().iadd_imm_s(address, 8),
                1 => {
                    let elsewhere = at.ins().stack_addr(types::I64, slot, 0);
                    at.ins().store(MemFlagsData::trusted(), address, elsewhere, 0);
                }
                _ => {
                    _ = at.ins().atomic_rmw(
                        types::I64,
                        MemFlagsData::trusted(),
                        ir::AtomicRmwOp::Add,
                        address,
                        address,
                    )
                }
            }
            true
        })
    }),
    Kind::new(
        "the address of a slot is passed or returned",
        &[ESCAPES, NO_REF, NOT_PASSED],
        |_, case| {
            everywhere(case, |case, inst, place| {
                let opcode = opcode(&case.func, inst);
                let leaves =
                    opcode.is_call() || opcode.is_terminator() && opcode != Opcode::BrTable;
                let value = uses(&case.func, inst).get(place).map(|(value, _)| *value);
                let slot = root_slots(&case.func)[0];
                let is_word =
                    value.is_some_and(|value| case.func.dfg.value_type(value) == types::I64);
                if !leaves || !is_word {
                    return false;
                }
                let mut at = FuncCursor::new(&mut case.func).at_inst(inst);
                let address = at.ins().stack_addr(types::I64, slot, 0);
                set_use(&mut case.func, inst, place, address);
                true
            })
        },
    ),
];
