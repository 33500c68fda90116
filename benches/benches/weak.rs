//! A weak map with a million entries beside 200 MB of live objects: what it costs minor collections
//! and collections of the whole heap. The same program runs with and without the entries, in turns,
//! and the result is the ratio of the medians of the pauses.
//!
//! Only this project's collectors run: no other engine without JavaScript has weak maps.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_benches::wanted;
use gc_wasm::{
    AnyRef, Collector, Config, Engine, Instance, Module, PauseKind, RootScope, Rooted, Store,
    TypedFunc, WeakMap,
};
use std::time::Duration;

const SUBJECT: Subject = Subject {
    name: "weak",
    title: "Pauses with a large weak map",
    about: "The pauses of a heap with 200 MB of live objects, with a weak map of a million entries and without \
            it: of young collections and of a collection of the whole heap. Both cases take turns. The \
            figures are medians of pauses, in wall-clock time, and their ratio.",
};

/// Measures the pauses of heaps with and without a weak map.
#[derive(Parser)]
struct Options {
    /// Only collectors whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Entries of the weak map.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u32,
    /// Turns of each case.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Run everything once at a small size and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// `live(n)` keeps n arrays of 1,000 bytes. `entry(i)` is the i-th of some objects that live in an
/// array, so that keys and values live. `churn(n)` makes n objects that die.
const PROGRAM: &str = r#"(module
    (type $bytes (array (mut i8)))
    (type $cell (struct (field (mut i64))))
    (type $blocks (array (mut (ref null $bytes))))
    (type $cells (array (mut (ref null $cell))))
    (global $blocks (mut (ref null $blocks)) (ref.null $blocks))
    (global $cells (mut (ref null $cells)) (ref.null $cells))
    (func (export "live") (param $n i32) (local $i i32)
        (global.set $blocks (array.new_default $blocks (local.get $n)))
        (loop $next
            (array.set $blocks (global.get $blocks) (local.get $i)
                (array.new_default $bytes (i32.const 1000)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $n)))))
    (func (export "cells") (param $n i32) (local $i i32)
        (global.set $cells (array.new_default $cells (local.get $n)))
        (loop $next
            (array.set $cells (global.get $cells) (local.get $i)
                (struct.new $cell (i64.extend_i32_u (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $n)))))
    (func (export "cell") (param $i i32) (result anyref)
        (array.get $cells (global.get $cells) (local.get $i)))
    (func (export "churn") (param $n i32) (local $last (ref null $cell))
        (loop $next
            (local.set $last (struct.new $cell (i64.const 1)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))))"#;

/// The pauses of one run, by kind.
struct Pauses {
    young: Option<Duration>,
    whole: Duration,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let (blocks, entries, churn, turns) = match options.test {
        true => (100, 1000, 10_000, 1),
        false => (200_000, options.entries, 4_000_000, options.turns.max(1)),
    };
    let header = ["pause", "without", "with the map", "ratio"].map(str::to_owned);
    let mut rows = table("collector", header);
    for collector in Collector::all() {
        // Without collections there is nothing to measure.
        if collector.name() == "null" || !wanted(&options.engine, collector.name()) {
            continue;
        }
        let engine =
            Engine::new(Config::new().collector(collector.clone()).gc_heap_maximum(2 << 30))?;
        let module = Module::new(&engine, PROGRAM)?;
        let (mut young, mut whole) = ([vec![], vec![]], [vec![], vec![]]);
        for _ in 0..turns {
            for (case, entries) in [0, entries].into_iter().enumerate() {
                let pauses = run(&engine, &module, blocks, entries, churn)?;
                young[case].extend(pauses.young);
                whole[case].push(pauses.whole);
            }
        }
        for (name, [without, with]) in [("young", young), ("whole heap", whole)] {
            let (Some(without), Some(with)) = (median(without), median(with)) else { continue };
            let ratio = with.as_secs_f64() / without.as_secs_f64();
            rows.add_row([
                Cell::new(collector.name()),
                right(name.to_owned()),
                right(format!("{without:.1?}")),
                right(format!("{with:.1?}")),
                right(format!("{ratio:.2}")),
            ]);
        }
    }
    if !options.test {
        record.table("Medians of the pauses", &rows);
    }
    record.finish()
}

/// Makes the live objects and the map, then garbage, and returns the medians of the pauses that
/// follow.
fn run(engine: &Engine, module: &Module, blocks: i32, entries: u32, churn: i32) -> Result<Pauses> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[])?;
    let call = |store: &mut Store<()>, name: &str, arg: i32| -> Result<()> {
        instance.get_typed_func::<i32, ()>(&mut *store, name)?.call(store, arg)
    };
    call(&mut store, "live", blocks)?;
    let map = WeakMap::<AnyRef, AnyRef>::new(&mut store)?;
    if entries > 0 {
        call(&mut store, "cells", entries as i32)?;
        let cell: TypedFunc<i32, Option<Rooted<AnyRef>>> =
            instance.get_typed_func(&mut store, "cell")?;
        for i in 0..entries {
            let mut scope = RootScope::new(&mut store);
            let key = cell.call(&mut scope, i as i32)?;
            // Each value is the key of the next entry.
            let value = cell.call(&mut scope, ((i + 1) % entries) as i32)?;
            let (Some(key), Some(value)) = (key, value) else { anyhow::bail!("cell {i} is null") };
            map.insert(&mut scope, &key, &value)?;
        }
    }
    // Everything becomes old.
    store.gc(None)?;
    store.gc(None)?;
    let before = store.gc_pauses().count();
    call(&mut store, "churn", churn)?;
    let recent: Vec<_> = store.gc_pauses().recent().copied().collect();
    let new = (store.gc_pauses().count() - before) as usize;
    let kinds = [PauseKind::Minor, PauseKind::Counts];
    let young = recent.iter().rev().take(new).filter(|pause| kinds.contains(&pause.kind));
    let young = median(young.map(|pause| pause.length).collect());
    store.gc(None)?;
    let whole = store.gc_pauses().recent().last().map(|pause| pause.length);
    ensure!(map.len(&store)? == entries, "an entry of a live key is gone");
    Ok(Pauses { young, whole: whole.unwrap_or_default() })
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}
