//! Times whole programs under every collector, beside Wasmtime's, in one process: the
//! median of several runs, each in a fresh store, the engines taking turns so that a
//! slow minute of the machine is a slow minute for all. Prints milliseconds, then ratios.
//!
//! Exits with an error when an engine's answer is not the others', or not the expected.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use gc_benches::suite::{self, Program};
use gc_benches::{Contestant, Settings, contestants};
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
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Call the programs with this instead of their own argument.
    #[arg(long)]
    arg: Option<i32>,
    /// A folder of further programs, each opening with `;; @bench EXPORT ARG`.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Bytes of stack for compiled code.
    #[arg(long, default_value_t = 8 << 20)]
    stack: usize,
}

/// Stack on top of what compiled code may use, in bytes.
const HOST_STACK: usize = 8 << 20;

/// What an engine made of a program: the median time, or why there is none.
type Outcome = Result<Duration, String>;

fn main() -> Result<()> {
    let options = Options::parse();
    let size = options.stack + HOST_STACK;
    let thread = std::thread::Builder::new().stack_size(size).spawn(move || run(&options))?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
    programs.extend(suite::project()?);
    programs.retain(|program| wanted(&options.filter, &program.name));
    let mut engines = contestants(&Settings { stack: options.stack })?;
    engines.retain(|engine| wanted(&options.engine, engine.name()));
    ensure!(!programs.is_empty(), "no program has such a name");
    ensure!(!engines.is_empty(), "no engine has such a name");

    let mut wrong = Vec::new();
    let mut rows = Vec::new();
    for program in &programs {
        let outcomes = time(program, &engines, options, &mut wrong)?;
        rows.push((program.name.clone(), outcomes));
    }
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    println!("\nMilliseconds, median of {}:\n\n{}", options.runs, milliseconds(&names, &rows));
    if let Some(ratios) = ratios(&names, &rows) {
        println!("\nRatios (below 1: this project's is faster):\n\n{ratios}");
    }
    for (name, outcomes) in &rows {
        for (engine, outcome) in names.iter().zip(outcomes) {
            if let Err(error) = outcome {
                println!("\n{name} on {engine}: {error}");
            }
        }
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    Ok(())
}

fn wanted(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

/// Runs a program on all engines, in turn.
fn time(
    program: &Program,
    engines: &[Box<dyn Contestant>],
    options: &Options,
    wrong: &mut Vec<String>,
) -> Result<Vec<Outcome>> {
    let arg = options.arg.unwrap_or(program.arg);
    let mut modules = Vec::new();
    for engine in engines {
        let what = || format!("{} on {}", program.name, engine.name());
        let module = engine.compile(&program.wat).with_context(what)?;
        for (arg, expected) in &program.expected {
            let (answer, _) = module.start()?.run(&program.export, *arg).with_context(what)?;
            if answer.to_string() != *expected {
                wrong.push(format!("{}: {arg} gives {answer}, not {expected}", what()));
            }
        }
        modules.push(module);
    }
    let mut times = vec![Vec::new(); engines.len()];
    let mut errors = vec![None; engines.len()];
    let mut answers = vec![None; engines.len()];
    for turn in 0..options.runs {
        // Another one begins each time, so that nobody always follows the same one.
        for i in (0..engines.len()).map(|i| (i + turn) % engines.len()) {
            if errors[i].is_some() {
                continue;
            }
            match modules[i].start()?.run(&program.export, arg) {
                Err(error) => errors[i] = Some(format!("{error:#}")),
                Ok((answer, time)) => {
                    times[i].push(time);
                    if *answers[i].get_or_insert(answer) != answer {
                        let engine = engines[i].name();
                        wrong.push(format!("{} on {engine}: two answers", program.name));
                    }
                }
            }
        }
        eprint!(".");
    }
    eprintln!(" {}", program.name);
    let agreed = answers.iter().flatten().next();
    if answers.iter().flatten().any(|answer| Some(answer) != agreed) {
        let list: Vec<String> = (engines.iter().zip(&answers))
            .filter_map(|(engine, answer)| Some(format!("{}: {}", engine.name(), (*answer)?)))
            .collect();
        wrong.push(format!("{}({arg}): {}", program.name, list.join(", ")));
    }
    let outcomes = times.into_iter().zip(errors).map(|(mut times, error)| match error {
        Some(error) => Err(error),
        None => {
            times.sort();
            Ok(times[times.len() / 2])
        }
    });
    Ok(outcomes.collect())
}

fn table(header: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn milliseconds(names: &[&str], rows: &[(String, Vec<Outcome>)]) -> Table {
    let header = std::iter::once("program").chain(names.iter().copied());
    let mut table = table(header.map(str::to_owned));
    for (name, outcomes) in rows {
        let cells = outcomes.iter().map(|outcome| match outcome {
            Ok(time) => right(format!("{:.1}", time.as_secs_f64() * 1e3)),
            Err(_) => right("failed".to_owned()),
        });
        table.add_row(std::iter::once(Cell::new(name)).chain(cells));
    }
    table
}

/// Each collector of ours over the peer's of the same name, and over the peer's
/// default, its copying one. `None` if no such pair ran.
fn ratios(names: &[&str], rows: &[(String, Vec<Outcome>)]) -> Option<Table> {
    let at = |name: String| names.iter().position(|other| *other == name);
    let mut pairs = Vec::new();
    for (ours, name) in names.iter().enumerate() {
        let Some(collector) = name.strip_prefix("reclaim ") else { continue };
        for peer in [collector, "copying", "copying 256M"] {
            if let Some(theirs) = at(format!("wasmtime {peer}"))
                && !pairs.iter().any(|(_, pair)| *pair == (ours, theirs))
            {
                pairs.push((format!("{collector} / {peer}"), (ours, theirs)));
            }
        }
    }
    if pairs.is_empty() {
        return None;
    }
    let header = std::iter::once("program").chain(pairs.iter().map(|(name, _)| name.as_str()));
    let mut table = table(header.map(str::to_owned));
    let mut logs = vec![(0.0, 0); pairs.len()];
    for (name, outcomes) in rows {
        let mut cells = vec![Cell::new(name)];
        for ((_, (ours, theirs)), (sum, count)) in pairs.iter().zip(&mut logs) {
            cells.push(right(match (&outcomes[*ours], &outcomes[*theirs]) {
                (Ok(ours), Ok(theirs)) => {
                    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
                    *sum += ratio.ln();
                    *count += 1;
                    format!("{ratio:.2}")
                }
                _ => String::new(),
            }));
        }
        table.add_row(cells);
    }
    let mean = |(sum, count): (f64, i32)| match count {
        0 => String::new(),
        _ => format!("{:.2}", (sum / f64::from(count)).exp()),
    };
    let means = logs.into_iter().map(|log| right(mean(log)));
    table.add_row(std::iter::once(Cell::new("geometric mean")).chain(means));
    Some(table)
}
