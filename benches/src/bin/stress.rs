//! Stresses the heap of each collector: runs the programs of `tests/stress` at full size. Prints
//! time, collections, pauses and peak heap. It also compares the longest pauses of `generational`
//! and `copying` with 200 MB live to the project's target.
//!
//! Wasmtime's collectors run too, but do not report pauses. Pauses are wall-clock time and include
//! other processes. So the reported pauses of an engine are those of the run whose longest pause
//! was the shortest.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::options::Race;
use gc_benches::race::{Outcome, race};
use gc_benches::report::{entry, right, table};
use gc_benches::{Contestant, suite, with_stack};
use std::time::Duration;

/// Stresses the heap of each collector.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
}

/// The collectors that are skipped for a program, and why.
const SKIPPED: &[(&str, &str, &str)] = &[
    ("stress/live_set", "null", "2.3 GB of garbage, and it frees nothing"),
    ("stress/rings", "null", "it frees nothing, and the program makes only garbage"),
    ("stress/rings", "wasmtime drc", "it frees no cycles, and the program makes only cycles"),
];

/// The target: the longest pause of `generational` divided by that of `copying` is at most this.
const PAUSE_TARGET: f64 = 0.1;

fn main() -> Result<()> {
    let Options { race } = Options::parse();
    with_stack(race.stack, move || run(&race))
}

/// The reason for which an engine skips a program.
fn skipped(program: &str, engine: &str) -> Option<&'static str> {
    let of = |name: &str| engine.ends_with(name);
    SKIPPED.iter().find(|(other, name, _)| *other == program && of(name)).map(|found| found.2)
}

fn run(asked: &Race) -> Result<()> {
    let programs = asked.programs(suite::project("stress")?)?;
    let engines = asked.engines()?;
    let rules = asked.rules(false)?;
    let mut wrong = Vec::new();
    for program in &programs {
        let take_part = |engine: &dyn Contestant| skipped(&program.name, engine.name()).is_none();
        let entrants: Vec<_> =
            engines.iter().map(|engine| Some(&**engine).filter(|it| take_part(*it))).collect();
        let outcomes = race(program, &entrants, rules, &mut wrong)?;
        if asked.smoke {
            let failed = outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
            ensure!(failed.is_none(), "{}: {}", program.name, failed.map_or("", |error| error));
            continue;
        }
        let arg = asked.arg.unwrap_or(program.arg);
        let rows: Vec<(&str, Option<Outcome>)> =
            engines.iter().map(|engine| engine.name()).zip(outcomes).collect();
        if asked.json {
            for (engine, outcome) in &rows {
                match outcome {
                    Some(outcome) => println!("{}", entry(&program.name, engine, outcome)),
                    None => eprintln!("{}", absence(&program.name, engine)),
                }
            }
        } else {
            report(&format!("{}({arg})", program.name), &program.name, &rows);
        }
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    Ok(())
}

fn absence(program: &str, engine: &str) -> String {
    let why = skipped(program, engine).unwrap_or("no reason");
    format!("{program}: {engine} was skipped: {why}")
}

fn report(title: &str, program: &str, rows: &[(&str, Option<Outcome>)]) {
    let header = [
        "processor ms",
        "wall ms",
        "collections",
        "all pauses, ms",
        "longest, ms",
        "p99, ms",
        "peak heap, MiB",
    ];
    let mut table = table("engine", header.map(str::to_owned));
    let mut remarks = Vec::new();
    for (engine, outcome) in rows {
        let runs = match outcome {
            Some(Ok(runs)) => runs,
            Some(Err(error)) => {
                remarks.push(format!("{engine}: {error}"));
                continue;
            }
            None => {
                remarks.push(absence(program, engine));
                continue;
            }
        };
        let ms = |time: Duration| right(format!("{:.1}", time.as_secs_f64() * 1e3));
        let fine = |time: Duration| right(format!("{:.2}", time.as_secs_f64() * 1e3));
        let mut cells =
            vec![Cell::new(engine), ms(runs.median(Which::Cpu)), ms(runs.median(Which::Wall))];
        if let Some(heap) = runs.heap() {
            cells.extend([
                right(heap.collections.to_string()),
                ms(heap.pause_total),
                fine(heap.pause_longest),
                fine(heap.pause_p99),
                right(format!("{:.1}", heap.peak_bytes as f64 / f64::from(1 << 20))),
            ]);
        }
        table.add_row(cells);
    }
    println!("\n{title}\n\n{table}");
    let longest = |name: &str| {
        let (_, outcome) = rows.iter().find(|(engine, _)| *engine == name)?;
        let heap = outcome.as_ref()?.as_ref().ok()?.heap()?;
        Some(heap.pause_longest.as_secs_f64())
    };
    if program == "stress/live_set"
        && let Some(ours) = longest("reclaim generational")
        && let Some(copying) = longest("reclaim copying")
    {
        let ratio = ours / copying;
        let verdict = if ratio <= PAUSE_TARGET { "met" } else { "MISSED" };
        remarks.push(format!(
            "longest pause, generational / copying: {ratio:.3} (target {PAUSE_TARGET}: {verdict})"
        ));
    }
    if !remarks.is_empty() {
        println!("\n{}", remarks.join("\n"));
    }
}
