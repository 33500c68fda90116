//! The features that the book compares with other engines: `tests/features` has a module for each,
//! and the command must run those that the book says it has, and no others.

use crate::common::reclaim;
use std::path::{Path, PathBuf};

/// A file's name without its ending, its first line, and its text.
struct Feature {
    path: PathBuf,
    title: String,
    text: String,
}

fn features() -> Vec<Feature> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/features");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "wat")).collect();
    paths.sort();
    let feature = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let title = text.lines().next().and_then(|line| line.strip_prefix(";; "));
        Feature { title: title.expect("the first line is the title").to_owned(), text, path }
    };
    paths.into_iter().map(feature).collect()
}

/// The rows of the book's table, in order: the feature, and whether the command has it.
fn rows() -> Vec<(String, bool)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/features.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, table) =
        text.split_once("<!-- begin: checked by gc-cli/tests/command/features.rs -->").unwrap();
    let (table, _) = table.split_once("<!-- end -->").unwrap();
    let rows = table.trim().lines().skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), cells[1].starts_with("yes"))
    })
    .collect()
}

#[test]
fn the_book_says_what_the_command_has() {
    let features = features();
    // For other engines: see `tests/features/v8.mjs`.
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("features");
    std::fs::create_dir_all(&modules).unwrap();
    let mut measured = Vec::new();
    for feature in features {
        let module = wat::parse_str(&feature.text).unwrap();
        let name = feature.path.with_extension("wasm");
        std::fs::write(modules.join(name.file_name().unwrap()), module).unwrap();
        let ran = reclaim(&["run", feature.path.to_str().unwrap(), "--invoke", "test"]);
        let has = ran.status == 0;
        if has {
            ran.prints("1\n");
        } else {
            assert!(ran.stderr.contains("compiling"), "{}: {}", feature.title, ran.stderr);
        }
        measured.push((feature.title, has));
    }
    assert_eq!(measured, rows());
}
