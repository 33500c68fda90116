//! Heaps and collectors: the half of a collector that is not emitted code.
//!
//! A [`GcRuntime`] makes [`GcHeap`]s. A heap allocates in its [`HeapMemory`], runs
//! the barriers the host needs and makes [`GarbageCollection`]s, which are given
//! the mutator's roots in a [`GcRootsList`]. A [`GcStore`] puts a heap together
//! with its side tables ([`ExternRefHostDataTable`], [`FuncRefTable`]) and collects and
//! grows as a [`GrowthPolicy`] says. The collectors themselves are in
//! [`collector`]; one from outside implements the same two traits.
//!
//! # Laws
//! * Collectors are safe code over checked bytes: whatever a heap's memory holds,
//!   they end in a wrong object or an error, never outside the heap. `unsafe`
//!   stands in `memory/` and `roots.rs` alone.
//! * This crate knows neither Cranelift nor WebAssembly.
//!
//! # Features
//! * `async`: `GarbageCollection::collect_async` and `GcStore::gc_async`, collections
//!   that yield.
//! * `gc_zeal`: heaps that collect at every Nth allocation
//!   ([`HeapOptions::zeal`]), poison what is freed and verify themselves before
//!   and after each collection.
#![deny(unsafe_code)]

mod collection;
mod error;
mod extern_ref;
mod func_ref;
mod heap;
mod host_panic;
mod layouts;
mod memory;
mod object;
mod options;
mod pauses;
mod policy;
mod roots;
mod runtime;
mod space;
mod stats;
mod store;
mod verify;

pub mod collector;

#[cfg(feature = "async")]
pub use collection::CollectFuture;
pub use collection::{GarbageCollection, GcProgress};
pub use error::HeapError;
pub use extern_ref::{ExternRefHostDataId, ExternRefHostDataTable, HostValue, VMExternRef};
pub use func_ref::FuncRefTable;
pub use heap::{GcCause, GcHeap};
pub use host_panic::HostPanic;
pub use layouts::LayoutTable;
pub use memory::{HeapMapping, HeapMemory};
pub use object::HeapCore;
pub use options::{HeapBounds, HeapOptions};
pub use pauses::{Pause, PauseKind, PauseLog};
pub use policy::{
    AdaptivePolicy, Decision, FixedPolicy, GrowthPolicy, HeapPlan, HeapUsage, PolicyFactory,
};
pub use roots::{
    GcRoot, GcRootsIter, GcRootsList, IncompleteWalk, NoRoots, RememberedSlots, RootKind,
    RootsWanted, TraceRoots,
};
pub use runtime::{GcRuntime, Reclaims};
pub use stats::GcStats;
pub use store::GcStore;
