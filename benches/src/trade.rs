//! What memory buys: the time of programs beside the peak of their heaps, under each collector and
//! growth policy.

use crate::clock::Which;
use crate::plot::Mark;
use crate::plot::axis::Axis;
use crate::plot::curves::{Curves, Line, Point};
use crate::race::{Outcome, Rules, race};
use crate::reclaim::{HeapPolicy, LARGEST, UNUSED, bounded};
use crate::report::{geometric_mean, right, table};
use crate::suite::Program;
use crate::watched::Watched;
use crate::{Contestant, Settings};
use anyhow::Result;
use comfy_table::{Cell, Table};
use gc_wasm::Collector;
use serde_json::{Value, json};
use std::time::Duration;

/// The policies, from little to much memory.
const POLICIES: [HeapPolicy; 4] =
    [HeapPolicy::Memory, HeapPolicy::Balanced, HeapPolicy::Throughput, HeapPolicy::Fixed];

/// A call that takes more processor time fails.
const LIMIT: Duration = Duration::from_secs(600);

/// A collector with a policy.
#[derive(Clone, Debug)]
pub struct Side {
    /// The collector's name.
    pub collector: String,
    /// Its policy.
    pub policy: HeapPolicy,
}

/// The outcomes of all programs.
#[derive(Clone, Debug, Default)]
pub struct Trade {
    /// Collectors and policies.
    pub sides: Vec<Side>,
    /// For each program its name, and the outcome of each side.
    pub rows: Vec<(String, Vec<Outcome>)>,
}

/// The time and the memory of a side.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// The median of the processor time in seconds.
    pub secs: f64,
    /// The highest peak of the heap in bytes.
    pub peak: f64,
}

/// Geometric means of a side over programs.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// Of the ratios to the least time of each program.
    pub time: f64,
    /// Of the ratios to the least peak of each program.
    pub peak: f64,
    /// The number of programs that completed.
    pub programs: usize,
}

/// Runs the programs under each of the collectors with each policy. A heap of the policy `fixed` is
/// `fixed` times as large as the peak that the program has under the collector with `balanced`. Answers
/// that differ are added to `wrong`.
///
/// # Errors
/// If an engine cannot be made, or a program cannot be compiled.
pub fn measure(
    programs: &[Program],
    collectors: &[Collector],
    settings: &Settings,
    fixed: f64,
    rules: Rules,
    wrong: &mut Vec<String>,
) -> Result<Trade> {
    let engine = |collector: &Collector, policy: HeapPolicy, maximum: u64| -> Result<Watched> {
        let name = format!("{} {policy}", collector.name());
        let inner = bounded(settings, collector, policy, maximum)?;
        Ok(Watched { name, inner, limit: LIMIT })
    };
    let sides = collectors.iter().flat_map(|collector| {
        let collector = collector.name().to_owned();
        POLICIES.into_iter().map(move |policy| Side { collector: collector.clone(), policy })
    });
    let mut trade = Trade { sides: sides.collect(), rows: Vec::new() };
    for program in programs {
        let mut engines = Vec::new();
        for collector in collectors {
            for policy in POLICIES {
                let mut maximum = LARGEST;
                if policy == HeapPolicy::Fixed {
                    let balanced = engine(collector, HeapPolicy::Balanced, LARGEST)?;
                    let peak = (peak(program, &balanced, rules)? as f64 * fixed) as u64;
                    maximum = peak.saturating_add(UNUSED).clamp(2 * UNUSED, LARGEST);
                }
                engines.push(engine(collector, policy, maximum)?);
            }
        }
        let engines: Vec<Option<&dyn Contestant>> =
            engines.iter().map(|engine| Some(engine as &dyn Contestant)).collect();
        let outcomes = race(program, &engines, rules, wrong)?;
        trade.rows.push((program.name.clone(), outcomes.into_iter().flatten().collect()));
    }
    Ok(trade)
}

/// The peak of the heap in a run of the program. Zero if the run fails, which other runs will report.
fn peak(program: &Program, engine: &dyn Contestant, rules: Rules) -> Result<u64> {
    let mut running = engine.compile(&program.wat)?.start()?;
    let ran = running.run(&program.export, rules.arg.unwrap_or(program.arg));
    Ok(if ran.is_ok() { running.heap().unwrap_or_default().peak_bytes } else { 0 })
}

fn used(outcome: &Outcome) -> Option<Use> {
    let runs = outcome.as_ref().ok()?;
    let peaks = runs.0.iter().filter_map(|run| run.heap).map(|heap| heap.peak_bytes);
    // A program that allocates nothing has no heap. Its peak counts as a page.
    let peak = peaks.max()?.max(4096) as f64;
    Some(Use { secs: runs.median(Which::Cpu).as_secs_f64(), peak })
}

impl Trade {
    /// The means of a side. `None` if no program completed.
    pub fn mean(&self, side: usize) -> Option<Mean> {
        let least = |outcomes: &[Outcome], of: fn(&Use) -> f64| {
            let all = outcomes.iter().filter_map(used).map(|used| of(&used));
            all.fold(f64::INFINITY, f64::min)
        };
        let ratios = self.rows.iter().filter_map(|(_, outcomes)| {
            let Use { secs, peak } = used(outcomes.get(side)?)?;
            Some((secs / least(outcomes, |it| it.secs), peak / least(outcomes, |it| it.peak)))
        });
        let ratios: Vec<(f64, f64)> = ratios.collect();
        Some(Mean {
            time: geometric_mean(ratios.iter().map(|it| it.0))?,
            peak: geometric_mean(ratios.iter().map(|it| it.1))?,
            programs: ratios.len(),
        })
    }

    /// A line of JSON for each program and side, and for each mean.
    pub fn json(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for (program, outcomes) in &self.rows {
            for (side, outcome) in self.sides.iter().zip(outcomes) {
                let (engine, policy) = (&side.collector, side.policy.to_string());
                let mut line = json!({ "program": program, "engine": engine, "policy": policy });
                match (used(outcome), outcome) {
                    (Some(used), _) => {
                        line["cpu_secs"] = used.secs.into();
                        line["peak_bytes"] = (used.peak as u64).into();
                    }
                    (None, Err(error)) => line["error"] = error.as_str().into(),
                    (None, Ok(_)) => line["error"] = "no statistics".into(),
                }
                lines.push(line);
            }
        }
        for (i, side) in self.sides.iter().enumerate() {
            if let Some(mean) = self.mean(i) {
                lines.push(json!({
                    "geometric_mean": side.collector,
                    "policy": side.policy.to_string(),
                    "time": mean.time,
                    "peak": mean.peak,
                    "programs": mean.programs,
                }));
            }
        }
        lines
    }

    /// The means as a table.
    pub fn table(&self) -> Table {
        let header = ["policy", "time", "peak", "programs"];
        let mut table = table("collector", header.map(str::to_owned));
        for (i, side) in self.sides.iter().enumerate() {
            let mut cells = vec![Cell::new(&side.collector), right(side.policy.to_string())];
            if let Some(Mean { time, peak, programs }) = self.mean(i) {
                cells.push(right(format!("{time:.2}")));
                cells.push(right(format!("{peak:.2}")));
                cells.push(right(format!("{programs} of {}", self.rows.len())));
            }
            table.add_row(cells);
        }
        table
    }

    /// The failures, one per line.
    pub fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (program, outcomes) in &self.rows {
            for (Side { collector, policy }, outcome) in self.sides.iter().zip(outcomes) {
                if let Err(error) = outcome {
                    lines.push(format!("{program} on {collector}, {policy}: {error}"));
                }
            }
        }
        lines
    }

    /// The means as a picture: time over peak, with a line for each collector.
    pub fn picture(&self) -> Curves {
        let mut lines: Vec<Line> = Vec::new();
        for (i, side) in self.sides.iter().enumerate() {
            let (Some(mean), Some(mark)) = (self.mean(i), Mark::of(&side.collector)) else {
                continue;
            };
            if lines.last().is_none_or(|line| line.name != side.collector) {
                let name = side.collector.clone();
                lines.push(Line { name, mark, points: Vec::new(), cloud: Vec::new() });
            }
            if let Some(line) = lines.last_mut() {
                line.points.push(Point {
                    x: mean.peak,
                    y: mean.time,
                    label: side.policy.to_string(),
                    complete: mean.programs == self.rows.len(),
                });
            }
        }
        let points = || lines.iter().flat_map(|line| &line.points);
        // The names of the points need room at the right.
        let x = points().flat_map(|it| [it.x, it.x * 1.3]);
        Curves {
            title: "Time over memory: further left is less memory, further down is less time"
                .to_owned(),
            note: "Geometric means over the programs. An outline: some programs did not complete."
                .to_owned(),
            x: Axis::over("peak of the heap / the least peak of the program", x),
            y: Axis::over("processor time / the least of the program", points().map(|it| it.y)),
            rule: None,
            lines,
        }
    }
}
