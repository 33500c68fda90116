//! What heaps and collectors are made of.
//!
//! A [`GcRuntime`] makes [`GcHeap`]s. A heap allocates in its [`HeapMemory`], runs the barriers
//! that the host needs and makes [`GarbageCollection`]s. A [`GcRequest`] begins a collection. It
//! has the cause and the mutator's roots, which the embedder registers in a [`GcRootsList`]. A
//! [`GcStore`] combines a heap with its side tables ([`ExternRefHostDataTable`], [`FuncRefTable`],
//! [`WeakTable`]) and its roots, and collects and grows as a [`GrowthPolicy`] decides.
//!
//! A collector is a plan: it implements [`GcRuntime`] and [`GcHeap`], and says what is collected when. What plans have
//! in common is here: [`space`] (where objects are), [`trace`] (how they are found), [`remember`] (what barriers record)
//! and [`side`] (tables that emitted code reads and writes). This crate has no collector but that of its
//! examples ([`toy`]). Those for programs are in gc-runtime, which exports all of this crate again.
//!
//! # Laws
//! * Collectors are safe code over checked bytes. Whatever a heap's memory holds, the worst result
//!   is a wrong object or an error, never an access outside the heap. Only `memory/` and `roots/`
//!   contain `unsafe`.
//! * This crate knows neither Cranelift nor WebAssembly.
//!
//! # Features
//! * `async`: collections that yield, `GarbageCollection::collect_async` and `GcStore::gc_async`.
//! * `gc_zeal`: heaps can collect at every Nth allocation ([`HeapOptions::zeal`]), poison freed
//!   memory and verify themselves before and after each collection.
#![deny(unsafe_code)]

mod arch;
mod collection;
mod error;
mod extern_ref;
mod factory;
mod func_ref;
mod heap;
mod heap_pool;
mod host_panic;
mod layouts;
pub mod lend;
mod limiter;
mod memory;
mod object;
mod options;
mod os;
mod pauses;
mod policy;
pub mod remember;
mod request;
mod roots;
mod runtime;
pub mod side;
pub mod space;
mod stats;
mod store;
pub mod toy;
pub mod trace;
mod verify;
mod weak;

#[cfg(feature = "async")]
pub use collection::CollectFuture;
pub use collection::{GarbageCollection, GcProgress, Idle};
pub use error::{HeapError, RefusedBy};
pub use extern_ref::{ExternRefHostDataId, ExternRefHostDataTable, HostValue, VMExternRef};
pub use factory::HeapFactory;
pub use func_ref::FuncRefTable;
pub use gc_types::HeapBounds;
pub use heap::{GcHeap, LastResort, Occupancy};
pub use heap_pool::KeptHeaps;
pub use host_panic::HostPanic;
pub use layouts::{LayoutTable, LayoutVersion};
pub use limiter::{HeapGrowth, HeapLimiter};
pub use memory::{
    Admission, FreeMemory, Growth, HeapBytes, HeapMapping, HeapMemory, HeapView, MappedMemory,
    MemoryPurpose, MemoryRequest, MemorySource, OnDemand, Pool, PoolOptions, PoolSlots,
    Reservation, SharedBytes, UsedReservation, ZeroIsNone, Zeroable, ZeroedVec,
};
pub use object::{HeapCore, by_halves};
pub use options::HeapOptions;
pub use pauses::{Pause, PauseKind, PauseLog};
pub use policy::{
    AdaptivePolicy, Decision, FixedPolicy, GrowthPolicy, HeapPlan, HeapUsage, MemoryBudget,
    NurseryUsage, PolicyFactory,
};
pub use remember::RememberedSlots;
pub use request::{GcCause, GcRequest};
pub use roots::{
    FrameSlot, GcRoot, GcRootsIter, GcRootsList, Handle, HandleError, HandleScope, IncompleteWalk,
    NoStack, OwnedHandle, RootOwner, SegmentId, SlotsId, TraceRoots,
};
pub use runtime::{CollectorOption, GcRuntime, Reclaims};
pub use side::{IndexedTable, ListTable, MaskedTable, NotesTable};
pub use stats::GcStats;
pub use store::{GcLeft, GcStore, StoreSide};
pub use verify::verify;
pub use weak::{WeakHandle, WeakMap, WeakScope, WeakStep, WeakTable, WeakTracer};
