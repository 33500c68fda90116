//! Loads of what is known are removed, and no others.

use super::{FINAL, is_final, simplified, zero};
use crate::regions::{self, Region};
use crate::{GcEmitter, RefTest};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Block, InstBuilder, InstructionData, Value, types};
use gc_types::{HostCall, StorageType, StructLayout};

/// The loads of a region.
pub(super) fn loads(func: &ir::Function, region: Region) -> usize {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    let is_load = |inst: &ir::Inst| {
        let InstructionData::Load { flags, .. } = func.dfg.insts[*inst] else { return false };
        let loaded = func.dfg.mem_flags[flags].alias_region();
        loaded.is_some_and(|loaded| func.dfg.alias_regions[loaded].user_id == region)
    };
    insts.filter(is_load).count()
}

fn layout() -> StructLayout {
    StructLayout::new([StorageType::I32, StorageType::Ref]).unwrap()
}

/// Reads the number in an object.
fn number(e: &mut GcEmitter<'_, '_>, object: Value) -> Value {
    e.struct_get(object, &layout(), 0, None)
}

/// Emits a loop whose body is `body` as long as it returns a number that is not zero.
pub(super) fn repeat(
    e: &mut GcEmitter<'_, '_>,
    body: impl FnOnce(&mut GcEmitter<'_, '_>) -> Value,
) -> Block {
    let [head, done] = [(); 2].map(|()| e.builder.create_block());
    e.builder.ins().jump(head, &[]);
    e.builder.switch_to_block(head);
    let again = body(e);
    e.builder.ins().brif(again, head, &[], done, &[]);
    e.builder.seal_block(head);
    e.continue_in(done);
    head
}

#[test]
fn a_header_is_loaded_once_for_several_tests_in_a_loop_that_stores() {
    let func = simplified(|e, params| {
        let [object, other, count] = *params else { unreachable!() };
        e.trap_if_null(object);
        repeat(e, |e| {
            let [next, end] = [(); 2].map(|()| e.builder.create_block());
            for offset in 0..4 {
                let test = RefTest::new(false, is_final(e, FINAL + offset)).knowing(true, true);
                let passes = e.ref_test(object, &test);
                let otherwise = e.builder.create_block();
                e.builder.ins().brif(passes, next, &[], otherwise, &[]);
                e.continue_in(otherwise);
            }
            e.builder.ins().jump(end, &[]);
            e.continue_in(next);
            e.struct_set(other, &layout(), 0, count);
            e.builder.ins().jump(end, &[]);
            e.continue_in(end);
            count
        });
        zero(e)
    });
    assert_eq!(loads(&func, regions::HEADER), 1, "{}", func.display());
    // The heap's base too: the loop makes no call.
    assert_eq!(loads(&func, regions::VMCTX), 1, "{}", func.display());
}

#[test]
fn a_call_changes_all_memory() {
    let func = simplified(|e, params| {
        let first = number(e, params[0]);
        let operation = e.builder.ins().iconst(types::I32, 0);
        let operand = e.builder.ins().iconst(types::I64, 0);
        e.call_host(HostCall::COLLECTOR, &[operation, params[1], operand]);
        let second = number(e, params[0]);
        e.builder.ins().iadd(first, second)
    });
    assert_eq!(loads(&func, regions::STRUCT_FIELD), 2, "{}", func.display());
}

#[test]
fn a_store_changes_its_region_and_is_forwarded() {
    let func = simplified(|e, params| {
        let [object, other, count] = *params else { unreachable!() };
        let first = number(e, object);
        // The other object may be the same one.
        e.struct_set(other, &layout(), 0, count);
        let second = number(e, object);
        let stored = number(e, other);
        let sum = e.builder.ins().iadd(first, second);
        e.builder.ins().iadd(sum, stored)
    });
    assert_eq!(loads(&func, regions::STRUCT_FIELD), 2, "{}", func.display());
    // A store to another region changes nothing. The reference that was stored is known.
    let func = simplified(|e, params| {
        let [object, other, _] = *params else { unreachable!() };
        let first = number(e, object);
        e.struct_set(object, &layout(), 1, other);
        let second = number(e, object);
        let reference = e.struct_get(object, &layout(), 1, None);
        let same = e.ref_eq(reference, other);
        let same = e.builder.ins().uextend(types::I32, same);
        let sum = e.builder.ins().iadd(first, second);
        e.builder.ins().iadd(sum, same)
    });
    assert_eq!(loads(&func, regions::STRUCT_FIELD), 1, "{}", func.display());
    assert_eq!(loads(&func, regions::STRUCT_REF_FIELD), 0, "{}", func.display());
}

#[test]
fn what_one_of_two_paths_stores_is_loaded_again() {
    let joined = |stores: bool, last: fn(&mut GcEmitter<'_, '_>, Value) -> Value| {
        let func = simplified(|e, params| {
            let [object, other, count] = *params else { unreachable!() };
            let first = number(e, object);
            let [one, two, end] = [(); 3].map(|()| e.builder.create_block());
            e.builder.ins().brif(count, one, &[], two, &[]);
            e.continue_in(one);
            if stores {
                e.struct_set(other, &layout(), 0, count);
            }
            e.builder.ins().jump(end, &[]);
            e.continue_in(two);
            e.builder.ins().jump(end, &[]);
            e.continue_in(end);
            let second = last(e, object);
            e.builder.ins().iadd(first, second)
        });
        loads(&func, regions::STRUCT_FIELD)
    };
    assert_eq!(joined(true, number), 2);
    assert_eq!(joined(false, number), 1);
    // A load of another width or place is another one.
    let wide = |e: &mut GcEmitter<'_, '_>, object: Value| {
        let layout = StructLayout::new([StorageType::I64]).unwrap();
        let word = e.struct_get(object, &layout, 0, None);
        e.builder.ins().ireduce(types::I32, word)
    };
    assert_eq!(joined(false, wide), 2);
}

#[test]
fn a_loop_that_stores_loads_again_in_each_turn() {
    let func = simplified(|e, params| {
        let [object, other, count] = *params else { unreachable!() };
        let before = number(e, object);
        repeat(e, |e| {
            let now = number(e, object);
            let more = e.builder.ins().iadd(now, count);
            e.struct_set(other, &layout(), 0, more);
            e.builder.ins().icmp_imm_s(IntCC::SignedLessThan, more, 100)
        });
        let after = number(e, object);
        e.builder.ins().iadd(before, after)
    });
    assert_eq!(loads(&func, regions::STRUCT_FIELD), 3, "{}", func.display());
}

#[test]
fn words_that_others_write_are_loaded_each_time() {
    let func = simplified(|e, params| {
        let context = e.store_context();
        let [first, second] =
            [(); 2].map(|()| e.load_native(types::I32, regions::EPOCHS, context, 64));
        let sum = e.builder.ins().iadd(first, second);
        e.builder.ins().iadd(sum, params[2])
    });
    assert_eq!(loads(&func, regions::EPOCHS), 2, "{}", func.display());
}
