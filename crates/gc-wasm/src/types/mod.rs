//! WebAssembly types: canonical types of an engine, and the types of the embedding API.

pub(crate) mod composite;
pub(crate) mod convert;
pub(crate) mod display;
pub(crate) mod externs;
pub(crate) mod limits;
pub(crate) mod matching;
pub(crate) mod named;
pub(crate) mod public;
pub(crate) mod registry;

pub use composite::{ArrayType, ExnType, FieldType, FuncType, Mutability, StorageType, StructType};
pub use externs::{ExportType, ExternType, GlobalType, ImportType, TagType};
pub use limits::{MemoryType, MemoryTypeBuilder, TableType};
pub(crate) use limits::{PAGE_SIZE, check as check_memory_type};
pub use public::{HeapType, RefType, ValType};
