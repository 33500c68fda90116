//! Inline bump allocation, the allocation that [`GcCompiler`](crate::GcCompiler) provides.
//!
//! The next object's index and the limit are in the heap data ([`gc_types::collector::bump`]); the
//! memory between them is zero, so only the header (and an array's length) is written. A cold block
//! calls the host when the object does not fit. No object fits if a heap leaves both words zero.
//! The size is compared in 64 bits, which cannot wrap.

use crate::{Access, AllocationSite, GcEmitter, Trust, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{ArrayLayout, HeapDataOffsets, HostCall, OBJECT_ALIGN, VMGcHeader};

/// Emits code that records an object that was just allocated inline. The object's header and length
/// are written, and its body is zero. The code must not contain a safepoint.
pub type Note = fn(&mut GcEmitter<'_, '_>, object: ir::Value);

/// Allocates a struct or exception of `size` bytes with `header_word` (`I32`).
/// The collector's word and the body are zero.
pub fn alloc_struct(e: &mut GcEmitter<'_, '_>, header_word: ir::Value, size: u32) -> ir::Value {
    alloc_struct_noted(e, header_word, size, |_, _| ())
}

/// Like [`alloc_struct`], but emits `note` for an object that is allocated inline.
pub fn alloc_struct_noted(
    e: &mut GcEmitter<'_, '_>,
    header_word: ir::Value,
    size: u32,
    note: Note,
) -> ir::Value {
    let size = e.builder.ins().iconst(types::I64, i64::from(size));
    alloc(e, header_word, size, None, note)
}

/// Allocates an array of `length` (`I32`, unsigned) elements with `header_word`
/// (`I32`). The collector's word and the elements are zero.
pub fn alloc_array(
    e: &mut GcEmitter<'_, '_>,
    header_word: ir::Value,
    layout: &ArrayLayout,
    length: ir::Value,
) -> ir::Value {
    alloc_array_noted(e, header_word, layout, length, |_, _| ())
}

/// Like [`alloc_array`], but emits `note` for an array that is allocated inline.
pub fn alloc_array_noted(
    e: &mut GcEmitter<'_, '_>,
    header_word: ir::Value,
    layout: &ArrayLayout,
    length: ir::Value,
    note: Note,
) -> ir::Value {
    // An array that is too large does not fit.
    let shift = i64::from(layout.element.size().trailing_zeros());
    let count = e.builder.ins().uextend(types::I64, length);
    let bytes = e.builder.ins().ishl_imm_u(count, shift);
    let align = i64::from(OBJECT_ALIGN);
    let size = e.builder.ins().iadd_imm_u(bytes, i64::from(layout.elements_offset()) + align - 1);
    let size = e.builder.ins().band_imm_s(size, -align);
    alloc(e, header_word, size, Some(length), note)
}

/// Allocates `size` (`I64`) bytes. The object is an array if there is a `length`.
fn alloc(
    e: &mut GcEmitter<'_, '_>,
    header_word: ir::Value,
    size: ir::Value,
    length: Option<ir::Value>,
    note: Note,
) -> ir::Value {
    let data = e.heap_data();
    let cursor_flags = e.native_flags(regions::HEAP_CURSOR);
    let limit_flags = e.native_flags(regions::HEAP_DATA);
    let next = e.builder.ins().uload32(cursor_flags, data, NEXT.cast_signed());
    let limit = e.builder.ins().uload32(limit_flags, data, LIMIT.cast_signed());
    let end = e.builder.ins().iadd(next, size);
    let mut fits = e.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, limit);

    const COUNTDOWN: i32 = HeapDataOffsets::ZEAL_COUNTDOWN.cast_signed();
    let countdown = e.env.abi().zeal().then(|| {
        let countdown = e.builder.ins().load(types::I32, cursor_flags, data, COUNTDOWN);
        let left = e.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, countdown, 1);
        fits = e.builder.ins().band(fits, left);
        countdown
    });

    let fast = e.builder.create_block();
    let slow = e.create_cold_block();
    let merge = e.builder.create_block();
    let object = e.builder.append_block_param(merge, types::I64);
    e.declare_ref(object);
    let branch = e.builder.ins().brif(fits, fast, &[], slow, &[]);

    e.continue_in(fast);
    let moves_cursor = e.builder.ins().istore32(cursor_flags, end, data, NEXT.cast_signed());
    let site = AllocationSite { branch, moves_cursor, next, limit, size, countdown };
    e.env.annotations().allocations.record(site);
    if let Some(countdown) = countdown {
        let left = e.builder.ins().iadd_imm_s(countdown, -1);
        e.builder.ins().store(cursor_flags, left, data, COUNTDOWN);
    }
    // One store writes both words of the header. The collector's word is zero.
    let header = crate::zero_extended(e.builder, header_word);
    let at = VMGcHeader::WORD_OFFSET;
    let Access { address, offset, flags } =
        e.object_access(next, at, VMGcHeader::SIZE, regions::HEADER, Trust::Fresh);
    e.builder.ins().store(flags, header, address, offset);
    if let Some(length) = length {
        let at = ArrayLayout::LENGTH_OFFSET;
        let Access { address, offset, flags } =
            e.object_access(next, at, 4, regions::ARRAY_LENGTH, Trust::Fresh);
        e.builder.ins().store(flags, length, address, offset);
    }
    note(e, next);
    e.builder.ins().jump(merge, &[next.into()]);

    e.continue_in(slow);
    match length {
        None => e.call_host(HostCall::ALLOC_STRUCT, &[header_word]),
        Some(length) => e.call_host(HostCall::ALLOC_ARRAY, &[header_word, length]),
    }
    let allocated = e.host_result_ref();
    e.builder.ins().jump(merge, &[allocated.into()]);

    e.continue_in(merge);
    object
}
