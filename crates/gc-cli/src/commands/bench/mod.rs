//! `reclaim bench`: one call, timed under several collectors side by side.
//!
//! Each collector has one instance in one store, or a new one for each run of a program. The
//! collectors take turns, one run each, so that a slow minute of the machine affects all of them. A collector that fails makes no more runs, and
//! the others continue. Different results are a failure too.

mod contender;
mod report;
mod tail;

use crate::args;
use crate::call::{self, Call};
use crate::commands::run::VALUES;
use crate::failure::{self, Failure};
use crate::imports::ImportOptions;
use crate::interrupt::InterruptOptions;
use crate::option_names::OptionNames;
use crate::options::Settings;
use crate::program::Program;
use crate::registry::Registry;
use anyhow::Result;
use clap::{Args, value_parser};
use contender::{Contender, Entry, Task};
use gc_script::stack::with_stack;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "\
Each collector makes all its runs in one instance, unless the call is that of a program's \
`_start`: then each run has a new one. The collectors take turns, one run each. \
All runs count, also the first one, in which the heap grows and caches are cold; --json also \
prints it as `first`. Collections, pauses and bytes are sums over all runs. Compiling, making \
instances, parsing arguments and printing results are not timed.

If a run fails, the error is printed and the other collectors continue. A program that ends \
itself with an exit status other than 0 fails. A collector that frees \
nothing keeps the garbage of all its runs. What the program prints is lost, except for the \
end of what a failed run wrote to stderr, and its input is empty. Results that differ from those of the first \
collector that did not fail are an error. In both cases the exit status is 1.

Examples:
  reclaim bench app.wasm -- -v notes.txt
  reclaim bench app.wat --invoke run 10
  reclaim bench app.wat --invoke 'run(10)' --collector drc,copying --runs 25
  reclaim bench app.wat --invoke run 10 --json | jq '{collector, secs}'";

/// Arguments of `reclaim bench`.
#[derive(Args, Debug)]
#[command(after_help = ABOUT, after_long_help = format!("{ABOUT}\n\n{VALUES}"))]
pub struct BenchArgs {
    /// The module: binary (.wasm), text (.wat), or a file that `reclaim compile` wrote, which fails
    /// under all collectors but its own.
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// The export to call: `NAME` with its arguments after the file's name, or `NAME(ARG, …)`.
    /// Without this option `_start` is called.
    #[arg(long, value_name = "NAME or 'NAME(ARG, …)'", value_parser = args::text())]
    pub invoke: Option<String>,
    /// Arguments of the call, if it has the form `--invoke NAME`. Without `--invoke`, arguments of
    /// the program; write them after `--`.
    #[arg(value_name = "ARGS", value_parser = args::text())]
    pub args: Vec<String>,
    /// Runs under each collector.
    #[arg(long, value_name = "N", default_value = "5", value_parser = value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Print one line of JSON per collector instead of a table: times in seconds, pauses in
    /// nanoseconds, sizes in bytes.
    #[arg(long)]
    pub json: bool,
    /// The collectors, separated by commas, or `all`.
    // The registry adds the possible values.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "all")]
    pub collector: Vec<String>,
    /// How it is ended.
    #[command(flatten)]
    pub interrupt: InterruptOptions,
    /// What it imports.
    #[command(flatten)]
    pub imports: ImportOptions,
    /// The heaps and the stack.
    #[command(flatten)]
    pub settings: Settings,
}

/// Times the call and prints the times.
///
/// # Errors
/// Misuse: if the call does not fit the module. Also if the module cannot be read or is invalid.
/// [`Failure::Reported`] if a collector failed.
pub fn execute(args: &BenchArgs, registry: &Registry) -> Result<()> {
    let (call_args, program_args) = call::split_args(args.invoke.as_slice(), &args.args);
    let calls = call::parse_calls(args.invoke.as_slice(), call_args)?;
    let call = calls.into_iter().next().unwrap_or_else(Call::start);
    args.imports.check()?;
    args.interrupt.check(&args.settings.run)?;
    let collectors = registry.choose_all(&args.collector)?;
    let interrupter = args.interrupt.listen()?;
    with_stack(args.settings.run.stack_bytes(), || {
        let program = Program::read(&args.file)?;
        let engines = collectors.iter().map(|collector| args.settings.engine(collector));
        let engines = engines.collect::<Result<Vec<_>>>()?;
        if let Some(engine) = engines.first()
            && !program.is_compiled()
        {
            program.validate(engine)?;
        }
        let progress = progress_bar(engines.len(), args.runs)?;
        let task = Task {
            program: &program,
            imports: &args.imports,
            call: &call,
            args: program_args,
            interrupter: &interrupter,
        };
        let mut contenders = Vec::new();
        for engine in &engines {
            progress.set_message(format!("compiling under {}", engine.collector().name()));
            contenders.push(Contender::new(engine, task)?);
        }
        race(&mut contenders, args.runs, &progress)?;
        progress.finish_and_clear();
        let entries: Vec<_> = contenders.into_iter().map(Contender::finish).collect();
        let text = match args.json {
            true => Some(report::json(&entries)),
            // A table of failures says nothing that the errors do not say.
            false if entries.iter().all(|entry| entry.error.is_some()) => None,
            false => Some(report::table(&call, args.runs, &entries)),
        };
        if let Some(text) = text {
            writeln!(io::stdout(), "{text}")?;
        }
        say_errors(&entries)
    })
}

/// A progress bar on stderr if stderr is a terminal, otherwise nothing.
fn progress_bar(collectors: usize, runs: u32) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {msg}, {elapsed}")?;
    let bar = ProgressBar::new(collectors as u64 * u64::from(runs))
        .with_style(style)
        .with_finish(ProgressFinish::AndClear);
    // The time goes on while a run goes on.
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Runs the contenders in turns until each has made its runs or failed.
///
/// # Errors
/// Misuse: if an argument does not have its parameter's type.
fn race(contenders: &mut [Contender], runs: u32, progress: &ProgressBar) -> Result<()> {
    for _ in 0..runs {
        // The first contender that finished in this round, and its results.
        let mut first: Option<(&'static str, Vec<String>)> = None;
        for contender in &mut *contenders {
            progress.set_message(contender.name());
            if let Some(results) = contender.run()? {
                match &first {
                    None => first = Some((contender.name(), results)),
                    Some((_, expected)) if *expected == results => {}
                    Some((name, expected)) => contender.differs(&results, name, expected),
                }
            }
            progress.inc(1);
        }
    }
    Ok(())
}

/// Prints the errors on stderr. An error that several collectors share is printed once.
///
/// # Errors
/// [`Failure::Reported`] if there is one.
fn say_errors(entries: &[Entry]) -> Result<()> {
    let mut errors: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries {
        let Some(error) = &entry.error else { continue };
        let (name, mut text) =
            (format!("`{}`", entry.collector), failure::describe(error, &OptionNames::OURS));
        if !entry.stderr.is_empty() {
            text.push_str(&format!("\nthe program wrote to stderr:\n{}", entry.stderr));
        }
        match errors.iter_mut().find(|(other, _)| *other == text) {
            Some((_, names)) => names.push(name),
            None => errors.push((text, vec![name])),
        }
    }
    for (text, names) in &errors {
        // If stderr is closed, the error cannot be printed.
        let _ = writeln!(io::stderr(), "error: under {}: {text}", names.join(", "));
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::Reported.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupter;
    use gc_script::message::one_line;
    use gc_wasm::{Collector, Config, Engine};
    use std::path::Path;

    /// Runs programs with these bodies, one for each collector.
    fn raced(bodies: &[&str], runs: u32) -> Vec<Entry> {
        let call = Call { name: "f".to_owned(), args: Vec::new() };
        let interrupter = Interrupter::default();
        let programs = bodies.iter().zip(Collector::all()).map(|(body, collector)| {
            let engine = Engine::new(Config::new().collector(collector)).unwrap();
            let text = format!(
                r#"(module (global $runs (mut i32) (i32.const 0)) (func (export "f") (result i32)
                    (global.set $runs (i32.add (global.get $runs) (i32.const 1))) {body}))"#
            );
            let program = Program::parse(Path::new("test.wat"), text.as_bytes()).unwrap();
            (engine, program)
        });
        let programs: Vec<_> = programs.collect();
        let (imports, interrupter) = (&ImportOptions::default(), &interrupter);
        let contenders = programs.iter().map(|(engine, program)| {
            let task = Task { program, imports, call: &call, args: &[], interrupter };
            Contender::new(engine, task).unwrap()
        });
        let mut contenders: Vec<_> = contenders.collect();
        race(&mut contenders, runs, &ProgressBar::hidden()).unwrap();
        contenders.into_iter().map(Contender::finish).collect()
    }

    fn errors(entries: &[Entry]) -> Vec<Option<String>> {
        entries.iter().map(|entry| entry.error.as_ref().map(one_line)).collect()
    }

    fn runs(entries: &[Entry]) -> Vec<usize> {
        entries.iter().map(|entry| entry.times.len()).collect()
    }

    #[test]
    fn the_runs_of_a_collector_share_one_instance() {
        let entries = raced(&["(global.get $runs)"; 4], 3);
        assert_eq!(errors(&entries), [None, None, None, None]);
        assert_eq!(runs(&entries), [3; 4]);
        // The reported results are those of the first run.
        assert!(entries.iter().all(|entry| entry.results == Some(vec!["1".to_owned()])));
    }

    #[test]
    fn results_that_differ_are_an_error_that_names_both() {
        let third = "(i32.eq (global.get $runs) (i32.const 3))";
        let entries = raced(&["(i32.const 0)", third, "(i32.const 7)"], 5);
        let expected = [
            None,
            Some("run 3: the result is 1, but 0 under `null`".to_owned()),
            Some("run 1: the result is 7, but 0 under `null`".to_owned()),
        ];
        assert_eq!(errors(&entries), expected);
        assert_eq!(runs(&entries), [5, 3, 1]);
        assert!(say_errors(&entries).is_err() && say_errors(&entries[..1]).is_ok());
    }

    #[test]
    fn those_that_fail_are_no_measure_for_others() {
        let entries = raced(&["unreachable", "(i32.const 7)", "(i32.const 7)"], 2);
        let trap =
            "run 1: calling `f()`: wasm trap: wasm `unreachable` instruction executed".to_owned();
        assert_eq!(errors(&entries), [Some(trap), None, None]);
        assert_eq!(runs(&entries), [0, 2, 2]);
    }
}
