//! JavaScript's strings under each collector.

use anyhow::Result;
use gc_hosts::{Host, HostCtx, HostOptions};
use gc_wasm::{Collector, Config, Engine, Instance, Linker, Module, Store, Trap};

const MODULE: &str = r#"(module
    (type $chars (array (mut i16)))
    (type $own (array i16))
    (import "wasm:js-string" "cast" (func $cast (param externref) (result (ref extern))))
    (import "wasm:js-string" "test" (func $test (param externref) (result i32)))
    (import "wasm:js-string" "fromCharCodeArray"
        (func $fromArray (param (ref null $chars) i32 i32) (result (ref extern))))
    (import "wasm:js-string" "intoCharCodeArray"
        (func $intoArray (param externref (ref null $chars) i32) (result i32)))
    (import "wasm:js-string" "fromCharCode" (func $fromCharCode (param i32) (result (ref extern))))
    (import "wasm:js-string" "fromCodePoint"
        (func $fromCodePoint (param i32) (result (ref extern))))
    (import "wasm:js-string" "charCodeAt" (func $charCodeAt (param externref i32) (result i32)))
    (import "wasm:js-string" "codePointAt" (func $codePointAt (param externref i32) (result i32)))
    (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
    (import "wasm:js-string" "concat"
        (func $concat (param externref externref) (result (ref extern))))
    (import "wasm:js-string" "substring"
        (func $substring (param externref i32 i32) (result (ref extern))))
    (import "wasm:js-string" "equals" (func $equals (param externref externref) (result i32)))
    (import "wasm:js-string" "compare" (func $compare (param externref externref) (result i32)))
    (import "'" "hello" (global $hello (ref extern)))
    (import "'" "" (global $empty externref))
    (import "_" "\f0\9f\98\80" (global $smile (ref extern)))
    (elem declare func $length)

    (func $number (param $n i32) (result externref)
        (extern.convert_any (ref.i31 (local.get $n))))
    ;; An array of the program, which is no string.
    (func $array (result externref)
        (extern.convert_any (array.new_fixed $own 2 (i32.const 0x68) (i32.const 0x69))))

    (func (export "lengths") (result i32 i32 i32)
        (call $length (global.get $hello)) (call $length (global.get $empty))
        (call $length (global.get $smile)))
    (func (export "tests") (result i32 i32 i32 i32)
        (call $test (global.get $hello)) (call $test (ref.null extern))
        (call $test (call $number (i32.const 1))) (call $test (call $array)))
    (func (export "units") (result i32 i32 i32)
        (call $charCodeAt (global.get $smile) (i32.const 1))
        (call $codePointAt (global.get $smile) (i32.const 0))
        (call $codePointAt (global.get $smile) (i32.const 1)))
    (func (export "made") (result i32 i32 i32)
        (call $codePointAt (call $fromCodePoint (i32.const 0x1f600)) (i32.const 0))
        (call $charCodeAt (call $fromCharCode (i32.const 0x10041)) (i32.const 0))
        (call $charCodeAt (call $fromCodePoint (i32.const 0xd800)) (i32.const 0)))
    (func (export "equal") (result i32 i32 i32 i32)
        (call $equals (call $concat (global.get $hello) (global.get $empty)) (global.get $hello))
        (call $equals (global.get $hello) (global.get $smile))
        (call $equals (ref.null extern) (ref.null extern))
        (call $equals (ref.null extern) (global.get $empty)))
    (func (export "compared") (result i32 i32 i32)
        (call $compare (global.get $hello) (global.get $smile))
        (call $compare (global.get $hello) (global.get $hello))
        (call $compare (global.get $hello) (global.get $empty)))
    (func (export "substrings") (result i32 i32 i32 i32)
        (call $length (call $substring (global.get $hello) (i32.const 1) (i32.const 3)))
        (call $length (call $substring (global.get $hello) (i32.const 1) (i32.const -1)))
        (call $length (call $substring (global.get $hello) (i32.const 3) (i32.const 1)))
        (call $length (call $substring (global.get $hello) (i32.const 9) (i32.const 10))))
    (func (export "arrays") (result i32 i32 i32) (local $chars (ref $chars))
        (local.set $chars (array.new_default $chars (i32.const 8)))
        (call $intoArray (global.get $hello) (local.get $chars) (i32.const 2))
        (array.get_u $chars (local.get $chars) (i32.const 3))
        (call $equals
            (call $fromArray (local.get $chars) (i32.const 2) (i32.const 7)) (global.get $hello)))
    ;; Makes garbage, and keeps a string that grows.
    (func (export "grow") (param $n i32) (result i32) (local $text externref)
        (local.set $text (global.get $empty))
        (loop $more
            (local.set $text (call $concat (local.get $text) (global.get $smile)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $more (local.get $n)))
        (call $length (local.get $text)))

    (func (export "cast") (drop (call $cast (global.get $hello))))
    (func (export "cast null") (drop (call $cast (ref.null extern))))
    (func (export "cast number") (drop (call $cast (call $number (i32.const 1)))))
    (func (export "cast array") (drop (call $cast (call $array))))
    (func (export "length null") (drop (call $length (ref.null extern))))
    (func (export "length array") (drop (call $length (call $array))))
    (func (export "unit beyond") (drop (call $charCodeAt (global.get $hello) (i32.const 5))))
    (func (export "point beyond") (drop (call $codePointAt (global.get $hello) (i32.const -1))))
    (func (export "no room")
        (drop (call $intoArray (global.get $hello) (array.new_default $chars (i32.const 8))
            (i32.const 4))))
    (func (export "no room at all")
        (drop (call $intoArray (global.get $hello) (array.new_default $chars (i32.const 8))
            (i32.const -1))))
    (func (export "into null")
        (drop (call $intoArray (global.get $hello) (ref.null $chars) (i32.const 0))))
    (func (export "backwards")
        (drop (call $fromArray (array.new_default $chars (i32.const 8)) (i32.const 2)
            (i32.const 1))))
    (func (export "array beyond")
        (drop (call $fromArray (array.new_default $chars (i32.const 8)) (i32.const 2)
            (i32.const 9))))
    (func (export "compare null") (drop (call $compare (ref.null extern) (global.get $hello))))
    (func (export "equals number")
        (drop (call $equals (call $number (i32.const 1)) (global.get $hello))))
    (func (export "no code point") (drop (call $fromCodePoint (i32.const 0x110000)))))"#;

/// An instance of [`MODULE`]. With `zeal` each allocation collects.
fn instance(collector: Collector, zeal: u32) -> Result<(Store<HostCtx>, Instance)> {
    let mut config = Config::new();
    config.collector(collector).gc_heap_maximum(64 << 20).gc_zeal(zeal);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, MODULE)?;
    let mut store = Store::new(&engine, HostOptions::default().build()?);
    let mut linker = Linker::new(&engine);
    for host in Host::recognised(&module) {
        assert_eq!(host.name(), "js-string");
        host.define(&mut linker, &mut store, &module)?;
    }
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

#[test]
fn strings_are_made_and_read() {
    for (collector, zeal) in Collector::all().into_iter().flat_map(|c| [(c.clone(), 0), (c, 1)]) {
        let (mut store, instance) = instance(collector, zeal).unwrap();
        let mut three = |name: &str| {
            let func = instance.get_typed_func::<(), (i32, i32, i32)>(&mut store, name).unwrap();
            func.call(&mut store, ()).unwrap()
        };
        assert_eq!(three("lengths"), (5, 0, 2));
        assert_eq!(three("units"), (0xde00, 0x1f600, 0xde00));
        assert_eq!(three("made"), (0x1f600, 0x41, 0xd800));
        assert_eq!(three("compared"), (-1, 0, 1));
        assert_eq!(three("arrays"), (5, 0x65, 1));
        let mut four = |name: &str| {
            let func = instance.get_typed_func::<(), (i32, i32, i32, i32)>(&mut store, name);
            func.unwrap().call(&mut store, ()).unwrap()
        };
        assert_eq!(four("tests"), (1, 0, 0, 0));
        assert_eq!(four("equal"), (1, 0, 1, 0));
        assert_eq!(four("substrings"), (2, 4, 0, 0));
    }
}

#[test]
fn strings_that_are_dead_are_freed() {
    for collector in Collector::all() {
        if collector.name() == "null" {
            continue;
        }
        let (mut store, instance) = instance(collector, 0).unwrap();
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
        // 200 MB of strings, in a heap of 64.
        assert_eq!(grow.call(&mut store, 10_000).unwrap(), 20_000);
    }
}

#[test]
fn wrong_types_trap() {
    use Trap::{ArrayOutOfBounds, CastFailure, NullReference};
    let (mut store, instance) = instance(Collector::default(), 0).unwrap();
    let mut call = |name: &str| {
        let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        func.call(&mut store, ())
    };
    call("cast").unwrap();
    for (name, trap) in [
        ("cast null", NullReference),
        ("cast number", CastFailure),
        ("cast array", CastFailure),
        ("length null", NullReference),
        ("length array", CastFailure),
        ("unit beyond", ArrayOutOfBounds),
        ("point beyond", ArrayOutOfBounds),
        ("no room", ArrayOutOfBounds),
        ("no room at all", ArrayOutOfBounds),
        ("into null", NullReference),
        ("backwards", ArrayOutOfBounds),
        ("array beyond", ArrayOutOfBounds),
        ("compare null", NullReference),
        ("equals number", CastFailure),
    ] {
        let error = call(name).unwrap_err();
        let found = error.downcast_ref::<Trap>().copied();
        assert_eq!(found, Some(trap), "{name}: {error:#}");
    }
    let error = call("no code point").unwrap_err();
    assert!(format!("{error:#}").contains("0x110000 is no code point"), "{error:#}");
}
