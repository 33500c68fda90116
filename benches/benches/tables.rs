//! `table.get` and `table.set` of externrefs in a loop: the read and write barriers.

use anyhow::Result;
use gc_benches::measure::{Bench, Loop};
use gc_benches::record::Subject;

const SUBJECT: Subject = Subject {
    name: "tables",
    title: "Tables of externrefs",
    about: "`table.get` and `table.set` of externrefs in a loop, with the barriers of each collector. `swap` \
            does both. Engines are timed one after the other, and each of this project takes turns with \
            Wasmtime's fastest. Times and ratios are medians of 20 samples or more.",
};

const ITERATIONS: i32 = 10_000;

fn main() -> Result<()> {
    let mut bench = Bench::new(SUBJECT)?;
    for export in ["get", "set", "swap"] {
        let it = Loop {
            wat: include_str!("../wat/tables.wat"),
            export,
            arg: ITERATIONS,
            answer: 0,
            elements: ITERATIONS as u64,
            calls_per_store: u64::MAX,
        };
        bench.loops(&format!("table.{export} externref"), it)?;
    }
    bench.finish()
}
