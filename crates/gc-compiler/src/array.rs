//! Arrays: allocation with initialisation, checked access to elements, and bulk operations, which
//! call the host.

use crate::address::{Access, Trust};
use crate::object::{self, Extend};
use crate::{GcCompiler, GcEmitter, RefPlace, regions, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use gc_types::{ArrayLayout, HostCall, StorageType, Trap};

/// The initial elements of a new array. Lengths are `I32`, unsigned.
#[derive(Clone, Copy, Debug)]
pub enum ArrayInit<'a> {
    /// This number of elements, all zero or null.
    Default(ir::Value),
    /// The value of all elements, and their number.
    Fill(ir::Value, ir::Value),
    /// These.
    Elements(&'a [ir::Value]),
}

pub(crate) fn array_new<C: GcCompiler + ?Sized>(
    compiler: &C,
    e: &mut GcEmitter<'_, '_>,
    header_word: ir::Value,
    layout: &ArrayLayout,
    init: ArrayInit<'_>,
) -> ir::Value {
    match init {
        ArrayInit::Default(length) => compiler.alloc_array(e, header_word, layout, length),
        ArrayInit::Fill(value, length) => {
            let array = compiler.alloc_array(e, header_word, layout, length);
            if !e.is_zero(value) {
                let zero = e.builder.ins().iconst(types::I32, 0);
                let not_empty = e.builder.ins().icmp_imm_u(IntCC::NotEqual, length, 0);
                for_each_index(e, not_empty, zero, length, |e, index| {
                    init_element(compiler, e, array, layout, index, value);
                });
            }
            array
        }
        ArrayInit::Elements(values) => {
            let length = u32::try_from(values.len()).unwrap_or(u32::MAX);
            let length = e.builder.ins().iconst(types::I32, i64::from(length));
            let array = compiler.alloc_array(e, header_word, layout, length);
            for (index, &value) in values.iter().enumerate() {
                if !e.is_zero(value) {
                    let index = e.builder.ins().iconst(types::I32, index as i64);
                    init_element(compiler, e, array, layout, index, value);
                }
            }
            array
        }
    }
}

fn init_element<C: GcCompiler + ?Sized>(
    compiler: &C,
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
) {
    if layout.element.is_ref() {
        compiler.init_ref(e, place(array, layout, index), value);
    } else {
        let access = element_access(e, array, layout, index, Trust::Fresh);
        object::store(e, access, layout.element, value);
    }
}

pub(crate) fn array_len(e: &mut GcEmitter<'_, '_>, array: ir::Value) -> ir::Value {
    let Access { address, offset, flags } = e.object_access(
        array,
        ArrayLayout::LENGTH_OFFSET,
        4,
        regions::ARRAY_LENGTH,
        Trust::MayBeNull,
    );
    e.builder.ins().load(types::I32, flags, address, offset)
}

pub(crate) fn array_get<C: GcCompiler + ?Sized>(
    compiler: &C,
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    extend: Option<Extend>,
) -> ir::Value {
    check_index(e, array, index);
    if layout.element.is_ref() {
        return compiler.read_ref(e, place(array, layout, index));
    }
    let access = element_access(e, array, layout, index, Trust::NotNull);
    object::load(e, access, layout.element, extend)
}

pub(crate) fn array_set<C: GcCompiler + ?Sized>(
    compiler: &C,
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
) {
    check_index(e, array, index);
    if layout.element.is_ref() {
        return compiler.write_ref(e, place(array, layout, index), value);
    }
    let access = element_access(e, array, layout, index, Trust::NotNull);
    object::store(e, access, layout.element, value);
}

pub(crate) fn array_fill(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
    length: ir::Value,
) {
    if layout.element == StorageType::V128 {
        return fill_with_vectors(e, array, layout, index, value, length);
    }
    e.builder.ins().trapz(array, trap_code(Trap::NullReference));
    let bits = match object::value_type(layout.element) {
        types::I32 => e.builder.ins().uextend(types::I64, value),
        types::F32 => {
            let bits = e.builder.ins().bitcast(types::I32, MemFlagsData::new(), value);
            e.builder.ins().uextend(types::I64, bits)
        }
        types::F64 => e.builder.ins().bitcast(types::I64, MemFlagsData::new(), value),
        _ => value,
    };
    e.call_host(HostCall::ARRAY_FILL, &[array, index, bits, length]);
}

/// Fills without the host, because a vector does not fit the host call's 64 bits.
fn fill_with_vectors(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
    length: ir::Value,
) {
    let total = array_len(e, array);
    let total = e.builder.ins().uextend(types::I64, total);
    let start = e.builder.ins().uextend(types::I64, index);
    let count = e.builder.ins().uextend(types::I64, length);
    let end = e.builder.ins().iadd(start, count);
    let outside = e.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, total);
    e.builder.ins().trapnz(outside, trap_code(Trap::ArrayOutOfBounds));
    let end = e.builder.ins().ireduce(types::I32, end);
    let not_empty = e.builder.ins().icmp_imm_u(IntCC::NotEqual, length, 0);
    for_each_index(e, not_empty, index, end, |e, index| {
        let access = element_access(e, array, layout, index, Trust::NotNull);
        object::store(e, access, layout.element, value);
    });
}

pub(crate) fn array_copy(
    e: &mut GcEmitter<'_, '_>,
    destination: ir::Value,
    destination_index: ir::Value,
    source: ir::Value,
    source_index: ir::Value,
    length: ir::Value,
) {
    e.builder.ins().trapz(destination, trap_code(Trap::NullReference));
    e.builder.ins().trapz(source, trap_code(Trap::NullReference));
    e.call_host(
        HostCall::ARRAY_COPY,
        &[destination, destination_index, source, source_index, length],
    );
}

/// Traps unless `index` is below the array's length. The order of the operands lets the load of the
/// length fuse with the comparison.
fn check_index(e: &mut GcEmitter<'_, '_>, array: ir::Value, index: ir::Value) {
    let length = array_len(e, array);
    let outside = e.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
    e.builder.ins().trapnz(outside, trap_code(Trap::ArrayOutOfBounds));
}

fn place(array: ir::Value, layout: &ArrayLayout, index: ir::Value) -> RefPlace {
    RefPlace::Element { object: array, index, offset: layout.elements_offset() }
}

fn element_access(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    trust: Trust,
) -> Access {
    let (offset, size) = (layout.elements_offset(), layout.element.size());
    e.element_access(array, index, offset, size, trust)
}

/// Emits a loop over the `I32` indices from `start` (inclusive) to `end` (exclusive), which is
/// entered if `not_empty`. The body must not contain a safepoint if it uses a fresh object.
fn for_each_index(
    e: &mut GcEmitter<'_, '_>,
    not_empty: ir::Value,
    start: ir::Value,
    end: ir::Value,
    body: impl FnOnce(&mut GcEmitter<'_, '_>, ir::Value),
) {
    let header = e.builder.create_block();
    let done = e.builder.create_block();
    let index = e.builder.append_block_param(header, types::I32);
    e.builder.ins().brif(not_empty, header, &[start.into()], done, &[]);
    e.builder.switch_to_block(header);
    body(e, index);
    let next = e.builder.ins().iadd_imm_u(index, 1);
    let more = e.builder.ins().icmp(IntCC::NotEqual, next, end);
    e.builder.ins().brif(more, header, &[next.into()], done, &[]);
    e.builder.seal_block(header);
    e.continue_in(done);
}
