//! [`PoolingAllocatorMetrics`]: what a pool has in use, and what it keeps.

use super::Pool;
use crate::Engine;
use gc_runtime::MemoryPurpose::{LinearMemory, Table};
use std::fmt;

/// The numbers of a pool at the time of each call. Cheap to clone.
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, InstanceAllocationStrategy, Memory, MemoryType, Store};
///
/// let strategy = InstanceAllocationStrategy::pooling();
/// let engine = Engine::new(Config::new().allocation_strategy(strategy))?;
/// let metrics = engine.pooling_allocator_metrics().unwrap();
/// let mut store = Store::new(&engine, ());
/// Memory::new(&mut store, MemoryType::new(1, None))?;
/// assert_eq!((metrics.memories(), metrics.unused_warm_memories()), (1, 0));
/// drop(store);
/// assert_eq!((metrics.memories(), metrics.unused_warm_memories()), (0, 1));
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone)]
pub struct PoolingAllocatorMetrics {
    engine: Engine,
}

impl PoolingAllocatorMetrics {
    fn pool(&self) -> &Pool {
        self.engine.pool().expect("only an engine with a pool has metrics of it")
    }

    /// The number of instances.
    pub fn core_instances(&self) -> u64 {
        self.pool().instances.used().into()
    }

    /// The number of component instances: none.
    pub fn component_instances(&self) -> u64 {
        0
    }

    /// The number of linear memories.
    pub fn memories(&self) -> usize {
        self.pool().slots.used(LinearMemory) as usize
    }

    /// The number of tables.
    pub fn tables(&self) -> usize {
        self.pool().tables.used() as usize
    }

    /// The number of stacks of asynchronous calls.
    pub fn stacks(&self) -> usize {
        self.pool().stacks.used() as usize
    }

    /// The number of GC heaps.
    pub fn gc_heaps(&self) -> usize {
        self.engine.pooled_heaps().0 as usize
    }

    /// The number of GC heaps that wait for a store.
    pub fn unused_warm_gc_heaps(&self) -> u32 {
        count(self.engine.pooled_heaps().1)
    }

    /// The number of slots of linear memories that were used and are not in use.
    pub fn unused_warm_memories(&self) -> u32 {
        count(self.pool().slots.unused_warm(LinearMemory))
    }

    /// Bytes of physical memory of these slots.
    pub fn unused_memory_bytes_resident(&self) -> usize {
        self.pool().slots.unused_resident(LinearMemory)
    }

    /// The number of slots of tables that were used and are not in use. A table of up to 64 KiB has
    /// no slot: it is in the memory of the process's allocator.
    pub fn unused_warm_tables(&self) -> u32 {
        count(self.pool().slots.unused_warm(Table))
    }

    /// Bytes of physical memory of these slots.
    pub fn unused_table_bytes_resident(&self) -> usize {
        self.pool().slots.unused_resident(Table)
    }

    /// The number of stacks that were used and are not in use.
    pub fn unused_warm_stacks(&self) -> u32 {
        count(self.engine.fiber_stacks().kept())
    }

    /// Bytes of physical memory of these stacks. `None` because they are not counted.
    pub fn unused_stack_bytes_resident(&self) -> Option<usize> {
        None
    }
}

fn count(slots: usize) -> u32 {
    u32::try_from(slots).unwrap_or(u32::MAX)
}

impl fmt::Debug for PoolingAllocatorMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolingAllocatorMetrics")
            .field("core_instances", &self.core_instances())
            .field("memories", &self.memories())
            .field("tables", &self.tables())
            .field("gc_heaps", &self.gc_heaps())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// The metrics of the engine's pool. `None` if it has none
    /// ([`InstanceAllocationStrategy`](crate::InstanceAllocationStrategy)).
    pub fn pooling_allocator_metrics(&self) -> Option<PoolingAllocatorMetrics> {
        self.pool()?;
        Some(PoolingAllocatorMetrics { engine: self.clone() })
    }
}
