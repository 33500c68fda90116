//! `reclaim run`: instantiates a module and calls its exports.

use crate::call::{self, Call};
use crate::failure::misuse;
use crate::options::EngineOptions;
use crate::registry::Registry;
use crate::stack::with_stack;
use crate::stats::{self, StatsFormat};
use crate::values;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use gc_wasm::{
    AsContextMut, Engine, ExternType, FuncType, Instance, Linker, Module, RootScope, Store, Val,
};
use std::io::{self, Write};
use std::path::PathBuf;

const VALUES: &str = "\
Values: arguments are read by the type of the parameter, results are printed one per line
in the same form.
  i32, i64      -5, 0xff, 4294967295
  f32, f64      1.5, 1e-45, 0x1.8p1, inf, nan, -nan:0x1
  references    null; i31:5; externref:7, a number of the host's
Structs, arrays and functions are printed, as in (struct 1 (array 2 3)), but cannot be
typed.";

/// Arguments of `reclaim run`.
#[derive(Args, Debug)]
#[command(after_help = VALUES)]
pub struct RunArgs {
    /// The module: binary (.wasm) or text (.wat).
    #[arg(value_name = "FILE", value_parser = values::path())]
    pub file: PathBuf,
    /// Call an export: `NAME`, its arguments behind the file's name, or `NAME(ARG, …)`,
    /// as often as wanted, in order, in one instance. Without it `_start` is called.
    #[arg(long, value_name = "NAME or 'NAME(ARG, …)'", value_parser = values::text())]
    pub invoke: Vec<String>,
    /// Arguments of the call if there is one `--invoke NAME`.
    #[arg(value_name = "ARGS", value_parser = values::text())]
    pub args: Vec<String>,
    /// Say on stderr what the heap did, after the run.
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
/// Misuse if the calls do not fit the module; else if the module cannot be read,
/// compiled or instantiated, or a call fails.
pub fn execute(args: RunArgs, registry: &Registry) -> Result<()> {
    let calls = call::parse_calls(&args.invoke, &args.args)?;
    let engine = args.engine.engine(registry)?;
    with_stack(args.engine.heap.stack_bytes(), || {
        let module = Module::from_file(&engine, &args.file)?;
        let calls = calls
            .into_iter()
            .map(|call| Ok((call.check(&module)?, call)))
            .collect::<Result<Vec<_>>>()?;
        check_imports(&module)?;
        let mut store = Store::new(&engine, ())?;
        let result = run(&engine, &mut store, &module, &calls);
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

fn run(
    engine: &Engine,
    store: &mut Store<()>,
    module: &Module,
    calls: &[(FuncType, Call)],
) -> Result<()> {
    let instance =
        Linker::new(engine).instantiate(&mut *store, module).context("instantiating the module")?;
    if !calls.is_empty() {
        return calls.iter().try_for_each(|(ty, call)| invoke(store, &instance, ty, call));
    }
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 => {
            let start = Call { name: "_start".to_owned(), args: Vec::new() };
            invoke(store, &instance, &ty, &start)
        }
        Some(ExternType::Func(ty)) => Err(misuse(format!(
            "`_start` takes arguments, and so is not called by itself: call it with \
             `--invoke '_start(…)'`; its type is {ty}"
        ))),
        _ => {
            writeln!(
                io::stderr(),
                "the module has no function `_start` to run: say with `--invoke` what to call; {}",
                call::list_exports(module, usize::MAX)
            )?;
            Ok(())
        }
    }
}

/// Imports that are listed at most.
const LISTED: usize = 10;

/// Nothing can be imported: the host has no functions to offer yet.
fn check_imports(module: &Module) -> Result<()> {
    let imports = module.imports();
    let count = imports.len();
    if count == 0 {
        return Ok(());
    }
    let mut list = String::new();
    for import in imports.take(LISTED) {
        list.push_str(&format!("\n  {}.{}: {}", import.module(), import.name(), import.ty()));
    }
    if count > LISTED {
        list.push_str(&format!("\n  … and {} more", count - LISTED));
    }
    bail!("the module imports what this command does not provide:{list}")
}

/// Makes one call and prints its results. References live as long as that.
fn invoke(store: &mut Store<()>, instance: &Instance, ty: &FuncType, call: &Call) -> Result<()> {
    let mut scope = RootScope::new(store);
    let name = &call.name;
    let mut args = Vec::with_capacity(call.args.len());
    for (i, (text, ty)) in call.args.iter().zip(ty.params()).enumerate() {
        let arg = values::parse(&mut scope, text, &ty)
            .map_err(|error| misuse(format!("argument {} of `{name}`: {error:#}", i + 1)))?;
        args.push(arg);
    }
    let func = instance
        .get_func(&mut scope, name)
        .ok_or_else(|| anyhow!("the instance does not export the function `{name}`"))?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    func.call(&mut scope, &args, &mut results)
        .with_context(|| format!("calling `{name}({})`", call.args.join(", ")))?;
    let mut out = io::stdout().lock();
    for result in &results {
        let text = values::print(scope.as_context_mut(), result)?;
        writeln!(out, "{text}").context("printing the results")?;
    }
    Ok(())
}
