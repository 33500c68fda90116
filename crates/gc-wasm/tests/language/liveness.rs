//! Reachable objects stay unchanged, wherever the reference is: in locals, on the operand stack,
//! across calls, loops, branches, recursion and nested activations. `$churn` overwrites unreachable
//! objects with other values, so a missed root gives a wrong number.

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
fn references_live_across_calls() -> Result<()> {
    let body = r#"
        (func (export "f") (param $n i32) (result i32)
            (local $a (ref null $pair)) (local $b (ref null $pair))
            (local.set $a (call $new (local.get $n)))
            (call $churn)
            (local.set $b (call $new (i32.mul (local.get $n) (i32.const 10))))
            (call $churn)
            (struct.set $pair $next (local.get $a) (local.get $b))
            (local.set $b (ref.null $pair))
            (call $churn)
            (i32.add (call $get (local.get $a))
                     (call $get (struct.get $pair $next (local.get $a))))
        )"#;
    check(body, &[(1, 11), (7, 77)])
}

#[test]
fn references_live_on_the_operand_stack() -> Result<()> {
    let body = r#"
        (func $sum3 (param (ref null $pair) (ref null $pair) (ref null $pair)) (result i32)
            (call $churn)
            (i32.add (call $get (local.get 0))
                     (i32.add (call $get (local.get 1)) (call $get (local.get 2)))))
        (func $and_churn (param i32) (result i32) (call $churn) (local.get 0))
        (func (export "f") (param $n i32) (result i32)
            (call $sum3
                (call $new (local.get $n))
                (struct.new $pair (call $and_churn (i32.const 20)) (call $new (i32.const 5)))
                (struct.new $pair (call $and_churn (i32.const 300)) (ref.null $pair))))"#;
    check(body, &[(1, 321)])
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

#[test]
fn references_live_across_loops() -> Result<()> {
    // Two references swap places, a third is only used after the loop, and the loop also has a
    // reference as its parameter.
    let body = r#"
        (func (export "f") (param $n i32) (result i32)
            (local $a (ref null $pair)) (local $b (ref null $pair))
            (local $after (ref null $pair)) (local $t (ref null $pair))
            (local.set $after (call $new (i32.const 100000)))
            (local.set $a (call $new (i32.const 1)))
            (local.set $b (call $new (i32.const 2)))
            (call $new (i32.const 30))
            (loop $again (param (ref $pair)) (result (ref $pair))
                (local.set $t)
                (call $churn)
                (local.set $t (struct.new $pair
                    (i32.add (call $get (local.get $t)) (call $get (local.get $a)))
                    (local.get $t)))
                (call $churn)
                (ref.as_non_null (local.get $t))
                (local.get $a) (local.set $a (local.get $b)) (local.set $b)
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.set $t)
            (call $churn)
            (i32.add (call $get (local.get $after))
                (i32.add (call $get (local.get $t))
                         (call $get (struct.get $pair $next (local.get $t))))))"#;
    // After 4 rounds: 30+1+2+1+2 = 36, the one before: 34.
    check(body, &[(1, 100_061), (4, 100_070), (9, 100_000 + 43 + 42)])
}

#[test]
fn references_live_across_br_table() -> Result<()> {
    let body = r#"
        (func (export "f") (param $n i32) (result i32)
            (local $a (ref null $pair)) (local $b (ref null $pair)) (local $c (ref null $pair))
            (local.set $a (call $new (i32.const 1)))
            (local.set $b (call $new (i32.const 20)))
            (local.set $c (call $new (i32.const 300)))
            (call $churn)
            (block $third (result (ref null $pair))
                (block $second (result (ref null $pair))
                    (block $first (result (ref null $pair))
                        (br_table $first $second $third
                            (struct.new $pair (i32.const 4000) (local.get $a))
                            (local.get $n)))
                    ;; first: the branch's operand, which stays on the stack, and $b
                    (call $churn)
                    (struct.set $pair $next (local.get $b) (local.get $c))
                    (call $churn)
                    (call $get)
                    (return (i32.add (call $get (struct.get $pair $next (local.get $b))))))
                ;; second: only $c, the operand is dead
                (drop)
                (call $churn)
                (return (call $get (local.get $c))))
            ;; third: the operand and, through it, $a
            (call $churn)
            (struct.get $pair $next)
            (call $churn)
            (call $get)
            (i32.add (call $get (local.get $c))))"#;
    check(body, &[(0, 4300), (1, 300), (2, 301), (99, 301)])
}

#[test]
fn references_live_on_one_branch_only() -> Result<()> {
    let body = r#"
        (func (export "f") (param $n i32) (result i32)
            (local $a (ref null $pair)) (local $b (ref null $pair))
            (local.set $a (call $new (i32.const 1)))
            (local.set $b (call $new (i32.const 20)))
            (if (local.get $n)
                (then (call $churn) (local.set $a (ref.null $pair)) (call $churn))
                (else (call $churn) (local.set $b (local.get $a)) (call $churn)))
            (local.set $a (select (result (ref null $pair))
                (local.get $b) (local.get $b) (local.get $n)))
            (call $churn)
            (call $get (local.get $a)))"#;
    check(body, &[(1, 20), (0, 1)])
}

#[test]
fn references_live_across_casts_and_conversions() -> Result<()> {
    let body = r#"
        (type $other (struct (field f64)))
        (func $f (export "f") (param $n i32) (result i32)
            (local $any anyref) (local $extern externref) (local $eq eqref)
            (local.set $any (if (result anyref) (local.get $n)
                (then (call $new (i32.const 7)))
                (else (struct.new $other (f64.const 3)))))
            (call $churn)
            (local.set $extern (extern.convert_any (local.get $any)))
            (local.set $any (ref.null any))
            (call $churn)
            (local.set $eq (ref.cast eqref (any.convert_extern (local.get $extern))))
            (local.set $extern (ref.null extern))
            (call $churn)
            (block $is_pair (result (ref $pair))
                (drop (br_on_cast $is_pair eqref (ref $pair) (local.get $eq)))
                (call $churn)
                (return (i32.trunc_f64_s
                    (struct.get $other 0 (ref.cast (ref $other) (local.get $eq))))))
            (call $churn)
            (call $get))"#;
    check(body, &[(1, 7), (0, 3)])
}

#[test]
fn i31_references_are_never_taken_for_objects() -> Result<()> {
    let body = r#"
        (func (export "f") (param $n i32) (result i32)
            (local $a anyref) (local $b i31ref)
            (local.set $a (ref.i31 (local.get $n)))
            (local.set $b (ref.i31 (i32.const -1)))
            (call $churn)
            (i32.add (i31.get_s (ref.cast i31ref (local.get $a))) (i31.get_u (local.get $b))))"#;
    check(body, &[(0, 0x7fff_ffff), (-1, 0x7fff_fffe), (0x1_0000, i32::MIN + 0xffff)])
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
