//! Exceptions beside Wasmtime's and V8's: the time to throw one and to catch it across three frames,
//! and what a handler costs a call that does not throw. V8 takes part if there is a Node.js that
//! has these exceptions (`NODE` names it).
//!
//! Engines take turns. The result is the median of the turns, in processor time.

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::options::Turns;
use gc_benches::race::race;
use gc_benches::report::{right, table};
use gc_benches::suite::Program;
use gc_benches::{Settings, contestants, v8, with_stack};

const WAT: &str = include_str!("../wat/exceptions.wat");

/// The exports, and how often each throws or calls in a turn.
const CASES: [(&str, i32); 3] = [("throw", 100_000), ("call", 10_000_000), ("try", 10_000_000)];

/// The limit of the ratio to Wasmtime's time for a throw.
const TARGET: f64 = 0.5;

/// Measures exceptions.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    turns: Turns,
}

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(Settings::default().stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    let mut engines = contestants(&Settings::default())?;
    engines.retain(|engine| engine.name() != "wasmtime copying 256M");
    match v8::v8() {
        Some(v8) => engines.push(v8),
        None => eprintln!("\n!!! NOT MEASURED: V8, because there is no Node.js\n"),
    }
    let mut wrong = Vec::new();
    let mut times: Vec<[Option<f64>; 3]> = vec![[None; 3]; engines.len()];
    for (column, (export, count)) in CASES.into_iter().enumerate() {
        let arg = if options.turns.test { 10 } else { count };
        let program = Program {
            name: export.to_owned(),
            wat: WAT.to_owned(),
            export: export.to_owned(),
            arg,
            answer: (export == "throw").then(|| arg.to_string()),
            expected: Vec::new(),
        };
        let entrants: Vec<_> = engines.iter().map(|engine| Some(&**engine)).collect();
        let outcomes = race(&program, &entrants, options.turns.rules(), &mut wrong)?;
        for (times, (outcome, engine)) in times.iter_mut().zip(outcomes.iter().zip(&engines)) {
            match outcome {
                Some(Ok(runs)) => {
                    let median = runs.median(Which::Cpu).as_secs_f64();
                    times[column] = Some(median * 1e9 / f64::from(arg));
                }
                Some(Err(error)) => eprintln!("{export} on {}: {error}", engine.name()),
                None => {}
            }
        }
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if options.turns.test {
        println!("exceptions: ok");
        return Ok(());
    }
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    report(&names, &times);
    Ok(())
}

fn report(names: &[&str], times: &[[Option<f64>; 3]]) {
    let wasmtimes = names.iter().zip(times).filter(|(name, _)| name.starts_with("wasmtime"));
    let fastest = wasmtimes.clone().filter_map(|(_, times)| times[0]).min_by(f64::total_cmp);
    let loss = |times: &[Option<f64>; 3]| Some(times[2]? / times[1]? - 1.0);
    let columns = ["throw, ns", "of Wasmtime", "call, ns", "in try, ns", "loss"];
    let mut rows = table("exceptions", columns.into_iter().map(str::to_owned));
    let shown = |value: Option<f64>, digits: usize| {
        right(value.map_or("-".to_owned(), |value| format!("{value:.digits$}")))
    };
    for (name, times) in names.iter().zip(times) {
        rows.add_row([
            Cell::new(name),
            shown(times[0], 0),
            shown(times[0].zip(fastest).map(|(time, fastest)| time / fastest), 2),
            shown(times[1], 2),
            shown(times[2], 2),
            right(loss(times).map_or("-".to_owned(), |loss| format!("{:.1} %", 100.0 * loss))),
        ]);
    }
    println!("{rows}\n");
    println!("Target: a throw takes at most {TARGET} of the time of Wasmtime's fastest collector.");
}
