//! [`Engine`]: a collector and the options of its heaps, from which code and stores are made.

#[cfg(feature = "compiler")]
use crate::CodeOptions;
use crate::registry::TypeRegistry;
use crate::store::StoreInner;
use crate::{Collector, RunOptions};
use anyhow::{Context as _, Result, anyhow, ensure};
#[cfg(feature = "compiler")]
use gc_compiler::Compiler;
use gc_jit::HostCallTable;
use gc_runtime::{GcStore, HeapFactory, HeapOptions};
#[cfg(feature = "compiler")]
use gc_types::Machine;
use gc_types::{Abi, NULL_PAGE_SIZE};
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "compiler")]
pub use gc_compiler::cache::{CacheStore, FolderCache, MemoryCache};
#[cfg(feature = "compiler")]
pub use gc_compiler::{CompilationEnded, OptLevel};

/// A collector, the options of its heaps, and the compiler for them. Cheap to clone. Modules and
/// stores of one engine fit together.
///
/// ```
/// use gc_engine::{Collector, Engine};
///
/// let engine = Engine::new(Collector::drc())?;
/// assert_eq!(engine.collector().name(), "drc");
/// # anyhow::Ok(())
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    collector: Collector,
    heaps: Arc<HeapFactory>,
    /// An error if its code calls the host calls of an embedder, who then has a store of its own.
    host_calls: Result<HostCallTable<StoreInner>>,
    max_stack: usize,
    abi: Arc<Abi>,
    types: TypeRegistry,
    #[cfg(feature = "compiler")]
    compiler: Compiler,
    #[cfg(feature = "compiler")]
    code: CodeOptions,
}

impl Engine {
    /// The minimum for the maximal size of a heap, in bytes.
    pub const MIN_HEAP: u64 = NULL_PAGE_SIZE as u64 * 2;

    /// The minimum for the stack of compiled code, in bytes.
    pub const MIN_STACK: usize = 16 << 10;

    /// Creates an engine with the default options; see [`EngineBuilder`].
    ///
    /// # Errors
    /// If this machine is not supported.
    pub fn new(collector: Collector) -> Result<Engine> {
        Engine::builder(collector).build()
    }

    /// Creates a builder for an engine with other options.
    pub fn builder(collector: Collector) -> EngineBuilder {
        EngineBuilder::new(collector)
    }

    /// The collector.
    pub fn collector(&self) -> &Collector {
        &self.0.collector
    }

    /// Everything on which its code depends. Code and heaps are made from it.
    pub fn abi(&self) -> &Arc<Abi> {
        &self.0.abi
    }

    /// Whether its objects have [tables for unwinders](CodeOptions::unwind_tables).
    #[cfg(feature = "compiler")]
    pub(crate) fn has_unwind_tables(&self) -> bool {
        self.0.code.unwind_tables
    }

    /// The options of its heaps.
    pub fn heap_options(&self) -> &HeapOptions {
        self.0.heaps.options()
    }

    /// Bytes of native stack that compiled code may use.
    pub fn max_stack(&self) -> usize {
        self.0.max_stack
    }

    /// Creates the part of a store that has the heap, for embedders that have their own store. The
    /// heap is [made when it is needed](GcStore::lazy).
    pub fn new_heap(&self) -> GcStore {
        GcStore::lazy(&self.0.heaps)
    }

    /// The number of heaps in use, and of those that wait for a store. `None` without a
    /// [pool](EngineBuilder::heap_pool).
    pub fn pooled_heaps(&self) -> Option<(u32, usize)> {
        self.0.heaps.pooled_heaps()
    }

    /// The host calls of code that runs in a [`Store`].
    ///
    /// # Errors
    /// If the engine's code needs others.
    pub(crate) fn host_calls(&self) -> Result<&HostCallTable<StoreInner>> {
        self.0.host_calls.as_ref().map_err(|error| anyhow!("{error:#}"))
    }

    /// The types of its modules.
    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    /// Whether `other` is the same engine.
    pub fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The compiler for its heaps.
    #[cfg(feature = "compiler")]
    pub fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// Ends all compilations of the engine's code that other threads have begun, soon and with the
    /// error [`CompilationEnded::Cancelled`].
    #[cfg(feature = "compiler")]
    pub fn cancel_compilations(&self) {
        self.0.compiler.cancel();
    }

    /// Whether small functions are inlined.
    #[cfg(feature = "compiler")]
    pub fn inlines(&self) -> bool {
        self.0.code.inlines()
    }

    /// Whether code tests the types of objects before it accesses their fields and elements.
    #[cfg(feature = "compiler")]
    pub fn checks_types(&self) -> bool {
        self.0.code.checked || self.heap_options().zeal > 0
    }

    /// Whether functions are verified and checked before they are compiled.
    #[cfg(feature = "compiler")]
    pub fn verifies(&self) -> bool {
        self.0.code.verify
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.collector().name())
    }
}

/// The options of an [`Engine`].
///
/// ```
/// use gc_engine::{Collector, Engine};
///
/// let engine = Engine::builder(Collector::copying()).heap_maximum(64 << 20).build()?;
/// assert_eq!(engine.heap_options().maximum, 64 << 20);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    collector: Collector,
    heap: HeapOptions,
    heap_pool: Option<u32>,
    run: RunOptions,
    #[cfg(feature = "compiler")]
    code: CodeOptions,
    #[cfg(feature = "compiler")]
    machine: Option<Machine>,
}

impl EngineBuilder {
    fn new(collector: Collector) -> EngineBuilder {
        EngineBuilder {
            collector,
            heap: HeapOptions::default(),
            heap_pool: None,
            run: RunOptions::default(),
            #[cfg(feature = "compiler")]
            code: CodeOptions::default(),
            #[cfg(feature = "compiler")]
            machine: None,
        }
    }

    /// Sets all options of heaps (default: [`HeapOptions::default`]), also those that other methods have set
    /// before. The maximum is at least
    /// [`Engine::MIN_HEAP`] and at most 4 GiB; if the collector's own limit is smaller, that is the maximum.
    ///
    /// ```
    /// use gc_engine::{Collector, Engine, HeapOptions, OnDemand};
    /// use std::sync::Arc;
    ///
    /// // Nothing is kept when a store is dropped.
    /// let memory = Arc::new(OnDemand::keeping(0, 0));
    /// let heap = HeapOptions { maximum: 64 << 20, memory, ..HeapOptions::default() };
    /// let engine = Engine::builder(Collector::copying()).heap(heap).build()?;
    /// assert_eq!(engine.heap_options().maximum, 64 << 20);
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn heap(mut self, heap: HeapOptions) -> EngineBuilder {
        self.heap = heap;
        self
    }

    /// Sets the maximum size of a heap in bytes ([`HeapOptions::maximum`]).
    #[must_use]
    pub fn heap_maximum(mut self, bytes: u64) -> EngineBuilder {
        self.heap.maximum = bytes;
        self
    }

    /// Collects at every `n`th allocation ([`HeapOptions::zeal`]).
    #[must_use]
    pub fn zeal(mut self, n: u32) -> EngineBuilder {
        self.heap.zeal = n;
        self
    }

    /// Sets the maximum number of heaps at the same time, which come from a pool (default: there is no
    /// pool). The heap of a dropped store is reset and given to the next store
    /// ([`HeapFactory::with_pool`]).
    ///
    /// ```
    /// use gc_engine::{Collector, Engine};
    ///
    /// let engine = Engine::builder(Collector::copying()).heap_pool(Some(10)).build()?;
    /// let mut heap = engine.new_heap();
    /// heap.ensure_heap()?;
    /// assert_eq!(engine.pooled_heaps(), Some((1, 0)));
    /// drop(heap);
    /// assert_eq!(engine.pooled_heaps(), Some((0, 1)));
    /// # anyhow::Ok(())
    /// ```
    #[must_use]
    pub fn heap_pool(mut self, total: Option<u32>) -> EngineBuilder {
        self.heap_pool = total;
        self
    }

    /// Sets how code runs (default: [`RunOptions::default`]).
    #[must_use]
    pub fn run(mut self, run: RunOptions) -> EngineBuilder {
        self.run = run;
        self
    }

    /// Sets the bytes of native stack that compiled code may use ([`RunOptions::max_stack`]).
    #[must_use]
    pub fn max_stack(mut self, bytes: usize) -> EngineBuilder {
        self.run.max_stack = bytes;
        self
    }

    /// Sets whether running code can be interrupted ([`RunOptions::interruptible`]).
    #[must_use]
    pub fn interruptible(mut self, yes: bool) -> EngineBuilder {
        self.run.interruptible = yes;
        self
    }

    /// Sets how code is compiled (default: [`CodeOptions::default`]).
    ///
    /// ```
    /// use gc_engine::{CodeOptions, Collector, Engine, MemoryCache};
    /// use std::sync::Arc;
    ///
    /// let cache = Arc::new(MemoryCache::new(64 << 20));
    /// let code = CodeOptions { cache: Some(cache), ..CodeOptions::default() };
    /// let engine = Engine::builder(Collector::copying()).code(code).build()?;
    /// # anyhow::Ok(())
    /// ```
    #[cfg(feature = "compiler")]
    #[must_use]
    pub fn code(mut self, code: CodeOptions) -> EngineBuilder {
        self.code = code;
        self
    }

    /// Sets the machine that code is compiled for (default: [`Machine::host`], this machine with all of its extensions).
    /// It is for [objects](crate::native) that run on other machines, which have a
    /// [baseline](Machine::baseline). If this machine lacks an extension, [`Module::compile`](crate::Module::compile)
    /// fails.
    ///
    /// ```
    /// use gc_engine::{Collector, Engine, Machine};
    ///
    /// let machine = Machine::baseline("x86-64-v2").unwrap();
    /// let engine = Engine::builder(Collector::copying()).machine(machine).build()?;
    /// assert!(engine.abi().machine().features().all(|feature| feature != "avx"));
    /// # anyhow::Ok(())
    /// ```
    #[cfg(feature = "compiler")]
    #[must_use]
    pub fn machine(mut self, machine: Machine) -> EngineBuilder {
        self.machine = Some(machine);
        self
    }

    /// Sets the optimization level of Cranelift ([`CompileOptions::opt_level`](gc_compiler::CompileOptions::opt_level)).
    #[cfg(feature = "compiler")]
    #[must_use]
    pub fn opt_level(mut self, level: OptLevel) -> EngineBuilder {
        self.code.compile.opt_level = level;
        self
    }

    /// The engine.
    ///
    /// # Errors
    /// If an option is out of its range or needs a disabled feature, or this machine is not
    /// supported.
    pub fn build(self) -> Result<Engine> {
        self.build_with(|abi| abi)
    }

    /// Makes the engine of an embedder whose code depends on more facts. `extend` adds them to the
    /// [`Abi`], with [`Abi::with_host_calls`] and [`Abi::with_embedder`].
    ///
    /// # Errors
    /// As [`build`](EngineBuilder::build). Also if `extend` returns the ABI of other heaps.
    pub fn build_with(self, extend: impl FnOnce(Abi) -> Abi) -> Result<Engine> {
        let maximum = self.heap.maximum;
        ensure!(
            (Engine::MIN_HEAP..=4 << 30).contains(&maximum),
            "the GC heap's maximum must be between {} KiB and 4 GiB",
            Engine::MIN_HEAP >> 10
        );
        ensure!(
            self.run.max_stack >= Engine::MIN_STACK,
            "the stack for compiled code must be at least {} KiB",
            Engine::MIN_STACK >> 10
        );
        let heaps = HeapFactory::new(self.collector.shared_runtime(), &self.heap)?;
        let heaps = Arc::new(match self.heap_pool {
            Some(total) => heaps.with_pool(total),
            None => heaps,
        });
        let abi = self.collector.abi_for(heaps.options());
        let (own, bounds, zeal) = (abi.collector().clone(), abi.bounds(), abi.zeal());
        #[cfg(feature = "compiler")]
        let abi = match self.machine {
            Some(machine) => abi.with_machine(machine),
            None => abi,
        };
        let abi = Arc::new(extend(abi.with_polls(self.run.interruptible)));
        abi.check_heap(&own, bounds, zeal).context(
            "the embedder's ABI is not one of the engine's heaps (here: the heaps, there: the ABI)",
        )?;
        #[cfg(feature = "compiler")]
        let compiler = Compiler::new(self.collector.compiler(), &abi, &self.code.compile)?
            .with_time_limit(self.code.time_limit);
        #[cfg(feature = "compiler")]
        let compiler = match &self.code.cache {
            Some(store) => compiler.with_cache(store.clone()),
            None => compiler,
        };
        Ok(Engine(Arc::new(Inner {
            collector: self.collector,
            heaps,
            host_calls: HostCallTable::new(&abi, &[]),
            max_stack: self.run.max_stack,
            abi,
            types: TypeRegistry::default(),
            #[cfg(feature = "compiler")]
            compiler,
            #[cfg(feature = "compiler")]
            code: self.code,
        })))
    }
}
