//! All areas of the suite, and the settings for compiled code.

pub mod embedding;
pub mod laws;
pub mod programs;
pub mod random;
pub mod sandbox;
pub mod scripts;
pub mod spec;
mod spec_table;

mod host;

use crate::heap;
use gc_testkit::trials::conclude;
use gc_testkit::trials::trial;
use gc_wasm::{Collector, HeapBounds};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// Runs the whole suite for each of `collectors`, according to the process's arguments.
pub fn main(collectors: &[Collector]) -> ExitCode {
    run(trials(collectors))
}

/// The whole suite for each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let areas = [
        ("heap", heap::trials(collectors)),
        ("embedding", embedding::trials(collectors)),
        ("laws", laws::trials(collectors)),
        ("spec", spec::trials(collectors)),
        ("scripts", scripts::trials(collectors)),
        ("programs", programs::trials(collectors)),
        ("random", random::trials(collectors)),
        ("sandbox", sandbox::trials(collectors)),
    ];
    let named = |(area, trials): (&'static str, Vec<Trial>)| {
        trials.into_iter().map(move |trial| trial.with_kind(area))
    };
    areas.into_iter().flat_map(named).collect()
}

/// Runs `trials` according to the process's arguments, and prints the results. Expected panics are
/// not printed.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    conclude(&Arguments::from_args(), trials).exit_code()
}

/// Whether code of this machine can sign return addresses.
fn can_sign_return_addresses() -> bool {
    let Err(why) = gc_wasm::Engine::new(gc_wasm::Config::new().sign_return_addresses(true)) else {
        return true;
    };
    let why = format!("{why:#}");
    assert!(why.contains("cannot sign return addresses"), "{why}");
    false
}

/// One way to run compiled code under a collector.
#[derive(Clone, Debug)]
struct Setting {
    collector: Collector,
    bounds: HeapBounds,
    /// Collect at every allocation, and verify the heap before and after. Sign return addresses, if the processor can.
    zeal: bool,
}

impl Setting {
    /// Each collector, in both bounds modes, with and without zeal.
    fn all(collectors: &[Collector]) -> Vec<Setting> {
        let mut all = Vec::new();
        for collector in collectors {
            for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
                for zeal in [false, true] {
                    all.push(Setting { collector: collector.clone(), bounds, zeal });
                }
            }
        }
        all
    }

    /// The engine's configuration, with at most `maximum` bytes of heap. The collector is that
    /// [for tests](gc_runtime::GcRuntime::for_tests). With checked bounds, linear memories are checked too, and
    /// moved when they grow.
    fn config(&self, maximum: u64) -> gc_wasm::Config {
        let collector = self.collector.for_tests();
        let mut config = checked(collector);
        config.gc_heap_bounds(self.bounds).gc_heap_maximum(maximum).gc_zeal(u32::from(self.zeal));
        config.sign_return_addresses(self.zeal && can_sign_return_addresses());
        if self.bounds == HeapBounds::Checked {
            config.memory_reservation(0).memory_reservation_for_growth(0);
            config.memory_guard_size(64 << 10);
        }
        config
    }

    /// The trial of `test` under this setting.
    fn trial(
        self,
        name: &str,
        test: impl FnOnce(&Setting) -> anyhow::Result<()> + Send + 'static,
    ) -> Trial {
        let name = trial_name(name, &self.collector, self.bounds, self.zeal);
        trial(name, move || test(&self).map_err(failed))
    }
}

/// A configuration whose code is checked in every build: that references are in stack maps, that stores have their
/// barriers, and that accesses stay in the heap.
fn checked(collector: Collector) -> gc_wasm::Config {
    let mut config = gc_wasm::Config::new();
    config.collector(collector).cranelift_debug_verifier(true);
    config
}

/// `what::collector`, followed by the unusual settings.
pub(crate) fn trial_name(
    what: &str,
    collector: &Collector,
    bounds: HeapBounds,
    zeal: bool,
) -> String {
    let bounds = if bounds == HeapBounds::Checked { "::checked" } else { "" };
    let zeal = if zeal { "::zeal" } else { "" };
    format!("{what}::{}{bounds}{zeal}", collector.name())
}

pub(crate) fn failed(error: anyhow::Error) -> Failed {
    format!("{error:?}").into()
}

/// A trial that is ignored for this reason.
fn ignored(name: String, reason: String) -> Trial {
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
}
