//! The pool of an engine: what is limited, and the limits that a module must fit.
//!
//! The slots of memories and large tables are [`gc_runtime::Pool`]'s, and GC heaps those of
//! [`gc_runtime::HeapFactory`]. What has no address space of its own is only counted here.

mod metrics;
mod module;

pub use metrics::PoolingAllocatorMetrics;

use crate::PoolingAllocationConfig;
use anyhow::{Error, Result};
use gc_runtime::{HeapError, MemoryPurpose, MemorySource, PoolOptions, PoolSlots};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The error when a pool has as many of something in use as it may have. Another store must be dropped
/// first.
#[derive(Clone, Debug)]
pub struct PoolConcurrencyLimitError {
    limit: u32,
    kind: &'static str,
}

impl fmt::Display for PoolConcurrencyLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "maximum concurrent limit of {} for {} reached", self.limit, self.kind)
    }
}

impl std::error::Error for PoolConcurrencyLimitError {}

/// The error for what a heap or the memory's source reports. The limit of a pool becomes a
/// [`PoolConcurrencyLimitError`].
pub(crate) fn error(error: HeapError) -> Error {
    match error {
        HeapError::PoolLimit { purpose, limit } => {
            let kind = match purpose {
                MemoryPurpose::GcHeap => "GC heaps",
                MemoryPurpose::LinearMemory => "memories",
                MemoryPurpose::Table => "tables",
                MemoryPurpose::Instance => "core instances",
                _ => "slots",
            };
            PoolConcurrencyLimitError { limit, kind }.into()
        }
        error => error.into(),
    }
}

/// A number of things in use, with a limit.
#[derive(Debug)]
struct Count {
    used: AtomicU32,
    limit: u32,
    kind: &'static str,
}

impl Count {
    fn new(limit: u32, kind: &'static str) -> Arc<Count> {
        Arc::new(Count { used: AtomicU32::new(0), limit, kind })
    }

    fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Count>) -> Result<PoolPermit> {
        let next = |used| (used < self.limit).then_some(used + 1);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(PoolPermit(Some(self.clone()))),
            Err(_) => Err(PoolConcurrencyLimitError { limit: self.limit, kind: self.kind }.into()),
        }
    }
}

/// The right to one of the things that a pool limits, until it is dropped. Without a pool it is
/// nothing.
#[derive(Debug)]
pub(crate) struct PoolPermit(Option<Arc<Count>>);

impl Drop for PoolPermit {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The pool of an engine.
#[derive(Debug)]
pub(crate) struct Pool {
    config: PoolingAllocationConfig,
    slots: Arc<gc_runtime::Pool>,
    instances: Arc<Count>,
    tables: Arc<Count>,
    stacks: Arc<Count>,
}

impl Pool {
    /// A pool that takes its address space from `source`.
    pub(crate) fn new(config: &PoolingAllocationConfig, source: Arc<dyn MemorySource>) -> Pool {
        let options = PoolOptions {
            memories: PoolSlots {
                total: config.total_memories,
                keep_resident: config.linear_memory_keep_resident,
            },
            tables: PoolSlots {
                total: config.total_tables,
                keep_resident: config.table_keep_resident,
            },
            max_unused_warm: config.max_unused_warm_slots,
            decommit_batch: config.decommit_batch_size,
        };
        Pool {
            slots: Arc::new(gc_runtime::Pool::new(options, source)),
            instances: Count::new(config.total_core_instances, "core instances"),
            tables: Count::new(config.total_tables, "tables"),
            stacks: Count::new(config.total_stacks, "fibers"),
            config: config.clone(),
        }
    }

    /// The source of its stores' memory.
    pub(crate) fn source(&self) -> Arc<dyn MemorySource> {
        self.slots.clone()
    }

    /// The maximal number of elements of a table.
    pub(crate) fn table_elements(&self) -> u64 {
        self.config.table_elements as u64
    }
}

impl crate::Engine {
    /// The right to one more instance.
    ///
    /// # Errors
    /// [`PoolConcurrencyLimitError`]. This is so for all of these.
    #[inline]
    pub(crate) fn take_instance(&self) -> Result<PoolPermit> {
        self.pool().map_or(Ok(PoolPermit(None)), |pool| pool.instances.take())
    }

    /// The right to one more table.
    #[inline]
    pub(crate) fn take_table(&self) -> Result<PoolPermit> {
        self.pool().map_or(Ok(PoolPermit(None)), |pool| pool.tables.take())
    }

    /// The right to one more stack of an asynchronous call, which keeps it as long as it has the
    /// stack.
    pub(crate) fn take_stack(&self) -> Result<PoolPermit> {
        self.pool().map_or(Ok(PoolPermit(None)), |pool| pool.stacks.take())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, Engine, PoolConcurrencyLimitError, PoolingAllocationConfig};

    #[test]
    fn stacks_are_limited() {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_stacks(2);
        let engine = Engine::new(Config::new().allocation_strategy(pool)).unwrap();
        let metrics = engine.pooling_allocator_metrics().unwrap();
        let stacks = [engine.take_stack().unwrap(), engine.take_stack().unwrap()];
        assert_eq!(metrics.stacks(), 2);
        let error = engine.take_stack().unwrap_err();
        assert!(error.is::<PoolConcurrencyLimitError>());
        assert_eq!(error.to_string(), "maximum concurrent limit of 2 for fibers reached");
        drop(stacks);
        assert_eq!(metrics.stacks(), 0);
        assert!(engine.take_stack().is_ok());
        let on_demand = Engine::default();
        assert!((0..10_000).all(|_| on_demand.take_stack().is_ok()));
    }
}
