//! The time of a compilation without a cache, with an empty one, and with one that has all functions
//! or the whole module. Each time is the shortest of all turns, in wall-clock time; the cases take
//! turns. Compilation uses one thread, so that the times can be compared.
//!
//! A second table compares the time without a cache, and the size of the code, with Wasmtime's.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table, target};
use gc_benches::{suite, wanted};
use gc_wasm::explore::machine_code;
use gc_wasm::{Cache, CacheConfig, CacheStore, Config, Engine, FolderCache, MemoryCache, Module};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUBJECT: Subject = Subject {
    name: "compile",
    title: "Compilation",
    about: "Compiling large modules on one thread: without a cache, as a ratio to it with a cache of \
            functions that is empty or full and with a cache of whole modules, and beside Wasmtime, with the \
            size of the code. The cases take turns. Each time is that of the shortest turn, in wall-clock \
            time. The modules are those of `tests/toolchains`, and of a folder beside the project if it \
            exists.",
};

/// Measures compilation with and without caches.
#[derive(Parser)]
struct Options {
    /// Only modules whose path contains this (can be given several times).
    #[arg(long)]
    module: Vec<String>,
    /// Turns of each case.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Run everything once at a small size and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The targets for the ratios to Wasmtime's time and size of code, for the largest module.
const TARGETS: [f64; 2] = [0.8, 1.1];

/// Modules with fewer bytes are compiled too fast to be measured.
const LARGE: u64 = 100_000;

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let mut modules = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/toolchains"), &mut modules)?;
    let shared = suite::beside().with_file_name("programs");
    match shared.is_dir() {
        true => find(&shared, &mut modules)?,
        false => eprintln!("SKIPPED: the modules of {}, which does not exist", shared.display()),
    }
    modules.retain(|path| wanted(&options.module, &path.display().to_string()));
    modules.sort();
    ensure!(!modules.is_empty(), "no module matches the filter");
    let turns = if options.test { 1 } else { options.turns };
    if options.test {
        modules.truncate(1);
    }
    let folder = std::env::temp_dir().join(format!("reclaim-bench-{}", std::process::id()));
    let result = modules.iter().map(|path| measure(path, &folder, turns)).collect::<Result<_>>();
    std::fs::remove_dir_all(&folder)?;
    let rows: Vec<[Duration; CASES.len()]> = result?;
    if options.test {
        return Ok(());
    }
    let header = ["no cache, ms"].iter().chain(&CASES[1..]);
    let mut report = table("module", header.map(ToString::to_string));
    for (path, times) in modules.iter().zip(rows) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plain = times[0].as_secs_f64();
        let ratios = times[1..].iter().map(|time| time.as_secs_f64() / plain);
        let cells = ratios.map(|ratio| right(format!("{ratio:.3}")));
        let first = [Cell::new(name), right(format!("{:.1}", plain * 1e3))];
        report.add_row(first.into_iter().chain(cells));
    }
    record.table("With caches", &report);
    add_beside(&modules, turns, &mut record)?;
    record.finish()
}

/// Adds the time and the size of the code beside Wasmtime's, and whether the targets are met.
fn add_beside(modules: &[PathBuf], turns: usize, record: &mut Record) -> Result<()> {
    record.engines(["wasmtime"]);
    let header = ["bytes", "ms", "Wasmtime, ms", "ratio", "code, KiB", "Wasmtime, KiB", "ratio"]
        .map(str::to_owned);
    let mut report = table("module", header);
    let mut largest: Option<(usize, [f64; 2])> = None;
    for path in modules {
        let bytes = std::fs::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let [ours, theirs] = beside(path, &bytes, turns)?;
        let ratios =
            [ours.0.as_secs_f64() / theirs.0.as_secs_f64(), ours.1 as f64 / theirs.1 as f64];
        let time = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        let size = |size: usize| format!("{:.0}", size as f64 / 1024.0);
        let ratio = |ratio: f64| format!("{ratio:.2}");
        let cells = [
            bytes.len().to_string(),
            time(ours.0),
            time(theirs.0),
            ratio(ratios[0]),
            size(ours.1),
            size(theirs.1),
            ratio(ratios[1]),
        ];
        report.add_row([Cell::new(name)].into_iter().chain(cells.map(right)));
        if largest.is_none_or(|(most, _)| bytes.len() > most) {
            largest = Some((bytes.len(), ratios));
        }
    }
    record.table("Beside Wasmtime", &report);
    if let Some((_, [time, size])) = largest {
        let [most_time, most_size] = TARGETS.map(Some);
        record.lines([
            &*format!("the largest: time {time:.2}{}", target(time, most_time)),
            &*format!("the largest: size {size:.2}{}", target(size, most_size)),
        ]);
    }
    Ok(())
}

/// The shortest time of compiling a module, and the bytes of its code: ours, and Wasmtime's.
fn beside(path: &Path, bytes: &[u8], turns: usize) -> Result<[(Duration, usize); 2]> {
    let name = || path.display().to_string();
    let mut config = Config::new();
    config.parallel_compilation(false);
    let engine = Engine::new(&config)?;
    let mut config = wasmtime::Config::new();
    config.wasm_function_references(true).wasm_gc(true).wasm_exceptions(true);
    config.collector(wasmtime::Collector::Copying).parallel_compilation(false);
    let peer = wasmtime::Engine::new(&config)?;
    // A function begins at a multiple of 16 bytes.
    let code = machine_code(&engine, bytes, None).with_context(name)?;
    let ours = code.iter().map(|function| function.code.len().next_multiple_of(16)).sum();
    let theirs = wasmtime::Module::new(&peer, bytes)?.text().len();
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..turns {
        let start = Instant::now();
        Module::new(&engine, bytes)?;
        shortest[0] = shortest[0].min(start.elapsed());
        let start = Instant::now();
        wasmtime::Module::new(&peer, bytes)?;
        shortest[1] = shortest[1].min(start.elapsed());
    }
    Ok([(shortest[0], ours), (shortest[1], theirs)])
}

/// All cases after the first are ratios to it.
const CASES: [&str; 5] =
    ["no cache", "empty, in memory", "full, in memory", "full, in a folder", "whole module"];

/// Adds the large modules in `folder` and the folders in it.
fn find(folder: &Path, modules: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), modules)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "wasm")
            && entry.metadata()?.len() >= LARGE
        {
            modules.push(entry.path());
        }
    }
    Ok(())
}

/// The shortest time of each case.
fn measure(path: &Path, folder: &Path, turns: usize) -> Result<[Duration; CASES.len()]> {
    let bytes = std::fs::read(path)?;
    let compile = |set: &dyn Fn(&mut Config) -> Result<()>| -> Result<Duration> {
        let mut config = Config::new();
        set(config.parallel_compilation(false))?;
        let engine = Engine::new(&config)?;
        let start = Instant::now();
        let module = Module::new(&engine, &bytes);
        let time = start.elapsed();
        module.with_context(|| path.display().to_string())?;
        Ok(time)
    };
    let with = |store: &Arc<dyn CacheStore>| {
        compile(&|config| {
            config.enable_incremental_compilation(store.clone())?;
            Ok(())
        })
    };
    let new = || -> Arc<dyn CacheStore> { Arc::new(MemoryCache::new(1 << 30)) };
    let memory = new();
    let files: Arc<dyn CacheStore> = Arc::new(FolderCache::new(folder.join("functions"))?);
    let mut settings = CacheConfig::new();
    settings.with_directory(folder.join("modules"));
    let modules = Cache::new(settings)?;
    let whole = |config: &mut Config| {
        config.cache(Some(modules.clone()));
        Ok(())
    };
    with(&memory)?;
    with(&files)?;
    compile(&whole)?;
    let mut shortest = [Duration::MAX; CASES.len()];
    for _ in 0..turns {
        let times =
            [compile(&|_| Ok(()))?, with(&new())?, with(&memory)?, with(&files)?, compile(&whole)?];
        for (shortest, time) in shortest.iter_mut().zip(times) {
            *shortest = time.min(*shortest);
        }
    }
    Ok(shortest)
}
