//! Tail calls: constant stack, arguments on the stack, traps, backtraces and walks through them.

use crate::common::{
    Setting, each_collector, everywhere, frame_names, prelude, texts, trap, with_prelude,
};
use anyhow::Result;
use gc_wasm::{Caller, Config, Engine, Func, Instance, Linker, Module, Store, Trap, Val};

/// Three functions that call each other in the three ways, and count down.
const LOOPS: &str = r#"(module
    (type $f (func (param i64 i64) (result i64)))
    (table 1 funcref)
    (elem (i32.const 0) $direct)
    (elem declare func $indirect)
    (func $direct (export "run") (type $f)
        (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
        (return_call_ref $f (i64.sub (local.get 0) (i64.const 1))
            (i64.add (local.get 1) (i64.const 1)) (ref.func $indirect)))
    (func $indirect (type $f)
        (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
        (return_call $third (i64.sub (local.get 0) (i64.const 1))
            (i64.add (local.get 1) (i64.const 1))))
    (func $third (type $f)
        (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
        (return_call_indirect (type $f) (i64.sub (local.get 0) (i64.const 1))
            (i64.add (local.get 1) (i64.const 1)) (i32.const 0))))"#;

#[test]
fn they_take_constant_stack() -> Result<()> {
    let mut config = Config::new();
    config.max_wasm_stack(64 << 10);
    let engine = Engine::new(&config)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, LOOPS)?, &[])?;
    let run = instance.get_typed_func::<(i64, i64), i64>(&mut store, "run")?;
    let count = 100_000_000;
    assert_eq!(run.call(&mut store, (count, 0))?, count);
    Ok(())
}

/// A function with few parameters calls one with many, and that one calls one with few. References
/// are among the arguments on the stack, and each step allocates.
#[test]
fn references_on_the_stack_survive() -> Result<()> {
    let types = "i32 (ref $pair) i64 f64 (ref $pair) i32 i32 i32 (ref $pair) i64 i64 (ref $pair) \
                 i32 (ref $pair)";
    let body = format!(
        r#"(func $few (export "few") (param $n i32) (param $p (ref $pair)) (result i32)
            (call $churn)
            (if (i32.eqz (local.get $n)) (then (return (call $get (local.get $p)))))
            (return_call $many (local.get $n) (call $new (local.get $n)) (i64.const 1)
                (f64.const 2) (local.get $p) (i32.const 3) (i32.const 4) (i32.const 5)
                (call $new (i32.const 6)) (i64.const 7) (i64.const 8) (call $new (i32.const 9))
                (i32.const 10) (call $new (i32.const 11))))
        (func $many (param {types}) (result i32)
            (call $churn)
            (if (i32.ne (call $get (local.get 1)) (local.get 0)) (then (unreachable)))
            (if (i32.ne (call $get (local.get 8)) (i32.const 6)) (then (unreachable)))
            (if (i32.ne (call $get (local.get 11)) (i32.const 9)) (then (unreachable)))
            (if (i32.ne (call $get (local.get 13)) (i32.const 11)) (then (unreachable)))
            (return_call $few (i32.sub (local.get 0) (i32.const 1))
                (call $new (i32.add (call $get (local.get 4)) (local.get 0)))))
        (func (export "run") (param i32) (result i32)
            (local $kept (ref null $pair)) (local $sum i32)
            (local.set $kept (call $new (i32.const 1000)))
            (local.set $sum (call $few (local.get 0) (call $new (i32.const 0))))
            (i32.add (local.get $sum) (call $get (local.get $kept))))"#
    );
    everywhere(|setting| {
        let (mut store, instance) = with_prelude(&setting.engine()?, &body)?;
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        assert_eq!(run.call(&mut store, 20)?, 1000 + 20 * 21 / 2);
        Ok(())
    })
}

#[test]
fn traps_and_backtraces_leave_out_replaced_frames() -> Result<()> {
    let wat = r#"(module
        (type $f (func (param i32) (result i32)))
        (type $g (func (param i32 i32) (result i32)))
        (table 2 funcref)
        (elem (i32.const 0) $wrong)
        (func $wrong (type $g) (i32.const 1))
        (func $outer (export "outer") (param i32) (result i32)
            (i32.add (call $replaced (local.get 0)) (i32.const 1)))
        (func $replaced (param i32) (result i32) (return_call $inner (local.get 0) (i32.const 0)))
        (func $inner (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
        (func (export "null") (result i32)
            (return_call_ref $f (i32.const 1) (ref.null $f)))
        (func (export "hole") (result i32)
            (return_call_indirect (type $f) (i32.const 1) (i32.const 1)))
        (func (export "outside") (result i32)
            (return_call_indirect (type $f) (i32.const 1) (i32.const 2)))
        (func (export "wrong") (result i32)
            (return_call_indirect (type $f) (i32.const 1) (i32.const 0))))"#;
    each_collector(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
        let error = outer.call(&mut store, 1).expect_err("a division by zero");
        assert_eq!(frame_names(&error), ["inner", "outer"]);
        assert_eq!(trap::<()>(Err(error)), Trap::IntegerDivisionByZero);
        for (name, expected) in [
            ("null", Trap::NullReference),
            ("hole", Trap::IndirectCallToNull),
            ("outside", Trap::TableOutOfBounds),
            ("wrong", Trap::BadSignature),
        ] {
            let func = instance.get_typed_func::<(), i32>(&mut store, name)?;
            assert_eq!(trap(func.call(&mut store, ())), expected, "{name}");
        }
        Ok(())
    })
}

/// A host function that is called in a tail call can call back, collect and fail. The frames below
/// are walked.
#[test]
fn the_host_is_called_in_tail_calls() -> Result<()> {
    let wat = prelude(
        r#"(import "host" "back" (func $back (param (ref $pair) i32) (result i32)))"#,
        r#"(func $leave (param (ref $pair) i32) (result i32)
            (return_call $back (local.get 0) (local.get 1)))
        (func (export "get") (param (ref $pair)) (result i32)
            (call $churn) (return_call $get (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (local $p (ref null $pair))
            (local.set $p (call $new (i32.const 5)))
            (i32.add (call $leave (call $new (i32.const 7)) (local.get 0))
                (call $get (local.get $p))))
        (func (export "at once") (param i32) (result i32)
            (return_call $back (call $new (i32.const 7)) (local.get 0)))"#,
    );
    everywhere(|setting: &Setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, &wat)?;
        let mut linker: Linker<Option<Func>> = Linker::new(&engine);
        linker.func_wrap("host", "gc", |mut caller: Caller<'_, Option<Func>>| caller.gc(None))?;
        let Some(ty) = module.imports().find_map(|import| match import.name() {
            "back" => import.ty().func().cloned(),
            _ => None,
        }) else {
            unreachable!("it is imported")
        };
        linker.func_new("host", "back", ty, |mut caller, params, results| {
            caller.gc(None)?;
            anyhow::ensure!(params[1].i32() != Some(0), "zero");
            let get = caller.data().expect("set below");
            get.call(&mut caller, &params[..1], results)?;
            caller.gc(None)
        })?;
        let mut store = Store::new(&engine, None);
        let instance = linker.instantiate(&mut store, &module)?;
        *store.data_mut() = instance.get_func(&mut store, "get");
        for (name, expected) in [("run", 12), ("at once", 7)] {
            let run = instance.get_typed_func::<i32, i32>(&mut store, name)?;
            assert_eq!(run.call(&mut store, 1)?, expected, "{name}");
            let error = run.call(&mut store, 0).expect_err("the host fails");
            assert_eq!(texts(&error), ["zero"]);
        }
        Ok(())
    })
}

/// A host function can be replaced by another one, and an instance by another.
#[test]
fn instances_call_each_other_in_tail_calls() -> Result<()> {
    let wat = r#"(module
        (type $f (func (param i32) (result i32)))
        (import "" "next" (func $next (param i32) (result i32)))
        (global $own (export "own") (mut i32) (i32.const 0))
        (func (export "step") (param i32) (result i32)
            (global.set $own (i32.add (global.get $own) (local.get 0)))
            (return_call $next (i32.sub (local.get 0) (i32.const 1)))))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, wat)?;
        let mut store = Store::new(&engine, ());
        let end = Func::wrap(&mut store, |n: i32| n * 10);
        let mut next = end;
        let mut instances = Vec::new();
        for _ in 0..3 {
            let instance = Instance::new(&mut store, &module, &[next.into()])?;
            next = instance.get_func(&mut store, "step").expect("exported");
            instances.push(instance);
        }
        let mut results = [Val::I32(0)];
        next.call(&mut store, &[Val::I32(9)], &mut results)?;
        assert_eq!(results[0].i32(), Some(60));
        for (instance, own) in instances.iter().zip([7, 8, 9]) {
            let global = instance.get_global(&mut store, "own").expect("exported");
            assert_eq!(global.get(&mut store).i32(), Some(own));
        }
        Ok(())
    })
}

/// The caller of a host function is known, though it made a tail call.
#[test]
fn the_host_knows_the_caller() -> Result<()> {
    let wat = r#"(module
        (import "" "ask" (func $ask (param i32) (result i32)))
        (global (export "name") i32 (i32.const 41))
        (func $leave (param i32) (result i32) (return_call $ask (local.get 0)))
        (func (export "run") (param i32) (result i32) (call $leave (local.get 0)))
        (func (export "at once") (param i32) (result i32) (return_call $ask (local.get 0)))
        (type $f (func (param i32) (result i32)))
        (table $table 1 1 funcref (ref.func $ask))
        (func (export "by reference") (param i32) (result i32)
            (return_call_ref $f (local.get 0) (ref.func $ask)))
        (func (export "indirect") (param i32) (result i32)
            (return_call_indirect $table (type $f) (local.get 0) (i32.const 0))))"#;
    // Another instance waits for the result.
    let other = r#"(module
        (import "" "f" (func $f (param i32) (result i32)))
        (global (export "name") i32 (i32.const 1000))
        (func (export "run") (param i32) (result i32)
            (i32.add (i32.const 0) (call $f (local.get 0)))))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let ask = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
            let name = caller.get_export("name").and_then(|name| name.into_global());
            let name = name.expect("exported by the caller").get(&mut caller);
            Ok(name.i32().unwrap_or_default() + n)
        });
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[ask.into()])?;
        for name in ["run", "at once", "by reference", "indirect"] {
            let run = instance.get_typed_func::<i32, i32>(&mut store, name)?;
            assert_eq!(run.call(&mut store, 1)?, 42, "{name}");
            let f = instance.get_func(&mut store, name).expect("exported");
            let other = Instance::new(&mut store, &Module::new(&engine, other)?, &[f.into()])?;
            let run = other.get_typed_func::<i32, i32>(&mut store, "run")?;
            assert_eq!(run.call(&mut store, 1)?, 42, "{name}, from another instance");
        }
        Ok(())
    })
}
