//! WebAssembly types: canonical types of an engine, and the types of the embedding API.

pub(crate) mod composite;
pub(crate) mod convert;
pub(crate) mod display;
pub(crate) mod externs;
pub(crate) mod matching;
pub(crate) mod public;
pub(crate) mod registry;

pub use composite::{ArrayType, FieldType, FuncType, Mutability, StorageType, StructType};
pub use externs::{ExportType, ExternType, GlobalType, ImportType, MemoryType, TableType};
pub use public::{HeapType, RefType, ValType};
