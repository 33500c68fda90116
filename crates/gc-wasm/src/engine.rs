//! [`Engine`]: a configuration, a set of canonical types and a code generator. Any number of modules and stores on any number of threads share it.

use crate::host_calls::WasmHostCalls;
use crate::store::StoreOpaque;
use crate::types::registry::TypeRegistry;
use crate::vm::layout;
use crate::{Collector, Config, host_calls};
use anyhow::{Context, Result};
#[cfg(feature = "compiler")]
use gc_compiler::Compiler;
use gc_jit::HostCallTable;
use gc_runtime::GcStore;
use gc_types::Abi;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Compiles modules and makes stores, all with the same collector. Cheap to clone.
///
/// # Examples
/// ```
/// use gc_wasm::{Collector, Config, Engine};
///
/// let engine = Engine::new(Config::new().collector(Collector::generational()))?;
/// assert!(Engine::same(&engine, &engine.clone()));
/// assert!(!Engine::same(&engine, &Engine::default()));
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    config: Config,
    types: TypeRegistry,
    engine: gc_engine::Engine,
    host_calls: HostCallTable<StoreOpaque>,
    epoch: Arc<AtomicU64>,
}

impl Engine {
    /// Creates an engine with these settings.
    ///
    /// # Errors
    /// If the settings are invalid or this machine is not supported.
    pub fn new(config: &Config) -> Result<Engine> {
        config.check().context("engine configuration")?;
        let mut config = config.clone();
        config.memory = config.memory.rounded();
        let engine = gc_engine::Engine::builder(config.collector.clone())
            .heap(config.heap_options())
            .max_stack(config.max_wasm_stack)
            .interruptible(config.interruptible);
        #[cfg(feature = "compiler")]
        let engine = engine.compile_options(config.code.options());
        #[cfg(feature = "compiler")]
        let engine = match &config.code.cache_store {
            Some(store) => engine.cache(store.clone()),
            None => engine,
        };
        let engine = engine
            .build_with(|abi| {
                abi.with_fuel(config.consume_fuel)
                    .with_epochs(config.epoch_interruption)
                    .with_host_calls(host_calls::WASM.iter().copied())
                    .with_embedder("vmctx", layout::VERSION)
                    .with_embedder("memories", config.memory)
            })
            .context("engine configuration")?;
        let types = TypeRegistry::new()?;
        let host_calls = HostCallTable::new(engine.abi(), &StoreOpaque::host_calls())?;
        let epoch = Arc::default();
        Ok(Engine(Arc::new(EngineInner { config, types, engine, host_calls, epoch })))
    }

    /// The engine's settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The collector of its stores.
    pub fn collector(&self) -> &Collector {
        self.0.engine.collector()
    }

    /// Whether `a` and `b` are the same engine.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// A reference to the engine that does not keep it alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak(Arc::downgrade(&self.0))
    }

    /// Begins a new epoch. Code of the engine's stores that runs on any thread and has
    /// [reached its deadline](crate::Store::set_epoch_deadline) ends or calls the host soon. This
    /// only increments a counter, so it may be called anywhere, also in a signal handler. Unless
    /// [`Config::epoch_interruption`] is set, no code looks at it.
    pub fn increment_epoch(&self) {
        self.0.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// The counter of epochs.
    pub(crate) fn epoch(&self) -> &Arc<AtomicU64> {
        &self.0.epoch
    }

    /// The largest size of a store's GC heap in bytes ([`Config::gc_heap_maximum`]).
    pub fn gc_heap_maximum(&self) -> u64 {
        self.0.config.gc_heap_maximum
    }

    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> &Compiler {
        self.0.engine.compiler()
    }

    /// The host calls of its stores' compiled code.
    pub(crate) fn host_calls(&self) -> &HostCallTable<StoreOpaque> {
        &self.0.host_calls
    }

    /// The part of a store that has the heap, which is made when it is needed.
    pub(crate) fn new_heap(&self) -> GcStore {
        self.0.engine.new_heap()
    }

    /// The ABI of its code.
    pub fn abi(&self) -> &Arc<Abi> {
        self.0.engine.abi()
    }
}

impl Default for Engine {
    /// An engine with the default settings.
    ///
    /// # Panics
    /// If this machine is not supported.
    fn default() -> Engine {
        Engine::new(&Config::default()).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// A reference to an [`Engine`] that does not keep it alive.
#[derive(Clone)]
pub struct EngineWeak(Weak<EngineInner>);

impl EngineWeak {
    /// The engine, if it still exists.
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}

impl fmt::Debug for EngineWeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWeak").finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.collector().name())
    }
}
