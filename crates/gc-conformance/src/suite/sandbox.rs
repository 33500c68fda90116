//! The sandbox: the bytes of a heap are overwritten at random between operations of compiled code,
//! host accesses and collections, thousands of times. Each operation must end with a value
//! (possibly a wrong one), a trap or an error. Everything outside the heap must stay unchanged:
//! linear memory, functions, another store's heap, host values.

use super::Setting;
use anyhow::{Context, Result, ensure};
use gc_script::sandbox::{Victim, module, overwrite};
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{Collector, Engine, Module, RootScope, Trap, Val};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Both trials for each of `collectors`, in both bounds modes, with and without zeal.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for setting in Setting::all(collectors) {
        trials.push(setting.clone().trial("the_operations_work_on_a_sound_heap", sound));
        trials.push(setting.trial("a_heap_of_random_bytes_harms_nothing_outside", damaged));
    }
    trials
}

/// The outcomes of the steps.
#[derive(Default, Debug)]
struct Outcomes {
    fine: u32,
    traps: BTreeMap<String, u32>,
    errors: u32,
}

fn attack(setting: &Setting, seeds: std::ops::Range<u64>, steps: u32) -> Result<Outcomes> {
    let engine = Engine::new(setting.config(512 << 10).gc_heap_initial_size(256 << 10))?;
    let module = Module::new(&engine, module())?;
    let mut outcomes = Outcomes::default();
    // A second store of the same engine and module, which is not damaged.
    let bystander_values = Ledger::default();
    let mut bystander = Victim::new(&engine, &module, &bystander_values)?;
    let walk = |victim: &mut Victim| -> Result<Option<i32>> {
        let f = victim.ops.iter().find(|(name, _)| name == "walk").context("walk")?.1;
        let mut result = [Val::I32(0)];
        f.call(&mut victim.store, &[Val::I32(0); 3], &mut result)?;
        Ok(result[0].i32())
    };
    for seed in seeds {
        let mut rng = Choices::from_seed(seed);
        let values = Ledger::default();
        let mut victim = Victim::new(&engine, &module, &values)?;
        for step in 0..steps {
            overwrite(&mut victim.store, &mut rng, &[]);
            let mut name = String::new();
            let start = Instant::now();
            let result = victim.step(&mut rng, &mut name);
            let took = start.elapsed();
            ensure!(took < Duration::from_secs(5), "{seed}.{step} {name}: {took:?}");
            match result {
                Ok(()) => outcomes.fine += 1,
                Err(error) => match error.downcast_ref::<Trap>() {
                    Some(trap) => {
                        *outcomes.traps.entry(format!("{trap:?}")).or_default() += 1;
                    }
                    None => outcomes.errors += 1,
                },
            }
        }
        victim.check_canaries().with_context(|| format!("seed {seed}"))?;
        drop(victim);
        values.check_all_once().with_context(|| format!("seed {seed}"))?;
    }
    bystander.check_canaries()?;
    ensure!(walk(&mut bystander)? == Some(299 * 300 / 2), "the bystander's heap is damaged");
    ensure!(bystander_values.alive() == bystander_values.issued(), "a bystander's value died");
    Ok(outcomes)
}

/// A damaged heap refuses to allocate or collect sooner or later. So the trial uses many stores for
/// a short time each.
fn damaged(setting: &Setting) -> Result<()> {
    let seeds = if setting.zeal { 0..10 } else { 0..100 };
    let outcomes = attack(setting, seeds, 60)?;
    if !setting.zeal {
        // Many steps must fail, which shows that the damage has effects. Many must succeed, which
        // shows that the heap is still used after the first damage.
        let traps: u32 = outcomes.traps.values().sum();
        ensure!(outcomes.fine > 1000 && traps > 1000, "{outcomes:?}");
    }
    Ok(())
}

/// Runs the same operations on an undamaged heap. Each of them must work for some numbers, so that
/// the other trial tests code that really runs.
fn sound(setting: &Setting) -> Result<()> {
    let engine = Engine::new(setting.config(8 << 20).gc_heap_initial_size(256 << 10))?;
    let module = Module::new(&engine, module())?;
    let values = Ledger::default();
    let mut victim = Victim::new(&engine, &module, &values)?;
    for op in 0..victim.ops.len() {
        // A new victim each time, because some operations remove what others need.
        victim = Victim::new(&engine, &module, &values)?;
        let (name, func) = victim.ops[op].clone();
        let mut worked = 0;
        for n in 0..25 {
            let mut scope = RootScope::new(&mut victim.store);
            let arguments = [n, (n * 3) % 25, n % 7].map(Val::I32);
            match func.call(&mut scope, &arguments, &mut [Val::I32(0)]) {
                Ok(()) => worked += 1,
                Err(error) => ensure!(error.is::<Trap>(), "{name}: {error:?}"),
            }
        }
        ensure!(worked > 0, "{name} never works");
    }
    let mut rng = Choices::from_seed(1);
    let mut name = String::new();
    for _ in 0..if setting.zeal { 100 } else { 1000 } {
        if let Err(error) = victim.step(&mut rng, &mut name) {
            let shown = format!("{error:#}");
            ensure!(!shown.to_lowercase().contains("corrupt"), "{name}: {shown}");
        }
    }
    victim.handles.clear();
    victim.store.gc(None)?;
    victim.check_canaries()?;
    drop(victim);
    values.check_all_once()
}
