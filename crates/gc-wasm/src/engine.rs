//! [`Engine`]: a configuration, a set of canonical types and a code generator. Any number of modules and stores on any number of threads share it.

use crate::host_calls::WasmHostCalls;
use crate::pool::Pool;
use crate::profiling::Profiler;
use crate::store::StoreOpaque;
use crate::types::registry::TypeRegistry;
use crate::vm::layout;
use crate::{Collector, Config, host_calls};
use anyhow::{Context, Result};
#[cfg(feature = "compiler")]
use gc_compiler::Compiler;
use gc_jit::{FiberStacks, HostCallTable};
use gc_runtime::{GcStore, HeapOptions, MemorySource};
use gc_types::Abi;
use std::fmt;
use std::fs::File;
use std::path::Path;
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
    fiber_stacks: Arc<FiberStacks>,
    /// Where its stores get memory from.
    source: Arc<dyn MemorySource>,
    pool: Option<Pool>,
    profiler: Option<Profiler>,
    /// The number of modules that were made.
    modules: AtomicU64,
}

impl Engine {
    /// Creates an engine with these settings.
    ///
    /// # Errors
    /// If the settings are invalid or this machine is not supported.
    pub fn new(config: &Config) -> Result<Engine> {
        config.check().context("engine configuration")?;
        let mut config = config.clone();
        let entries = config.code_entries();
        config.memory = config.memory.rounded();
        let pool = config.allocation_strategy.pool().map(|settings| {
            config.memory.maximum = config.memory.maximum.min(settings.max_memory_size as u64);
            Pool::new(settings, config.heap.memory.clone())
        });
        let source = pool.as_ref().map_or(config.heap.memory.clone(), Pool::source);
        let heap = config.heap.clone();
        let heap = HeapOptions { memory: source.clone(), threads: config.gc_workers(), ..heap };
        let heap_pool = config.allocation_strategy.pool().map(|settings| settings.total_gc_heaps);
        let engine = gc_engine::Engine::builder(config.collector.clone())
            .heap(heap)
            .heap_pool(heap_pool)
            .run(config.run.clone());
        #[cfg(feature = "compiler")]
        let engine = match config.code.target.clone() {
            Some(machine) => engine.code(config.code.options()).machine(machine),
            None => engine.code(config.code.options()),
        };
        let engine = engine
            .build_with(|abi| {
                let abi = entries
                    .into_iter()
                    .fold(abi, |abi, (name, value)| abi.with_embedder(name, value));
                abi.with_fuel(config.metering.fuel)
                    .with_epochs(config.metering.epochs)
                    .with_host_calls(host_calls::table(
                        config.metering.fuel || config.metering.epochs,
                    ))
                    .with_embedder("vmctx", layout::VERSION)
                    .with_embedder("memories", config.memory)
            })
            .context("engine configuration")?;
        let types = TypeRegistry::new()?;
        let host_calls = HostCallTable::new(engine.abi(), &StoreOpaque::host_calls())?;
        let epoch = Arc::default();
        let profiler = Profiler::new(config.trace.profiler).context("engine configuration")?;
        let (fiber_stacks, modules) = (config.fiber_stacks(), AtomicU64::new(0));
        let inner = EngineInner {
            config,
            types,
            engine,
            host_calls,
            epoch,
            fiber_stacks,
            source,
            pool,
            profiler,
            modules,
        };
        Ok(Engine(Arc::new(inner)))
    }

    /// Ends all compilations of modules that other threads have begun with this engine. They fail soon
    /// with the error [`CompilationEnded::Cancelled`](crate::CompilationEnded::Cancelled), as if their
    /// [time](Config::compilation_time_limit) was over. Compilations that begin later go on. Any thread
    /// can call this, and signal handlers too.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{CompilationEnded, Engine, Module};
    ///
    /// let engine = Engine::default();
    /// let wat = format!("(module (func {}))", "(drop (i32.const 1))".repeat(300_000));
    /// std::thread::scope(|scope| {
    ///     let compiling = scope.spawn(|| Module::new(&engine, wat));
    ///     while !compiling.is_finished() {
    ///         engine.cancel_compilations();
    ///     }
    ///     let error = compiling.join().unwrap().unwrap_err();
    ///     assert_eq!(error.downcast_ref(), Some(&CompilationEnded::Cancelled));
    /// });
    /// # gc_wasm::error::Ok(())
    /// ```
    #[cfg(feature = "compiler")]
    pub fn cancel_compilations(&self) {
        self.0.engine.cancel_compilations();
    }

    /// The engine's settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The collector of its stores.
    pub fn collector(&self) -> &Collector {
        self.0.engine.collector()
    }

    /// The number of types that the engine's modules, stores and handles have. For tests that look for
    /// types that are never freed.
    #[cfg(feature = "gc_zeal")]
    pub fn registered_types(&self) -> usize {
        self.types().len()
    }

    /// The number of stacks that asynchronous calls of the engine's stores have. For tests that look
    /// for stacks that are never given back.
    #[cfg(feature = "gc_zeal")]
    pub fn async_stacks_in_use(&self) -> usize {
        self.fiber_stacks().in_use()
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

    /// The stacks of its asynchronous calls.
    pub(crate) fn fiber_stacks(&self) -> &Arc<FiberStacks> {
        &self.0.fiber_stacks
    }

    /// The largest size of a store's GC heap in bytes ([`Config::gc_heap_maximum`]).
    pub fn gc_heap_maximum(&self) -> u64 {
        self.0.config.heap.maximum
    }

    /// Where its stores get memory from.
    pub(crate) fn memory_source(&self) -> &Arc<dyn MemorySource> {
        &self.0.source
    }

    /// Its pool, if it has one.
    #[inline]
    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.0.pool.as_ref()
    }

    /// The profiler that its modules are made known to, if there is one.
    pub(crate) fn profiler(&self) -> Option<&Profiler> {
        self.0.profiler.as_ref()
    }

    /// The number of pooled GC heaps in use, and of those that wait for a store.
    pub(crate) fn pooled_heaps(&self) -> (u32, usize) {
        self.0.engine.pooled_heaps().unwrap_or_default()
    }

    /// A number that no other module of the engine has. It is never 0.
    pub(crate) fn next_module(&self) -> u64 {
        self.0.modules.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> &Compiler {
        self.0.engine.compiler()
    }

    /// What `bytes` look like, if they look like something that is compiled: what
    /// [`Module::serialize`](crate::Module::serialize) returns, in whatever version. Whether an engine
    /// can load it is another question.
    pub fn detect_precompiled(bytes: &[u8]) -> Option<Precompiled> {
        gc_jit::is_saved(bytes).then_some(Precompiled::Module)
    }

    /// Like [`detect_precompiled`](Engine::detect_precompiled), for the contents of a file. Only its
    /// first and last bytes are read.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn detect_precompiled_file(path: impl AsRef<Path>) -> Result<Option<Precompiled>> {
        let path = path.as_ref();
        let saved = File::open(path).and_then(|file| gc_jit::is_saved_file(&file));
        let saved = saved.with_context(|| format!("reading {}", path.display()))?;
        Ok(saved.then_some(Precompiled::Module))
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

/// What [`Engine::detect_precompiled`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precompiled {
    /// A module.
    Module,
    /// A component, which is not supported and never found.
    Component,
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
