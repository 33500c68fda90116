//! Globals, tables and memories of a store. [`Extern`] is anything that can be imported or
//! exported.

use crate::instance::linear::MemoryData;
use crate::instance::table::{TableData, write_slot};
use crate::store::{GlobalData, StoreId, StoreOpaque, limits};
use crate::types::{ExternType, GlobalType, MemoryType, TableType, ValType};
use crate::vmctx::{VMGlobal, VMMemoryDefinition, VMTableDefinition};
use crate::{AsContext, AsContextMut, Func, Val};
use anyhow::{Result, anyhow, bail, ensure};
use gc_jit::VMFuncRef;
use gc_types::VMGcRef;
use std::ptr::NonNull;
use wasmtime_types::{IndexType, Limits, WasmValType};

/// Anything that can be imported or exported.
#[derive(Clone, Copy, Debug)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
}

/// A global in a store. Copies are the same global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Global {
    store: StoreId,
    index: usize,
}

/// A table in a store. Copies are the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    store: StoreId,
    index: usize,
}

/// A linear memory in a store. Copies are the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    store: StoreId,
    index: usize,
}

macro_rules! handles {
    ($($name:ident $what:literal)*) => {$(
        impl $name {
            pub(crate) fn from_index(store: &StoreOpaque, index: usize) -> $name {
                $name { store: store.id(), index }
            }

            /// Its index in `store`, which must be its store.
            pub(crate) fn index(&self, store: &StoreOpaque) -> Result<usize> {
                ensure!(
                    self.store == store.id(),
                    concat!("a ", $what, " of one store was used with another")
                );
                Ok(self.index)
            }
        }
    )*};
}

handles! { Global "global" Table "table" Memory "memory" }

impl Extern {
    /// The function, if this is one.
    pub fn into_func(self) -> Option<Func> {
        match self {
            Extern::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The global, if this is one.
    pub fn into_global(self) -> Option<Global> {
        match self {
            Extern::Global(global) => Some(global),
            _ => None,
        }
    }

    /// The table, if this is one.
    pub fn into_table(self) -> Option<Table> {
        match self {
            Extern::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The memory, if this is one.
    pub fn into_memory(self) -> Option<Memory> {
        match self {
            Extern::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Its type. The minimum of a table or memory is its current size.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ExternType> {
        Ok(match self {
            Extern::Func(func) => ExternType::Func(func.ty(store)?),
            Extern::Global(global) => ExternType::Global(global.ty(store)?),
            Extern::Table(table) => ExternType::Table(table.ty(store)?),
            Extern::Memory(memory) => ExternType::Memory(memory.ty(store)?),
        })
    }
}

impl From<Func> for Extern {
    fn from(func: Func) -> Extern {
        Extern::Func(func)
    }
}

impl From<Global> for Extern {
    fn from(global: Global) -> Extern {
        Extern::Global(global)
    }
}

impl From<Table> for Extern {
    fn from(table: Table) -> Extern {
        Extern::Table(table)
    }
}

impl From<Memory> for Extern {
    fn from(memory: Memory) -> Extern {
        Extern::Memory(memory)
    }
}

/// Allocates memory for a definition that is in no instance's vmctx. The store frees it.
fn keep<T: 'static>(store: &mut StoreOpaque, definition: T) -> NonNull<T> {
    let pointer = NonNull::from(Box::leak(Box::new(definition)));
    // SAFETY: the box was just leaked. The store frees it when the store is dropped.
    store.keep(unsafe { Box::from_raw(pointer.as_ptr()) });
    pointer
}

/// Fails unless `ty` belongs to the store's engine or to no engine.
fn of_engine(store: &StoreOpaque, ty: &ValType) -> Result<()> {
    ensure!(ty.comes_from(store.engine()), "the type {ty} belongs to another engine");
    Ok(())
}

impl Global {
    /// Makes a global.
    ///
    /// # Errors
    /// If the value is not of the type or belongs to another store, or if the type belongs to
    /// another engine.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Global> {
        let store = store.as_context_mut().into_opaque();
        of_engine(store, ty.content())?;
        let ty = ty.to_wasm();
        value.check(store, &ty.wasm_ty, || "the global's value".to_string())?;
        ensure!(store.globals.len() < limits::GLOBALS, "a store cannot have more globals");
        let place = keep(store, VMGlobal { bytes: [0; 16] });
        // SAFETY: the store keeps `place` alive.
        let index = unsafe { store.add_global(GlobalData { place, ty }) };
        store.write_global(index, &value)?;
        store.global_initialized(index);
        Ok(Global::from_index(store, index))
    }

    /// Its type.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<GlobalType> {
        let store = store.as_context().opaque();
        Ok(GlobalType::from_wasm(store.engine(), &store.globals[self.index(store)?].ty))
    }

    /// Its value. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut) -> Result<Val> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        Ok(store.read_global(index))
    }

    /// Overwrites its value.
    ///
    /// # Errors
    /// If it is not mutable, the value is not of its type, or either belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        let ty = store.globals[index].ty;
        ensure!(ty.mutability, "the global is not mutable");
        value.check(store, &ty.wasm_ty, || "the global's value".to_string())?;
        store.may_drop(|store| store.write_global(index, &value))
    }
}

impl StoreOpaque {
    /// The value of global `index`; a reference is rooted.
    pub(crate) fn read_global(&mut self, index: usize) -> Val {
        let GlobalData { place, ty } = &self.globals[index];
        let (place, ty) = (*place, ty.wasm_ty);
        // SAFETY: a global's place lives as long as the store, and every bit pattern is valid for
        // these types.
        unsafe {
            match ty {
                WasmValType::I32 => Val::I32(place.cast::<i32>().read()),
                WasmValType::I64 => Val::I64(place.cast::<i64>().read()),
                WasmValType::F32 => Val::F32(place.cast::<u32>().read()),
                WasmValType::F64 => Val::F64(place.cast::<u64>().read()),
                WasmValType::V128 => unreachable!("vectors do not pass validation"),
                WasmValType::Ref(ty) if ty.is_vmgcref_type() => {
                    let gc_ref = VMGcRef::from_raw_u32(place.cast::<u32>().read());
                    let gc_ref = gc_ref.map(|gc_ref| self.gc_store_mut().clone_gc_ref(&gc_ref));
                    Val::from_gc_ref(self, gc_ref, &ty)
                }
                WasmValType::Ref(_) => {
                    Val::FuncRef(Func::from_vm(self, place.cast::<*mut VMFuncRef>().read()))
                }
            }
        }
    }

    /// Overwrites global `index` with a value of its type.
    pub(crate) fn write_global(&mut self, index: usize, value: &Val) -> Result<()> {
        let place = self.globals[index].place;
        // SAFETY: a global's place lives as long as the store and has room for each of these types.
        unsafe {
            match value {
                Val::I32(value) => place.cast::<i32>().write(*value),
                Val::I64(value) => place.cast::<i64>().write(*value),
                Val::F32(bits) => place.cast::<u32>().write(*bits),
                Val::F64(bits) => place.cast::<u64>().write(*bits),
                Val::FuncRef(func) => {
                    let func = match func {
                        Some(func) => func.as_vm(self)?.as_ptr(),
                        None => std::ptr::null_mut(),
                    };
                    place.cast::<*mut VMFuncRef>().write(func);
                }
                Val::ExternRef(_) | Val::AnyRef(_) => {
                    let word = self.gc_word(value)?;
                    let slot = place.cast::<u32>().as_mut();
                    write_slot(self.gc_store_mut(), slot, word);
                }
            }
        }
        Ok(())
    }
}

impl Table {
    /// Makes a table whose elements are all `init`.
    ///
    /// # Errors
    /// If `init` is not of the elements' type or belongs to another store, the type belongs to
    /// another engine, or there are too many elements.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Val) -> Result<Table> {
        let store = store.as_context_mut().into_opaque();
        of_engine(store, &ValType::Ref(ty.element().clone()))?;
        let ty = ty.to_wasm();
        value_fits(store, &init, &ty)?;
        let definition = VMTableDefinition { base: std::ptr::null_mut(), len: 0 };
        let definition = keep(store, definition);
        let table = TableData::new(store.tables.len(), ty, definition);
        store.tables.push(table);
        let index = store.tables.len() - 1;
        let element = store.element_of(&init)?;
        if let Err(why) = store.grow_table(index, ty.limits.min, element) {
            bail!("a table cannot have {} elements{why}", ty.limits.min);
        }
        Ok(Table::from_index(store, index))
    }

    /// Its type; the least size is the present one.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<TableType> {
        let store = store.as_context().opaque();
        let table = &store.tables[self.index(store)?];
        let mut ty = table.ty;
        ty.limits.min = table.len() as u64;
        Ok(TableType::from_wasm(store.engine(), &ty))
    }

    /// Number of elements.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().opaque();
        Ok(store.tables[self.index(store)?].len() as u32)
    }

    /// Element `index`, or `None` if there is none. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Option<Val>> {
        let store = store.as_context_mut().into_opaque();
        let table = &store.tables[self.index(store)?];
        let (element, ty) = (table.get(index), table.ty);
        Ok(element.map(|element| store.value_of(element, &ty)))
    }

    /// Overwrites element `index`.
    ///
    /// # Errors
    /// If there is none, the value is not of the elements' type, or either belongs to another
    /// store.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store)?;
        let ty = store.tables[table].ty;
        value_fits(store, &value, &ty)?;
        let element = store.element_of(&value)?;
        store.may_drop(|store| {
            let (table, gc) = store.table_and_gc(table);
            Ok(table.fill(gc, index, element, 1)?)
        })
    }

    /// Grows the table by `delta` elements that are all `init`. Returns the former size.
    ///
    /// # Errors
    /// If it cannot have that many elements, `init` is not of their type, or either belongs to
    /// another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u32, init: Val) -> Result<u32> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store)?;
        let ty = store.tables[table].ty;
        value_fits(store, &init, &ty)?;
        let element = store.element_of(&init)?;
        store.grow_table(table, delta.into(), element).map_err(|why| {
            let len = store.tables[table].len();
            anyhow!("a table of {len} elements cannot grow by {delta}{why}")
        })
    }
}

fn value_fits(store: &StoreOpaque, value: &Val, ty: &wasmtime_types::Table) -> Result<()> {
    value.check(store, &WasmValType::Ref(ty.ref_type), || "the table's element".to_string())
}

impl Memory {
    /// Makes a linear memory whose bytes are all zero.
    ///
    /// # Errors
    /// If the system refuses the memory.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().into_opaque();
        let ty = wasmtime_types::Memory {
            idx_type: IndexType::I32,
            limits: Limits { min: ty.minimum().into(), max: ty.maximum().map(u64::from) },
            shared: false,
            page_size_log2: 16,
        };
        let definition = VMMemoryDefinition { base: std::ptr::null_mut(), len: 0 };
        let definition = keep(store, definition);
        let limit = store.engine().config().memory_maximum;
        store.memories.push(MemoryData::new(ty, definition, limit)?);
        Ok(Memory::from_index(store, store.memories.len() - 1))
    }

    /// Its type; the least size is the present one.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<MemoryType> {
        let store = store.as_context().opaque();
        let memory = &store.memories[self.index(store)?];
        let mut ty = memory.ty;
        ty.limits.min = memory.pages();
        Ok(MemoryType::from_wasm(&ty))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(&self, store: &'a impl AsContext<Data = T>) -> Result<&'a [u8]> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].bytes())
    }

    /// Its bytes, mutable.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: &'a mut impl AsContextMut<Data = T>,
    ) -> Result<&'a mut [u8]> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        Ok(store.memories[index].bytes_mut())
    }

    /// Its size in pages of 64 KiB.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].pages() as u32)
    }

    /// Grows the memory by `delta` pages. Returns the former size.
    ///
    /// # Errors
    /// If it cannot have that many pages, or belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u32) -> Result<u32> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        let memory = &mut store.memories[index];
        match memory.grow(delta.into()) {
            Some(old) => Ok(old as u32),
            None => bail!("a memory of {} pages cannot grow by {delta}", memory.pages()),
        }
    }
}
