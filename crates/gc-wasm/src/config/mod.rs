//! The settings of an engine.
//!
//! Each setting of Wasmtime's `Config` that is here is honoured, or the engine is refused with an
//! error that names it. Those that change nothing a program can see are accepted: `hints.rs`.

mod asynchronous;
#[cfg(feature = "compiler")]
mod cache;
#[cfg(feature = "compiler")]
mod cache_file;
mod code;
mod hints;
mod memory;
mod metering;
mod pooling;
mod profiling;
mod refused;
mod wasm;
mod workers;

pub(crate) use asynchronous::AsyncStackSettings;
#[cfg(feature = "compiler")]
pub use cache::{Cache, CacheConfig};
pub(crate) use code::CodeSettings;
pub use code::{Inlining, OptLevel, RegallocAlgorithm, Strategy};
pub use hints::WasmBacktraceDetails;
pub(crate) use metering::MeteringSettings;
pub use pooling::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};
pub use profiling::ProfilingStrategy;
pub(crate) use profiling::TraceSettings;
pub use refused::ModuleVersionStrategy;
pub(crate) use wasm::FeatureSettings;
#[cfg(all(test, feature = "compiler"))]
pub(crate) use wasm::supported;

use crate::Collector;
use crate::store::limits;
use crate::vm::memory::MemorySettings;
use anyhow::{Result, bail, ensure};
use gc_engine::RunOptions;
use gc_runtime::{HeapBounds, HeapOptions, MemorySource, PolicyFactory};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;
use workers::Workers;

/// The settings of an [`Engine`](crate::Engine).
///
/// # Examples
/// ```
/// use gc_wasm::{Collector, Config, Engine};
///
/// let mut config = Config::new();
/// config.collector(Collector::drc()).gc_heap_maximum(64 << 20).max_wasm_stack(256 << 10);
/// let engine = Engine::new(&config)?;
/// assert_eq!(engine.collector().name(), "drc");
///
/// // What cannot be honoured is refused.
/// config.wasm_threads(true);
/// let error = Engine::new(&config).unwrap_err();
/// assert!(format!("{error:#}").contains("`Config::wasm_threads`"));
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) collector: Collector,
    pub(crate) heap: HeapOptions,
    workers: Workers,
    heap_guard: Option<u64>,
    pub(crate) allocation_strategy: InstanceAllocationStrategy,
    pub(crate) run: RunOptions,
    async_stacks: AsyncStackSettings,
    pub(crate) metering: MeteringSettings,
    pub(crate) code: CodeSettings,
    pub(crate) features: FeatureSettings,
    pub(crate) trace: TraceSettings,
    pub(crate) memory: MemorySettings,
    pub(crate) table_elements_maximum: u64,
    /// What was asked for and is not supported, with the reason.
    pub(crate) refused: BTreeMap<&'static str, &'static str>,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// Makes settings that suit most programs: the default collector, a heap with
    /// [`HeapOptions::default`], [`RunOptions::DEFAULT_MAX_STACK`] bytes of stack.
    pub fn new() -> Config {
        Config {
            collector: Collector::default(),
            heap: HeapOptions::default(),
            workers: Workers::default(),
            heap_guard: None,
            allocation_strategy: InstanceAllocationStrategy::OnDemand,
            run: RunOptions::default(),
            async_stacks: AsyncStackSettings::default(),
            metering: MeteringSettings::default(),
            code: CodeSettings::default(),
            features: FeatureSettings::default(),
            trace: TraceSettings::default(),
            memory: MemorySettings::default(),
            table_elements_maximum: 1 << 26,
            refused: BTreeMap::new(),
        }
    }

    /// Sets the collector of the engine's stores, with its [options](Collector::with_option), or by a
    /// name that Wasmtime has for one.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Collector, Config, Engine};
    ///
    /// let engine = Engine::new(Config::new().collector(Collector::generational()))?;
    /// assert_eq!(engine.collector().name(), "generational");
    /// let engine = Engine::new(Config::new().collector(Collector::DeferredReferenceCounting))?;
    /// assert_eq!(engine.collector().name(), "drc");
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn collector(&mut self, collector: impl Into<Collector>) -> &mut Config {
        self.collector = collector.into();
        self
    }

    /// Sets all options of each store's GC heap (default: [`HeapOptions::default`]), also those that other
    /// methods have set before, such as the [source](Config::memory_source) of all memory. The other methods
    /// set one of them each.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, FixedPolicy, HeapOptions};
    ///
    /// let heap = HeapOptions {
    ///     initial: 64 << 20,
    ///     maximum: 64 << 20,
    ///     policy: FixedPolicy.into(),
    ///     ..HeapOptions::default()
    /// };
    /// let engine = Engine::new(Config::new().gc_heap(heap))?;
    /// assert_eq!(engine.gc_heap_maximum(), 64 << 20);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn gc_heap(&mut self, options: HeapOptions) -> &mut Config {
        self.heap = options;
        self.workers.use_options();
        self
    }

    /// Sets the initial size of each store's GC heap in bytes ([`HeapOptions::initial`]).
    pub fn gc_heap_initial_size(&mut self, bytes: u64) -> &mut Config {
        self.heap.initial = bytes;
        self
    }

    /// Sets the maximum size of a store's GC heap in bytes ([`HeapOptions::maximum`]; at least 128 KiB, at
    /// most 4 GiB, because references have 32 bits). It includes the 64 KiB at the heap's start
    /// that hold no objects. An allocation for which there is no room, even after a collection, is
    /// an error. The store stays usable.
    pub fn gc_heap_maximum(&mut self, bytes: u64) -> &mut Config {
        self.heap.maximum = bytes;
        self
    }

    /// Sets how the accesses of compiled code are kept inside the GC heap ([`HeapOptions::bounds`]): by
    /// reserving 4 GiB of address space for each store (the default), or by checking every access.
    pub fn gc_heap_bounds(&mut self, bounds: HeapBounds) -> &mut Config {
        self.heap.bounds = bounds;
        self
    }

    /// Sets how each store's GC heap uses memory ([`HeapOptions::policy`]): when the whole heap is collected,
    /// by how much it grows, and what it gives back to the system (default:
    /// [`AdaptivePolicy::balanced`](crate::AdaptivePolicy::balanced)). Pass a policy, which is
    /// cloned for each store, or a [`PolicyFactory`] that makes policies.
    pub fn growth_policy(&mut self, policy: impl Into<PolicyFactory>) -> &mut Config {
        self.heap.policy = policy.into();
        self
    }

    /// Lets the GC heaps of all stores of an engine share `bytes` bytes ([`MemoryBudget`](crate::MemoryBudget)): a growth policy, in
    /// place of the [other one](Config::growth_policy). Engines that share a budget, or a host that wants to look at it, set it as
    /// such a policy. It is an aim. No store gets an error because of it.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, MemoryBudget};
    ///
    /// let engine = Engine::new(Config::new().memory_budget(512 << 20))?;
    ///
    /// // The same, and the host can ask how much lives.
    /// let budget = MemoryBudget::new(512 << 20);
    /// let engine = Engine::new(Config::new().growth_policy(budget.clone()))?;
    /// assert_eq!(budget.live(), 0);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn memory_budget(&mut self, bytes: u64) -> &mut Config {
        self.growth_policy(gc_runtime::MemoryBudget::new(bytes))
    }

    /// Sets the time for which a pause for the collector should stop the program
    /// ([`HeapOptions::pause_target`]): a minor collection, a slice of marking or sweeping, an increment of an
    /// asynchronous collection. It is an aim and not a bound. With a longer time `generational` uses more
    /// of its nursery, if that saves work. With zero, pauses are as short as the collector can make them,
    /// and collections take more time altogether.
    pub fn gc_pause_target(&mut self, time: Duration) -> &mut Config {
        self.heap.pause_target = time;
        self
    }

    /// Collects at every `n`th allocation and verifies the heap before and after, to find bugs in
    /// collectors and hosts. 0, the default, turns this off. With another value, making an
    /// engine fails unless the feature `gc_zeal` is on.
    pub fn gc_zeal(&mut self, n: u32) -> &mut Config {
        self.heap.zeal = n;
        self
    }

    /// Collects at every `n`th allocation, as [`gc_zeal`](Config::gc_zeal) does; `None` turns it off.
    ///
    /// # Errors
    /// If there is a number, and the feature `gc_zeal` is off.
    pub fn gc_zeal_alloc_counter(&mut self, n: Option<NonZeroU32>) -> Result<&mut Config> {
        let zeal = n.map_or(0, NonZeroU32::get);
        ensure!(
            zeal == 0 || cfg!(feature = "gc_zeal"),
            "cannot set `gc_zeal_alloc_counter`: the feature `gc_zeal` is off"
        );
        Ok(self.gc_zeal(zeal))
    }

    /// Sets the source from which stores get their memory: GC heaps and the tables of collectors,
    /// linear memories, tables and instances (default: a new [`OnDemand`](crate::OnDemand), which maps memory when it
    /// is asked for and keeps a few reservations for the next stores). Engines made from clones of
    /// these settings share the source.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, OnDemand};
    /// use std::sync::Arc;
    ///
    /// // Nothing is kept when a store is dropped.
    /// let engine = Engine::new(Config::new().memory_source(Arc::new(OnDemand::keeping(0, 0))))?;
    /// # anyhow::Ok(())
    /// ```
    pub fn memory_source(&mut self, source: Arc<dyn MemorySource>) -> &mut Config {
        self.heap.memory = source;
        self
    }

    /// Sets how compiled code runs: its stack, and whether it can be interrupted (default:
    /// [`RunOptions::default`]).
    pub fn run(&mut self, options: RunOptions) -> &mut Config {
        self.run = options;
        self
    }

    /// Sets the bytes of native stack that compiled code may use ([`RunOptions::max_stack`]). Code traps if it
    /// needs more. The thread must have that much stack, and some more for the host.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.run.max_stack = bytes;
        self
    }

    /// Sets whether running code can be interrupted from another thread (default: no). Then each
    /// loop polls, with one instruction. See [`InterruptHandle`](crate::InterruptHandle).
    pub fn interruptible(&mut self, yes: bool) -> &mut Config {
        self.run.interruptible = yes;
        self
    }

    /// Sets the maximum number of elements of all tables of a store together, including element
    /// segments of references into the heap (default: 2^26, at most 2^27). A single table may have
    /// at most 10 million. Growing a table beyond the limit returns -1 to the program.
    /// Instantiating a module with larger tables is an error.
    pub fn table_elements_maximum(&mut self, elements: u64) -> &mut Config {
        self.table_elements_maximum = elements;
        self
    }

    /// Sets the maximum number of functions of a [`WasmBacktrace`](crate::WasmBacktrace) (default:
    /// 20). With `None` errors have no backtrace.
    pub fn wasm_backtrace_max_frames(&mut self, limit: Option<NonZeroUsize>) -> &mut Config {
        self.trace.backtrace_frames = limit;
        self
    }

    /// Sets whether errors have a [`WasmBacktrace`](crate::WasmBacktrace) (default: yes).
    pub fn wasm_backtrace(&mut self, yes: bool) -> &mut Config {
        self.wasm_backtrace_max_frames(NonZeroUsize::new(if yes { 20 } else { 0 }))
    }

    /// Sets whether the functions of backtraces have the offset of the instruction in the module
    /// (default: yes).
    pub fn generate_address_map(&mut self, yes: bool) -> &mut Config {
        self.trace.address_map = yes;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some((setting, why)) = self.refused.first_key_value() {
            bail!("unsupported: `Config::{setting}`: {why}");
        }
        let guard = match self.heap.bounds {
            HeapBounds::Guarded => gc_types::HEAP_GUARD_SIZE,
            HeapBounds::Checked => 0,
        };
        if let Some(wanted) = self.heap_guard.filter(|wanted| *wanted > guard) {
            bail!(
                "unsupported: `Config::gc_heap_guard_size`: after a GC heap with these bounds are \
                 {guard} bytes of guard, not {wanted}"
            );
        }
        if self.table_elements_maximum > limits::ELEMENTS {
            bail!("the tables of a store may have at most {} elements", limits::ELEMENTS);
        }
        let most = self.collector.max_native_refs();
        let may = limits::native_refs(self.table_elements_maximum);
        if may > most {
            bail!(
                "the collector `{}` allows {most} references outside the heap, but with \
                 `Config::table_elements_maximum` of {} a store may have {may}",
                self.collector.name(),
                self.table_elements_maximum
            );
        }
        self.check_async_stack()?;
        match self.allocation_strategy.pool() {
            Some(pool) => pool.check(self.memory.reservation),
            None => Ok(()),
        }
    }

    /// What else saved code depends on: names and values.
    pub(crate) fn code_entries(&self) -> Vec<(&'static str, String)> {
        let version = self.code.module_version.clone().map(|version| ("version", version));
        let costs = self.unusual_costs().map(|costs| ("operator_cost", costs));
        version.into_iter().chain(costs).collect()
    }
}
