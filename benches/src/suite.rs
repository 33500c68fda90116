//! The timed programs: those of `tests/programs` and `tests/stress`, with the answers in their
//! `.json` files, and benchmark programs in a folder beside the project, if it exists. All engines
//! must agree on the answers of the latter.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A program with an export that takes one `i32` and returns a number.
#[derive(Clone, Debug)]
pub struct Program {
    /// The names of its folder and its file, without the extension.
    pub name: String,
    /// The program's text.
    pub wat: String,
    /// The export to call.
    pub export: String,
    /// The argument for timing.
    pub arg: i32,
    /// The expected answer to `arg`, as printed text.
    pub answer: Option<String>,
    /// Other arguments and the expected answers.
    pub expected: Vec<(i32, String)>,
}

impl Program {
    /// Makes the last small case, if there is one, the timed case.
    pub fn reduce(&mut self) {
        if let Some((arg, answer)) = self.expected.pop() {
            (self.arg, self.answer) = (arg, Some(answer));
        }
    }
}

#[derive(Deserialize)]
struct Cases {
    entry: String,
    cases: Vec<Case>,
    bench: Case,
}

#[derive(Deserialize)]
struct Case {
    args: [i32; 1],
    result: String,
}

/// The programs of one of the project's folders in `tests`: `programs` or `stress`.
///
/// # Errors
/// If a file cannot be read or is malformed.
pub fn project(folder: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (name, wat, path) in texts(&root().join("tests").join(folder))? {
        let path = path.with_extension("json");
        let json = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let cases: Cases =
            serde_json::from_str(&json).with_context(|| path.display().to_string())?;
        let expected = cases.cases.into_iter().map(|Case { args: [arg], result }| (arg, result));
        let Case { args: [arg], result } = cases.bench;
        programs.push(Program {
            name,
            wat,
            export: cases.entry,
            arg,
            answer: Some(result),
            expected: expected.collect(),
        });
    }
    Ok(programs)
}

/// The benchmark programs of `chosen`, or of the folder beside the project if it exists, and those
/// of `tests/programs`.
///
/// # Errors
/// If there is no folder `chosen`, or a file cannot be read or is malformed.
pub fn timed(chosen: Option<&Path>) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    let beside = chosen.map_or_else(beside, Path::to_owned);
    if beside.is_dir() {
        programs.extend(folder(&beside)?);
    } else if chosen.is_some() {
        bail!("there is no folder {}", beside.display());
    } else {
        eprintln!("\n!!! NOT TIMED: there is no folder of benchmark programs beside the project\n");
    }
    programs.extend(project("programs")?);
    Ok(programs)
}

/// The default folder of benchmark programs: beside the project.
pub fn beside() -> PathBuf {
    root().join("../shared/bench")
}

/// Benchmark programs. Each begins with `;; @bench EXPORT ARG`.
///
/// # Errors
/// If a file cannot be read or does not begin so.
pub fn folder(folder: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (name, wat, path) in texts(folder)? {
        let header = wat.lines().next().and_then(|line| line.strip_prefix(";; @bench "));
        let words: Vec<&str> = header.unwrap_or("").split_whitespace().collect();
        let [export, arg] = words[..] else {
            bail!("{} does not begin with `;; @bench EXPORT ARG`", path.display());
        };
        let (export, arg) = (export.to_owned(), arg.parse().context(arg.to_owned())?);
        programs.push(Program { name, wat, export, arg, answer: None, expected: Vec::new() });
    }
    ensure!(!programs.is_empty(), "there is no .wat in {}", folder.display());
    Ok(programs)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `.wat` files of a folder, in order: name, text, path.
fn texts(folder: &Path) -> Result<Vec<(String, String, PathBuf)>> {
    let context = || folder.display().to_string();
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|ending| ending == "wat") {
            let name = path.with_extension("");
            let name = match folder.file_name() {
                Some(folder) => Path::new(folder).join(name.file_name().unwrap_or_default()),
                None => name,
            };
            let wat = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            texts.push((name.display().to_string(), wat, path));
        }
    }
    texts.sort();
    Ok(texts)
}
