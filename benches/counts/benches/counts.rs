//! The benchmarks whose instructions are counted, for `gungraun`. Each runs the program `gc-counts`
//! in a process of its own, under valgrind. `ci/counts` runs them all, and compares their counts with
//! those of `counts.txt`.
//!
//! The environment variable `GC_COUNTS` is the path of the program.
// What the macros of gungraun make has no documentation.
#![allow(missing_docs)]

use gungraun::prelude::*;
use gungraun::{
    Bench, BinaryBenchmark, BinaryBenchmarkGroup, Callgrind, CallgrindMetrics, Command, EntryPoint,
    EventKind,
};

/// A benchmark, with the last arguments of the program.
struct Case {
    name: &'static str,
    collectors: &'static [&'static str],
    work: &'static str,
    module: &'static str,
    export: &'static str,
    warm: u32,
    rounds: u32,
}

/// Every collector: what it has to do differs.
const ALL: &[&str] = &["null", "drc", "copying", "generational"];
/// Those that collect.
const COLLECTING: &[&str] = &["drc", "copying", "generational"];
/// The default, where the collector does not matter.
const DEFAULT: &[&str] = &["generational"];

/// A function that is called once. Its loop has 5000 rounds.
const fn call(
    name: &'static str,
    collectors: &'static [&'static str],
    module: &'static str,
    export: &'static str,
) -> Case {
    Case { name, collectors, work: "call", module, export, warm: 70, rounds: 5000 }
}

const CASES: &[Case] = &[
    // Objects that are garbage at once, and objects that survive.
    Case { rounds: 20_000, ..call("allocate", ALL, "allocation", "garbage") },
    Case { warm: 4, rounds: 13, ..call("tree", ALL, "allocation", "tree") },
    // Barriers.
    call("write_young", ALL, "accesses", "write_young"),
    Case { warm: 1, rounds: 1024, ..call("write_old", ALL, "accesses", "write_old") },
    call("write_elements", ALL, "accesses", "write_elements"),
    call("table", ALL, "operations", "table"),
    call("global", ALL, "operations", "global"),
    Case { rounds: 500, ..call("copy_refs_256", ALL, "operations", "copy_refs_256") },
    // Reads, and what has no barriers.
    call("chain", DEFAULT, "accesses", "chain"),
    call("numbers", DEFAULT, "accesses", "numbers"),
    call("copy_bytes_16", DEFAULT, "operations", "copy_bytes_16"),
    call("fill_bytes_256", DEFAULT, "operations", "fill_bytes_256"),
    call("casts", DEFAULT, "operations", "casts"),
    call("i31", DEFAULT, "operations", "i31"),
    call("closures", DEFAULT, "operations", "closures_64"),
    // A whole collection: of a tree that is garbage, and of a ring that is live.
    Case { warm: 13, work: "collect", ..call("collect_garbage", COLLECTING, "allocation", "tree") },
    Case { work: "collect", ..call("collect_live", COLLECTING, "accesses", "chain") },
    // The host.
    Case { work: "enter", rounds: 100, ..call("host_to_wasm", DEFAULT, "calls", "host nop") },
    Case { rounds: 100, ..call("wasm_to_host", DEFAULT, "calls", "host add") },
    Case { rounds: 100, ..call("wasm_to_host_ref", ALL, "calls", "host same") },
    Case { work: "compile", ..call("compile", DEFAULT, "accesses", "chain") },
];

fn benchmarks(group: &mut BinaryBenchmarkGroup) {
    let program = std::env::var("GC_COUNTS").unwrap_or_else(|_| "gc-counts".to_owned());
    for case in CASES {
        let mut benchmark = BinaryBenchmark::new(case.name);
        for collector in case.collectors {
            let (warm, rounds) = (case.warm.to_string(), case.rounds.to_string());
            let args = [case.work, collector, case.module, case.export, &warm, &rounds];
            let command = Command::new(&program).args(args).build();
            benchmark.bench(Bench::new(*collector).command(command));
        }
        group.binary_benchmark(benchmark);
    }
}

/// Only the function `measured` is counted.
fn settings() -> BinaryBenchmarkConfig {
    let entry = EntryPoint::Custom("gc_counts::measured".to_owned());
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.entry_point(entry).format([CallgrindMetrics::SingleEvent(EventKind::Ir)]);
    let mut settings = BinaryBenchmarkConfig::default();
    settings.tool(callgrind);
    settings
}

binary_benchmark_group!(name = counts, benchmarks = |group| benchmarks(group));
main!(config = settings(), binary_benchmark_groups = counts);
