//! [`Extern`]: anything that can be imported or exported.

use crate::store::{StoreId, StoreOpaque};
use crate::types::{ExternType, TagType};
use crate::vm::instance::InstanceData;
use crate::{AsContext, Func, Global, Memory, ModuleExport, Table, Tag};
use wasmtime_types::EntityIndex;

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

macro_rules! handles {
    ($($name:ident $what:literal)*) => {$(
        impl $name {
            pub(crate) fn from_index(store: &StoreOpaque, index: usize) -> $name {
                $name { store: store.id(), index }
            }

            pub(crate) fn store(&self) -> StoreId {
                self.store
            }

            /// Its index in `store`, which must be its store.
            ///
            /// # Panics
            /// If it belongs to another store.
            pub(crate) fn index(&self, store: &StoreOpaque) -> usize {
                assert!(
                    self.store == store.id(),
                    concat!($what, " was used with the wrong store")
                );
                self.index
            }
        }
    )*};
}

pub(crate) use handles;

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
        Some(Extern::of_entity(store, instance, *info.exports.get(name)?))
    }

    /// The export of an instance that was looked up in its module. `None` if it is one of another
    /// module.
    pub(crate) fn looked_up(
        store: &StoreOpaque,
        instance: usize,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let instance = &store.instances[instance];
        let index = export.index_in(&instance.module)?;
        Some(Extern::of_entity(store, instance, index))
    }

    /// The store to which it belongs.
    pub(crate) fn store(&self) -> StoreId {
        match self {
            Extern::Func(func) => func.store(),
            Extern::Global(global) => global.store(),
            Extern::Table(table) => table.store(),
            Extern::Memory(memory) => memory.store(),
            Extern::Tag(tag) => tag.store(),
        }
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
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(func.ty(store)),
            Extern::Global(global) => ExternType::Global(global.ty(store)),
            Extern::Table(table) => ExternType::Table(table.ty(store)),
            Extern::Memory(memory) => ExternType::Memory(memory.ty(store)),
            Extern::Tag(tag) => {
                let store = store.as_context().opaque();
                ExternType::Tag(TagType::from_registered(store.engine(), &tag.data(store).ty))
            }
        }
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

/// One export of an instance.
#[derive(Clone, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    definition: Extern,
}

impl<'instance> Export<'instance> {
    pub(crate) fn new(name: &'instance str, definition: Extern) -> Export<'instance> {
        Export { name, definition }
    }

    /// The name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// The type, as [`Extern::ty`] returns it.
    ///
    /// # Panics
    /// If the export belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.definition.ty(store)
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.definition
    }

    /// The function, if one is exported.
    pub fn into_func(self) -> Option<Func> {
        self.definition.into_func()
    }

    /// The global, if one is exported.
    pub fn into_global(self) -> Option<Global> {
        self.definition.into_global()
    }

    /// The table, if one is exported.
    pub fn into_table(self) -> Option<Table> {
        self.definition.into_table()
    }

    /// The memory, if one is exported.
    pub fn into_memory(self) -> Option<Memory> {
        self.definition.into_memory()
    }

    /// The tag, if one is exported.
    pub fn into_tag(self) -> Option<Tag> {
        self.definition.into_tag()
    }
}
