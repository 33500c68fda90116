//! The command-line options shared by the programs of this crate that compare engines.

use crate::race::Rules;
use crate::suite::Program;
use crate::{Contestant, Settings, contestants, v8, wanted};
use anyhow::{Result, ensure};
use clap::Args;
use std::time::Duration;

/// The choice of programs and engines, and the number of runs.
#[derive(Args, Clone, Debug)]
pub struct Race {
    /// Only programs whose name contains one of these.
    filter: Vec<String>,
    /// Runs of each program on each engine.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// An engine that has used this many seconds of processor time for a program makes no more runs
    /// of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Call the programs with this instead of their own argument.
    #[arg(long)]
    pub arg: Option<i32>,
    /// Run the largest of the small cases once, and check only the answers.
    #[arg(long, conflicts_with = "arg")]
    pub smoke: bool,
    /// Print one line of JSON per program and engine instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Bytes of stack for compiled code.
    #[arg(long, default_value_t = 8 << 20)]
    pub stack: usize,
}

/// The options of a bench whose engines take turns.
#[derive(Args, Clone, Copy, Debug)]
pub struct Turns {
    /// Turns of each engine.
    #[arg(long, default_value_t = 15)]
    turns: usize,
    /// Run everything once and measure nothing.
    #[arg(long)]
    pub test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Turns {
    /// How the engines run: with enough patience that each takes all its turns.
    pub fn rules(&self) -> Rules {
        let runs = if self.test { 1 } else { self.turns };
        Rules { runs, patience: Duration::from_secs(60), arg: None, all_cases: self.test }
    }
}

impl Race {
    /// The chosen programs among these, at the chosen size.
    ///
    /// # Errors
    /// If there are none.
    pub fn programs(&self, mut programs: Vec<Program>) -> Result<Vec<Program>> {
        programs.retain(|program| wanted(&self.filter, &program.name));
        ensure!(!programs.is_empty(), "no program matches the filter");
        if self.smoke {
            programs.iter_mut().for_each(Program::reduce);
        }
        Ok(programs)
    }

    /// The chosen engines.
    ///
    /// # Errors
    /// If there are none, or one cannot be made with the requested stack.
    pub fn engines(&self) -> Result<Vec<Box<dyn Contestant>>> {
        self.chosen(contestants(&self.settings())?)
    }

    /// The chosen engines, and V8 if it is among them and there is a Node.js that can run the
    /// programs.
    ///
    /// # Errors
    /// As [`engines`](Race::engines).
    pub fn engines_and_v8(&self) -> Result<Vec<Box<dyn Contestant>>> {
        let mut engines = contestants(&self.settings())?;
        engines.extend(v8::v8_or_warning());
        self.chosen(engines)
    }

    fn chosen(&self, mut engines: Vec<Box<dyn Contestant>>) -> Result<Vec<Box<dyn Contestant>>> {
        engines.retain(|engine| self.wants(engine.name()));
        ensure!(!engines.is_empty(), "no engine matches the filter");
        Ok(engines)
    }

    /// Whether the engine of this name is chosen.
    pub fn wants(&self, engine: &str) -> bool {
        wanted(&self.engine, engine)
    }

    /// The chosen settings.
    pub fn settings(&self) -> Settings {
        Settings { stack: self.stack }
    }

    /// The rules for running each program. `all_cases` is as in [`Rules`].
    ///
    /// # Errors
    /// If the number of runs is zero.
    pub fn rules(&self, all_cases: bool) -> Result<Rules> {
        ensure!(self.runs > 0, "at least one run");
        let runs = if self.smoke { 1 } else { self.runs };
        let patience = Duration::from_secs(self.patience);
        Ok(Rules { runs, patience, arg: self.arg, all_cases })
    }
}
