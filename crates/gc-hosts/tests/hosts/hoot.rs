//! Hoot's host: its functions, called by a small program under every collector and under zeal.

use anyhow::Result;
use gc_hosts::{
    Host, HostCtx, HostOptions, I32Exit, InputStream, MemoryOutputPipe, OutputStream, Stdio,
};
use gc_wasm::{Collector, Config, Engine, Instance, Linker, Module, Store, Trap};

const PROGRAM: &str = r#"(module
    (type $bytes (array (mut i8)))
    (type $box (struct (field i32)))
    (type $pair (struct (field i32) (field (mut (ref null eq)))))
    (import "rt" "wtf8_to_string" (func $string (param (ref null $bytes)) (result (ref extern))))
    (import "rt" "string_to_wtf8" (func $wtf8 (param (ref extern)) (result (ref $bytes))))
    (import "rt" "string_upcase" (func $upcase (param (ref extern)) (result (ref extern))))
    (import "rt" "bignum_from_string" (func $parse (param (ref extern)) (result (ref extern))))
    (import "rt" "bignum_from_i32" (func $from (param i32) (result (ref extern))))
    (import "rt" "bignum_mul" (func $mul (param (ref extern) (ref extern)) (result (ref extern))))
    (import "rt" "bignum_add_i32" (func $add (param (ref extern) i32) (result (ref extern))))
    (import "rt" "bignum_quo" (func $quo (param (ref extern) (ref extern)) (result (ref extern))))
    (import "rt" "bignum_lsh" (func $lsh (param (ref extern) i64) (result (ref extern))))
    (import "rt" "bignum_is_i64" (func $fits (param (ref extern)) (result i32)))
    (import "rt" "bignum_get_i64" (func $i64 (param (ref extern)) (result i64)))
    (import "rt" "bignum_lt_big_f64" (func $lt (param (ref extern) f64) (result i32)))
    (import "rt" "make_weak_ref" (func $weak (param (ref eq)) (result (ref extern))))
    (import "rt" "weak_ref_deref" (func $deref (param (ref extern) (ref eq)) (result (ref eq))))
    (import "rt" "make_weak_map" (func $map (result (ref extern))))
    (import "rt" "weak_map_get"
        (func $get (param (ref extern) (ref eq) (ref eq)) (result (ref eq))))
    (import "rt" "weak_map_set" (func $set (param (ref extern) (ref eq) (ref eq))))
    (import "rt" "weak_map_delete" (func $delete (param (ref extern) (ref eq)) (result i32)))
    (import "rt" "make_regexp"
        (func $regexp (param (ref extern) (ref extern)) (result (ref extern))))
    (import "rt" "regexp_exec"
        (func $exec (param (ref extern) (ref extern)) (result (ref null extern))))
    (import "rt" "regexp_match_start" (func $start (param (ref extern)) (result i32)))
    (import "rt" "regexp_match_count" (func $count (param (ref extern)) (result i32)))
    (import "rt" "regexp_match_substring"
        (func $group (param (ref extern) i32) (result (ref null extern))))
    (import "rt" "quit" (func $quit (param i32)))
    (import "rt" "die" (func $die (param (ref extern) (ref eq))))
    (import "io" "write_stdout" (func $write (param (ref extern))))
    (import "io" "read_stdin" (func $read (result (ref extern))))
    (import "ffi" "procedure_to_extern" (func $extern (param (ref eq)) (result (ref extern))))
    (import "finalization" "make_finalization_registry"
        (func $registry (param (ref extern)) (result (ref extern))))
    (import "finalization" "finalization_registry_register"
        (func $register (param (ref extern) (ref eq) (ref eq))))
    (import "finalization" "finalization_registry_register_with_token"
        (func $register_with (param (ref extern) (ref eq) (ref eq) (ref eq))))
    (import "finalization" "finalization_registry_unregister"
        (func $unregister (param (ref extern) (ref eq)) (result i32)))
    (import "test" "gc" (func $gc))
    (data $texts "20000000000000000000\c3\a4\f0\9f\98\80(b+)(x)?aabbc")

    (func $text (param $at i32) (param $length i32) (result (ref extern))
        (call $string (array.new_data $bytes $texts (local.get $at) (local.get $length))))
    (func $box (param i32) (result (ref $box)) (struct.new $box (local.get 0)))
    (func $unbox (param (ref eq)) (result i32)
        (struct.get $box 0 (ref.cast (ref $box) (local.get 0))))

    ;; 2 * 10^19 * 20! / 2^60 is 2 * 10^19 * 20! >> 60.
    (func (export "numbers") (result i64 i32 i32 i32) (local $n (ref extern)) (local $i i32)
        (local.set $n (call $parse (call $text (i32.const 0) (i32.const 20))))
        (loop $more
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (local.set $n (call $mul (local.get $n) (call $from (local.get $i))))
            (br_if $more (i32.lt_s (local.get $i) (i32.const 20))))
        (call $i64 (call $add
            (call $quo (local.get $n) (call $lsh (call $from (i32.const 1)) (i64.const 70)))
            (i32.const -1)))
        (call $fits (local.get $n))
        (call $lt (local.get $n) (f64.const 5e37))
        (call $lt (local.get $n) (f64.const 4e37)))
    (func (export "divide")
        (drop (call $quo (call $from (i32.const 1)) (call $from (i32.const 0)))))
    (func (export "too large")
        (drop (call $lsh (call $from (i32.const 1)) (i64.const 0x7fffffffffffffff))))
    (func (export "no number") (drop (call $parse (call $text (i32.const 20) (i32.const 2)))))
    (func (export "wrong") (drop (call $add (call $text (i32.const 0) (i32.const 1)) (i32.const 1))))

    (func (export "text") (result i32) (local $text (ref extern))
        (local.set $text (call $upcase (call $text (i32.const 20) (i32.const 6))))
        (call $write (local.get $text))
        (array.len (call $wtf8 (local.get $text))))
    (func (export "echo") (call $write (call $read)) (call $write (call $read)))

    (func (export "match") (result i32 i32 i32 i32) (local $match (ref extern))
        (local.set $match (ref.as_non_null (call $exec
            (call $regexp (call $text (i32.const 26) (i32.const 8)) (call $text (i32.const 0) (i32.const 0)))
            (call $text (i32.const 34) (i32.const 5)))))
        (call $start (local.get $match))
        (call $count (local.get $match))
        (ref.is_null (call $group (local.get $match) (i32.const 2)))
        (array.len (call $wtf8 (ref.as_non_null (call $group (local.get $match) (i32.const 1))))))
    (func (export "no match") (result i32)
        (ref.is_null (call $exec
            (call $regexp (call $text (i32.const 26) (i32.const 8)) (call $text (i32.const 0) (i32.const 0)))
            (call $text (i32.const 0) (i32.const 5)))))
    (func (export "no group")
        (drop (call $group (ref.as_non_null (call $exec
            (call $regexp (call $text (i32.const 34) (i32.const 1)) (call $text (i32.const 0) (i32.const 0)))
            (call $text (i32.const 34) (i32.const 5)))) (i32.const 1))))

    ;; A weak reference of what lives, and one of what is dead.
    (func $dead (result (ref extern)) (call $weak (call $box (i32.const 1))))
    (func (export "weak") (result i32 i32)
        (local $kept (ref $box)) (local $a (ref extern)) (local $b (ref extern))
        (local.set $kept (call $box (i32.const 5)))
        (local.set $a (call $weak (local.get $kept)))
        (local.set $b (call $dead))
        (call $gc)
        (call $unbox (call $deref (local.get $a) (call $box (i32.const 9))))
        (call $unbox (call $deref (local.get $b) (call $box (i32.const 9))))
        (drop (struct.get $box 0 (local.get $kept))))

    ;; A map with a key that refers to its value, and the value to its key.
    (func $entry (param $map (ref extern)) (param $key (ref $pair)) (local $value (ref $pair))
        (local.set $value (struct.new $pair (i32.const 70) (local.get $key)))
        (struct.set $pair 1 (local.get $key) (local.get $value))
        (call $set (local.get $map) (local.get $key) (local.get $value)))
    (func (export "map") (result i32 i32 i32 i32)
        (local $map (ref extern)) (local $key (ref $pair)) (local $none (ref $box))
        (local.set $map (call $map))
        (local.set $none (call $box (i32.const 0)))
        (local.set $key (struct.new $pair (i32.const 7) (ref.null eq)))
        (call $entry (local.get $map) (local.get $key))
        (call $entry (local.get $map) (struct.new $pair (i32.const 8) (ref.null eq)))
        (call $gc)
        (struct.get $pair 0 (ref.cast (ref $pair)
            (call $get (local.get $map) (local.get $key) (local.get $none))))
        (ref.eq (local.get $none)
            (call $get (local.get $map) (call $box (i32.const 7)) (local.get $none)))
        (call $delete (local.get $map) (local.get $key))
        (call $delete (local.get $map) (local.get $key)))

    (func (export "registry") (result i32 i32 i32)
        (local $registry (ref extern)) (local $a (ref $box)) (local $token (ref $box))
        (local.set $registry (call $registry (call $extern (call $box (i32.const 0)))))
        (local.set $a (call $box (i32.const 1)))
        (local.set $token (call $box (i32.const 2)))
        (call $register (local.get $registry) (local.get $a) (call $box (i32.const 3)))
        (call $register_with
            (local.get $registry) (local.get $a) (call $box (i32.const 3)) (local.get $token))
        (call $register (local.get $registry) (call $box (i32.const 4)) (call $box (i32.const 3)))
        (call $gc)
        (call $unregister (local.get $registry) (local.get $a))
        (call $unregister (local.get $registry) (local.get $token))
        (call $unregister (local.get $registry) (local.get $token))
        (drop (struct.get $box 0 (local.get $a))))

    (func (export "quit") (call $quit (i32.const 9)))
    (func (export "die") (call $die (call $text (i32.const 34) (i32.const 5)) (call $box (i32.const 0)))))"#;

struct Program {
    store: Store<HostCtx>,
    instance: Instance,
    stdout: MemoryOutputPipe,
    /// Whether the collector frees anything.
    reclaims: bool,
}

impl Program {
    fn new(collector: Collector, zeal: u32) -> Result<Program> {
        let reclaims = collector.name() != "null";
        let engine = Engine::new(Config::new().collector(collector).gc_zeal(zeal))?;
        let module = Module::new(&engine, PROGRAM)?;
        let stdout = MemoryOutputPipe::new();
        let stdio = Stdio {
            stdin: InputStream::new("ein Satz, ä".as_bytes()),
            stdout: OutputStream::new(stdout.clone()),
            ..Stdio::none()
        };
        let options = HostOptions { stdio, ..Default::default() };
        let mut store = Store::new(&engine, options.build()?);
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("test", "gc", |mut caller: gc_wasm::Caller<'_, HostCtx>| caller.gc(None))?;
        for host in Host::recognised(&module) {
            assert_eq!(host.name(), "hoot");
            host.define(&mut linker, &mut store, &module)?;
        }
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Program { store, instance, stdout, reclaims })
    }

    fn call<R: gc_wasm::WasmResults>(&mut self, name: &str) -> Result<R> {
        self.instance.get_typed_func::<(), R>(&mut self.store, name)?.call(&mut self.store, ())
    }
}

/// Runs a test with each collector, with and without zeal.
fn everywhere(test: impl Fn(&mut Program)) {
    for collector in Collector::all() {
        for zeal in [0, 1] {
            eprintln!("--- {}, zeal {zeal}", collector.name());
            test(&mut Program::new(collector.clone(), zeal).unwrap());
        }
    }
}

#[test]
fn numbers_have_any_size() {
    everywhere(|program| {
        let n = 20_000_000_000_000_000_000u128 * (1..=20).product::<u128>();
        let expected = (((n >> 70) - 1) as i64, 0, 1, 0);
        // 4.87e37 is less than 5e37.
        assert_eq!(program.call::<(i64, i32, i32, i32)>("numbers").unwrap(), expected);
    });
}

#[test]
fn wrong_numbers_trap() {
    let mut program = Program::new(Collector::default(), 0).unwrap();
    for (name, trap) in [
        ("divide", Trap::IntegerDivisionByZero),
        ("too large", Trap::AllocationTooLarge),
        ("wrong", Trap::CastFailure),
    ] {
        let error = program.call::<()>(name).unwrap_err();
        let found = error.downcast_ref::<Trap>().copied();
        assert_eq!(found, Some(trap), "{name}: {error:#}");
    }
    for (name, message) in [("no number", "`ä` is no whole number"), ("no group", "no such group")]
    {
        let error = format!("{:#}", program.call::<()>(name).unwrap_err());
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[test]
fn text_is_read_and_written() {
    everywhere(|program| {
        assert_eq!(program.call::<i32>("text").unwrap(), 6);
        program.call::<()>("echo").unwrap();
        assert_eq!(String::from_utf8(program.stdout.contents()).unwrap(), "Ä😀ein Satz, ä");
    });
}

#[test]
fn regular_expressions_match() {
    everywhere(|program| {
        assert_eq!(program.call::<(i32, i32, i32, i32)>("match").unwrap(), (2, 3, 1, 2));
        assert_eq!(program.call::<i32>("no match").unwrap(), 1);
    });
}

#[test]
fn weak_references_and_maps_forget_the_dead() {
    everywhere(|program| {
        let dead = if program.reclaims { 9 } else { 1 };
        assert_eq!(program.call::<(i32, i32)>("weak").unwrap(), (5, dead));
        assert_eq!(program.call::<(i32, i32, i32, i32)>("map").unwrap(), (70, 1, 1, 0));
        assert_eq!(program.call::<(i32, i32, i32)>("registry").unwrap(), (0, 1, 0));
    });
}

#[test]
fn programs_end() {
    everywhere(|program| {
        let error = program.call::<()>("quit").unwrap_err();
        assert_eq!(error.downcast_ref::<I32Exit>().map(|exit| exit.0), Some(9));
        let error = format!("{:#}", program.call::<()>("die").unwrap_err());
        assert!(error.contains("the Scheme program died: aabbc"), "{error}");
    });
}
