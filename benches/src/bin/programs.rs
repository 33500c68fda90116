//! Times whole programs under every collector, and under Wasmtime's, in one process, and under V8 in
//! another if there is a Node.js. The result is
//! the median of several runs, each in a fresh store. The engines take turns, so that a slow minute
//! of the machine affects all of them. Prints milliseconds, then ratios, then a comparison with the
//! project's targets, and draws a picture.
//!
//! Exits with an error when an engine's answer differs from the others' or from the expected one.

use anyhow::{Result, ensure};
use clap::Parser;
use gc_benches::clock::Which;
use gc_benches::options::Race;
use gc_benches::race::race;
use gc_benches::record::{Record, Subject};
use gc_benches::report::Results;
use gc_benches::{picture, plot, suite, with_stack};
use std::path::PathBuf;

const SUBJECT: Subject = Subject {
    name: "programs",
    title: "Whole programs",
    about: "The time of whole programs under each collector, under Wasmtime's and in V8, and the pauses and \
            the peak of the heap under this project's. The programs of `programs/` are those of \
            `tests/programs`. Engines take turns, each run is in a fresh store, and a time is the median of \
            the runs, in processor time of the thread that runs the program. V8 compiles and collects on \
            other threads too, and `generational` prepares memory on one, which are not counted. A ratio is \
            that of a collector of this project to one of Wasmtime (`W.`) or to V8, the median over the \
            turns in which both ran. `256M` is Wasmtime's copying collector with that much heap from the \
            start. Pauses are wall-clock time. They and the peak are those of the run whose longest pause \
            was the shortest.",
};

/// Times whole programs under every collector, beside Wasmtime's and V8's.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
    /// The clock for tables and ratios. JSON has both clocks.
    #[arg(long, value_enum, default_value_t)]
    clock: Which,
    /// A folder of more programs. Each begins with `;; @bench EXPORT ARG`.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Draw the times as ratios to V8's to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(options.race.stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    let asked = &options.race;
    let rules = asked.rules(true)?;
    let programs = asked.programs(suite::timed(options.folder.as_deref())?)?;
    let engines = asked.engines_and_v8()?;
    let mut record = Record::new(SUBJECT);
    record.engines(engines.iter().map(|engine| engine.name()));

    let mut wrong = Vec::new();
    let mut results = Results {
        engines: engines.iter().map(|engine| engine.name()).collect(),
        rows: Vec::new(),
        clock: options.clock,
    };
    let entrants: Vec<_> = engines.iter().map(|engine| Some(&**engine)).collect();
    for program in programs {
        let outcomes = race(&program, &entrants, rules, &mut wrong)?;
        results.rows.push((program.name, outcomes));
        if asked.json {
            // Printed at once, so that an interrupted run still gives results.
            results.json_of_last().iter().for_each(|line| println!("{line}"));
        }
    }
    if asked.json {
        results.json_of_ratios().iter().for_each(|line| println!("{line}"));
    } else if !asked.smoke {
        if let Some(summary) = results.summary() {
            record.table("Means and targets", &summary);
        }
        if let Some(ratios) = results.ratio_table() {
            record.table("Ratios (below 1: this project's is faster)", &ratios);
        }
        let clock = options.clock.name();
        record.table(&format!("Milliseconds of {clock}"), &results.milliseconds());
        for (heading, table) in results.heaps() {
            record.table(&heading, &table);
        }
        record.finish()?;
    }
    if let Some(path) = &options.svg {
        plot::save(path, &picture::draw(&results)?)?;
    }
    let failures = results.failures();
    failures.iter().for_each(|line| eprintln!("\n{line}"));
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    ensure!(!asked.smoke || failures.is_empty(), "not all ran");
    Ok(())
}
