//! Timing of the criterion benches. Each measurement runs in a fresh store, or in several, so that
//! a collector that never collects does not fill its heap.

use crate::{Call, Contestant, Settings, contestants};
use anyhow::{Context, Result, ensure};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::Duration;

/// Criterion with settings for these benches, and those of the command line.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// A loop in WebAssembly: `export(arg)`, which does the measured operation `elements` times.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// The module, in the text format.
    pub wat: &'static str,
    /// The name of an export from `i32` to `i32`.
    pub export: &'static str,
    /// Its argument.
    pub arg: i32,
    /// The expected answer.
    pub answer: i32,
    /// Number of measured operations.
    pub elements: u64,
    /// Number of calls in one store. Making the next store is not timed.
    pub calls_per_store: u64,
}

/// Times a loop under every collector.
///
/// # Panics
/// If it fails or gives another answer under one of them.
pub fn compare_loops(c: &mut Criterion, group: &str, it: Loop) {
    let time = |contestant: &dyn Contestant, times: u64| -> Result<Duration> {
        let module = contestant.compile(it.wat)?;
        let mut total = Duration::ZERO;
        let mut left = times;
        while left > 0 {
            let now = left.min(it.calls_per_store);
            let (answer, time) = module.start()?.repeat(it.export, it.arg, now)?;
            ensure!(answer == it.answer, "it answered {answer}, not {}", it.answer);
            total += time;
            left -= now;
        }
        Ok(total)
    };
    compare(c, group, it.elements, time);
}

/// Times a call from the host under every collector.
///
/// # Panics
/// If it fails.
pub fn compare_calls(c: &mut Criterion, group: &str, wat: &str, call: Call) {
    compare(c, group, 1, |contestant, times| contestant.compile(wat)?.start()?.call(call, times));
}

fn compare(
    c: &mut Criterion,
    group: &str,
    elements: u64,
    time: impl Fn(&dyn Contestant, u64) -> Result<Duration>,
) {
    let mut group: BenchmarkGroup<'_, WallTime> = c.benchmark_group(group);
    group.throughput(Throughput::Elements(elements));
    for contestant in contestants(&Settings::default()).expect("engines") {
        let name = contestant.name();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|times| {
                let result = time(&*contestant, times).with_context(|| name.to_owned());
                result.unwrap_or_else(|error| panic!("{error:#}"))
            });
        });
    }
    group.finish();
}
