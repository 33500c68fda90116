//! `reclaim run`: instantiates a module and calls its exports.

use crate::args;
use crate::call::{self, Call};
use crate::failure::misuse;
use crate::imports::{self, ImportOptions};
use crate::interrupt::InterruptOptions;
use crate::options::EngineOptions;
use crate::program::Program;
use crate::registry::Registry;
use crate::stats::{self, StatsFormat};
use crate::wasmtime::RunOptions;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use gc_hosts::{HostCtx, I32Exit};
use gc_script::stack::with_stack;
use gc_wasm::{ExternType, FuncType, Instance, Module, ProfilingStrategy, Store};
use std::io::{self, Write};
use std::path::PathBuf;

/// Help text for the syntax of values.
pub(crate) const VALUES: &str = "\
Values: each argument is read as its parameter's type. Results are printed one per line in \
the same form.
  i32, i64      -5, 0xff, 4294967295
  f32, f64      1.5, 1e-45, 0x1.8p1, inf, nan, -nan:0x1
  v128          i32x4 0x1 -2 3 4; as an argument also i8x16, i16x8, i64x2, f32x4, f64x2
  references    null; i31:5; externref:7, a host value with a number
Structs, arrays and functions are printed, as in (struct 1 (array 2 3)), but cannot be \
arguments.";

/// Help text for `reclaim run`.
const HELP: &str = "\
Examples:
  reclaim run app.wasm -- -v notes.txt           a program with arguments
  reclaim run app.wasm --dir data::/ --env LANG  with a directory and a variable
  reclaim run lib.wat --invoke fib 20            one export
  reclaim run app.wasm --fuel 1000000 --stats    at most so much work
  reclaim run app.wasm --preload env=lib.wasm    what `env` exports is in lib.wasm
  perf record -g reclaim run app.wasm --profile perf
                                                 `perf report` then names its functions";

/// Arguments of `reclaim run`.
#[derive(Args, Debug)]
#[command(after_help = format!("{HELP}\n\n{VALUES}"))]
pub struct RunArgs {
    /// The module: binary (.wasm), text (.wat), or a file that `reclaim compile` wrote.
    ///
    /// You must trust a compiled file, and give the options for collector and heap with which it was
    /// compiled.
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// Call an export: `NAME` with its arguments after the file's name, or `NAME(ARG, …)`.
    ///
    /// May be repeated. The calls are made in order in one instance. Without this option `_start` is
    /// called. A module without `_start` must have a start function. First `_initialize` is called, if
    /// the module exports it, also without this option, but not if `_start` or `_initialize` itself is
    /// called. It must take no arguments and have no results.
    #[arg(long, value_name = "NAME or 'NAME(ARG, …)'", value_parser = args::text())]
    pub invoke: Vec<String>,
    /// Arguments of the call, if there is one `--invoke NAME`. Without `--invoke`, arguments of the
    /// program; write them after `--`.
    #[arg(value_name = "ARGS", value_parser = args::text())]
    pub args: Vec<String>,
    /// What it imports.
    #[command(flatten)]
    pub imports: ImportOptions,
    /// How it is ended.
    #[command(flatten)]
    pub interrupt: InterruptOptions,
    /// Trap when the program has consumed this much fuel.
    ///
    /// Most instructions consume one unit, and those that work on many bytes or elements one for each.
    /// The number is the same in each run and
    /// with each collector; --stats prints it.
    #[arg(long, value_name = "N", value_parser = fuel, help_heading = None::<&str>)]
    pub fuel: Option<u64>,
    /// Print on stderr what the heap did, after the run.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "table",
        help_heading = None::<&str>
    )]
    pub stats: Option<StatsFormat>,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
    /// Tell Linux `perf` the names of the compiled functions.
    ///
    /// Record a profile with
    /// `perf record -g reclaim run …`, for jitdump with `perf record -k mono -g reclaim run …`.
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Compilation")]
    pub profile: Option<Profile>,
    /// Options of Wasmtime.
    #[command(flatten)]
    pub wasmtime: RunOptions,
}

/// The files from which `perf` knows compiled functions.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A map, /tmp/perf-PID.map: after the run `perf report`.
    // Wasmtime's name.
    #[value(alias = "perfmap")]
    Perf,
    /// A dump, jit-PID.dump in the current directory, with the code and the lines of the module's
    /// text: after the run `perf inject --jit -i perf.data -o perf.jit.data`, then `perf report` or
    /// `perf annotate` with `-i perf.jit.data`.
    Jitdump,
}

impl Profile {
    fn strategy(self) -> ProfilingStrategy {
        match self {
            Profile::Perf => ProfilingStrategy::PerfMap,
            Profile::Jitdump => ProfilingStrategy::JitDump,
        }
    }
}

/// Parses an amount of fuel.
fn fuel(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number of units from 0 to {}", u64::MAX))
}

/// Runs the module.
///
/// # Errors
/// Misuse: if the calls do not fit the module. Also if the module cannot be read, compiled or
/// instantiated, or a call fails.
pub fn execute(mut args: RunArgs, registry: &Registry) -> Result<()> {
    let asked = args.wasmtime.groups.asked()?;
    asked.change(&mut args.engine);
    args.fuel = asked.fuel.or(args.fuel);
    args.interrupt.timeout = asked.timeout.or(args.interrupt.timeout);
    args.interrupt.names = asked.option_names();
    args.imports.unknown_imports = asked.unknown_imports.or(args.imports.unknown_imports);
    args.imports.inherit_env = asked.inherit_env;
    args.imports.limits = asked.limits();
    args.wasmtime.check()?;
    args.imports.mapdirs.clone_from(&args.wasmtime.mapdir);
    args.engine.settings.code.consume_fuel = args.fuel.is_some();
    if let Some(profile) = args.profile {
        args.engine.settings.run.profiler = profile.strategy();
    }
    let (call_args, program_args) = call::split_args(&args.invoke, &args.args);
    let calls = call::parse_calls(&args.invoke, call_args)?;
    args.interrupt.check(&args.engine.settings.run)?;
    args.imports.check()?;
    let engine = args.engine.engine(registry)?;
    let interrupter = args.interrupt.listen()?;
    with_stack(args.engine.settings.run.stack_bytes(), || {
        interrupter.doing(format!("reading {}", args.file.display()));
        let program = Program::read(&args.file)?;
        let compile = || {
            let module = program.compile(&engine);
            module.map_err(|error| asked.explain(error, &program))
        };
        let module = interrupter.compiling(&engine, program.compiling(), compile)?;
        let calls = match calls.is_empty() {
            true => {
                args.imports.check_args(&module, program_args)?;
                start(&module)?
            }
            false => calls
                .into_iter()
                .map(|call| Ok((call.check(&module)?, call)))
                .collect::<Result<Vec<_>>>()?,
        };
        if begins_with_initialize(&calls) {
            imports::check_initialize(&module)?;
        }
        let program_args = [&[program.name()][..], program_args].concat();
        let mut store = args.imports.store(&engine, program_args, asked.stdio())?;
        if let Some(fuel) = args.fuel {
            store.set_fuel(fuel)?;
        }
        let running = interrupter.begin(&store)?;
        let result = run(&args.imports, &mut store, &module, &calls);
        drop(running);
        let result = result.map_err(|error| interrupter.explain(error));
        if let Some(format) = args.stats {
            let left = store.get_fuel().unwrap_or(0);
            let text = stats::show(
                engine.collector().name(),
                args.fuel.map(|fuel| fuel.saturating_sub(left)),
                &store.gc_stats(),
                store.gc_pauses(),
                format,
            );
            writeln!(io::stderr(), "{text}")?;
        }
        result
    })
}

/// The calls if the command line names none: `_start`. There are none if the module has only a
/// start function, which runs at instantiation.
///
/// # Errors
/// Misuse: if there is nothing to run, or `_start` takes arguments.
fn start(module: &Module) -> Result<Vec<(FuncType, Call)>> {
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 => Ok(vec![(ty, Call::start())]),
        Some(ExternType::Func(ty)) => Err(misuse(format!(
            "`_start` takes arguments, and so is not called by itself: call it with \
             `--invoke '_start(…)'`; its type is {}",
            module.show_type(&ExternType::Func(ty))
        ))),
        _ if module.has_start_function() => Ok(Vec::new()),
        _ if module.get_export("_initialize").is_some() => Err(misuse(format!(
            "the module is a library: it exports `_initialize`, but no `_start`. Name a function \
             with `--invoke`, which calls `_initialize` first; {}",
            call::list_exports(module, usize::MAX)
        ))),
        _ => Err(misuse(format!(
            "the module has no function `_start`: name a function with `--invoke`; {}",
            call::list_exports(module, usize::MAX)
        ))),
    }
}

/// Whether `_initialize` is called before these calls, if the module exports it.
fn begins_with_initialize(calls: &[(FuncType, Call)]) -> bool {
    !calls.iter().any(|(_, call)| ["_start", "_initialize"].contains(&&*call.name))
}

fn run(
    imports: &ImportOptions,
    store: &mut Store<HostCtx>,
    module: &Module,
    calls: &[(FuncType, Call)],
) -> Result<()> {
    let instance = imports.instantiate(store, module)?;
    if begins_with_initialize(calls) {
        imports::initialize(store, module, &instance)?;
    }
    for (i, (ty, call)) in calls.iter().enumerate() {
        let result = invoke(store, &instance, ty, call);
        if let (Err(error), Some((_, next))) = (&result, calls.get(i + 1))
            && error.is::<I32Exit>()
        {
            writeln!(io::stderr(), "`{call}` ended the program: `{next}` was not called")?;
        }
        result?;
    }
    Ok(())
}

/// Makes one call and prints its results.
///
/// # Errors
/// [`I32Exit`](gc_hosts::I32Exit) if the program ends itself. Also if the call fails.
fn invoke(
    store: &mut Store<HostCtx>,
    instance: &Instance,
    ty: &FuncType,
    call: &Call,
) -> Result<()> {
    let outcome = call.perform(store, instance, ty)?;
    store.data_mut().moonbit.flush()?;
    if let Some(exit) = outcome.exit {
        return Err(exit.into());
    }
    let mut out = io::stdout().lock();
    for result in &outcome.results {
        writeln!(out, "{result}").context("printing the results")?;
    }
    Ok(())
}
