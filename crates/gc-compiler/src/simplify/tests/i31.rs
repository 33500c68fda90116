//! Numbers that become `i31`s are computed with their tags.

use super::simplified;
use crate::GcEmitter;
use cranelift_codegen::ir::{self, Inst, InstBuilder, Opcode, Value, types};
use gc_types::HostCall;
use std::collections::HashSet;

/// The operations of a function whose result is the `i31` of what `build` makes of the two `i31`s and
/// the number.
fn of_i31(
    build: impl FnOnce(&mut GcEmitter<'_, '_>, [Value; 2], Value) -> Value,
) -> (Vec<Opcode>, ir::Function) {
    let func = simplified(|e, params| {
        let [a, b, number] = *params else { unreachable!() };
        let numbers = [e.i31_get_s(a), e.i31_get_u(b)];
        let result = build(e, numbers, number);
        let i31 = e.ref_i31(result);
        e.builder.ins().ireduce(types::I32, i31)
    });
    let counted = [
        Opcode::Iadd,
        Opcode::Isub,
        Opcode::Imul,
        Opcode::Band,
        Opcode::Bor,
        Opcode::Bxor,
        Opcode::Ishl,
    ];
    let opcodes = used(&func).into_iter().map(|inst| func.dfg.insts[inst].opcode());
    let opcodes = opcodes.filter(|opcode| counted.contains(opcode)).collect();
    (opcodes, func)
}

/// The instructions of which the result is made, and calls, in their order. Cranelift removes others.
fn used(func: &ir::Function) -> Vec<Inst> {
    let insts: Vec<Inst> =
        func.layout.blocks().flat_map(|block| func.layout.block_insts(block)).collect();
    let mut values: HashSet<Value> = HashSet::new();
    let mut found = Vec::new();
    for inst in insts.into_iter().rev() {
        let opcode = func.dfg.insts[inst].opcode();
        let results = func.dfg.inst_results(inst);
        if opcode.is_call() || opcode.is_return() || results.iter().any(|v| values.contains(v)) {
            values.extend(func.dfg.inst_args(inst).iter().map(|v| func.dfg.resolve_aliases(*v)));
            found.push(inst);
        }
    }
    found.reverse();
    found
}

#[test]
fn a_sum_needs_no_shift() {
    let (opcodes, func) = of_i31(|e, [a, b], _| e.builder.ins().iadd(a, b));
    assert_eq!(opcodes, [Opcode::Bor, Opcode::Band, Opcode::Iadd], "{}", func.display());
}

#[test]
fn the_shift_moves_to_constants_through_several_operations() {
    let (opcodes, func) = of_i31(|e, [a, b], _| {
        let a = e.builder.ins().imul_imm_s(a, 3);
        let b = e.builder.ins().iadd_imm_s(b, -7);
        e.builder.ins().isub(a, b)
    });
    // The tag of `a * 3` is set after the product.
    let expected =
        [Opcode::Band, Opcode::Band, Opcode::Imul, Opcode::Bor, Opcode::Iadd, Opcode::Isub];
    let mut found = opcodes.clone();
    found.sort_by_key(|opcode| expected.iter().position(|other| other == opcode));
    assert_eq!(found, expected, "{}", func.display());
}

#[test]
fn a_number_that_is_no_i31_is_shifted() {
    let (opcodes, func) = of_i31(|_, _, number| number);
    assert_eq!(opcodes, [Opcode::Ishl, Opcode::Bor], "{}", func.display());
    // Two shifts would be more than one.
    let (opcodes, func) = of_i31(|e, _, number| e.builder.ins().isub(number, number));
    assert_eq!(opcodes, [Opcode::Isub, Opcode::Ishl, Opcode::Bor], "{}", func.display());
}

#[test]
fn a_sum_that_is_used_elsewhere_is_computed_once() {
    let (opcodes, func) = of_i31(|e, [a, b], number| {
        let sum = e.builder.ins().iadd(a, b);
        let operation = e.builder.ins().iconst(types::I32, 0);
        let null = e.builder.ins().iconst(types::I64, 0);
        let wide = e.builder.ins().uextend(types::I64, sum);
        e.call_host(HostCall::COLLECTOR, &[operation, null, wide]);
        let _ = number;
        sum
    });
    assert_eq!(opcodes, [Opcode::Iadd, Opcode::Ishl, Opcode::Bor], "{}", func.display());
}

/// A reference may not be used after a call that may move objects, and neither may its word.
#[test]
fn the_tag_is_set_before_a_call() {
    let (_, func) = of_i31(|e, [a, _], number| {
        let operation = e.builder.ins().iconst(types::I32, 0);
        let operand = e.builder.ins().iconst(types::I64, 0);
        e.call_host(HostCall::COLLECTOR, &[operation, operand, operand]);
        let _ = number;
        e.builder.ins().iadd_imm_s(a, 1)
    });
    let order: Vec<Opcode> = used(&func)
        .into_iter()
        .map(|inst| func.dfg.insts[inst].opcode())
        .filter(|opcode| opcode.is_call() || matches!(opcode, Opcode::Bor | Opcode::Iadd))
        .collect();
    let expected = [Opcode::Bor, Opcode::Call, Opcode::Iadd];
    assert_eq!(order, expected, "{}", func.display());
}
