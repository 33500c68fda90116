//! Stack overflow by recursion of compiled code, of the host, and of both. It is a trap, and the
//! store can be used afterwards.

use crate::common::{Setting, each_collector, everywhere, trap};
use crate::executor::block_on;
use anyhow::{Context, Result};
use gc_wasm::{
    Caller, Config, Engine, Extern, Func, Instance, Linker, Module, Rooted, Store, StructRef, Trap,
    Val, WasmBacktrace,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

/// Several kinds of endless recursion, and one that ends.
const RECURSION: &str = r#"(module
    (type $node (struct (field $n i32) (field $next (ref null $node))))
    (type $f (func (param i32) (result i32)))
    (table $table 1 funcref)
    (elem (table $table) (i32.const 0) func $indirect)
    (elem declare func $by_ref)
    (global $depth (export "depth") (mut i32) (i32.const 0))
    (func $count (global.set $depth (i32.add (global.get $depth) (i32.const 1))))
    (func $itself (export "itself") (param i32) (result i32)
        (call $count)
        (i32.add (call $itself (local.get 0)) (i32.const 1)))
    (func $ping (export "mutual") (param i32) (result i32)
        (i32.add (call $pong (local.get 0)) (i32.const 1)))
    (func $pong (param i32) (result i32) (i32.add (call $ping (local.get 0)) (i32.const 2)))
    (func $indirect (export "indirect") (param i32) (result i32)
        (i32.add (call_indirect $table (type $f) (local.get 0) (i32.const 0)) (i32.const 1)))
    (func $by_ref (export "by_ref") (type $f)
        (i32.add (call_ref $f (local.get 0) (ref.func $by_ref)) (i32.const 1)))
    (func $hoard (param i32) (param $above (ref null $node)) (result i32)
        (local $mine (ref null $node))
        (local.set $mine (struct.new $node (local.get 0) (local.get $above)))
        (i32.add (call $hoard (i32.add (local.get 0) (i32.const 1)) (local.get $mine))
            (struct.get $node $n (local.get $mine))))
    (func (export "hoard") (param i32) (result i32)
        (call $hoard (local.get 0) (ref.null $node)))
    (func $sum (export "sum") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (local.get 0) (call $sum (i32.sub (local.get 0) (i32.const 1))))))))"#;

#[test]
fn recursion_without_end_is_a_trap() -> Result<()> {
    everywhere(|setting| {
        let mut config = setting.config();
        // A stack of 64 KiB of frames is deep enough to be walked at each allocation.
        config.max_wasm_stack(if setting.zeal { 64 << 10 } else { 1 << 20 });
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, RECURSION)?, &[])?;
        let sum = instance.get_typed_func::<i32, i32>(&mut store, "sum")?;
        for round in 0..3 {
            for name in ["itself", "mutual", "indirect", "by_ref", "hoard"] {
                let f = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                let error = f.call(&mut store, 0).expect_err(name);
                let stopped = error.downcast_ref::<Trap>().context("a trap")?;
                assert_eq!(*stopped, Trap::StackOverflow, "{name}, round {round}");
                let text = error.root_cause().to_string();
                assert!(text.starts_with("wasm trap: call stack exhausted"), "{text}");
                let backtrace = error.downcast_ref::<WasmBacktrace>();
                let some = backtrace.is_some_and(|b| b.frames().len() > 10 && b.omitted() > 100);
                assert_eq!(some, cfg!(feature = "backtrace"), "{name}: {error}");
                // The store is consistent and can be used.
                store.gc(None)?;
                assert_eq!(sum.call(&mut store, 100)?, 5050, "{name}, round {round}");
            }
        }
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

#[test]
fn the_configured_stack_is_the_one_that_is_used() -> Result<()> {
    each_collector(|setting| {
        let depth = |bytes: usize| -> Result<i32> {
            let mut config = setting.config();
            let engine = Engine::new(config.max_wasm_stack(bytes))?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &Module::new(&engine, RECURSION)?, &[])?;
            let f = instance.get_typed_func::<i32, i32>(&mut store, "itself")?;
            assert_eq!(trap(f.call(&mut store, 0)), Trap::StackOverflow);
            let depth = instance.get_global(&mut store, "depth").context("a global")?;
            depth.get(&mut store).i32().context("an i32")
        };
        let (small, large) = (depth(64 << 10)?, depth(1 << 20)?);
        assert!(small > 100, "{small}");
        assert!((14 * small..18 * small).contains(&large), "{small} {large}");
        Ok(())
    })
}

#[test]
fn a_frame_larger_than_the_guard_page_is_checked() -> Result<()> {
    each_collector(|setting| {
        // 3000 values live across the call.
        let mut body = String::new();
        for i in 0..3000 {
            body += &format!("(local $x{i} i64) ");
        }
        for i in 0..3000 {
            body += &format!("(local.set $x{i} (i64.add (local.get $n) (i64.const {i})))\n");
        }
        body += "(local.set $n (call $f (i64.add (local.get $n) (i64.const 1))))\n";
        for i in 0..3000 {
            body += &format!("(local.set $n (i64.xor (local.get $n) (local.get $x{i})))\n");
        }
        let wat = format!(
            r#"(module (func $f (export "f") (param $n i64) (result i64) {body} (local.get $n)))"#
        );
        let (mut store, instance) = setting.instantiate(&wat, &[])?;
        let f = instance.get_typed_func::<i64, i64>(&mut store, "f")?;
        for _ in 0..3 {
            assert_eq!(trap(f.call(&mut store, 1)), Trap::StackOverflow);
        }
        Ok(())
    })
}

/// Recursion of the host and compiled code in turns. Neither overruns the stack.
fn in_turns(setting: &Setting) -> Result<(Store<u32>, Instance)> {
    let engine = setting.engine()?;
    let mut linker: Linker<u32> = Linker::new(&engine);
    linker.func_wrap(
        "",
        "host",
        |mut caller: Caller<'_, u32>, node: Option<Rooted<StructRef>>| -> Result<()> {
            *caller.data_mut() += 1;
            let go = caller.get_export("go").and_then(Extern::into_func).context("an export")?;
            let node = node.map(|node| Val::from(node.to_anyref())).context("a node")?;
            go.call(&mut caller, &[node], &mut [])
        },
    )?;
    let module = Module::new(
        &engine,
        r#"(module
            (type $node (struct (field (ref null $node))))
            (import "" "host" (func $host (param structref)))
            (func (export "go") (param (ref null $node))
                (call $host (struct.new $node (local.get 0))) (nop))
            (func (export "start")
                (call $host (struct.new $node (ref.null $node)))))"#,
    )?;
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

#[test]
fn recursion_through_the_host_is_a_trap() -> Result<()> {
    everywhere(|setting| {
        if setting.zeal {
            return Ok(());
        }
        let (mut store, instance) = in_turns(setting)?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "start")?;
        for _ in 0..3 {
            *store.data_mut() = 0;
            assert_eq!(trap(start.call(&mut store, ())), Trap::StackOverflow);
            assert!(*store.data() > 100, "{}", store.data());
            store.gc(None)?;
            if setting.reclaims() {
                assert_eq!(store.gc_stats().live_objects, 0);
            }
        }
        Ok(())
    })
}

#[test]
fn recursion_of_the_host_alone_is_a_trap() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, None::<Func>);
        let f = Func::wrap(&mut store, |mut caller: Caller<'_, Option<Func>>| -> Result<()> {
            let itself = caller.data().context("itself")?;
            itself.call(&mut caller, &[], &mut [])
        });
        *store.data_mut() = Some(f);
        for _ in 0..3 {
            assert_eq!(trap(f.call(&mut store, &[], &mut [])), Trap::StackOverflow);
        }
        Ok(())
    })
}

/// The thread's stack ends before the configured limit.
#[test]
fn threads_with_little_stack() -> Result<()> {
    each_collector(|setting| {
        let setting = setting.clone();
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let joined = thread.spawn(move || -> Result<()> {
            let mut config = setting.config();
            let engine = Engine::new(config.max_wasm_stack(64 << 20))?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &Module::new(&engine, RECURSION)?, &[])?;
            for name in ["itself", "hoard"] {
                let f = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                assert_eq!(trap(f.call(&mut store, 0)), Trap::StackOverflow);
            }
            let (mut store, instance) = in_turns(&setting)?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "start")?;
            assert_eq!(trap(start.call(&mut store, ())), Trap::StackOverflow);
            Ok(())
        })?;
        joined.join().expect("no panic")
    })
}

/// A start function overflows the stack. A second store is not affected.
#[test]
fn a_start_function_that_recurses() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, "(module (func $f (call $f) (nop)) (start $f))")?;
    for _ in 0..3 {
        assert_eq!(trap(Instance::new(&mut store, &module, &[])), Trap::StackOverflow);
    }
    let good = Module::new(&engine, RECURSION)?;
    for store in [&mut store, &mut Store::new(&engine, ())] {
        let instance = Instance::new(&mut *store, &good, &[])?;
        let sum = instance.get_typed_func::<i32, i32>(&mut *store, "sum")?;
        assert_eq!(sum.call(store, 1000)?, 500_500);
    }
    Ok(())
}

/// Makes [`a_panic_at_the_greatest_depth`] the test.
const DEEP: &str = "GC_WASM_TEST_DEEP_PANIC";

/// What [`the_smallest_stack_has_room_for_a_panic`] starts. By itself it does nothing.
#[test]
fn a_panic_at_the_greatest_depth() -> Result<()> {
    if std::env::var_os(DEEP).is_none() {
        return Ok(());
    }
    let engine = |kibibytes: usize| {
        let size = kibibytes << 10;
        Engine::new(Config::new().max_wasm_stack(size).async_stack_size(size))
    };
    let engine = (4..).step_by(4).find_map(|size| engine(size).ok()).context("a size")?;
    let module = Module::new(
        &engine,
        r#"(module (import "" "host" (func $host (param i32)))
            (func $f (export "f") (param i32)
                (call $host (local.get 0))
                (call $f (i32.add (local.get 0) (i32.const 1)))))"#,
    )?;
    // The depth that was reached, and the one at which the host panics.
    let mut store = Store::new(&engine, (0, None));
    type Depths = (i32, Option<i32>);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, Depths>, depth: i32| {
        let (reached, most) = caller.data_mut();
        *reached = depth;
        assert_ne!(Some(depth), *most, "the greatest depth");
    });
    let instance = block_on(Instance::new_async(&mut store, &module, &[host.into()]))?;
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
    assert_eq!(trap(block_on(f.call_async(&mut store, 0))), Trap::StackOverflow);
    store.data_mut().1 = Some(store.data().0);
    let deep = AssertUnwindSafe(|| block_on(f.call_async(&mut store, 0)));
    assert!(catch_unwind(deep).is_err());
    Ok(())
}

/// The message of a panic has a backtrace here, which needs more stack than anything else.
#[test]
fn the_smallest_stack_has_room_for_a_panic() -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", "stack::a_panic_at_the_greatest_depth"])
        .envs([(DEEP, "1"), ("RUST_BACKTRACE", "1")])
        .output()?;
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{output:?}");
    Ok(())
}
