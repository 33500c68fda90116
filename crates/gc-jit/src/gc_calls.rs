//! The heap's host calls ([`HostCall::GC`]) over a [`GcStore`](gc_runtime::GcStore).
//!
//! Their arguments come from emitted code and may come from the heap, so they are as untrusted as
//! the heap's bytes. An allocation collects and grows the heap as the store's policy says. The
//! roots are the references in the store's frames and the embedder's roots. The new reference is
//! exposed to compiled code (`expose_gc_ref_to_wasm`) when it is returned.
#![allow(unsafe_code)]

use crate::{JitStore, arch, host_call_guard, host_call_guard_infallible};
use anyhow::Result;
use gc_types::{HostCall, Trap, TypeIndex, VMGcHeader, VMGcKind, VMGcRef};

/// The first entries of the host-call table, by index. The embedder's entries follow.
pub(crate) fn table<S: JitStore>() -> [*const u8; HostCall::FIRST_EMBEDDER as usize] {
    let mut table = [missing as *const u8; HostCall::FIRST_EMBEDDER as usize];
    for (call, function) in [
        (HostCall::ALLOC_STRUCT, alloc_struct::<S> as *const u8),
        (HostCall::ALLOC_ARRAY, alloc_array::<S> as *const u8),
        (HostCall::COLLECTOR, collector::<S> as *const u8),
        (HostCall::IS_SUBTYPE, is_subtype::<S> as *const u8),
        (HostCall::ARRAY_COPY, array_copy::<S> as *const u8),
        (HostCall::ARRAY_FILL, array_fill::<S> as *const u8),
        (HostCall::UNWIND, arch::unwind_stub as *const u8),
    ] {
        table[call.index() as usize] = function;
    }
    table
}

/// The function in the table's unused entries. No signature names them, so it is never called.
extern "C" fn missing() -> u64 {
    std::process::abort()
}

fn header(word: u64) -> Result<(VMGcKind, TypeIndex)> {
    let header = VMGcHeader::from_words(word as u32, 0);
    Ok((header.kind().ok_or(Trap::CorruptHeap)?, header.ty()))
}

fn reference(word: u64) -> Option<VMGcRef> {
    VMGcRef::from_raw_u32(word as u32)
}

extern "C" fn alloc_struct<S: JitStore>(vmctx: *mut u8, word: u64) -> u64 {
    // SAFETY: emitted code passes its vmctx.
    unsafe {
        host_call_guard(vmctx, |store: &mut S| {
            let (VMGcKind::StructRef | VMGcKind::ExnRef, ty) = header(word)? else {
                return Err(Trap::CorruptHeap.into());
            };
            let (gc, mut roots) = store.jit_mut().gc_and_stack();
            let object = gc.alloc_struct(&mut roots, ty)?;
            Ok(u64::from(gc.expose_gc_ref_to_wasm(object)))
        })
    }
}

extern "C" fn alloc_array<S: JitStore>(vmctx: *mut u8, word: u64, length: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        host_call_guard(vmctx, |store: &mut S| {
            let (VMGcKind::ArrayRef, ty) = header(word)? else {
                return Err(Trap::CorruptHeap.into());
            };
            let (gc, mut roots) = store.jit_mut().gc_and_stack();
            let array = gc.alloc_array(&mut roots, ty, length as u32)?;
            Ok(u64::from(gc.expose_gc_ref_to_wasm(array)))
        })
    }
}

extern "C" fn collector<S: JitStore>(
    vmctx: *mut u8,
    operation: u64,
    word: u64,
    operand: u64,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        host_call_guard_infallible(vmctx, |store: &mut S| {
            store.jit_mut().gc_mut().collector_slow_path(operation as u32, reference(word), operand)
        })
    }
}

extern "C" fn is_subtype<S: JitStore>(vmctx: *mut u8, actual: u64, expected: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        host_call_guard_infallible(vmctx, |store: &mut S| {
            store.is_subtype(actual as u32, expected as u32).into()
        })
    }
}

extern "C" fn array_copy<S: JitStore>(
    vmctx: *mut u8,
    dst: u64,
    dst_index: u64,
    src: u64,
    src_index: u64,
    length: u64,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        host_call_guard(vmctx, |store: &mut S| {
            let dst = reference(dst).ok_or(Trap::NullReference)?;
            let src = reference(src).ok_or(Trap::NullReference)?;
            let (dst_index, src_index) = (dst_index as u32, src_index as u32);
            store.jit_mut().gc_mut().array_copy(&dst, dst_index, &src, src_index, length as u32)?;
            Ok(0)
        })
    }
}

extern "C" fn array_fill<S: JitStore>(
    vmctx: *mut u8,
    array: u64,
    index: u64,
    bits: u64,
    length: u64,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        host_call_guard(vmctx, |store: &mut S| {
            let array = reference(array).ok_or(Trap::NullReference)?;
            store.jit_mut().gc_mut().array_fill(
                &array,
                index as u32,
                bits.into(),
                length as u32,
            )?;
            Ok(0)
        })
    }
}
