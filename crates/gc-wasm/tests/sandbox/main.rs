//! The sandbox: the bytes of a heap are overwritten at random between operations of
//! compiled code, host access and collections, thousands of times, and everything
//! ends in a value (a wrong one maybe), a trap or an error. What lies outside the
//! heap is as it was: linear memory, functions, another store's heap, the host's
//! values.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod host;
mod module;
mod victim;

use anyhow::{Context, Result};
use common::{Drops, Setting};
use damage::{Rng, overwrite};
use gc_wasm::{Engine, Module, RootScope, TrapError, Val};
use module::module;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use victim::Victim;

/// How the steps ended.
#[derive(Default, Debug)]
struct Outcomes {
    fine: u32,
    traps: BTreeMap<String, u32>,
    errors: u32,
}

fn attack(setting: &Setting, seeds: std::ops::Range<u64>, steps: u32) -> Result<Outcomes> {
    let mut config = setting.config();
    config.gc_heap_initial(256 << 10).gc_heap_maximum(512 << 10);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, module())?;
    let mut outcomes = Outcomes::default();
    // A second store of the same engine and module, which nobody touches.
    let bystander_drops = Drops::default();
    let mut bystander = Victim::new(&engine, &module, &bystander_drops)?;
    let walk = |victim: &mut Victim| -> Result<Option<i32>> {
        let f = victim.ops.iter().find(|(name, _)| name == "walk").context("walk")?.1;
        let mut result = [Val::I32(0)];
        f.call(&mut victim.store, &[Val::I32(0); 3], &mut result)?;
        Ok(result[0].i32())
    };
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let drops = Drops::default();
        let mut victim = Victim::new(&engine, &module, &drops)?;
        for step in 0..steps {
            overwrite(&mut victim.store, &mut rng);
            let mut name = String::new();
            let start = Instant::now();
            let result = victim.step(&mut rng, &mut name);
            let took = start.elapsed();
            assert!(took < Duration::from_secs(5), "{setting}, {seed}.{step} {name}: {took:?}");
            match result {
                Ok(()) => outcomes.fine += 1,
                Err(error) => match error.downcast_ref::<TrapError>() {
                    Some(error) => {
                        *outcomes.traps.entry(format!("{:?}", error.trap)).or_default() += 1;
                    }
                    None => outcomes.errors += 1,
                },
            }
        }
        victim.check_canaries().with_context(|| format!("{setting}, seed {seed}"))?;
        drop(victim);
        // No host value was dropped twice, and all of them once.
        assert_eq!(drops.count(), drops.made(), "{setting}, seed {seed}");
    }
    bystander.check_canaries()?;
    assert_eq!(walk(&mut bystander)?, Some(299 * 300 / 2));
    assert_eq!(bystander_drops.count(), 0);
    Ok(outcomes)
}

/// Under each collector, in each bounds mode. A damaged heap refuses to allocate or
/// collect sooner or later, so that there are many stores rather than long lives.
#[test]
fn a_heap_of_random_bytes_harms_nothing_outside() -> Result<()> {
    for setting in Setting::all() {
        eprintln!("--- {setting}");
        let seeds = if setting.zeal { 0..10 } else { 0..100 };
        let outcomes = attack(&setting, seeds, 60)?;
        eprintln!("{outcomes:?}");
        if !setting.zeal {
            // It is an attack: much goes wrong. It is not all over at the first blow:
            // much goes on.
            let traps: u32 = outcomes.traps.values().sum();
            assert!(outcomes.fine > 1000, "{setting}: {outcomes:?}");
            assert!(traps > 1000, "{setting}: {outcomes:?}");
        }
    }
    Ok(())
}

/// The same operations on a heap nobody damages: each of them works for some numbers,
/// so that the attack is not on code that never runs.
#[test]
fn the_operations_work_on_a_sound_heap() -> Result<()> {
    for setting in Setting::all() {
        eprintln!("--- {setting}");
        let mut config = setting.config();
        config.gc_heap_initial(256 << 10).gc_heap_maximum(8 << 20);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, module())?;
        let drops = Drops::default();
        let mut victim = Victim::new(&engine, &module, &drops)?;
        for op in 0..victim.ops.len() {
            // Afresh, since some leave little of what others need.
            victim = Victim::new(&engine, &module, &drops)?;
            let (name, func) = victim.ops[op].clone();
            let mut worked = 0;
            for n in 0..25 {
                let mut scope = RootScope::new(&mut victim.store);
                let arguments = [n, (n * 3) % 25, n % 7].map(Val::I32);
                match func.call(&mut scope, &arguments, &mut [Val::I32(0)]) {
                    Ok(()) => worked += 1,
                    Err(error) => assert!(error.is::<TrapError>(), "{setting}, {name}: {error:?}"),
                }
            }
            assert!(worked > 0, "{setting}: {name} never works");
        }
        let mut rng = Rng::new(1);
        let mut name = String::new();
        for _ in 0..if setting.zeal { 100 } else { 1000 } {
            if let Err(error) = victim.step(&mut rng, &mut name) {
                let shown = format!("{error:#}");
                assert!(!shown.to_lowercase().contains("corrupt"), "{setting}, {name}: {shown}");
            }
        }
        victim.handles.clear();
        victim.store.gc()?;
        victim.check_canaries()?;
        drop(victim);
        assert_eq!(drops.count(), drops.made());
    }
    Ok(())
}
