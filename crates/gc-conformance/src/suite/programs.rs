//! Real programs under each collector, in the normal mode, with checked heap bounds, and with
//! `gc_zeal`. The programs are those of `tests/programs` and, at reduced size, of `tests/stress`,
//! which come with this crate, and those of toolchains in a folder beside the project, if it
//! exists. Each program × collector × mode is one test.
//!
//! With zeal, a collection at every allocation takes quadratic time. So only a program's first and
//! smallest case runs with a collection at every allocation. The second case runs with one at every
//! `SPARSE`th.

use super::{checked, failed, host, ignored};
use anyhow::{Context, Result, ensure};
use gc_hosts::wasi::{self, WasiCtx, WasiCtxBuilder};
use gc_hosts::{I32Exit, MemoryOutputPipe, OutputStream};
use gc_script::stack::with_stack;
use gc_script::values;
use gc_testkit::trials::trial;
use gc_wasm::{
    Collector, Config, Engine, GcStats, HeapBounds, Instance, Linker, Module, Reclaims, RootScope,
    Store, Val,
};
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Number of allocations between collections in a program's second case. It is a prime, so that
/// collections do not always fall on the same place of a program's loop.
const SPARSE: u32 = 997;

/// The supported features, by their names in the `.json` files.
const SUPPORTED: &[&str] = &[
    "mutable-global",
    "saturating-float-to-int",
    "sign-extension",
    "reference-types",
    "multi-value",
    "bulk-memory",
    "tail-call",
    "exceptions",
    "extended-const",
    "function-references",
    "gc",
];

/// Bytes of stack for compiled code.
const STACK: usize = 8 << 20;

#[derive(Clone)]
struct Case {
    args: Vec<String>,
    result: String,
    /// The expected output.
    stdout: String,
}

#[derive(Clone)]
struct Program {
    name: String,
    module: PathBuf,
    entry: String,
    /// Whether a case's arguments are command-line arguments.
    wasi_args: bool,
    cases: Vec<Case>,
    /// The reason why it cannot run, if there is one.
    unsupported: Option<String>,
}

/// The mode of a run.
#[derive(Clone, Copy)]
enum Mode {
    Guarded,
    Checked,
    Zeal,
}

impl Mode {
    const ALL: [(Mode, &'static str); 3] =
        [(Mode::Guarded, ""), (Mode::Checked, "::checked"), (Mode::Zeal, "::zeal")];
}

/// Each program for each of `collectors`, in each mode.
///
/// # Panics
/// If the programs cannot be read.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut programs = read_all(&here.join("programs"), "tests").expect("the crate's programs");
    programs.extend(read_all(&here.join("stress"), "stress").expect("the crate's programs"));
    // Beside the project, or further out.
    let mut toolchains = here.ancestors().skip(3).map(|folder| folder.join("shared/programs"));
    let mut trials = Vec::new();
    if let Some(toolchains) = toolchains.find(|folder| folder.is_dir()) {
        programs.extend(read_all(&toolchains, "toolchains").expect("programs of toolchains"));
    } else {
        let reason = "their folder does not exist";
        eprintln!("\n!!! NOT TESTED: the programs of shipped toolchains: {reason}\n");
        trials.push(ignored("toolchains".to_owned(), reason.to_owned()));
    }
    for program in programs {
        if let Some(reason) = program.unsupported {
            trials.push(ignored(program.name, reason));
            continue;
        }
        for collector in collectors {
            for (mode, suffix) in Mode::ALL {
                let name = format!("{}::{}{suffix}", program.name, collector.name());
                let (program, collector) = (program.clone(), collector.clone());
                trials.push(trial(name, move || {
                    with_stack(STACK, || run_all(&program, &collector, mode)).map_err(failed)
                }));
            }
        }
    }
    trials
}

fn run_all(program: &Program, collector: &Collector, mode: Mode) -> Result<()> {
    let mut config = checked(collector.clone());
    // A collector that frees nothing needs this for the largest cases.
    config.gc_heap_maximum(4 << 30).max_wasm_stack(STACK);
    match mode {
        Mode::Guarded => {
            program.cases.iter().try_for_each(|case| run(program, &config, case).map(|_| ()))
        }
        Mode::Checked => {
            config.gc_heap_bounds(HeapBounds::Checked);
            program.cases.iter().try_for_each(|case| run(program, &config, case).map(|_| ()))
        }
        Mode::Zeal => {
            config.sign_return_addresses(super::can_sign_return_addresses());
            let mut cases = program.cases.iter();
            let first = cases.next().context("a program without cases")?;
            let stats = run(program, config.gc_zeal(1), first)?;
            let (collections, allocations) = (stats.collections, stats.allocations);
            ensure!(
                collections >= allocations || collector.reclaims() == Reclaims::Nothing,
                "{allocations} allocations, but only {collections} collections"
            );
            cases
                .take(1)
                .try_for_each(|case| run(program, config.gc_zeal(SPARSE), case).map(|_| ()))
        }
    }
}

fn run(program: &Program, config: &Config, case: &Case) -> Result<GcStats> {
    let engine = Engine::new(config)?;
    let module = Module::from_file(&engine, &program.module)?;
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
    host::add_to_linker(&mut linker)?;
    let stdout = MemoryOutputPipe::new();
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(OutputStream::new(stdout.clone()));
    if program.wasi_args {
        wasi.arg(&program.name).args(&case.args);
    }
    let mut store = Store::new(&engine, wasi.build());
    let instance = linker.instantiate(&mut store, &module)?;
    let call = format!("{}({})", program.entry, case.args.join(", "));
    let result = call_entry(program, case, &mut store, &instance).with_context(|| call.clone())?;
    ensure!(result == case.result, "{call}: expected {}, got {result}", case.result);
    let stdout = stdout.contents();
    let stdout = String::from_utf8_lossy(&stdout);
    ensure!(stdout == case.stdout, "{call}: expected to print\n{}\ngot\n{stdout}", case.stdout);
    Ok(store.gc_stats())
}

/// The results as printed text, or `exit N`.
fn call_entry(
    program: &Program,
    case: &Case,
    store: &mut Store<WasiCtx>,
    instance: &Instance,
) -> Result<String> {
    let mut scope = RootScope::new(store);
    let func = instance.get_func(&mut scope, &program.entry).context("there is no entry")?;
    let ty = func.ty(&scope);
    let mut args = Vec::new();
    if !program.wasi_args {
        ensure!(case.args.len() == ty.params().len(), "a wrong number of arguments");
        for (text, ty) in case.args.iter().zip(ty.params()) {
            args.push(values::parse(&mut scope, text, &ty)?);
        }
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    if let Err(error) = func.call(&mut scope, &args, &mut results) {
        return error.downcast::<I32Exit>().map(|exit| format!("exit {}", exit.0));
    }
    if program.wasi_args {
        // Returning counts as an exit.
        return Ok("exit 0".to_owned());
    }
    let printed = results.iter().map(|result| values::print(&mut scope, result));
    Ok(printed.collect::<Result<Vec<_>>>()?.join("\n"))
}

/// The programs whose `.json` files are in `folder`.
fn read_all(folder: &Path, prefix: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            programs.push(read(&path, prefix).with_context(|| path.display().to_string())?);
        }
    }
    ensure!(!programs.is_empty(), "there are no programs in {}", folder.display());
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

fn read(path: &Path, prefix: &str) -> Result<Program> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let module = match json["module"].as_str() {
        Some(module) => path.with_file_name(module),
        None => path.with_extension("wat"),
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let cases = json["cases"].as_array().context("no `cases`")?.iter().map(read_case);
    Ok(Program {
        name: format!("{prefix}/{stem}"),
        module,
        entry: json["entry"].as_str().context("no `entry`")?.to_owned(),
        wasi_args: json["wasi_args"] == true,
        cases: cases.collect::<Result<_>>()?,
        unsupported: unsupported(&json),
    })
}

fn read_case(json: &Value) -> Result<Case> {
    let args = json["args"].as_array().context("a case without `args`")?;
    // In the project's own files the result has its own key.
    let result = json["result"].as_str().or_else(|| json["expected"]["result"].as_str());
    let stdout = json["expected"].get("stdout").map(|stdout| stdout.as_str());
    Ok(Case {
        args: args.iter().map(ToString::to_string).collect(),
        result: result.context("a case without `result`")?.to_owned(),
        stdout: stdout.unwrap_or(Some("")).context("`stdout` is not text")?.to_owned(),
    })
}

/// The reason why a program cannot run, if there is one.
fn unsupported(json: &Value) -> Option<String> {
    let texts = |key: &str| json[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let features: Vec<&str> =
        texts("features").filter(|feature| !SUPPORTED.contains(feature)).collect();
    if !features.is_empty() {
        return Some(format!("needs {}", features.join(", ")));
    }
    let provided = |import: &str| {
        let (module, item) = import.split_once('.').unwrap_or((import, ""));
        let name = item.strip_suffix(":function").unwrap_or_default();
        // All functions of WASI are there.
        module == wasi::MODULE || module == host::MODULE && host::FUNCTIONS.contains(&name)
    };
    if let Some(import) = texts("imports").find(|import| !provided(import)) {
        return Some(format!("imports {import}"));
    }
    let unsaid = |case: &Value| case["expected"].get("stdout_sha1").is_some();
    json["cases"].as_array()?.iter().any(unsaid).then(|| "prints too much to compare".to_owned())
}
