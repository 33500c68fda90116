//! Code that is correct, and of which nothing may be reported.

use crate::code::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AtomicRmwOp, Function, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, types,
};
use cranelift_codegen::{Context, verify_function};
use stack_roots::check::{Unboxed, ValueType};

/// Passes the checker, and compiles.
#[track_caller]
fn passes(program: &Program) -> Case {
    let case = program.build(None);
    let name = program.name;
    case.check().unwrap_or_else(|error| panic!("{name}: {error}\n{}", case.func));
    verify_function(&case.func, &*isa()).unwrap_or_else(|error| panic!("{name}: {error}"));
    Context::for_function(case.func.clone())
        .compile(&*isa(), &mut Default::default())
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    case
}

fn maps(func: &Function) -> usize {
    let insts = crate::plant::insts(func).into_iter();
    insts.filter(|inst| func.dfg.user_stack_map_entries(*inst).is_some()).count()
}

fn slot(code: &mut Code<'_>, bytes: u32) -> cranelift_codegen::ir::StackSlot {
    let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
    code.builder.create_sized_stack_slot(data)
}

#[test]
fn references_that_are_used_only_before_a_call() {
    // They are not declared to the frontend.
    let case = passes(&Program::new("before a call", &[INT, INT], &[INT], |code| {
        let make = code.quiet(&[INT], &[INT]);
        let signature = code.builder.func.dfg.ext_funcs[make].signature;
        // The result is a reference.
        let types = code.said.signatures.iter_mut().find(|(of, _)| *of == signature).unwrap();
        types.1.results[0] = ValueType::Ref;
        let n = code.params()[0];
        let call = code.builder.ins().call(make, &[n]);
        let object = code.builder.inst_results(call)[0];
        let touch = code.function(&[REF], &[]);
        let size = code.load(types::I64, object, 8);
        let address = code.builder.ins().iadd_imm_s(object, 16);
        code.store(size, address, 0);
        code.call(touch, &[object]);
        code.builder.ins().return_(&[size]);
    }));
    assert_eq!(maps(&case.func), 0);
}

#[test]
fn comparisons_that_live_across_calls() {
    for unboxed in [Unboxed::Never, Unboxed::LowestBitSet, Unboxed::Any] {
        let case = passes(&Program {
            unboxed,
            ..Program::new("comparisons", &[REF, REF], &[INT], |code| {
                let [a, b] = code.params()[..] else { unreachable!() };
                let collect = code.function(&[], &[]);
                let same = code.builder.ins().icmp(IntCC::Equal, a, b);
                let less = code.builder.ins().icmp(IntCC::UnsignedLessThan, a, b);
                let is_null = code.builder.ins().icmp_imm_s(IntCC::Equal, a, 0);
                let tag = code.builder.ins().band_imm_s(b, 1);
                code.call(collect, &[]);
                let all = code.builder.ins().band(same, less);
                let all = code.builder.ins().bor(all, is_null);
                let all = code.builder.ins().uextend(types::I64, all);
                let all = code.builder.ins().iadd(all, tag);
                code.builder.ins().return_(&[all]);
            })
        });
        assert_eq!(maps(&case.func), 0);
    }
}

#[test]
fn untagged_and_tagged_integers_live_across_calls() {
    let case = passes(&Program {
        unboxed: Unboxed::LowestBitSet,
        ..Program::new("untagged", &[REF, REF], &[REF], |code| {
            let [a, b] = code.params()[..] else { unreachable!() };
            let pair = code.function(&[REF, REF], &[REF]);
            let print = code.function(&[INT], &[]);
            let x = code.builder.ins().sshr_imm_s(a, 1);
            let y = code.builder.ins().ushr_imm_s(b, 1);
            // The arithmetic of tagged integers, and a constant.
            let sum = code.builder.ins().iadd(x, y);
            let sum = code.builder.ins().ishl_imm_s(sum, 1);
            let sum = code.builder.ins().bor_imm_s(sum, 1);
            let seven = code.constant(7);
            code.call(pair, &[sum, seven]);
            code.call(print, &[x]);
            let product = code.builder.ins().imul(x, y);
            let product = code.builder.ins().ishl_imm_s(product, 1);
            let product = code.builder.ins().iadd_imm_s(product, 1);
            let more = code.call(pair, &[sum, product]).unwrap();
            let last = code.call(pair, &[more, seven]).unwrap();
            code.builder.ins().return_(&[last]);
        })
    });
    // Only `more` could live across a call, and it does not.
    assert_eq!(maps(&case.func), 0);
}

#[test]
fn nulls_pointers_and_code_live_across_calls() {
    let case = passes(&Program::new("others", &[POINTER, INT], &[REF], |code| {
        let [runtime, n] = code.params()[..] else { unreachable!() };
        let apply = code.signature(&[POINTER, REF, INT], &[REF]);
        let entry = code.load(types::I64, runtime, 0);
        let place = code.builder.ins().iadd(runtime, n);
        let nil = code.constant(0);
        code.call_indirect(apply, entry, &[runtime, nil, n]);
        code.call_indirect(apply, entry, &[place, nil, n]);
        code.store(nil, place, 0);
        code.builder.ins().return_(&[nil]);
    }));
    assert_eq!(maps(&case.func), 0);
}

#[test]
fn quiet_calls_without_maps() {
    for marks in [true, false] {
        let case = passes(&Program {
            marks,
            ..Program::new("quiet calls without maps", &[INT], &[REF], |code| {
                let n = code.params()[0];
                let collect = code.function(&[], &[]);
                let make = code.function(&[INT], &[REF]);
                let hash = code.quiet(&[REF], &[INT]);
                let object = code.builder.ins().call(make, &[n]);
                // It lives across quiet calls only, and is not declared to the frontend.
                let object = code.builder.inst_results(object)[0];
                let head = code.block(&[INT]);
                let end = code.block(&[]);
                code.jump(head.0, &[n]);
                code.switch(head.0);
                let bits = code.call(hash, &[object]).unwrap();
                let address = code.builder.ins().iadd_imm_s(object, 8);
                code.call(hash, &[object]);
                code.store(bits, address, 0);
                code.branch(bits, (head.0, &[bits]), (end.0, &[]));
                code.switch(end.0);
                let done = code.block(&[]);
                let other = code.block(&[]);
                code.branch(n, (other.0, &[]), (done.0, &[]));
                code.switch(other.0);
                code.call(collect, &[]);
                let nil = code.constant(0);
                code.builder.ins().return_(&[nil]);
                code.switch(done.0);
                code.builder.ins().return_(&[object]);
            })
        });
        assert_eq!(maps(&case.func), 0);
    }
}

#[test]
fn a_loop_without_reloads_in_which_nothing_collects() {
    let case = passes(&Program::new("a quiet loop", &[REF, INT], &[INT], |code| {
        let [list, n] = code.params()[..] else { unreachable!() };
        let collect = code.function(&[], &[]);
        let (head, params) = code.block(&[REF, INT]);
        let (body, _) = code.block(&[]);
        let (end, _) = code.block(&[]);
        code.call(collect, &[]);
        code.jump(head, &[list, n]);
        code.switch(head);
        code.branch(params[0], (body, &[]), (end, &[]));
        code.switch(body);
        let rest = code.load_ref(params[0], 8);
        let word = code.load(types::I64, params[0], 0);
        let sum = code.builder.ins().iadd(params[1], word);
        code.jump(head, &[rest, sum]);
        code.switch(end);
        code.call(collect, &[]);
        code.builder.ins().return_(&[params[1]]);
    }));
    assert_eq!(maps(&case.func), 1);
}

#[test]
fn floats_of_a_nan_box_live_across_calls() {
    passes(&Program {
        unboxed: Unboxed::Any,
        ..Program::new("floats", &[REF, REF], &[REF], |code| {
            let [a, b] = code.params()[..] else { unreachable!() };
            let slow = code.function(&[REF, REF], &[REF]);
            let x = code.builder.ins().bitcast(types::F64, MemFlagsData::new(), a);
            let small = code.builder.ins().ireduce(types::I32, b);
            let tag = code.builder.ins().ushr_imm_s(b, 48);
            let tag = code.builder.ins().ireduce(types::I16, tag);
            let made = code.call(slow, &[a, b]).unwrap();
            let y = code.builder.ins().fcvt_from_sint(types::F64, small);
            let z = code.builder.ins().fcvt_from_uint(types::F64, tag);
            let sum = code.builder.ins().fadd(x, y);
            let sum = code.builder.ins().fadd(sum, z);
            let sum = code.builder.ins().bitcast(types::I64, MemFlagsData::new(), sum);
            let wide = code.builder.ins().uextend(types::I64, small);
            let boxed = code.builder.ins().bor_imm_s(wide, 0x7ffc << 48);
            let more = code.call(slow, &[sum, boxed]).unwrap();
            let last = code.call(slow, &[made, more]).unwrap();
            code.builder.ins().return_(&[last]);
        })
    });
}

#[test]
fn slots_of_the_compiler_and_atomic_accesses() {
    passes(&Program::new("slots", &[REF, INT], &[INT], |code| {
        let [a, n] = code.params()[..] else { unreachable!() };
        let fill = code.function(&[POINTER, REF], &[]);
        let buffer = slot(code, 24);
        let address = code.builder.ins().stack_addr(types::I64, buffer, 0);
        code.store(n, address, 8);
        // The address of such a slot is passed and lives across calls.
        code.call(fill, &[address, a]);
        code.call(fill, &[address, a]);
        let word = code.load(types::I64, address, 16);
        let field = code.builder.ins().iadd_imm_s(a, 8);
        let flags = MemFlagsData::trusted();
        let old = code.builder.ins().atomic_rmw(types::I64, flags, AtomicRmwOp::Add, field, word);
        code.builder.ins().return_(&[old]);
    }));
}

#[test]
fn addresses_of_narrow_references() {
    let case = passes(&Program {
        reference: types::I32,
        ..Program::new("narrow addresses", &[POINTER, REF32, INT], &[INT], |code| {
            let [heap, a, n] = code.params()[..] else { unreachable!() };
            let collect = code.function(&[POINTER], &[]);
            let wide = code.builder.ins().uextend(types::I64, a);
            let address = code.builder.ins().iadd(heap, wide);
            let word = code.load(types::I64, address, 8);
            code.call(collect, &[heap]);
            let wide = code.builder.ins().uextend(types::I64, a);
            let address = code.builder.ins().iadd(heap, wide);
            let sum = code.builder.ins().iadd(word, n);
            code.store(sum, address, 8);
            code.builder.ins().return_(&[sum]);
        })
    });
    assert_eq!(maps(&case.func), 1);
}

#[test]
fn code_that_is_not_reached() {
    passes(&Program::new("not reached", &[REF], &[REF], |code| {
        let a = code.params()[0];
        let collect = code.function(&[], &[]);
        let (dead, _) = code.block(&[]);
        code.builder.ins().return_(&[a]);
        code.switch(dead);
        code.call(collect, &[]);
        let forty = code.constant(42);
        code.builder.ins().return_(&[forty]);
    }));
}
