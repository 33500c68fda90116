//! The programs that are timed: those of `tests/programs` and `tests/stress`, with the
//! answers in their `.json` files, and benchmark programs in a folder beside the project,
//! where it is there, on whose answers all engines must agree.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A program with an export that takes one `i32` and answers a number.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its folder's and its file's name, without the ending.
    pub name: String,
    /// Its text.
    pub wat: String,
    /// The export to call.
    pub export: String,
    /// What to time it with.
    pub arg: i32,
    /// The answer to that, as it is printed.
    pub answer: Option<String>,
    /// Other arguments and the answers to them.
    pub expected: Vec<(i32, String)>,
}

impl Program {
    /// Makes the last small case, where there is one, what is timed.
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
/// If a file cannot be read or is not as it should be.
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

/// Where benchmark programs are looked for if nobody says: beside the project.
pub fn beside() -> PathBuf {
    root().join("../shared/bench")
}

/// Benchmark programs: each opens with `;; @bench EXPORT ARG`.
///
/// # Errors
/// If a file cannot be read or does not open so.
pub fn folder(folder: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (name, wat, path) in texts(folder)? {
        let header = wat.lines().next().and_then(|line| line.strip_prefix(";; @bench "));
        let words: Vec<&str> = header.unwrap_or("").split_whitespace().collect();
        let [export, arg] = words[..] else {
            bail!("{} does not open with `;; @bench EXPORT ARG`", path.display());
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
