//! Correct programs, of a small variety.

use crate::code::*;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AliasRegionData, BlockArg, InstBuilder, JumpTableData, MemFlagsData, types,
};
use cranelift_codegen::isa::CallConv;
use stack_roots::check::{Unboxed, ValueType};
use stack_roots::derived::DerivedSlots;

pub(crate) const PROGRAMS: [Program; 12] = [
    Program::new("lists in a loop", &[REF, INT], &[REF], lists),
    Program::new("an `if` with a join", &[REF, REF, INT], &[REF], join),
    Program::new("indirect calls", &[REF, REF], &[REF], indirect),
    Program::new("handlers of exceptions", &[REF, INT], &[REF], handlers),
    Program {
        unboxed: Unboxed::LowestBitSet,
        ..Program::new("tagged integers", &[REF, INT], &[REF], tagged)
    },
    Program {
        reference: types::I32,
        ..Program::new("references of 32 bits", &[POINTER, REF32, REF32, INT], &[REF32], narrow)
    },
    Program { unboxed: Unboxed::Any, ..Program::new("boxed in a NaN", &[REF, REF], &[REF], boxed) },
    Program::new("a derived pointer", &[REF, INT], &[REF], derived),
    Program {
        marks: true,
        ..Program::new("quiet calls", &[POINTER, REF, REF, INT], &[INT], quiet)
    },
    Program { conv: CallConv::Tail, ..Program::new("a tail call", &[REF, INT], &[REF], tail) },
    Program::new("a table of jumps", &[REF, REF, INT], &[REF], jumps),
    Program::new("variables", &[REF, INT], &[REF], variables),
];

/// Makes a list in a loop, and reads it.
fn lists(code: &mut Code<'_>) {
    let [first, n] = code.params()[..] else { unreachable!() };
    let pair = code.function(&[REF, REF], &[REF]);
    let touch = code.function(&[REF], &[]);
    let (head, params) = code.block(&[REF, INT]);
    let (end, _) = code.block(&[]);
    let [list, left] = params[..] else { unreachable!() };
    code.jump(head, &[first, n]);
    code.switch(head);
    let cell = code.call(pair, &[first, list]).unwrap();
    let rest = code.load_ref(cell, 8);
    code.call(touch, &[rest]);
    code.store(rest, cell, 0);
    let less = code.builder.ins().iadd_imm_s(left, -1);
    code.branch(less, (head, &[cell, less]), (end, &[]));
    code.switch(end);
    let last = code.call(pair, &[list, cell]).unwrap();
    code.builder.ins().return_(&[last]);
}

/// Calls in one or in both arms of an `if`.
fn join(code: &mut Code<'_>) {
    let [a, b, n] = code.params()[..] else { unreachable!() };
    let pair = code.function(&[REF, REF], &[REF]);
    let (then, _) = code.block(&[]);
    let (other, _) = code.block(&[]);
    let (deep, _) = code.block(&[]);
    let (joined, params) = code.block(&[REF, INT]);
    code.branch(n, (then, &[]), (other, &[]));
    code.switch(then);
    let made = code.call(pair, &[a, b]).unwrap();
    code.jump(joined, &[made, n]);
    code.switch(other);
    let same = code.builder.ins().icmp(IntCC::Equal, a, b);
    code.branch(same, (joined, &[b, n]), (deep, &[]));
    code.switch(deep);
    let one = code.call(pair, &[b, b]).unwrap();
    let two = code.call(pair, &[a, one]).unwrap();
    let three = code.call(pair, &[two, one]).unwrap();
    code.jump(joined, &[three, n]);
    code.switch(joined);
    let again = code.call(pair, &[params[0], a]).unwrap();
    let both = code.call(pair, &[again, params[0]]).unwrap();
    code.builder.ins().return_(&[both]);
}

/// Calls the code of a closure.
fn indirect(code: &mut Code<'_>) {
    let [closure, arg] = code.params()[..] else { unreachable!() };
    let apply = code.signature(&[REF, REF], &[REF]);
    let size = code.signature(&[REF], &[INT]);
    let entry = code.load(types::I64, closure, 0);
    let first = code.call_indirect(apply, entry, &[closure, arg]).unwrap();
    let entry = code.load(types::I64, closure, 0);
    let second = code.call_indirect(apply, entry, &[closure, first]).unwrap();
    let entry = code.load(types::I64, closure, 8);
    let count = code.call_indirect(size, entry, &[second]).unwrap();
    let chosen = code.builder.ins().select(count, first, second);
    code.reference(chosen);
    let nil = code.constant(0);
    let entry = code.load(types::I64, second, 0);
    code.call_indirect(apply, entry, &[nil, arg]);
    code.builder.ins().return_(&[chosen]);
}

/// Handlers that use references from before the call, and the exception.
fn handlers(code: &mut Code<'_>) {
    let [a, n] = code.params()[..] else { unreachable!() };
    code.said.exception = [ValueType::Ref, ValueType::Data];
    let pair = code.function(&[REF, REF], &[REF]);
    let signature = code.builder.func.dfg.ext_funcs[pair].signature;
    let apply = code.signature(&[REF], &[REF]);
    let (fine, good) = code.block(&[REF, REF, INT]);
    let (caught, bad) = code.block(&[REF, INT, REF]);
    let (end, ends) = code.block(&[REF]);
    let (late, thrown) = code.block(&[REF, INT]);
    let own = code.call(pair, &[a, a]).unwrap();
    let [result, thrown0, thrown1] =
        [BlockArg::TryCallRet(0), BlockArg::TryCallExn(0), BlockArg::TryCallExn(1)];
    let normal = [result, own.into(), n.into()];
    let handler = [thrown0, thrown1, own.into()];
    let table = code.handlers(signature, (fine, &normal), (caught, &handler), Some(n));
    code.builder.ins().try_call(pair, &[a, own], table);
    code.switch(fine);
    let entry = code.load(types::I64, good[1], 0);
    let table = code.handlers(apply, (end, &[result]), (late, &[thrown0, thrown1]), None);
    code.builder.ins().try_call_indirect(entry, &[good[0]], table);
    // It uses references without parameters.
    code.switch(late);
    let both = code.call(pair, &[thrown[0], good[0]]).unwrap();
    let all = code.call(pair, &[both, own]).unwrap();
    code.jump(end, &[all]);
    code.switch(caught);
    let both = code.call(pair, &[bad[0], bad[2]]).unwrap();
    let all = code.call(pair, &[both, a]).unwrap();
    code.jump(end, &[all]);
    code.switch(end);
    code.builder.ins().return_(&[ends[0]]);
}

/// Adds the tagged integers of a list.
fn tagged(code: &mut Code<'_>) {
    let [list, start] = code.params()[..] else { unreachable!() };
    let collect = code.function(&[], &[]);
    let pair = code.function(&[REF, REF], &[REF]);
    let (head, params) = code.block(&[REF, INT]);
    let (body, _) = code.block(&[]);
    let (end, _) = code.block(&[]);
    code.jump(head, &[list, start]);
    code.switch(head);
    let tag = code.builder.ins().band_imm_s(params[0], 1);
    code.branch(tag, (end, &[]), (body, &[]));
    code.switch(body);
    let word = code.load_ref(params[0], 0);
    let number = code.builder.ins().sshr_imm_s(word, 1);
    let sum = code.builder.ins().iadd(params[1], number);
    let rest = code.load_ref(params[0], 8);
    code.call(collect, &[]);
    code.jump(head, &[rest, sum]);
    code.switch(end);
    let twice = code.builder.ins().ishl_imm_s(params[1], 1);
    let sum = code.builder.ins().bor_imm_s(twice, 1);
    let nil = code.constant(1);
    let cell = code.call(pair, &[sum, nil]).unwrap();
    let cell = code.call(pair, &[cell, list]).unwrap();
    code.builder.ins().return_(&[cell]);
}

/// Objects at the sum of a base and a reference of 32 bits.
fn narrow(code: &mut Code<'_>) {
    let [heap, a, b, n] = code.params()[..] else { unreachable!() };
    let pair = code.function(&[POINTER, REF32, REF32], &[REF32]);
    let (head, params) = code.block(&[REF32, INT]);
    let (end, _) = code.block(&[]);
    code.jump(head, &[a, n]);
    code.switch(head);
    let made = code.call(pair, &[heap, params[0], b]).unwrap();
    let wide = code.builder.ins().uextend(types::I64, made);
    let address = code.builder.ins().iadd(heap, wide);
    let field = code.load_ref(address, 4);
    let next = code.call(pair, &[heap, field, made]).unwrap();
    let less = code.builder.ins().iadd_imm_s(params[1], -1);
    code.branch(less, (head, &[next, less]), (end, &[]));
    code.switch(end);
    let last = code.call(pair, &[heap, field, made]).unwrap();
    code.builder.ins().return_(&[last]);
}

/// Adds floats, or calls the runtime. A float is kept across a call.
fn boxed(code: &mut Code<'_>) {
    let [a, b] = code.params()[..] else { unreachable!() };
    let slow = code.function(&[REF, REF], &[REF]);
    let (floats, _) = code.block(&[]);
    let (others, _) = code.block(&[]);
    let (done, params) = code.block(&[REF]);
    let mask = code.constant(0x7ff8 << 48);
    let bits = code.builder.ins().band(a, mask);
    let is_other = code.builder.ins().icmp(IntCC::Equal, bits, mask);
    code.branch(is_other, (others, &[]), (floats, &[]));
    code.switch(floats);
    let [x, y] =
        [a, b].map(|value| code.builder.ins().bitcast(types::F64, MemFlagsData::new(), value));
    let made = code.call(slow, &[a, b]).unwrap();
    let sum = code.builder.ins().fadd(x, y);
    let sum = code.builder.ins().bitcast(types::I64, MemFlagsData::new(), sum);
    let sum = code.call(slow, &[made, sum]).unwrap();
    code.jump(done, &[sum]);
    code.switch(others);
    let field = code.load_ref(a, 8);
    let sum = code.call(slow, &[field, b]).unwrap();
    code.jump(done, &[sum]);
    code.switch(done);
    let one = code.constant((0x7ffc << 48) | 1);
    let more = code.call(slow, &[params[0], one]).unwrap();
    let last = code.call(slow, &[more, a]).unwrap();
    let both = code.call(slow, &[last, more]).unwrap();
    code.builder.ins().return_(&[both]);
}

/// Keeps a pointer into an array across the calls of a loop.
fn derived(code: &mut Code<'_>) {
    let [array, n] = code.params()[..] else { unreachable!() };
    let touch = code.function(&[REF], &[]);
    let pair = code.function(&[REF, REF], &[REF]);
    let (head, params) = code.block(&[INT]);
    let (end, _) = code.block(&[]);
    let slots = DerivedSlots::new(code.builder.func, types::I64);
    let entry = code.builder.current_block().unwrap();
    let start = code.builder.ins().iadd_imm_s(array, 16);
    slots.store(&mut FuncCursor::new(code.builder.func).at_bottom(entry), array, start);
    code.jump(head, &[n]);
    code.switch(head);
    code.builder.ensure_inserted_block();
    let at = slots.load(&mut FuncCursor::new(code.builder.func).at_bottom(head));
    let element = code.load_ref(at, 0);
    let call = code.builder.ins().call(touch, &[element]);
    slots.keep_across(code.builder.func, call);
    let at = slots.load(&mut FuncCursor::new(code.builder.func).at_bottom(head));
    code.store(element, at, 0);
    let next = code.builder.ins().iadd_imm_s(at, 8);
    let base = array;
    slots.store(&mut FuncCursor::new(code.builder.func).at_bottom(head), base, next);
    let call = code.builder.ins().call(touch, &[element]);
    slots.keep_across(code.builder.func, call);
    let less = code.builder.ins().iadd_imm_s(params[0], -1);
    code.branch(less, (head, &[less]), (end, &[]));
    code.switch(end);
    code.builder.ensure_inserted_block();
    let at = slots.load(&mut FuncCursor::new(code.builder.func).at_bottom(end));
    let last = code.load_ref(at, -8);
    let both = code.call(pair, &[last, array]).unwrap();
    code.builder.ins().return_(&[both]);
}

/// Calls that do not collect are marked. References live across them and across others.
fn quiet(code: &mut Code<'_>) {
    let [runtime, a, b, n] = code.params()[..] else { unreachable!() };
    let hash = code.quiet(&[POINTER, REF], &[INT]);
    let identity = code.quiet(&[REF], &[REF]);
    let pair = code.function(&[POINTER, REF, REF], &[REF]);
    let print = code.function(&[POINTER, INT], &[]);
    let (head, params) = code.block(&[REF, INT, INT]);
    let (end, _) = code.block(&[]);
    let zero = code.constant(0);
    code.jump(head, &[a, n, zero]);
    code.switch(head);
    let bits = code.call(hash, &[runtime, params[0]]).unwrap();
    let same = code.call(identity, &[params[0]]).unwrap();
    let made = code.call(pair, &[runtime, same, b]).unwrap();
    let more = code.call(hash, &[runtime, made]).unwrap();
    code.call(print, &[runtime, more]);
    let sum = code.builder.ins().iadd(params[2], bits);
    let sum = code.builder.ins().iadd(sum, more);
    let less = code.builder.ins().iadd_imm_s(params[1], -1);
    code.branch(less, (head, &[made, less, sum]), (end, &[]));
    code.switch(end);
    code.builder.ins().return_(&[sum]);
}

/// Ends with a tail call.
fn tail(code: &mut Code<'_>) {
    let [a, n] = code.params()[..] else { unreachable!() };
    let pair = code.function(&[REF, REF], &[REF]);
    let this = code.function(&[REF, INT], &[REF]);
    let one = code.call(pair, &[a, a]).unwrap();
    let two = code.call(pair, &[one, a]).unwrap();
    let (more, _) = code.block(&[]);
    let (end, _) = code.block(&[]);
    code.branch(n, (more, &[]), (end, &[]));
    code.switch(more);
    let three = code.call(pair, &[two, one]).unwrap();
    let all = code.call(pair, &[three, two]).unwrap();
    code.builder.ins().return_call(this, &[all, n]);
    code.switch(end);
    code.builder.ins().return_(&[one]);
}

/// A table of jumps that pass references, and loads whose alias region says what they give.
fn jumps(code: &mut Code<'_>) {
    let [a, b, n] = code.params()[..] else { unreachable!() };
    let region = code
        .builder
        .func
        .dfg
        .alias_regions
        .insert(AliasRegionData { user_id: 7, description: "references".into() });
    code.said.regions.push((7, ValueType::Ref));
    let flags = MemFlagsData::trusted().with_alias_region(Some(region));
    let pair = code.function(&[REF, REF], &[REF]);
    let (end, params) = code.block(&[REF, REF]);
    let (other, _) = code.block(&[]);
    let field = code.builder.ins().load(types::I64, flags, a, 8);
    code.reference(field);
    let made = code.call(pair, &[a, field]).unwrap();
    let pool = &mut code.builder.func.dfg.value_lists;
    let [x, y] = [[made, field], [field, b]]
        .map(|args| cranelift_codegen::ir::BlockCall::new(end, args.map(BlockArg::from), pool));
    let default = cranelift_codegen::ir::BlockCall::new(other, [], pool);
    let table = code.builder.create_jump_table(JumpTableData::new(default, &[x, y]));
    let index = code.builder.ins().ireduce(types::I32, n);
    code.builder.ins().br_table(index, table);
    code.switch(other);
    let one = code.call(pair, &[b, b]).unwrap();
    code.jump(end, &[one, made]);
    code.switch(end);
    let two = code.call(pair, &[params[0], params[1]]).unwrap();
    let three = code.call(pair, &[two, params[1]]).unwrap();
    code.builder.ins().return_(&[three]);
}

/// References in variables of the frontend.
fn variables(code: &mut Code<'_>) {
    let [first, n] = code.params()[..] else { unreachable!() };
    let pair = code.function(&[REF, REF], &[REF]);
    let [list, old] = [(); 2].map(|()| {
        let variable = code.builder.declare_var(types::I64);
        code.builder.declare_var_needs_stack_map(variable);
        variable
    });
    let left = code.builder.declare_var(types::I64);
    code.builder.def_var(list, first);
    code.builder.def_var(old, first);
    code.builder.def_var(left, n);
    let [head, body, end] = [(); 3].map(|()| code.builder.create_block());
    code.jump(head, &[]);
    code.switch(head);
    let count = code.builder.use_var(left);
    code.branch(count, (body, &[]), (end, &[]));
    code.switch(body);
    let (a, b) = (code.builder.use_var(list), code.builder.use_var(old));
    let made = code.call(pair, &[a, b]).unwrap();
    let a = code.builder.use_var(list);
    code.builder.def_var(old, a);
    code.builder.def_var(list, made);
    let less = code.builder.ins().iadd_imm_s(count, -1);
    code.builder.def_var(left, less);
    code.jump(head, &[]);
    code.switch(end);
    let (a, b) = (code.builder.use_var(list), code.builder.use_var(old));
    let last = code.call(pair, &[a, b]).unwrap();
    code.builder.ins().return_(&[last]);
}
