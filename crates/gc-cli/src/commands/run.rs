//! `reclaim run`: instantiates a module and calls its exports.

use crate::args;
use crate::call::{self, Call};
use crate::failure::misuse;
use crate::options::EngineOptions;
use crate::program::{self, Program};
use crate::registry::Registry;
use crate::stats::{self, StatsFormat};
use anyhow::{Context, Result};
use clap::Args;
use gc_conformance::stack::with_stack;
use gc_wasm::{ExternType, FuncType, Instance, Module, Store};
use std::io::{self, Write};
use std::path::PathBuf;

/// Help text for the syntax of values.
pub(crate) const VALUES: &str = "\
Values: each argument is read as its parameter's type. Results are printed one per line in \
the same form.
  i32, i64      -5, 0xff, 4294967295
  f32, f64      1.5, 1e-45, 0x1.8p1, inf, nan, -nan:0x1
  references    null; i31:5; externref:7, a host value with a number
Structs, arrays and functions are printed, as in (struct 1 (array 2 3)), but cannot be \
arguments.";

/// Arguments of `reclaim run`.
#[derive(Args, Debug)]
#[command(after_help = VALUES)]
pub struct RunArgs {
    /// The module: binary (.wasm), text (.wat), or a file that `reclaim compile` wrote. You must
    /// trust a compiled file, and give the --collector and --heap-max with which it was compiled.
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// Call an export: `NAME` with its arguments after the file's name, or `NAME(ARG, …)`. May be
    /// repeated. The calls are made in order in one instance. Without this option `_start` is
    /// called. A module without `_start` must have a start function.
    #[arg(long, value_name = "NAME or 'NAME(ARG, …)'", value_parser = args::text())]
    pub invoke: Vec<String>,
    /// Arguments of the call, if there is one `--invoke NAME`.
    #[arg(value_name = "ARGS", value_parser = args::text())]
    pub args: Vec<String>,
    /// Print on stderr what the heap did, after the run.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "table"
    )]
    pub stats: Option<StatsFormat>,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// Runs the module.
///
/// # Errors
/// Misuse: if the calls do not fit the module. Also if the module cannot be read, compiled or
/// instantiated, or a call fails.
pub fn execute(args: RunArgs, registry: &Registry) -> Result<()> {
    let calls = call::parse_calls(&args.invoke, &args.args)?;
    let engine = args.engine.engine(registry)?;
    with_stack(args.engine.heap.stack_bytes(), || {
        let module = Program::read(&args.file)?.compile(&engine)?;
        program::check_imports(&module)?;
        let calls = match calls.is_empty() {
            true => start(&module)?,
            false => calls
                .into_iter()
                .map(|call| Ok((call.check(&module)?, call)))
                .collect::<Result<Vec<_>>>()?,
        };
        let mut store = Store::new(&engine, ())?;
        let result = run(&mut store, &module, &calls);
        if let Some(format) = args.stats {
            let text = stats::show(
                engine.collector().name(),
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
             `--invoke '_start(…)'`; its type is {ty}"
        ))),
        _ if module.has_start_function() => Ok(Vec::new()),
        _ => Err(misuse(format!(
            "the module has no function `_start`: name a function with `--invoke`; {}",
            call::list_exports(module, usize::MAX)
        ))),
    }
}

fn run(store: &mut Store<()>, module: &Module, calls: &[(FuncType, Call)]) -> Result<()> {
    let instance = program::instantiate(store, module)?;
    calls.iter().try_for_each(|(ty, call)| invoke(store, &instance, ty, call))
}

/// Makes one call and prints its results.
fn invoke(store: &mut Store<()>, instance: &Instance, ty: &FuncType, call: &Call) -> Result<()> {
    let outcome = call.perform(store, instance, ty)?;
    let mut out = io::stdout().lock();
    for result in &outcome.results {
        writeln!(out, "{result}").context("printing the results")?;
    }
    Ok(())
}
