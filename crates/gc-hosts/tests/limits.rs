//! What a program makes the host keep is counted by the limit of its heap, and an interrupt ends
//! host functions that compute for a long time.

use anyhow::Result;
use gc_hosts::{Host, HostCtx, HostOptions};
use gc_wasm::{Collector, Config, Engine, Instance, Linker, Module, Store, Trap};
use std::time::{Duration, Instant};

const STRINGS: &str = r#"
    (type $bytes (array (mut i8)))
    (type $chars (array (mut i16)))
    (type $refs (array (mut externref)))
    (import "rt" "wtf8_to_string" (func $string (param (ref null $bytes)) (result (ref extern))))
    (import "wasm:js-string" "concat"
        (func $concat (param externref externref) (result (ref extern))))
"#;

const FUNCTIONS: &str = r#"
    (func $repeat (param $unit i32) (param $count i32) (result (ref extern))
        (call $string (array.new $bytes (local.get $unit) (local.get $count))))
    (func $text (param $at i32) (param $length i32) (result (ref extern))
        (call $string (array.new_data $bytes $texts (local.get $at) (local.get $length))))
"#;

fn program(config: &Config, text: &str) -> Result<(Store<HostCtx>, Instance)> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, format!("(module {STRINGS} {text} {FUNCTIONS})"))?;
    let mut store = Store::new(&engine, HostOptions::default().build()?);
    let mut linker = Linker::new(&engine);
    for host in Host::recognised(&module) {
        host.define(&mut linker, &mut store, &module)?;
    }
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

/// Runs the function `run` of a program.
fn run(config: &Config, text: &str) -> Result<i32> {
    let (mut store, instance) = program(config, text)?;
    instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())
}

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

const REGEXPS: &str = r#"
    (import "rt" "make_regexp"
        (func $regexp (param (ref extern) (ref extern)) (result (ref extern))))
    (import "rt" "regexp_exec"
        (func $exec (param (ref extern) (ref extern)) (result (ref null extern))))
    (import "rt" "regexp_match_string" (func $input (param (ref extern)) (result (ref extern))))
    (import "rt" "regexp_match_start" (func $start (param (ref extern)) (result i32)))
    (data $texts "(a+)+biu\\w\\p{L}")
"#;

#[test]
fn a_match_refers_to_its_text() {
    // A hundred matches in a text of 2 MB are in a heap of 8 MB.
    let text = format!(
        r#"{REGEXPS} (func (export "run") (result i32)
        (local $text (ref extern)) (local $regexp (ref extern)) (local $found (ref $refs))
        (local $i i32)
        (local.set $text (call $repeat (i32.const 97) (i32.const 1000000)))
        (local.set $regexp (call $regexp (call $text (i32.const 1) (i32.const 1))
            (call $text (i32.const 0) (i32.const 0))))
        (local.set $found (array.new_default $refs (i32.const 100)))
        (loop $more
            (array.set $refs (local.get $found) (local.get $i)
                (call $exec (local.get $regexp) (local.get $text)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_s (local.get $i) (i32.const 100))))
        (i32.add
            (call $start (ref.as_non_null (array.get $refs (local.get $found) (i32.const 99))))
            (ref.eq (ref.cast (ref eq) (any.convert_extern (local.get $text)))
                (ref.cast (ref eq) (any.convert_extern (call $input
                    (ref.as_non_null (array.get $refs (local.get $found) (i32.const 7)))))))))"#
    );
    for collector in Collector::all() {
        let before = resident();
        let (mut store, instance) =
            program(Config::new().collector(collector).gc_heap_maximum(8 << 20), &text).unwrap();
        let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 1);
        let more = resident().saturating_sub(before);
        assert!(more < 100 << 20, "{more} bytes");
    }
}

/// The host keeps expressions outside of the heap. They are counted all the same.
#[test]
fn expressions_are_counted() {
    let text = format!(
        r#"{REGEXPS} (func (export "run") (result i32)
        (local $kept (ref $refs)) (local $i i32)
        (local.set $kept (array.new_default $refs (i32.const 100000)))
        (loop $more
            (array.set $refs (local.get $kept) (local.get $i)
                (call $regexp (call $text (i32.const 0) (i32.const 6))
                    (call $text (i32.const 0) (i32.const 0))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_s (local.get $i) (i32.const 100000))))
        (i32.const 0))"#
    );
    for collector in Collector::all() {
        let error = run(Config::new().collector(collector).gc_heap_maximum(8 << 20), &text);
        let error = error.unwrap_err();
        assert!(format!("{error:#}").contains("out of memory"), "{error:#}");
    }
}

#[test]
fn searches_need_no_more_memory_than_the_heap() {
    for (pattern, length) in [("(?:()){1000000000}", 0), ("(?:()|a)*b", 10_000_000)] {
        let len = pattern.len();
        let text = format!(
            r#"(import "rt" "make_regexp"
                (func $regexp (param (ref extern) (ref extern)) (result (ref extern))))
            (import "rt" "regexp_exec"
                (func $exec (param (ref extern) (ref extern)) (result (ref null extern))))
            (data $texts "{pattern}")
            (func (export "run") (result i32)
                (ref.is_null (call $exec
                    (call $regexp (call $text (i32.const 0) (i32.const {len}))
                        (call $text (i32.const 0) (i32.const 0)))
                    (call $repeat (i32.const 97) (i32.const {length})))))"#
        );
        let error = run(Config::new().gc_heap_maximum(64 << 20), &text).unwrap_err();
        assert!(format!("{error:#}").contains("too long"), "{error:#}");
    }
}

/// A string that does not fit in the heap is not made outside of it first.
#[test]
fn strings_that_do_not_fit_are_not_made() {
    let text = r#"(import "rt" "string_upcase" (func $unused (param externref) (result externref)))
        (data $texts "")
        (func (export "run") (result i32) (local $text (ref extern))
            (local.set $text (call $repeat (i32.const 97) (i32.const 1000)))
            (loop $more
                (local.set $text (call $concat (local.get $text) (local.get $text)))
                (br $more))
            (i32.const 0))"#;
    for collector in Collector::all() {
        let error = run(Config::new().collector(collector).gc_heap_maximum(8 << 20), text);
        let error = error.unwrap_err();
        assert!(format!("{error:#}").contains("out of memory"), "{error:#}");
    }
}

/// What is registered does not fill the heap after it died.
#[test]
fn registries_forget_the_dead() {
    let text = r#"
        (type $box (struct (field i32)))
        (import "finalization" "make_finalization_registry"
            (func $registry (param (ref extern)) (result (ref extern))))
        (import "finalization" "finalization_registry_register_with_token"
            (func $register (param (ref extern) (ref eq) (ref eq) (ref eq))))
        (import "finalization" "finalization_registry_unregister"
            (func $unregister (param (ref extern) (ref eq)) (result i32)))
        (data $texts "")
        (func (export "run") (result i32)
            (local $registry (ref extern)) (local $first (ref $box)) (local $i i32)
            (local.set $registry (call $registry (call $repeat (i32.const 97) (i32.const 1))))
            (local.set $first (struct.new $box (i32.const 7)))
            (call $register (local.get $registry) (struct.new $box (i32.const 1))
                (local.get $first) (local.get $first))
            (loop $more
                (call $register (local.get $registry) (struct.new $box (i32.const 1))
                    (local.get $first) (struct.new $box (local.get $i)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_s (local.get $i) (i32.const 200000))))
            (i32.add
                (i32.mul (i32.const 10) (call $unregister (local.get $registry) (local.get $first)))
                (call $unregister (local.get $registry) (local.get $first))))"#;
    for collector in Collector::all() {
        if collector.name() != "null" {
            let config = &mut Config::new();
            config.collector(collector).gc_heap_maximum(4 << 20);
            assert_eq!(run(config, text).unwrap(), 10);
        }
    }
}

/// Runs a program that computes for a long time in a host function, and interrupts it.
fn interrupted(text: &str) {
    let (mut store, instance) = program(Config::new().interruptible(true), text).unwrap();
    let handle = store.interrupt_handle().unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        handle.interrupt();
    });
    let begin = Instant::now();
    let error = run.call(&mut store, ()).unwrap_err();
    let found = error.downcast_ref::<Trap>().copied();
    assert_eq!(found, Some(Trap::Interrupt), "{error:#}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn an_interrupt_ends_a_search() {
    interrupted(&format!(
        r#"{REGEXPS} (func (export "run") (result i32)
        (ref.is_null (call $exec
            (call $regexp (call $text (i32.const 0) (i32.const 6))
                (call $text (i32.const 0) (i32.const 0)))
            (call $repeat (i32.const 97) (i32.const 40)))))"#
    ));
}

#[test]
fn an_interrupt_ends_arithmetic() {
    // Powers of primes.
    interrupted(
        r#"
        (import "rt" "bignum_from_i32" (func $from (param i32) (result (ref extern))))
        (import "rt" "bignum_mul"
            (func $mul (param (ref extern) (ref extern)) (result (ref extern))))
        (import "rt" "bignum_gcd"
            (func $gcd (param (ref extern) (ref extern)) (result (ref extern))))
        (import "rt" "bignum_is_i64" (func $fits (param (ref extern)) (result i32)))
        (data $texts "")
        (func $power (param $n i32) (result (ref extern)) (local $p (ref extern)) (local $i i32)
            (local.set $p (call $from (local.get $n)))
            (loop $more
                (local.set $p (call $mul (local.get $p) (local.get $p)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_s (local.get $i) (i32.const 16))))
            (local.get $p))
        (func (export "run") (result i32)
            (call $fits
                (call $gcd (call $power (i32.const 1000000007)) (call $power (i32.const 998244353)))))"#,
    );
}

/// Gigabytes of random numbers take seconds.
#[test]
fn an_interrupt_ends_random_numbers() {
    let engine = Engine::new(Config::new().interruptible(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 0x8000)
        (func (export "run") (result i32) (call $random (i32.const 0) (i32.const 0x7fffffff))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, HostOptions::default().build().unwrap());
    let mut linker = Linker::new(&engine);
    Host::find("wasi").unwrap().define(&mut linker, &mut store, &module).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    let handle = store.interrupt_handle().unwrap();
    handle.interrupt();
    store.clear_interrupt().unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        handle.interrupt();
    });
    run.call(&mut store, ()).unwrap_err();
    // All of the memory was not written.
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.data(&store)[0x7fff_ff00..].iter().all(|byte| *byte == 0));
}
