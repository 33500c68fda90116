//! Runs a program on all engines in turn, and checks the answers.

use crate::clock::{Spent, Which};
use crate::measure::median;
use crate::suite::Program;
use crate::ticks::{Observed, Ticks};
use crate::{Answer, Contestant, Heap};
use anyhow::{Context, Result};
use std::time::Duration;

/// One run, in its own store.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The time of the call.
    pub spent: Spent,
    /// The heap's statistics, if the engine reports them.
    pub heap: Option<Heap>,
    /// What its ticks showed, if the program ticks.
    pub observed: Option<Observed>,
}

/// The outcome of a program on an engine: its runs, or the reason why there are none.
pub type Outcome = Result<Runs, String>;

/// All runs of one program on one engine; at least one.
#[derive(Clone, Debug)]
pub struct Runs(pub Vec<Run>);

impl Runs {
    /// The median time by this clock.
    pub fn median(&self, clock: Which) -> Duration {
        let mut times: Vec<Duration> = self.0.iter().map(|run| run.spent.by(clock)).collect();
        times.sort();
        times[times.len() / 2]
    }

    /// The shortest time by this clock.
    pub fn best(&self, clock: Which) -> Duration {
        self.0.iter().map(|run| run.spent.by(clock)).min().unwrap_or_default()
    }

    /// The ratio to the time of another engine: the median over the turns in which both ran. In a slow minute of
    /// the machine both are slow. `None` if there is no such turn.
    pub fn ratio(&self, other: &Runs, clock: Which) -> Option<f64> {
        let secs = |run: &Run| run.spent.by(clock).as_secs_f64();
        let turns = self.0.iter().zip(&other.0).map(|(run, other)| secs(run) / secs(other));
        median(&turns.collect::<Vec<f64>>())
    }

    /// The heap's statistics in the run whose longest pause was the shortest. In the other runs
    /// other processes lengthened the pause.
    pub fn heap(&self) -> Option<Heap> {
        let heaps = self.0.iter().filter_map(|run| run.heap);
        heaps.min_by_key(|heap| heap.pause_longest)
    }
}

/// The rules of a race.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Runs on each engine.
    pub runs: usize,
    /// An engine that has used this much processor time for a program makes no more runs.
    pub patience: Duration,
    /// Call the programs with this instead of their own argument.
    pub arg: Option<i32>,
    /// Whether the answers to a program's other arguments are checked too.
    pub all_cases: bool,
}

/// Runs the program on each engine and returns the outcomes in order. An engine that is `None` does
/// not take part. Answers that differ from the expected ones or from the others' are added to
/// `wrong`.
///
/// # Errors
/// If an engine cannot compile the program, or fails on a small case.
pub fn race(
    program: &Program,
    engines: &[Option<&dyn Contestant>],
    rules: Rules,
    wrong: &mut Vec<String>,
) -> Result<Vec<Option<Outcome>>> {
    let arg = rules.arg.unwrap_or(program.arg);
    let mut modules = Vec::new();
    for engine in engines {
        let Some(engine) = engine else {
            modules.push(None);
            continue;
        };
        let what = || format!("{} on {}", program.name, engine.name());
        let module = engine.compile(&program.wat).with_context(what)?;
        for (arg, expected) in program.expected.iter().filter(|_| rules.all_cases) {
            let (answer, _) = module.start()?.run(&program.export, *arg).with_context(what)?;
            if answer.to_string() != *expected {
                wrong.push(format!("{}: {arg} gives {answer}, not {expected}", what()));
            }
        }
        modules.push(Some(module));
    }
    let mut outcomes: Vec<Option<Outcome>> =
        modules.iter().map(|module| module.as_ref().map(|_| Ok(Runs(Vec::new())))).collect();
    let mut agreed: Option<Answer> = None;
    for turn in 0..rules.runs {
        // Another engine begins each time, so that no engine always follows the same one.
        for i in (0..engines.len()).map(|i| (i + turn) % engines.len()) {
            let (Some(engine), Some(module)) = (engines[i], &modules[i]) else { continue };
            let Some(Ok(runs)) = &mut outcomes[i] else { continue };
            if runs.0.iter().map(|run| run.spent.cpu).sum::<Duration>() > rules.patience {
                continue;
            }
            let mut running = module.start()?;
            match running.run(&program.export, arg) {
                Err(error) => outcomes[i] = Some(Err(format!("{error:#}"))),
                Ok((answer, spent)) => {
                    let observed = running.ticks().and_then(Ticks::observed);
                    runs.0.push(Run { spent, heap: running.heap(), observed });
                    let expected = match &program.answer {
                        Some(expected) if rules.arg.is_none() => expected.clone(),
                        _ => agreed.get_or_insert(answer).to_string(),
                    };
                    if answer.to_string() != expected {
                        let (name, engine) = (&program.name, engine.name());
                        wrong.push(format!(
                            "{name} on {engine}: {arg} gives {answer}, not {expected}"
                        ));
                    }
                }
            }
        }
        eprint!(".");
    }
    eprintln!(" {}", program.name);
    Ok(outcomes)
}
