//! Measures the price of collection: the total time of a program under each collector in heaps of
//! several sizes, divided by the least time that the program is known to take without collections.
//! The module `price` of this crate explains the method.
//!
//! All runs are in one process. The time of a run is that of the thread that calls the program.
//! Compiling is over then, and collectors work on this thread. The thread that touches memory ahead of a
//! heap is not counted.
//!
//! Exits with an error when an answer is wrong.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::{Cell, Table};
use gc_benches::clock::Which;
use gc_benches::options::Race;
use gc_benches::plot::axis::Axis;
use gc_benches::plot::curves::{Curves, Line, Point};
use gc_benches::plot::{self, Mark};
use gc_benches::price::{Conditions, Mean, Priced, frees_nothing, mean, measure};
use gc_benches::reclaim::HeapPolicy;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table, target};
use gc_benches::{suite, with_stack};
use gc_wasm::Collector;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

const SUBJECT: Subject = Subject {
    name: "price",
    title: "The price of collection, in heaps of several sizes",
    about: "The total time of a program under each collector, divided by the least time that it is known to take \
            without collections. Heaps are multiples of the smallest in which the program completes under \
            any collector; `null` has 4 GiB. The page \"The price of collection\" explains the method. \
            Collectors and sizes take turns, each run is in a fresh store, and a time is the median of the \
            runs. A mean over fewer programs than all has their number beside it. The programs of \
            `programs/` are those of `tests/programs`.",
};

/// Measures the price of collection.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
    /// A folder of more programs. Each begins with `;; @bench EXPORT ARG`.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The clock for tables and the picture. JSON has both clocks.
    #[arg(long, value_enum, default_value_t)]
    clock: Which,
    /// Heaps, as multiples of the smallest in which a program completes.
    #[arg(long, value_delimiter = ',', default_value = "1.3,2,3,6")]
    sizes: Vec<f64>,
    /// The least heap in the search for the smallest, in KiB. The default is that of the engine.
    #[arg(long, value_name = "KIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(64..1 << 22))]
    least: u64,
    /// How heaps grow up to their size.
    #[arg(long, value_enum, default_value_t = HeapPolicy::Fixed)]
    heap_policy: HeapPolicy,
    /// A heap is too small if a program takes this many times as long in it as in a heap of 4 GiB.
    #[arg(long, value_name = "TIMES", default_value_t = 5.0)]
    slowest: f64,
    /// Draw the geometric means, and the price of each program, to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write what --json prints to this file too.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// The target: the geometric mean of this collector's prices in heaps of this size is at most this.
const TARGET: (&str, f64, f64) = ("generational", 3.0, 1.15);

const CLOCKS: [Which; 2] = [Which::Cpu, Which::Wall];

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(options.race.stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    let asked = &options.race;
    ensure!(options.sizes.iter().all(|size| *size >= 1.0), "sizes are multiples of at least 1");
    let mut collectors = Collector::all();
    collectors.retain(|collector| asked.wants(&format!("reclaim {}", collector.name())));
    // The first is that of which the smallest heap is searched from below.
    collectors.sort_by_key(|collector| collector.name() != TARGET.0);
    ensure!(!collectors.is_empty(), "no collector matches the filter");
    let conditions = Conditions {
        collectors,
        sizes: options.sizes.clone(),
        least: options.least << 10,
        policy: options.heap_policy,
        patience: options.slowest,
        settings: asked.settings(),
        rules: asked.rules(false)?,
    };
    let create = |path: &PathBuf| {
        File::create(path).with_context(|| format!("cannot write {}", path.display()))
    };
    let mut saved = options.save.as_ref().map(create).transpose()?;
    let mut say = |lines: Vec<Value>| -> Result<()> {
        for line in lines {
            if let Some(file) = &mut saved {
                writeln!(file, "{line}")?;
            }
            if asked.json {
                println!("{line}");
            }
        }
        Ok(())
    };
    let mut record = Record::new(SUBJECT);
    let (mut wrong, mut all) = (Vec::new(), Vec::new());
    for program in asked.programs(suite::timed(options.folder.as_deref())?)? {
        let priced = measure(&program, &conditions, &mut wrong)?;
        // At once, so that an interrupted run still gives results.
        say(lines(&priced))?;
        all.push(priced);
    }
    let report = Report { conditions: &conditions, all: &all, clock: options.clock };
    say(report.means())?;
    if !asked.json && !asked.smoke {
        report.add_to(&mut record);
        record.finish()?;
    }
    let picture = report.picture().draw()?;
    if let Some(path) = &options.svg {
        plot::save(path, &picture)?;
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    let completed =
        all.iter().flat_map(|priced| &priced.entries).any(|entry| entry.outcome.is_ok());
    ensure!(completed, "no program completed in any heap");
    Ok(())
}

/// A line of JSON for each collector and size.
fn lines(priced: &Priced) -> Vec<Value> {
    let line = |entry: &gc_benches::price::Entry| {
        let mut line = json!({
            "program": priced.program,
            "smallest_heap_bytes": priced.smallest.bytes,
            "smallest_heap_collector": priced.smallest.collector,
            "collector": entry.collector,
            "size": entry.size,
            "heap_bytes": entry.bytes,
        });
        match &entry.outcome {
            Err(error) => line["error"] = error.as_str().into(),
            Ok(runs) => {
                line["runs"] = runs.0.len().into();
                line["collections"] = runs.heap().map(|heap| heap.collections).into();
                for clock in CLOCKS {
                    line[key(clock)] = json!({
                        "total_secs": entry.total(clock),
                        "collecting_secs": entry.collecting(clock),
                        "price": priced.price(entry, clock),
                    });
                }
            }
        }
        line
    };
    priced.entries.iter().map(line).collect()
}

fn key(clock: Which) -> &'static str {
    match clock {
        Which::Cpu => "cpu",
        Which::Wall => "wall",
    }
}

/// What was measured, and how it is shown.
struct Report<'a> {
    conditions: &'a Conditions,
    all: &'a [Priced],
    clock: Which,
}

impl Report<'_> {
    /// The collectors in each size: a name, and `None` for heaps without a limit.
    fn columns(&self) -> Vec<(&str, Option<f64>)> {
        let of = |collector: &'_ Collector| -> Vec<Option<f64>> {
            match frees_nothing(collector) {
                true => vec![None],
                false => self.conditions.sizes.iter().copied().map(Some).collect(),
            }
        };
        let columns =
            self.conditions.collectors.iter().flat_map(|collector| {
                of(collector).into_iter().map(|size| (collector.name(), size))
            });
        columns.collect()
    }

    fn means(&self) -> Vec<Value> {
        let line = |(collector, size): (&str, Option<f64>)| {
            let mut line = json!({ "geometric_mean": collector, "size": size });
            for clock in CLOCKS {
                let mean = mean(self.all, collector, size, clock)?;
                line["programs"] = mean.programs.into();
                line[key(clock)] = mean.value.into();
            }
            Some(line)
        };
        self.columns().into_iter().filter_map(line).collect()
    }

    fn add_to(&self, record: &mut Record) {
        for clock in CLOCKS {
            record.table(&format!("Geometric means by {}", clock.name()), &self.mean_table(clock));
        }
        let (collector, size, most) = TARGET;
        if let Some(mean) = mean(self.all, collector, Some(size), self.clock) {
            let verdict = target(mean.value, Some(most));
            let (value, programs) = (mean.value, self.number(mean));
            let line = format!(
                "{collector} in {size} times the smallest heap: {value:.3}{programs}{verdict}"
            );
            record.lines([&*line]);
        }
        record.table("Mean share of the time in collections, in percent", &self.shares());
        record.table(&format!("Prices by {}", self.clock.name()), &self.programs());
        let failed = self.all.iter().flat_map(|priced| {
            priced.entries.iter().filter_map(|entry| {
                let error = entry.outcome.as_ref().err()?;
                let (program, kib) = (&priced.program, entry.bytes >> 10);
                Some(format!("{program} on {} in {kib} KiB: {error}", entry.collector))
            })
        });
        let failed: Vec<String> = failed.collect();
        record.lines(failed.iter().map(String::as_str));
    }

    /// The number of programs of a mean, if some did not complete.
    fn number(&self, mean: Mean) -> String {
        match mean.programs == self.all.len() {
            true => String::new(),
            false => format!(" ({} of {})", mean.programs, self.all.len()),
        }
    }

    fn programs(&self) -> Table {
        let columns = self.columns();
        let header = columns.iter().map(|(name, size)| match size {
            Some(size) => format!("{name} {size}"),
            None => (*name).to_owned(),
        });
        let smallest = ["smallest, KiB".to_owned(), "under".to_owned()];
        let mut table = table("program", smallest.into_iter().chain(header));
        for priced in self.all {
            let mut cells = vec![
                Cell::new(&priced.program),
                right((priced.smallest.bytes >> 10).to_string()),
                right(priced.smallest.collector.clone()),
            ];
            cells.extend(columns.iter().map(|(collector, size)| {
                let price = priced.entry(collector, *size).map(|it| priced.price(it, self.clock));
                right(price.flatten().map_or("-".to_owned(), |price| format!("{price:.2}")))
            }));
            table.add_row(cells);
        }
        table
    }

    /// A table with a row for each collector and a column for each size.
    fn by_size(&self, cell: impl Fn(&str, Option<f64>) -> Option<String>) -> Table {
        let sizes = self.conditions.sizes.iter().map(|size| Some(*size)).chain([None]);
        let sizes: Vec<Option<f64>> = sizes.collect();
        let header = sizes.iter().map(|size| match size {
            Some(size) => size.to_string(),
            None => "4 GiB".to_owned(),
        });
        let mut table = table("collector", header);
        for collector in &self.conditions.collectors {
            let of = |size: &Option<f64>| right(cell(collector.name(), *size).unwrap_or_default());
            table.add_row(std::iter::once(Cell::new(collector.name())).chain(sizes.iter().map(of)));
        }
        table
    }

    fn mean_table(&self, clock: Which) -> Table {
        self.by_size(|collector, size| {
            let mean = mean(self.all, collector, size, clock)?;
            Some(format!("{:.2}{}", mean.value, self.number(mean)))
        })
    }

    fn shares(&self) -> Table {
        self.by_size(|collector, size| {
            let share = |priced: &Priced| {
                let entry = priced.entry(collector, size)?;
                Some(entry.collecting(self.clock)? / entry.total(self.clock)?)
            };
            let shares: Vec<f64> = self.all.iter().filter_map(share).collect();
            let count = shares.len().max(1) as f64;
            (!shares.is_empty())
                .then(|| format!("{:.1}", shares.iter().sum::<f64>() / count * 100.0))
        })
    }

    /// A line for each collector that has sizes, and a small mark for each program.
    fn picture(&self) -> Curves {
        let sizes = &self.conditions.sizes;
        let collectors = self.conditions.collectors.iter().filter(|it| !frees_nothing(it));
        let collectors: Vec<&str> = collectors.map(Collector::name).collect();
        let lines = collectors.iter().enumerate().filter_map(|(i, collector)| {
            // Clouds of collectors are beside each other.
            let aside = 1.0 + 0.022 * (i as f64 - (collectors.len() as f64 - 1.0) / 2.0);
            let mut line = Line {
                name: (*collector).to_owned(),
                mark: Mark::of(collector)?,
                points: Vec::new(),
                cloud: Vec::new(),
            };
            for size in sizes {
                let prices = self.all.iter().filter_map(|priced| {
                    priced.price(priced.entry(collector, Some(*size))?, self.clock)
                });
                line.cloud.extend(prices.map(|price| (size * aside, price)));
                if let Some(mean) = mean(self.all, collector, Some(*size), self.clock) {
                    line.points.push(Point {
                        x: *size,
                        y: mean.value,
                        label: format!("{:.2}", mean.value),
                        complete: mean.programs == self.all.len(),
                    });
                }
            }
            Some(line)
        });
        let lines: Vec<Line> = lines.collect();
        let points = || lines.iter().flat_map(|line| &line.points);
        let clouds = || lines.iter().flat_map(|line| &line.cloud);
        let y = points().map(|it| it.y).chain(clouds().map(|it| it.1)).chain([1.0, TARGET.2]);
        let x = sizes.iter().flat_map(|size| [size / 1.1, size * 1.15]);
        let clock = self.clock.name();
        Curves {
            title: format!("The price of collection: {clock} / the least time without collections"),
            note: "Lines are geometric means; an outline: some programs did not complete. Small marks \
                   are programs."
                .to_owned(),
            x: Axis::over("heap / the smallest heap in which the program completes", x)
                .with_ticks(sizes),
            y: Axis::over("price", y),
            rule: Some((TARGET.2, format!("target of {} in {} times: {}", TARGET.0, TARGET.1, TARGET.2))),
            lines,
        }
    }
}
