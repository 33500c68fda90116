//! What minor collections cost: the time of all pauses, in ns, divided by the objects that the program
//! makes, and the mean of a pause. Four programs have four kinds of survivors, and in one nothing survives.
//! Beside each stands the pauses' share of the program's time.
//!
//! Each program runs once before it is measured, so the memory of the old generation was written
//! before. The heap has a fixed size and is so large that all pauses of a run are minor collections.
//! Between runs, the whole heap is collected.
//!
//! Only `generational` runs, because it is the only collector with a nursery that it empties.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_wasm::{
    Collector, Config, Engine, FixedPolicy, Instance, Module, PauseKind, Store, TypedFunc,
};
use std::time::Instant;

/// Bytes of the heap.
const HEAP: u64 = 640 << 20;

const SUBJECT: Subject = Subject {
    name: "survivors",
    title: "What a minor collection costs",
    about: "The pauses of minor collections of `generational`, in programs that make objects of 24 bytes. In \
            `garbage` all die at once, so a pause is what a collection takes when nothing survives. In `tree` \
            (trees that are built depth first) and `list` all survive. In `graph`, a random graph, about a \
            quarter does. In `cards` one of eight objects survives: it is stored at a random place of an old \
            array. `ns an object` is the time of all pauses, divided by the objects that the program makes, and \
            `ns a survivor` that by those that survive. `KiB used` is what of the nursery is used when it is \
            collected: the collector uses less of it when much survives. `µs a collection` is the mean, and \
            `share of the time` the part of the program's time, from 0 to 1, that is pauses. Pauses are \
            wall-clock time. Each figure is from the turn with the shortest pauses: other \
            processes only make them longer.",
};

/// Measures what survivors of minor collections cost.
#[derive(Parser)]
struct Options {
    /// The most bytes of the nursery, in MiB (can be given several times).
    #[arg(long, default_values_t = [16])]
    nursery: Vec<u64>,
    /// Turns of each program. The result is the one with the shortest pauses.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Run everything once at a small size and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Each function makes about `n` objects of 24 bytes.
/// * `garbage`: all die at once.
/// * `tree`: trees, built depth first, in which all survive.
/// * `list`: one list. All survive.
/// * `graph`: a random graph from a table of 64 Ki roots. Each object replaces one, which then
///   refers to nothing, and refers to two others. About a quarter survives.
/// * `cards`: an old array of a million references. One in eight objects is stored into a random
///   element and survives. The others die.
const PROGRAM: &str = r#"(module
    (type $node (struct (field (mut i64)) (field (mut (ref null $node))) (field (mut (ref null $node)))))
    (type $nodes (array (mut (ref null $node))))
    (global $kept (mut (ref null $node)) (ref.null $node))
    (global $array (mut (ref null $nodes)) (ref.null $nodes))
    (global $seed (mut i32) (i32.const 1))
    (table $roots 65536 (ref null $node))
    (func $random (result i32)
        (global.set $seed (i32.add (i32.mul (global.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
        (i32.shr_u (global.get $seed) (i32.const 8)))
    (func $build (param $depth i32) (result (ref $node))
        (if (result (ref $node)) (i32.eqz (local.get $depth))
            (then (struct.new $node (i64.const 1) (ref.null $node) (ref.null $node)))
            (else (struct.new $node (i64.const 2)
                (call $build (i32.sub (local.get $depth) (i32.const 1)))
                (call $build (i32.sub (local.get $depth) (i32.const 1)))))))
    (func (export "garbage") (param $n i32) (local $last (ref null $node))
        (loop $next
            (local.set $last (struct.new $node (i64.const 1) (ref.null $node) (ref.null $node)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "tree") (param $n i32)
        (loop $next
            (global.set $kept (call $build (i32.const 19)))
            (br_if $next (i32.gt_s
                (local.tee $n (i32.sub (local.get $n) (i32.const 1048575))) (i32.const 0)))))
    (func (export "list") (param $n i32) (local $list (ref null $node))
        (loop $next
            (local.set $list (struct.new $node (i64.const 1) (local.get $list) (ref.null $node)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (global.set $kept (local.get $list)))
    (func (export "graph") (param $n i32) (local $i i32) (local $old (ref null $node))
        (loop $next
            (local.set $i (i32.and (call $random) (i32.const 65535)))
            (local.set $old (table.get $roots (local.get $i)))
            (table.set $roots (local.get $i) (struct.new $node (i64.const 1)
                (table.get $roots (i32.and (call $random) (i32.const 65535)))
                (table.get $roots (i32.and (call $random) (i32.const 65535)))))
            (if (i32.eqz (ref.is_null (local.get $old))) (then
                (struct.set $node 1 (local.get $old) (ref.null $node))
                (struct.set $node 2 (local.get $old) (ref.null $node))))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "cards") (param $n i32) (local $last (ref null $node))
        (global.set $array (array.new_default $nodes (i32.const 1000000)))
        (loop $next
            (local.set $last (struct.new $node (i64.const 1) (ref.null $node) (ref.null $node)))
            (if (i32.eqz (i32.and (local.get $n) (i32.const 7))) (then
                (array.set $nodes (global.get $array)
                    (i32.rem_u (call $random) (i32.const 1000000)) (local.get $last))))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;

/// The programs, and how many objects each makes for one that survives.
const PROGRAMS: [(&str, Option<f64>); 5] = [
    ("garbage", None),
    ("tree", Some(1.0)),
    ("list", Some(1.0)),
    ("graph", Some(4.0)),
    ("cards", Some(8.0)),
];

/// Bytes of an object.
const OBJECT: f64 = 24.0;

/// What one run of a program measured.
struct Run {
    /// ns of the pauses for each object that was made.
    object: f64,
    /// Minor collections.
    collections: u64,
    /// µs of a pause, the mean.
    pause: f64,
    /// µs of the longest pause.
    longest: f64,
    /// The part of the time that the pauses took.
    share: f64,
}

impl Run {
    /// Bytes of the nursery that are used when it is collected, the mean. The program makes `objects`.
    fn used(&self, objects: i32) -> f64 {
        f64::from(objects) * OBJECT / self.collections.max(1) as f64
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (objects, turns) =
        if options.test { (100_000, 1) } else { (8_000_000, options.turns.max(1)) };
    let mut record = Record::new(SUBJECT);
    let collector = Collector::generational();
    let header = [
        "program",
        "ns an object",
        "ns a survivor",
        "collections",
        "KiB used",
        "µs a collection",
        "longest, µs",
        "share of the time",
    ];
    let mut rows = table("nursery", header.map(str::to_owned));
    for mebibytes in &options.nursery {
        let sized = collector.with_option("nursery", &format!("{mebibytes}MiB"))?;
        let mut config = Config::new();
        config
            .collector(sized)
            .gc_heap_initial_size(HEAP)
            .gc_heap_maximum(HEAP)
            .growth_policy(FixedPolicy);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, PROGRAM)?;
        for (program, objects_of_survivor) in PROGRAMS {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let function = instance.get_typed_func::<i32, ()>(&mut store, program)?;
            run(&mut store, &function, objects)?;
            let runs: Vec<Run> =
                (0..turns).map(|_| run(&mut store, &function, objects)).collect::<Result<_>>()?;
            let Some(best) = runs.iter().min_by(|a, b| a.object.total_cmp(&b.object)) else {
                continue;
            };
            rows.add_row([
                Cell::new(format!("{mebibytes} MiB")),
                Cell::new(program),
                right(format!("{:.1}", best.object)),
                right(
                    objects_of_survivor
                        .map_or(String::new(), |n| format!("{:.0}", best.object * n)),
                ),
                right(best.collections.to_string()),
                right(format!("{:.0}", best.used(objects) / 1024.0)),
                right(format!("{:.1}", best.pause)),
                right(format!("{:.1}", best.longest)),
                right(format!("{:.2}", best.share)),
            ]);
        }
    }
    if options.test {
        println!("survivors: ok");
    } else {
        record.table("Minor collections", &rows);
    }
    record.finish()
}

/// Collects what an earlier run has left, and runs a program.
fn run(store: &mut Store<()>, program: &TypedFunc<i32, ()>, objects: i32) -> Result<Run> {
    // What it made last replaces what it made before.
    program.call(&mut *store, 1)?;
    store.gc(None)?;
    let pauses = |store: &Store<()>| {
        let pauses = store.gc_pauses();
        (pauses.total(), pauses.count_of(PauseKind::Minor), pauses.count())
    };
    let (total, minor, count) = pauses(store);
    let begin = Instant::now();
    program.call(&mut *store, objects)?;
    let took = begin.elapsed();
    let after = pauses(store);
    ensure!(after.1 - minor == after.2 - count, "a pause was not a minor collection");
    let paused = after.0 - total;
    let collections = after.1 - minor;
    let recent = store.gc_pauses().recent();
    let own = recent.len().saturating_sub(usize::try_from(collections)?);
    let longest = recent.skip(own).map(|pause| pause.length).max();
    Ok(Run {
        object: paused.as_nanos() as f64 / f64::from(objects),
        collections,
        pause: paused.as_secs_f64() * 1e6 / collections.max(1) as f64,
        longest: longest.map_or(0.0, |longest| longest.as_secs_f64() * 1e6),
        share: paused.as_secs_f64() / took.as_secs_f64(),
    })
}
