//! Threads make, share and drop modules, stores and types of one engine. The types, the pool and the
//! code of an engine are shared, so one thread must not change what another one sees.
//!
//! The threads take their steps one at a time, in the order of the input, or all at once. At the end
//! every type is freed, every slot of the pool is free, every value of the host was dropped once, and
//! all memory is given back.

mod turns;
mod worker;

use super::instantiate::Counting;
use super::{Target, report};
use crate::choices::Choices;
use anyhow::{Context, Result, anyhow, ensure};
use gc_testkit::{Ledger, panic_text};
use gc_wasm::{Collector, Config, Engine, HeapBounds, PoolingAllocationConfig};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, LazyLock};
use turns::Turns;
use worker::{Shared, Worker};

pub(super) const TARGET: Target = Target {
    name: "instantiate-many",
    run: instantiate_many,
    seeds: 150,
    length: 150,
    mutate: None,
};

/// How many threads there are.
const THREADS: usize = 3;

/// How often each thread makes and drops types that others make too.
const TOGETHER: u16 = 1000;

/// How many steps of an input are taken.
const STEPS: usize = 100;

/// How many stores with instances the pool has room for.
const SLOTS: u32 = 4;

/// How many shapes of modules there are.
const SHAPES: usize = 6;

/// The modules of all shapes.
static MODULES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let module = |shape: usize| {
        let own = ["(field i32)", "(field i64)", "(field (mut f32))"][shape % 3];
        let text = include_str!("module.wat").replace("OWN", &own.repeat(own_fields(shape)));
        wat::parse_str(text).expect("the module is valid")
    };
    (0..SHAPES).map(module).collect()
});

/// The result of a step, which is an error if it panics.
fn caught(step: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|panic| Err(anyhow!("it panicked: {}", panic_text(&*panic))))
}

/// How many fields of its own a type of a module of this shape has.
fn own_fields(shape: usize) -> usize {
    shape % 4 + 1
}

fn instantiate_many(bytes: &[u8]) -> Result<()> {
    let Some((head, rest)) = bytes.split_at_checked(8) else { return Ok(()) };
    let mut choices = Choices::from_bytes(head);
    let order = choices.byte();
    let turns = Turns::new(!order.is_multiple_of(2));
    // Sometimes all threads make and drop the same types at once before their steps.
    let together = order.is_multiple_of(8).then(|| Barrier::new(THREADS));
    let source = Arc::<Counting>::default();
    let mut config = Config::new();
    let pooled = !choices.byte().is_multiple_of(4);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(SLOTS)
            .total_memories(SLOTS)
            .total_tables(SLOTS)
            .total_gc_heaps(SLOTS)
            .max_memory_size(2 << 16)
            .table_elements(8)
            .max_unused_warm_slots(choices.pick(&[100, 0, 1]))
            .decommit_batch_size(choices.pick(&[1, 3]))
            .linear_memory_keep_resident(choices.pick(&[0, 4096, 1 << 20]));
        config.allocation_strategy(pool);
    }
    config
        .collector(choices.pick(&Collector::all()))
        .gc_zeal(choices.pick(&[0, 1, 5]))
        .gc_heap_bounds(choices.pick(&[HeapBounds::Guarded, HeapBounds::Checked]))
        .gc_heap_maximum(1 << 20)
        .parallel_compilation(false)
        .memory_source(source.clone());
    report::configuration(&config);
    let engine = Engine::new(&config)?;
    let types = engine.registered_types();
    let ledger = Ledger::default();
    let steps: Vec<(usize, [u8; 2])> = rest
        .chunks_exact(2)
        .take(STEPS)
        .map(|step| (usize::from(step[0]) % THREADS, [step[0] / THREADS as u8, step[1]]))
        .collect();
    let shared = Shared::new(turns.in_order().then_some(if pooled { SLOTS } else { u32::MAX }));
    let work = |thread: usize| {
        let mut worker = Worker::new(&engine, &ledger, &shared);
        let mut fault = None;
        if let Some(together) = &together {
            together.wait();
            fault = caught(|| worker.make_and_drop(order, TOGETHER)).err();
        }
        let own = steps.iter().enumerate().filter(|(_, (whose, _))| *whose == thread);
        for (number, (_, [operation, argument])) in own {
            let turn = turns.wait(number);
            if fault.is_none() {
                let result = caught(|| worker.step(*operation, *argument));
                fault = result.with_context(|| format!("step {number}")).err();
            }
            drop(turn);
        }
        (worker, fault)
    };
    std::thread::scope(|scope| {
        let spawn = |thread| {
            let thread = std::thread::Builder::new()
                .stack_size(4 << 20)
                .spawn_scoped(scope, move || work(thread));
            thread.context("a thread does not start")
        };
        let threads = (0..THREADS).map(spawn).collect::<Result<Vec<_>>>()?;
        // What a thread has is dropped after all have ended.
        let ended: Vec<_> =
            threads.into_iter().map(|it| it.join().expect("it caught all")).collect();
        ended.into_iter().try_for_each(|(_, fault)| fault.map_or(Ok(()), Err))
    })?;
    drop(shared);
    if let Some(metrics) = engine.pooling_allocator_metrics() {
        let used = [metrics.memories(), metrics.tables(), metrics.gc_heaps()];
        let instances = metrics.core_instances();
        ensure!(used == [0; 3] && instances == 0, "slots are in use: {used:?}, {instances}");
    }
    let left = engine.registered_types();
    ensure!(left == types, "{left} types are left, and {types} were there in the beginning");
    ledger.check_all_once()?;
    let weak = engine.weak();
    drop(engine);
    ensure!(weak.upgrade().is_none(), "something keeps the engine");
    drop(config);
    let left = source.in_use();
    ensure!(left.is_empty(), "memory is not given back: {left:?}");
    Ok(())
}
