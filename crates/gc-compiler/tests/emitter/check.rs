//! For each law, the checkers find code that breaks it.

use crate::common::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use gc_compiler::check::Checker;
use gc_compiler::collector::null::NullCompiler;
use gc_compiler::{GcEmitter, regions, trap_code};
use gc_types::{Abi, HEAP_GUARD_SIZE, HeapBounds, Trap};

fn checked() -> Abi {
    guarded().with_bounds(HeapBounds::Checked)
}

/// The law that a function around `op` breaks.
fn law(
    options: &Abi,
    op: impl Fn(&mut GcEmitter<'_, '_>, Args) -> ir::Value,
) -> Option<&'static str> {
    let func = build(&host_isa(), &NullCompiler, options, &|e, a| Some(op(e, a)));
    check(&func, &NullCompiler, options, &[Checker::Sandbox]).err().map(|error| error.law)
}

fn field(e: &mut GcEmitter<'_, '_>) -> MemFlagsData {
    let region = regions::intern(e.builder.func, regions::STRUCT_FIELD);
    MemFlagsData::new()
        .with_alias_region(Some(region))
        .with_trap_code(Some(trap_code(Trap::CorruptHeap)))
}

fn sum(e: &mut GcEmitter<'_, '_>, index: ir::Value) -> ir::Value {
    let base = e.heap_base();
    e.builder.ins().iadd(base, index)
}

#[test]
fn accesses_need_regions() {
    let broken =
        law(&guarded(), |e, a| e.builder.ins().load(types::I32, MemFlagsData::trusted(), a.l, 0));
    assert_eq!(broken, Some("an access without an alias region"));
}

#[test]
fn heap_loads_stay_where_they_are_and_may_trap() {
    let load = |change: fn(MemFlagsData) -> MemFlagsData| {
        law(&guarded(), |e, a| {
            let (flags, address) = (change(field(e)), sum(e, a.a));
            e.builder.ins().load(types::I32, flags, address, 8)
        })
    };
    assert_eq!(load(|flags| flags), None);
    assert_eq!(load(|flags| flags.with_readonly()), Some("a heap load that may move"));
    assert_eq!(load(|flags| flags.with_can_move()), Some("a heap load that may move"));
    let trusted = Some("a heap load without a trap code");
    assert_eq!(load(|flags| flags.with_notrap()), trusted);
    let aligned = Some("an untrusted heap access that is assumed to be aligned");
    assert_eq!(load(|flags| flags.with_aligned()), aligned);
}

#[test]
fn heap_addresses_have_the_sandboxs_form() {
    let load = |options: &_, index: fn(&mut GcEmitter<'_, '_>, Args) -> ir::Value, offset| {
        law(options, |e, a| {
            let index = index(e, a);
            let (flags, address) = (field(e), sum(e, index));
            e.builder.ins().load(types::I64, flags, address, offset)
        })
    };
    let wide = Some("a heap index that may be wider than 32 bits");
    let uncompared = Some("a heap access outside the guard without a comparison");
    let guarded = guarded();
    assert_eq!(load(&guarded, |_, a| a.a, HEAP_GUARD_SIZE as i32 - 8), None);
    assert_eq!(load(&guarded, |_, a| a.a, HEAP_GUARD_SIZE as i32 - 7), uncompared);
    assert_eq!(load(&checked(), |_, a| a.a, 8), uncompared);
    let far = |e: &mut GcEmitter<'_, '_>, a: Args| e.builder.ins().iadd_imm_u(a.a, 8);
    assert_eq!(load(&guarded, far, 8), wide);
    let scaled = |e: &mut GcEmitter<'_, '_>, a: Args| {
        let index = e.builder.ins().uextend(types::I64, a.x);
        e.builder.ins().ishl_imm_u(index, 3)
    };
    assert_eq!(load(&guarded, scaled, 8), wide);
    let constant = |e: &mut GcEmitter<'_, '_>, _: Args| e.builder.ins().iconst(types::I64, 1 << 32);
    assert_eq!(load(&guarded, constant, 8), wide);

    // An integer from the heap passes through a loop and is used as a reference.
    let laundered = |e: &mut GcEmitter<'_, '_>, a: Args| {
        let (flags, address) = (field(e), sum(e, a.a));
        let integer = e.builder.ins().load(types::I64, flags, address, 8);
        let (head, exit) = (e.builder.create_block(), e.builder.create_block());
        let value = e.builder.append_block_param(head, types::I64);
        e.builder.ins().jump(head, &[a.b.into()]);
        e.builder.switch_to_block(head);
        e.builder.ins().brif(a.x, head, &[integer.into()], exit, &[]);
        e.builder.seal_block(head);
        e.builder.seal_block(exit);
        e.builder.switch_to_block(exit);
        value
    };
    assert_eq!(load(&guarded, laundered, 8), wide);

    let elsewhere = law(&guarded, |e, a| {
        let flags = field(e);
        let address = e.builder.ins().iadd(a.l, a.a);
        e.builder.ins().load(types::I32, flags, address, 0)
    });
    assert_eq!(elsewhere, Some("a heap address that is not relative to the heap's base"));
    let raw = law(&guarded, |e, a| {
        let flags = field(e);
        e.builder.ins().load(types::I32, flags, a.l, 0)
    });
    assert_eq!(raw, Some("a heap address that is not a sum"));
}

#[test]
fn stack_map_entries_are_words_of_their_slots() {
    let broken = |entries: &[(ir::Type, u32)]| {
        let options = guarded();
        let mut func = build(&host_isa(), &NullCompiler, &options, &|e, a| {
            e.call_host(gc_types::HostCall::ALLOC_STRUCT, &[a.word]);
            Some(e.host_result_i64())
        });
        let slot = func.create_sized_stack_slot(ir::StackSlotData::new(
            ir::StackSlotKind::ExplicitSlot,
            16,
            3,
        ));
        let call = func
            .layout
            .blocks()
            .flat_map(|block| func.layout.block_insts(block))
            .find(|inst| func.dfg.insts[*inst].opcode().is_call())
            .unwrap();
        for &(ty, offset) in entries {
            let entry = ir::UserStackMapEntry { ty, slot, offset };
            func.dfg.append_user_stack_map_entry(call, entry);
        }
        check(&func, &NullCompiler, &options, &[Checker::Roots]).err().map(|error| error.law)
    };
    // The entries are correct. Another law finds that the slots hold nothing.
    let empty = Some("a stack map names a slot that may not hold a current reference");
    assert_eq!(broken(&[(types::I64, 0), (types::I64, 8)]), empty);
    assert_eq!(broken(&[(types::I64, 12)]), Some("a stack map entry outside its slot"));
    assert_eq!(broken(&[(types::I64, u32::MAX)]), Some("a stack map entry outside its slot"));
    let overlap = broken(&[(types::I64, 0), (types::I64, 4)]);
    assert_eq!(overlap, Some("stack map entries that overlap"));
    let narrow = broken(&[(types::I32, 0)]);
    assert_eq!(narrow, Some("a stack map entry that is not as wide as a reference"));
}

/// Accesses of `EMBEDDER` regions, whose memory is data.
fn data(e: &mut GcEmitter<'_, '_>) -> MemFlagsData {
    let region = regions::intern(e.builder.func, regions::EMBEDDER + 9);
    MemFlagsData::trusted().with_alias_region(Some(region))
}

fn stack_slot(e: &mut GcEmitter<'_, '_>, size: u32) -> ir::Value {
    let data = ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, size, 3);
    let slot = e.builder.create_sized_stack_slot(data);
    e.builder.ins().stack_addr(types::I64, slot, 0)
}

#[test]
fn stack_slots_are_accessed_inside() {
    let store = |offset| {
        law(&guarded(), |e, a| {
            let (address, flags) = (stack_slot(e, 16), data(e));
            e.builder.ins().store(flags, a.l, address, offset);
            a.l
        })
    };
    assert_eq!(store(8), None);
    let outside = Some("an access outside a stack slot");
    assert_eq!((store(9), store(16), store(-8)), (outside, outside, outside));
    let computed = law(&guarded(), |e, a| {
        let (slot, flags) = (stack_slot(e, 16), data(e));
        let index = e.builder.ins().uextend(types::I64, a.x);
        let address = e.builder.ins().iadd(slot, index);
        e.builder.ins().store(flags, a.l, address, 0);
        a.l
    });
    assert_eq!(computed, outside);
}

/// What a slot holds is not a pointer because it is loaded as one.
#[test]
fn an_integer_does_not_become_a_pointer_in_a_stack_slot() {
    let laundered = law(&guarded(), |e, a| {
        let (slot, flags) = (stack_slot(e, 8), data(e));
        e.builder.ins().store(flags, a.l, slot, 0);
        let region = regions::intern(e.builder.func, regions::TYPES);
        let native = MemFlagsData::trusted().with_alias_region(Some(region));
        let pointer = e.builder.ins().load(types::I64, native, slot, 0);
        e.builder.ins().load(types::I64, flags, pointer, 0)
    });
    assert_eq!(laundered, Some("a stack slot is accessed as other memory"));
}

#[test]
fn atomic_accesses_are_refused() {
    let atomic = law(&guarded(), |e, a| {
        let flags = data(e);
        e.builder.ins().atomic_load(types::I64, flags, a.l)
    });
    assert_eq!(atomic, Some("an access that is neither a load nor a store"));
}

#[test]
fn the_results_of_host_calls_are_not_forged() {
    let forged = law(&guarded(), |e, a| {
        let region = regions::intern(e.builder.func, regions::HOST_RESULT);
        let flags = MemFlagsData::trusted().with_alias_region(Some(region));
        let slot = stack_slot(e, 8);
        let data = data(e);
        e.builder.ins().store(data, a.l, slot, 0);
        e.builder.ins().store(flags, a.l, slot, 0);
        a.l
    });
    assert_eq!(forged, Some("a store to the result of host calls"));
}

/// A sum of 32-bit values can be as wide as one likes. The time to find its width must not grow
/// with the number of ways through it, nor the stack with its depth.
#[test]
fn sums_that_may_wrap_are_wide() {
    let load = |times: u32| {
        law(&guarded(), |e, a| {
            let mut index = e.builder.ins().uextend(types::I64, a.x);
            for _ in 0..times {
                index = e.builder.ins().iadd(index, index);
            }
            let end = e.builder.ins().iadd_imm_s(index, 1 << 30);
            let bound = e.builder.ins().iconst(types::I64, 1 << 32);
            let outside = e.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, bound);
            e.builder.ins().trapnz(outside, trap_code(Trap::CorruptHeap));
            let (flags, address) = (field(e), sum(e, index));
            e.builder.ins().load(types::I64, flags, address, 3 << 20)
        })
    };
    assert_eq!(load(4), None);
    let wide = Some("a heap index that may be wider than 32 bits");
    assert_eq!((load(32), load(100_000)), (wide, wide));
}
