//! Threads make, share and drop modules, stores and types of one engine. The types, the pool and the
//! code of an engine are shared, so one thread must not change what another one sees.
//!
//! Some modules are of a few shapes that are known, so that it is known what their instances must do. Up to
//! five more are made from the input and compiled at the same time ([`generated`]); every instance of such a
//! module must do the same.
//!
//! The threads take their steps one at a time, in the order of the input, or all at once. At the end
//! every type is freed, every slot of the pool is free, every value of the host was dropped once, and
//! all memory is given back.

mod generated;
mod turns;
mod worker;

use super::instantiate::{Counting, MEMORIES, Setting, TABLES};
use super::{Target, report};
use anyhow::{Context, Result, anyhow, ensure};
use gc_testkit::choices::Choices;
use gc_testkit::{Ledger, panic_text};
use gc_wasm::{Collector, Config, Engine, HeapBounds, PoolingAllocationConfig};
use generated::Modules;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, LazyLock};
use turns::Turns;
use worker::{Shared, Worker};

pub(super) const TARGET: Target = Target {
    name: "instantiate-many",
    run: instantiate_many,
    seeds: 150,
    length: 2 << 10,
    mutate: None,
};

/// The first bytes make choices. The steps follow, and then what becomes modules.
const CHOICES: usize = 48;

/// How many threads there are.
const THREADS: usize = 3;

/// How often each thread makes and drops types that others make too.
const TOGETHER: u16 = 1000;

/// How many steps of an input are taken.
const STEPS: usize = 100;

/// How many stores with instances the pool has room for.
const SLOTS: u32 = 4;

/// How many pages a memory may have, and how many elements a table.
const PAGES: u64 = 2;
const ELEMENTS: u64 = 8;

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
fn caught<R>(step: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|panic| Err(anyhow!("it panicked: {}", panic_text(&*panic))))
}

/// How many fields of its own a type of a module of this shape has.
fn own_fields(shape: usize) -> usize {
    shape % 4 + 1
}

fn instantiate_many(bytes: &[u8]) -> Result<()> {
    let Some((head, rest)) = bytes.split_at_checked(CHOICES) else { return Ok(()) };
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
        // The places for instances are those that are used up first. What a store gives a generated module
        // for its imports has places too, also if there is no instance.
        let held = 2 * worker::MOST_HELD;
        pool.total_core_instances(SLOTS)
            .total_memories(SLOTS + held * MEMORIES)
            .total_tables(SLOTS + held * TABLES)
            .total_gc_heaps(SLOTS + held)
            .max_memories_per_module(MEMORIES)
            .max_tables_per_module(TABLES)
            .max_memory_size((PAGES << 16) as usize)
            .table_elements(ELEMENTS as usize)
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
    let (count, room) = (choices.below(generated::MOST + 1), 2 * (1 + choices.below(STEPS)));
    let (steps, rest) = rest.split_at(room.min(rest.len()));
    let setting = Setting::unlimited(config, source.clone());
    let modules = Modules::new(setting, &engine, &mut choices, count, rest)?;
    let steps: Vec<(usize, [u8; 2])> = steps
        .chunks_exact(2)
        .map(|step| (usize::from(step[0]) % THREADS, [step[0] / THREADS as u8, step[1]]))
        .collect();
    let slots = turns.in_order().then_some(if pooled { SLOTS } else { u32::MAX });
    let shared = Shared::new(modules, slots);
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
    let left = source.in_use();
    ensure!(left.is_empty(), "memory is not given back: {left:?}");
    Ok(())
}
