//! The types of imports and exports of modules.

use super::composite::{FuncType, Mutability};
use super::public::{RefType, ValType};
use crate::Engine;
use crate::module::info::ModuleInfo;
use std::fmt;
use wasmtime_types::{EntityIndex, Global, IndexType, Limits, Memory, Table};

/// Bytes of a WebAssembly page.
pub(crate) const PAGE_SIZE: u64 = 64 << 10;

/// The type of a global.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

/// The type of a table: the type of its elements, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    element: RefType,
    minimum: u32,
    maximum: Option<u32>,
}

/// The type of a linear memory: how many pages of 64 KiB it may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    minimum: u32,
    maximum: Option<u32>,
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

impl TableType {
    /// The type of a table of at least `minimum` and at most `maximum` elements.
    pub fn new(element: RefType, minimum: u32, maximum: Option<u32>) -> TableType {
        TableType { element, minimum, maximum }
    }

    /// The type of its elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// The minimum number of elements.
    pub fn minimum(&self) -> u32 {
        self.minimum
    }

    /// The maximum number of elements, if limited.
    pub fn maximum(&self) -> Option<u32> {
        self.maximum
    }

    pub(crate) fn to_wasm(&self) -> Table {
        Table {
            idx_type: IndexType::I32,
            limits: Limits { min: self.minimum.into(), max: self.maximum.map(u64::from) },
            ref_type: self.element.to_wasm(),
        }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &Table) -> TableType {
        TableType {
            element: RefType::from_wasm(engine, &ty.ref_type),
            minimum: clamp(ty.limits.min),
            maximum: ty.limits.max.map(clamp),
        }
    }
}

impl MemoryType {
    /// The type of a memory of at least `minimum` and at most `maximum` pages.
    pub fn new(minimum: u32, maximum: Option<u32>) -> MemoryType {
        MemoryType { minimum, maximum }
    }

    /// The minimum number of pages.
    pub fn minimum(&self) -> u32 {
        self.minimum
    }

    /// The maximum number of pages, if limited.
    pub fn maximum(&self) -> Option<u32> {
        self.maximum
    }

    pub(crate) fn from_wasm(ty: &Memory) -> MemoryType {
        MemoryType { minimum: clamp(ty.limits.min), maximum: ty.limits.max.map(clamp) }
    }
}

/// Limits have 64 bits in the format. All validated limits fit 32 bits.
fn clamp(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl ExternType {
    /// The function type, if this is one.
    pub fn func(&self) -> Option<&FuncType> {
        match self {
            ExternType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    pub(crate) fn of(engine: &Engine, info: &ModuleInfo, index: EntityIndex) -> ExternType {
        match index {
            EntityIndex::Function(index) => {
                let ty = engine.types().get(info.funcs[index.as_u32() as usize].ty);
                ExternType::Func(FuncType::from_registered(engine, ty))
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
            EntityIndex::Tag(_) => unreachable!("tags do not pass validation"),
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
    pub fn ty(&self) -> &ExternType {
        &self.ty
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
    pub fn ty(&self) -> &ExternType {
        &self.ty
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn limits(f: &mut fmt::Formatter<'_>, min: u32, max: Option<u32>) -> fmt::Result {
            match max {
                Some(max) => write!(f, "{min} {max}"),
                None => write!(f, "{min}"),
            }
        }
        match self {
            ExternType::Func(ty) => ty.fmt(f),
            ExternType::Global(ty) => match ty.mutability {
                Mutability::Const => write!(f, "(global {})", ty.content),
                Mutability::Var => write!(f, "(global (mut {}))", ty.content),
            },
            ExternType::Table(ty) => {
                f.write_str("(table ")?;
                limits(f, ty.minimum, ty.maximum)?;
                write!(f, " {})", ty.element)
            }
            ExternType::Memory(ty) => {
                f.write_str("(memory ")?;
                limits(f, ty.minimum, ty.maximum)?;
                f.write_str(")")
            }
        }
    }
}
