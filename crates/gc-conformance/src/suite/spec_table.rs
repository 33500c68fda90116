//! What the specification's suite counted, as a table for the book.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of a run of the specification's suite. Clones count together.
///
/// # Examples
/// ```
/// use gc_conformance::spec::{SpecCounts, trials_counted};
/// use gc_wasm::Collector;
///
/// let counts = SpecCounts::default();
/// let trials = trials_counted(&Collector::all(), &counts);
/// // Until the trials were run, nothing is counted.
/// assert!(!trials.is_empty());
/// assert!(!counts.table().contains("| wasm-v3 |"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SpecCounts(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Directives that passed, by script and way to run it.
    passed: BTreeMap<String, BTreeMap<String, usize>>,
    /// Scripts that were not run, and why.
    ignored: BTreeMap<String, String>,
}

/// The first part of a script's name: the version or the proposal whose script it is.
fn suite(script: &str) -> &str {
    script.split_once('/').map_or(script, |(suite, _)| suite)
}

impl SpecCounts {
    fn with<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts the directives that passed in a run of `script` in some way.
    pub(super) fn passed(&self, script: &str, way: &str, directives: usize) {
        self.with(|state| {
            let ways = state.passed.entry(script.to_owned()).or_default();
            ways.insert(way.to_owned(), directives);
        });
    }

    /// Notes that `script` is not run.
    pub(super) fn ignored(&self, script: &str, why: &str) {
        self.with(|state| state.ignored.insert(script.to_owned(), why.to_owned()));
    }

    /// A table in Markdown: for each version of the specification and each proposal the number of
    /// scripts, of directives that passed in each way to run them, and of ways. Then the scripts that
    /// were not run.
    pub fn table(&self) -> String {
        self.with(|state| {
            let mut text = "| suite | scripts | directives | ways | passed |\n".to_owned();
            text.push_str("|---|---:|---:|---:|---:|\n");
            let suites: BTreeSet<&str> = state.passed.keys().map(|script| suite(script)).collect();
            let mut sums = [0; 3];
            let mut all_ways = BTreeSet::new();
            for name in suites {
                let scripts = state.passed.iter().filter(|(script, _)| suite(script) == name);
                let (mut count, mut directives, mut passed) = (0, 0, 0);
                let mut ways = BTreeSet::new();
                for (_, by_way) in scripts {
                    count += 1;
                    directives += by_way.values().max().unwrap_or(&0);
                    passed += by_way.values().sum::<usize>();
                    ways.extend(by_way.keys());
                }
                let _ = writeln!(
                    text,
                    "| {name} | {count} | {directives} | {} | {passed} |",
                    ways.len()
                );
                for (sum, number) in sums.iter_mut().zip([count, directives, passed]) {
                    *sum += number;
                }
                all_ways.extend(ways);
            }
            let [count, directives, passed] = sums;
            let ways = all_ways.len();
            let _ = writeln!(text, "| **all** | {count} | {directives} | {ways} | {passed} |");
            text.push_str("\nScripts that are not run:\n\n");
            let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for (script, why) in &state.ignored {
                *reasons.entry((suite(script), why)).or_default() += 1;
            }
            for ((suite, why), count) in reasons {
                let scripts = if count == 1 { "script" } else { "scripts" };
                let _ = writeln!(text, "- {count} {scripts} of {suite}: {why}");
            }
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_summed() {
        let counts = SpecCounts::default();
        for way in ["null", "drc"] {
            counts.passed("gc/array.wast", way, 10);
            counts.passed("gc/i31.wast", way, 5);
            counts.passed("simd/load.wast", way, 7);
        }
        counts.ignored("threads/atomic.wast", "needs the proposal threads");
        counts.ignored("threads/memory.wast", "needs the proposal threads");
        assert_eq!(
            counts.table(),
            "| suite | scripts | directives | ways | passed |\n|---|---:|---:|---:|---:|\n\
             | gc | 2 | 15 | 2 | 30 |\n| simd | 1 | 7 | 2 | 14 |\n| **all** | 3 | 22 | 2 | 44 |\n\
             \nScripts that are not run:\n\n- 2 scripts of threads: needs the proposal threads\n"
        );
    }
}
