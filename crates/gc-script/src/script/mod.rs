//! Specification scripts (`*.wast`): modules, calls, and their expected results. The language is
//! that of the reference interpreter
//! (<https://github.com/WebAssembly/spec/tree/main/interpreter#scripts>).
//!
//! A directive passes, fails, or is skipped. It is skipped if it needs an unsupported proposal. The
//! runner determines and names that proposal ([`proposals`](crate::proposals)), and never assumes one.

mod expect;
mod messages;
mod runner;
mod spectest;

use crate::message::one_line;
use anyhow::{Context, Result};
use gc_wasm::Engine;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use wast::Wast;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};

/// The report of a script.
///
/// ```
/// use gc_script::{Report, ScriptFailure};
///
/// let failure = ScriptFailure { at: "one.wast:3:2".into(), message: "expected 1, got 2".into() };
/// let mut all = Report { passed: 4, ..Report::default() };
/// all.add(Report { passed: 1, failures: vec![failure], ..Report::default() });
/// assert_eq!(all.summary(), "5 passed, 1 failed");
/// assert_eq!(all.failures[0].to_string(), "one.wast:3:2: expected 1, got 2");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of directives that passed.
    pub passed: usize,
    /// Directives that failed.
    pub failures: Vec<ScriptFailure>,
    /// The number of skipped directives for each reason.
    pub skipped: BTreeMap<String, usize>,
}

/// A directive that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFailure {
    /// The script's name, the line and the column. Both count from one.
    pub at: String,
    /// The expected and the actual result.
    pub message: String,
}

impl Report {
    /// The report of a script that failed before its first directive.
    pub fn failed(error: &anyhow::Error) -> Report {
        let failure = ScriptFailure { at: String::new(), message: format!("{error:#}") };
        Report { failures: vec![failure], ..Report::default() }
    }

    /// The number of directives of each outcome.
    pub fn summary(&self) -> String {
        let mut text = format!("{} passed, {} failed", self.passed, self.failures.len());
        let skipped: usize = self.skipped.values().sum();
        if skipped > 0 {
            text.push_str(&format!(", {skipped} skipped"));
        }
        text
    }

    /// Adds the report of another script.
    pub fn add(&mut self, other: Report) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        f.write_str(&self.message)
    }
}

/// Runs the script `text` in a new store of `engine`. Failures contain `name`. The thread must have
/// the stack that the engine's configuration promises.
///
/// # Errors
/// If the script cannot be parsed, or no store can be made. Failures of directives are in the
/// report.
pub fn run_script(engine: &Engine, name: &str, text: &str) -> Result<Report> {
    run_script_with(engine, name, text, |_, _| {})
}

/// As [`run_script`]. Calls `before` before each directive, with its place, `name:line:column`, and the
/// report of those before it.
///
/// ```
/// use gc_script::run_script_with;
/// use gc_wasm::Engine;
///
/// let mut places = Vec::new();
/// run_script_with(&Engine::default(), "two.wast", "(module)\n(module)", |at, _| {
///     places.push(at.to_owned());
/// })?;
/// assert_eq!(places, ["two.wast:1:2", "two.wast:2:2"]);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// As [`run_script`].
pub fn run_script_with(
    engine: &Engine,
    name: &str,
    text: &str,
    mut before: impl FnMut(&str, &Report),
) -> Result<Report> {
    let located = |mut error: wast::Error| {
        error.set_path(Path::new(name));
        error.set_text(text);
        error
    };
    let mut lexer = Lexer::new(text);
    // The suite has many such names.
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(located)?;
    let script: Wast<'_> = parser::parse(&buffer).map_err(located)?;
    let mut runner = runner::Runner::new(engine).context("preparing the script's store")?;
    let mut report = Report::default();
    for directive in script.directives {
        let (line, column) = directive.span().linecol_in(text);
        let at = format!("{name}:{}:{}", line + 1, column + 1);
        before(&at, &report);
        match runner.directive(directive) {
            Ok(runner::Outcome::Passed) => report.passed += 1,
            Ok(runner::Outcome::Skipped(reason)) => {
                log::debug!("{at}: skipped: {reason}");
                *report.skipped.entry(reason).or_default() += 1;
            }
            Err(error) => {
                report.failures.push(ScriptFailure { at, message: one_line(&error) });
            }
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
