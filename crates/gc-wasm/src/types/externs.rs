//! The types of imports and exports of modules.

use super::composite::FuncType;
use super::field_type::Mutability;
use super::limits::{MemoryType, TableType};
use super::registered::RegisteredType;
use super::val_type::ValType;
use crate::Engine;
use crate::module::info::ModuleInfo;
use std::fmt;
use wasmtime_types::{EntityIndex, Global};

/// The type of a global.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

/// The type of a tag: a function type whose parameters are the payload of exceptions.
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, ExnType, FuncType, TagType, ValType};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I64], []));
/// assert_eq!(ExnType::from_tag_type(&ty)?.fields().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// The type of tags with this function type. A tag's type has no results.
    pub fn new(ty: FuncType) -> TagType {
        TagType { ty }
    }

    /// The function type.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }

    pub(crate) fn from_registered(engine: &Engine, func: &RegisteredType) -> TagType {
        TagType { ty: FuncType::from_registered(engine, func.clone()) }
    }
}

/// The type of anything that can be imported or exported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternType {
    /// The type of a function.
    Func(FuncType),
    /// The type of a global.
    Global(GlobalType),
    /// The type of a table.
    Table(TableType),
    /// The type of a memory.
    Memory(MemoryType),
    /// The type of a tag.
    Tag(TagType),
}

/// One import of a module.
#[derive(Clone, Debug)]
pub struct ImportType<'a> {
    module: &'a str,
    name: &'a str,
    ty: ExternType,
}

/// One export of a module.
#[derive(Clone, Debug)]
pub struct ExportType<'a> {
    name: &'a str,
    ty: ExternType,
}

impl GlobalType {
    /// The type of a global that holds `content`.
    pub fn new(content: ValType, mutability: Mutability) -> GlobalType {
        GlobalType { content, mutability }
    }

    /// The type of its value.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// Whether it can be written.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    pub(crate) fn to_wasm(&self) -> Global {
        Global { wasm_ty: self.content.to_wasm(), mutability: self.mutability == Mutability::Var }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &Global) -> GlobalType {
        GlobalType {
            content: ValType::from_wasm(engine, &ty.wasm_ty),
            mutability: if ty.mutability { Mutability::Var } else { Mutability::Const },
        }
    }
}

impl ExternType {
    /// The type of a function, if this is one.
    pub fn func(&self) -> Option<&FuncType> {
        match self {
            ExternType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a function.
    ///
    /// # Panics
    /// If this is the type of something else.
    pub fn unwrap_func(&self) -> &FuncType {
        self.func().expect("expected the type of a function")
    }

    /// The type of a global, if this is one.
    pub fn global(&self) -> Option<&GlobalType> {
        match self {
            ExternType::Global(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a global.
    ///
    /// # Panics
    /// If this is the type of something else.
    pub fn unwrap_global(&self) -> &GlobalType {
        self.global().expect("expected the type of a global")
    }

    /// The type of a table, if this is one.
    pub fn table(&self) -> Option<&TableType> {
        match self {
            ExternType::Table(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a table.
    ///
    /// # Panics
    /// If this is the type of something else.
    pub fn unwrap_table(&self) -> &TableType {
        self.table().expect("expected the type of a table")
    }

    /// The type of a memory, if this is one.
    pub fn memory(&self) -> Option<&MemoryType> {
        match self {
            ExternType::Memory(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a memory.
    ///
    /// # Panics
    /// If this is the type of something else.
    pub fn unwrap_memory(&self) -> &MemoryType {
        self.memory().expect("expected the type of a memory")
    }

    /// The type of a tag, if this is one.
    pub fn tag(&self) -> Option<&TagType> {
        match self {
            ExternType::Tag(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a tag.
    ///
    /// # Panics
    /// If this is the type of something else.
    pub fn unwrap_tag(&self) -> &TagType {
        self.tag().expect("expected the type of a tag")
    }

    pub(crate) fn of(engine: &Engine, info: &ModuleInfo, index: EntityIndex) -> ExternType {
        match index {
            EntityIndex::Function(index) => {
                let ty = info.types.registered(info.funcs[index.as_u32() as usize].ty);
                ExternType::Func(FuncType::from_registered(engine, ty.clone()))
            }
            EntityIndex::Table(index) => ExternType::Table(TableType::from_wasm(
                engine,
                &info.tables[index.as_u32() as usize],
            )),
            EntityIndex::Memory(index) => {
                ExternType::Memory(MemoryType::from_wasm(&info.memories[index.as_u32() as usize]))
            }
            EntityIndex::Global(index) => ExternType::Global(GlobalType::from_wasm(
                engine,
                &info.globals[index.as_u32() as usize],
            )),
            EntityIndex::Tag(index) => {
                let ty = info.types.registered(info.tags[index.as_u32() as usize].ty);
                ExternType::Tag(TagType::from_registered(engine, ty))
            }
        }
    }
}

impl<'a> ImportType<'a> {
    pub(crate) fn new(module: &'a str, name: &'a str, ty: ExternType) -> ImportType<'a> {
        ImportType { module, name, ty }
    }

    /// The first of the two names.
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// The second of the two names.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The type of the import.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl<'a> ExportType<'a> {
    pub(crate) fn new(name: &'a str, ty: ExternType) -> ExportType<'a> {
        ExportType { name, ty }
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The type of the export.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(ty) => ty.fmt(f),
            ExternType::Global(ty) => match ty.mutability {
                Mutability::Const => write!(f, "(global {})", ty.content),
                Mutability::Var => write!(f, "(global (mut {}))", ty.content),
            },
            ExternType::Table(ty) => ty.fmt(f),
            ExternType::Memory(ty) => ty.fmt(f),
            ExternType::Tag(ty) => write!(f, "(tag {})", ty.ty),
        }
    }
}

impl From<FuncType> for ExternType {
    fn from(ty: FuncType) -> ExternType {
        ExternType::Func(ty)
    }
}

impl From<GlobalType> for ExternType {
    fn from(ty: GlobalType) -> ExternType {
        ExternType::Global(ty)
    }
}

impl From<TableType> for ExternType {
    fn from(ty: TableType) -> ExternType {
        ExternType::Table(ty)
    }
}

impl From<MemoryType> for ExternType {
    fn from(ty: MemoryType) -> ExternType {
        ExternType::Memory(ty)
    }
}

impl From<TagType> for ExternType {
    fn from(ty: TagType) -> ExternType {
        ExternType::Tag(ty)
    }
}
