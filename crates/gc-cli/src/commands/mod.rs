//! The subcommands, one file each.

pub mod bench;
pub mod collectors;
pub mod compile;
pub mod completions;
pub mod explore;
pub mod run;
pub mod wast;

use crate::option_names::OptionNames;
use crate::registry::Registry;
use anyhow::Result;
use clap::Subcommand;

/// A subcommand and its arguments.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a module: call its exports, or `_start`.
    Run(run::RunArgs),
    /// Compile a module to a file that `run` accepts.
    Compile(compile::CompileArgs),
    /// Time a program or a call under several collectors, side by side.
    Bench(bench::BenchArgs),
    /// List the collectors and what each is good for.
    Collectors(collectors::CollectorsArgs),
    /// Run specification scripts: count passed directives, list failures.
    Wast(wast::WastArgs),
    /// Show the code that is emitted for a module's functions.
    Explore(explore::ExploreArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// The names by which errors call options.
    pub fn option_names(&self) -> OptionNames {
        match self {
            Command::Run(args) => args.wasmtime.groups.option_names(),
            Command::Compile(args) => args.groups.option_names(),
            _ => OptionNames::OURS,
        }
    }

    /// Executes the subcommand with the collectors in `registry`.
    ///
    /// # Errors
    /// If anything fails; [`failure::report`](crate::failure::report) shows it.
    pub fn execute(self, registry: &Registry) -> Result<()> {
        match self {
            Command::Run(args) => run::execute(args, registry),
            Command::Compile(args) => compile::execute(&args, registry),
            Command::Bench(args) => bench::execute(&args, registry),
            Command::Collectors(args) => collectors::execute(&args, registry),
            Command::Wast(args) => wast::execute(&args, registry),
            Command::Explore(args) => explore::execute(&args, registry),
            Command::Completions(args) => completions::execute(&args, registry),
        }
    }
}
