//! Tail calls: backtraces, and the host that is called in them. `tests/scripts/tail_calls.wast` has the rest.

use crate::common::{Setting, each_collector, everywhere, frame_names, prelude, texts};
use anyhow::Result;
use gc_wasm::{Caller, Func, Instance, Linker, Module, Store};

#[test]
fn backtraces_leave_out_replaced_frames() -> Result<()> {
    let wat = r#"(module
        (func $outer (export "outer") (param i32) (result i32)
            (i32.add (call $replaced (local.get 0)) (i32.const 1)))
        (func $replaced (param i32) (result i32) (return_call $inner (local.get 0) (i32.const 0)))
        (func $inner (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))"#;
    each_collector(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
        let error = outer.call(&mut store, 1).expect_err("a division by zero");
        assert_eq!(frame_names(&error), ["inner", "outer"]);
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
