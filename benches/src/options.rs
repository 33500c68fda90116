//! What programs of this crate that race engines are asked on the command line, all alike.

use crate::race::Rules;
use crate::suite::Program;
use crate::{Contestant, Settings, contestants, wanted};
use anyhow::{Result, ensure};
use clap::Args;
use std::time::Duration;

/// Which programs run on which engines, and how.
#[derive(Args, Clone, Debug)]
pub struct Race {
    /// Only programs whose name contains one of these.
    filter: Vec<String>,
    /// Runs of each program on each engine.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// An engine that took so many seconds of the processor for its runs of a program makes no
    /// more of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Only engines whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Call the programs with this instead of their own argument.
    #[arg(long)]
    pub arg: Option<i32>,
    /// Run the largest of the small cases once, and look at the answers alone.
    #[arg(long, conflicts_with = "arg")]
    pub smoke: bool,
    /// One object of JSON per program and engine and line, instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Bytes of stack for compiled code.
    #[arg(long, default_value_t = 8 << 20)]
    pub stack: usize,
}

impl Race {
    /// The programs among these that are wanted, at the size that is wanted.
    ///
    /// # Errors
    /// If there are none.
    pub fn programs(&self, mut programs: Vec<Program>) -> Result<Vec<Program>> {
        programs.retain(|program| wanted(&self.filter, &program.name));
        ensure!(!programs.is_empty(), "no program has such a name");
        if self.smoke {
            programs.iter_mut().for_each(Program::reduce);
        }
        Ok(programs)
    }

    /// The engines that are wanted.
    ///
    /// # Errors
    /// If there are none, or one cannot be made with so much stack.
    pub fn engines(&self) -> Result<Vec<Box<dyn Contestant>>> {
        let mut engines = contestants(&Settings { stack: self.stack })?;
        engines.retain(|engine| wanted(&self.engine, engine.name()));
        ensure!(!engines.is_empty(), "no engine has such a name");
        Ok(engines)
    }

    /// How each program is run; `all_cases` as in [`Rules`].
    ///
    /// # Errors
    /// If it is to be run no time at all.
    pub fn rules(&self, all_cases: bool) -> Result<Rules> {
        ensure!(self.runs > 0, "at least one run");
        let runs = if self.smoke { 1 } else { self.runs };
        let patience = Duration::from_secs(self.patience);
        Ok(Rules { runs, patience, arg: self.arg, all_cases })
    }
}
