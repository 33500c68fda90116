//! A WebAssembly engine over pluggable collectors.
//!
//! An [`Engine`] is made with a [`Collector`] and other settings ([`Config`]). It compiles
//! [`Module`]s, whose code has the collector's allocation and barriers inlined. A [`Store`] has a
//! heap of that collector. An [`Instance`] is a module in a store. Its imports are given directly
//! or by a [`Linker`].
//!
//! The names, signatures and meanings are those of Wasmtime 48 wherever it has something that fits.
//! Handles that are used with another store, and types that are used with another engine, are
//! mistakes of the host's own code and panic. What a module can cause is an [`Error`], and so is a
//! value of another store that is passed to a call, a global or a table.
//!
//! ```
//! use gc_wasm::{Collector, Config, Engine, Instance, Module, Store};
//!
//! # fn main() -> gc_wasm::Result<()> {
//! let engine = Engine::new(Config::new().collector(Collector::drc()))?;
//! let module = Module::new(
//!     &engine,
//!     r#"(module
//!         (type $point (struct (field i32) (field i32)))
//!         (func (export "sum") (param i32 i32) (result i32)
//!             (local $p (ref null $point))
//!             (local.set $p (struct.new $point (local.get 0) (local.get 1)))
//!             (i32.add (struct.get $point 0 (local.get $p))
//!                      (struct.get $point 1 (local.get $p)))))"#,
//! )?;
//! let mut store = Store::new(&engine, ());
//! let instance = Instance::new(&mut store, &module, &[])?;
//! let sum = instance.get_typed_func::<(i32, i32), i32>(&mut store, "sum")?;
//! assert_eq!(sum.call(&mut store, (2, 3))?, 5);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "compiler")]
pub(crate) mod compile;
mod config;
mod engine;
mod exceptions;
#[cfg(feature = "compiler")]
pub mod explore;
mod externals;
mod func;
mod global;
mod host_calls;
mod instance;
mod limits;
mod linker;
mod memory;
mod module;
mod pool;
mod profiling;
mod refs;
mod store;
mod table;
mod trap;
mod types;
mod v128;
mod values;
mod vm;

#[cfg(feature = "compiler")]
pub use config::{Cache, CacheConfig};
pub use config::{
    Config, Enabled, Inlining, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, ProfilingStrategy, RegallocAlgorithm, Strategy, WasmBacktraceDetails,
};
pub use engine::{Engine, EngineWeak, Precompiled};
pub use exceptions::Tag;
pub use externals::{Export, Extern};
pub use func::{
    Caller, Func, IntoFunc, TypedFunc, UncheckedFunc, WasmParams, WasmResults, WasmRet, WasmTy,
    WasmTyList,
};
pub use global::Global;
pub use instance::{Instance, InstancePre};
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter,
    ResourceLimiterAsync, StoreLimits, StoreLimitsBuilder,
};
pub use linker::{Linker, UnknownImportError};
pub use memory::{Memory, MemoryAccessError};
pub use module::{Module, ModuleExport, Names, TypeMismatch};
pub use pool::{PoolConcurrencyLimitError, PoolingAllocatorMetrics};
pub use refs::{
    AnyRef, ArrayRef, ArrayRefPre, EqRef, ExnRef, ExnRefPre, ExternRef, GcHeapOutOfMemory, GcRef,
    I31, NoExtern, NoFunc, NoneRef, StructRef, StructRefPre,
};
pub use store::roots::{OwnedRooted, RootScope, Rooted, RootedGcRef};
pub use store::weak::{WeakMap, WeakRooted};
pub use store::{
    AsContext, AsContextMut, CallHook, CallHookHandler, Store, StoreContext, StoreContextMut,
    UpdateDeadline,
};
pub use table::Table;
pub use trap::{FrameInfo, WasmBacktrace};
pub use types::{
    ArrayType, ExnType, ExportType, ExternType, FieldType, Finality, FuncType, GlobalType,
    HeapType, ImportType, MemoryType, MemoryTypeBuilder, Mutability, RefType, StorageType,
    StructType, TableType, TagType, ValType,
};
pub use v128::V128;
pub use values::{Ref, Val};

/// Makes an error from a message, as [`anyhow!`](anyhow::anyhow) does.
pub use anyhow::anyhow as format_err;
pub use anyhow::{Error, Result, bail, ensure};

/// Errors: those of the crate `anyhow`.
pub mod error {
    pub use anyhow::{Chain, Context, Error, Ok, Result, anyhow as format_err, bail, ensure};
}

#[cfg(feature = "compiler")]
pub use gc_engine::{CacheStore, CompilationEnded, FolderCache, MemoryCache};
pub use gc_engine::{Collector, CollectorOption, RunOptions, WasmtimeCollector};
pub use gc_jit::{InterruptHandle, ThrownException};
pub use gc_runtime::lend::{GcExecutor, GcThreads, GcWork};
pub use gc_runtime::{
    AdaptivePolicy, Decision, FixedPolicy, GcLeft, GcStats, Growth, GrowthPolicy, HeapBounds,
    HeapError, HeapOptions, HeapPlan, HeapUsage, KeptHeaps, MemoryBudget, MemoryPurpose,
    MemoryRequest, MemorySource, NurseryUsage, OnDemand, Pause, PauseKind, PauseLog, PolicyFactory,
    Reclaims, RefusedBy, Reservation, UsedReservation,
};
pub use gc_types::{Trap, ValRaw};
#[cfg(feature = "reexport-wasmparser")]
pub use wasmparser;
pub use wasmtime_types::{OperatorCost, VariableOperatorCost};
