//! Stresses the heap of each collector: runs the programs of `tests/stress` at full size. Prints
//! time, collections, pauses and peak heap. It also compares the longest pauses of `generational`
//! and `copying` with 200 MB live to the project's target.
//!
//! With `--mmu` it watches the programs that can be watched ([`ticks`]), and
//! prints the minimum mutator utilisation of each engine.
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
use gc_benches::record::{Record, Subject};
use gc_benches::report::{entry, right, table};
use gc_benches::suite::Program;
use gc_benches::ticks::{self, Agreement, Figures, Observed, THRESHOLD, WINDOWS};
use gc_benches::{Contestant, suite, with_stack};
use serde_json::json;
use std::time::Duration;

const STRESS: Subject = Subject {
    name: "stress",
    title: "Pauses of programs that stress the heap",
    about: "Time, collections, pauses and peak of the heap in the programs of `tests/stress`, under each \
            collector. Engines take turns, and each run is in a fresh store. Times are medians. Pauses are \
            wall-clock time. They, the collections and the peak are those of the run whose longest pause was \
            the shortest: other processes only make pauses longer. Wasmtime reports no pauses.",
};

const UTILISATION: Subject = Subject {
    name: "utilisation",
    title: "Minimum mutator utilisation",
    about: "The least share of any window of a run in which the program runs (MMU), for windows of several \
            lengths. The program itself is watched: it calls the host after each piece of work, and a gap \
            between two calls that is much longer than the median gap (`work`) is a pause. Its length is the \
            gap less the median. The rows `processor` leave out the time in which the thread did not run. \
            The rows `log` are the pauses that the collector reports. Pauses are wall-clock time. Each \
            figure is the best of the runs, but the times of the program are medians.",
};

/// Stresses the heap of each collector.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
    /// Print the minimum mutator utilisation instead, in the programs that can be watched.
    #[arg(long)]
    mmu: bool,
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
    let Options { race, mmu } = Options::parse();
    with_stack(race.stack, move || {
        if mmu || race.smoke {
            watch(&race)?;
        }
        if mmu { Ok(()) } else { run(&race) }
    })
}

/// The reason for which an engine skips a program.
fn skipped(program: &str, engine: &str) -> Option<&'static str> {
    let of = |name: &str| engine.ends_with(name);
    SKIPPED.iter().find(|(other, name, _)| *other == program && of(name)).map(|found| found.2)
}

/// An engine's name, and its outcome if it took part.
type Row<'a> = (&'a str, Option<Outcome>);

/// Runs a program on each engine that can run it. With `--smoke` a failure is an error.
fn rows<'a>(
    asked: &Race,
    program: &Program,
    engines: &'a [Box<dyn Contestant>],
    wrong: &mut Vec<String>,
) -> Result<Vec<Row<'a>>> {
    let take_part = |engine: &dyn Contestant| skipped(&program.name, engine.name()).is_none();
    let entrants: Vec<_> =
        engines.iter().map(|engine| Some(&**engine).filter(|it| take_part(*it))).collect();
    let outcomes = race(program, &entrants, asked.rules(false)?, wrong)?;
    if asked.smoke {
        let failed = outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
        ensure!(failed.is_none(), "{}: {}", program.name, failed.map_or("", |error| error));
    }
    Ok(engines.iter().map(|engine| engine.name()).zip(outcomes).collect())
}

fn run(asked: &Race) -> Result<()> {
    let programs = asked.programs(suite::project("stress")?)?;
    let engines = asked.engines()?;
    let mut record = Record::new(STRESS);
    record.engines(engines.iter().map(|engine| engine.name()));
    let mut wrong = Vec::new();
    for program in &programs {
        let rows = rows(asked, program, &engines, &mut wrong)?;
        if asked.smoke {
            continue;
        }
        let arg = asked.arg.unwrap_or(program.arg);
        if asked.json {
            for (engine, outcome) in &rows {
                match outcome {
                    Some(outcome) => println!("{}", entry(&program.name, engine, outcome)),
                    None => eprintln!("{}", absence(&program.name, engine)),
                }
            }
        } else {
            report(&format!("{}({arg})", program.name), &program.name, &rows, &mut record);
        }
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if asked.json { Ok(()) } else { record.finish() }
}

/// Runs the programs that can be watched, and prints what their ticks show.
fn watch(asked: &Race) -> Result<()> {
    let mut programs = asked.programs(suite::project("stress")?)?;
    programs.retain_mut(|program| match ticks::watchable(&program.wat) {
        Some(wat) => {
            program.wat = wat;
            true
        }
        None => false,
    });
    ensure!(asked.smoke || !programs.is_empty(), "none of the chosen programs can be watched");
    let engines = asked.engines()?;
    let mut record = Record::new(UTILISATION);
    record.engines(engines.iter().map(|engine| engine.name()));
    let mut wrong = Vec::new();
    for program in &programs {
        let rows = rows(asked, program, &engines, &mut wrong)?;
        if asked.smoke {
            let ran = rows.iter().filter_map(|(_, outcome)| outcome.as_ref()?.as_ref().ok());
            let seen = ran.flat_map(|runs| &runs.0).all(|run| run.observed.is_some());
            ensure!(seen, "{} does not tick", program.name);
            continue;
        }
        let arg = asked.arg.unwrap_or(program.arg);
        let title = format!("{}({arg})", program.name);
        utilisations(&title, program, &rows, (!asked.json).then_some(&mut record));
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if asked.json { Ok(()) } else { record.finish() }
}

/// Adds the utilisations in one program to the record. Without a record it prints lines of JSON.
fn utilisations(title: &str, program: &Program, rows: &[Row<'_>], record: Option<&mut Record>) {
    let windows = WINDOWS.map(|window| format!("MMU {} ms, %", window.as_millis()));
    let others = [
        "longest, ms",
        "p99, ms",
        "pauses",
        "all pauses, ms",
        "wall ms",
        "processor ms",
        "work, µs",
    ];
    let header = windows.into_iter().chain(others.map(str::to_owned));
    let mut table = table("engine", header);
    let mut remarks = Vec::new();
    for (engine, outcome) in rows {
        let runs = match outcome {
            Some(Ok(runs)) => runs,
            Some(Err(error)) => {
                remarks.push(format!("{engine}: {error}"));
                continue;
            }
            None => {
                remarks.push(absence(&program.name, engine));
                continue;
            }
        };
        let observed: Vec<Observed> = runs.0.iter().filter_map(|run| run.observed).collect();
        let medians = [Which::Wall, Which::Cpu].map(|clock| runs.median(clock).as_secs_f64() * 1e3);
        let work = observed.iter().map(|seen| seen.work).min().unwrap_or_default();
        let by_ticks = Figures::best(observed.iter().map(|seen| seen.by_ticks));
        let by_processor = Figures::best(observed.iter().map(|seen| seen.by_processor));
        let by_log = Figures::best(observed.iter().filter_map(|seen| seen.by_log));
        let ways = [
            ((*engine).to_owned(), by_ticks),
            (format!("{engine}, processor"), by_processor),
            (format!("{engine}, log"), by_log),
        ];
        for (name, best) in ways {
            let Some(best) = best else { continue };
            if record.is_none() {
                println!("{}", utilisation_entry(&program.name, &name, &best, medians, work));
                continue;
            }
            let ms =
                |time: Duration, digits: usize| format!("{:.digits$}", time.as_secs_f64() * 1e3);
            let shares = best.mmu.map(|share| format!("{:.1}", share * 100.0));
            let others = [
                ms(best.longest, 2),
                ms(best.p99, 2),
                best.pauses.to_string(),
                ms(best.total, 0),
                format!("{:.0}", medians[0]),
                format!("{:.0}", medians[1]),
                format!("{:.1}", work.as_secs_f64() * 1e6),
            ];
            let cells = shares.into_iter().chain(others).map(right);
            table.add_row(std::iter::once(Cell::new(name)).chain(cells));
        }
        remarks.extend(agreement(engine, observed.iter().filter_map(|seen| seen.agreement)));
    }
    let Some(record) = record else {
        remarks.iter().for_each(|remark| eprintln!("{remark}"));
        return;
    };
    record.table(title, &table);
    remarks.push(format!("a gap counts as a pause from {THRESHOLD} times the median gap"));
    record.lines(remarks.iter().map(String::as_str));
}

/// How well ticks and log agree, in the run whose difference is the median. `None` without a log.
fn agreement(engine: &str, runs: impl Iterator<Item = Agreement>) -> Option<String> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let mut runs: Vec<Agreement> = runs.collect();
    runs.sort_by(|a, b| a.apart.total_cmp(&b.apart));
    let run = runs.get(runs.len() / 2)?;
    let ratio = run.ratio()?;
    Some(format!(
        "{engine}: in gaps with a pause of the log, {:.1} ms by the log, {:.1} ms by ticks ({:+.1} %), \
         MMU at most {:.1} points apart; stops in other gaps: {:.1} ms",
        ms(run.reported),
        ms(run.seen),
        (ratio - 1.0) * 100.0,
        run.apart * 100.0,
        ms(run.unreported),
    ))
}

fn utilisation_entry(
    program: &str,
    engine: &str,
    best: &Figures,
    [wall_ms, processor_ms]: [f64; 2],
    work: Duration,
) -> serde_json::Value {
    let mmu = WINDOWS.iter().zip(best.mmu);
    let mmu: serde_json::Map<_, _> =
        mmu.map(|(window, share)| (format!("{}ms", window.as_millis()), json!(share))).collect();
    json!({
        "program": program,
        "engine": engine,
        "mmu": mmu,
        "longest_pause_ms": best.longest.as_secs_f64() * 1e3,
        "p99_pause_ms": best.p99.as_secs_f64() * 1e3,
        "pauses": best.pauses,
        "total_pause_ms": best.total.as_secs_f64() * 1e3,
        "wall_ms": wall_ms,
        "processor_ms": processor_ms,
        "work_us": work.as_secs_f64() * 1e6,
    })
}

fn absence(program: &str, engine: &str) -> String {
    let why = skipped(program, engine).unwrap_or("no reason");
    format!("{program}: {engine} was skipped: {why}")
}

fn report(title: &str, program: &str, rows: &[Row<'_>], record: &mut Record) {
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
    record.table(title, &table);
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
    record.lines(remarks.iter().map(String::as_str));
}
