//! Faults in stack maps.

use crate::plant::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, InstBuilder, InstructionData, MemFlagsData, Opcode, Signature,
    StackSlot, UserStackMapEntry, types,
};
use stack_roots::calls::mark_quiet_calls;

pub(crate) const KINDS: &[Kind] = &[
    Kind::new("a map is left out", LOST, |_, case| {
        everywhere(case, |case, call, place| {
            let possible =
                place == 0 && collects(case, call) && !entries(&case.func, call).is_empty();
            if possible {
                with_map(&mut case.func, call, &[]);
            }
            possible
        })
    }),
    Kind::new("an entry is left out", LOST, |_, case| {
        everywhere(case, |case, call, place| {
            let mut entries = entries(&case.func, call);
            let possible = collects(case, call) && place < entries.len();
            if possible {
                entries.remove(place);
                with_map(&mut case.func, call, &entries);
            }
            possible
        })
    }),
    Kind::new("an entry names a new slot", LOST, |_, case| {
        at_entries(case, |func, entry| {
            entry.slot = new_slot(func, 8);
        })
    }),
    Kind::new("an entry names the slot of another reference", LOST, |_, case| {
        let mut planted = Vec::new();
        for other in root_slots(&case.func) {
            planted.extend(everywhere(case, |case, call, place| {
                let mut entries = entries(&case.func, call);
                let possible = collects(case, call)
                    && place < entries.len()
                    && entries.iter().all(|entry| entry.slot != other);
                if possible {
                    entries[place].slot = other;
                    with_map(&mut case.func, call, &entries);
                }
                possible
            }));
        }
        planted
    }),
    Kind::new("an entry ends outside its slot", &[OUTSIDE], |_, case| {
        add_entries(case, |_, entry| entry.offset += 2)
    }),
    Kind::new("an entry is far outside its slot", &[OUTSIDE], |_, case| {
        add_entries(case, |_, entry| entry.offset = u32::MAX - 1)
    }),
    Kind::new(
        "an entry is shifted within its slot",
        &[BAD_MAP, BAD_RELOAD, NO_MAP, NO_REF, PART],
        |_, case| {
            at_entries(case, |func, entry| {
                entry.offset += entry.ty.bytes();
                func.sized_stack_slots[entry.slot].size = 16;
            })
        },
    ),
    Kind {
        valid: false,
        ..Kind::new(
            "an entry names a slot that is not declared",
            &["a stack map entry in a slot that is not declared"],
            |_, case| add_entries(case, |_, entry| entry.slot = StackSlot::from_u32(1000)),
        )
    },
    Kind::new(
        "an entry has another type",
        &["a stack map entry that is not as wide as a reference"],
        |_, case| {
            let half = half(case);
            let mut planted = at_entries(case, |_, entry| entry.ty = half);
            planted.extend(at_entries(case, |_, entry| entry.ty = types::I128));
            planted
        },
    ),
    Kind::new("an entry is there twice", &[OVERLAP], |_, case| add_entries(case, |_, _| {})),
    Kind::new("entries overlap", &[OVERLAP], |_, case| {
        add_entries(case, |func, entry| {
            func.sized_stack_slots[entry.slot].size = 16;
            entry.offset = entry.ty.bytes() / 2;
        })
    }),
    // The other map is that of a call that does not collect. So half of the reference may be written over.
    Kind::new("entries of different maps overlap", &[OVERLAP], |_, case| {
        everywhere(case, |case, call, place| {
            let entry = entries(&case.func, call).get(place).cloned();
            let (Some(entry), true) = (entry, collects(case, call)) else { return false };
            case.func.sized_stack_slots[entry.slot].size = 16;
            let signature = Signature::new(case.func.signature.call_conv);
            let signature = case.func.import_signature(signature);
            let quiet = case.func.import_function(ExtFuncData {
                name: ExternalName::testcase("quiet"),
                signature,
                colocated: false,
                patchable: false,
            });
            case.said.signatures.push((signature, Default::default()));
            case.said.quiet.push(quiet);
            let mut at = FuncCursor::new(&mut case.func).at_inst(call);
            let offset = entry.ty.bytes() / 2;
            let null = at.ins().iconst(entry.ty, 0);
            let address = at.ins().stack_addr(types::I64, entry.slot, 0);
            at.ins().store(MemFlagsData::trusted(), null, address, offset as i32);
            let quiet = at.ins().call(quiet, &[]);
            let shifted = UserStackMapEntry { offset, ..entry };
            case.func.dfg.append_user_stack_map_entry(quiet, shifted);
            true
        })
    }),
    Kind::new("a map names a slot in which nothing was stored", &[BAD_MAP], |_, case| {
        everywhere(case, |case, call, place| {
            if place > 0 || !collects(case, call) {
                return false;
            }
            let (slot, ty) = (new_slot(&mut case.func, 8), case.said.reference);
            let entry = UserStackMapEntry { ty, slot, offset: 0 };
            case.func.dfg.append_user_stack_map_entry(call, entry);
            true
        })
    }),
    Kind::new(
        "a map names a derived pointer",
        &["a stack map entry for a derived pointer"],
        |_, case| {
            everywhere(case, |case, call, place| {
                let derived =
                    case.func.sized_stack_slots.keys().find(|slot| is_derived(&case.func, *slot));
                let (Some(slot), true) = (derived, place == 0 && collects(case, call)) else {
                    return false;
                };
                let entry = UserStackMapEntry { ty: case.said.reference, slot, offset: 0 };
                case.func.dfg.append_user_stack_map_entry(call, entry);
                true
            })
        },
    ),
    Kind::new("the base of a derived pointer is left out", LOST, |_, case| {
        everywhere(case, |case, call, place| {
            let mut entries = entries(&case.func, call);
            let before = entries.len();
            // The slots of the frontend have no keys.
            entries.retain(|entry| case.func.sized_stack_slots[entry.slot].key.is_none());
            let possible = place == 0 && entries.len() < before;
            if possible {
                with_map(&mut case.func, call, &entries);
            }
            possible
        })
    }),
    // The references that live across the first call live across the second one, and its result too.
    Kind::new("a second call has no map", &[STALE, BAD_MAP, BAD_RELOAD], |_, case| {
        everywhere(case, |case, call, place| {
            let is_call = matches!(opcode(&case.func, call), Opcode::Call | Opcode::CallIndirect);
            if place > 0
                || !is_call
                || !collects(case, call)
                || entries(&case.func, call).is_empty()
            {
                return false;
            }
            let next = case.func.layout.next_inst(call).unwrap();
            // A function without parameters.
            let signature = Signature::new(case.func.signature.call_conv);
            let signature = case.func.import_signature(signature);
            case.said.signatures.push((signature, Default::default()));
            let mut at = FuncCursor::new(&mut case.func).at_inst(next);
            let address = at.ins().iconst(types::I64, 0x1000);
            at.ins().call_indirect(signature, address, &[]);
            true
        })
    }),
    Kind::new(
        "a call that may collect is marked as quiet",
        &["a call that may collect is marked as quiet"],
        |_, case| {
            everywhere(case, |case, call, place| {
                let is_call = matches!(
                    case.func.dfg.insts[call],
                    InstructionData::Call { .. } | InstructionData::CallIndirect { .. }
                );
                let possible = place == 0 && is_call && collects(case, call);
                if possible {
                    mark_quiet_calls(&mut case.func, |_, other| other != call);
                }
                possible
            })
        },
    ),
];
