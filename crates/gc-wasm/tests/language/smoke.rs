//! The smallest programs, under every collector.

use anyhow::Result;
use gc_wasm::{Collector, Config, Engine, Instance, Module, Store};

fn run(collector: Collector, wat: &str, name: &str, arg: i32) -> Result<i32> {
    let engine = Engine::new(Config::new().collector(collector))?;
    let module = Module::new(&engine, wat)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    instance.get_typed_func::<i32, i32>(&mut store, name)?.call(&mut store, arg)
}

#[test]
fn fib() -> Result<()> {
    let wat = r#"(module (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                           (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;
    for collector in Collector::all() {
        assert_eq!(run(collector, wat, "fib", 20)?, 6765);
    }
    Ok(())
}

#[test]
fn list() -> Result<()> {
    let wat = r#"(module
        (type $list (struct (field i32) (field (ref null $list))))
        (func (export "sum") (param i32) (result i32)
            (local $l (ref null $list)) (local $s i32)
            (loop $again
                (local.set $l (struct.new $list (local.get 0) (local.get $l)))
                (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (loop $again
                (local.set $s (i32.add (local.get $s) (struct.get $list 0 (local.get $l))))
                (br_if $again (i32.eqz (ref.is_null (local.tee $l (struct.get $list 1 (local.get $l)))))))
            (local.get $s)))"#;
    for collector in Collector::all() {
        assert_eq!(run(collector, wat, "sum", 1000)?, 500500);
    }
    Ok(())
}
