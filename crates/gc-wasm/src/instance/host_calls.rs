//! The host calls that compiled WebAssembly makes in addition to those of the heap: linear
//! memories, tables, and arrays made from segments. They are declared in [`crate::host_calls`].

use super::instantiate::{drop_elements, table_init};
use crate::host_calls::{self, WasmHostCalls};
use crate::store::{GrownBy, StoreOpaque};
use crate::vm::func_ref::{FuncArg, FuncRef};
use crate::vm::instance::SegmentElements;
use crate::vm::table::{Element, range};
use anyhow::{Context, Result};
use gc_jit::{Work, with_handles};
use gc_types::host_calls::{ExposedRef, Ref};
use gc_types::{HostCall, StorageType, Trap, TypeIndex, VMGcRef};
use std::ops::Range;

/// The bytes of an element that an element segment gives an array.
const ELEMENT: u32 = StorageType::Ref.size();
const _: () = assert!(ELEMENT == StorageType::FuncRef.size());

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
        (call, table): (HostCall, u32),
        init: Element,
        delta: u64,
    ) -> Result<u32> {
        let table = self.table_of(instance, table);
        size_or_minus_one(self.grow_table(table, delta, init, GrownBy::Code(call))?.ok())
    }

    fn fill_table_of(
        &mut self,
        instance: usize,
        (call, table): (HostCall, u32),
        at: u64,
        element: Element,
        len: u64,
    ) -> Result<()> {
        let table = self.table_of(instance, table);
        self.tables[table].check(at, len)?;
        let work = Work::new(call, len, self.tables[table].element_size());
        self.with_element(work, element, |store, element, part| {
            let (table, gc) = store.table_and_gc(table);
            Ok(table.fill(gc, at + part.start, element, part.end - part.start)?)
        })
    }

    /// Does work on elements of an array in parts, unless it is simple.
    fn work_on_array(
        &mut self,
        array: &VMGcRef,
        work: Work,
        check: impl FnOnce(&mut StoreOpaque) -> Result<()>,
        mut part: impl FnMut(&mut StoreOpaque, &VMGcRef, Range<u32>) -> Result<()>,
    ) -> Result<()> {
        let numbers = |part: Range<u64>| part.start as u32..part.end as u32;
        if work.is_simple(self) {
            return work.run(self, check, |store, range| part(store, array, numbers(range)));
        }
        with_handles(self, &[array], |store, handles| {
            work.run(store, check, |store, range| {
                let array = store.gc_store().rooted(&handles[0])?.unchecked_copy();
                part(store, &array, numbers(range))
            })
        })
    }

    /// Makes an array whose elements `write` copies from a segment, in parts.
    fn new_from_segment(
        &mut self,
        header_word: u32,
        work: Work,
        len: u32,
        mut write: impl FnMut(&mut StoreOpaque, &VMGcRef, Range<u32>) -> Result<()>,
    ) -> Result<ExposedRef> {
        let ty = header_type(header_word);
        let array = self.with_gc(|gc, roots| gc.alloc_array(roots, ty, len))?;
        if work.is_simple(self) {
            let written = write(self, &array, 0..len);
            return self.expose_new(array, written);
        }
        let new = array.unchecked_copy();
        with_handles(self, &[&new], |store, handles| {
            // The handle keeps it now.
            store.gc_store_mut().drop_gc_ref(array);
            let new = store.gc_store().rooted(&handles[0])?.unchecked_copy();
            store.work_on_array(&new, work, |_| Ok(()), write)?;
            let filled = store.gc_store().rooted(&handles[0])?.unchecked_copy();
            Ok(ExposedRef(filled.as_raw_u32()))
        })
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

    /// Copies a part of the elements of `size` bytes that begin at byte `from` of a data segment into
    /// those of an array that begin at `index`.
    fn write_data(
        &mut self,
        instance: usize,
        (array, index): (&VMGcRef, u32),
        (segment, from): (u32, u32),
        size: u32,
        part: Range<u32>,
    ) -> Result<()> {
        let data = self.instances[instance].data(segment);
        let bytes = data_range(data, from + part.start * size, part.end - part.start, size)?;
        Ok(self.jit.gc_mut().array_write_bytes(array, index + part.start, bytes)?)
    }

    /// Copies a part of the elements that begin at element `from` of a segment into those of an array
    /// that begin at `index`, with barriers.
    fn write_elements(
        &mut self,
        instance: usize,
        (array, index): (&VMGcRef, u32),
        (segment, from): (u32, u32),
        part: Range<u32>,
    ) -> Result<()> {
        let len = part.end - part.start;
        let (index, from) = (index + part.start, from + part.start);
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
        let by = GrownBy::Code(host_calls::MEMORY_GROW);
        size_or_minus_one(self.grow_memory(memory, delta, by)?.ok())
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
        let work = Work::new(host_calls::MEMORY_COPY, len, 1).backward(to == from && at > start);
        let check = |store: &mut StoreOpaque| {
            store.memories[from].check(start, len)?;
            Ok(store.memories[to].check(at, len)?)
        };
        work.run(self, check, |store, part| {
            let (at, start, len) = (at + part.start, start + part.start, part.end - part.start);
            if to == from {
                store.memories[to].copy_within(at, start, len)?;
            } else {
                let memories = store.memories.get_disjoint_mut([to, from]);
                let [to, from] = memories.context("memories")?;
                to.init(at, from.bytes(), start, len)?;
            }
            Ok(())
        })
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
        let work = Work::new(host_calls::MEMORY_FILL, len, 1);
        let check = |store: &mut StoreOpaque| Ok(store.memories[memory].check(at, len)?);
        work.run(self, check, |store, part| {
            let len = part.end - part.start;
            Ok(store.memories[memory].fill(at + part.start, byte as u8, len)?)
        })
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
        let work = Work::new(host_calls::MEMORY_INIT, len.into(), 1);
        let check = |store: &mut StoreOpaque| {
            data_range(store.instances[instance].data(segment), from, len, 1)?;
            Ok(store.memories[memory].check(at, len.into())?)
        };
        work.run(self, check, |store, part| {
            let (from, len) = (u64::from(from) + part.start, part.end - part.start);
            let bytes = store.instances[instance].data(segment);
            Ok(store.memories[memory].init(at + part.start, bytes, from, len)?)
        })
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
        let call = host_calls::TABLE_GROW_REF;
        self.grow_table_of(instance, (call, table), element_of(init), delta)
    }

    fn table_grow_func(
        &mut self,
        instance: usize,
        table: u32,
        init: FuncArg,
        delta: u64,
    ) -> Result<u32> {
        let call = host_calls::TABLE_GROW_FUNC;
        self.grow_table_of(instance, (call, table), Element::Func(init.0), delta)
    }

    fn table_fill_ref(
        &mut self,
        instance: usize,
        table: u32,
        at: u64,
        value: Ref,
        len: u64,
    ) -> Result<()> {
        let call = host_calls::TABLE_FILL_REF;
        self.fill_table_of(instance, (call, table), at, element_of(value), len)
    }

    fn table_fill_func(
        &mut self,
        instance: usize,
        table: u32,
        at: u64,
        value: FuncArg,
        len: u64,
    ) -> Result<()> {
        let call = host_calls::TABLE_FILL_FUNC;
        self.fill_table_of(instance, (call, table), at, Element::Func(value.0), len)
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
        let size = self.tables[to].element_size();
        let work = Work::new(host_calls::TABLE_COPY, len, size).backward(to == from && at > start);
        let check = |store: &mut StoreOpaque| {
            store.tables[from].check(start, len)?;
            Ok(store.tables[to].check(at, len)?)
        };
        work.run(self, check, |store, part| {
            let (at, start, len) = (at + part.start, start + part.start, part.end - part.start);
            Ok(store.copy_table(to, at, from, start, len)?)
        })
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
        let index = self.table_of(instance, table);
        let work = Work::new(host_calls::TABLE_INIT, len.into(), self.tables[index].element_size());
        let check = |store: &mut StoreOpaque| {
            let segment = &store.instances[instance].elements[segment as usize];
            range(from.into(), len.into(), segment.len())?;
            Ok(store.tables[index].check(at, len.into())?)
        };
        work.run(self, check, |store, part| {
            let (from, len) = (from + part.start as u32, (part.end - part.start) as u32);
            Ok(table_init(store, instance, table, segment, at + part.start, from, len)?)
        })
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
        // This is checked before the allocation, because a segment is smaller than any heap.
        data_range(self.instances[instance].data(segment), from, len, size)?;
        let work = Work::new(host_calls::ARRAY_NEW_DATA, len.into(), size);
        self.new_from_segment(header_word, work, len, |store, array, part| {
            store.write_data(instance, (array, 0), (segment, from), size, part)
        })
    }

    fn array_new_elem(
        &mut self,
        instance: usize,
        header_word: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef> {
        // This is checked before the allocation, because a segment is smaller than any heap.
        let segment_len = self.instances[instance].elements[segment as usize].len();
        range(from.into(), len.into(), segment_len)?;
        let work = Work::new(host_calls::ARRAY_NEW_ELEM, len.into(), ELEMENT);
        self.new_from_segment(header_word, work, len, |store, array, part| {
            store.write_elements(instance, (array, 0), (segment, from), part)
        })
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
        let size = element.size();
        data_range(self.instances[instance].data(segment), from, len, size)?;
        let work = Work::new(host_calls::ARRAY_INIT_DATA, len.into(), size);
        self.work_on_array(
            &array,
            work,
            |_| Ok(()),
            |store, array, part| {
                store.write_data(instance, (array, index), (segment, from), size, part)
            },
        )
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
        let work = Work::new(host_calls::ARRAY_INIT_ELEM, len.into(), ELEMENT);
        let check = |store: &mut StoreOpaque| {
            store.gc_store().array_element(&array, index, len)?;
            let segment = &store.instances[instance].elements[segment as usize];
            range(from.into(), len.into(), segment.len())?;
            Ok(())
        };
        self.work_on_array(&array, work, check, |store, array, part| {
            store.write_elements(instance, (array, index), (segment, from), part)
        })
    }
}
