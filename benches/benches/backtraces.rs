//! Errors with a backtrace, in a store with a thousand modules: 20 functions, each in another module,
//! call each other, and the last one traps. The time should not depend on the number of modules that the
//! store, or the process, has besides.
//!
//! Both stores take turns. The ratio is the median over the turns.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Clock;
use gc_benches::measure::median;
use gc_benches::options::Turns;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table, target};
use gc_wasm::{Engine, Extern, Instance, Module, Store, TypedFunc, WasmBacktrace};

const SUBJECT: Subject = Subject {
    name: "backtraces",
    title: "A trap with a backtrace",
    about: "Twenty functions, each in another module, call each other, and the last one traps. The time \
            should not depend on the number of modules that the store has besides. Both stores take turns. \
            Times are processor time of the thread; times and the ratio are medians.",
};

/// Measures traps with backtraces.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    turns: Turns,
}

/// Traps in a turn.
const TRAPS: u32 = 200;

/// The functions on the stack.
const FRAMES: usize = 20;

/// The numbers of modules.
const MODULES: [usize; 2] = [FRAMES, 1000];

/// The most that a backtrace should take with many modules, of the time with few.
const TARGET: f64 = 1.5;

/// A store with `modules` modules, and the function that calls the others.
fn chain(modules: usize) -> Result<(Store<()>, TypedFunc<(), ()>)> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut callee: Option<Extern> = None;
    for number in 0..modules {
        // Each function is different, so that each module has code of its own.
        let body = format!("(drop (i32.const {number}))");
        // Those that do not take part come first, last and in between.
        let others = modules / FRAMES;
        let (import, call) = match (&callee, number % others == others / 2) {
            (Some(_), true) => ("(import \"\" \"\" (func $next))", "(call $next)"),
            (None, true) => ("", "unreachable"),
            (_, false) => ("", ""),
        };
        let wat = format!("(module {import} (func (export \"run\") {body} {call}))");
        let imports: Vec<_> = callee.iter().filter(|_| !import.is_empty()).cloned().collect();
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &imports)?;
        if !call.is_empty() {
            callee = instance.get_export(&mut store, "run");
        }
    }
    let run = callee.and_then(|run| run.into_func()).context("a function")?;
    let run = run.typed(&store)?;
    let error = run.call(&mut store, ()).expect_err("it traps");
    let frames = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?.frames().len();
    ensure!(frames == FRAMES, "{frames} frames");
    Ok((store, run))
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let mut chains = MODULES.map(chain).into_iter().collect::<Result<Vec<_>>>()?;
    let mut times = vec![Vec::new(); chains.len()];
    for _ in 0..options.turns.rules().runs {
        for ((store, run), times) in chains.iter_mut().zip(&mut times) {
            let began = Clock::start();
            for _ in 0..TRAPS {
                run.call(&mut *store, ()).expect_err("it traps");
            }
            times.push(began.spent().cpu.as_secs_f64() * 1e6 / f64::from(TRAPS));
        }
    }
    if options.turns.test {
        println!("backtraces: ok");
        return Ok(());
    }
    let mut rows = table("modules", ["µs a trap".to_owned()]);
    for (modules, times) in MODULES.iter().zip(&times) {
        rows.add_row([
            Cell::new(modules),
            right(format!("{:.1}", median(times).unwrap_or(f64::NAN))),
        ]);
    }
    record.table(&format!("A trap with {FRAMES} frames"), &rows);
    let ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(few, many)| many / few).collect();
    let ratio = median(&ratios).unwrap_or(f64::NAN);
    record.lines([&*format!("the ratio of both: {ratio:.2}{}", target(ratio, Some(TARGET)))]);
    record.finish()
}
