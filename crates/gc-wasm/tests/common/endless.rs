//! Programs that never return, and the configurations in which they are ended.
#![allow(dead_code, unreachable_pub)]

use anyhow::Result;
use gc_wasm::{
    Collector, Config, Engine, Export, Func, HeapBounds, Instance, Module, OptLevel, Store,
};

/// Programs that never return, each in an export of its own.
pub const ENDLESS: &str = r#"(module
    (type $node (struct (field (ref null $node))))
    (type $f (func))
    (import "host" "call" (func $host))
    (memory 1)
    (tag $e)
    (table 1 funcref)
    (elem (i32.const 0) $indirect)
    (elem declare func $reference)
    (func (export "empty") (loop (br 0)))
    (func (export "conditional") (loop (br_if 0 (i32.const 1))))
    (func (export "inner") (loop $outer (loop $inner (br $inner)) (br $outer)))
    (func (export "sibling") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
        (loop (br 0)))
    (func (export "switch") (loop $a (loop $b (br_table $a $b $a (i32.const 1)))))
    (func (export "store") (loop (i32.store (i32.const 8) (i32.const 1)) (br 0)))
    (func (export "allocate") (local (ref null $node))
        (loop (local.set 0 (struct.new $node (ref.null $node))) (br 0)))
    (func (export "null") (loop (drop (br_on_null 0 (ref.null $node))) (br 0)))
    (func (export "cast") (loop (param) (block (result anyref)
        (br_on_cast 0 anyref i31ref (ref.i31 (i32.const 1)))) (drop) (br 0)))
    (func $self (export "tail calls") (return_call $self))
    (func $even (param i64 i64 i64 i64 i64 i64 i64 i64) (return_call $odd (i32.const 1)))
    (func $odd (param i32)
        (return_call $even (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
                           (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))
    (func (export "mutual tail calls") (return_call $odd (i32.const 1)))
    (func $indirect (export "indirect tail calls") (return_call_indirect (type $f) (i32.const 0)))
    (func $reference (export "tail calls by reference")
        (return_call_ref $f (ref.func $reference)))
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
    (func $throws (throw $e))
    (func (export "throw through a call") (loop $again
        (block (try_table (catch $e 0) (call $throws)))
        (br $again)))
    (func (export "host") (loop (call $host) (br 0)))
    (func (export "fill") (loop
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000)) (br 0)))
)"#;

/// The configurations in which endless programs are run: each collector, without optimisation, with
/// functions that count as huge, with checked bounds.
pub fn configs(setup: impl Fn(&mut Config)) -> Vec<Config> {
    let config = |collector: &Collector| {
        let mut config = Config::new();
        config.collector(collector.clone()).gc_heap_maximum(16 << 20);
        setup(&mut config);
        config
    };
    let mut configs: Vec<Config> = Collector::all().iter().map(config).collect();
    let copying = config(&Collector::copying());
    configs.push(copying.clone().cranelift_opt_level(OptLevel::None).clone());
    configs.push(copying.clone().huge_function(0).clone());
    configs.push(copying.clone().gc_heap_bounds(HeapBounds::Checked).clone());
    configs
}

/// A store with an instance of [`ENDLESS`].
pub fn endless(config: &Config) -> Result<(Store<()>, Instance)> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, ENDLESS)?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || ());
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    Ok((store, instance))
}

/// The exported functions of an instance, which take nothing.
pub fn functions(store: &mut Store<()>, instance: &Instance) -> Result<Vec<(String, Func)>> {
    let exports = instance.exports(store);
    let function = |export: Export<'_>| Some((export.name().to_owned(), export.into_func()?));
    Ok(exports.filter_map(function).collect())
}
