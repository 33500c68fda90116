//! The contestants of this project: one for each of its collectors.

use crate::contestant::{Contestant, Heap, Settings, Stopper, contestant};
use anyhow::Result;
use clap::ValueEnum;
use gc_wasm::{
    AdaptivePolicy, AsContext, Collector, Config, FixedPolicy, InstanceAllocationStrategy, OnDemand,
};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

contestant!(gc_wasm);

/// The built-in policies, with the names that they have in the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeapPolicy {
    /// One and a half to two times the live bytes, in small steps.
    Memory,
    /// 1.7 to 2.2 times the live bytes, and up to four times in small heaps and under `copying`.
    Balanced,
    /// Three times the live bytes, up to eight times if that saves time.
    Throughput,
    /// The maximum from the start.
    Fixed,
}

impl fmt::Display for HeapPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapPolicy::Memory => "memory",
            HeapPolicy::Balanced => "balanced",
            HeapPolicy::Throughput => "throughput",
            HeapPolicy::Fixed => "fixed",
        })
    }
}

/// The maximum of the heaps of [`all`]: that of the format, and of Wasmtime's heaps.
pub const LARGEST: u64 = 4 << 30;

/// The part of a heap's maximum at its start that holds no objects.
pub const UNUSED: u64 = 64 << 10;

/// A collector with this policy, whose heaps have at most `maximum` bytes, [`UNUSED`] included. Its
/// code can be interrupted.
///
/// # Errors
/// If an engine cannot be made with the settings.
pub fn bounded(
    settings: &Settings,
    collector: &Collector,
    policy: HeapPolicy,
    maximum: u64,
) -> Result<Box<dyn Contestant>> {
    let maximum = maximum.min(collector.max_heap_size());
    let mut config = Config::new();
    config
        .collector(collector.clone())
        .gc_heap_maximum(maximum)
        .max_wasm_stack(settings.stack)
        .interruptible(true);
    match policy {
        HeapPolicy::Memory => config.growth_policy(AdaptivePolicy::memory()),
        HeapPolicy::Balanced => config.growth_policy(AdaptivePolicy::balanced()),
        HeapPolicy::Throughput => config.growth_policy(AdaptivePolicy::throughput()),
        HeapPolicy::Fixed => config.growth_policy(FixedPolicy).gc_heap_initial_size(maximum),
    };
    let name = format!("reclaim {}", collector.name());
    Ok(Box::new(Entrant { name, engine: Engine::new(&config)? }))
}

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
            .gc_heap_maximum(LARGEST)
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
        config.collector(collector).gc_heap_maximum(LARGEST).max_wasm_stack(settings.stack);
        change(&mut config);
        all.push(Box::new(Entrant { name, engine: Engine::new(&config)? }));
    }
    Ok(all)
}

fn heap(store: &Store<Ticks>) -> Option<Heap> {
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

/// `None` if the engine's code has no polls.
fn stopper(store: &Store<Ticks>) -> Option<Stopper> {
    let handle = store.interrupt_handle().ok()?;
    Some(Box::new(move || handle.interrupt()))
}

/// Lets the collector work for so many µs. Whether work is left does not matter here.
fn give(mut caller: Caller<'_, Ticks>, us: i32) -> gc_wasm::Result<()> {
    let time = Duration::from_micros(u64::from(us.cast_unsigned()));
    caller.gc_for(time).map(|_left| ())
}

/// The log keeps the last 1024 pauses. Between two ticks there are far fewer, so none is missed. Pauses
/// before the first tick do not count.
fn report_pauses(caller: &mut Caller<'_, Ticks>) {
    let known = caller.data().reported();
    let log = caller.as_context().gc_pauses();
    let new = usize::try_from(log.count() - known).unwrap_or(usize::MAX);
    if new == 0 {
        return;
    }
    let recent = log.recent();
    let missed = new.saturating_sub(recent.len());
    let first = caller.data().is_first();
    assert!(missed == 0 || first, "more pauses between two ticks than the log keeps");
    let new = new - missed;
    let now = Instant::now();
    let since_made = log.since_made(now);
    let skipped = recent.len() - new;
    let pauses = recent.skip(skipped).map(|pause| {
        let before = since_made.saturating_sub(pause.start);
        (now.checked_sub(before).unwrap_or(now), pause.length)
    });
    let pauses: Vec<(Instant, Duration)> = pauses.collect();
    caller.data_mut().report(missed as u64, pauses);
}
