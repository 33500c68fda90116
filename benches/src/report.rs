//! The report of `programs`: milliseconds, ratios, and the project's targets.

use crate::clock::Which;
use crate::contestant::Heap;
use crate::race::{Outcome, Runs};
use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use serde_json::{Value, json};
use std::time::Duration;

/// Engines, and the outcome of each program on each of them.
#[derive(Debug)]
pub struct Results<'a> {
    /// The engines' names.
    pub engines: Vec<&'a str>,
    /// The programs' names, and an outcome for each engine that took part.
    pub rows: Vec<(String, Vec<Option<Outcome>>)>,
    /// The clock for tables and ratios.
    pub clock: Which,
}

/// The start of the name of the engine V8. Its version follows.
pub const V8: &str = "V8";

/// A collector of this project, and the peer's collectors. It is compared with the best of them.
#[derive(Clone, Copy, Debug)]
struct Pair {
    ours: &'static str,
    theirs: &'static [&'static str],
    /// The target for the geometric mean, if there is one.
    mean: Option<f64>,
    /// The target for the worst program, if there is one.
    worst: Option<f64>,
}

const PAIRS: &[Pair] = &[
    Pair {
        ours: "reclaim generational",
        theirs: &["wasmtime copying", "wasmtime drc"],
        mean: Some(0.35),
        worst: Some(0.9),
    },
    Pair { ours: "reclaim generational", theirs: &["wasmtime null"], mean: Some(0.5), worst: None },
    Pair { ours: "reclaim drc", theirs: &["wasmtime drc"], mean: Some(0.18), worst: None },
    Pair { ours: "reclaim copying", theirs: &["wasmtime copying"], mean: None, worst: None },
    Pair { ours: "reclaim null", theirs: &["wasmtime null"], mean: None, worst: None },
    Pair {
        ours: "reclaim generational",
        theirs: &["wasmtime copying 256M"],
        mean: None,
        worst: None,
    },
    Pair { ours: "reclaim copying", theirs: &["wasmtime copying 256M"], mean: None, worst: None },
    Pair { ours: "reclaim generational", theirs: &[V8], mean: Some(0.6), worst: Some(1.0) },
];

impl Pair {
    fn name(self) -> String {
        let ours = self.ours.trim_start_matches("reclaim ");
        let theirs = self.theirs.iter().map(|name| name.replace("wasmtime", "W."));
        let theirs: Vec<String> = theirs.collect();
        match &theirs[..] {
            [one] => format!("{ours} / {one}"),
            _ => format!("{ours} / better of {}", theirs.join(", ")),
        }
    }
}

/// What is shown of a heap.
type Shown = fn(&Heap) -> String;

/// A pair's ratios.
struct Ratios {
    pair: Pair,
    /// For each program: its name and the ratio.
    ratios: Vec<(String, f64)>,
}

impl Ratios {
    fn mean(&self) -> f64 {
        geometric_mean(self.ratios.iter().map(|(_, ratio)| *ratio)).unwrap_or(f64::NAN)
    }

    fn worst(&self) -> (&str, f64) {
        let worst = self.ratios.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        worst.map_or(("", f64::NAN), |(name, ratio)| (name, *ratio))
    }
}

impl Results<'_> {
    /// The runs of an engine. [`V8`] is that of any version.
    fn runs<'a>(&self, outcomes: &'a [Option<Outcome>], engine: &str) -> Option<&'a Runs> {
        let is = |other: &str| other == engine || (engine == V8 && other.starts_with(V8));
        let at = self.engines.iter().position(|other| is(other))?;
        outcomes[at].as_ref()?.as_ref().ok()
    }

    /// The median in seconds of an engine.
    pub(crate) fn seconds(&self, outcomes: &[Option<Outcome>], engine: &str) -> Option<f64> {
        Some(self.runs(outcomes, engine)?.median(self.clock).as_secs_f64())
    }

    /// The ratio of a pair: the median over the turns in which both ran, to the faster one of `theirs`. In a slow minute of the machine both are slow.
    fn ratio(&self, outcomes: &[Option<Outcome>], pair: Pair) -> Option<f64> {
        let ours = self.runs(outcomes, pair.ours)?;
        let theirs = pair.theirs.iter().filter_map(|name| self.runs(outcomes, name));
        theirs.filter_map(|theirs| ours.ratio(theirs, self.clock)).max_by(f64::total_cmp)
    }

    /// The pairs in which both sides ran something.
    fn ratios(&self) -> Vec<Ratios> {
        let of = |pair: Pair| {
            let ratios = self
                .rows
                .iter()
                .filter_map(|(name, outcomes)| Some((name.clone(), self.ratio(outcomes, pair)?)));
            Ratios { pair, ratios: ratios.collect() }
        };
        let all = PAIRS.iter().map(|pair| of(*pair));
        all.filter(|ratios| !ratios.ratios.is_empty()).collect()
    }

    /// A table of milliseconds.
    pub fn milliseconds(&self) -> Table {
        let mut table = table("program", self.engines.iter().map(|name| (*name).to_owned()));
        for (name, outcomes) in &self.rows {
            let cells = outcomes.iter().map(|outcome| match outcome {
                Some(Ok(runs)) => {
                    right(format!("{:.1}", runs.median(self.clock).as_secs_f64() * 1e3))
                }
                Some(Err(_)) => right("failed".to_owned()),
                None => right(String::new()),
            });
            table.add_row(std::iter::once(Cell::new(name)).chain(cells));
        }
        table
    }

    /// A table of the ratios of this project's collectors to the peer's. `None` if no pair ran.
    pub fn ratio_table(&self) -> Option<Table> {
        let all = self.ratios();
        if all.is_empty() {
            return None;
        }
        let mut table = table("program", all.iter().map(|ratios| ratios.pair.name()));
        for (name, _) in &self.rows {
            let cells = all.iter().map(|ratios| {
                let ratio = ratios.ratios.iter().find(|(program, _)| program == name);
                right(ratio.map_or(String::new(), |(_, ratio)| format!("{ratio:.2}")))
            });
            table.add_row(std::iter::once(Cell::new(name)).chain(cells));
        }
        let means = all.iter().map(|ratios| right(format!("{:.2}", ratios.mean())));
        table.add_row(std::iter::once(Cell::new("geometric mean")).chain(means));
        let worst = all.iter().map(|ratios| right(format!("{:.2}", ratios.worst().1)));
        table.add_row(std::iter::once(Cell::new("worst")).chain(worst));
        Some(table)
    }

    /// A row for each pair: the geometric mean and the worst ratio, with the targets if there are any.
    /// `None` if no pair ran.
    pub fn summary(&self) -> Option<Table> {
        let header = ["geometric mean", "target", "worst", "target", "worst program"];
        let mut table = table("ratio", header.map(str::to_owned));
        let all = self.ratios();
        for ratios in &all {
            let Pair { mean, worst, .. } = ratios.pair;
            let (program, ratio) = ratios.worst();
            table.add_row([
                Cell::new(ratios.pair.name()),
                // A mean near its target needs one more digit.
                right(format!("{:.3}", ratios.mean())),
                right(verdict(ratios.mean(), mean)),
                right(format!("{ratio:.2}")),
                right(verdict(ratio, worst)),
                Cell::new(program),
            ]);
        }
        (!all.is_empty()).then_some(table)
    }

    /// Tables of the longest pauses, the sums of pauses and the peaks of heaps, each with its heading. They
    /// have the engines that report them.
    pub fn heaps(&self) -> Vec<(String, Table)> {
        let heap =
            |outcomes: &[Option<Outcome>], at: usize| outcomes[at].as_ref()?.as_ref().ok()?.heap();
        let reports =
            |at: &usize| self.rows.iter().any(|(_, outcomes)| heap(outcomes, *at).is_some());
        let engines: Vec<usize> = (0..self.engines.len()).filter(reports).collect();
        fn ms(time: Duration) -> f64 {
            time.as_secs_f64() * 1e3
        }
        let columns: [(&str, Shown); 4] = [
            ("Collections", |heap| heap.collections.to_string()),
            ("Sum of the pauses, ms", |heap| format!("{:.1}", ms(heap.pause_total))),
            ("Longest pause, ms", |heap| format!("{:.2}", ms(heap.pause_longest))),
            ("Peak of the heap, MiB", |heap| {
                format!("{:.1}", heap.peak_bytes as f64 / f64::from(1 << 20))
            }),
        ];
        let tables = columns.into_iter().filter(|_| !engines.is_empty()).map(|(heading, of)| {
            let names = engines.iter().map(|at| self.engines[*at].to_owned());
            let mut table = table("program", names);
            for (name, outcomes) in &self.rows {
                let cells = engines
                    .iter()
                    .map(|at| heap(outcomes, *at).map_or(String::new(), |heap| of(&heap)));
                table.add_row(std::iter::once(Cell::new(name)).chain(cells.map(right)));
            }
            (heading.to_owned(), table)
        });
        tables.collect()
    }

    /// One JSON object for each engine on the last program.
    pub fn json_of_last(&self) -> Vec<Value> {
        let Some((program, outcomes)) = self.rows.last() else { return Vec::new() };
        let entries = self.engines.iter().zip(outcomes);
        let entries =
            entries.filter_map(|(engine, outcome)| Some(entry(program, engine, outcome.as_ref()?)));
        entries.collect()
    }

    /// One JSON object for each pair.
    pub fn json_of_ratios(&self) -> Vec<Value> {
        let line = |ratios: &Ratios| {
            let (worst_program, worst) = ratios.worst();
            json!({
                "ratio": ratios.pair.name(),
                "clock": self.clock.name(),
                "programs": ratios.ratios.len(),
                "geometric_mean": ratios.mean(),
                "geometric_mean_target": ratios.pair.mean,
                "worst": worst,
                "worst_program": worst_program,
                "worst_target": ratios.pair.worst,
            })
        };
        self.ratios().iter().map(line).collect()
    }

    /// The failures, one per line.
    pub fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, outcomes) in &self.rows {
            for (engine, outcome) in self.engines.iter().zip(outcomes) {
                if let Some(Err(error)) = outcome {
                    lines.push(format!("{name} on {engine}: {error}"));
                }
            }
        }
        lines
    }
}

/// The outcome of a program on an engine as a JSON object: times in seconds, pauses in nanoseconds.
pub fn entry(program: &str, engine: &str, outcome: &Outcome) -> Value {
    let runs = match outcome {
        Ok(runs) => runs,
        Err(error) => return json!({ "program": program, "engine": engine, "error": error }),
    };
    let secs = |clock| {
        json!({
            "median": runs.median(clock).as_secs_f64(),
            "best": runs.best(clock).as_secs_f64(),
        })
    };
    let mut entry = json!({
        "program": program,
        "engine": engine,
        "runs": runs.0.len(),
        "cpu_secs": secs(Which::Cpu),
        "wall_secs": secs(Which::Wall),
    });
    if let Some(heap) = runs.heap() {
        entry["collections"] = heap.collections.into();
        entry["pause_ns"] = json!({
            "total": heap.pause_total.as_nanos() as u64,
            "longest": heap.pause_longest.as_nanos() as u64,
            "p99": heap.pause_p99.as_nanos() as u64,
        });
        entry["peak_heap_bytes"] = heap.peak_bytes.into();
        entry["allocated_bytes"] = heap.allocated_bytes.into();
    }
    entry
}

/// The geometric mean. `None` if there are no values.
pub fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (logs, count) =
        values.fold((0.0, 0), |(logs, count), value| (logs + value.ln(), count + 1));
    (count > 0).then(|| (logs / f64::from(count)).exp())
}

/// Whether a value is at most its target, as the text of a cell. Empty if there is no target.
fn verdict(value: f64, most: Option<f64>) -> String {
    let verdict = |most: f64| if value <= most { "met" } else { "MISSED" };
    most.map_or(String::new(), |most| format!("{most:.2}: {}", verdict(most)))
}

/// Whether a value is at most its target, as text. Empty if there is no target.
pub fn target(value: f64, most: Option<f64>) -> String {
    match most {
        Some(_) => format!(" (target {})", verdict(value, most)),
        None => String::new(),
    }
}

/// A Markdown table with this header.
pub fn table(first: &str, header: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let header = header.into_iter().map(right);
    table.set_header(std::iter::once(Cell::new(first)).chain(header));
    table
}

/// A table as Markdown without padding. Columns of numbers are aligned at the right.
pub fn markdown(table: &Table) -> String {
    let cells = |row: &Row| -> Vec<String> { row.cell_iter().map(Cell::content).collect() };
    let header = table.header().map(cells).unwrap_or_default();
    let mut rows: Vec<Vec<String>> = table.row_iter().map(cells).collect();
    rows.iter_mut().for_each(|row| row.resize(header.len(), String::new()));
    let marks = (0..header.len()).map(|column| {
        let mut texts = rows.iter().map(|row| row[column].as_str()).filter(|text| !text.is_empty());
        // What was not measured stands as `-`.
        let number = |text: &str| {
            text == "-"
                || text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit())
        };
        if column > 0 && texts.all(number) { "--:" } else { "---" }
    });
    let mut text =
        format!("| {} |\n|{}|\n", header.join(" | "), marks.collect::<Vec<_>>().join("|"));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

/// A right-aligned cell.
pub fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
