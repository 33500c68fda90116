//! Makes a trial of a test binary for each check, on each kind of heap, with and without zeal.

use super::checks;
use crate::suite::{failed, trial_name};
use gc_testkit::Subject;
use gc_testkit::trials::trial;
use gc_wasm::{Collector, HeapBounds};
use libtest_mimic::Trial;

/// Each check for each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for check in checks() {
        for collector in collectors {
            for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
                for zeal in [false, true] {
                    let name = trial_name(check.name, collector, bounds, zeal);
                    let collector = collector.clone();
                    trials.push(trial(name, move || {
                        let subject = Subject::new(collector.runtime(), collector.reclaims());
                        check.run(&subject.with(bounds, u32::from(zeal))).map_err(failed)
                    }));
                }
            }
        }
    }
    trials
}
