//! A random program under several collectors. Its result, its trap, its fuel, and what can be reached
//! at the end must be those under `null`, which neither moves nor frees anything.

use super::reachable::{self, Reachable};
use super::way::Way;
use super::{Target, report};
use anyhow::{Context, Result, ensure};
use gc_script::random::{Outcome, ROOTS, Size, execute, program};
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{Config, Engine, Module, OptLevel, Reclaims, Store};

pub(super) const TARGET: Target =
    Target { name: "collectors_agree", run, seeds: 100, length: 1500, mutate: None };

/// Programs that take a few milliseconds, most of them for compiling.
const SIZE: Size =
    Size { functions: 3, locals: 8, code: (15, 90), elements: 256, rounds: 3, fuel: 120 };

/// What a program consumes at most. Some inputs have less, so that they end anywhere, but enough for
/// the instance.
const FUEL: u64 = 1_000_000;

/// What is compared.
struct Seen {
    outcome: Outcome,
    /// The engine's fuel. What is left after most traps depends on how the code was compiled.
    fuel: Option<u64>,
    reachable: Reachable,
}

fn run(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut choices = Choices::from_bytes(bytes);
    let (plain, others) = crate::way::plain_and_others();
    let ways: Vec<_> = (0..1 + choices.below(2)).map(|_| Way::of(&mut choices, &others)).collect();
    let fuel = if choices.chance(90) { FUEL } else { 2000 + choices.below(20_000) as u64 };
    let text = program(choices, SIZE);
    let wasm = report::text_module(&text)?;
    let mut reference = Config::new();
    reference.collector(plain).gc_heap_maximum(64 << 20);
    reference.cranelift_opt_level(OptLevel::None).cranelift_debug_verifier(false);
    let expected = run_under(&mut reference, fuel, &wasm).context("the plain collector")?;
    for way in ways {
        report::configuration(&way);
        let actual = run_under(&mut way.config(8 << 20), fuel, &wasm);
        let actual = actual.with_context(|| format!("{way:?}"))?;
        ensure!(
            actual.outcome == expected.outcome && actual.fuel == expected.fuel,
            "{way:?}: {:?} with {:?} fuel instead of {:?} with {:?}",
            actual.outcome,
            actual.fuel,
            expected.outcome,
            expected.fuel
        );
        let difference = reachable::difference(&expected.reachable.lines, &actual.reachable.lines);
        if let Some(difference) = difference {
            anyhow::bail!("{way:?}: {difference}");
        }
    }
    Ok(())
}

/// Runs a program. Also checks that its host values live as long as they can be reached.
fn run_under(config: &mut Config, fuel: u64, wasm: &[u8]) -> Result<Seen> {
    let engine = Engine::new(config.consume_fuel(true))?;
    let module = Module::new(&engine, wasm)?;
    let values = Ledger::default();
    let mut store = Store::new(&engine, values.clone());
    store.set_fuel(fuel)?;
    let (instance, outcome) = execute(&mut store, &module)?;
    let is_exact = outcome.end == "done" || outcome.end.contains("fuel");
    let fuel = is_exact.then(|| store.get_fuel()).transpose()?;
    store.gc(None)?;
    // Some programs do not export their tables. What is in these is alive, and is not found.
    let roots: Vec<&str> =
        ROOTS.into_iter().filter(|root| module.get_export(root).is_some()).collect();
    let reachable = reachable::describe(&mut store, &instance, &roots)?;
    let (alive, found) = (values.alive() as usize, reachable.host_values);
    let all_found = roots.len() == ROOTS.len();
    let exact = all_found && engine.collector().reclaims() == Reclaims::Everything;
    ensure!(
        alive == found || !exact && alive > found,
        "{alive} host values are alive, {found} can be reached"
    );
    drop(store);
    values.check_all_once()?;
    Ok(Seen { outcome, fuel, reachable })
}
