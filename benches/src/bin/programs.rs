//! Times whole programs under every collector, beside Wasmtime's, in one process: the
//! median of several runs, each in a fresh store, the engines taking turns so that a
//! slow minute of the machine is a slow minute for all. Prints milliseconds, then ratios, then
//! how they stand to the project's targets.
//!
//! Exits with an error when an engine's answer is not the others', or not the expected.

use anyhow::{Result, bail, ensure};
use clap::Parser;
use gc_benches::clock::Which;
use gc_benches::race::{Rules, race};
use gc_benches::report::Results;
use gc_benches::suite;
use gc_benches::{Settings, contestants, wanted, with_stack};
use std::path::PathBuf;
use std::time::Duration;

/// Times whole programs under every collector, beside Wasmtime's.
#[derive(Parser)]
struct Options {
    /// Only programs whose name contains one of these.
    filter: Vec<String>,
    /// Runs of each program on each engine.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// An engine that took so many seconds of the processor for its runs of a program makes no
    /// more of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Call the programs with this instead of their own argument.
    #[arg(long)]
    arg: Option<i32>,
    /// Run all small cases once, and look at the answers alone.
    #[arg(long, conflicts_with = "arg")]
    smoke: bool,
    /// The clock that tables and ratios go by. JSON has both.
    #[arg(long, value_enum, default_value_t)]
    clock: Which,
    /// One object of JSON per program and engine and line, then one per ratio, instead of tables.
    #[arg(long)]
    json: bool,
    /// A folder of further programs, each opening with `;; @bench EXPORT ARG`.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Bytes of stack for compiled code.
    #[arg(long, default_value_t = 8 << 20)]
    stack: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(options.stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "at least one run");
    let mut programs = Vec::new();
    let folder = options.folder.clone().unwrap_or_else(suite::beside);
    if folder.is_dir() {
        programs.extend(suite::folder(&folder)?);
    } else if options.folder.is_some() {
        bail!("there is no folder {}", folder.display());
    } else {
        eprintln!("\n!!! NOT TIMED: there is no folder of benchmark programs beside the project\n");
    }
    programs.extend(suite::project("programs")?);
    programs.retain(|program| wanted(&options.filter, &program.name));
    let mut engines = contestants(&Settings { stack: options.stack })?;
    engines.retain(|engine| wanted(&options.engine, engine.name()));
    ensure!(!programs.is_empty(), "no program has such a name");
    ensure!(!engines.is_empty(), "no engine has such a name");

    let mut wrong = Vec::new();
    let mut results = Results {
        engines: engines.iter().map(|engine| engine.name()).collect(),
        rows: Vec::new(),
        clock: options.clock,
    };
    let entrants: Vec<_> = engines.iter().map(|engine| Some(&**engine)).collect();
    for mut program in programs {
        if options.smoke {
            program.reduce();
        }
        let runs = if options.smoke { 1 } else { options.runs };
        let patience = Duration::from_secs(options.patience);
        let rules = Rules { runs, patience, arg: options.arg, all_cases: true };
        let outcomes = race(&program, &entrants, rules, &mut wrong)?;
        results.rows.push((program.name, outcomes));
        if options.json {
            // As it goes: who stops it has what there is.
            results.json_of_last().iter().for_each(|line| println!("{line}"));
        }
    }
    if options.json {
        results.json_of_ratios().iter().for_each(|line| println!("{line}"));
    } else if !options.smoke {
        let clock = options.clock.name();
        let table = results.milliseconds();
        println!("\nMilliseconds of {clock}, median of {} at most:\n\n{table}", options.runs);
        if let Some(ratios) = results.ratio_table() {
            println!("\nRatios (below 1: this project's is faster):\n\n{ratios}\n");
        }
        results.summary().iter().for_each(|line| println!("{line}"));
    }
    let failures = results.failures();
    failures.iter().for_each(|line| eprintln!("\n{line}"));
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    ensure!(!options.smoke || failures.is_empty(), "not all ran");
    Ok(())
}
