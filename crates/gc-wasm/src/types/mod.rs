//! WebAssembly types: canonical types of an engine, and the types of the embedding API.

pub(crate) mod composite;
pub(crate) mod convert;
mod defaults;
pub(crate) mod display;
pub(crate) mod externs;
pub(crate) mod field_type;
pub(crate) mod heap_type;
pub(crate) mod limits;
pub(crate) mod matching;
pub(crate) mod named;
pub(crate) mod registered;
pub(crate) mod registry;
mod show;
pub(crate) mod val_type;

pub use composite::{ArrayType, ExnType, FuncType, StructType};
pub use externs::{ExportType, ExternType, GlobalType, ImportType, TagType};
pub use field_type::{FieldType, Finality, Mutability, StorageType};
pub use heap_type::HeapType;
pub use limits::{MemoryType, MemoryTypeBuilder, TableType};
pub(crate) use limits::{PAGE_SIZE, check as check_memory_type};
pub use val_type::{RefType, ValType};
