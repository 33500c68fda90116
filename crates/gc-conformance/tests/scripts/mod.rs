//! The scripts of `tests/scripts`, under every collector: what is right in all programs, said once for
//! all. `BLESS=1` writes the results and the traps that scripts expect again, as far as they are numbers and
//! messages.

use anyhow::{Context, Result, bail, ensure};
use gc_script::stack::with_stack;
use gc_script::suite::STACK;
use gc_script::{ScriptFailure, run_script};
use gc_wasm::{Collector, Config, Engine, HeapBounds, OptLevel};
use libtest_mimic::{Failed, Trial};
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

/// Each script, under each collector, in each mode.
pub(super) fn trials() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts");
    let files = std::fs::read_dir(folder).expect("the folder of scripts");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "wast"));
    files.sort();
    let mut trials = Vec::new();
    for file in files {
        let script = file.file_name().expect("a name").to_string_lossy().into_owned();
        for collector in Collector::all() {
            for (suffix, bounds, zeal, level) in MODES {
                // The nursery, if there is one, is small enough to be filled.
                let small = collector.with_option("nursery", "128KiB");
                let mut config = Config::new();
                config.collector(small.unwrap_or_else(|_| collector.clone()));
                config.gc_heap_bounds(bounds).gc_heap_maximum(64 << 20).gc_zeal(zeal);
                config.max_wasm_stack(STACK).cranelift_opt_level(level);
                if bounds == HeapBounds::Checked {
                    config.memory_reservation(0).memory_reservation_for_growth(0);
                    config.memory_guard_size(64 << 10);
                }
                let name = format!("scripts/{script}::{}{suffix}", collector.name());
                let (script, file) = (script.clone(), file.clone());
                // One of the runs writes the file.
                let bless = trials.len() % (Collector::all().len() * MODES.len()) == 0
                    && std::env::var_os("BLESS").is_some_and(|value| value == "1");
                trials.push(Trial::test(name, move || {
                    run(&script, &file, &config, bless).map_err(|e| Failed::from(format!("{e:?}")))
                }));
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
            replace(&mut text, failure).with_context(|| failure.to_string())?;
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

/// Replaces what a directive expects by what there was.
fn replace(text: &mut String, failure: &ScriptFailure) -> Result<()> {
    let (_, got) = failure.message.split_once(", got ").context("there was no result")?;
    let new = match got.strip_prefix("the trap `wasm trap: ") {
        Some(trap) => format!(" \"{}\"", trap.trim_end_matches('`')),
        None if got == "no values" => String::new(),
        None => {
            let is_number =
                |part: &str| part.split_once(".const ").is_some_and(|(ty, _)| ty.len() <= 5);
            ensure!(got.split(") ").all(is_number), "only numbers can be written");
            format!(" {got}")
        }
    };
    let mut place = failure.at.rsplit(':').map(str::parse::<usize>);
    let (Some(Ok(column)), Some(Ok(line))) = (place.next(), place.next()) else {
        bail!("the failure has no place")
    };
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    // The call, and then what is expected of it, to the end of the directive.
    let (mut depth, mut call_ends, mut in_string, mut escaped) = (0, None, false, false);
    for (at, c) in text[start..].char_indices().skip(column - 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' => depth += 1,
            ')' if depth == 0 => {
                let call_ends = call_ends.context("there is no call")?;
                text.replace_range(start + call_ends..start + at, &new);
                return Ok(());
            }
            ')' => {
                depth -= 1;
                if depth == 0 && call_ends.is_none() {
                    call_ends = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    bail!("the directive has no end")
}
