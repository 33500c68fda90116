//! The scripts of `tests/scripts`: what is right in all programs. `BLESS=1` writes the results and the traps
//! that scripts expect again, as far as they are numbers and messages.

mod bless;

use super::{checked, failed};
use anyhow::{Context, Result, bail, ensure};
use gc_script::run_script;
use gc_script::stack::with_stack;
use gc_script::suite::STACK;
use gc_testkit::trials::trial;
use gc_wasm::{Collector, Config, Engine, HeapBounds, OptLevel};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

/// Each mode's suffix, heap bounds, number of allocations between collections, and optimisation. With
/// checked bounds, linear memories are checked too, and moved when they grow.
const MODES: [(&str, HeapBounds, u32, OptLevel); 6] = [
    ("", HeapBounds::Guarded, 0, OptLevel::Speed),
    ("::checked", HeapBounds::Checked, 0, OptLevel::Speed),
    ("::zeal", HeapBounds::Guarded, 1, OptLevel::Speed),
    ("::zeal::checked", HeapBounds::Checked, 1, OptLevel::Speed),
    ("::plain", HeapBounds::Guarded, 0, OptLevel::None),
    ("::zeal::plain", HeapBounds::Guarded, 1, OptLevel::None),
];

/// Each script, under each of `collectors`, in each mode.
///
/// # Panics
/// If the folder of the scripts cannot be read.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts");
    let files = std::fs::read_dir(folder).expect("the folder of scripts");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "wast"));
    files.sort();
    let mut trials = Vec::new();
    for file in files {
        let script = file.file_name().expect("a name").to_string_lossy().into_owned();
        for collector in collectors {
            for (suffix, bounds, zeal, level) in MODES {
                let mut config = checked(collector.for_tests());
                config.gc_heap_bounds(bounds).gc_heap_maximum(64 << 20).gc_zeal(zeal);
                config.max_wasm_stack(STACK).cranelift_opt_level(level);
                if bounds == HeapBounds::Checked {
                    config.memory_reservation(0).memory_reservation_for_growth(0);
                    config.memory_guard_size(64 << 10);
                }
                let name = format!("scripts/{script}::{}{suffix}", collector.name());
                let (script, file) = (script.clone(), file.clone());
                // One of the runs writes the file.
                let bless = trials.len().is_multiple_of(collectors.len() * MODES.len())
                    && std::env::var_os("BLESS").is_some_and(|value| value == "1");
                trials
                    .push(trial(name, move || run(&script, &file, &config, bless).map_err(failed)));
            }
        }
    }
    trials
}

fn run(name: &str, file: &Path, config: &Config, bless: bool) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let report = with_stack(STACK, || run_script(&Engine::new(config)?, name, &text))?;
    if bless && !report.failures.is_empty() {
        let mut text = text;
        // From the last one, so that the places of the others stay.
        for failure in report.failures.iter().rev() {
            bless::replace(&mut text, failure).with_context(|| failure.to_string())?;
        }
        return Ok(std::fs::write(file, text)?);
    }
    if !report.failures.is_empty() {
        let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        bail!("{}\n{}", report.summary(), failures.join("\n"));
    }
    ensure!(report.skipped.is_empty() && report.passed > 0, "{:?}", report.skipped);
    Ok(())
}
