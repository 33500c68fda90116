//! Making a store and an instance in it, and dropping both: on demand, and from a pool. The cases are
//! a module with one function, a module with GC types, the same with one call, which allocates an
//! object, and modules that import functions of the host, which are made once for all stores.
//!
//! The report of criterion has the times. The ratios to the fastest collector of Wasmtime with the
//! same strategy are printed at the end, with what they should be at most.

use anyhow::Context as _;
use criterion::{BenchmarkId, Criterion};
use gc_benches::{Contestant, Module, Settings, measure, peer, reclaim};
use std::cell::RefCell;

const PLAIN: &str = include_str!("../wat/plain.wat");
const OBJECT: &str = include_str!("../wat/object.wat");

/// What is made.
struct Case {
    name: &'static str,
    wat: String,
    /// An export that is called once.
    export: Option<&'static str>,
    /// The maximal ratios to Wasmtime's fastest collector: on demand, and from a pool.
    targets: [f64; 2],
}

fn cases() -> Vec<Case> {
    let case =
        |name, wat: &str, export, targets| Case { name, wat: wat.to_owned(), export, targets };
    vec![
        case("one function", PLAIN, None, [1.0, 1.0]),
        case("GC types", OBJECT, None, [0.4, 0.5]),
        case("one object", OBJECT, Some("object"), [0.4, 0.5]),
        case("1 import", &imports(1), None, [1.0, 1.0]),
        case("100 imports", &imports(100), None, [1.0, 1.0]),
        case("1000 imports", &imports(1000), None, [1.0, 1.0]),
    ]
}

/// A module that imports `count` functions of the host.
fn imports(count: usize) -> String {
    let import = |i| format!(r#"(import "host" "{i}" (func (param i32) (result i32)))"#);
    let imports: String = (0..count).map(import).collect();
    format!(r#"(module {imports} (func (export "run") (param i32) (result i32) local.get 0))"#)
}

/// The engines of one strategy.
type Engines = Vec<Box<dyn Contestant>>;

fn main() -> anyhow::Result<()> {
    let settings = Settings::default();
    let on_demand = gc_benches::contestants(&settings)?;
    let mut pooled = reclaim::pooled(&settings)?;
    pooled.extend(peer::pooled(&settings)?);
    let mut criterion = measure::criterion();
    let mut lines = Vec::new();
    for case in &cases() {
        for (strategy, engines, target) in
            [("on demand", &on_demand, case.targets[0]), ("pooled", &pooled, case.targets[1])]
        {
            let name = format!("{} ({strategy})", case.name);
            let times = compare(&mut criterion, &name, engines, case)?;
            lines.extend(ratios(&name, &times, target));
        }
    }
    criterion.final_summary();
    println!();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Times all engines. Returns the best sample of each that was not left out, in µs: other processes
/// only make samples longer.
fn compare(
    criterion: &mut Criterion,
    name: &str,
    engines: &Engines,
    case: &Case,
) -> anyhow::Result<Vec<(String, f64)>> {
    let mut group = criterion.benchmark_group(name);
    let mut times = Vec::new();
    for engine in engines {
        let module: Box<dyn Module> = engine.compile(&case.wat)?;
        // A bench that fails has no time, and reports the error here.
        module.instances(case.export, 1).with_context(|| engine.name().to_owned())?;
        let samples = RefCell::new(Vec::new());
        group.bench_function(BenchmarkId::from_parameter(engine.name()), |bencher| {
            bencher.iter_custom(|times| {
                let time = module.instances(case.export, times);
                let time = time.unwrap_or_else(|error| panic!("{}: {error:#}", engine.name()));
                samples.borrow_mut().push(time.as_secs_f64() * 1e6 / times as f64);
                time
            });
        });
        if let Some(best) = samples.into_inner().into_iter().min_by(f64::total_cmp) {
            times.push((engine.name().to_owned(), best));
        }
    }
    group.finish();
    Ok(times)
}

/// A line for each engine of this project.
fn ratios(name: &str, times: &[(String, f64)], target: f64) -> Vec<String> {
    let peers = times.iter().filter(|(engine, _)| engine.starts_with("wasmtime"));
    let Some((peer, best)) = peers.min_by(|a, b| a.1.total_cmp(&b.1)) else { return Vec::new() };
    let ours = times.iter().filter(|(engine, _)| engine.starts_with("reclaim"));
    ours.map(|(engine, time)| {
        let ratio = time / best;
        let verdict = if ratio <= target { "met" } else { "missed" };
        format!(
            "{name:<26} {engine:<21} {time:>7.3} µs, {ratio:.2} of {peer} ({best:.3} µs): \
             {verdict}, at most {target}"
        )
    })
    .collect()
}
