//! The `reclaim` command: run, test and look into WebAssembly GC programs.
//!
//! One file per subcommand in [`commands`]; what they share is beside it. Everything
//! is a library so that a copy of the command with other collectors ([`main_with`]) is a
//! few lines.

pub mod args;
pub mod call;
pub mod commands;
pub mod duration;
pub mod failure;
pub mod options;
pub mod program;
pub mod registry;
pub mod size;
pub mod stats;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use commands::{Command, run::RunArgs};
use failure::Failure;
use gc_wasm::Collector;
use registry::Registry;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  reclaim app.wasm                               run `_start`, or list exports
  reclaim run lib.wat --invoke fib 20            call one export
  reclaim run lib.wat --invoke 'push(1)' --invoke 'push(2)' --invoke 'sum()'
                                                 several, in one instance
  reclaim run lib.wat --stats --collector null --invoke fib 20
                                                 see what the heap did
  reclaim bench lib.wat --invoke fib 20          time it under each collector
  reclaim collectors                             what each of them is good for
  reclaim explore lib.wat --func fib --emit asm  machine code of one function
  reclaim wast script.wast                       run a specification script

Exit status: 0 if all went well; 1 if the program trapped or something failed, in `bench` \
under one collector or more; 2 if the command was not used right: unknown options, no such \
export, arguments that do not fit it.

Set RECLAIM_LOG (for instance to `debug`) to see log messages on stderr.";

const ABOUT: &str = "Run, test and look into WebAssembly GC programs";

/// The command line.
#[derive(Parser, Debug)]
#[command(
    name = "reclaim",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The command line's grammar: a subcommand, or the arguments of `run`. Options
/// `--collector` take the names of those in `registry`.
pub fn grammar(registry: &Registry) -> clap::Command {
    // The arguments of `run` bring their own texts along.
    let grammar = RunArgs::augment_args(Cli::command())
        .about(ABOUT)
        .long_about(format!(
            "{ABOUT}.\n\nCompiles modules to machine code with the chosen collector's barriers inlined. \
             They may use WebAssembly 2.0 without SIMD, extended constant expressions, typed \
             function references and GC, and import nothing."
        ))
        .after_help(EXAMPLES);
    registry.teach(grammar)
}

fn parse(
    args: impl Iterator<Item = OsString>,
    registry: &Registry,
) -> clap::error::Result<Command> {
    let matches = grammar(registry).try_get_matches_from(args)?;
    match Cli::from_arg_matches(&matches)?.command {
        Some(command) => Ok(command),
        None => {
            let args = RunArgs::from_arg_matches(&matches)?;
            check_is_file(&args.file, registry)?;
            Ok(Command::Run(args))
        }
    }
}

/// Without a subcommand the first argument is a file: what is none, and does not look like
/// one, may be a subcommand that is none.
fn check_is_file(path: &Path, registry: &Registry) -> clap::error::Result<()> {
    let Some(name) = path.to_str().filter(|name| !name.contains(['.', '/'])) else { return Ok(()) };
    if path.exists() {
        return Ok(());
    }
    let mut grammar = grammar(registry);
    let commands: Vec<_> = grammar.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let near = call::near(name, commands.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; the commands are {}", commands.join(", ")),
    };
    let message = format!("`{name}` is neither a command nor a file{hint}");
    Err(grammar.error(ErrorKind::InvalidSubcommand, message))
}

/// The whole command, with the collectors of this project: parses `args` (the program's
/// name first), does what they say, prints errors, and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_with(args, Collector::all())
}

/// The same with these collectors to choose from: a copy of the command that has one more
/// is
///
/// ```no_run
/// # fn mine() -> gc_wasm::Collector { gc_wasm::Collector::null() }
/// fn main() -> std::process::ExitCode {
///     let mut collectors = gc_wasm::Collector::all();
///     collectors.push(mine());
///     gc_cli::main_with(std::env::args_os(), collectors)
/// }
/// ```
///
/// The default is the one that a [`Config`](gc_wasm::Config) begins with, if it is there,
/// or else the first. That there is none, or two of one name, is an error of the command.
pub fn main_with(args: impl IntoIterator<Item = OsString>, collectors: Vec<Collector>) -> ExitCode {
    let log = env_logger::Env::new().filter("RECLAIM_LOG");
    // A logger that is there already stays.
    let _ = env_logger::Builder::from_env(log).try_init();
    let registry = match Registry::new(collectors) {
        Ok(registry) => registry,
        Err(error) => return failure::report(&error),
    };
    let command = match parse(args::shield_negatives(args), &registry) {
        Ok(command) => command,
        Err(mut error) => {
            args::unshield_error(&mut error);
            // Help, too, comes this way; that nobody reads it any more is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Failure::MISUSE } else { 0 });
        }
    };
    match command.execute(&registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
