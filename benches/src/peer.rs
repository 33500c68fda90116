//! The contestants of Wasmtime: its three collectors with default settings, and its copying
//! collector (the default) with an initial heap of 256 MiB. By default the heap begins empty, and
//! the collector collects often until the heap has the size that a program needs.

use crate::contestant::{Contestant, Heap, Settings, Stopper, contestant};
use wasmtime::{Collector, Config, PoolingAllocationConfig};

contestant!(wasmtime);

/// The initial heap of the contestant `256M`, in bytes.
const LARGE: u64 = 256 << 20;

/// Every collector of Wasmtime.
///
/// # Errors
/// If an engine cannot be made with the settings.
pub fn all(settings: &Settings) -> anyhow::Result<Vec<Box<dyn Contestant>>> {
    let mut all: Vec<Box<dyn Contestant>> = Vec::new();
    for (name, collector, initial) in [
        ("wasmtime null", Collector::Null, None),
        ("wasmtime drc", Collector::DeferredReferenceCounting, None),
        ("wasmtime copying", Collector::Copying, None),
        ("wasmtime copying 256M", Collector::Copying, Some(LARGE)),
    ] {
        let mut config = config(settings, collector);
        if let Some(bytes) = initial {
            config.gc_heap_initial_size(bytes);
        }
        all.push(Box::new(Entrant { name: name.to_owned(), engine: Engine::new(&config)? }));
    }
    Ok(all)
}

/// Every collector of Wasmtime, with its pool of memory.
///
/// # Errors
/// As [`all`].
pub fn pooled(settings: &Settings) -> anyhow::Result<Vec<Box<dyn Contestant>>> {
    let mut all: Vec<Box<dyn Contestant>> = Vec::new();
    for (name, collector) in [
        ("wasmtime null", Collector::Null),
        ("wasmtime drc", Collector::DeferredReferenceCounting),
        ("wasmtime copying", Collector::Copying),
    ] {
        let mut config = config(settings, collector);
        config.allocation_strategy(PoolingAllocationConfig::new());
        all.push(Box::new(Entrant { name: name.to_owned(), engine: Engine::new(&config)? }));
    }
    Ok(all)
}

fn config(settings: &Settings, collector: Collector) -> Config {
    let mut config = Config::new();
    config
        .collector(collector)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .max_wasm_stack(settings.stack)
        .async_stack_size(settings.stack.max(2 << 20));
    config
}

/// Wasmtime does not report statistics.
fn heap(_: &Store<Ticks>) -> Option<Heap> {
    None
}

/// The engines of this bench cannot be interrupted.
fn stopper(_: &Store<Ticks>) -> Option<Stopper> {
    None
}

/// Nor pauses.
fn report_pauses(_: &mut Caller<'_, Ticks>) {}

/// Wasmtime has no such function.
fn give(_: Caller<'_, Ticks>, _: i32) -> wasmtime::Result<()> {
    wasmtime::bail!("Wasmtime collects as a whole only")
}
