//! Single operations in loops, beside Wasmtime's and V8's: copies and fills of arrays, casts, `i31`
//! arithmetic, calls of closures, tables and globals. V8 takes part if there is a Node.js (`NODE`
//! names it).
//!
//! Engines take turns. The time is the median of the turns, in processor time.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::{Clock, Which};
use gc_benches::options::Turns;
use gc_benches::race::{Runs, race};
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_benches::suite::Program;
use gc_benches::{Settings, contestants, v8, wanted, with_stack};
use std::hint::black_box;

const WAT: &str = include_str!("../wat/operations.wat");

/// An operation.
struct Case {
    /// The export.
    name: &'static str,
    /// Rounds of the loop in a turn.
    rounds: i32,
    /// The limit of the ratio to V8's time.
    target: Option<f64>,
    /// Bytes that a round copies.
    bytes: Option<u32>,
}

const fn case(name: &'static str, rounds: i32, target: f64) -> Case {
    Case { name, rounds, target: Some(target), bytes: None }
}

const fn copy(name: &'static str, rounds: i32, bytes: u32) -> Case {
    Case { name, rounds, target: Some(1.0), bytes: Some(bytes) }
}

const CASES: &[Case] = &[
    copy("copy_bytes_4", 2_000_000, 4),
    copy("copy_bytes_16", 2_000_000, 16),
    copy("copy_bytes_256", 2_000_000, 256),
    copy("copy_bytes_65536", 10_000, 65_536),
    copy("copy_refs_4", 2_000_000, 16),
    copy("copy_refs_16", 2_000_000, 64),
    copy("copy_refs_256", 1_000_000, 1024),
    copy("copy_refs_65536", 5_000, 262_144),
    case("fill_bytes_4", 2_000_000, 1.0),
    case("fill_bytes_16", 2_000_000, 1.0),
    case("fill_bytes_256", 2_000_000, 1.0),
    case("fill_bytes_65536", 10_000, 1.0),
    case("casts", 10_000_000, 0.9),
    case("i31", 10_000_000, 0.9),
    case("closures", 10_000_000, 0.9),
    case("closures_64", 10_000_000, 0.9),
    case("table", 10_000_000, 0.25),
    case("global", 10_000_000, 0.25),
    case("fields", 10_000_000, 1.0),
    case("links", 10_000_000, 1.0),
];

const SUBJECT: Subject = Subject {
    name: "operations",
    title: "Single operations",
    about: "One operation in a loop, beside Wasmtime and V8: copies and fills of arrays, casts, arithmetic of \
            `i31`, calls of closures, tables and globals. The number in a name is that of the bytes or \
            references. Engines take turns. The time is that of one round, the median of the turns, in \
            processor time of the thread. The ratio to V8's time, which has the target, is the median over the \
            turns. `memcpy` is the C library's, in one turn.",
};

/// Measures single operations.
#[derive(Parser)]
struct Options {
    /// Only operations whose name contains one of these.
    filter: Vec<String>,
    #[command(flatten)]
    turns: Turns,
}

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(Settings::default().stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    let mut record = Record::new(SUBJECT);
    let mut engines = contestants(&Settings::default())?;
    engines.retain(|engine| ["reclaim generational", "wasmtime copying"].contains(&engine.name()));
    let before = engines.len();
    engines.extend(v8::v8_or_warning());
    let has_v8 = engines.len() > before;
    record.engines(engines.iter().map(|engine| engine.name()));
    let mut wrong = Vec::new();
    let names = engines.iter().map(|engine| format!("{}, ns", engine.name()));
    let others = ["of V8", "target", "of memcpy"].map(str::to_owned);
    let mut rows = table("operation", names.chain(others));
    for case in CASES.iter().filter(|case| wanted(&options.filter, case.name)) {
        let program = Program {
            name: case.name.to_owned(),
            wat: WAT.to_owned(),
            export: case.name.to_owned(),
            arg: if options.turns.test { 10 } else { case.rounds },
            answer: None,
            expected: Vec::new(),
        };
        let entrants: Vec<_> = engines.iter().map(|engine| Some(&**engine)).collect();
        let outcomes = race(&program, &entrants, options.turns.rules(), &mut wrong)?;
        for (outcome, engine) in outcomes.iter().zip(&engines) {
            if let Some(Err(error)) = outcome {
                eprintln!("{} on {}: {error}", case.name, engine.name());
            }
        }
        let all: Vec<Option<&Runs>> =
            outcomes.iter().map(|outcome| outcome.as_ref()?.as_ref().ok()).collect();
        let nanoseconds =
            |runs: &Runs| runs.median(Which::Cpu).as_secs_f64() * 1e9 / f64::from(case.rounds);
        let shown =
            |value: Option<f64>| right(value.map_or("-".to_owned(), |value| format!("{value:.2}")));
        let ours = all.first().copied().flatten();
        let v8 = all.last().copied().flatten().filter(|_| has_v8);
        let memcpy = case.bytes.map(|bytes| memcpy(bytes as usize, case.rounds));
        let mut cells = vec![Cell::new(case.name)];
        cells.extend(all.iter().map(|runs| shown(runs.map(nanoseconds))));
        cells.push(shown(ours.zip(v8).and_then(|(ours, v8)| ours.ratio(v8, Which::Cpu))));
        cells.push(shown(case.target.filter(|_| has_v8)));
        cells.push(shown(ours.zip(memcpy).map(|(ours, memcpy)| nanoseconds(ours) / memcpy)));
        rows.add_row(cells);
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if options.turns.test {
        println!("operations: ok");
    } else {
        record.table("Nanoseconds of a round", &rows);
    }
    record.finish()
}

/// The nanoseconds in which the host copies `bytes` bytes, one further in each round.
fn memcpy(bytes: usize, rounds: i32) -> f64 {
    let (from, mut to) = (vec![3_u8; bytes + 8], vec![0_u8; bytes + 8]);
    let clock = Clock::start();
    for round in 0..rounds as usize {
        let at = round % 8;
        to[at..at + bytes].copy_from_slice(&black_box(&from)[1..1 + bytes]);
        black_box(&mut to);
    }
    clock.spent().cpu.as_secs_f64() * 1e9 / f64::from(rounds)
}
