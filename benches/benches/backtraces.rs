//! Errors with a backtrace, in a store with a thousand modules: 20 functions, each in another module,
//! call each other, and the last one traps. The time should not depend on the number of modules that the
//! store, or the process, has besides.
//!
//! The report of criterion has the times. The ratio is printed at the end.

use anyhow::{Context as _, Result, ensure};
use criterion::BenchmarkId;
use gc_benches::measure;
use gc_wasm::{Engine, Extern, Instance, Module, Store, TypedFunc, WasmBacktrace};
use std::time::Instant;

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
    let mut criterion = measure::criterion();
    let mut group = criterion.benchmark_group("backtraces");
    let mut best = Vec::new();
    for modules in MODULES {
        let (mut store, run) = chain(modules)?;
        let mut least = f64::INFINITY;
        group.bench_function(BenchmarkId::new("trap", modules), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for _ in 0..count {
                    run.call(&mut store, ()).expect_err("it traps");
                }
                let took = start.elapsed();
                least = least.min(took.as_secs_f64() / count as f64);
                took
            });
        });
        best.push(least);
    }
    group.finish();
    criterion.final_summary();
    println!(
        "\na trap with {FRAMES} frames: {:.1} us with {} modules, {:.1} us with {}: {:.2}, of at most \
         {TARGET}",
        best[0] * 1e6,
        MODULES[0],
        best[1] * 1e6,
        MODULES[1],
        best[1] / best[0]
    );
    Ok(())
}
