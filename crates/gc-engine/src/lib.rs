//! Both halves of garbage collection in one crate: a [`Collector`] with its options, an [`Engine`],
//! a [`Module`] of functions that are compiled to [`Code`], a [`Store`] with a heap, into which code is
//! loaded, functions and objects of the host, and typed calls. A language that is compiled with Cranelift needs only this crate.
//!
//! The two halves agree because both are made from one value, the engine. A module takes from it
//! everything on which compiled code depends, and a store takes everything on which its heap
//! depends. Code that was compiled for another engine is refused, with an error that names the
//! difference.
//!
//! ```
//! # #[cfg(feature = "compiler")] {
//! use gc_engine::{Collector, Engine, Module, Rooted, Store, Type};
//!
//! let engine = Engine::new(Collector::by_name("generational")?)?;
//! let mut module = Module::new(&engine);
//! let pair = module.struct_type("pair", [Type::I64, Type::Ref])?;
//! module.function("cons", [Type::I64, Type::Ref], [Type::Ref], |f| {
//!     let fields = [f.param(0), f.param(1)];
//!     let cell = f.struct_new(&pair, &fields);
//!     f.ret(&[cell]);
//! })?;
//! module.function("head", [Type::Ref], [Type::I64], |f| {
//!     let list = f.param(0);
//!     let head = f.struct_get(&pair, list, 0);
//!     f.ret(&[head]);
//! })?;
//!
//! let mut store = Store::new(&engine, ())?;
//! store.load(&module.compile()?)?;
//! let cons = store.function::<(i64, Option<Rooted>), Rooted>("cons")?;
//! let list = cons.call(&mut store, (42, None))?;
//! let head = store.function::<Rooted, i64>("head")?.call(&mut store, list)?;
//! assert_eq!(head, 42);
//! # }
//! # anyhow::Ok(())
//! ```
//!
//! The parts are accessible: [`Body::builder`](crate::Body::builder) is Cranelift's
//! `FunctionBuilder`, [`Code::image`] is an image for `gc-jit`, and [`Store::gc`] is the heap of
//! `gc-runtime`.
#![deny(unsafe_code)]

mod code;
mod collector;
mod declarations;
mod engine;
mod field;
mod function;
#[cfg(feature = "compiler")]
mod module;
pub mod native;
mod object_type;
mod options;
mod registry;
mod rooted;
mod saved;
mod scoped;
pub mod size;
mod store;
mod types;
mod value;
#[cfg(all(feature = "copying", feature = "drc", feature = "generational", feature = "null"))]
mod wasmtime_collector;

pub use code::Code;
pub use collector::Collector;
#[cfg(feature = "compiler")]
pub use engine::{CacheStore, CompilationEnded, FolderCache, MemoryCache, OptLevel};
pub use engine::{Engine, EngineBuilder};
pub use field::{Field, FieldValue, Val};
pub use function::{CallBacktrace, TypedFunction};
#[cfg(feature = "compiler")]
pub use module::{
    Body, Callee, Control, FunctionHandle, Global, Module, Outcome, RefType, Variable,
};
pub use object_type::{ArrayType, StructType};
#[cfg(feature = "compiler")]
pub use options::CodeOptions;
pub use options::RunOptions;
pub use rooted::{AnyRef, ArrayRef, Handle, RefKind, Rooted, StructRef, Weak};
pub use scoped::Scoped;
pub use store::{AsStore, AsStoreMut, Caller, HostFunction, HostResults, Store};
pub use types::{Signature, Type};
pub use value::{Params, Results, Value};
#[cfg(all(feature = "copying", feature = "drc", feature = "generational", feature = "null"))]
pub use wasmtime_collector::WasmtimeCollector;

pub use gc_jit::{Backtrace, BacktraceFrame, InterruptHandle, ThrownException, TrapError};
pub use gc_runtime::{
    AdaptivePolicy, CollectorOption, FixedPolicy, Growth, HeapError, HeapOptions, KeptHeaps,
    MemoryBudget, MemoryPurpose, MemoryRequest, MemorySource, OnDemand, PolicyFactory, RefusedBy,
    Reservation, UsedReservation,
};
pub use gc_types::{HeapBounds, Machine, StorageType, Trap};
