//! The fuzz targets on the stable compiler.
//!
//! Each target runs the inputs under `fuzz/corpus/` and `fuzz/regressions/`, and inputs made from
//! seeds. `TESTKIT_SCALE` scales their number, `TESTKIT_SEEDS` sets it, and `TESTKIT_FIRST_SEED` is
//! the first of them. With `TESTKIT_SECONDS`, mutated inputs run for this many seconds more.
//! `RECLAIM_LOG=debug` shows what an input is made into.

mod watchdog;

use anyhow::Context;
use gc_fuzz::Target;
use gc_testkit::random;
use gc_testkit::trials::{conclude, trial};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The inputs in a folder of `target`, by name.
fn inputs(folder: PathBuf) -> Result<Vec<(PathBuf, Vec<u8>)>, Failed> {
    let mut inputs = Vec::new();
    if !folder.exists() {
        return Ok(inputs);
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        inputs.push((path.clone(), std::fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// The numbers that environment variables set.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    first: u64,
    seeds: Option<u64>,
    time: Option<Duration>,
}

impl Numbers {
    fn from_env() -> anyhow::Result<Numbers> {
        let number = |name: &str| -> anyhow::Result<Option<u64>> {
            let Some(text) = std::env::var_os(name) else { return Ok(None) };
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.map(Some).with_context(|| format!("{name} is a number, not {text:?}"))
        };
        // It is read again where it is used.
        number("TESTKIT_SCALE")?;
        Ok(Numbers {
            first: number("TESTKIT_FIRST_SEED")?.unwrap_or(0),
            seeds: number("TESTKIT_SEEDS")?,
            time: number("TESTKIT_SECONDS")?.map(Duration::from_secs),
        })
    }
}

/// Every input that the fuzzer kept, or that failed once.
fn kept(target: &Target) -> Result<(), Failed> {
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        for (path, input) in inputs(folder().join(kind).join(target.name))? {
            count += 1;
            run(target, &input, &path.display().to_string(), Some(&path))?;
        }
    }
    if count < 10 {
        return Err(format!("only {count} inputs are kept").into());
    }
    Ok(())
}

/// Inputs from seeds.
fn seeded(target: &Target, Numbers { first, seeds, .. }: Numbers) -> Result<(), Failed> {
    let count = seeds.unwrap_or_else(|| gc_testkit::scaled(target.seeds));
    for seed in first..first.saturating_add(count) {
        run(target, &seed_input(target, seed), &format!("seed {seed}"), None)?;
    }
    Ok(())
}

fn seed_input(target: &Target, seed: u64) -> Vec<u8> {
    let lengths = random::bytes(seed ^ 0x5eed, 8);
    let length = u64::from_le_bytes(lengths.try_into().expect("eight bytes"));
    random::bytes(seed, (length % target.length as u64) as usize + 1)
}

/// Mutated inputs, for as long as asked.
fn mutated(target: &Target, first: u64, time: Duration) -> Result<(), Failed> {
    let kept: Vec<_> = inputs(folder().join("corpus").join(target.name))?;
    let (began, mut seed) = (Instant::now(), first);
    while began.elapsed() < time {
        let word = random::bytes(seed, 4).try_into().expect("four bytes");
        let word = u32::from_le_bytes(word);
        let input = match kept.get(word as usize % kept.len().max(1)) {
            Some((_, input)) => target.mutated(input, word),
            None => seed_input(target, seed),
        };
        run(target, &input, &format!("mutation {seed}"), None)?;
        seed += 1;
    }
    Ok(())
}

/// Runs one input. A failing input that is not kept is written to the folder `fuzz/artifacts/`, and
/// the modules of any to `modules` in that folder.
fn run(target: &Target, input: &[u8], name: &str, path: Option<&Path>) -> Result<(), Failed> {
    let name = match path.and_then(Path::file_name) {
        Some(name) => name.to_owned(),
        None => name.replace(' ', "-").into(),
    };
    let artifacts = folder().join("artifacts").join(target.name);
    let modules = artifacts.join("modules").join(&name);
    let artifact = path.map_or_else(|| artifacts.join(&name), Path::to_owned);
    let new = path.is_none().then_some(input);
    let watched = watchdog::Watched::new(&artifact, new);
    let result = std::panic::catch_unwind(|| gc_fuzz::run(target, input, Some(&modules)));
    drop(watched);
    result.map_err(|panic| {
        new.inspect(|input| write(&artifact, input));
        format!("{}: {}", artifact.display(), gc_testkit::panic_text(&*panic)).into()
    })
}

/// Writes an input that fails.
fn write(artifact: &Path, input: &[u8]) {
    let folder = artifact.parent().expect("it is in a folder");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(artifact, input));
    if let Err(why) = written {
        eprintln!("cannot write {}: {why}", artifact.display());
    }
}

/// Every target has its binary, its section in the manifest and its line in the book, and there are
/// no others.
fn binaries() -> Result<(), Failed> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder().join("fuzz_targets"))? {
        let path = entry?.path();
        files.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    let between = |path: &str, before: &str, after: &str| -> std::io::Result<Vec<String>> {
        let text = std::fs::read_to_string(folder().join(path))?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(before)?.split_once(after));
        Ok(lines.map(|(name, _)| name.to_owned()).collect())
    };
    let sections = between("Cargo.toml", "path = \"fuzz_targets/", ".rs\"")?;
    let mut lines = between("../docs/src/fuzzing.md", "| `", "` | ")?;
    lines.retain(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_'));
    let targets = names();
    for (what, mut names) in
        [("files", files), ("sections of Cargo.toml", sections), ("lines of the book", lines)]
    {
        names.sort_unstable();
        if names != targets {
            return Err(format!("the {what} are {names:?}, the targets {targets:?}").into());
        }
    }
    Ok(())
}

/// Every target has a planted fault that it must find, so that `ci/planted` says something of it.
fn planted() -> Result<(), Failed> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder().join("planted"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let target = text.lines().next().and_then(|line| line.strip_prefix("target: "));
        found.insert(target.unwrap_or("a patch without a target").to_owned());
    }
    let targets = BTreeSet::from_iter(names().into_iter().map(str::to_owned));
    if found != targets {
        let differ: Vec<_> = found.symmetric_difference(&targets).collect();
        return Err(format!("no planted fault, or no target: {differ:?}").into());
    }
    Ok(())
}

/// The target that needs the feature `peers`.
const WITH_PEERS: &str = "differential";

/// The names of all targets, also of the one that is not there without `peers`.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = gc_fuzz::targets().iter().map(|target| target.name).collect();
    if cfg!(not(feature = "peers")) {
        names.push(WITH_PEERS);
        names.sort_unstable();
    }
    names
}

fn main() -> ExitCode {
    env_logger::Builder::from_env("RECLAIM_LOG")
        .filter_module("cranelift_codegen", log::LevelFilter::Warn)
        .init();
    let numbers = match gc_fuzz::check_variables().and_then(|()| Numbers::from_env()) {
        Ok(numbers) => numbers,
        Err(why) => {
            eprintln!("{why:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = vec![
        Trial::test("every_target_has_its_binary", binaries),
        Trial::test("every_target_has_a_planted_fault", planted),
    ];
    for target in gc_fuzz::targets() {
        let name = |what| format!("{}::{what}", target.name);
        trials.push(trial(name("kept"), move || kept(&target)));
        trials.push(trial(name("seeded"), move || seeded(&target, numbers)));
        if let Some(time) = numbers.time {
            let mutated = move || mutated(&target, numbers.first, time);
            trials.push(trial(name("mutated"), mutated));
        }
    }
    if cfg!(not(feature = "peers")) {
        let ignored = || Ok(Completion::ignored_with("it needs the feature peers"));
        trials.push(Trial::ignorable_test(WITH_PEERS, ignored));
    }
    conclude(&Arguments::from_args(), trials).exit_code()
}
