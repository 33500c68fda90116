//! Code that is interrupted from another thread ends wherever it is, under every collector, and the
//! store can be used again.

use anyhow::Result;
use gc_wasm::{
    Collector, Config, Engine, Func, Instance, InterruptHandle, Module, OptLevel, Store, Trap,
    WasmBacktrace,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Programs that never return, each in an export of its own.
const ENDLESS: &str = r#"(module
    (type $node (struct (field (ref null $node))))
    (import "host" "call" (func $host))
    (memory 1)
    (tag $e)
    (func (export "empty") (loop (br 0)))
    (func (export "inner") (loop $outer (loop $inner (br $inner)) (br $outer)))
    (func (export "sibling") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
        (loop (br 0)))
    (func (export "store") (loop (i32.store (i32.const 8) (i32.const 1)) (br 0)))
    (func (export "allocate") (local (ref null $node))
        (loop (local.set 0 (struct.new $node (ref.null $node))) (br 0)))
    (func (export "switch") (param i32)
        (loop $a (loop $b (br_table $a $b $a (local.get 0)))))
    (func $self (export "tail calls") (return_call $self))
    (func $even (export "mutual tail calls") (param i64 i64 i64 i64 i64 i64 i64 i64)
        (return_call $odd (i32.const 1)))
    (func $odd (param i32)
        (return_call $even (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
                           (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))
    (func $leaf)
    (func (export "calls") (loop (call $leaf) (br 0)))
    (func $count (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $count (i32.sub (local.get 0) (i32.const 1)))
                           (call $count (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 1))))
    (func (export "recursion") (drop (call $count (i32.const 60))))
    (func (export "catch") (loop $again
        (block (try_table (catch_all 0) (loop (br 0))))
        (br $again)))
    (func (export "throw") (loop $again
        (block (try_table (catch $e 0) (throw $e)))
        (br $again)))
    (func (export "host") (loop (call $host) (br 0)))
)"#;

fn config(collector: &Collector) -> Config {
    Config::new().collector(collector.clone()).gc_heap_maximum(4 << 20).interruptible(true).clone()
}

/// All configurations: each collector, without optimisation, with functions that count as huge,
/// with checked bounds.
fn configs() -> Vec<Config> {
    let mut configs: Vec<Config> = Collector::all()
        .iter()
        // Its heap would be full.
        .filter(|collector| collector.name() != "null")
        .map(config)
        .collect();
    let copying = config(&Collector::copying());
    configs.push(copying.clone().cranelift_opt_level(OptLevel::None).clone());
    configs.push(copying.clone().huge_function(0).clone());
    configs.push(copying.clone().gc_heap_bounds(gc_wasm::HeapBounds::Checked).clone());
    configs
}

fn is_interrupt(result: Result<()>) -> anyhow::Error {
    let error = result.expect_err("it never returns");
    let trap = error.downcast_ref::<Trap>().expect("it is a trap");
    assert_eq!(*trap, Trap::Interrupt, "{error:?}");
    error
}

/// Interrupts after some milliseconds.
fn soon(handle: &InterruptHandle) -> thread::JoinHandle<()> {
    let handle = handle.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(3));
        handle.interrupt();
    })
}

fn endless(config: &Config) -> Result<(Store<()>, Instance)> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, ENDLESS)?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || ());
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    Ok((store, instance))
}

#[test]
fn endless_programs_end() -> Result<()> {
    for config in configs() {
        let (mut store, instance) = endless(&config)?;
        let handle = store.interrupt_handle()?;
        let exports = instance.exports(&mut store);
        let exports: Vec<(String, Option<Func>)> =
            exports.map(|export| (export.name().to_owned(), export.into_func())).collect();
        for (name, func) in exports {
            let Some(func) = func else { continue };
            let count = func.ty(&store).params().len();
            let args: Vec<_> = func
                .ty(&store)
                .params()
                .filter_map(|ty| gc_wasm::Val::default_for_ty(&ty))
                .collect();
            assert_eq!(args.len(), count);
            let interrupter = soon(&handle);
            is_interrupt(func.call(&mut store, &args, &mut []));
            interrupter.join().unwrap();
            assert!(handle.is_interrupted(), "{name}");
            // It stays interrupted until that is taken back.
            is_interrupt(func.call(&mut store, &args, &mut []));
            store.clear_interrupt()?;
            assert!(!handle.is_interrupted());
        }
    }
    Ok(())
}

#[test]
fn an_interrupt_before_the_call_is_not_lost() -> Result<()> {
    let (mut store, instance) = endless(&config(&Collector::copying()))?;
    let handle = store.interrupt_handle()?;
    handle.interrupt();
    let empty = instance.get_typed_func::<(), ()>(&mut store, "empty")?;
    is_interrupt(empty.call(&mut store, ()));
    // A function that returns is not called either.
    let finite = r#"(module (func (export "f")))"#;
    let module = Module::new(store.engine(), finite)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    is_interrupt(f.call(&mut store, ()));
    store.clear_interrupt()?;
    f.call(&mut store, ())
}

/// A host function that ignores the interrupt of the code that it calls does not keep its caller
/// running.
#[test]
fn a_host_function_does_not_swallow_an_interrupt() -> Result<()> {
    let engine = Engine::new(&config(&Collector::copying()))?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "call" (func $host))
            (func (export "outer") (loop (call $host) (br 0)))
            (func (export "inner") (loop (br 0))))"#,
    )?;
    let mut store = Store::new(&engine, None);
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let handle = store.interrupt_handle()?;
    let host = Func::wrap(&mut store, move |mut caller: gc_wasm::Caller<'_, Option<Func>>| {
        counter.fetch_add(1, Ordering::Relaxed);
        let _interrupter = soon(&handle);
        let inner = (*caller.data()).expect("it is set");
        let _interrupted = inner.call(&mut caller, &[], &mut []);
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let inner = instance.get_func(&mut store, "inner");
    *store.data_mut() = inner;
    let outer = instance.get_typed_func::<(), ()>(&mut store, "outer")?;
    let error = is_interrupt(outer.call(&mut store, ()));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(|backtrace| backtrace.frames().len());
    assert_eq!(backtrace, cfg!(feature = "backtrace").then_some(1), "{error:?}");
    Ok(())
}

/// Interrupts come while calls begin and end.
#[test]
fn interrupts_race_with_calls() -> Result<()> {
    let (mut store, instance) = endless(&config(&Collector::generational()))?;
    let handle = store.interrupt_handle()?;
    let empty = instance.get_typed_func::<(), ()>(&mut store, "empty")?;
    let done = Arc::new(AtomicBool::new(false));
    let interrupter = thread::spawn({
        let (handle, done) = (handle.clone(), done.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                handle.interrupt();
                thread::yield_now();
            }
        }
    });
    for _ in 0..500 {
        is_interrupt(empty.call(&mut store, ()));
        store.clear_interrupt()?;
    }
    done.store(true, Ordering::Relaxed);
    interrupter.join().unwrap();
    Ok(())
}

#[test]
fn a_host_function_can_wait_for_an_interrupt() -> Result<()> {
    let engine = Engine::new(&config(&Collector::copying()))?;
    let mut store = Store::new(&engine, ());
    let handle = store.interrupt_handle()?;
    let waiter = handle.clone();
    let wait = Func::wrap(&mut store, move || -> Result<()> {
        let event = waiter.event()?;
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&event, rustix::event::PollFlags::IN)],
            None,
        )?;
        anyhow::bail!(Trap::Interrupt)
    });
    let module = Module::new(
        &engine,
        r#"(module (import "host" "wait" (func $wait)) (func (export "f") (call $wait)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[wait.into()])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    // The second time the interrupt comes first.
    for first in [false, true] {
        let interrupter = soon(&handle);
        if first {
            interrupter.join().unwrap();
            is_interrupt(f.call(&mut store, ()));
        } else {
            is_interrupt(f.call(&mut store, ()));
            interrupter.join().unwrap();
        }
        store.clear_interrupt()?;
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let event = handle.event()?;
        let ready = rustix::event::poll(
            &mut [rustix::event::PollFd::new(&event, rustix::event::PollFlags::IN)],
            Some(&timeout),
        )?;
        assert_eq!(ready, 0, "the interrupt was taken back");
    }
    Ok(())
}

#[test]
fn a_handle_outlives_its_store() -> Result<()> {
    let (store, _) = endless(&config(&Collector::drc()))?;
    let handle = store.interrupt_handle()?;
    drop(store);
    handle.interrupt();
    assert!(!handle.is_interrupted());
    Ok(())
}

#[test]
fn loops_are_not_polled_unless_it_is_asked_for() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let error = Store::new(&engine, ()).interrupt_handle().unwrap_err();
    assert_eq!(error.to_string(), "the engine is not interruptible: see `Config::interruptible`");
    let saved = Module::new(&engine, "(module)")?.serialize()?;
    let other = Engine::new(Config::new().interruptible(true))?;
    // SAFETY: `serialize` made the bytes.
    let error = unsafe { Module::deserialize(&other, &saved) }.unwrap_err();
    assert!(format!("{error:#}").contains("loops.polled"), "{error:#}");
    Ok(())
}
