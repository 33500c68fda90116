//! The host calls that compiled WebAssembly makes in addition to those of the heap: linear
//! memories, tables, and arrays made from segments. They are declared in [`crate::host_calls`].

use super::instantiate::{drop_elements, table_init};
use crate::host_calls::WasmHostCalls;
use crate::store::StoreOpaque;
use crate::vm::func_ref::{FuncArg, FuncRef};
use crate::vm::instance::SegmentElements;
use crate::vm::table::{Element, range};
use anyhow::{Context, Result};
use gc_types::host_calls::{ExposedRef, Ref};
use gc_types::{StorageType, Trap, TypeIndex, VMGcRef};

/// The result of growing: the old size or -1. The size is less than 2^31, because a table has no more
/// elements, and a machine has no addresses for a memory of more pages.
fn size_or_minus_one(size: Option<u64>) -> Result<u32> {
    Ok(match size {
        Some(size) => u32::try_from(size).context("a size of more than 32 bits")?,
        None => u32::MAX,
    })
}

/// The type in a header word.
fn header_type(word: u32) -> TypeIndex {
    TypeIndex::new(word & TypeIndex::MAX).expect("masked")
}

/// The bytes of `len` elements of `size` bytes each in a data segment, beginning at `from`.
fn data_range(data: &[u8], from: u32, len: u32, size: u32) -> Result<&[u8], Trap> {
    let start = u64::from(from);
    let end = start + u64::from(len) * u64::from(size);
    if end > data.len() as u64 {
        return Err(Trap::MemoryOutOfBounds);
    }
    Ok(&data[start as usize..end as usize])
}

/// A reference as a table's element.
fn element_of(gc_ref: Ref) -> Element {
    Element::Gc(gc_ref.map_or(0, |gc_ref| gc_ref.as_raw_u32()))
}

impl StoreOpaque {
    fn memory_of(&self, instance: usize, memory: u32) -> usize {
        self.instances[instance].memories[memory as usize]
    }

    fn table_of(&self, instance: usize, table: u32) -> usize {
        self.instances[instance].tables[table as usize]
    }

    fn grow_table_of(
        &mut self,
        instance: usize,
        table: u32,
        init: Element,
        delta: u64,
    ) -> Result<u32> {
        let table = self.table_of(instance, table);
        size_or_minus_one(self.grow_table(table, delta, init)?.ok())
    }

    fn fill_table_of(
        &mut self,
        instance: usize,
        table: u32,
        at: u64,
        element: Element,
        len: u64,
    ) -> Result<()> {
        let table = self.table_of(instance, table);
        let (table, gc) = self.table_and_gc(table);
        Ok(table.fill(gc, at, element, len)?)
    }

    /// Exposes a new array to compiled code, or drops the reference if filling it failed.
    fn expose_new(&mut self, array: VMGcRef, filled: Result<()>) -> Result<ExposedRef> {
        let gc = self.gc_store_mut();
        match filled {
            Ok(()) => Ok(ExposedRef(gc.expose_gc_ref_to_wasm(array))),
            Err(error) => {
                gc.drop_gc_ref(array);
                Err(error)
            }
        }
    }

    /// Copies elements of a segment into an array, with barriers.
    fn write_elements(
        &mut self,
        instance: usize,
        array: &VMGcRef,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()> {
        let (offset, element) = self.gc_store().array_element(array, index, len)?;
        let segment = &self.instances[instance].elements[segment as usize];
        let source = range(from.into(), len.into(), segment.len())?;
        let gc = self.jit.gc_mut();
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
                    let id = func.map_or(0, FuncRef::id);
                    let at = offset + i as u32 * 4;
                    gc.write_field(array, at, StorageType::FuncRef, u128::from(id))?;
                }
            }
            // A dropped or empty segment has no elements.
            _ => debug_assert_eq!(len, 0),
        }
        Ok(())
    }
}

impl WasmHostCalls for StoreOpaque {
    fn out_of_fuel(&mut self, _instance: usize) -> Result<()> {
        self.refuel()
    }

    fn new_epoch(&mut self, _instance: usize) -> Result<()> {
        self.reach_deadline()
    }

    fn memory_grow(&mut self, instance: usize, memory: u32, delta: u64) -> Result<u32> {
        let memory = self.memory_of(instance, memory);
        size_or_minus_one(self.grow_memory(memory, delta)?.ok())
    }

    fn memory_copy(
        &mut self,
        instance: usize,
        to: u32,
        at: u64,
        from: u32,
        start: u64,
        len: u64,
    ) -> Result<()> {
        let (to, from) = (self.memory_of(instance, to), self.memory_of(instance, from));
        if to == from {
            self.memories[to].copy_within(at, start, len)?;
        } else {
            let [to, from] = self.memories.get_disjoint_mut([to, from]).context("memories")?;
            to.init(at, from.bytes(), start, len)?;
        }
        Ok(())
    }

    fn memory_fill(
        &mut self,
        instance: usize,
        memory: u32,
        at: u64,
        byte: u32,
        len: u64,
    ) -> Result<()> {
        let memory = self.memory_of(instance, memory);
        Ok(self.memories[memory].fill(at, byte as u8, len)?)
    }

    fn memory_init(
        &mut self,
        instance: usize,
        memory: u32,
        segment: u32,
        at: u64,
        from: u32,
        len: u32,
    ) -> Result<()> {
        let memory = self.memory_of(instance, memory);
        let bytes = self.instances[instance].data(segment);
        Ok(self.memories[memory].init(at, bytes, from.into(), len.into())?)
    }

    fn data_drop(&mut self, instance: usize, segment: u32) {
        self.instances[instance].dropped_data[segment as usize] = true;
    }

    fn table_grow_ref(
        &mut self,
        instance: usize,
        table: u32,
        init: Ref,
        delta: u64,
    ) -> Result<u32> {
        self.grow_table_of(instance, table, element_of(init), delta)
    }

    fn table_grow_func(
        &mut self,
        instance: usize,
        table: u32,
        init: FuncArg,
        delta: u64,
    ) -> Result<u32> {
        self.grow_table_of(instance, table, Element::Func(init.0), delta)
    }

    fn table_fill_ref(
        &mut self,
        instance: usize,
        table: u32,
        at: u64,
        value: Ref,
        len: u64,
    ) -> Result<()> {
        self.fill_table_of(instance, table, at, element_of(value), len)
    }

    fn table_fill_func(
        &mut self,
        instance: usize,
        table: u32,
        at: u64,
        value: FuncArg,
        len: u64,
    ) -> Result<()> {
        self.fill_table_of(instance, table, at, Element::Func(value.0), len)
    }

    fn table_copy(
        &mut self,
        instance: usize,
        to: u32,
        from: u32,
        at: u64,
        start: u64,
        len: u64,
    ) -> Result<()> {
        let (to, from) = (self.table_of(instance, to), self.table_of(instance, from));
        Ok(self.copy_table(to, at, from, start, len)?)
    }

    fn table_init(
        &mut self,
        instance: usize,
        table: u32,
        segment: u32,
        at: u64,
        from: u32,
        len: u32,
    ) -> Result<()> {
        Ok(table_init(self, instance, table, segment, at, from, len)?)
    }

    fn elem_drop(&mut self, instance: usize, segment: u32) {
        drop_elements(self, instance, segment);
    }

    fn array_new_data(
        &mut self,
        instance: usize,
        header_word: u32,
        size: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef> {
        let ty = header_type(header_word);
        // This is checked before the allocation, because a segment is smaller than any heap.
        data_range(self.instances[instance].data(segment), from, len, size)?;
        let array = self.with_gc(|gc, roots| gc.alloc_array(roots, ty, len))?;
        let bytes = data_range(self.instances[instance].data(segment), from, len, size)?;
        let written = self.jit.gc_mut().array_write_bytes(&array, 0, bytes);
        self.expose_new(array, written.map_err(Into::into))
    }

    fn array_new_elem(
        &mut self,
        instance: usize,
        header_word: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef> {
        let ty = header_type(header_word);
        // This is checked before the allocation, because a segment is smaller than any heap.
        let segment_len = self.instances[instance].elements[segment as usize].len();
        range(from.into(), len.into(), segment_len)?;
        let array = self.with_gc(|gc, roots| gc.alloc_array(roots, ty, len))?;
        let written = self.write_elements(instance, &array, 0, segment, from, len);
        self.expose_new(array, written)
    }

    fn array_init_data(
        &mut self,
        instance: usize,
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()> {
        let array = array.ok_or(Trap::NullReference)?;
        let (_, element) = self.gc_store().array_element(&array, index, len)?;
        let data = self.instances[instance].data(segment);
        let bytes = data_range(data, from, len, element.size())?;
        Ok(self.jit.gc_mut().array_write_bytes(&array, index, bytes)?)
    }

    fn array_init_elem(
        &mut self,
        instance: usize,
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()> {
        let array = array.ok_or(Trap::NullReference)?;
        self.write_elements(instance, &array, index, segment, from, len)
    }
}
