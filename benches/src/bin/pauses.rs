//! Pauses with live sets of 64 MB to 2.5 GiB, under steady change. The programs are in a folder beside
//! the project: trees whose parts are replaced, a hash map, lists that are queues. Each makes its live
//! set first. Then it calls the host after each step, and only what happens from then on counts.
//!
//! The program itself is watched ([`gc_benches::ticks`]), so that all engines are measured in the same
//! way. Collectors that report their pauses have a second row. `idle` is a loop that does nothing but
//! call the host: what it sees comes from the machine.
//!
//! Other programs give the collector 200 µs in each step, a million times (`gc_for`). Only the engines of
//! this project can do that.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::Contestant;
use gc_benches::clock::Which;
use gc_benches::options::Race;
use gc_benches::plot::Mark;
use gc_benches::plot::rows::{Engine, Rows};
use gc_benches::race::race;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{geometric_mean, right, table};
use gc_benches::suite::{self, Program};
use gc_benches::ticks::{Figures, LONGER, Observed, WINDOWS};
use gc_benches::{plot, report, with_stack};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const PAUSES: Subject = Subject {
    name: "pauses",
    title: "Pauses with large live sets",
    about: "Pauses of programs whose live set changes steadily, after it was made. The program calls the \
            host after each step, and a gap between two calls that is much longer than the median gap is a \
            pause. The rows `processor` leave out the time in which the thread did not run. The rows `log` \
            are the pauses that the collector reports. Pauses are wall-clock time. \
            Each figure is the median of the runs. The times and the peak are those of the whole \
            program. MMU is the least share of any window of the length in which the program runs.",
};

/// Measures pauses with large live sets.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    race: Race,
    /// The folder with the programs [default: that beside the project].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Draws the longest pauses and p99.9 into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// The µs that a program gives the collector in each step, if it does, and its steps.
const GIVEN: (i32, i32) = (200, 1_000_000);

/// A live set: its name, and the arguments of `tree`, `map` and `list`.
type LiveSet = (&'static str, [[i32; 2]; 3]);

/// The programs, in the order of the arguments of a [`LiveSet`].
const PROGRAMS: [&str; 3] = ["tree", "map", "list"];

const LIVE_SETS: [LiveSet; 4] = [
    ("64 MB", [[2700, 4_000_000], [900_000, 4_000_000], [2700, 4_000_000]]),
    ("200 MB", [[8500, 1_500_000], [3_000_000, 4_000_000], [8500, 3_000_000]]),
    ("1 GiB", [[43_700, 1_500_000], [13_000_000, 3_000_000], [43_700, 1_500_000]]),
    ("2.5 GiB", [[104_000, 1_000_000], [30_000_000, 1_500_000], [104_000, 1_000_000]]),
];

const IDLE: &str = r#"(module
    (import "host" "tick" (func $tick))
    (func (export "go") (param $steps i32) (result i32)
        (loop $step
            (call $tick)
            (br_if $step (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
        (local.get $steps)))"#;

fn main() -> Result<()> {
    let Options { race, folder, svg } = Options::parse();
    with_stack(race.stack, move || run(&race, folder, svg))
}

/// The program with a call of the host in each step, and with an export that takes only the number
/// of steps. If `us` is given, each step gives the collector this number of µs.
fn watched(text: &str, roots: i32, us: Option<i32>) -> Result<String> {
    let (import, call) = us.map_or_else(Default::default, |us| {
        let import = r#"(import "host" "give" (func $give (param i32)))"#;
        (import, format!("(call $give (i32.const {us}))"))
    });
    let parts = [
        ("(module", format!("(module (import \"host\" \"tick\" (func $tick)) {import}")),
        (
            "(func (export \"run\")",
            format!(
                "(func (export \"go\") (param i32) (result i32)
                    (i32.wrap_i64 (call $run (i32.const {roots}) (local.get 0))))
                (func $run"
            ),
        ),
        ("(loop $step", format!("(loop $step (call $tick) {call}")),
    ];
    parts.iter().try_fold(text.to_owned(), |text, (part, new)| {
        ensure!(text.matches(part).count() == 1, "there is not one `{part}` in the program");
        Ok(text.replace(part, new))
    })
}

fn programs(folder: Option<PathBuf>) -> Result<Vec<Program>> {
    let program = |name: String, wat: String, arg: i32| Program {
        name,
        wat,
        export: "go".to_owned(),
        arg,
        answer: None,
        expected: Vec::new(),
    };
    let mut programs = vec![program("idle".to_owned(), IDLE.to_owned(), 20_000_000)];
    let asked = folder.is_some();
    let folder = folder.unwrap_or_else(|| suite::beside().join("pauses"));
    if !asked && !folder.is_dir() {
        eprintln!("\n!!! NOT MEASURED: there is no folder of these programs beside the project\n");
        return Ok(programs);
    }
    for (name, args) in LIVE_SETS {
        for (file, [roots, steps]) in PROGRAMS.into_iter().zip(args) {
            let path = folder.join(file).with_extension("wat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let (us, given) = GIVEN;
            for (name, steps, us) in [
                (format!("{file} {name}"), steps, None),
                (format!("{file} {name}, {us} µs given"), given, Some(us)),
            ] {
                let wat = watched(&text, roots, us).with_context(|| path.display().to_string())?;
                programs.push(program(name, wat, steps));
            }
        }
    }
    Ok(programs)
}

fn run(asked: &Race, folder: Option<PathBuf>, svg: Option<PathBuf>) -> Result<()> {
    let mut programs = programs(folder)?;
    if asked.smoke {
        programs.retain(|program| program.name == "idle" || program.name.contains(LIVE_SETS[0].0));
        programs.iter_mut().for_each(|program| program.arg = 1000);
    }
    let programs = asked.programs(programs)?;
    let engines = asked.engines_and_v8()?;
    let mut record = Record::new(PAUSES);
    record.engines(engines.iter().map(|engine| engine.name()));
    let mut wrong = Vec::new();
    let mut drawn: Vec<(&str, Vec<Option<Figures>>)> = Vec::new();
    for program in &programs {
        let gives = program.wat.contains("$give");
        let takes_part = |engine: &dyn Contestant| !gives || engine.name().starts_with("reclaim");
        let entrants: Vec<_> =
            engines.iter().map(|engine| takes_part(&**engine).then_some(&**engine)).collect();
        let outcomes = race(program, &entrants, asked.rules(false)?, &mut wrong)?;
        let mut table = header();
        let mut by_ticks = vec![None; engines.len()];
        let mut remarks = Vec::new();
        for ((engine, outcome), by_ticks) in engines.iter().zip(outcomes).zip(&mut by_ticks) {
            match outcome {
                Some(Ok(runs)) => {
                    let seen: Vec<Observed> =
                        runs.0.iter().filter_map(|run| run.observed).collect();
                    let mut rest = [Which::Cpu, Which::Wall].map(|clock| {
                        right(format!("{:.0}", runs.median(clock).as_secs_f64() * 1e3))
                    });
                    let peak = runs.heap().map_or_else(String::new, |heap| {
                        format!("{:.0}", heap.peak_bytes as f64 / f64::from(1 << 20))
                    });
                    let ticks = Figures::median(seen.iter().map(|seen| seen.by_ticks));
                    *by_ticks = ticks;
                    let ran = Figures::median(seen.iter().map(|seen| seen.by_processor));
                    let log = Figures::median(seen.iter().filter_map(|seen| seen.by_log));
                    for (name, figures) in [("", ticks), (", processor", ran), (", log", log)] {
                        let Some(figures) = figures else { continue };
                        let rest =
                            std::mem::replace(&mut rest, [(); 2].map(|()| right(String::new())));
                        let peak = if name.is_empty() { peak.clone() } else { String::new() };
                        let cells = cells(&figures).into_iter().chain(rest).chain([right(peak)]);
                        let engine = Cell::new(format!("{}{name}", engine.name()));
                        table.add_row(std::iter::once(engine).chain(cells));
                    }
                }
                Some(Err(error)) => remarks.push(format!("{}: {error}", engine.name())),
                None => {}
            }
        }
        record.table(&format!("{}, {} steps", program.name, program.arg), &table);
        record.lines(remarks.iter().map(String::as_str));
        // A row in which the other engines have no mark would leave them without a mean.
        if !gives {
            drawn.push((&program.name, by_ticks));
        }
    }
    if let Some(path) = &svg {
        let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
        plot::save(path, &draw(&names, &drawn)?)?;
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    record.finish()
}

/// The engines in the picture: the names that they begin with, those in the legend, and their marks.
const DRAWN: [(&str, &str, &str); 4] = [
    ("reclaim generational", "Reclaim", "generational"),
    ("wasmtime copying", "Wasmtime, copying", "copying"),
    ("wasmtime drc", "Wasmtime, drc", "drc"),
    (report::V8, "V8", "null"),
];

/// Draws what the programs saw under each engine.
fn draw(engines: &[&str], rows: &[(&str, Vec<Option<Figures>>)]) -> Result<String> {
    let group = |filled: bool, of: fn(&Figures) -> Duration| {
        let group = DRAWN.iter().filter_map(|(engine, name, mark)| {
            let n = engines.iter().position(|other| other.starts_with(engine))?;
            let mark = Mark::of(mark)?;
            let ms = |(_, figures): &(&str, Vec<Option<Figures>>)| {
                let pause = figures[n].as_ref().map(|figures| of(figures).as_secs_f64() * 1e3);
                // The axis is logarithmic.
                pause.filter(|ms| *ms > 0.0)
            };
            let ratios: Vec<Option<f64>> = rows.iter().map(ms).collect();
            let mean = ratios.iter().copied().collect::<Option<Vec<f64>>>();
            Some(Engine {
                name: (*name).to_owned(),
                mark: if filled { mark } else { mark.hollow() },
                mean: mean.and_then(|all| geometric_mean(all.into_iter())),
                ratios,
            })
        });
        group.collect::<Vec<_>>()
    };
    let picture = Rows {
        title: "Pauses that the program sees, in ms: further left is shorter".to_owned(),
        axis: "ms".to_owned(),
        unit: "1 ms".to_owned(),
        programs: rows.iter().map(|(name, _)| (*name).to_owned()).collect(),
        groups: vec![
            ("longest".to_owned(), group(true, |figures| figures.longest)),
            ("p99.9".to_owned(), group(false, |figures| figures.p999)),
        ],
    };
    picture.draw()
}

fn header() -> comfy_table::Table {
    let longer = LONGER.map(|length| format!("> {} ms", length.as_millis()));
    let windows = WINDOWS.map(|window| format!("MMU {} ms, %", window.as_millis()));
    let first = ["longest, ms", "p99.9, ms", "p99, ms"].map(str::to_owned);
    let last = ["pauses", "all, ms", "processor ms", "wall ms", "peak, MiB"].map(str::to_owned);
    table("engine", first.into_iter().chain(longer).chain(windows).chain(last))
}

fn cells(figures: &Figures) -> Vec<Cell> {
    let ms = |time: Duration| right(format!("{:.2}", time.as_secs_f64() * 1e3));
    let mut cells = [figures.longest, figures.p999, figures.p99].map(ms).to_vec();
    cells.extend(figures.longer.map(|count| right(count.to_string())));
    cells.extend(figures.mmu.map(|share| right(format!("{:.0}", share * 100.0))));
    let total = right(format!("{:.0}", figures.total.as_secs_f64() * 1e3));
    cells.extend([right(figures.pauses.to_string()), total]);
    cells
}
