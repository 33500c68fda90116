//! Where stores get what they need: made on demand, or taken from a pool.

use super::Config;
use anyhow::{Result, bail, ensure};

/// How the memories, tables and GC heaps of stores are allocated.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum InstanceAllocationStrategy {
    /// They are made when they are needed, from the engine's
    /// [source of memory](Config::memory_source), and go back there when the store is dropped.
    #[default]
    OnDemand,
    /// They come from a pool, and go back there when the store is dropped. The pool has limits for
    /// what is in use at the same time.
    Pooling(PoolingAllocationConfig),
}

impl InstanceAllocationStrategy {
    /// A pool with the default limits.
    pub fn pooling() -> InstanceAllocationStrategy {
        InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default())
    }

    /// The settings of the pool, if there is one.
    pub(crate) fn pool(&self) -> Option<&PoolingAllocationConfig> {
        match self {
            InstanceAllocationStrategy::OnDemand => None,
            InstanceAllocationStrategy::Pooling(config) => Some(config),
        }
    }
}

impl From<PoolingAllocationConfig> for InstanceAllocationStrategy {
    fn from(config: PoolingAllocationConfig) -> InstanceAllocationStrategy {
        InstanceAllocationStrategy::Pooling(config)
    }
}

/// Whether something is used that not all systems have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It is used if the system has it.
    Auto,
    /// It is used. It is an error if the system does not have it.
    Yes,
    /// It is not used.
    No,
}

/// The limits of a pool, and what its unused slots keep.
///
/// A slot is the address space of a linear memory or of a table. It is reserved when it is first used
/// and kept until the engine is dropped. A store never sees what an earlier one had in a slot. GC heaps
/// are kept as a whole: with their mappings, and with the tables of their collector.
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, Instance, Module, PoolConcurrencyLimitError, Store};
/// use gc_wasm::PoolingAllocationConfig;
///
/// let mut pool = PoolingAllocationConfig::new();
/// pool.total_core_instances(1);
/// let engine = Engine::new(Config::new().allocation_strategy(pool))?;
/// let module = Module::new(&engine, "(module)")?;
/// let mut store = Store::new(&engine, ());
/// Instance::new(&mut store, &module, &[])?;
/// let error = Instance::new(&mut store, &module, &[]).unwrap_err();
/// assert!(error.is::<PoolConcurrencyLimitError>());
/// drop(store);
/// Instance::new(&mut Store::new(&engine, ()), &module, &[])?;
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct PoolingAllocationConfig {
    pub(crate) max_unused_warm_slots: u32,
    pub(crate) decommit_batch_size: usize,
    pub(crate) async_stack_keep_resident: usize,
    pub(crate) linear_memory_keep_resident: usize,
    pub(crate) table_keep_resident: usize,
    pub(crate) total_core_instances: u32,
    pub(crate) total_memories: u32,
    pub(crate) total_tables: u32,
    pub(crate) total_stacks: u32,
    pub(crate) total_gc_heaps: u32,
    pub(crate) max_core_instance_size: usize,
    pub(crate) max_tables_per_module: u32,
    pub(crate) max_memories_per_module: u32,
    pub(crate) table_elements: usize,
    pub(crate) max_memory_size: usize,
    pub(crate) memory_protection_keys: Enabled,
    pub(crate) pagemap_scan: Enabled,
}

impl Default for PoolingAllocationConfig {
    fn default() -> PoolingAllocationConfig {
        PoolingAllocationConfig {
            max_unused_warm_slots: 100,
            decommit_batch_size: 1,
            async_stack_keep_resident: 0,
            linear_memory_keep_resident: 0,
            table_keep_resident: 0,
            total_core_instances: 1000,
            total_memories: 1000,
            total_tables: 1000,
            total_stacks: 1000,
            total_gc_heaps: 1000,
            max_core_instance_size: 1 << 20,
            max_tables_per_module: 1,
            max_memories_per_module: 1,
            table_elements: 20_000,
            max_memory_size: 4 << 30,
            memory_protection_keys: Enabled::No,
            pagemap_scan: Enabled::No,
        }
    }
}

/// A setting that is only stored.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {
        /// Settings.
        impl PoolingAllocationConfig {$(
            $(#[$doc])*
            pub fn $name(&mut self, $name: $ty) -> &mut Self {
                self.$name = $name;
                self
            }
        )*}
    };
}

settings! {
    /// Sets the number of unused slots that wait for the module that had them (default: 100). A
    /// module gets the slot that it had last, if that is unused. Otherwise it gets a slot that was
    /// never used, unless more slots than this wait for other modules: then it gets the one that
    /// waits longest. With 0 no more slots are ever used than were in use at the same time.
    max_unused_warm_slots: u32;
    /// Sets how many slots are cleared together (default: 1). Until then they keep what the store had
    /// in them.
    decommit_batch_size: usize;
    /// Sets the bytes of physical memory that an unused stack of asynchronous calls keeps when it is
    /// made zero (default: 0). They are overwritten, and the others go back to the system. Without
    /// [`Config::async_stack_zeroing`] a stack keeps all that it used.
    async_stack_keep_resident: usize;
    /// Sets the bytes of physical memory that an unused slot of a linear memory keeps (default: 0).
    /// They are overwritten with zeroes when the memory is dropped; the others go back to the
    /// system. A GC heap that waits for a store always keeps up to 128 KiB.
    linear_memory_keep_resident: usize;
    /// Sets the bytes of physical memory that an unused slot of a table keeps (default: 0), as
    /// [`linear_memory_keep_resident`](Self::linear_memory_keep_resident) does for memories.
    table_keep_resident: usize;
    /// Sets the maximum number of instances at the same time (default: 1000).
    total_core_instances: u32;
    /// Sets the maximum number of linear memories at the same time (default: 1000).
    total_memories: u32;
    /// Sets the maximum number of tables at the same time (default: 1000).
    total_tables: u32;
    /// Sets the maximum number of stacks of asynchronous calls at the same time (default: 1000).
    total_stacks: u32;
    /// Sets the maximum number of GC heaps at the same time (default: 1000). A store has one from when
    /// its first module that needs one is instantiated, or the host makes its first object.
    total_gc_heaps: u32;
    /// Sets the maximum number of bytes of an instance (default: 1 MiB): its globals, its definitions
    /// of tables and memories, and its references to functions. A module whose instances would be
    /// larger is refused.
    max_core_instance_size: usize;
    /// Sets the maximum number of tables that a module may define (default: 1). A module with more is
    /// refused.
    max_tables_per_module: u32;
    /// Sets the maximum number of linear memories that a module may define (default: 1). A module
    /// with more is refused.
    max_memories_per_module: u32;
    /// Sets the maximum number of elements of a table (default: 20,000). A module with a larger
    /// minimum is refused. No table grows beyond it.
    table_elements: usize;
    /// Sets the maximum number of bytes of a linear memory (default: 4 GiB). A module with a larger
    /// minimum is refused. No memory grows beyond it. It must not be more than
    /// [`Config::memory_reservation`].
    max_memory_size: usize;
    /// Sets whether neighbouring memories are separated by protection keys (default: no). They are not
    /// supported, so an engine with [`Enabled::Yes`] is refused.
    memory_protection_keys: Enabled;
    /// Sets whether the system is asked which pages were written by `PAGEMAP_SCAN` (default: no). It
    /// is asked by `mincore`, so an engine with [`Enabled::Yes`] is refused.
    pagemap_scan: Enabled;
}

/// There are no components, so these limits always hold.
impl PoolingAllocationConfig {
    /// Makes settings with the defaults.
    pub fn new() -> PoolingAllocationConfig {
        PoolingAllocationConfig::default()
    }

    /// Sets the maximum number of component instances at the same time.
    pub fn total_component_instances(&mut self, _count: u32) -> &mut Self {
        self
    }

    /// Sets the maximum number of bytes of a component instance.
    pub fn max_component_instance_size(&mut self, _size: usize) -> &mut Self {
        self
    }

    /// Sets the maximum number of instances of modules in a component.
    pub fn max_core_instances_per_component(&mut self, _count: u32) -> &mut Self {
        self
    }

    /// Sets the maximum number of linear memories of a component.
    pub fn max_memories_per_component(&mut self, _count: u32) -> &mut Self {
        self
    }

    /// Sets the maximum number of tables of a component.
    pub fn max_tables_per_component(&mut self, _count: u32) -> &mut Self {
        self
    }

    /// Sets the maximum number of protection keys. None is used.
    pub fn max_memory_protection_keys(&mut self, _max: usize) -> &mut Self {
        self
    }

    /// Whether [`memory_protection_keys`](Self::memory_protection_keys) can be enabled. It cannot.
    pub fn are_memory_protection_keys_available() -> bool {
        false
    }

    /// Whether [`pagemap_scan`](Self::pagemap_scan) can be enabled. It cannot.
    pub fn is_pagemap_scan_available() -> bool {
        false
    }

    /// Refuses what is not supported or cannot be satisfied.
    pub(super) fn check(&self, memory_reservation: u64) -> Result<()> {
        for (setting, yes, why) in [
            (
                "memory_protection_keys",
                self.memory_protection_keys == Enabled::Yes,
                "protection keys are not supported",
            ),
            (
                "pagemap_scan",
                self.pagemap_scan == Enabled::Yes,
                "the system is asked by `mincore` which pages were written",
            ),
        ] {
            if yes {
                bail!("unsupported: `PoolingAllocationConfig::{setting}`: {why}");
            }
        }
        ensure!(
            self.max_memory_size as u64 <= memory_reservation,
            "maximum memory size of {:#x} bytes exceeds the configured memory reservation of {:#x} \
             bytes",
            self.max_memory_size,
            memory_reservation
        );
        Ok(())
    }
}

impl Config {
    /// Sets how the memories, tables and GC heaps of stores are allocated (default:
    /// [`InstanceAllocationStrategy::OnDemand`]). A pool takes its address space from the
    /// [source of memory](Config::memory_source).
    pub fn allocation_strategy(
        &mut self,
        strategy: impl Into<InstanceAllocationStrategy>,
    ) -> &mut Config {
        self.allocation_strategy = strategy.into();
        self
    }
}
