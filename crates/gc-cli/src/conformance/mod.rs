//! The conformance suite: everything a collector is put to, ours or anybody's, as trials
//! of a test binary.
//!
//! * [`heap`]: gc-testkit's named checks of each promise the runtime half makes, random
//!   operations beside a shadow heap, and damage, all without compiled code.
//! * [`embedding`]: what a host that holds references sees, through compiled code:
//!   handles, host values, limits, reuse.
//! * [`spec`]: the specification's scripts.
//! * [`programs`]: programs with known answers.
//! * [`random`]: random programs, which must come to the same under every collector.
//! * [`sandbox`]: a heap that is overwritten while compiled code works on it.
//!
//! Each area runs on heaps with and without checked bounds, as usual and with zeal: a
//! collection at every allocation, with the heap verified around it.
//!
//! The whole of it for a collector of one's own is a test target without a harness whose
//! file is one line:
//!
//! ```no_run
//! # fn my_collector() -> gc_wasm::Collector { gc_wasm::Collector::null() }
//! gc_cli::conformance!(my_collector());
//! ```
//!
//! It takes the arguments of any test binary: a part of a trial's name runs those trials,
//! `--list` lists them. `TESTKIT_SCALE` scales the work of the heap's checks.

pub mod embedding;
pub mod heap;
pub mod programs;
pub mod random;
pub mod sandbox;
pub mod spec;

mod host;
mod wasi;

use gc_wasm::{Collector, HeapBounds};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// Makes the `main` of a test target without a harness: the whole suite for each of the
/// [`Collector`](gc_wasm::Collector)s that are its arguments.
#[macro_export]
macro_rules! conformance {
    ($($collector:expr),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::main(&[$($collector),+])
        }
    };
}

/// Runs the whole suite for each of `collectors`, as the process's arguments say.
pub fn main(collectors: &[Collector]) -> ExitCode {
    run(trials(collectors))
}

/// The whole suite for each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let areas = [
        ("heap", heap::trials(collectors)),
        ("embedding", embedding::trials(collectors)),
        ("spec", spec::trials(collectors)),
        ("programs", programs::trials(collectors)),
        ("random", random::trials(collectors)),
        ("sandbox", sandbox::trials(collectors)),
    ];
    let named = |(area, trials): (&'static str, Vec<Trial>)| {
        trials.into_iter().map(move |trial| trial.with_kind(area))
    };
    areas.into_iter().flat_map(named).collect()
}

/// Runs `trials` as the process's arguments say, and prints how they ended. Panics that a
/// trial is looking for are not told.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !gc_testkit::conformance::is_panic_expected() {
            usual(panic);
        }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One way to run compiled code under a collector.
#[derive(Clone, Debug)]
struct Setting {
    collector: Collector,
    bounds: HeapBounds,
    /// Collect at every allocation, verifying the heap before and after.
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

    /// The engine's configuration, with `maximum` bytes of heap at most. The nursery, if
    /// there is one, is small enough to be filled.
    fn config(&self, maximum: u64) -> gc_wasm::Config {
        let mut config = gc_wasm::Config::new();
        config
            .collector(self.collector.clone())
            .gc_heap_bounds(self.bounds)
            .gc_heap_maximum(maximum)
            .gc_nursery(128 << 10)
            .gc_zeal(u32::from(self.zeal));
        config
    }

    /// The trial of `test` under this setting.
    fn trial(
        self,
        name: &str,
        test: impl FnOnce(&Setting) -> anyhow::Result<()> + Send + 'static,
    ) -> Trial {
        let name = trial_name(name, &self.collector, self.bounds, self.zeal);
        Trial::test(name, move || test(&self).map_err(failed))
    }
}

/// `what::collector`, and behind it what is not as usual.
fn trial_name(what: &str, collector: &Collector, bounds: HeapBounds, zeal: bool) -> String {
    let bounds = if bounds == HeapBounds::Checked { "::checked" } else { "" };
    let zeal = if zeal { "::zeal" } else { "" };
    format!("{what}::{}{bounds}{zeal}", collector.name())
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:?}").into()
}

/// A trial that does not run, and why.
fn ignored(name: String, reason: String) -> Trial {
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
}
