//! Code that is interrupted from another thread ends wherever it is, under every collector, and the
//! store can be used again.

use crate::common::call;
use crate::endless::{configs, endless, functions};
use anyhow::Result;
use gc_wasm::{
    Collector, Config, Engine, Func, Instance, InterruptHandle, Module, Store, Trap, WasmBacktrace,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

fn config(collector: &Collector) -> Config {
    Config::new().collector(collector.clone()).gc_heap_maximum(4 << 20).interruptible(true).clone()
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

#[test]
fn endless_programs_end() -> Result<()> {
    for config in configs(|config| {
        config.interruptible(true);
    }) {
        let (mut store, instance) = endless(&config)?;
        // The heap of `null` would be full.
        if store.engine().collector().name() == "null" {
            continue;
        }
        let handle = store.interrupt_handle()?;
        for (name, func) in functions(&mut store, &instance)? {
            let interrupter = soon(&handle);
            is_interrupt(call(&mut store, &func));
            interrupter.join().unwrap();
            assert!(handle.is_interrupted(), "{name}");
            // It stays interrupted until that is taken back.
            is_interrupt(call(&mut store, &func));
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
