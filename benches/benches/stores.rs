//! Making a store and an instance in it, and dropping both: on demand, and from a pool. The cases are
//! a module with one function, a module with GC types, the same with one call, which allocates an
//! object, and modules that import functions of the host, which are made once for all stores.
//!
//! The targets are for the ratios to the fastest collector of Wasmtime with the same strategy.

use anyhow::Result;
use gc_benches::measure::Bench;
use gc_benches::record::Subject;
use gc_benches::{Settings, peer, reclaim};

const SUBJECT: Subject = Subject {
    name: "stores",
    title: "A store with an instance",
    about: "Making a store and an instance in it, and dropping both: on demand, and from a pool. The modules \
            have one function, or GC types, or import functions of the host, which are made once for all \
            stores. `one object` is a call that allocates one. Engines are timed one after the other, and \
            each of this project takes turns with Wasmtime's fastest. Times and ratios are medians of 20 \
            samples or more.",
};

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

fn main() -> Result<()> {
    let settings = Settings::default();
    let on_demand = gc_benches::contestants(&settings)?;
    let mut pooled = reclaim::pooled(&settings)?;
    pooled.extend(peer::pooled(&settings)?);
    let mut bench = Bench::new(SUBJECT)?;
    for case in &cases() {
        for (strategy, engines, target) in
            [("on demand", &on_demand, case.targets[0]), ("pooled", &pooled, case.targets[1])]
        {
            let name = format!("{} ({strategy})", case.name);
            bench.compare(&name, 1, engines, Some(target), |engine, times| {
                Ok(engine.compile(&case.wat)?.instances(case.export, times)?.cpu)
            })?;
        }
    }
    bench.finish()
}
