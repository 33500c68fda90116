//! Golden tests of emitted code. For each kind of GC instruction there is a module in
//! `tests/filetests/`, and in the folder of each collector the CLIF of its functions. `BLESS=1
//! cargo test -p gc-wasm --test filetests` writes these files again, so a change in emitted code
//! shows in the diff.

use anyhow::{Context, Result};
use gc_wasm::explore::{Emit, explore};
use gc_wasm::{Collector, Config, Engine};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/filetests")
}

fn modules() -> Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wat") {
            modules.push(path);
        }
    }
    modules.sort();
    Ok(modules)
}

/// The CLIF of all functions of a module. Other processors than x86-64 have more loads: see the operators of memories.
fn emitted(config: &Config, module: &Path, emit: Emit) -> Result<String> {
    let mut config = config.clone();
    if cfg!(any(feature = "cross", target_arch = "x86_64")) {
        config.target("x86-64-v3")?;
    }
    let engine = Engine::new(&config)?;
    let bytes = fs::read(module)?;
    let mut text = String::new();
    for listing in explore(&engine, &bytes, emit, None)? {
        writeln!(text, ";; {}", listing.name)?;
        writeln!(text, "{}", listing.text.trim_end())?;
        writeln!(text)?;
    }
    Ok(text)
}

/// Whether to write the files again.
fn bless() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

#[test]
fn each_loop_has_a_poll_of_its_own() -> Result<()> {
    let module = folder().join("interruptible/loops.wat");
    let golden = module.with_extension("clif");
    let config = Config::new().collector(Collector::copying()).interruptible(true).clone();
    let actual = emitted(&config, &module, Emit::Optimised)?;
    if bless() {
        fs::write(&golden, &actual)?;
    }
    assert_eq!(actual, fs::read_to_string(&golden)?);
    let polls = actual.matches("= load.i8 user18 ").count();
    assert_eq!(polls, 5, "{actual}");
    Ok(())
}

/// Code that consumes fuel, or checks epochs, under each collector.
#[test]
fn metered_code_is_as_expected() -> Result<()> {
    let module = folder().join("metered/functions.wat");
    for collector in Collector::all() {
        let config = Config::new().collector(collector.clone()).clone();
        for (mode, config) in [
            ("fuel", config.clone().consume_fuel(true)),
            ("epochs", config.clone().epoch_interruption(true)),
        ] {
            let golden = folder().join(format!("metered/{mode}/{}.clif", collector.name()));
            let actual = emitted(config, &module, Emit::Clif)?;
            if bless() {
                fs::create_dir_all(golden.parent().unwrap())?;
                fs::write(&golden, &actual)?;
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(actual, expected, "{} (run with BLESS=1)", golden.display());
        }
    }
    Ok(())
}

#[test]
fn emitted_code_is_as_expected() -> Result<()> {
    let bless = bless();
    let mut differing = Vec::new();
    let modules = modules()?;
    assert!(modules.len() >= 15, "only {} modules were found", modules.len());
    for module in &modules {
        for collector in Collector::all() {
            let name = module.file_stem().unwrap().to_string_lossy();
            let golden = folder().join(collector.name()).join(format!("{name}.clif"));
            let actual = emitted(Config::new().collector(collector.clone()), module, Emit::Clif)
                .with_context(|| format!("{} under {}", module.display(), collector.name()))?;
            if bless {
                fs::create_dir_all(golden.parent().unwrap())?;
                fs::write(&golden, actual)?;
            } else if fs::read_to_string(&golden).ok().as_deref() != Some(&actual) {
                differing.push(format!("{}/{name}.clif", collector.name()));
            }
        }
    }
    assert!(
        differing.is_empty(),
        "emitted code changed (run with BLESS=1 and look at the diff):\n  {}",
        differing.join("\n  ")
    );
    Ok(())
}

#[test]
fn no_golden_file_is_left_over() -> Result<()> {
    let names: Vec<String> = modules()?
        .iter()
        .map(|module| module.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    for collector in Collector::all() {
        for entry in fs::read_dir(folder().join(collector.name()))? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&stem), "{} belongs to no module", path.display());
        }
    }
    Ok(())
}
