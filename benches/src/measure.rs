//! The criterion benches. Each measurement runs in a fresh store, or in several, so that a collector that
//! never collects does not fill its heap.
//!
//! Criterion runs one engine after the other, and a slow minute of the machine affects only some of them. So
//! in each of its samples an engine of this project takes turns with the fastest of Wasmtime's, and the ratio
//! is the median over the samples. All times are processor time of the thread.

use crate::clock::Spent;
use crate::record::{Record, Subject};
use crate::report::{right, table};
use crate::{Call, Contestant, Settings, contestants};
use anyhow::{Context, Result, ensure};
use comfy_table::Cell;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::time::Duration;

/// A sample that is shorter is one of those with which criterion warms up.
const SHORTEST: Duration = Duration::from_millis(1);

/// The columns of the table.
const COLUMNS: [&str; 5] = ["operation", "engine", "ns", "of Wasmtime's fastest", "target"];

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

/// What one engine takes.
#[derive(Clone, Debug)]
struct Sampled {
    engine: String,
    /// Nanoseconds of each sample for one operation.
    times: Vec<f64>,
    /// The ratios to the engine that takes turns with it.
    ratios: Vec<f64>,
}

/// A criterion bench, with a table of what it has measured.
#[expect(missing_debug_implementations, reason = "criterion has none")]
pub struct Bench {
    criterion: Criterion,
    record: Record,
    rows: Vec<[String; COLUMNS.len()]>,
    engines: Vec<Box<dyn Contestant>>,
}

impl Bench {
    /// Criterion with settings for these benches and those of the command line, and every collector.
    ///
    /// # Errors
    /// If an engine cannot be made.
    pub fn new(subject: Subject) -> Result<Bench> {
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args();
        let engines = contestants(&Settings::default())?;
        let mut record = Record::new(subject);
        record.engines(engines.iter().map(|engine| engine.name()));
        Ok(Bench { criterion, record, rows: Vec::new(), engines })
    }

    /// Times a loop under every collector.
    ///
    /// # Errors
    /// If it fails or gives another answer under one of them.
    pub fn loops(&mut self, group: &str, it: Loop) -> Result<()> {
        let time = |contestant: &dyn Contestant, times: u64| -> Result<Duration> {
            let module = contestant.compile(it.wat)?;
            let mut total = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let now = left.min(it.calls_per_store);
                let (answer, spent) = module.start()?.repeat(it.export, it.arg, now)?;
                ensure!(answer == it.answer, "it answered {answer}, not {}", it.answer);
                total += spent.cpu;
                left -= now;
            }
            Ok(total)
        };
        let engines = std::mem::take(&mut self.engines);
        self.compare(group, it.elements, &engines, None, time)?;
        self.engines = engines;
        Ok(())
    }

    /// Times a call from the host under every collector.
    ///
    /// # Errors
    /// If it fails.
    pub fn calls(&mut self, group: &str, wat: &str, call: Call) -> Result<()> {
        let engines = std::mem::take(&mut self.engines);
        self.compare(group, 1, &engines, None, |contestant, times| {
            contestant.compile(wat)?.start()?.call(call, times).map(|spent: Spent| spent.cpu)
        })?;
        self.engines = engines;
        Ok(())
    }

    /// Times something under some engines. The target is for the ratio to Wasmtime's fastest.
    ///
    /// # Errors
    /// If it fails.
    pub fn compare(
        &mut self,
        group: &str,
        elements: u64,
        engines: &[Box<dyn Contestant>],
        target: Option<f64>,
        time: impl Fn(&dyn Contestant, u64) -> Result<Duration>,
    ) -> Result<()> {
        let of = |contestant: &dyn Contestant, times: u64| {
            let time = time(contestant, times).with_context(|| contestant.name().to_owned());
            time.unwrap_or_else(|error| panic!("{error:#}"))
        };
        // Here an error ends the bench. In a bench of criterion it is a panic.
        engines.iter().try_for_each(|engine| time(&**engine, 1).map(drop))?;
        let mut benches: BenchmarkGroup<'_, WallTime> = self.criterion.benchmark_group(group);
        benches.throughput(Throughput::Elements(elements));
        let mut all: Vec<Sampled> = Vec::new();
        // Wasmtime's first, because the others take turns with the fastest of them.
        let (ours, peers): (Vec<_>, Vec<_>) =
            engines.iter().partition(|engine| !engine.name().starts_with("wasmtime"));
        let mut fastest: Option<&dyn Contestant> = None;
        for engine in peers.iter().chain(&ours) {
            let partner = fastest.filter(|_| !engine.name().starts_with("wasmtime"));
            let engine_name = engine.name().to_owned();
            let mut sampled = Sampled { engine: engine_name, times: vec![], ratios: vec![] };
            benches.bench_function(BenchmarkId::from_parameter(engine.name()), |bencher| {
                bencher.iter_custom(|times| {
                    let spent = of(&***engine, times);
                    let other = partner.map(|partner| of(partner, times));
                    if spent >= SHORTEST {
                        let each = spent.as_secs_f64() * 1e9 / (times * elements) as f64;
                        sampled.times.push(each);
                        let ratio = other.map(|other| spent.as_secs_f64() / other.as_secs_f64());
                        sampled.ratios.extend(ratio);
                    }
                    spent
                });
            });
            all.push(sampled);
            if all.len() == peers.len() {
                let best = all.iter().enumerate().filter_map(|(at, it)| Some((at, it.median()?)));
                let best = best.min_by(|a, b| a.1.total_cmp(&b.1));
                fastest = best.map(|(at, _)| &**peers[at]);
            }
        }
        benches.finish();
        let fastest = fastest.map(|engine| engine.name().to_owned());
        self.add(group, &all, fastest.as_deref(), target);
        Ok(())
    }

    /// Adds a row for each engine that was measured.
    fn add(&mut self, group: &str, all: &[Sampled], fastest: Option<&str>, target: Option<f64>) {
        let peer = all.iter().find(|it| Some(&*it.engine) == fastest).and_then(Sampled::median);
        let (ours, peers): (Vec<_>, Vec<_>) =
            all.iter().partition(|it| !it.engine.starts_with("wasmtime"));
        for it in ours.into_iter().chain(peers) {
            let Some(time) = it.median() else { continue };
            let ours = !it.engine.starts_with("wasmtime");
            let ratio = if ours { median(&it.ratios) } else { peer.map(|peer| time / peer) };
            let verdict = match (ratio, target.filter(|_| ours)) {
                (Some(ratio), Some(most)) if ratio <= most => format!("met (at most {most})"),
                (Some(_), Some(most)) => format!("missed (at most {most})"),
                _ => String::new(),
            };
            self.rows.push([
                group.to_owned(),
                it.engine.clone(),
                format!("{time:.2}"),
                ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
                verdict,
            ]);
        }
    }

    /// Prints the table, and writes it if that is asked for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.criterion.final_summary();
        // Most benches have no targets.
        let targets = self.rows.iter().any(|row| !row[COLUMNS.len() - 1].is_empty());
        let columns = COLUMNS.len() - usize::from(!targets);
        let mut rows = table(COLUMNS[0], COLUMNS[1..columns].iter().map(ToString::to_string));
        for [operation, engine, numbers @ ..] in &self.rows {
            let numbers = numbers[..columns - 2].iter().cloned().map(right);
            rows.add_row([Cell::new(operation), Cell::new(engine)].into_iter().chain(numbers));
        }
        if !self.rows.is_empty() {
            self.record.table("Processor time of one operation", &rows);
        }
        self.record.finish()
    }
}

impl Sampled {
    fn median(&self) -> Option<f64> {
        median(&self.times)
    }
}

/// The median. `None` if there are no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
