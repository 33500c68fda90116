//! Asks much of the heap of each collector: the programs of `tests/stress` at full size.
//! Prints time, collections, pauses and peak heap, and how the longest pauses of
//! `generational` and `copying` beside 200 MB that live stand to the project's target.
//!
//! Wasmtime's collectors run too, but do not tell of pauses. Pauses are by the clock on the
//! wall, in which other processes have their share: each engine's are those of the run whose
//! longest was the shortest.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::race::{Outcome, Rules, race};
use gc_benches::report::{entry, right, table};
use gc_benches::{Contestant, Settings, contestants, suite, wanted, with_stack};
use std::time::Duration;

/// Asks much of the heap of each collector.
#[derive(Parser)]
struct Options {
    /// Only programs whose name contains one of these.
    filter: Vec<String>,
    /// Runs of each program on each engine.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// An engine that took so many seconds of the processor for its runs of a program makes no
    /// more of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Call the programs with this instead of their full size.
    #[arg(long)]
    arg: Option<i32>,
    /// Run the largest of the small cases once, and look at the answers alone.
    #[arg(long, conflicts_with = "arg")]
    smoke: bool,
    /// One object of JSON per program and engine and line, instead of tables.
    #[arg(long)]
    json: bool,
}

/// Bytes of stack for compiled code.
const STACK: usize = 8 << 20;

/// Which collectors cannot be asked, and why.
const SKIPPED: &[(&str, &str, &str)] = &[
    ("stress/live_set", "null", "2.3 GB of garbage, and it frees nothing"),
    ("stress/rings", "null", "it frees nothing, and nothing else is asked here"),
    ("stress/rings", "wasmtime drc", "it frees no cycles, and nothing else is asked here"),
];

/// The longest pause of `generational` is to be at most this part of that of `copying`.
const PAUSE_TARGET: f64 = 0.1;

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(STACK, move || run(&options))
}

/// Why an engine takes no part in a program.
fn skipped(program: &str, engine: &str) -> Option<&'static str> {
    let of = |name: &str| engine.ends_with(name);
    SKIPPED.iter().find(|(other, name, _)| *other == program && of(name)).map(|found| found.2)
}

fn run(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "at least one run");
    let mut programs = suite::project("stress")?;
    programs.retain(|program| wanted(&options.filter, &program.name));
    let mut engines = contestants(&Settings { stack: STACK })?;
    engines.retain(|engine| wanted(&options.engine, engine.name()));
    ensure!(!programs.is_empty(), "no program has such a name");
    ensure!(!engines.is_empty(), "no engine has such a name");
    let runs = if options.smoke { 1 } else { options.runs };
    let patience = Duration::from_secs(options.patience);
    let rules = Rules { runs, patience, arg: options.arg, all_cases: false };
    let mut wrong = Vec::new();
    for program in &mut programs {
        if options.smoke {
            program.reduce();
        }
        let take_part = |engine: &dyn Contestant| skipped(&program.name, engine.name()).is_none();
        let entrants: Vec<_> =
            engines.iter().map(|engine| Some(&**engine).filter(|it| take_part(*it))).collect();
        let outcomes = race(program, &entrants, rules, &mut wrong)?;
        if options.smoke {
            let failed = outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
            ensure!(failed.is_none(), "{}: {}", program.name, failed.map_or("", |error| error));
            continue;
        }
        let arg = options.arg.unwrap_or(program.arg);
        let rows: Vec<(&str, Option<Outcome>)> =
            engines.iter().map(|engine| engine.name()).zip(outcomes).collect();
        if options.json {
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
    format!("{program}: {engine} was not asked: {why}")
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
