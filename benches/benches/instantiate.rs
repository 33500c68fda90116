//! Making a store and an instance in it, and dropping both: of a module without tables, memories
//! and GC types, and of one that allocates one object. Wasmtime allocates on demand, which is its
//! default. This project's engines keep the memory of the last stores, which is theirs; the `cold`
//! ones keep nothing.
//!
//! Engines take turns, as in `programs`, and the result is the median of all turns.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::measure::median;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_benches::{Contestant, Module, Settings, contestants, reclaim, wanted};
use serde_json::json;
use std::time::Duration;

const SUBJECT: Subject = Subject {
    name: "instantiate",
    title: "A store with an instance, in short turns",
    about: "Making a store and an instance in it, and dropping both: of a module without tables, memories and \
            GC types, and of one that allocates one object. Engines take turns of 3 ms, and the time is the \
            median of all turns, in processor time of the thread. The engines `cold` have a source of memory \
            that keeps nothing. The ratio is to the fastest of Wasmtime's engines.",
};

/// Measures how long it takes to make a store and an instance, and to drop both.
#[derive(Parser)]
struct Options {
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Only cases whose name contains this (can be given several times).
    #[arg(long)]
    case: Vec<String>,
    /// Turns of each engine.
    #[arg(long, default_value_t = 101)]
    turns: usize,
    /// Print lines of JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Run everything once and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A module to instantiate.
struct Case {
    name: &'static str,
    wat: &'static str,
    /// An export that is called once.
    export: Option<&'static str>,
    /// The target: the maximal ratio to the fastest of Wasmtime's.
    target: f64,
}

const CASES: &[Case] = &[
    Case { name: "one function", wat: include_str!("../wat/plain.wat"), export: None, target: 1.5 },
    Case {
        name: "one object",
        wat: include_str!("../wat/object.wat"),
        export: Some("object"),
        target: 0.5,
    },
];

/// The time of a turn, about.
const TURN: Duration = Duration::from_millis(3);

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let mut engines = contestants(&Settings::default())?;
    engines.extend(reclaim::cold(&Settings::default())?);
    engines.retain(|engine| wanted(&options.engine, engine.name()));
    ensure!(!engines.is_empty(), "no engine matches the filter");
    record.engines(engines.iter().map(|engine| engine.name()));
    for case in CASES.iter().filter(|case| wanted(&options.case, case.name)) {
        run(case, &engines, &options, &mut record)?;
    }
    record.finish()
}

fn run(
    case: &Case,
    engines: &[Box<dyn Contestant>],
    options: &Options,
    record: &mut Record,
) -> Result<()> {
    let modules = engines.iter().map(|engine| engine.compile(case.wat));
    let modules = modules.collect::<Result<Vec<Box<dyn Module>>>>()?;
    let mut counts = Vec::new();
    for module in &modules {
        let warm_up = if options.test { 1 } else { 50 };
        let time = module.instances(case.export, warm_up)?.cpu;
        let each = time.as_nanos().max(1) / u128::from(warm_up);
        counts.push((TURN.as_nanos() / each.max(1)).clamp(1, 1 << 20) as u64);
    }
    if options.test {
        println!("{}: ok", case.name);
        return Ok(());
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); modules.len()];
    for turn in 0..options.turns.max(1) {
        // Another engine begins each time, so that no engine always follows the same one.
        for i in (0..modules.len()).map(|i| (i + turn) % modules.len()) {
            let time = modules[i].instances(case.export, counts[i])?.cpu;
            times[i].push(time.as_secs_f64() * 1e6 / counts[i] as f64);
        }
    }
    let medians: Vec<f64> = times.iter().filter_map(|times| median(times)).collect();
    report(case, engines, &medians, options, record);
    Ok(())
}

fn report(
    case: &Case,
    engines: &[Box<dyn Contestant>],
    medians: &[f64],
    options: &Options,
    record: &mut Record,
) {
    let named = engines.iter().map(|engine| engine.name()).zip(medians);
    let peers = named.clone().filter(|(name, _)| name.starts_with("wasmtime"));
    let fastest = peers.min_by(|a, b| a.1.total_cmp(b.1));
    let of = fastest.map_or("no other engine", |(name, _)| name);
    let columns = ["µs".to_owned(), format!("of {of}"), "target".to_owned()];
    let mut rows = table("engine", columns);
    for (name, time) in named {
        let ratio = fastest.map(|(_, fastest)| time / fastest);
        let ours = name.starts_with("reclaim");
        if options.json {
            println!(
                "{}",
                json!({ "case": case.name, "engine": name, "us": time, "of": of, "ratio": ratio })
            );
        }
        let target = match ratio {
            Some(ratio) if ours && ratio <= case.target => format!("met (at most {})", case.target),
            Some(_) if ours => format!("missed (at most {})", case.target),
            _ => String::new(),
        };
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        rows.add_row([
            Cell::new(name),
            right(format!("{time:.2}")),
            right(ratio),
            Cell::new(target),
        ]);
    }
    if !options.json {
        record.table(case.name, &rows);
    }
}
