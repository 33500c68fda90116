//! Many stores at once, and many stores one after the other: what they take from the system.
//!
//! `ci/many-stores` runs this, because it needs the process for itself: it counts the process's mappings
//! and its physical memory.
#![cfg(target_os = "linux")]

use anyhow::{Context as _, Result, ensure};
use gc_wasm::{
    Collector, Config, Engine, Instance, InstancePre, Linker, Module, PoolingAllocationConfig,
    Store,
};
use std::sync::Barrier;

const STORES: u32 = 10_000;
const THREADS: u32 = 2;
const INSTANTIATIONS: u32 = 1_000_000;

/// Most bytes of physical memory of a store that has not allocated.
const MOST_RESIDENT: u64 = 64 << 10;

/// Most mappings of a store. A process has 65,530 by default.
const MOST_MAPPINGS: u64 = 6;

const MODULE: &str = r#"(module
    (type $cell (struct (field i32) (field (ref null $cell))))
    (func (export "run") (param i32) (result i32)
        (struct.get $cell 0 (struct.new $cell (local.get 0) (ref.null $cell)))))"#;

/// Bytes of physical memory of the process.
fn resident() -> Result<u64> {
    // The number in `statm` is not exact on all systems.
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("Rss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// The number of mappings of the process.
fn mappings() -> Result<u64> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count() as u64)
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(STORES).total_gc_heaps(STORES);
    pool
}

fn run(store: &mut Store<u32>, instance: Instance) -> Result<()> {
    let run = instance.get_typed_func::<i32, i32>(&mut *store, "run")?;
    ensure!(run.call(&mut *store, 42)? == 42);
    Ok(())
}

/// 10,000 stores live on two threads, each with a heap and an instance.
fn at_once(name: &str, config: &Config) -> Result<()> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, MODULE)?;
    let pre: InstancePre<u32> = Linker::new(&engine).instantiate_pre(&module)?;
    let mut warm = Store::new(&engine, 0);
    let instance = pre.instantiate(&mut warm)?;
    run(&mut warm, instance)?;
    drop(warm);
    let before = (resident()?, mappings()?);
    // All threads wait for each other before and after each measurement.
    let barrier = Barrier::new(THREADS as usize + 1);
    let (idle, used) = std::thread::scope(|scope| -> Result<_> {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (barrier, engine, pre) = (&barrier, &engine, &pre);
                scope.spawn(move || -> Result<()> {
                    let make = |n| -> Result<_> {
                        let mut store = Store::new(engine, thread * STORES + n);
                        let instance = pre.instantiate(&mut store)?;
                        Ok((store, instance))
                    };
                    let stores = (0..STORES / THREADS).map(make).collect::<Result<Vec<_>>>();
                    barrier.wait();
                    barrier.wait();
                    let mut stores = stores?;
                    let done = stores.iter_mut().try_for_each(|(store, i)| run(store, *i));
                    barrier.wait();
                    barrier.wait();
                    done
                })
            })
            .collect();
        let measure = || {
            barrier.wait();
            let now = (resident(), mappings());
            barrier.wait();
            now
        };
        let (idle, used) = (measure(), measure());
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(((idle.0?, idle.1?), (used.0?, used.1?)))
    })?;
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(STORES);
    let (bytes, maps) = (each(idle.0, before.0), each(idle.1, before.1));
    let (used_bytes, used_maps) = (each(used.0, before.0), each(used.1, before.1));
    println!(
        "{name}: {STORES} stores: each {bytes:.0} bytes and {maps:.2} mappings, \
         with an object {used_bytes:.0} bytes and {used_maps:.2} mappings"
    );
    ensure!(bytes <= MOST_RESIDENT as f64, "{name}: {bytes:.0} bytes for each store");
    for maps in [maps, used_maps] {
        ensure!(maps <= MOST_MAPPINGS as f64, "{name}: {maps:.2} mappings for each store");
    }
    Ok(())
}

/// A million instances from a pool, each in a store of its own. Each tenth one allocates.
fn one_after_the_other(name: &str, config: &Config) -> Result<()> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, MODULE)?;
    let pre: InstancePre<u32> = Linker::new(&engine).instantiate_pre(&module)?;
    let make = |count: u32| -> Result<()> {
        for n in 0..count {
            let mut store = Store::new(&engine, n);
            let instance = pre.instantiate(&mut store)?;
            if n % 10 == 0 {
                run(&mut store, instance)?;
            }
        }
        Ok(())
    };
    make(INSTANTIATIONS / 100)?;
    let before = (resident()?, mappings()?);
    make(INSTANTIATIONS)?;
    let after = (resident()?, mappings()?);
    println!(
        "{name}: {INSTANTIATIONS} instances: {} KiB and {} mappings before, {} KiB and {} after",
        before.0 >> 10,
        before.1,
        after.0 >> 10,
        after.1
    );
    ensure!(after.0 <= before.0 + (256 << 10), "{name}: the process grows");
    ensure!(after.1 <= before.1 + 4, "{name}: mappings are left");
    Ok(())
}

#[test]
#[ignore = "it needs the process for itself: see ci/many-stores"]
fn many_stores() -> Result<()> {
    for collector in Collector::all() {
        let name = collector.name().to_owned();
        let mut config = Config::new();
        config.collector(collector);
        at_once(&format!("{name}, on demand"), &config)?;
        config.allocation_strategy(pool());
        at_once(&format!("{name}, pooled"), &config)?;
        one_after_the_other(&format!("{name}, pooled"), &config)?;
    }
    Ok(())
}
