//! Many stores with one memory budget, beside the same stores each for itself: memory and the time of collections.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gc_benches::clock::Clock;
use gc_benches::measure::median;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_wasm::{
    AdaptivePolicy, Collector, Config, Engine, Instance, Linker, MemoryBudget, Module, Store,
};
use gc_wasm::{PolicyFactory, TypedFunc};
use std::time::Duration;

const BUDGET: Subject = Subject {
    name: "budget",
    title: "Many stores that share a memory budget",
    about: "Stores of five kinds, which replace trees at different rates, take turns on one thread. A turn is a call, \
            after which the store waits for all others. Stores of one kind work only in each tenth round, and the host then \
            gives them 1 ms for collection. Memory is the mean, after each round, of the resident bytes of the process, less \
            those before the first store. The time of collections is the sum of all pauses. No other thread collects. \
            `each` are the stores with the default policy, each for itself. The others share budgets, which are parts of \
            that memory. All is the processor time of the thread. Each row is the median of its turns, and the rows take turns.",
};

/// Measures what a memory budget gains.
#[derive(Parser)]
struct Options {
    /// The number of stores.
    #[arg(long, default_value_t = 1000)]
    stores: u32,
    /// How often each store takes its turn.
    #[arg(long, default_value_t = 240)]
    rounds: u32,
    /// The collector.
    #[arg(long, default_value = "generational")]
    collector: String,
    /// Budgets, as percents of the memory that stores take each for itself.
    #[arg(long, value_delimiter = ',', default_value = "100,130,160")]
    budgets: Vec<u32>,
    /// The number of turns of each row.
    #[arg(long, default_value_t = 1)]
    turns: u32,
    /// Few stores and rounds, to see whether all works.
    #[arg(long)]
    smoke: bool,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a kind of store does.
struct Kind {
    trees: i32,
    depth: i32,
    /// Trees that are replaced in each turn, and other trees that are made for each.
    replaced: i32,
    garbage: i32,
    /// The number of rounds from one turn to the next.
    every: u32,
}

const KINDS: [Kind; 5] = [
    // Much lives, and changes slowly.
    Kind { trees: 120, depth: 10, replaced: 1, garbage: 0, every: 1 },
    // Little lives, and much is made.
    Kind { trees: 8, depth: 8, replaced: 40, garbage: 4, every: 1 },
    // What lives is replaced fast.
    Kind { trees: 40, depth: 10, replaced: 12, garbage: 0, every: 1 },
    // Small objects that live for different times.
    Kind { trees: 4000, depth: 3, replaced: 1500, garbage: 1, every: 1 },
    // It seldom has something to do.
    Kind { trees: 20, depth: 9, replaced: 10, garbage: 1, every: 10 },
];

/// Memory in bytes, the time of collections, and all processor time.
#[derive(Clone, Copy)]
struct Cost {
    memory: f64,
    collections: f64,
    all: f64,
    /// What the programs returned.
    sum: i32,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.smoke {
        (options.stores, options.rounds, options.turns) = (10, 3, 1);
    }
    let first = run(&options, AdaptivePolicy::balanced().into())?;
    let mut rows = vec![("each".to_owned(), PolicyFactory::from(AdaptivePolicy::balanced()))];
    for percent in &options.budgets {
        let bytes = first.memory * f64::from(*percent) / 100.0;
        rows.push((format!("budget of {percent} %"), MemoryBudget::new(bytes as u64).into()));
    }
    let mut costs = vec![Vec::new(); rows.len()];
    for _ in 0..options.turns {
        for ((_, policy), costs) in rows.iter().zip(&mut costs) {
            let cost = run(&options, policy.clone())?;
            ensure!(cost.sum == first.sum, "the programs computed something else");
            costs.push(cost);
        }
    }
    let heads = ["memory, MiB", "ratio", "collections, s", "ratio", "all, s"];
    let mut table = table("stores", heads.map(str::to_owned));
    let of = |costs: &[Cost], part: fn(&Cost) -> f64| {
        median(&costs.iter().map(part).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    let [memory, collections] =
        [|cost: &Cost| cost.memory, |cost: &Cost| cost.collections].map(|part| of(&costs[0], part));
    for ((name, _), costs) in rows.iter().zip(&costs) {
        let [bytes, time] =
            [|cost: &Cost| cost.memory, |cost: &Cost| cost.collections].map(|part| of(costs, part));
        let mut row = vec![comfy_table::Cell::new(name)];
        row.extend([
            right(format!("{:.0}", bytes / f64::from(1 << 20))),
            right(format!("{:.2}", bytes / memory)),
            right(format!("{time:.2}")),
            right(format!("{:.2}", time / collections)),
            right(format!("{:.2}", of(costs, |cost| cost.all))),
        ]);
        table.add_row(row);
    }
    let mut record = Record::new(BUDGET);
    record.table("Memory and the time of collections", &table);
    if options.smoke { Ok(()) } else { record.finish() }
}

struct Tenant {
    store: Store<()>,
    step: TypedFunc<(i32, i32), i32>,
    kind: &'static Kind,
}

fn run(options: &Options, policy: PolicyFactory) -> Result<Cost> {
    let mut config = Config::new();
    let collector = Collector::by_name(&options.collector)?;
    config.collector(collector).growth_policy(policy).gc_threads(0);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, include_str!("../../wat/tenant.wat"))?;
    let (clock, before) = (Clock::start(), resident()?);
    let mut tenants = (0..options.stores)
        .map(|number| {
            let kind = &KINDS[number as usize % KINDS.len()];
            let mut store = Store::new(&engine, ());
            let instance: Instance = Linker::new(&engine).instantiate(&mut store, &module)?;
            let start = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "start")?;
            start.call(&mut store, (kind.trees, kind.depth, number as i32))?;
            let step = instance.get_typed_func(&mut store, "step")?;
            Ok(Tenant { store, step, kind })
        })
        .collect::<Result<Vec<_>>>()?;
    let (mut memory, mut sum) = (0.0, 0_i32);
    for round in 0..options.rounds {
        for (number, Tenant { store, step, kind }) in (0..).zip(&mut tenants) {
            if (round + number / KINDS.len() as u32).is_multiple_of(kind.every) {
                sum = sum.wrapping_add(step.call(&mut *store, (kind.replaced, kind.garbage))?);
                if kind.every > 1 {
                    let _left = store.gc_for(Duration::from_millis(1))?;
                }
            }
        }
        memory += resident()? - before;
    }
    let collections: Duration = tenants.iter().map(|it| it.store.gc_pauses().stopped()).sum();
    let memory = memory / f64::from(options.rounds);
    let all = clock.spent().cpu.as_secs_f64();
    Ok(Cost { memory, collections: collections.as_secs_f64(), all, sum })
}

/// The resident bytes of the process.
fn resident() -> Result<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).context("the resident pages")?.parse::<f64>()?;
    Ok(pages * rustix::param::page_size() as f64)
}
