//! The host calls of compiled WebAssembly beyond the heap's own: linear memories,
//! tables, and arrays made from segments. The signatures stand in
//! [`crate::host_calls`].

use super::data::SegmentElements;
use super::instantiate::{drop_elements, table_init};
use super::table::{Element, range};
use crate::store::StoreOpaque;
use anyhow::{Context, Result};
use gc_jit::{VMFuncRef, host_call_guard, host_call_guard_infallible};
use gc_types::{ArrayLayout, GcLayout, StorageType, Trap, TypeIndex, VMGcRef};

/// The host functions in order of their numbers.
pub(crate) fn table() -> [*const u8; 16] {
    [
        memory_grow as *const u8,
        memory_copy as *const u8,
        memory_fill as *const u8,
        memory_init as *const u8,
        data_drop as *const u8,
        table_grow_ref as *const u8,
        table_grow_func as *const u8,
        table_fill_ref as *const u8,
        table_fill_func as *const u8,
        table_copy as *const u8,
        table_init_call as *const u8,
        elem_drop as *const u8,
        array_new_data as *const u8,
        array_new_elem as *const u8,
        array_init_data as *const u8,
        array_init_elem as *const u8,
    ]
}

const _: () = assert!(crate::host_calls::WASM.len() == 16);

/// The instance whose code passed `vmctx`.
fn instance_of(vmctx: *mut u8) -> usize {
    // SAFETY: compiled code passes its instance's vmctx.
    unsafe { StoreOpaque::instance_of(vmctx) }
}

/// A host call that may fail.
fn fallible(vmctx: *mut u8, body: impl FnOnce(&mut StoreOpaque, usize) -> Result<u64>) -> u64 {
    let body = |store: &mut StoreOpaque| body(store, instance_of(vmctx));
    // SAFETY: compiled code passes its own vmctx.
    unsafe { host_call_guard(vmctx, body) }
}

/// A host call that cannot fail.
fn infallible(vmctx: *mut u8, body: impl FnOnce(&mut StoreOpaque, usize) -> u64) -> u64 {
    let body = |store: &mut StoreOpaque| body(store, instance_of(vmctx));
    // SAFETY: compiled code passes its own vmctx.
    unsafe { host_call_guard_infallible(vmctx, body) }
}

/// What growing returns: the former size or -1, as 32 bits.
fn size_or_minus_one(size: Option<u32>) -> u64 {
    u64::from(size.unwrap_or(u32::MAX))
}

extern "C" fn memory_grow(vmctx: *mut u8, memory: u64, delta: u64) -> u64 {
    infallible(vmctx, |store, instance| {
        let memory = store.instances[instance].memories[memory as usize];
        let old = store.memories[memory].grow(delta);
        size_or_minus_one(old.map(|pages| pages as u32))
    })
}

extern "C" fn memory_copy(
    vmctx: *mut u8,
    to: u64,
    at: u64,
    from: u64,
    start: u64,
    len: u64,
) -> u64 {
    fallible(vmctx, |store, instance| {
        let memories = &store.instances[instance].memories;
        let (to, from) = (memories[to as usize], memories[from as usize]);
        let (at, start, len) = (at as u32, start as u32, len as u32);
        if to == from {
            store.memories[to].copy_within(at, start, len)?;
        } else {
            let [to, from] = store.memories.get_disjoint_mut([to, from]).context("memories")?;
            to.init(at, from.bytes(), start, len)?;
        }
        Ok(0)
    })
}

extern "C" fn memory_fill(vmctx: *mut u8, memory: u64, at: u64, byte: u64, len: u64) -> u64 {
    fallible(vmctx, |store, instance| {
        let memory = store.instances[instance].memories[memory as usize];
        store.memories[memory].fill(at as u32, byte as u8, len as u32)?;
        Ok(0)
    })
}

extern "C" fn memory_init(
    vmctx: *mut u8,
    memory: u64,
    segment: u64,
    at: u64,
    from: u64,
    len: u64,
) -> u64 {
    fallible(vmctx, |store, instance| {
        let data = &store.instances[instance];
        let memory = data.memories[memory as usize];
        let bytes = data.data(segment as u32);
        store.memories[memory].init(at as u32, bytes, from as u32, len as u32)?;
        Ok(0)
    })
}

extern "C" fn data_drop(vmctx: *mut u8, segment: u64) -> u64 {
    infallible(vmctx, |store, instance| {
        store.instances[instance].dropped_data[segment as usize] = true;
        0
    })
}

fn table_grow(vmctx: *mut u8, table: u64, init: Element, delta: u64) -> u64 {
    infallible(vmctx, |store, instance| {
        let table = store.instances[instance].tables[table as usize];
        size_or_minus_one(store.grow_table(table, delta, init).ok())
    })
}

extern "C" fn table_grow_ref(vmctx: *mut u8, table: u64, init: u64, delta: u64) -> u64 {
    table_grow(vmctx, table, Element::Gc(init as u32), delta)
}

extern "C" fn table_grow_func(vmctx: *mut u8, table: u64, init: *mut VMFuncRef, delta: u64) -> u64 {
    table_grow(vmctx, table, Element::Func(init), delta)
}

fn table_fill(vmctx: *mut u8, table: u64, at: u64, element: Element, len: u64) -> u64 {
    fallible(vmctx, |store, instance| {
        let table = store.instances[instance].tables[table as usize];
        let (table, gc) = store.table_and_gc(table);
        table.fill(gc, at as u32, element, len as u32)?;
        Ok(0)
    })
}

extern "C" fn table_fill_ref(vmctx: *mut u8, table: u64, at: u64, value: u64, len: u64) -> u64 {
    table_fill(vmctx, table, at, Element::Gc(value as u32), len)
}

extern "C" fn table_fill_func(
    vmctx: *mut u8,
    table: u64,
    at: u64,
    value: *mut VMFuncRef,
    len: u64,
) -> u64 {
    table_fill(vmctx, table, at, Element::Func(value), len)
}

extern "C" fn table_copy(vmctx: *mut u8, to: u64, from: u64, at: u64, start: u64, len: u64) -> u64 {
    fallible(vmctx, |store, instance| {
        let tables = &store.instances[instance].tables;
        let (to, from) = (tables[to as usize], tables[from as usize]);
        let (at, start, len) = (at as u32, start as u32, len as u32);
        if to == from {
            let (table, gc) = store.table_and_gc(to);
            table.copy_within(gc, at, start, len)?;
        } else {
            let gc = store.jit.gc_mut();
            let [to, from] = store.tables.get_disjoint_mut([to, from]).context("tables")?;
            to.copy_from(gc, at, from, start, len)?;
        }
        Ok(0)
    })
}

extern "C" fn table_init_call(
    vmctx: *mut u8,
    table: u64,
    segment: u64,
    at: u64,
    from: u64,
    len: u64,
) -> u64 {
    fallible(vmctx, |store, instance| {
        let (at, from, len) = (at as u32, from as u32, len as u32);
        table_init(store, instance, table as u32, segment as u32, at, from, len)?;
        Ok(0)
    })
}

extern "C" fn elem_drop(vmctx: *mut u8, segment: u64) -> u64 {
    infallible(vmctx, |store, instance| {
        drop_elements(store, instance, segment as u32);
        0
    })
}

/// The layout of an array type that emitted code names.
fn array_layout(store: &StoreOpaque, ty: TypeIndex) -> Result<ArrayLayout> {
    let ty = store.engine().types().try_get(ty).context("an unknown array type")?;
    match ty.layout.as_deref() {
        Some(GcLayout::Array(layout)) => Ok(*layout),
        _ => anyhow::bail!("a type that is not an array's"),
    }
}

/// The type in a header word.
fn header_type(word: u64) -> TypeIndex {
    TypeIndex::new(word as u32 & TypeIndex::MAX).expect("masked")
}

/// The bytes of `len` elements of `size` bytes each from `from` on in a data segment.
fn data_range(data: &[u8], from: u64, len: u64, size: u32) -> Result<&[u8], Trap> {
    let bytes = (len as u32 as u64) * u64::from(size);
    let (start, end) = (from as u32 as u64, from as u32 as u64 + bytes);
    if end > data.len() as u64 {
        return Err(Trap::MemoryOutOfBounds);
    }
    Ok(&data[start as usize..end as usize])
}

/// The reference in a parameter, which must not be null.
fn not_null(word: u64) -> Result<VMGcRef, Trap> {
    VMGcRef::from_raw_u32(word as u32).ok_or(Trap::NullReference)
}

extern "C" fn array_new_data(vmctx: *mut u8, word: u64, segment: u64, from: u64, len: u64) -> u64 {
    fallible(vmctx, |store, instance| {
        let ty = header_type(word);
        let size = array_layout(store, ty)?.element.size();
        // Checked first: a segment is smaller than any heap.
        data_range(store.instances[instance].data(segment as u32), from, len, size)?;
        let array = store.with_gc(|gc, roots| gc.alloc_array(roots, ty, len as u32))?;
        let data = store.instances[instance].data(segment as u32);
        let bytes = data_range(data, from, len, size)?;
        let written = store.jit.gc_mut().array_write_bytes(&array, 0, bytes);
        expose_new(store, array, written.map_err(Into::into))
    })
}

/// Hands a new array to compiled code, or gives it up if filling it failed.
fn expose_new(store: &mut StoreOpaque, array: VMGcRef, filled: Result<()>) -> Result<u64> {
    let gc = store.gc_store_mut();
    match filled {
        Ok(()) => Ok(u64::from(gc.expose_gc_ref_to_wasm(array))),
        Err(error) => {
            gc.drop_gc_ref(array);
            Err(error)
        }
    }
}

extern "C" fn array_init_data(
    vmctx: *mut u8,
    array: u64,
    index: u64,
    segment: u64,
    from: u64,
    len: u64,
) -> u64 {
    fallible(vmctx, |store, instance| {
        let array = not_null(array)?;
        let (_, element) = store.gc_store().array_element(&array, index as u32, len as u32)?;
        let data = store.instances[instance].data(segment as u32);
        let bytes = data_range(data, from, len, element.size())?;
        store.jit.gc_mut().array_write_bytes(&array, index as u32, bytes)?;
        Ok(0)
    })
}

/// Copies elements of a segment into an array, with barriers.
fn write_elements(
    store: &mut StoreOpaque,
    instance: usize,
    array: &VMGcRef,
    index: u32,
    segment: u32,
    from: u32,
    len: u32,
) -> Result<()> {
    let (offset, element) = store.gc_store().array_element(array, index, len)?;
    let segment = &store.instances[instance].elements[segment as usize];
    let source = range(from, len, segment.len())?;
    let gc = store.jit.gc_mut();
    match (segment, element) {
        (SegmentElements::Gc { id, .. }, StorageType::Ref) => {
            for (i, element) in source.enumerate() {
                let value = &gc.roots().segment(*id)[element];
                let value = value.as_ref().map(VMGcRef::unchecked_copy);
                gc.write_field_ref(array, offset + i as u32 * 4, value.as_ref())?;
            }
        }
        (SegmentElements::Func(funcs), StorageType::FuncRef) => {
            for (i, func) in funcs[source].iter().enumerate() {
                // SAFETY: the functions of a segment live as long as the store.
                let id = unsafe { func.as_ref() }.map_or(0, |func| func.id);
                let at = offset + i as u32 * 4;
                gc.write_field(array, at, StorageType::FuncRef, u128::from(id))?;
            }
        }
        // A dropped or empty segment has no elements of any kind.
        _ => debug_assert_eq!(len, 0),
    }
    Ok(())
}

extern "C" fn array_new_elem(vmctx: *mut u8, word: u64, segment: u64, from: u64, len: u64) -> u64 {
    fallible(vmctx, |store, instance| {
        let ty = header_type(word);
        let (segment, from, len) = (segment as u32, from as u32, len as u32);
        // Checked first: a segment is smaller than any heap.
        range(from, len, store.instances[instance].elements[segment as usize].len())?;
        let array = store.with_gc(|gc, roots| gc.alloc_array(roots, ty, len))?;
        let written = write_elements(store, instance, &array, 0, segment, from, len);
        expose_new(store, array, written)
    })
}

extern "C" fn array_init_elem(
    vmctx: *mut u8,
    array: u64,
    index: u64,
    segment: u64,
    from: u64,
    len: u64,
) -> u64 {
    fallible(vmctx, |store, instance| {
        let array = not_null(array)?;
        let (index, segment) = (index as u32, segment as u32);
        write_elements(store, instance, &array, index, segment, from as u32, len as u32)?;
        Ok(0)
    })
}
