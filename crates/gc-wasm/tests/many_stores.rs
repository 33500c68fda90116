//! Many stores at once, and many stores one after the other: what they take from the system.
//!
//! `ci/many-stores` runs this. It counts the mappings and the physical memory of processes in which
//! nothing else runs.
#![cfg(target_os = "linux")]

use anyhow::{Context as _, Result, ensure};
use gc_wasm::{
    Collector, Config, Engine, Instance, InstancePre, Linker, Module, PoolingAllocationConfig,
    Store,
};
use std::fs::File;
use std::io::Read as _;
use std::process::Command;
use std::sync::Barrier;

const STORES: u32 = 10_000;
const THREADS: u32 = 2;
const INSTANTIATIONS: u32 = 1_000_000;

/// The number of further stores that are measured one by one. More take long, because the system
/// counts pages by a walk over all mappings.
const SINGLE: u32 = 100;

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

/// The number of mappings of the process. (The list may be long, and must not leave memory that stores
/// then use.)
fn mappings() -> Result<u64> {
    let mut maps = File::open("/proc/self/maps")?;
    let (mut lines, mut buffer) = (0, [0; 4096]);
    loop {
        match maps.read(&mut buffer)? {
            0 => return Ok(lines),
            read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(STORES + SINGLE).total_gc_heaps(STORES + SINGLE);
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
    let (idle, used, largest) = std::thread::scope(|scope| -> Result<_> {
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
        barrier.wait();
        let idle = (resident(), mappings());
        barrier.wait();
        barrier.wait();
        let used = (resident(), mappings());
        // While all of them live, so that no memory of theirs is used again.
        let largest = Largest::measure(&engine, &pre);
        barrier.wait();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(((idle.0?, idle.1?), (used.0?, used.1?), largest?))
    })?;
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(STORES);
    let (bytes, maps) = (each(idle.0, before.0), each(idle.1, before.1));
    let (used_bytes, used_maps) = (each(used.0, before.0), each(used.1, before.1));
    println!(
        "{name}: {STORES} stores: each {bytes:.0} bytes and {maps:.2} mappings, \
         with an object {used_bytes:.0} bytes and {used_maps:.2} mappings"
    );
    println!(
        "{name}: the largest of {SINGLE} more: {} bytes and {} mappings, with an object {} mappings",
        largest.bytes, largest.mappings, largest.used_mappings
    );
    ensure!(bytes <= MOST_RESIDENT as f64, "{name}: {bytes:.0} bytes for each store");
    ensure!(largest.bytes <= MOST_RESIDENT, "{name}: {} bytes for one store", largest.bytes);
    for maps in [maps, used_maps, largest.mappings as f64, largest.used_mappings as f64] {
        ensure!(maps <= MOST_MAPPINGS as f64, "{name}: {maps:.2} mappings for a store");
    }
    Ok(())
}

/// What the largest of some stores takes that are made one by one, in addition to those that exist.
struct Largest {
    bytes: u64,
    mappings: u64,
    /// With an object.
    used_mappings: u64,
}

impl Largest {
    fn measure(engine: &Engine, pre: &InstancePre<u32>) -> Result<Largest> {
        let mut stores = Vec::with_capacity(SINGLE as usize);
        let mut largest = Largest { bytes: 0, mappings: 0, used_mappings: 0 };
        for n in 0..SINGLE {
            let before = (resident()?, mappings()?);
            let mut store = Store::new(engine, n);
            let instance = pre.instantiate(&mut store)?;
            let (bytes, maps) = (resident()?, mappings()?);
            run(&mut store, instance)?;
            let used_maps = mappings()?;
            stores.push(store);
            largest.bytes = bytes.saturating_sub(before.0).max(largest.bytes);
            largest.mappings = maps.saturating_sub(before.1).max(largest.mappings);
            largest.used_mappings = used_maps.saturating_sub(before.1).max(largest.used_mappings);
        }
        Ok(largest)
    }
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

/// The variable that names what a process measures.
const CASE: &str = "GC_WASM_MANY_STORES";

/// Each case has a process of its own, because what one has freed would be memory for the next.
#[test]
#[ignore = "it counts the memory of whole processes: see ci/many-stores"]
fn many_stores() -> Result<()> {
    let case = std::env::var(CASE).ok();
    for collector in Collector::all() {
        for pooled in [false, true] {
            let name =
                format!("{}, {}", collector.name(), if pooled { "pooled" } else { "on demand" });
            match &case {
                Some(case) if *case == name => {
                    let mut config = Config::new();
                    config.collector(collector.clone());
                    if pooled {
                        config.allocation_strategy(pool());
                        one_after_the_other(&name, &config)?;
                    }
                    at_once(&name, &config)?;
                }
                Some(_) => {}
                None => {
                    let mut process = Command::new(std::env::current_exe()?);
                    process.args(["--ignored", "--exact", "many_stores", "--nocapture", "--quiet"]);
                    let status = process.env(CASE, &name).status()?;
                    ensure!(status.success(), "{name}: {status}");
                }
            }
        }
    }
    Ok(())
}
