//! What interrupts cost: the programs of the project, and those of a folder beside it, with loops
//! that poll and without. The two engines take turns, and the ratio is the median over the turns, in
//! processor time.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::options::Turns;
use gc_benches::race::{Runs, race};
use gc_benches::record::{Record, Subject};
use gc_benches::report::{geometric_mean, right, table, target};
use gc_benches::{Settings, reclaim, suite, wanted, with_stack};

/// The limit of the geometric mean of all ratios.
const TARGET: f64 = 1.01;

const SUBJECT: Subject = Subject {
    name: "polls",
    title: "What interrupts cost",
    about: "Whole programs under `generational` with loops that poll and without. The two engines take turns. \
            The ratio is the median over the turns, in processor time of the thread. The programs are those \
            of `tests/programs`, and those of a folder beside the project if it exists.",
};

/// Measures the cost of interrupts.
#[derive(Parser)]
struct Options {
    /// Only programs whose name contains this (can be given several times).
    #[arg(long)]
    program: Vec<String>,
    #[command(flatten)]
    turns: Turns,
}

fn main() -> Result<()> {
    let options = Options::parse();
    with_stack(Settings::default().stack, move || run(&options))
}

fn run(options: &Options) -> Result<()> {
    let mut record = Record::new(SUBJECT);
    let engines = reclaim::interruptible(&Settings::default())?;
    let mut programs = suite::project("programs")?;
    if suite::beside().is_dir() {
        programs.extend(suite::folder(&suite::beside())?);
    } else {
        eprintln!("\n!!! NOT TIMED: there is no folder of benchmark programs beside the project\n");
    }
    programs.retain(|program| wanted(&options.program, &program.name));
    ensure!(!programs.is_empty(), "no program matches the filter");
    if options.turns.test {
        programs.truncate(2);
        programs.iter_mut().for_each(suite::Program::reduce);
    }
    let mut wrong = Vec::new();
    let mut ratios = Vec::new();
    for program in &programs {
        let entrants: Vec<_> = engines.iter().map(|engine| Some(&**engine)).collect();
        let outcomes = race(program, &entrants, options.turns.rules(), &mut wrong)?;
        let runs = outcomes.iter().flatten().map(|outcome| match outcome {
            Ok(runs) => Ok(runs),
            Err(error) => Err(anyhow::anyhow!("{}: {error}", program.name)),
        });
        let runs = runs.collect::<Result<Vec<&Runs>>>()?;
        let [plain, polled] = runs[..] else { bail!("there are not two engines") };
        let ratio = polled.ratio(plain, Which::Cpu).context("each engine has run")?;
        ratios.push((&program.name, plain.median(Which::Cpu).as_secs_f64(), ratio));
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if options.turns.test {
        println!("polls: ok");
        return Ok(());
    }
    ratios.sort_by(|a, b| b.2.total_cmp(&a.2));
    let columns = ["ms without", "ratio with"].map(str::to_owned);
    let mut rows = table("program", columns);
    for (name, time, ratio) in &ratios {
        rows.add_row([
            Cell::new(name),
            right(format!("{:.2}", 1e3 * time)),
            right(format!("{ratio:.3}")),
        ]);
    }
    record.table("Loops that poll", &rows);
    let mean = geometric_mean(ratios.iter().map(|(_, _, ratio)| *ratio)).unwrap_or(f64::NAN);
    record.lines([&*format!("geometric mean: {mean:.4}{}", target(mean, Some(TARGET)))]);
    record.finish()
}
