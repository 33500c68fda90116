//! The fuzz targets on the stable compiler.
//!
//! Each target runs the inputs under `fuzz/corpus/` and `fuzz/regressions/`, and inputs made from
//! seeds. `TESTKIT_SCALE` scales their number, `TESTKIT_SEEDS` sets it, and `TESTKIT_FIRST_SEED` is
//! the first of them. With `TESTKIT_SECONDS`, mutated inputs run for this many seconds more.
//! `RECLAIM_LOG=debug` shows what an input is made into.

use gc_conformance::fuzz::{self, Target};
use gc_testkit::random;
use libtest_mimic::{Arguments, Failed, Trial};
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
        // What a failing input left here is no input.
        if path.extension().is_none_or(|extension| extension != "wasm" && extension != "wat") {
            inputs.push((path.clone(), std::fs::read(path)?));
        }
    }
    inputs.sort();
    Ok(inputs)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
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
fn seeded(target: &Target) -> Result<(), Failed> {
    let first = number("TESTKIT_FIRST_SEED").unwrap_or(0);
    let count = number("TESTKIT_SEEDS").unwrap_or_else(|| gc_testkit::scaled(target.seeds));
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
fn mutated(target: &Target, time: Duration) -> Result<(), Failed> {
    let kept: Vec<_> = inputs(folder().join("corpus").join(target.name))?;
    let (began, mut seed) = (Instant::now(), number("TESTKIT_FIRST_SEED").unwrap_or(0));
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

/// Runs one input. A failing input that is not kept is written to the folder `fuzz/artifacts/`.
fn run(target: &Target, input: &[u8], name: &str, path: Option<&Path>) -> Result<(), Failed> {
    let artifact = || folder().join("artifacts").join(target.name).join(name.replace(' ', "-"));
    let beside = path.map_or_else(artifact, Path::to_owned);
    let once = || fuzz::run(target, input, Some(&beside));
    if path.is_none() {
        std::fs::create_dir_all(beside.parent().expect("a folder"))?;
    }
    std::panic::catch_unwind(once).map_err(|panic| {
        if path.is_none() {
            let _: std::io::Result<()> = std::fs::write(&beside, input);
        }
        format!("{}: {}", beside.display(), gc_testkit::panic_text(&*panic)).into()
    })
}

/// Every target has its binary, and no other binary is there.
fn binaries() -> Result<(), Failed> {
    let mut binaries = Vec::new();
    for entry in std::fs::read_dir(folder().join("fuzz_targets"))? {
        let path = entry?.path();
        binaries.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    binaries.sort_unstable();
    let targets: Vec<_> = fuzz::targets().iter().map(|target| target.name).collect();
    if binaries != targets {
        return Err(format!("the binaries are {binaries:?}, the targets {targets:?}").into());
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::Builder::from_env("RECLAIM_LOG")
        .filter_module("cranelift_codegen", log::LevelFilter::Warn)
        .init();
    let mut trials = vec![Trial::test("every_target_has_its_binary", binaries)];
    let time = number("TESTKIT_SECONDS").map(Duration::from_secs);
    for target in fuzz::targets() {
        let name = |what| format!("{}::{what}", target.name);
        trials.push(Trial::test(name("kept"), move || kept(&target)));
        trials.push(Trial::test(name("seeded"), move || seeded(&target)));
        if let Some(time) = time {
            trials.push(Trial::test(name("mutated"), move || mutated(&target, time)));
        }
    }
    gc_conformance::conclude(&Arguments::from_args(), trials).exit_code()
}
