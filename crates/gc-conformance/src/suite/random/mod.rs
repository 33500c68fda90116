//! Random programs. The result of a program and the hash of its observations must be the same under
//! every collector, on every kind of heap, with and without zeal.
//!
//! The tests use a fixed set of seeds, scaled by `TESTKIT_SCALE`. `TESTKIT_SEEDS` (the number of
//! seeds) and `TESTKIT_FIRST_SEED` select other seeds. The expected result is that of `null`, which
//! neither moves nor frees anything.

mod expressions;
mod generate;
mod memories;
mod statements;

#[cfg(feature = "fuzz")]
pub(crate) use generate::ROOTS;
pub(crate) use generate::Size;

use super::Setting;
use crate::choices::Choices;
use anyhow::{Context, Result, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    AnyRef, Caller, Collector, Engine, ExternRef, HeapBounds, Instance, Linker, Module, Rooted,
    Store, Trap, Val,
};
use libtest_mimic::Trial;

/// Number of seeds without `TESTKIT_SEEDS`.
const SEEDS: u64 = 24;

/// The outcome of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The reason why it ended.
    pub(crate) end: String,
    /// The hash of its observations.
    pub(crate) hash: i64,
    /// What is left of the fuel that it counts itself.
    pub(crate) fuel: i32,
}

/// Random programs under each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    Setting::all(collectors).into_iter().map(|setting| setting.trial("random", agrees)).collect()
}

fn agrees(setting: &Setting) -> Result<()> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let seeds = number("TESTKIT_SEEDS")?.unwrap_or_else(|| gc_testkit::scaled(SEEDS));
    let first = number("TESTKIT_FIRST_SEED")?.unwrap_or(0);
    let reference =
        Setting { collector: Collector::null(), bounds: HeapBounds::Guarded, zeal: false };
    let maximum = 64 << 20;
    let expecting = Engine::new(&reference.config(maximum))?;
    for seed in first..first.saturating_add(seeds) {
        let wat = program(Choices::from_seed(seed), Size::USUAL);
        let expected = run(&expecting, &wat).with_context(|| format!("seed {seed}, null"))?;
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

/// The text of a program.
pub(crate) fn program(choices: Choices, size: Size) -> String {
    generate::module(choices, size)
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

/// Runs a program in a new store. Its host values are those of the store's ledger.
pub(crate) fn execute(store: &mut Store<Ledger>, module: &Module) -> Result<(Instance, Outcome)> {
    let mut linker: Linker<Ledger> = Linker::new(store.engine());
    linker.func_wrap("h", "gc", |mut caller: Caller<'_, Ledger>| caller.gc(None))?;
    linker.func_wrap(
        "h",
        "id",
        |mut caller: Caller<'_, Ledger>,
         any: Option<Rooted<AnyRef>>,
         _: Option<Rooted<ExternRef>>,
         _: i32|
         -> Result<Option<Rooted<AnyRef>>> {
            caller.gc(None)?;
            if any.is_some() {
                return Ok(any);
            }
            let token = caller.data().issue();
            let value = ExternRef::new(&mut caller, token)?;
            AnyRef::convert_extern(&mut caller, value).map(Some)
        },
    )?;
    linker.func_wrap(
        "h",
        "ext",
        |mut caller: Caller<'_, Ledger>,
         host: Option<Rooted<ExternRef>>|
         -> Result<Option<Rooted<ExternRef>>> {
            caller.gc(None)?;
            if host.is_some() {
                return Ok(host);
            }
            let token = caller.data().issue();
            ExternRef::new(&mut caller, token).map(Some)
        },
    )?;
    let instance = linker.instantiate(&mut *store, module)?;
    let end = match instance.get_typed_func::<(), ()>(&mut *store, "run")?.call(&mut *store, ()) {
        Ok(()) => "done".into(),
        Err(error) => error.downcast::<Trap>()?.to_string(),
    };
    let global = |store: &mut Store<Ledger>, name| -> Result<Val> {
        let global = instance.get_global(&mut *store, name);
        Ok(global.context("every program has it")?.get(store))
    };
    let hash = global(store, "h")?.i64().context("it is an i64")?;
    let fuel = global(store, "fuel")?.i32().context("it is an i32")?;
    Ok((instance, Outcome { end, hash, fuel }))
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
