//! The specification's test suite, and a few scripts of this project: which scripts run, and what must come of
//! them.
//!
//! The suite's scripts are 23 MB, which whoever runs them passes to [`scripts`]. Scripts of unsupported
//! proposals are left out, and so are those of `UNSUPPORTED`. Scripts in which only some directives need such
//! a proposal are in `PARTS`, with exactly the proposals that they need.
//!
//! ```
//! use gc_script::suite::scripts;
//! use gc_wasm::Config;
//!
//! let text = r#"(module (func (export "f"))) (assert_return (invoke "f"))"#;
//! let files = ["gc", "threads"].map(|suite| (suite.to_owned(), "f.wast".to_owned(), text));
//! let mut ignored = Vec::new();
//! let scripts = scripts(files, |name, why| ignored.push(format!("{name} {why}")));
//! assert_eq!(scripts[0].name, "gc/f.wast");
//! assert_eq!(scripts[0].run(&Config::new())?, 2);
//! assert_eq!(ignored, ["threads/f.wast needs the proposal threads"]);
//! # Ok::<(), anyhow::Error>(())
//! ```

use crate::run_script;
use crate::stack::with_stack;
use anyhow::{Result, bail, ensure};
use gc_wasm::{Config, Engine};
use std::collections::HashSet;

/// The versions of the specification whose scripts run. Of equal scripts only the first one runs.
const VERSIONS: [&str; 4] = ["wasm-v3", "wasm-latest", "wasm-v2", "wasm-v1"];

/// The proposals whose scripts run in addition. [`SUPERSEDED`] lists the scripts that a later
/// version replaced.
const SUPPORTED: [&str; 16] = [
    "gc",
    "function-references",
    "exceptions",
    "extended-const",
    "reference-types",
    "bulk-memory",
    "multi-value",
    "mutable-global",
    "nontrapping-float-to-int-conversions",
    "sign-extension-ops",
    "tail-call",
    "simd",
    "relaxed-simd",
    "multi-memory",
    "memory64",
    "annotations",
];

/// Scripts in which some directives need unsupported proposals, and the reasons for skipping these.
const PARTS: &[(&str, &[&str])] = &[];

/// Scripts in which every module needs unsupported proposals.
const UNSUPPORTED: &[(&str, &str)] = &[];

/// Scripts of this project, for what no suite has.
const OWN: &[(&str, &str)] = &[
    ("own/legacy_exceptions.wast", include_str!("../scripts/legacy_exceptions.wast")),
    ("own/memory64.wast", include_str!("../scripts/memory64.wast")),
    ("own/multi_memory.wast", include_str!("../scripts/multi_memory.wast")),
    ("own/table64.wast", include_str!("../scripts/table64.wast")),
];

/// Scripts that expect that modules are refused for this reason, which later versions allow.
const ALLOWED_LATER: &[(&str, &str)] = &[
    ("wasm-v1/binary-leb128.wast", INDEX),
    ("wasm-v1/imports.wast", MEMORIES),
    ("wasm-v1/memory.wast", MEMORIES),
    ("wasm-v2/binary-leb128.wast", INDEX),
    ("wasm-v2/binary.wast", ZERO_BYTE),
    ("wasm-v2/imports.wast", MEMORIES),
    ("wasm-v2/memory.wast", MEMORIES),
    ("function-references/binary.wast", ZERO_BYTE),
    ("memory64/binary.wast", ZERO_BYTE),
    ("memory64/memory.wast", MEMORIES),
    ("memory64/memory64.wast", MEMORIES),
    ("multi-value/binary.wast", "zero flag expected"),
    ("reference-types/binary-leb128.wast", INDEX),
    ("reference-types/binary.wast", INDEX),
    ("reference-types/binary.wast", "zero flag expected"),
    ("reference-types/imports.wast", MEMORIES),
];

const MEMORIES: &str = "multiple memories";
/// The index of a memory was a byte that had to be zero.
const ZERO_BYTE: &str = "zero byte expected";
/// The index of a memory may have several bytes.
const INDEX: &str = "integer representation too long";

/// Outdated scripts, and the scripts that replaced them.
const SUPERSEDED: &[(&str, &str)] = &[
    ("mutable-global/linking.wast", "wasm-v3/linking.wast"),
    ("reference-types/unreached-invalid.wast", "wasm-v3/unreached-invalid.wast"),
];

/// Bytes of stack for compiled code: enough for the suite's recursions, and small enough to
/// overflow fast.
pub const STACK: usize = 2 << 20;

/// A script that must pass.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its suite and its file, as in `gc/array.wast`.
    pub name: String,
    /// Its text.
    pub text: &'static str,
}

/// The scripts that run: those of `files`, and those of this project. A file is the name of its suite (a
/// version or a proposal), its own name, and its text. Calls `ignored` with the names of the files that do not
/// run, and the reasons.
pub fn scripts(
    files: impl IntoIterator<Item = (String, String, &'static str)>,
    mut ignored: impl FnMut(String, String),
) -> Vec<Script> {
    let order = |suite: &str| VERSIONS.iter().chain(&SUPPORTED).position(|name| *name == suite);
    let mut ordered = Vec::new();
    let mut unsupported = Vec::new();
    for (suite, file, text) in files {
        let name = format!("{suite}/{file}");
        match order(&suite) {
            Some(place) => ordered.push((place, name, text)),
            None => unsupported.push((name, format!("needs the proposal {suite}"))),
        }
    }
    // Files of one suite stay in their order.
    ordered.sort_by_key(|(place, ..)| *place);
    let ordered = ordered.into_iter().map(|(_, name, text)| (name, text));
    let own = OWN.iter().map(|(name, text)| ((*name).to_owned(), *text));
    let mut scripts = Vec::new();
    let mut seen = HashSet::new();
    for (name, text) in ordered.chain(own) {
        if !seen.insert(text) {
            continue;
        }
        if let Some((_, by)) = SUPERSEDED.iter().find(|(script, _)| *script == name) {
            ignored(name, format!("superseded by {by}"));
        } else if let Some((_, needs)) = UNSUPPORTED.iter().find(|(script, _)| *script == name) {
            ignored(name, format!("needs the proposal {needs}"));
        } else {
            scripts.push(Script { name, text });
        }
    }
    for (name, why) in unsupported {
        ignored(name, why);
    }
    scripts
}

impl Script {
    /// Runs the script, and returns the number of directives that passed.
    ///
    /// # Errors
    /// If a directive failed, or others were skipped than those that need an unsupported proposal.
    pub fn run(&self, config: &Config) -> Result<usize> {
        let parts = PARTS.iter().find(|(name, _)| *name == self.name).map_or(&[][..], |p| p.1);
        let run = || run_script(&Engine::new(config)?, &self.name, self.text);
        let mut report = with_stack(STACK, run)?;
        for (_, reason) in ALLOWED_LATER.iter().filter(|(name, _)| *name == self.name) {
            let compiled = format!("expected `{reason}`, but the module compiled");
            let failures = report.failures.len();
            report.failures.retain(|failure| !failure.message.ends_with(&compiled));
            let allowed = report.failures.len() != failures;
            ensure!(allowed, "every module with `{reason}` is refused");
        }
        if !report.failures.is_empty() {
            let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
            bail!("{}\n{}", report.summary(), failures.join("\n"));
        }
        let skipped = &report.skipped;
        ensure!(
            skipped.keys().eq(parts),
            "expected parts that are skipped: {parts:?}, got: {skipped:?}"
        );
        ensure!(report.passed != 0, "no directive passed");
        Ok(report.passed)
    }
}
