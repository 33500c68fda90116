//! Collection in time that the host gives: `Store::gc_for`, between calls and in a host function.

use anyhow::Result;
use gc_wasm::{
    AsContext, Caller, Collector, Config, Engine, Func, Instance, Module, Reclaims, Store,
};
use std::time::Duration;

/// `run(batches, steps, keep)` makes `steps` objects before each of `batches` calls of the host. Every
/// `keep`th object stays alive in one of 256 lists, which are dropped one after the other. Returns the
/// number of objects in the lists.
const PROGRAM: &str = r#"(module
    (import "" "" (func $host))
    (type $node (struct (field $next (ref null $node)) (field i64)))
    (type $lists (array (mut (ref null $node))))
    (global $lists (ref $lists) (array.new_default $lists (i32.const 256)))
    (func (export "run") (param $batches i32) (param $steps i32) (param $keep i32) (result i32)
        (local $i i32) (local $list i32) (local $node (ref null $node)) (local $count i32)
        (loop $batch
            (local.set $list (i32.and (local.get $batches) (i32.const 255)))
            (array.set $lists (global.get $lists) (local.get $list) (ref.null $node))
            (local.set $i (local.get $steps))
            (loop $step
                (local.set $node (struct.new $node
                    (array.get $lists (global.get $lists) (local.get $list)) (i64.const 1)))
                (if (i32.eqz (i32.rem_u (local.get $i) (local.get $keep)))
                    (then (array.set $lists (global.get $lists) (local.get $list) (local.get $node))))
                (br_if $step (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
            (call $host)
            (br_if $batch (local.tee $batches (i32.sub (local.get $batches) (i32.const 1)))))
        (local.set $list (i32.const 0))
        (loop $all
            (local.set $node (array.get $lists (global.get $lists) (local.get $list)))
            (block $end
                (loop $next
                    (br_if $end (ref.is_null (local.get $node)))
                    (local.set $count (i32.add (local.get $count) (i32.const 1)))
                    (local.set $node (struct.get $node $next (local.get $node)))
                    (br $next)))
            (br_if $all (i32.lt_u
                (local.tee $list (i32.add (local.get $list) (i32.const 1))) (i32.const 256))))
        (local.get $count)))"#;

/// What the host has given and seen.
#[derive(Default)]
struct Given {
    time: Duration,
    /// Collections in the time that was given.
    collections: u64,
}

/// Runs the program. Returns the number of live objects, the collections in the time that was given, and
/// those outside of it.
fn run(config: &Config, time: Duration, args: (i32, i32, i32)) -> Result<(i32, u64, u64)> {
    let engine = Engine::new(config)?;
    let mut store = Store::new(&engine, Given { time, ..Given::default() });
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, Given>| -> Result<()> {
        let before = caller.as_context().gc_stats().collections;
        let time = caller.data().time;
        let _left = caller.gc_for(time)?;
        let new = caller.as_context().gc_stats().collections - before;
        caller.data_mut().collections += new;
        Ok(())
    });
    let instance = Instance::new(&mut store, &Module::new(&engine, PROGRAM)?, &[host.into()])?;
    let run = instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, "run")?;
    let live = run.call(&mut store, args)?;
    let given = store.data().collections;
    let all = store.gc_stats().collections;
    // With enough time nothing is left.
    let mut calls = 0;
    while !store.gc_for(Duration::from_secs(60))?.is_nothing() {
        calls += 1;
        assert!(calls < 100, "it never ends");
    }
    assert_eq!(run.call(&mut store, (1, 1, 1))?, live - args.1 / args.2 + 1);
    Ok((live, given, all - given))
}

#[test]
fn the_program_does_not_collect_if_the_host_gives_enough_time() -> Result<()> {
    for collector in Collector::all() {
        let reclaims = collector.reclaims();
        let mut config = Config::new();
        config.collector(collector.clone()).gc_heap_maximum(256 << 20);
        // 2.4 MB are alive, and 24 KB are made between two calls.
        let (live, given, other) = run(&config, Duration::from_secs(60), (2000, 1000, 10))?;
        assert_eq!(live, 256 * 100, "{collector}");
        match reclaims {
            Reclaims::Nothing => assert_eq!((given, other), (0, 0)),
            _ => assert!(given > 0, "{collector}: no collection in the time that was given"),
        }
        if collector.name() == "generational" {
            assert_eq!(other, 0, "{collector}: {given} in the time that was given");
        }
    }
    Ok(())
}

#[test]
fn a_program_that_is_faster_collects_by_itself() -> Result<()> {
    for collector in Collector::all() {
        let mut config = Config::new();
        config.collector(collector.clone()).gc_heap_maximum(256 << 20);
        // 24 MB are made between two calls, and the time is too short for anything.
        let (live, given, other) = run(&config, Duration::ZERO, (3, 1_000_000, 10))?;
        assert_eq!((live, given), (300_000, 0), "{collector}");
        assert_eq!(other > 0, collector.reclaims() != Reclaims::Nothing, "{collector}");
    }
    Ok(())
}

#[cfg(feature = "gc_zeal")]
#[test]
fn time_is_given_under_zeal() -> Result<()> {
    for collector in Collector::all() {
        for zeal in [1, 7] {
            let mut config = Config::new();
            config.collector(collector.clone()).gc_heap_maximum(16 << 20).gc_zeal(zeal);
            let (live, ..) = run(&config, Duration::from_micros(50), (30, 20, 3))?;
            assert_eq!(live, 30 * 6, "{collector}");
        }
    }
    Ok(())
}
