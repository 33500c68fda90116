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

#[cfg(feature = "compiler")]
pub use cache::{Cache, CacheConfig};
pub(crate) use code::CodeSettings;
pub use code::{Inlining, OptLevel, RegallocAlgorithm, Strategy};
pub use hints::WasmBacktraceDetails;
pub use pooling::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};
pub use profiling::ProfilingStrategy;
pub use refused::ModuleVersionStrategy;
#[cfg(all(test, feature = "compiler"))]
pub(crate) use wasm::supported;

use crate::Collector;
use crate::store::limits;
use crate::vm::memory::MemorySettings;
use anyhow::{Result, bail, ensure};
use gc_runtime::{HeapBounds, HeapOptions, MemorySource, OnDemand, PolicyFactory};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;
use wasmparser::WasmFeatures;
use wasmtime_types::OperatorCostStrategy;

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
    pub(crate) gc_heap_initial: u64,
    pub(crate) gc_heap_maximum: u64,
    pub(crate) gc_heap_bounds: HeapBounds,
    pub(crate) gc_policy: PolicyFactory,
    pub(crate) gc_slice: Duration,
    pub(crate) gc_zeal: u32,
    pub(crate) memory_source: Arc<dyn MemorySource>,
    pub(crate) allocation_strategy: InstanceAllocationStrategy,
    pub(crate) max_wasm_stack: usize,
    pub(crate) async_stack_size: Option<usize>,
    pub(crate) async_stack_zeroing: bool,
    pub(crate) interruptible: bool,
    pub(crate) consume_fuel: bool,
    pub(crate) operator_cost: OperatorCostStrategy,
    pub(crate) epoch_interruption: bool,
    module_version: Option<String>,
    gc_heap_guard: Option<u64>,
    pub(crate) code: CodeSettings,
    pub(crate) features: WasmFeatures,
    /// Those that were switched on one by one.
    asked_features: WasmFeatures,
    pub(crate) branch_hints: bool,
    pub(crate) backtrace_frames: Option<NonZeroUsize>,
    pub(crate) address_map: bool,
    pub(crate) profiler: ProfilingStrategy,
    /// What was asked for and is not supported, with the reason.
    pub(crate) refused: BTreeMap<&'static str, &'static str>,
    pub(crate) memory: MemorySettings,
    pub(crate) table_elements_maximum: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// Makes settings that suit most programs: the default collector, a heap of up to 2 GiB, 1 MiB
    /// of stack.
    pub fn new() -> Config {
        Config {
            collector: Collector::default(),
            gc_heap_initial: 1 << 20,
            gc_heap_maximum: 2 << 30,
            gc_heap_bounds: HeapBounds::Guarded,
            gc_policy: PolicyFactory::default(),
            gc_slice: HeapOptions::DEFAULT_SLICE,
            gc_zeal: 0,
            memory_source: Arc::new(OnDemand::default()),
            allocation_strategy: InstanceAllocationStrategy::OnDemand,
            max_wasm_stack: 1 << 20,
            async_stack_size: None,
            async_stack_zeroing: false,
            interruptible: false,
            operator_cost: OperatorCostStrategy::default(),
            module_version: None,
            gc_heap_guard: None,
            consume_fuel: false,
            epoch_interruption: false,
            code: CodeSettings::default(),
            features: wasm::supported(),
            asked_features: WasmFeatures::empty(),
            branch_hints: true,
            backtrace_frames: NonZeroUsize::new(20),
            address_map: true,
            profiler: ProfilingStrategy::None,
            refused: BTreeMap::new(),
            memory: MemorySettings {
                reservation: 4 << 30,
                reservation_for_growth: 2 << 30,
                guard: 2 << 30,
                may_move: true,
                maximum: 4 << 30,
            },
            table_elements_maximum: 1 << 26,
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

    /// Sets the initial size of each store's GC heap in bytes (default: 1 MiB).
    pub fn gc_heap_initial_size(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_initial = bytes;
        self
    }

    /// Sets the maximum size of a store's GC heap in bytes (default: 2 GiB, at least 128 KiB, at
    /// most 4 GiB, because references have 32 bits). It includes the 64 KiB at the heap's start
    /// that hold no objects. An allocation for which there is no room, even after a collection, is
    /// an error. The store stays usable.
    pub fn gc_heap_maximum(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_maximum = bytes;
        self
    }

    /// Sets how the accesses of compiled code are kept inside the GC heap: by reserving 4 GiB of
    /// address space for each store (the default), or by checking every access.
    pub fn gc_heap_bounds(&mut self, bounds: HeapBounds) -> &mut Config {
        self.gc_heap_bounds = bounds;
        self
    }

    /// Sets how each store's GC heap uses memory: when the whole heap is collected, by how much it
    /// grows, and what it gives back to the system (default:
    /// [`AdaptivePolicy::balanced`](crate::AdaptivePolicy::balanced)). Pass a policy, which is
    /// cloned for each store, or a [`PolicyFactory`] that makes policies.
    pub fn growth_policy(&mut self, policy: impl Into<PolicyFactory>) -> &mut Config {
        self.gc_policy = policy.into();
        self
    }

    /// Sets the time that a slice of an incremental collection, or an increment of an asynchronous
    /// one, may take (default: 500 µs). The collector reads the clock every few hundred objects, so
    /// a slice takes some tens of microseconds even if the time is zero. If slices are too short to
    /// keep up with the program, the program waits for the collection to end.
    pub fn gc_slice(&mut self, time: Duration) -> &mut Config {
        self.gc_slice = time;
        self
    }

    /// Collects at every `n`th allocation and verifies the heap before and after, to find bugs in
    /// collectors and hosts. 0, the default, turns this off. With another value, making an
    /// engine fails unless the feature `gc_zeal` is on.
    pub fn gc_zeal(&mut self, n: u32) -> &mut Config {
        self.gc_zeal = n;
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
    /// linear memories, tables and instances (default: a new [`OnDemand`], which maps memory when it
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
        self.memory_source = source;
        self
    }

    /// Sets the bytes of native stack that compiled code may use (default: 1 MiB). Code traps if it
    /// needs more. The thread must have that much stack, and some more for the host.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.max_wasm_stack = bytes;
        self
    }

    /// Sets whether running code can be interrupted from another thread (default: no). Then each
    /// loop polls, with one instruction. See [`InterruptHandle`](crate::InterruptHandle).
    pub fn interruptible(&mut self, yes: bool) -> &mut Config {
        self.interruptible = yes;
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
        self.backtrace_frames = limit;
        self
    }

    /// Sets whether errors have a [`WasmBacktrace`](crate::WasmBacktrace) (default: yes).
    pub fn wasm_backtrace(&mut self, yes: bool) -> &mut Config {
        self.wasm_backtrace_max_frames(NonZeroUsize::new(if yes { 20 } else { 0 }))
    }

    /// Sets whether the functions of backtraces have the offset of the instruction in the module
    /// (default: yes).
    pub fn generate_address_map(&mut self, yes: bool) -> &mut Config {
        self.address_map = yes;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some((setting, why)) = self.refused.first_key_value() {
            bail!("unsupported: `Config::{setting}`: {why}");
        }
        let guard = match self.gc_heap_bounds {
            HeapBounds::Guarded => gc_types::HEAP_GUARD_SIZE,
            HeapBounds::Checked => 0,
        };
        if let Some(wanted) = self.gc_heap_guard.filter(|wanted| *wanted > guard) {
            bail!(
                "unsupported: `Config::gc_heap_guard_size`: after a GC heap with these bounds are \
                 {guard} bytes of guard, not {wanted}"
            );
        }
        if self.table_elements_maximum > limits::ELEMENTS {
            bail!("the tables of a store may have at most {} elements", limits::ELEMENTS);
        }
        self.check_async_stack()?;
        match self.allocation_strategy.pool() {
            Some(pool) => pool.check(self.memory.reservation),
            None => Ok(()),
        }
    }

    /// What else saved code depends on: names and values.
    pub(crate) fn code_entries(&self) -> Vec<(&'static str, String)> {
        let version = self.module_version.clone().map(|version| ("version", version));
        let costs = self.unusual_costs().map(|costs| ("operator_cost", costs));
        version.into_iter().chain(costs).collect()
    }

    /// The options of GC heaps, whose memory comes from `source`.
    pub(crate) fn heap_options(&self, source: Arc<dyn MemorySource>) -> HeapOptions {
        HeapOptions {
            initial: self.gc_heap_initial,
            maximum: self.gc_heap_maximum,
            bounds: self.gc_heap_bounds,
            policy: self.gc_policy.clone(),
            slice: self.gc_slice,
            memory: source,
            zeal: self.gc_zeal,
        }
    }
}
