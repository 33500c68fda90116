//! Heaps and collectors: the half of a collector that is not emitted code.
#![deny(unsafe_code)]

mod collection;
mod error;
mod extern_ref;
mod func_ref;
mod heap;
mod layouts;
mod memory;
mod roots;
mod runtime;
mod stats;
mod store;

pub mod collector;

pub use collection::{GarbageCollection, GcProgress};
pub use error::HeapError;
pub use extern_ref::{ExternRefHostDataId, ExternRefHostDataTable, VMExternRef};
pub use func_ref::FuncRefTable;
pub use heap::{GcHeap, HeapCore};
pub use layouts::LayoutTable;
pub use memory::{HeapBounds, HeapMemory, HeapOptions};
pub use roots::{GcRoot, GcRootsIter, GcRootsList, IncompleteWalk, TraceRoots};
pub use runtime::GcRuntime;
pub use stats::GcStats;
pub use store::GcStore;
