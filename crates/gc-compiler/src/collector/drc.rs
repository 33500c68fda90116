//! `drc`: deferred reference counting (Deutsch and Bobrow, "An Efficient,
//! Incremental, Automatic Garbage Collector", 1976), its barriers emitted inline.
//!
//! Counts are of references in memory. A reference that is loaded onto the stack
//! puts its object into the root set, once, and the set's membership counts as one
//! reference: so whatever the stack holds is alive until the next collection has
//! compared the set with the stack. A store counts the new object up before it
//! overwrites the slot and the old one down behind it. The host is called, in cold
//! blocks, when the set is full and when a count reaches zero; allocation is the
//! host's.

use crate::address::{Access, Trust};
use crate::{GcCompiler, GcEmitter, RefPlace, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::collector::drc::{
    COUNT_ONE, COUNT_SHIFT, IN_ROOT_SET, NAME, OP_DEAD, OP_ROOT_SET_FULL, ROOT_SET_BASE,
    ROOT_SET_CAPACITY, ROOT_SET_LEN,
};
use gc_types::{ArrayLayout, HostCall, VMGcHeader};

/// Emits code for the `drc` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrcCompiler;

impl GcCompiler for DrcCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn zeroes_structs(&self) -> bool {
        true
    }

    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        _size: u32,
    ) -> ir::Value {
        e.call_host(HostCall::ALLOC_STRUCT, &[header_word]);
        e.host_result_ref()
    }

    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        _layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        e.call_host(HostCall::ALLOC_ARRAY, &[header_word, length]);
        e.host_result_ref()
    }

    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        let value = e.load_ref(place);
        e.declare_ref(value);
        enter_root_set(e, value);
        value
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        // Count up first: the new object may be the old one, or hang on it. Count down
        // last: what frees the old object must not find it in the slot.
        let access = e.place_access(place, Trust::MayBeNull);
        let old = e.load_ref_at(access);
        count_up(e, value);
        e.store_ref_at(access, value);
        count_down(e, old);
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        count_up(e, value);
        e.store_ref(place, value, Trust::Fresh);
    }
}

/// The collector's word in the header of `object`, and where to store it back.
fn load_count(e: &mut GcEmitter<'_, '_>, object: ir::Value) -> (ir::Value, Access) {
    let access = e.header_access(object, VMGcHeader::COLLECTOR_OFFSET);
    (e.builder.ins().load(types::I32, access.flags, access.address, access.offset), access)
}

fn store_count(e: &mut GcEmitter<'_, '_>, access: Access, word: ir::Value) {
    e.builder.ins().store(access.flags, word, access.address, access.offset);
}

/// Branches to a new block, which becomes the current one, if `value` is in the
/// heap, otherwise to the block that is returned.
fn if_heap_ref(e: &mut GcEmitter<'_, '_>, value: ir::Value) -> ir::Block {
    let counted = e.builder.create_block();
    let done = e.builder.create_block();
    let in_heap = e.is_heap_ref(value);
    e.builder.ins().brif(in_heap, counted, &[], done, &[]);
    e.continue_in(counted);
    done
}

fn count_up(e: &mut GcEmitter<'_, '_>, value: ir::Value) {
    if e.is_zero(value) {
        return;
    }
    let done = if_heap_ref(e, value);
    let (word, access) = load_count(e, value);
    let word = e.builder.ins().iadd_imm_u(word, i64::from(COUNT_ONE));
    store_count(e, access, word);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

fn count_down(e: &mut GcEmitter<'_, '_>, value: ir::Value) {
    const _: () = assert!(COUNT_ONE == 1 << COUNT_SHIFT);
    let done = if_heap_ref(e, value);
    let (word, access) = load_count(e, value);
    let word = e.builder.ins().iadd_imm_s(word, -i64::from(COUNT_ONE));
    store_count(e, access, word);
    let dead = e.create_cold_block();
    let is_dead = e.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, word, i64::from(COUNT_ONE));
    e.builder.ins().brif(is_dead, dead, &[], done, &[]);

    e.continue_in(dead);
    call_collector(e, OP_DEAD, value);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

/// Appends `value` to the root set if it is in the heap and not in the set.
fn enter_root_set(e: &mut GcEmitter<'_, '_>, value: ir::Value) {
    let done = if_heap_ref(e, value);
    let enter = e.create_cold_block();
    let append = e.create_cold_block();
    let full = e.create_cold_block();

    let (word, access) = load_count(e, value);
    let entered = e.builder.ins().band_imm_u(word, i64::from(IN_ROOT_SET));
    e.builder.ins().brif(entered, done, &[], enter, &[]);

    // The host does all of it when the set is full, so that is asked first.
    e.continue_in(enter);
    let data = e.heap_data();
    let length = e.load_native(types::I32, regions::HEAP_CURSOR, data, ROOT_SET_LEN);
    let capacity = e.load_native(types::I32, regions::HEAP_DATA, data, ROOT_SET_CAPACITY);
    let room = e.builder.ins().icmp(IntCC::UnsignedLessThan, length, capacity);
    e.builder.ins().brif(room, append, &[], full, &[]);

    e.continue_in(append);
    let word = e.builder.ins().bor_imm_u(word, i64::from(IN_ROOT_SET));
    let word = e.builder.ins().iadd_imm_u(word, i64::from(COUNT_ONE));
    store_count(e, access, word);
    let base = e.load_native(types::I64, regions::HEAP_DATA, data, ROOT_SET_BASE);
    let at = e.builder.ins().uextend(types::I64, length);
    let at = e.builder.ins().ishl_imm_u(at, 2);
    let slot = e.builder.ins().iadd(base, at);
    let flags = e.native_flags(regions::ROOT_SET);
    e.builder.ins().istore32(flags, value, slot, 0);
    let length = e.builder.ins().iadd_imm_u(length, 1);
    let flags = e.native_flags(regions::HEAP_CURSOR);
    e.builder.ins().store(flags, length, data, ROOT_SET_LEN.cast_signed());
    e.builder.ins().jump(done, &[]);

    e.continue_in(full);
    call_collector(e, OP_ROOT_SET_FULL, value);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

fn call_collector(e: &mut GcEmitter<'_, '_>, operation: u32, value: ir::Value) {
    let operation = e.builder.ins().iconst(types::I32, i64::from(operation));
    let operand = e.builder.ins().iconst(types::I64, 0);
    e.call_host(HostCall::COLLECTOR, &[operation, value, operand]);
}
