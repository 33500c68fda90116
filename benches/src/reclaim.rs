//! The contestants of this project: one for each of its collectors.

use crate::contestant::{Contestant, Heap, Settings, contestant};
use anyhow::Result;
use gc_wasm::{Collector, Config, InstanceAllocationStrategy, OnDemand};
use std::sync::Arc;

contestant!(gc_wasm);

/// Every collector of this project. Heaps may grow to 4 GiB, as Wasmtime's.
///
/// # Errors
/// If an engine cannot be made with the settings.
pub fn all(settings: &Settings) -> Result<Vec<Box<dyn Contestant>>> {
    entrants(settings, "reclaim", |_| ())
}

/// Every collector of this project, with a source of memory that keeps nothing.
///
/// # Errors
/// As [`all`].
pub fn cold(settings: &Settings) -> Result<Vec<Box<dyn Contestant>>> {
    entrants(settings, "cold", |config| {
        config.memory_source(Arc::new(OnDemand::keeping(0, 0)));
    })
}

/// Every collector of this project, with a pool of heaps and memory.
///
/// # Errors
/// As [`all`].
pub fn pooled(settings: &Settings) -> Result<Vec<Box<dyn Contestant>>> {
    entrants(settings, "reclaim", |config| {
        config.allocation_strategy(InstanceAllocationStrategy::pooling());
    })
}

/// The generational collector without interrupts, and with them.
///
/// # Errors
/// As [`all`].
pub fn interruptible(settings: &Settings) -> Result<Vec<Box<dyn Contestant>>> {
    let mut both: Vec<Box<dyn Contestant>> = Vec::new();
    for (name, polls) in [("without polls", false), ("with polls", true)] {
        let mut config = Config::new();
        config
            .collector(Collector::generational())
            .gc_heap_maximum(4 << 30)
            .max_wasm_stack(settings.stack)
            .interruptible(polls);
        both.push(Box::new(Entrant { name: name.to_owned(), engine: Engine::new(&config)? }));
    }
    Ok(both)
}

fn entrants(
    settings: &Settings,
    prefix: &str,
    change: impl Fn(&mut Config),
) -> Result<Vec<Box<dyn Contestant>>> {
    let mut all: Vec<Box<dyn Contestant>> = Vec::new();
    for collector in Collector::all() {
        let name = format!("{prefix} {}", collector.name());
        let mut config = Config::new();
        config.collector(collector).gc_heap_maximum(4 << 30).max_wasm_stack(settings.stack);
        change(&mut config);
        all.push(Box::new(Entrant { name, engine: Engine::new(&config)? }));
    }
    Ok(all)
}

fn heap(store: &Store<()>) -> Option<Heap> {
    let (stats, pauses) = (store.gc_stats(), store.gc_pauses());
    Some(Heap {
        collections: stats.collections,
        pause_total: pauses.total(),
        pause_longest: pauses.longest(),
        pause_p99: pauses.quantile(0.99),
        peak_bytes: stats.peak_heap_bytes,
        allocated_bytes: stats.allocated_bytes,
        allocations: stats.allocations,
    })
}
