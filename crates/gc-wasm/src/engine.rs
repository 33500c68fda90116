//! [`Engine`]: a configuration, a set of canonical types and a code generator. Any number of modules and stores on any number of threads share it.

use crate::host_calls::WasmHostCalls;
use crate::store::StoreOpaque;
use crate::types::registry::TypeRegistry;
use crate::vm::layout;
use crate::{Collector, Config, host_calls};
use anyhow::{Context, Result};
#[cfg(feature = "compiler")]
use gc_compiler::{CompileOptions, Compiler, OptLevel};
use gc_jit::HostCallTable;
use gc_runtime::GcStore;
use gc_types::Abi;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Compiles modules and makes stores, all with the same collector. Cheap to clone.
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
        let engine = engine.compile_options(CompileOptions {
            opt_level: if config.optimize { OptLevel::Speed } else { OptLevel::None },
            verifier: config.verify,
            huge_function: config.huge_function,
        });
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

    /// Whether `other` is the same engine.
    pub fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.collector().name())
    }
}
