//! AssemblyScript's host, with a program that aborts.

use anyhow::Result;
use gc_hosts::{Host, HostOptions};
use gc_wasm::{Config, Engine, Linker, Module, Store};

/// Aborts with a message at this place. Returns the error.
fn abort(message: u32) -> Result<String> {
    let engine = Engine::new(&Config::new())?;
    let module = Module::new(
        &engine,
        r#"(module
        (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 12) "\04\00\00\00o\00h\00")
        (func (export "run") (param i32)
            (call $abort (local.get 0) (i32.const 0) (i32.const 3) (i32.const 4))))"#,
    )?;
    let mut store = Store::new(&engine, HostOptions::default().build()?);
    let mut linker = Linker::new(&engine);
    for host in Host::recognised(&module) {
        assert_eq!(host.name(), "assemblyscript");
        host.define(&mut linker, &mut store, &module)?;
    }
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<u32, ()>(&mut store, "run")?;
    Ok(format!("{:#}", run.call(&mut store, message).unwrap_err()))
}

#[test]
fn a_program_aborts_with_a_message() {
    for (message, expected) in [
        (16, "the program aborted: oh in an unknown file(3:4)"),
        (0, "the program aborted: no message in an unknown file(3:4)"),
        // The program aborts all the same.
        (3, "the program aborted: (a string at 3, outside the memory) in"),
        (0xffff_fff0, "the program aborted: (a string at 4294967280, outside the memory) in"),
    ] {
        let error = abort(message).unwrap();
        assert!(error.contains(expected), "{error}");
    }
}
