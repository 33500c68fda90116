//! Random programs. The result of a program and the hash of its observations must be the same under
//! every collector, on every kind of heap, with and without zeal.
//!
//! The tests use a fixed set of seeds, scaled by `TESTKIT_SCALE`. `TESTKIT_SEEDS` (the number of
//! seeds) and `TESTKIT_FIRST_SEED` select other seeds. The expected result is that of `null`, which
//! neither moves nor frees anything.

use super::Setting;
use anyhow::{Context, Result, ensure};
use gc_script::random::{Outcome, Size, execute, program};
use gc_testkit::choices::Choices;
use gc_testkit::{Ledger, Reclaims};
use gc_wasm::{Collector, Engine, HeapBounds, Module, Store};
use libtest_mimic::Trial;

/// Number of seeds without `TESTKIT_SEEDS`.
const SEEDS: u64 = 24;

/// Random programs under each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    Setting::all(collectors).into_iter().map(|setting| setting.trial("random", agrees)).collect()
}

fn agrees(setting: &Setting) -> Result<()> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let seeds = number("TESTKIT_SEEDS")?.unwrap_or_else(|| gc_testkit::scaled(SEEDS));
    let first = number("TESTKIT_FIRST_SEED")?.unwrap_or(0);
    let reference = Setting { collector: plain(), bounds: HeapBounds::Guarded, zeal: false };
    let maximum = 64 << 20;
    let expecting = Engine::new(&reference.config(maximum))?;
    for seed in first..first.saturating_add(seeds) {
        let wat = program(Choices::from_seed(seed), Size::USUAL);
        let expected = run(&expecting, &wat)
            .with_context(|| format!("seed {seed}, {}", reference.collector.name()))?;
        let mut config = setting.config(maximum);
        if setting.zeal {
            config.gc_zeal([1, 2, 3, 7][seed as usize % 4]);
        }
        let engine = Engine::new(&config)?;
        let actual = run(&engine, &wat).with_context(|| format!("seed {seed}"))?;
        ensure!(actual == expected, "seed {seed}: {actual:?} instead of {expected:?}");
    }
    Ok(())
}

/// The collector with which the others are compared: it frees nothing and moves nothing.
fn plain() -> Collector {
    let mut all = Collector::all().into_iter();
    all.find(|one| one.reclaims() == Reclaims::Nothing).expect("one of ours")
}

/// Runs a program, and collects at the end.
fn run(engine: &Engine, wat: &str) -> Result<Outcome> {
    let module = Module::new(engine, wat)?;
    let values = Ledger::default();
    let mut store = Store::new(engine, values.clone());
    let (_, outcome) = execute(&mut store, &module)?;
    store.gc(None)?;
    drop(store);
    values.check_all_once()?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_valid_and_see_something() {
        let mut config = gc_wasm::Config::new();
        let engine = Engine::new(config.collector(Collector::null())).unwrap();
        let outcomes: Vec<_> = (0..20)
            .map(|seed| run(&engine, &program(Choices::from_seed(seed), Size::USUAL)).unwrap())
            .collect();
        let hashes: std::collections::HashSet<_> = outcomes.iter().map(|o| o.hash).collect();
        assert!(hashes.len() >= 16, "{outcomes:?}");
        let done = outcomes.iter().filter(|outcome| outcome.end == "done").count();
        assert!(done >= 5, "{outcomes:?}");
    }
}
