//! The `reclaim` command: runs, tests and inspects WebAssembly GC programs.
//!
//! Each subcommand has a file in [`commands`]. Shared code is beside that folder. Everything is a
//! library, so that a copy of the command with other collectors ([`main_with`]) takes a few lines.

pub mod args;
pub mod call;
pub mod command_name;
pub mod commands;
pub mod duration;
pub mod exception;
pub mod failure;
pub mod file_kind;
pub mod imports;
pub mod interrupt;
pub mod interrupted;
pub mod mismatch;
pub mod option_names;
pub mod options;
pub mod printable;
pub mod program;
pub mod registry;
pub mod stats;
pub mod text_position;
pub mod wasmtime;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use commands::{Command, run::RunArgs};
use failure::Failure;
use gc_wasm::Collector;
use option_names::OptionNames;
use registry::Registry;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  reclaim app.wasm                               run `_start`
  reclaim app.wasm --dir . -- -v notes.txt       with a directory and arguments
  reclaim run lib.wat --invoke fib 20            call one export
  reclaim run lib.wat --invoke 'push(1)' --invoke 'push(2)' --invoke 'sum()'
                                                 several, in one instance
  reclaim run lib.wat --stats --collector null --invoke fib 20
                                                 see what the heap did
  reclaim bench lib.wat --invoke fib 20          time it under each collector
  reclaim collectors                             what each is good for
  reclaim explore lib.wat --func fib --emit asm  machine code of one function
  reclaim wast script.wast                       run a specification script

Exit status: that of the program if it ends itself; 0 for success; 1 if the program trapped or \
something failed (in `bench` under at least one collector); 2 if the command was used wrongly: \
unknown options, no such export, arguments that do not fit; 124 if the time of --timeout is over; \
130 after Ctrl-C.

Set RECLAIM_LOG (for instance to `debug`) to see log messages on stderr.";

const ABOUT: &str = "Run, test and inspect WebAssembly GC programs";

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
    /// The subcommand.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The command line's grammar: a subcommand, or the arguments of `run`. `--collector` options take
/// the names of the collectors in `registry`.
pub fn grammar(registry: &Registry) -> clap::Command {
    // The arguments of `run` set their own texts.
    let grammar = RunArgs::augment_args(Cli::command())
        .about(ABOUT)
        .long_about(format!(
            "{ABOUT}.\n\nCompiles modules to machine code with the chosen collector's barriers inlined. \
             They may use WebAssembly 3.0 and legacy exceptions. They may import WASI preview 1 and what \
             the other host modules of `--host` provide."
        ))
        .after_help(EXAMPLES);
    command_name::rename(registry.teach(grammar), registry.command_name())
}

fn parse(
    args: impl Iterator<Item = OsString>,
    registry: &Registry,
) -> clap::error::Result<Command> {
    let args: Vec<OsString> = args.collect();
    args::check_stats(&args)
        .map_err(|message| grammar(registry).error(ErrorKind::InvalidValue, message))?;
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

/// Without a subcommand the first argument is a file. An argument that is not a file, and does not
/// look like one, may be a misspelled subcommand.
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

/// The whole command with the built-in collectors: parses `args` (the program's name first),
/// executes the command, prints errors, and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_with(args, Collector::all())
}

/// The whole command with these collectors. A copy of the command with one more collector:
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
/// The default collector is that of [`Config`](gc_wasm::Config) if it is in the list, otherwise the
/// first one. An empty list, or two collectors with one name, is an error of the command.
pub fn main_with(args: impl IntoIterator<Item = OsString>, collectors: Vec<Collector>) -> ExitCode {
    let log = env_logger::Env::new().filter("RECLAIM_LOG");
    // A logger that is installed already stays.
    let _ = env_logger::Builder::from_env(log).try_init();
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args.first().map_or(command_name::USUAL.to_owned(), |first| command_name::of(first));
    let registry = match Registry::new(collectors) {
        Ok(registry) => registry.with_command_name(name),
        Err(error) => return failure::report(&error, &OptionNames::OURS),
    };
    let command = match parse(args::shield_negatives(args), &registry) {
        Ok(command) => command,
        Err(mut error) => {
            args::unshield_error(&mut error);
            args::keep_similar(&mut error);
            // Help also arrives here, and the list of a group's settings. A closed output is not an
            // error.
            let _ = match (error.kind(), error.get(ContextKind::Custom)) {
                (ErrorKind::DisplayHelp, Some(ContextValue::String(list))) => {
                    std::io::stdout().write_all(list.as_bytes())
                }
                _ => error.print(),
            };
            return ExitCode::from(if error.use_stderr() { Failure::MISUSE } else { 0 });
        }
    };
    let names = command.option_names();
    match command.execute(&registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &names),
    }
}
