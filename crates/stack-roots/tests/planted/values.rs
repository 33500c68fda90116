//! Faults in the uses of references.

use crate::code::{Case, Program};
use crate::plant::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, Inst, InstBuilder, MemFlagsData, Opcode, Value, types};

/// A use of a reloaded value, and a store in the same slot whose value is stale there.
struct StaleUse {
    at: Inst,
    number: usize,
    passed: bool,
    load: Spill,
    store: Spill,
    value: Value,
}

fn stale_uses(case: &Case) -> Vec<StaleUse> {
    let func = &case.func;
    let spills = spills(func);
    let mut found = Vec::new();
    for at in insts(func) {
        for (number, (used, passed)) in uses(func, at).into_iter().enumerate() {
            let load = spills
                .iter()
                .find(|load| load.stored.is_none() && func.dfg.first_result(load.inst) == used);
            let Some(&load) = load else { continue };
            for &store in spills.iter().filter(|store| store.slot == load.slot) {
                let Some(value) = store.stored else { continue };
                if is_defined(func, value, at) && is_stale(case, value, at, passed) {
                    found.push(StaleUse { at, number, passed, load, store, value });
                }
            }
        }
    }
    found
}

/// Uses stale values instead of the reloaded ones.
fn use_stale(case: &Case, wanted: impl Fn(&StaleUse) -> bool) -> Vec<Case> {
    let uses = stale_uses(case).into_iter().filter(wanted);
    uses.map(|stale| {
        let mut changed = case.clone();
        set_use(&mut changed.func, stale.at, stale.number, stale.value);
        changed
    })
    .collect()
}

/// Uses what `compute` gives for the stored value, instead of the reloaded one.
fn use_computed(
    case: &Case,
    compute: impl Fn(&mut FuncCursor<'_>, &StaleUse) -> Value,
    again: impl Fn(&mut FuncCursor<'_>, Value) -> Value,
) -> Vec<Case> {
    let mut planted = Vec::new();
    for stale in stale_uses(case) {
        if stale.store.is_derived || !dominates(&case.func, stale.store.inst, stale.at) {
            continue;
        }
        // The place of the computation must be before the collection.
        let next = case.func.layout.next_inst(stale.store.inst).unwrap();
        let mut changed = case.clone();
        let value = compute(&mut FuncCursor::new(&mut changed.func).at_inst(next), &stale);
        if !is_stale(&changed, value, stale.at, stale.passed) {
            continue;
        }
        let value = again(&mut FuncCursor::new(&mut changed.func).at_inst(stale.at), value);
        set_use(&mut changed.func, stale.at, stale.number, value);
        planted.push(changed);
    }
    planted
}

fn undeclared(program: &Program, case: &Case) -> Vec<Case> {
    let numbers = 0..case.declared.len();
    let skipped = numbers.map(|number| (number, program.build(Some(number))));
    skipped
        .filter(|(number, skipped)| {
            let value = skipped.declared[*number];
            let used = |inst: Inst| {
                let uses = uses(&skipped.func, inst).into_iter();
                uses.filter(|(used, _)| *used == value)
                    .any(|(_, passed)| is_stale(skipped, value, inst, passed))
            };
            let is_stale = insts(&skipped.func).into_iter().any(used);
            if !is_stale {
                assert_eq!(skipped.check(), Ok(()), "{}", skipped.func);
            }
            is_stale
        })
        .map(|(_, skipped)| skipped)
        .collect()
}

pub(crate) const KINDS: &[Kind] = &[
    Kind::new("a reference is not declared to the frontend", &[STALE], undeclared),
    Kind::new("a stale reference is used", &[STALE], |_, case| {
        use_stale(case, |stale| !stale.load.is_derived && !stale.passed)
    }),
    Kind::new("a stale reference is passed to a block", &[STALE], |_, case| {
        use_stale(case, |stale| !stale.load.is_derived && stale.passed)
    }),
    Kind::new("a stale reference is used in a handler", &[STALE], |_, case| {
        let handlers = handlers(&case.func);
        use_stale(case, |stale| handlers.contains(&case.func.layout.inst_block(stale.at).unwrap()))
    }),
    // The landing block gets the reference as a parameter instead of reloading it.
    Kind::new("a reference is passed on the edge of a call", &[STALE], |_, case| {
        let mut planted = Vec::new();
        for stale in stale_uses(case) {
            let block = case.func.layout.inst_block(stale.at).unwrap();
            for call in insts(&case.func) {
                let Some(edge) = destinations(&case.func, call)
                    .iter()
                    .position(|to| to.block(&case.func.dfg.value_lists) == block)
                else {
                    continue;
                };
                if !collects(case, call) || !is_defined(&case.func, stale.value, call) {
                    continue;
                }
                let mut changed = case.clone();
                let dfg = &mut changed.func.dfg;
                let param = dfg.append_block_param(block, case.said.reference);
                let to = dfg.insts[call]
                    .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
                to[edge].append_argument(stale.value, &mut dfg.value_lists);
                set_use(&mut changed.func, stale.at, stale.number, param);
                planted.push(changed);
            }
        }
        planted
    }),
    Kind::new("a load moves before its call", &[STALE, STALE_ADDRESS, BAD_RELOAD], |_, case| {
        everywhere(case, |case, inst, place| {
            let load = spill(&case.func, inst).filter(|spill| spill.stored.is_none() && place == 0);
            let Some(load) = load else { return false };
            let func = &case.func;
            let block = func.layout.inst_block(inst).unwrap();
            let before = func.layout.block_insts(block).take_while(|other| *other != load.inst);
            let Some(call) = before.filter(|other| collects(case, *other)).last() else {
                return false;
            };
            let address = func.dfg.inst_args(inst)[0];
            for inst in [func.dfg.value_def(address).unwrap_inst(), inst] {
                case.func.layout.remove_inst(inst);
                case.func.layout.insert_inst(inst, call);
            }
            true
        })
    }),
    Kind::new("a derived pointer is not reloaded", &[STALE_ADDRESS], |_, case| {
        use_stale(case, |stale| stale.load.is_derived)
    }),
    Kind::new(
        "an address in an object is kept across a call",
        &[STALE_ADDRESS, NO_REF, NOT_PASSED],
        |_, case| {
            use_computed(
                case,
                |at, stale| at.ins().iadd_imm_s(stale.value, 8),
                |at, value| at.ins().iadd_imm_s(value, -8),
            )
        },
    ),
    // A float does not look like a reference.
    Kind::new(
        "a reference is reloaded as a float and kept across a call",
        &[STALE_ADDRESS, NO_REF, NOT_PASSED],
        |_, case| {
            if case.takes_any() {
                return Vec::new();
            }
            let reference = case.said.reference;
            let float = if reference == types::I32 { types::F32 } else { types::F64 };
            use_computed(
                case,
                |at, stale| {
                    let address = at.ins().stack_addr(types::I64, stale.store.slot, 0);
                    at.ins().load(float, MemFlagsData::trusted(), address, 0)
                },
                |at, value| at.ins().bitcast(reference, MemFlagsData::new(), value),
            )
        },
    ),
    Kind::new("a reference is the context of a handler", &[STALE], |_, case| {
        everywhere(case, |case, call, place| {
            let Some(table) = case.func.dfg.insts[call].exception_table() else { return false };
            let is_context = |item| matches!(item, ir::ExceptionTableItem::Context(_));
            if !case.func.dfg.exception_tables[table].items().any(is_context) {
                return false;
            }
            let Some(store) = spills(&case.func).get(place).copied() else { return false };
            let Some(value) = store.stored.filter(|value| is_defined(&case.func, *value, call))
            else {
                return false;
            };
            let number = uses(&case.func, call).len();
            set_use(&mut case.func, call, number, value);
            true
        })
    }),
    Kind::new("a stale reference is compared", &[STALE], |_, case| {
        let mut planted = Vec::new();
        for stale in stale_uses(case) {
            if opcode(&case.func, stale.at) != Opcode::Call || stale.load.is_derived {
                continue;
            }
            let reload = case.func.dfg.first_result(stale.load.inst);
            let mut changed = case.clone();
            let mut at = FuncCursor::new(&mut changed.func).at_inst(stale.at);
            at.ins().icmp(ir::condcodes::IntCC::Equal, stale.value, reload);
            planted.push(changed);
        }
        planted
    }),
];
