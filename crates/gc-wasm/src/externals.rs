//! Globals and tables of a store. [`Extern`] is anything that can be imported or
//! exported.

use crate::store::{StoreId, StoreOpaque, limits};
use crate::types::{ExternType, GlobalType, TableType, TagType, ValType};
use crate::vm::globals::GlobalData;
use crate::vm::instance::InstanceData;
use crate::vm::layout::{DEFINITION_SIZE, GLOBAL_SIZE};
use crate::vm::table::{Element, TableData};
use crate::vm::words::VMWords;
use crate::{AsContext, AsContextMut, Func, Memory, Tag, V128, Val};
use anyhow::{Result, anyhow, bail, ensure};
use gc_types::VMGcRef;
use wasmtime_types::{EntityIndex, WasmValType};

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
    /// A tag of exceptions.
    Tag(Tag),
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

pub(crate) use handles;

handles! { Global "global" Table "table" }

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

    /// The tag, if this is one.
    pub fn into_tag(self) -> Option<Tag> {
        match self {
            Extern::Tag(tag) => Some(tag),
            _ => None,
        }
    }

    /// The export of an instance of this name, if there is one.
    pub(crate) fn exported(store: &StoreOpaque, instance: usize, name: &str) -> Option<Extern> {
        let instance = &store.instances[instance];
        let info = instance.module.info();
        let (_, index) = info.exports[*info.exports_by_name.get(name)?];
        Some(Extern::of_entity(store, instance, index))
    }

    /// A handle to the entity `index` of an instance's module, which must be exported.
    pub(crate) fn of_entity(
        store: &StoreOpaque,
        instance: &InstanceData,
        index: EntityIndex,
    ) -> Extern {
        match index {
            EntityIndex::Function(index) => {
                Extern::Func(Func::from_vm(store, instance.func_ref(index.as_u32())))
            }
            EntityIndex::Table(index) => {
                let table = instance.tables[index.as_u32() as usize];
                Extern::Table(Table::from_index(store, table))
            }
            EntityIndex::Memory(index) => {
                let memory = instance.memories[index.as_u32() as usize];
                Extern::Memory(Memory::from_index(store, memory))
            }
            EntityIndex::Global(index) => {
                let global = instance.globals[index.as_u32() as usize];
                Extern::Global(Global::from_index(store, global))
            }
            EntityIndex::Tag(index) => {
                let tag = instance.tags[index.as_u32() as usize];
                Extern::Tag(Tag::from_index(store, tag))
            }
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
            Extern::Tag(tag) => {
                let store = store.as_context().opaque();
                ExternType::Tag(TagType::from_index(store.engine(), tag.data(store)?.ty))
            }
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

impl From<Tag> for Extern {
    fn from(tag: Tag) -> Extern {
        Extern::Tag(tag)
    }
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
        let place = VMWords::new(GLOBAL_SIZE);
        let index = store.globals.push(store.jit.gc_mut(), GlobalData { place, ty });
        store.write_global(index, &value)?;
        store.globals.initialized(store.jit.gc_mut(), index);
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
    /// The value of global `index`. A reference is rooted in the current scope.
    pub(crate) fn read_global(&mut self, index: usize) -> Val {
        let GlobalData { place, ty } = &self.globals[index];
        let ty = ty.wasm_ty;
        match ty {
            WasmValType::I32 => Val::I32(place.get_u32(0) as i32),
            WasmValType::I64 => Val::I64(place.get(0) as i64),
            WasmValType::F32 => Val::F32(place.get_u32(0)),
            WasmValType::F64 => Val::F64(place.get(0)),
            WasmValType::V128 => {
                let (low, high) = (place.get(0), place.get(8));
                Val::V128(V128::from(u128::from(low) | u128::from(high) << 64))
            }
            WasmValType::Ref(ty) if ty.is_vmgcref_type() => {
                let gc_ref = VMGcRef::from_raw_u32(place.get_u32(0));
                let gc_ref = gc_ref.map(|gc_ref| self.gc_store_mut().clone_gc_ref(&gc_ref));
                Val::from_gc_ref(self, gc_ref, &ty)
            }
            WasmValType::Ref(_) => {
                let func = self.globals.func_ref(index);
                Val::FuncRef(func.map(|func| Func::from_vm(self, func)))
            }
        }
    }

    /// Overwrites global `index` with a value of its type.
    pub(crate) fn write_global(&mut self, index: usize, value: &Val) -> Result<()> {
        let place = &self.globals[index].place;
        match value {
            Val::I32(value) => place.set_u32s(0, *value as u32, 0),
            Val::I64(value) => place.set(0, *value as u64),
            Val::F32(bits) => place.set_u32s(0, *bits, 0),
            Val::F64(bits) => place.set(0, *bits),
            Val::V128(value) => {
                let bits = value.as_u128();
                place.set(0, bits as u64);
                place.set(8, (bits >> 64) as u64);
            }
            Val::FuncRef(None) => place.set(0, 0),
            Val::FuncRef(Some(func)) => place.set_pointer(0, func.as_vm(self)?.address()),
            Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) => {
                let word = self.gc_word(value)?;
                self.globals.write_ref(index, self.jit.gc_mut(), word);
            }
        }
        Ok(())
    }

    /// The host's value as a table's element, which is not counted.
    pub(crate) fn element_of(&self, value: &Val) -> Result<Element> {
        Ok(match value {
            Val::FuncRef(func) => Element::Func(match func {
                Some(func) => Some(func.as_vm(self)?),
                None => None,
            }),
            _ => Element::Gc(self.gc_word(value)?),
        })
    }

    /// The word of a GC reference, which is not counted. Zero for null.
    pub(crate) fn gc_word(&self, value: &Val) -> Result<u32> {
        Ok(value.gc_ref(self)?.map_or(0, |gc_ref| gc_ref.as_raw_u32()))
    }

    /// A table's element as a value for the host.
    pub(crate) fn value_of(&mut self, element: Element, ty: &wasmtime_types::Table) -> Val {
        match element {
            Element::Func(func) => Val::FuncRef(func.map(|func| Func::from_vm(self, func))),
            Element::Gc(word) => {
                let gc_ref = VMGcRef::from_raw_u32(word);
                let gc_ref = gc_ref.map(|gc_ref| self.gc_store_mut().clone_gc_ref(&gc_ref));
                Val::from_gc_ref(self, gc_ref, &ty.ref_type)
            }
        }
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
        let definition = VMWords::new(DEFINITION_SIZE);
        let source = &store.engine().config().memory_source;
        let table = TableData::new(source, store.tables.len(), ty, definition);
        store.tables.push(table);
        let index = store.tables.len() - 1;
        let element = store.element_of(&init)?;
        if let Err(why) = store.grow_table(index, ty.limits.min, element) {
            bail!("a table cannot have {} elements{why}", ty.limits.min);
        }
        Ok(Table::from_index(store, index))
    }

    /// Its type. The minimum is the current size.
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

    /// The number of elements.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> Result<u64> {
        let store = store.as_context().opaque();
        Ok(store.tables[self.index(store)?].len() as u64)
    }

    /// Element `index`, or `None` if there is none. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Result<Option<Val>> {
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
    pub fn set(&self, mut store: impl AsContextMut, index: u64, value: Val) -> Result<()> {
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

    /// Grows the table by `delta` elements that are all `init`. Returns the old size.
    ///
    /// # Errors
    /// If it cannot have that many elements, `init` is not of their type, or either belongs to
    /// another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Val) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store)?;
        let ty = store.tables[table].ty;
        value_fits(store, &init, &ty)?;
        let element = store.element_of(&init)?;
        store.grow_table(table, delta, element).map_err(|why| {
            let len = store.tables[table].len();
            anyhow!("a table of {len} elements cannot grow by {delta}{why}")
        })
    }
}

fn value_fits(store: &StoreOpaque, value: &Val, ty: &wasmtime_types::Table) -> Result<()> {
    value.check(store, &WasmValType::Ref(ty.ref_type), || "the table's element".to_string())
}
