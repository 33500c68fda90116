//! The price of collection, by the method of Zixian Cai, Stephen M. Blackburn, Michael D. Bond and
//! Martin Maas, "Distilling the Real Cost of Production Garbage Collectors" (ISPASS 2022).
//!
//! Nobody can run a program with a collector that costs nothing. But of each run we know the total
//! time and the time in collections. The total without the collections still contains what barriers,
//! allocation and the places of objects cost. So the least of these differences, over all collectors
//! and heap sizes, is at least what the program itself takes. The *price* of a collector in a heap
//! is its total divided by that least difference. It is a lower bound of what the collector costs.
//!
//! Heaps are multiples of the smallest heap in which the program completes under any collector, so
//! that collectors are compared in the same memory.

use crate::clock::Which;
use crate::race::{Outcome, Rules, Run, Runs, race};
use crate::reclaim::{HeapPolicy, LARGEST, UNUSED, bounded};
use crate::report::geometric_mean;
use crate::suite::Program;
use crate::watched::Watched;
use crate::{Contestant, Settings};
use anyhow::{Context, Result, ensure};
use gc_wasm::Collector;
use std::time::Duration;

/// The conditions of the measurement.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// The collectors.
    pub collectors: Vec<Collector>,
    /// The heaps, as multiples of the smallest.
    pub sizes: Vec<f64>,
    /// The least heap of the search, in bytes that can hold objects.
    pub least: u64,
    /// How heaps grow up to their sizes.
    pub policy: HeapPolicy,
    /// A heap is too small if the program takes more than this many times as long in it as in the
    /// largest heap.
    pub patience: f64,
    /// The other settings.
    pub settings: Settings,
    /// The runs.
    pub rules: Rules,
}

/// A time limit is never shorter. The times of short runs vary more.
const LEAST_LIMIT: Duration = Duration::from_millis(200);

/// A limit that no program of the benches reaches.
const UNLIMITED: Duration = Duration::from_secs(3600);

/// The precision of the smallest heap.
const PRECISION: f64 = 1.05;

/// The smallest heap in which a program completes.
#[derive(Clone, Debug)]
pub struct Smallest {
    /// Its bytes that can hold objects.
    pub bytes: u64,
    /// The collector that needs the least.
    pub collector: String,
}

/// A collector in a heap of a size.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The collector's name.
    pub collector: String,
    /// The size as a multiple of the smallest heap. `None` for a collector that frees nothing, which
    /// runs in the largest heap.
    pub size: Option<f64>,
    /// The size in bytes, without those that hold no objects.
    pub bytes: u64,
    /// The runs.
    pub outcome: Outcome,
}

/// What was measured of a program.
#[derive(Clone, Debug)]
pub struct Priced {
    /// The program's name.
    pub program: String,
    /// Its smallest heap.
    pub smallest: Smallest,
    /// All collectors in all sizes.
    pub entries: Vec<Entry>,
}

/// The time that a run spent in collections. Pauses are measured in wall-clock time. Of the processor
/// time they have the same share as of the wall-clock time.
fn collecting(run: &Run, clock: Which) -> f64 {
    let wall = run.spent.wall.as_secs_f64().max(f64::MIN_POSITIVE);
    let share = run.heap.unwrap_or_default().pause_total.as_secs_f64() / wall;
    run.spent.by(clock).as_secs_f64() * share.min(1.0)
}

/// The median of some times of each run, in seconds.
fn median(runs: &Runs, time: impl Fn(&Run) -> f64) -> f64 {
    let mut times: Vec<f64> = runs.0.iter().map(time).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Entry {
    /// The median of the total time, in seconds.
    pub fn total(&self, clock: Which) -> Option<f64> {
        let runs = self.outcome.as_ref().ok()?;
        Some(median(runs, |run| run.spent.by(clock).as_secs_f64()))
    }

    /// The median of the time in collections, in seconds.
    pub fn collecting(&self, clock: Which) -> Option<f64> {
        Some(median(self.outcome.as_ref().ok()?, |run| collecting(run, clock)))
    }

    /// The median of the rest of the time, in seconds.
    pub fn distilled(&self, clock: Which) -> Option<f64> {
        let rest = |run: &Run| run.spent.by(clock).as_secs_f64() - collecting(run, clock);
        Some(median(self.outcome.as_ref().ok()?, rest))
    }
}

impl Priced {
    /// The least time without collections, in seconds.
    pub fn least(&self, clock: Which) -> Option<f64> {
        self.entries.iter().filter_map(|entry| entry.distilled(clock)).min_by(f64::total_cmp)
    }

    /// The price of a collector in a size.
    pub fn price(&self, entry: &Entry, clock: Which) -> Option<f64> {
        Some(entry.total(clock)? / self.least(clock)?)
    }

    /// The entry of a collector and a size.
    pub fn entry(&self, collector: &str, size: Option<f64>) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.collector == collector && entry.size == size)
    }
}

/// A geometric mean over programs.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// The number of programs that completed.
    pub programs: usize,
}

/// The geometric mean of the prices of a collector in a size, over the programs that completed.
pub fn mean(all: &[Priced], collector: &str, size: Option<f64>, clock: Which) -> Option<Mean> {
    let price = |priced: &Priced| priced.price(priced.entry(collector, size)?, clock);
    let prices: Vec<f64> = all.iter().filter_map(price).collect();
    let programs = prices.len();
    Some(Mean { value: geometric_mean(prices.into_iter())?, programs })
}

/// Whether a collector frees nothing, so that its heap cannot be small.
pub fn frees_nothing(collector: &Collector) -> bool {
    collector.name() == "null"
}

/// Measures a program. Answers that differ from the expected ones are added to `wrong`.
///
/// # Errors
/// If the program does not complete in the largest heap, or an engine cannot be made.
pub fn measure(
    program: &Program,
    conditions: &Conditions,
    wrong: &mut Vec<String>,
) -> Result<Priced> {
    let search = Search::new(program, conditions)?;
    let smallest = search.smallest()?;
    let mut entries = Vec::new();
    for collector in &conditions.collectors {
        let sizes: Vec<(Option<f64>, u64)> = if frees_nothing(collector) {
            vec![(None, LARGEST - UNUSED)]
        } else {
            let bytes = |size: f64| (smallest.bytes as f64 * size) as u64;
            conditions.sizes.iter().map(|size| (Some(*size), bytes(*size))).collect()
        };
        for (size, bytes) in sizes {
            let engine = search.engine(collector, bytes)?;
            entries.push((collector.name().to_owned(), size, bytes, engine));
        }
    }
    let engines: Vec<Option<&dyn Contestant>> =
        entries.iter().map(|(.., engine)| Some(engine as &dyn Contestant)).collect();
    let outcomes = race(program, &engines, conditions.rules, wrong)?;
    let entries = entries.into_iter().zip(outcomes).filter_map(|(entry, outcome)| {
        let (collector, size, bytes, _) = entry;
        Some(Entry { collector, size, bytes, outcome: outcome? })
    });
    Ok(Priced { program: program.name.clone(), smallest, entries: entries.collect() })
}

/// The search for the smallest heap of a program.
struct Search<'a> {
    program: &'a Program,
    conditions: &'a Conditions,
    arg: i32,
    limit: Duration,
}

impl<'a> Search<'a> {
    /// Measures how long the program takes in the largest heap.
    fn new(program: &'a Program, conditions: &'a Conditions) -> Result<Search<'a>> {
        let arg = conditions.rules.arg.unwrap_or(program.arg);
        let mut fastest: Option<Duration> = None;
        for collector in conditions.collectors.iter().filter(|it| !frees_nothing(it)) {
            let engine = bounded(&conditions.settings, collector, HeapPolicy::Balanced, LARGEST)?;
            let module = engine.compile(&program.wat)?;
            let ran = module.start()?.run(&program.export, arg);
            let (_, spent) =
                ran.with_context(|| format!("{} on {}", program.name, engine.name()))?;
            fastest = Some(fastest.map_or(spent.cpu, |other| other.min(spent.cpu)));
        }
        let limit = fastest.context("no collector that frees memory is chosen")?;
        let limit = limit.mul_f64(conditions.patience).max(LEAST_LIMIT);
        Ok(Search { program, conditions, arg, limit })
    }

    /// A collector in a heap of this size, of which all bytes can hold objects.
    fn engine(&self, collector: &Collector, bytes: u64) -> Result<Watched> {
        let Conditions { settings, policy, .. } = self.conditions;
        let inner =
            bounded(settings, collector, *policy, bytes.saturating_add(UNUSED).min(LARGEST))?;
        let name = format!("{} in {} KiB", collector.name(), bytes >> 10);
        // What frees nothing has no heap that is too small.
        let limit = if frees_nothing(collector) { UNLIMITED } else { self.limit };
        Ok(Watched { name, inner, limit })
    }

    fn completes(&self, collector: &Collector, bytes: u64) -> Result<bool> {
        let module = self.engine(collector, bytes)?.compile(&self.program.wat)?;
        Ok(module.start()?.run(&self.program.export, self.arg).is_ok())
    }

    /// The smallest heap of all collectors.
    fn smallest(&self) -> Result<Smallest> {
        let mut found: Option<Smallest> = None;
        for collector in self.conditions.collectors.iter().filter(|it| !frees_nothing(it)) {
            let bytes = match &found {
                None => Some(self.search_up(collector)?),
                Some(Smallest { bytes, .. }) => self.below(collector, *bytes)?,
            };
            if let Some(bytes) = bytes {
                found = Some(Smallest { bytes, collector: collector.name().to_owned() });
            }
        }
        found.context("no collector that frees memory is chosen")
    }

    /// Doubles the heap until the program completes, then divides the last step.
    fn search_up(&self, collector: &Collector) -> Result<u64> {
        let least = self.conditions.least;
        let mut high = least;
        while !self.completes(collector, high)? {
            let program = &self.program.name;
            ensure!(
                high < LARGEST - UNUSED,
                "{program}: no heap is large enough for {collector:?}"
            );
            high = (high * 2).min(LARGEST - UNUSED);
        }
        if high == least {
            return Ok(high);
        }
        self.between(collector, (high / 2).max(least), high)
    }

    /// A smaller heap than `bytes`, if there is one for this collector.
    fn below(&self, collector: &Collector, bytes: u64) -> Result<Option<u64>> {
        let next = (bytes as f64 / PRECISION) as u64;
        if next < self.conditions.least || !self.completes(collector, next)? {
            return Ok(None);
        }
        self.between(collector, self.conditions.least, next).map(Some)
    }

    /// The smallest heap between one that is too small, or the least, and one that is large enough.
    fn between(&self, collector: &Collector, mut low: u64, mut high: u64) -> Result<u64> {
        while high as f64 > low as f64 * PRECISION {
            let middle = (low as f64 * high as f64).sqrt() as u64;
            if self.completes(collector, middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }
}
