//! The half of a collector that makes heaps, put to gc-testkit's conformance suite: each
//! check, on each kind of heap, as usual and with zeal, is a trial.

use super::{failed, trial_name};
use gc_testkit::{Subject, conformance};
use gc_wasm::{Collector, HeapBounds};
use libtest_mimic::Trial;

/// Each check for each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for check in conformance::checks() {
        for collector in collectors {
            for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
                for zeal in [false, true] {
                    let name = trial_name(check.name, collector, bounds, zeal);
                    let collector = collector.clone();
                    trials.push(Trial::test(name, move || {
                        let subject = Subject::new(collector.runtime(), collector.reclaims());
                        check.run(&subject.with(bounds, u32::from(zeal))).map_err(failed)
                    }));
                }
            }
        }
    }
    trials
}
