//! Walks of stacks with code of `cranelift-jit`, whose stack maps the frontend of Cranelift places.
//!
//! All pairs of the heap move at every allocation, so a root that is missed leads to poison.

mod machine;
mod stacks;
mod wrong;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use machine::*;
use stack_roots::derived::DerivedSlots;

/// `range(n)`: a list of the integers from n to 1, as pairs of an odd number and the rest.
fn range(machine: &mut Machine) -> cranelift_module::FuncId {
    let id = machine.declare("range", 1, 1);
    let pair = machine.pair;
    machine.define(
        id,
        |code| {
            let n = code.param(0);
            let [more, end] = std::array::from_fn(|_| code.builder.create_block());
            code.builder.ins().brif(n, more, &[], end, &[]);
            code.builder.switch_to_block(more);
            let twice = code.builder.ins().ishl_imm_s(n, 1);
            let head = code.builder.ins().bor_imm_s(twice, 1);
            let nil = code.constant(0);
            // It stays in the frame while the rest of the list is made.
            let own = code.call_ref(pair, &[head, nil]);
            let less = code.builder.ins().iadd_imm_s(n, -1);
            let rest = code.call_ref(id, &[less]);
            let head = code.load(types::I64, own, 0);
            let list = code.call_ref(pair, &[head, rest]);
            code.builder.ins().return_(&[list]);
            code.builder.switch_to_block(end);
            let nil = code.constant(0);
            code.builder.ins().return_(&[nil]);
        },
        |_| {},
    );
    id
}

/// `sum(list)`.
fn sum(machine: &mut Machine) -> cranelift_module::FuncId {
    let id = machine.declare("sum", 1, 1);
    let collect = machine.collect;
    machine.define(
        id,
        |code| {
            let first = code.param(0);
            code.reference(first);
            let [head, body, end] = std::array::from_fn(|_| code.builder.create_block());
            let list = code.builder.append_block_param(head, types::I64);
            let total = code.builder.append_block_param(head, types::I64);
            code.reference(list);
            let zero = code.constant(0);
            code.builder.ins().jump(head, &[first.into(), zero.into()]);
            code.builder.switch_to_block(head);
            code.builder.ins().brif(list, body, &[], end, &[]);
            code.builder.switch_to_block(body);
            code.call(collect, &[]);
            let word = code.load(types::I64, list, 0);
            let number = code.builder.ins().ushr_imm_s(word, 1);
            let more = code.builder.ins().iadd(total, number);
            let rest = code.load(types::I64, list, 8);
            code.reference(rest);
            code.builder.ins().jump(head, &[rest.into(), more.into()]);
            code.builder.switch_to_block(end);
            code.builder.ins().return_(&[total]);
        },
        |_| {},
    );
    id
}

#[test]
fn objects_move_at_every_allocation() {
    let mut machine = Machine::new(&[]);
    let [range, sum] = [range(&mut machine), sum(&mut machine)];
    let main = machine.declare("main", 1, 1);
    machine.define(
        main,
        |code| {
            let n = code.param(0);
            let list = code.call_ref(range, &[n]);
            let total = code.call(sum, &[list]).unwrap();
            code.builder.ins().return_(&[total]);
        },
        |_| {},
    );
    let main = machine.finish(main);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(main, 200) }, 200 * 201 / 2);
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors, []);
        // Two pairs for each element, and a collection for each that is summed.
        assert_eq!(runtime.heap.collections, 600);
        // `main`, and all frames of `range` when the last pair was made.
        assert_eq!(runtime.heap.frames.iter().max(), Some(&201));
        assert_eq!(runtime.heap.frames.last(), Some(&2));
    });
}

#[test]
fn a_deep_stack_is_walked_to_its_end() {
    let mut machine = Machine::new(&[]);
    let range = range(&mut machine);
    let collect = machine.collect;
    let main = machine.declare("deep", 1, 1);
    machine.define(
        main,
        |code| {
            let n = code.param(0);
            let [more, end] = std::array::from_fn(|_| code.builder.create_block());
            code.builder.ins().brif(n, more, &[], end, &[]);
            code.builder.switch_to_block(more);
            let less = code.builder.ins().iadd_imm_s(n, -1);
            let one = code.constant(1);
            let kept = code.call_ref(range, &[one]);
            let deeper = code.call(main, &[less]).unwrap();
            let word = code.load(types::I64, kept, 0);
            let sum = code.builder.ins().iadd(deeper, word);
            code.builder.ins().return_(&[sum]);
            code.builder.switch_to_block(end);
            code.call(collect, &[]);
            let zero = code.constant(0);
            code.builder.ins().return_(&[zero]);
        },
        |_| {},
    );
    let main = machine.finish(main);
    // Each frame allocates, and each allocation moves all: less than in the other tests.
    let frames = 1000;
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(main, frames) }, 3 * frames);
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors, []);
        assert_eq!(runtime.heap.frames.last(), Some(&(frames as usize + 1)));
    });
}

#[test]
fn derived_pointers_move_with_their_objects() {
    let mut machine = Machine::new(&[]);
    let [pair, collect] = [machine.pair, machine.collect];
    let main = machine.declare("main", 1, 1);
    let slots = std::cell::Cell::new(None);
    machine.define(
        main,
        |code| {
            let own = code.param(0);
            let [three, five] = [3, 5].map(|bits| code.constant(bits));
            let other = code.call_ref(pair, &[five, own]);
            let object = code.call_ref(pair, &[three, other]);
            let second = code.builder.ins().iadd_imm_s(object, 8);
            let pairs = DerivedSlots::new(code.builder.func, types::I64);
            slots.set(Some((pairs, object, second)));
            let callee = code.callee(collect);
            code.builder.ins().call(callee, &[]);
            // The second word of the object, through the derived pointer alone: the other pair.
            let found = code.load(types::I64, second, 0);
            let word = code.load(types::I64, found, 0);
            let word = code.builder.ins().iadd(word, own);
            code.builder.ins().return_(&[word]);
        },
        |func| {
            // The frontend knows nothing of the derived pointer, so the code around the call is changed here.
            let (slots, object, second) = slots.get().expect("it was made");
            let calls: Vec<ir::Inst> = func
                .layout
                .blocks()
                .flat_map(|block| func.layout.block_insts(block))
                .filter(|inst| func.dfg.insts[*inst].opcode() == ir::Opcode::Call)
                .collect();
            let call = calls[2];
            let mut at = FuncCursor::new(func).at_inst(call);
            slots.store(&mut at, object, second);
            let mut at = FuncCursor::new(func).after_inst(call);
            let loaded = slots.load(&mut at);
            let rest: Vec<ir::Inst> =
                func.layout.block_insts(func.layout.inst_block(call).unwrap()).collect();
            let after = rest.iter().position(|inst| *inst == call).unwrap() + 3;
            for inst in &rest[after..] {
                func.dfg
                    .map_inst_values(*inst, |value| if value == second { loaded } else { value });
            }
            slots.keep_across(func, call);
        },
    );
    let rows = machine.maps.get(main).unwrap().rows();
    assert_eq!(rows.iter().map(|row| row.derived.len()).collect::<Vec<_>>(), [0, 0, 1]);
    let main = machine.finish(main);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(main, 7) }, 5 + 7);
    RUNTIME.with_borrow(|runtime| assert_eq!(runtime.heap.errors, []));
}

#[test]
fn references_may_have_32_bits() {
    use stack_roots::write::Slot;
    let mut machine = Machine::new(&[]);
    let collect = machine.collect;
    let main = machine.declare("main", 1, 1);
    machine.define(
        main,
        |code| {
            let n = code.param(0);
            let small = code.builder.ins().ireduce(types::I32, n);
            code.builder.declare_value_needs_stack_map(small);
            code.call(collect, &[]);
            let wide = code.builder.ins().uextend(types::I64, small);
            code.builder.ins().return_(&[wide]);
        },
        |_| {},
    );
    let [row] = machine.maps.get(main).unwrap().rows() else { panic!("one call") };
    let [Slot { offset, bytes: 4 }] = row.roots[..] else { panic!("one root of 32 bits: {row:?}") };
    assert!(offset < 0);
    let main = machine.finish(main);
    // SAFETY: it is a compiled function with one parameter. An odd number is no address.
    assert_eq!(unsafe { enter(main, 0xffff_ffff_8000_0001) }, 0x8000_0001);
    RUNTIME.with_borrow(|runtime| assert_eq!(runtime.heap.errors, []));
}

#[test]
fn comparisons_of_a_reference_after_it_moved_are_right() {
    let mut machine = Machine::new(&[]);
    let [pair, collect] = [machine.pair, machine.collect];
    let main = machine.declare("main", 1, 1);
    machine.define(
        main,
        |code| {
            let n = code.param(0);
            let nil = code.constant(0);
            let list = code.call_ref(pair, &[n, nil]);
            let again = code.call_ref(pair, &[n, list]);
            code.call(collect, &[]);
            let inner = code.load(types::I64, again, 8);
            let same = code.builder.ins().icmp(IntCC::Equal, inner, list);
            let same = code.builder.ins().uextend(types::I64, same);
            code.builder.ins().return_(&[same]);
        },
        |_| {},
    );
    let main = machine.finish(main);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(main, 3) }, 1);
}
