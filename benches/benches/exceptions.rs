//! Exceptions beside Wasmtime's and V8's: the time to throw one and to catch it across three frames,
//! and what a handler costs a call that does not throw. V8 takes part if there is a Node.js that
//! has these exceptions (`NODE` names it).
//!
//! Engines take turns. The time is the median of the turns, in processor time. The loops are so short
//! that their place in memory changes their time by a quarter, so each is compiled at several places,
//! and the result is the mean over them (Mytkowicz and others: Producing Wrong Data Without Doing
//! Anything Obviously Wrong, ASPLOS 2009).

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::options::Turns;
use gc_benches::race::race;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_benches::suite::Program;
use gc_benches::{Settings, contestants, v8, with_stack};

const WAT: &str = include_str!("../wat/exceptions.wat");

/// The exports, and how often each throws or calls in a turn.
const CASES: [(&str, i32); 3] = [("throw", 100_000), ("call", 10_000_000), ("try", 10_000_000)];

/// The places at which the functions are compiled: before them stand functions of different sizes.
const PLACES: usize = 8;

/// The limit of the ratio to Wasmtime's time for a throw.
const TARGET: f64 = 0.5;

const SUBJECT: Subject = Subject {
    name: "exceptions",
    title: "Exceptions",
    about: "Throwing an exception and catching it across three frames, and a call inside of a handler that is \
            not used, beside the same call without one (`loss`). Engines take turns. A time is the median of \
            the turns, in processor time of the thread, and then the mean over several places in memory at \
            which the functions are compiled.",
};

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

/// The nanoseconds of a throw or a call in each of [`CASES`] at one place, on one engine.
type Times = [Option<f64>; CASES.len()];

fn run(options: &Options) -> Result<()> {
    let mut record = Record::new(SUBJECT);
    let mut engines = contestants(&Settings::default())?;
    engines.retain(|engine| engine.name() != "wasmtime copying 256M");
    engines.extend(v8::v8_or_warning());
    record.engines(engines.iter().map(|engine| engine.name()));
    let mut wrong = Vec::new();
    // The times of each engine, at each place.
    let mut times: Vec<Vec<Times>> = vec![Vec::new(); engines.len()];
    for place in 0..if options.turns.test { 1 } else { PLACES } {
        times.iter_mut().for_each(|times| times.push(Times::default()));
        for (column, (export, count)) in CASES.into_iter().enumerate() {
            let arg = if options.turns.test { 10 } else { count };
            let program = Program {
                name: format!("{export} at place {place}"),
                wat: at_place(place),
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
                        times[place][column] = Some(median * 1e9 / f64::from(arg));
                    }
                    Some(Err(error)) => eprintln!("{export} on {}: {error}", engine.name()),
                    None => {}
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if options.turns.test {
        println!("exceptions: ok");
        return Ok(());
    }
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    report(&names, &times, &mut record);
    record.finish()
}

/// The program, with a function before the others that moves them by about 32 bytes for each step of
/// `place`.
fn at_place(place: usize) -> String {
    let step = "(local.set 0 (i32.mul (local.get 0) (i32.const 0x01000193)))";
    let body = step.repeat(5 * place);
    let function =
        format!("(func (export \"moves\") (param i32) (result i32) {body} (local.get 0))");
    WAT.replace(";; PLACE", &function)
}

fn report(names: &[&str], times: &[Vec<Times>], record: &mut Record) {
    let mean = |times: &[Times], column: usize| {
        let all: Option<Vec<f64>> = times.iter().map(|times| times[column]).collect();
        all.map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    let wasmtimes = names.iter().zip(times).filter(|(name, _)| name.starts_with("wasmtime"));
    let fastest = wasmtimes.filter_map(|(_, times)| mean(times, 0)).min_by(f64::total_cmp);
    let columns =
        ["throw, ns", "of Wasmtime", "call, ns", "in try, ns", "loss", "least loss", "most loss"];
    let mut rows = table("engine", columns.into_iter().map(str::to_owned));
    let shown = |value: Option<f64>, digits: usize| {
        right(value.map_or("-".to_owned(), |value| format!("{value:.digits$}")))
    };
    let percent = |loss: Option<f64>| {
        right(loss.map_or("-".to_owned(), |loss| format!("{:.1} %", 100.0 * loss)))
    };
    for (name, times) in names.iter().zip(times) {
        let [throw, call, tried] = [0, 1, 2].map(|column| mean(times, column));
        let losses = times.iter().filter_map(|[_, call, tried]| Some((*tried)? / (*call)? - 1.0));
        rows.add_row([
            Cell::new(name),
            shown(throw, 0),
            shown(throw.zip(fastest).map(|(time, fastest)| time / fastest), 2),
            shown(call, 2),
            shown(tried, 2),
            percent(tried.zip(call).map(|(tried, call)| tried / call - 1.0)),
            percent(losses.clone().min_by(f64::total_cmp)),
            percent(losses.max_by(f64::total_cmp)),
        ]);
    }
    record.table("Throws and handlers", &rows);
    record.lines([
        &*format!(
            "target: a throw takes at most {TARGET} of the time of Wasmtime's fastest collector"
        ),
        "target: a handler that is not used loses at most what it loses in Wasmtime",
    ]);
}
