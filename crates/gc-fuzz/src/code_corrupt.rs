//! A program whose heap is overwritten between its operations. Each operation ends with a value,
//! a trap or an error, and everything outside the heap stays as it was: linear memory, functions,
//! globals of numbers, another store with its heap. Every host value is dropped exactly once.

use super::{Target, report};
use anyhow::{Context, Result, ensure};
use gc_script::sandbox::{Victim, module, overwrite};
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{AsContext, Collector, Config, Engine, ExternRef, HeapBounds, Module, RootScope};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

pub(super) const TARGET: Target =
    Target { name: "code_corrupt", run, seeds: 300, length: 400, mutate: None };

/// The most that an operation may take. They take milliseconds, but a machine may be busy. Every
/// loop of the program has a counter, so none of them hangs unless the engine does.
const MOST: Duration = Duration::from_secs(10);

/// The most operations of an input.
const STEPS: usize = 16;

/// The module as bytes.
static MODULE: LazyLock<Vec<u8>> =
    LazyLock::new(|| report::encode(&module()).expect("a valid module"));

/// A compiled module for each collector and kind of heap. They take longer to compile than inputs
/// to run.
static COMPILED: [OnceLock<(Engine, Module)>; 24] = [const { OnceLock::new() }; 24];

fn compiled(choice: usize) -> Result<&'static (Engine, Module)> {
    let place = &COMPILED[choice % COMPILED.len()];
    if let Some(compiled) = place.get() {
        return Ok(compiled);
    }
    let all = Collector::all();
    let collector = &all[choice % all.len()];
    let kind = choice / all.len();
    let small = collector.with_option("nursery", "16KiB");
    let mut config = Config::new();
    config
        .collector(small.unwrap_or_else(|_| collector.clone()))
        .gc_heap_bounds([HeapBounds::Guarded, HeapBounds::Checked][kind % 2])
        .gc_zeal([0, 5, 1][kind / 2 % 3])
        .gc_heap_initial_size(256 << 10)
        .gc_heap_maximum(512 << 10);
    if kind % 2 == 1 {
        config.memory_reservation(0).memory_reservation_for_growth(0);
        config.memory_guard_size(64 << 10);
    }
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, &*MODULE)?;
    Ok(place.get_or_init(|| (engine, module)))
}

fn run(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut choices = Choices::from_bytes(bytes);
    let (engine, module) = compiled(choices.below(COMPILED.len()))?;
    report::configuration(engine.collector());
    report::module(&MODULE);
    let (values, others) = (Ledger::default(), Ledger::default());
    let mut bystander = Victim::new(engine, module, &others)?;
    let heap = |store: &Victim| {
        let count = store.store.gc_heap_len().saturating_sub(START);
        store.store.gc_heap_bytes(START, count as usize)
    };
    let before = heap(&bystander).context("the bystander's heap")?;
    let mut victim = Victim::new(engine, module, &values)?;
    add_host_values(&mut victim)?;
    let mut name = String::new();
    for step in 0..STEPS {
        if choices.is_at_end() {
            break;
        }
        if choices.chance(75) {
            let places = victim.places()?;
            overwrite(&mut victim.store, &mut choices, &places);
        }
        let start = Instant::now();
        // Traps and errors are what damage leads to.
        let _: Result<()> = victim.step(&mut choices, &mut name);
        let took = start.elapsed();
        ensure!(took < MOST, "operation {step}, {name}, took {took:?}");
        values.check_none_twice().with_context(|| format!("operation {step}, {name}"))?;
    }
    victim.check_canaries()?;
    drop(victim);
    values.check_all_once()?;
    bystander.check_canaries()?;
    let after = heap(&bystander).context("the bystander's heap")?;
    let changed = before.iter().zip(&after).position(|(before, after)| before != after);
    ensure!(
        changed.is_none() && before.len() == after.len(),
        "byte {changed:?} of another heap changed"
    );
    ensure!(others.alive() == others.issued(), "a host value of another store died");
    drop(bystander);
    others.check_all_once()
}

/// Makes host values, of which every second is garbage at once.
fn add_host_values(victim: &mut Victim) -> Result<()> {
    let mut scope = RootScope::new(&mut victim.store);
    for index in 0..12 {
        let value = scope.as_context().data().issue();
        let value = ExternRef::new(&mut scope, value)?;
        victim.externs.set(&mut scope, index / 2, value.into())?;
    }
    Ok(())
}

/// The first byte of a heap that is mapped.
const START: u64 = 64 << 10;
