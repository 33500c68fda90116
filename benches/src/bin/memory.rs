//! The memory use of the collectors: bytes per object for a range of types, which must be header
//! and fields rounded up to eight, and the peak of the heap for a fixed live size. With `--policies`
//! what memory buys instead: time and peak of the programs under each heap policy.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::options::Race;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_benches::{Contestant, plot, reclaim, suite, trade, with_stack};
use gc_wasm::Collector;
use serde_json::json;
use std::path::PathBuf;

const MEMORY: Subject = Subject {
    name: "memory",
    title: "Memory of objects and heaps",
    about: "The bytes of an object of some types, which must be its header and fields rounded up to eight under \
            every collector, and the peak of the heap of the stress program `live_set`, which makes ten times \
            as much garbage as lives. Neither depends on the speed of the machine.",
};

const POLICIES: Subject = Subject {
    name: "policies",
    title: "What memory buys: time and peak under each heap policy",
    about: "Geometric means over the programs of the processor time and of the peak of the heap, both as ratios \
            to the least that any collector with any policy needs for that program. `null` does not take \
            part, because it frees nothing. Collectors and policies take turns, each run is in a fresh store, \
            and a time is the median of the runs.",
};

/// Measures the memory use of the collectors.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
    /// Live sizes for the peak of the heap, in MiB.
    #[arg(long, value_delimiter = ',', default_value = "10,50,200")]
    live: Vec<u32>,
    /// Run the programs under each heap policy, and report only their time and their peak.
    #[arg(long)]
    policies: bool,
    /// Draw time over peak to this file.
    #[arg(long, value_name = "FILE", requires = "policies")]
    svg: Option<PathBuf>,
    /// The heap of the policy `fixed`, as a multiple of the peak with `balanced`.
    #[arg(long, value_name = "TIMES", default_value_t = 1.5)]
    fixed: f64,
    /// A folder of more programs for --policies. Each begins with `;; @bench EXPORT ARG`.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Types: the text of the type, the instruction that makes an object, and the bytes of its fields
/// (the length of an array counts as a field).
const TYPES: &[(&str, &str, u64)] = &[
    ("(struct)", "(struct.new_default $t)", 0),
    ("(struct (field i8))", "(struct.new_default $t)", 1),
    ("(struct (field i32))", "(struct.new_default $t)", 4),
    ("(struct (field i64))", "(struct.new_default $t)", 8),
    ("(struct (field anyref anyref))", "(struct.new_default $t)", 8),
    ("(struct (field anyref anyref i32))", "(struct.new_default $t)", 12),
    ("(struct (field i8 i64 i16 i64 i32))", "(struct.new_default $t)", 23),
    ("(struct (field f64 f64 f64))", "(struct.new_default $t)", 24),
    ("(struct (field funcref i8 externref i16))", "(struct.new_default $t)", 11),
    ("(array i8), 0", "(array.new_default $t (i32.const 0))", 4),
    ("(array i8), 5", "(array.new_default $t (i32.const 5))", 9),
    ("(array i16), 100", "(array.new_default $t (i32.const 100))", 204),
    ("(array anyref), 3", "(array.new_default $t (i32.const 3))", 16),
    ("(array i64), 3", "(array.new_default $t (i32.const 3))", 28),
    ("(array anyref), 1000", "(array.new_default $t (i32.const 1000))", 4004),
];

/// Objects of each type.
const OBJECTS: i32 = 10_000;

/// Bytes of one tree of `live_set`: 511 nodes of 24 bytes.
const TREE: u64 = 511 * 24;

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(options.race.stack, move || {
        if options.policies {
            return policies(&options);
        }
        let mut engines = reclaim::all(&options.race.settings())?;
        engines.retain(|engine| options.race.wants(engine.name()));
        ensure!(!engines.is_empty(), "no engine matches the filter");
        let mut record = Record::new(MEMORY);
        objects(&options.race, &engines, &mut record)?;
        peaks(&options, &engines, &mut record)?;
        if options.race.json { Ok(()) } else { record.finish() }
    })
}

/// Time and peak of programs under each policy.
fn policies(options: &Options) -> Result<()> {
    let asked = &options.race;
    let mut collectors = Collector::all();
    // Policies change nothing where nothing is freed.
    collectors.retain(|it| it.name() != "null" && asked.wants(&format!("reclaim {}", it.name())));
    ensure!(!collectors.is_empty(), "no collector that frees memory matches the filter");
    let programs = asked.programs(suite::timed(options.folder.as_deref())?)?;
    let mut wrong = Vec::new();
    let (settings, rules) = (asked.settings(), asked.rules(false)?);
    let mut record = Record::new(POLICIES);
    let trade =
        trade::measure(&programs, &collectors, &settings, options.fixed, rules, &mut wrong)?;
    if asked.json {
        trade.json().iter().for_each(|line| println!("{line}"));
    } else if !asked.smoke {
        record.table("Processor time and peak of the heap", &trade.table());
        record.finish()?;
    }
    trade.failures().iter().for_each(|line| eprintln!("{line}"));
    let picture = trade.picture().draw()?;
    if let Some(path) = &options.svg {
        plot::save(path, &picture)?;
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    ensure!(!asked.smoke || trade.failures().is_empty(), "not all ran");
    Ok(())
}

type Engines = [Box<dyn Contestant>];

fn names(engines: &Engines) -> impl Iterator<Item = String> {
    engines.iter().map(|engine| engine.name().to_owned())
}

/// Bytes per object of each type.
fn objects(asked: &Race, engines: &Engines, record: &mut Record) -> Result<()> {
    let mut sizes =
        table("type", ["header and fields".to_owned()].into_iter().chain(names(engines)));
    for (ty, new, fields) in TYPES {
        let expected = (8 + fields).next_multiple_of(8);
        let mut cells = vec![Cell::new(ty), right((8 + fields).to_string())];
        for engine in engines {
            let mut running = engine.compile(&loop_of(ty, new))?.start()?;
            running.run("run", OBJECTS)?;
            let heap = running.heap().unwrap_or_default();
            ensure!(heap.allocations == OBJECTS as u64, "{ty}: {} objects", heap.allocations);
            let bytes = heap.allocated_bytes as f64 / heap.allocations as f64;
            ensure!(bytes == expected as f64, "{ty}: {bytes} bytes, not {expected}");
            cells.push(right(bytes.to_string()));
            if asked.json {
                println!("{}", json!({ "engine": engine.name(), "type": ty, "bytes": bytes }));
            }
        }
        sizes.add_row(cells);
    }
    if !asked.json {
        record.table("Bytes of an object", &sizes);
    }
    Ok(())
}

/// The peak of the heap for each live size.
fn peaks(options: &Options, engines: &Engines, record: &mut Record) -> Result<()> {
    let asked = &options.race;
    let programs = suite::project("stress")?;
    let mut peaks = table("live, MiB", names(engines));
    let program = programs.iter().find(|program| program.name == "stress/live_set");
    let program = program.context("there is no program live_set")?;
    for mib in &options.live {
        let mut cells = vec![Cell::new(mib)];
        let trees = (u64::from(*mib) << 20) / TREE;
        for engine in engines {
            if engine.name() == "reclaim null" {
                cells.push(right("everything".to_owned()));
                continue;
            }
            let mut running = engine.compile(&program.wat)?.start()?;
            running.run(&program.export, i32::try_from(trees)?)?;
            let peak = running.heap().unwrap_or_default().peak_bytes;
            let times = peak as f64 / (trees * TREE) as f64;
            cells.push(right(format!("{:.1} ({times:.2})", peak as f64 / f64::from(1 << 20))));
            if asked.json {
                let live = trees * TREE;
                let engine = engine.name();
                println!("{}", json!({ "engine": engine, "live_bytes": live, "peak_bytes": peak }));
            }
        }
        peaks.add_row(cells);
    }
    if !asked.json {
        record.table("Peak of the heap in MiB (and as a multiple of what lives)", &peaks);
    }
    Ok(())
}

/// A module whose `run(n)` makes n objects.
fn loop_of(ty: &str, new: &str) -> String {
    let ty = ty.split_once(',').map_or(ty, |(ty, _)| ty);
    format!(
        "(module (type $t {ty})
           (func (export \"run\") (param $n i32) (result i32)
             (loop $more
               (drop {new})
               (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
             (i32.const 0)))"
    )
}
