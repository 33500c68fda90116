//! Runs every input that a fuzzer kept or that once failed through the same functions on the stable
//! compiler.

use gc_testkit::fuzz::TARGETS;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The inputs in a folder of the target `name`.
fn inputs(folder: &str, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join(folder).join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    entries
        .map(|entry| entry.unwrap().path())
        // git keeps no empty folders.
        .filter(|path| path.file_name().is_none_or(|name| name != ".gitkeep"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn inputs_the_fuzzer_kept_still_pass() {
    for target in TARGETS {
        let mut count = 0;
        for folder in ["corpus", "regressions"] {
            for (path, bytes) in inputs(folder, target.name) {
                count += 1;
                // Shown only if it fails.
                println!("{}: {}", target.name, path.display());
                (target.run)(&bytes);
            }
        }
        assert!(count >= 10, "{}: only {count} inputs", target.name);
    }
}

#[test]
fn every_target_has_its_binary_and_no_other_is_there() {
    let folder = fuzz().join("fuzz_targets");
    let mut binaries: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    binaries.sort_unstable();
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(binaries, targets);
}
