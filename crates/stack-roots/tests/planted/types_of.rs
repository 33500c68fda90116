//! Faults in types: of values that leave a function, and in what the compiler says of them.

use crate::code::Case;
use crate::plant::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{BlockArg, Function, Inst, InstBuilder, Opcode, Value};
use stack_roots::check::{SignatureTypes, ValueType};

/// Passes or returns an integer instead of a reference.
fn leave_as_reference(case: &Case, returned: bool) -> Vec<Case> {
    everywhere(case, |case, inst, place| {
        let (first, types) = leaving(case, inst);
        let (n, product) = (place / 2, place % 2 != 0);
        let is_return = opcode(&case.func, inst) == Opcode::Return;
        if case.takes_any() || is_return != returned || types.get(n) != Some(&ValueType::Ref) {
            return false;
        }
        let new = if product {
            let old = case.func.dfg.inst_args(inst)[first + n];
            // The product of a null is a null.
            if !is_moved(case, old) {
                return false;
            }
            FuncCursor::new(&mut case.func).at_inst(inst).ins().imul(old, old)
        } else {
            integer(case, inst)
        };
        set_use(&mut case.func, inst, first + n, new);
        true
    })
}

/// Whether a value is a reference to an object, and not a constant or a tagged integer.
fn is_moved(case: &Case, value: Value) -> bool {
    let func = &case.func;
    match func.dfg.value_def(func.dfg.resolve_aliases(value)).inst() {
        None => true,
        Some(inst) => {
            let opcode = opcode(func, inst);
            opcode.is_call() || opcode.can_load() || opcode == Opcode::Select
        }
    }
}

/// Passes a reference from a slot in the map of the call for a parameter of this type.
fn pass_reference(case: &Case, wanted: ValueType) -> Vec<Case> {
    everywhere(case, |case, call, place| {
        let (first, types) = leaving(case, call);
        let entry = entries(&case.func, call).first().cloned();
        let (Some(entry), true) = (entry, types.get(place) == Some(&wanted)) else { return false };
        let old = case.func.dfg.inst_args(call)[first + place];
        // A slot of the result is not stored yet.
        let is_stored = spills(&case.func).iter().any(|spill| {
            spill.slot == entry.slot
                && spill.stored.is_some()
                && dominates(&case.func, spill.inst, call)
        });
        if !is_stored || case.func.dfg.value_type(old) != case.said.reference {
            return false;
        }
        let value = load_slot(&mut case.func, call, entry.slot, entry.ty);
        set_use(&mut case.func, call, first + place, value);
        true
    })
}

/// Changes what is said of each function that is called.
fn at_signatures(
    case: &Case,
    change: impl Fn(&Case, &[Inst], &SignatureTypes) -> Vec<Option<SignatureTypes>>,
) -> Vec<Case> {
    let mut planted = Vec::new();
    for (n, (signature, types)) in case.said.signatures.iter().enumerate() {
        let calls: Vec<Inst> = insts(&case.func)
            .into_iter()
            .filter(|inst| case.func.dfg.call_signature(*inst) == Some(*signature))
            .collect();
        for new in change(case, &calls, types) {
            let mut changed = case.clone();
            match new {
                Some(new) => changed.said.signatures[n].1 = new,
                None => _ = changed.said.signatures.remove(n),
            }
            planted.push(changed);
        }
    }
    planted
}

/// The values that are a result of these calls.
fn results(func: &Function, calls: &[Inst], n: usize) -> Vec<Value> {
    let edge = BlockArg::TryCallRet(n as u32);
    let results = calls.iter().filter_map(|call| func.dfg.inst_results(*call).get(n).copied());
    results.chain(calls.iter().flat_map(|call| edge_values(func, *call, edge))).collect()
}

pub(crate) const KINDS: &[Kind] = &[
    Kind::new("an integer is passed as a reference", &[NOT_PASSED], |_, case| {
        leave_as_reference(case, false)
    }),
    Kind::new("an integer is returned as a reference", &[NOT_PASSED], |_, case| {
        leave_as_reference(case, true)
    }),
    Kind::new("an integer joins references", &[NOT_PASSED, NO_REF], |_, case| {
        everywhere(case, |case, inst, place| {
            let func = &case.func;
            let used = uses(func, inst).get(place).copied();
            let Some((value, true)) = used else { return false };
            let args = func.dfg.inst_args(inst).len();
            let params = destinations(func, inst).iter().flat_map(|to| {
                let params = func.dfg.block_params(to.block(&func.dfg.value_lists));
                to.args(&func.dfg.value_lists).zip(params).collect::<Vec<_>>()
            });
            let params =
                params.filter(|(arg, _)| arg.as_value().is_some()).map(|(_, param)| *param);
            let params: Vec<Value> = params.collect();
            if case.takes_any()
                || func.dfg.value_type(value) != case.said.reference
                || !is_required(case, params[place - args])
            {
                return false;
            }
            let new = integer(case, inst);
            set_use(&mut case.func, inst, place, new);
            true
        })
    }),
    Kind::new("a reference is passed as a pointer", &[PASSED], |_, case| {
        pass_reference(case, ValueType::Pointer)
    }),
    Kind::new("a reference is passed as an integer", &[PASSED], |_, case| {
        pass_reference(case, ValueType::Data)
    }),
    Kind::new("a reference is returned as an integer", &[PASSED, TAIL], |_, case| {
        let mut changed = case.clone();
        let result = &mut changed.said.own.results[0];
        let is_ref = std::mem::replace(result, ValueType::Data) == ValueType::Ref;
        is_ref.then_some(changed).into_iter().collect()
    }),
    Kind::new("a function is said to take a pointer or an integer", &[PASSED], |_, case| {
        at_signatures(case, |case, calls, types| {
            let mut planted = Vec::new();
            for n in 0..types.params.len() {
                let passes = |call: &Inst| {
                    let (first, _) = leaving(case, *call);
                    is_moved(case, case.func.dfg.inst_args(*call)[first + n])
                };
                if types.params[n] == ValueType::Ref && calls.iter().any(passes) {
                    for ty in [ValueType::Pointer, ValueType::Data] {
                        let mut new = types.clone();
                        new.params[n] = ty;
                        planted.push(Some(new));
                    }
                }
            }
            planted
        })
    }),
    Kind::new("a call is said to return an integer", &[NOT_PASSED, NO_REF, TAIL], |_, case| {
        at_signatures(case, |case, calls, types| {
            let mut planted = Vec::new();
            for n in 0..types.results.len() {
                let values = results(&case.func, calls, n);
                let required = values.into_iter().any(|value| is_required(case, value));
                if types.results[n] == ValueType::Ref && required && !case.takes_any() {
                    let mut new = types.clone();
                    new.results[n] = ValueType::Data;
                    planted.push(Some(new));
                }
            }
            planted
        })
    }),
    Kind::new("a call whose types are not declared", &[UNDECLARED, NO_REF], |_, case| {
        at_signatures(case, |_, calls, _| if calls.is_empty() { vec![] } else { vec![None] })
    }),
    Kind::new("a call with too few or too many types", &[NUMBER, TAIL, NO_REF], |_, case| {
        at_signatures(case, |_, calls, types| {
            if calls.is_empty() {
                return vec![];
            }
            let (mut more, mut fewer) = (types.clone(), types.clone());
            more.params.push(ValueType::Ref);
            let is_fewer = fewer.params.pop().is_some();
            let (mut results, mut none) = (types.clone(), types.clone());
            results.results.push(ValueType::Ref);
            let is_none = none.results.pop().is_some();
            let mut planted = vec![Some(more), Some(results)];
            planted.extend(is_fewer.then_some(Some(fewer)));
            planted.extend(is_none.then_some(Some(none)));
            planted
        })
    }),
    Kind::new("a tail call of a function with other results", &[TAIL], |_, case| {
        at_signatures(case, |case, calls, types| {
            let is_tail = calls.iter().any(|call| opcode(&case.func, *call).is_return());
            let others = [ValueType::Data, ValueType::Pointer]
                .map(|ty| Some(SignatureTypes::new(types.params.clone(), [ty])));
            if is_tail { others.into() } else { vec![] }
        })
    }),
    Kind::new("a parameter is said to be an integer", &[NOT_PASSED, NO_REF], |_, case| {
        let entry = case.func.layout.entry_block().unwrap();
        let mut planted = Vec::new();
        for (n, param) in case.func.dfg.block_params(entry).iter().enumerate() {
            let mut changed = case.clone();
            let old = std::mem::replace(&mut changed.said.own.params[n], ValueType::Data);
            if old == ValueType::Ref && is_required(case, *param) && !case.takes_any() {
                planted.push(changed);
            }
        }
        planted
    }),
    Kind::new("a load is not said to give a reference", &[NOT_PASSED, NO_REF], |_, case| {
        let mut planted = Vec::new();
        for (n, (load, _)) in case.said.loads.iter().enumerate() {
            if is_required(case, *load) && !case.takes_any() {
                let mut changed = case.clone();
                changed.said.loads.remove(n);
                planted.push(changed);
            }
        }
        // The loads of the alias region are all used as references.
        for n in 0..case.said.regions.len() {
            let mut changed = case.clone();
            changed.said.regions.remove(n);
            planted.push(changed);
        }
        planted
    }),
    Kind::new("an exception is said to be an integer", &[NOT_PASSED, NO_REF], |_, case| {
        let mut changed = case.clone();
        let old = std::mem::replace(&mut changed.said.exception[0], ValueType::Data);
        (old == ValueType::Ref).then_some(changed).into_iter().collect()
    }),
];
