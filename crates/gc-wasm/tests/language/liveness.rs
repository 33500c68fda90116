//! Reachable objects stay unchanged: in long lists, in many locals, and in deep recursion. `$churn` overwrites
//! unreachable objects with other values, so a missed root gives a wrong number. `tests/scripts/liveness.wast`
//! has the other places of references.

use crate::common::{Drops, everywhere, with_prelude};
use anyhow::{Context, Result};
use gc_wasm::{
    Caller, Collector, Config, Engine, ExternRef, HeapBounds, Instance, Linker, Module, OptLevel,
    Rooted, Store, StructRef,
};

/// Calls the exported function `f` with each argument, under every setting, with and without
/// optimisation.
fn check(body: &str, cases: &[(i32, i32)]) -> Result<()> {
    everywhere(|setting| {
        for optimize in [true, false] {
            let engine = Engine::new(setting.config().cranelift_opt_level(if optimize {
                OptLevel::Speed
            } else {
                OptLevel::None
            }))?;
            let (mut store, instance) = with_prelude(&engine, body)?;
            let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
            for (argument, expected) in cases {
                let result = f.call(&mut store, *argument)?;
                assert_eq!(result, *expected, "f({argument}), optimised: {optimize}");
            }
        }
        Ok(())
    })
}

const LIST: &str = r#"(module
    (type $node (struct (field $value i32) (field $next (ref null $node))))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func (export "build") (param $count i32)
        (local $head (ref null $node))
        (loop $again
            (local.set $head (struct.new $node (local.get $count) (local.get $head)))
            (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (global.set $list (local.get $head)))
    (func (export "sum") (result i64)
        (local $node (ref null $node)) (local $sum i64)
        (local.set $node (global.get $list))
        (block $end
            (loop $again
                (br_if $end (ref.is_null (local.get $node)))
                (local.set $sum (i64.add (local.get $sum)
                    (i64.extend_i32_s (struct.get $node $value (local.get $node)))))
                (local.set $node (struct.get $node $next (local.get $node)))
                (br $again)))
        (local.get $sum))
    (func (export "drop") (global.set $list (ref.null $node))))"#;

fn list(config: &Config, count: i32, rounds: u32) -> Result<Store<()>> {
    let engine = Engine::new(config)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, LIST)?, &[])?;
    let build = instance.get_typed_func::<i32, ()>(&mut store, "build")?;
    let sum = instance.get_typed_func::<(), i64>(&mut store, "sum")?;
    let drop_it = instance.get_typed_func::<(), ()>(&mut store, "drop")?;
    let expected = i64::from(count) * (i64::from(count) + 1) / 2;
    for round in 0..rounds {
        build.call(&mut store, count).with_context(|| format!("round {round}"))?;
        assert_eq!(sum.call(&mut store, ())?, expected);
        drop_it.call(&mut store, ())?;
    }
    Ok(store)
}

const MILLION: i32 = 1_000_000;

#[test]
fn million_node_list_built_traversed_dropped() -> Result<()> {
    for collector in Collector::all() {
        for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
            let mut config = Config::new();
            config.collector(collector.clone()).gc_heap_bounds(bounds).gc_heap_maximum(64 << 20);
            let store = list(&config, MILLION, 1)?;
            assert!(store.gc_stats().allocations >= MILLION as u64);
        }
    }
    Ok(())
}

#[test]
fn million_node_list_built_again_where_only_one_fits() -> Result<()> {
    for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
        let mut config = Config::new();
        config.collector(Collector::drc()).gc_heap_bounds(bounds).gc_heap_maximum(28 << 20);
        let mut store = list(&config, MILLION, 4)?;
        let stats = store.gc_stats();
        assert!(stats.peak_heap_bytes <= 28 << 20, "{stats:?}");
        assert!(stats.allocated_bytes > 2 * stats.peak_heap_bytes, "one round fits: {stats:?}");
        store.gc(None)?;
        assert_eq!(store.gc_stats().live_objects, 0);
    }
    Ok(())
}

#[test]
fn list_built_and_dropped_with_a_collection_at_every_node() -> Result<()> {
    everywhere(|setting| {
        let mut store = list(&setting.config(), 500, 2)?;
        let collections = store.gc_stats().collections;
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
            assert!(!setting.zeal || collections >= 1000, "{collections} collections");
        }
        Ok(())
    })
}

#[test]
fn more_references_live_than_there_are_registers() -> Result<()> {
    let count = 60;
    let mut body = String::from("(func (export \"f\") (param $n i32) (result i32)\n");
    for i in 0..count {
        body += &format!("(local $r{i} (ref null $pair))\n");
    }
    for i in 0..count {
        body +=
            &format!("(local.set $r{i} (call $new (i32.add (local.get $n) (i32.const {i}))))\n");
    }
    body += "(call $churn) (i32.const 0)\n";
    for i in 0..count {
        body += &format!("(i32.add (call $get (local.get $r{i})))\n");
        if i % 10 == 0 {
            body += "(call $churn)\n";
        }
    }
    body += ")";
    check(&body, &[(0, 59 * 60 / 2), (1000, 60_000 + 59 * 60 / 2)])
}

/// Recursion that holds a reference in each frame.
const DEEP: &str = r#"
    (func $deep (export "deep") (param $n i32) (param $above (ref null $pair)) (param $every i32)
        (result i64)
        (local $mine (ref null $pair)) (local $below i64)
        (if (i32.eqz (local.get $n)) (then
            (call $churn)
            (return (i64.extend_i32_s (call $get (local.get $above))))))
        (local.set $mine (struct.new $pair (local.get $n) (local.get $above)))
        (if (i32.eqz (i32.rem_u (local.get $n) (local.get $every))) (then (call $churn)))
        (local.set $below
            (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $mine)
                (local.get $every)))
        (if (i32.eqz (i32.rem_u (local.get $n) (local.get $every))) (then (call $churn)))
        (if (i32.ne (call $get (local.get $mine)) (local.get $n)) (then (unreachable)))
        ;; Its list is as long as it was.
        (if (i32.eqz (ref.eq (struct.get $pair $next (local.get $mine)) (local.get $above)))
            (then (unreachable)))
        (i64.add (local.get $below) (i64.extend_i32_s (call $get (local.get $mine)))))
    (func (export "f") (param i32) (result i32)
        (i32.wrap_i64 (call $deep (local.get 0) (ref.null $pair) (i32.const 10))))"#;

#[test]
fn references_live_in_10000_frames() -> Result<()> {
    everywhere(|setting| {
        let mut config = setting.config();
        // Zeal would walk 10,000 frames 10,000 times.
        config.gc_zeal(if setting.zeal { 500 } else { 0 }).max_wasm_stack(1536 << 10);
        let (mut store, instance) = with_prelude(&Engine::new(&config)?, DEEP)?;
        let deep = instance
            .get_typed_func::<(i32, Option<Rooted<StructRef>>, i32), i64>(&mut store, "deep")?;
        let sum = deep.call(&mut store, (10_000, None, 2500))?;
        assert_eq!(sum, 10_000 * 10_001 / 2 + 1);
        Ok(())
    })
}

#[test]
fn references_live_in_recursion_with_a_collection_at_every_allocation() -> Result<()> {
    check(DEEP, &[(60, 60 * 61 / 2 + 1)])
}

/// Roots are precise: objects that compiled code does not use any more are collected while its
/// frame still exists.
#[test]
fn references_not_used_again_are_not_kept() -> Result<()> {
    everywhere(|setting| {
        if !setting.reclaims() {
            return Ok(());
        }
        let engine = setting.engine()?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "make" (func $make (result externref)))
                (import "" "use" (func $use (param externref)))
                (import "" "check" (func $check (param i32)))
                (func (export "f")
                    (local $a externref) (local $b externref)
                    (local.set $a (call $make))
                    (local.set $b (call $make))
                    (call $check (i32.const 0))
                    (call $use (local.get $a))
                    (call $check (i32.const 1))
                    (call $use (local.get $b))
                    (call $check (i32.const 2))))"#,
        )?;
        let mut linker: Linker<Drops> = Linker::new(&engine);
        linker.func_wrap("", "make", |mut caller: Caller<'_, Drops>| {
            let value = caller.data().value();
            ExternRef::new(&mut caller, value).map(Some)
        })?;
        linker.func_wrap("", "use", |_: Option<Rooted<ExternRef>>| {})?;
        linker.func_wrap("", "check", |mut caller: Caller<'_, Drops>, dead: i32| {
            caller.gc(None)?;
            anyhow::ensure!(caller.data().count() == dead as usize, "{dead} should be dead");
            Ok(())
        })?;
        let mut store = Store::new(&engine, Drops::default());
        let instance = linker.instantiate(&mut store, &module)?;
        instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())
    })
}
