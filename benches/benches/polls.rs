//! What interrupts cost: the programs of the project, and those of a folder beside it, with loops
//! that poll and without. The ratio is of the shortest times of all turns, in processor time; the
//! two engines take turns, and so do the collectors' programs.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::clock::Which;
use gc_benches::options::Turns;
use gc_benches::race::race;
use gc_benches::report::{right, table};
use gc_benches::{Settings, reclaim, suite, wanted, with_stack};

/// The limit of the geometric mean of all ratios.
const TARGET: f64 = 1.01;

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
        let times = outcomes.iter().flatten().map(|outcome| match outcome {
            Ok(runs) => Ok(runs.best(Which::Cpu).as_secs_f64()),
            Err(error) => Err(anyhow::anyhow!("{}: {error}", program.name)),
        });
        let times = times.collect::<Result<Vec<f64>>>()?;
        let [plain, polled] = times[..].try_into().context("there are two engines")?;
        ratios.push((&program.name, plain, polled / plain));
    }
    ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
    if options.turns.test {
        println!("polls: ok");
        return Ok(());
    }
    ratios.sort_by(|a, b| b.2.total_cmp(&a.2));
    let columns = ["ms without", "ratio with"].map(str::to_owned);
    let mut rows = table("loops that poll", columns);
    for (name, time, ratio) in &ratios {
        rows.add_row([
            Cell::new(name),
            right(format!("{:.2}", 1e3 * time)),
            right(format!("{ratio:.3}")),
        ]);
    }
    println!("{rows}\n");
    let logs: f64 = ratios.iter().map(|(_, _, ratio)| ratio.ln()).sum();
    let mean = (logs / ratios.len() as f64).exp();
    let met = if mean <= TARGET { "met" } else { "missed" };
    println!("Geometric mean: {mean:.4}. The target, at most {TARGET}, is {met}.");
    let (worst, _, ratio) = &ratios[0];
    println!("The worst program is {worst}: {ratio:.3}.");
    Ok(())
}
