//! J2CL's host: its functions, called by a small program under every collector and under zeal.

use anyhow::Result;
use gc_hosts::{Host, HostCtx, HostOptions, MemoryOutputPipe, OutputStream, Stdio};
use gc_wasm::{Collector, Config, Engine, Instance, Linker, Module, Store, Val};

const PROGRAM: &str = r#"(module
    (type $chars (array (mut i16)))
    (type $throwable (struct (field i32)))
    (import "WebAssembly" "JSTag" (tag $js (param externref)))
    (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
    (import "wasm:js-string" "equals" (func $equals (param externref externref) (result i32)))
    (import "'" "a1b22c" (global $text (ref extern)))
    (import "'" "[0-9]+" (global $digits (ref extern)))
    (import "'" "g" (global $g (ref extern)))
    (import "'" "<$&>" (global $with (ref extern)))
    (import "'" "a<1>b<22>c" (global $replaced (ref extern)))
    (import "'" "-1.5e3x" (global $number (ref extern)))
    (import "'" "-1500" (global $printed (ref extern)))
    (import "'" "(" (global $broken (ref extern)))
    (import "'" "log" (global $log (ref extern)))
    (import "'" "Error: a1b22c" (global $described (ref extern)))
    (import "'" "SyntaxError" (global $syntax (ref extern)))
    (import "'" "RangeError: Invalid count value: -1" (global $range (ref extern)))
    (import "imports" "Error.toString" (func $describe (param externref) (result externref)))
    (import "imports" "string.repeat" (func $repeat (param externref i32) (result externref)))
    (import "wasm:js-string" "substring"
        (func $substring (param externref i32 i32) (result (ref extern))))
    (import "imports" "Math.pow" (func $pow (param f64 f64) (result f64)))
    (import "imports" "Math.round" (func $round (param f64) (result f64)))
    (import "imports" "performance.now" (func $now (result f64)))
    (import "imports" "parseFloat" (func $parse (param externref) (result f64)))
    (import "imports" "Number.prototype.toString.call$1"
        (func $print (param f64) (result externref)))
    (import "imports" "Number.prototype.toString.call$2"
        (func $radix (param i32 i32) (result externref)))
    (import "imports" "j2wasm.DoubleUtils.isValidDouble"
        (func $valid (param externref) (result i32)))
    (import "imports" "j2wasm.CharUtils.charToUpperCase" (func $upper (param i32) (result i32)))
    (import "imports" "RegExp.constructor$2"
        (func $regexp (param externref externref) (result externref)))
    (import "imports" "RegExp.exec$1" (func $exec (param externref externref) (result externref)))
    (import "imports" "get RegExpResult.index" (func $index (param externref) (result i32)))
    (import "imports" "RegExpResult.at$1" (func $at (param externref i32) (result externref)))
    (import "imports" "string.replace$2"
        (func $replace (param externref externref externref) (result externref)))
    (import "imports" "string.split$1"
        (func $split (param externref externref) (result externref)))
    (import "imports" "get Array.length" (func $count (param externref) (result i32)))
    (import "imports" "Array" (func $array (param i32) (result externref)))
    (import "imports" "j2wasm.ArrayUtils.setArrayAt" (func $set (param externref i32 externref)))
    (import "imports" "j2wasm.ArrayUtils.getArrayAt"
        (func $get (param externref i32) (result externref)))
    (import "imports" "Error" (func $error (param externref) (result externref)))
    (import "imports" "j2wasm.ExceptionUtils.isError" (func $isError (param externref) (result i32)))
    (import "imports" "j2wasm.ExceptionUtils.setJavaThrowable"
        (func $setJava (param externref (ref null $throwable))))
    (import "imports" "j2wasm.ExceptionUtils.getJavaThrowable"
        (func $getJava (param externref) (result (ref null $throwable))))
    (import "imports" "j2wasm.ExceptionUtils.throwException" (func $throw (param externref)))
    (import "imports" "j2wasm.ConsoleUtils.log" (func $say (param externref externref)))
    (import "test" "gc" (func $gc))

    (func (export "numbers") (result f64 f64 f64 i32)
        (call $pow (f64.const 2) (f64.const 10)) (call $round (f64.const -2.5))
        (call $parse (global.get $number))
        (call $equals (call $print (call $parse (global.get $number))) (global.get $printed)))
    (func (export "checks") (result i32 i32 i32 i32)
        (call $valid (global.get $number)) (call $valid (global.get $printed))
        (call $upper (i32.const 0xe4))
        (call $length (call $radix (i32.const -255) (i32.const 16))))
    (func (export "later") (result i32) (f64.ge (call $now) (f64.const 0)))

    (func (export "matches") (result i32 i32 i32 i32)
        (local $regexp externref) (local $match externref)
        (local.set $regexp (call $regexp (global.get $digits) (global.get $g)))
        (drop (call $exec (local.get $regexp) (global.get $text)))
        (local.set $match (call $exec (local.get $regexp) (global.get $text)))
        (call $index (local.get $match))
        (call $length (call $at (local.get $match) (i32.const 0)))
        (call $equals
            (call $replace (global.get $text)
                (call $regexp (global.get $digits) (global.get $g)) (global.get $with))
            (global.get $replaced))
        (call $count (call $split (global.get $text) (local.get $regexp))))

    ;; An array keeps what it refers to.
    (func (export "arrays") (result i32 i32 i32) (local $array externref) (local $i i32)
        (local.set $array (call $array (i32.const 10)))
        (loop $more
            (call $set (local.get $array) (local.get $i)
                (call $radix (local.get $i) (i32.const 2)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_s (local.get $i) (i32.const 10))))
        (call $gc)
        (call $length (call $get (local.get $array) (i32.const 9)))
        (call $count (local.get $array))
        (ref.is_null (call $get (local.get $array) (i32.const 10))))

    ;; An error and its exception refer to each other. It is thrown and caught.
    (func $raise (local $error externref)
        (local.set $error (call $error (global.get $text)))
        (call $setJava (local.get $error) (struct.new $throwable (i32.const 33)))
        (call $gc)
        (call $throw (local.get $error)))
    (func (export "caught") (result i32 i32) (local $error externref)
        (local.set $error
            (block $caught (result externref)
                (try_table (catch $js $caught) (call $raise))
                (unreachable)))
        (call $gc)
        (struct.get $throwable 0 (call $getJava (local.get $error)))
        (call $isError (local.get $error)))
    ;; An invalid expression is an error of JavaScript.
    (func (export "invalid") (result i32)
        (block $caught (result externref)
            (try_table (catch $js $caught) (drop (call $regexp (global.get $broken) (global.get $g))))
            (unreachable))
        (call $isError))
    ;; Errors as text, which begins with their name.
    (func (export "described") (result i32 i32 i32)
        (call $equals (call $describe (call $error (global.get $text))) (global.get $described))
        (call $equals
            (call $substring
                (call $describe
                    (block $caught (result externref)
                        (try_table (catch $js $caught)
                            (drop (call $regexp (global.get $broken) (global.get $g))))
                        (unreachable)))
                (i32.const 0) (i32.const 11))
            (global.get $syntax))
        (call $equals
            (call $describe
                (block $caught (result externref)
                    (try_table (catch $js $caught)
                        (drop (call $repeat (global.get $text) (i32.const -1))))
                    (unreachable)))
            (global.get $range)))
    (func (export "uncaught") (call $raise))
    (func (export "say") (call $say (global.get $log) (global.get $text))))"#;

struct Program {
    store: Store<HostCtx>,
    instance: Instance,
    stdout: MemoryOutputPipe,
}

impl Program {
    fn new(collector: Collector, zeal: u32) -> Result<Program> {
        let engine = Engine::new(Config::new().collector(collector).gc_zeal(zeal))?;
        let module = Module::new(&engine, PROGRAM)?;
        let stdout = MemoryOutputPipe::new();
        let stdio = Stdio { stdout: OutputStream::new(stdout.clone()), ..Stdio::none() };
        let options = HostOptions { stdio, ..Default::default() };
        let mut store = Store::new(&engine, options.build()?);
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("test", "gc", |mut caller: gc_wasm::Caller<'_, HostCtx>| caller.gc(None))?;
        let hosts = Host::recognised(&module);
        assert_eq!(hosts.iter().map(|host| host.name()).collect::<Vec<_>>(), ["js-string", "j2cl"]);
        for host in hosts {
            host.define(&mut linker, &mut store, &module)?;
        }
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Program { store, instance, stdout })
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
fn numbers_are_those_of_javascript() {
    everywhere(|program| {
        let numbers = program.call::<(f64, f64, f64, i32)>("numbers").unwrap();
        assert_eq!(numbers, (1024.0, -2.0, -1500.0, 1));
        assert_eq!(program.call::<(i32, i32, i32, i32)>("checks").unwrap(), (0, 1, 0xc4, 3));
        assert_eq!(program.call::<i32>("later").unwrap(), 1);
    });
}

#[test]
fn regular_expressions_match() {
    everywhere(|program| {
        assert_eq!(program.call::<(i32, i32, i32, i32)>("matches").unwrap(), (3, 2, 1, 3));
    });
}

#[test]
fn arrays_keep_their_elements() {
    everywhere(|program| {
        assert_eq!(program.call::<(i32, i32, i32)>("arrays").unwrap(), (4, 10, 1));
    });
}

#[test]
fn exceptions_are_thrown_and_caught() {
    everywhere(|program| {
        assert_eq!(program.call::<(i32, i32)>("caught").unwrap(), (33, 1));
        assert_eq!(program.call::<i32>("invalid").unwrap(), 1);
        assert_eq!(program.call::<(i32, i32, i32)>("described").unwrap(), (1, 1, 1));
        assert!(program.call::<()>("uncaught").is_err());
        assert!(program.store.has_pending_exception());
        let exception = program.store.take_pending_exception().unwrap();
        let Val::ExternRef(Some(thrown)) = exception.field(&mut program.store, 0).unwrap() else {
            panic!("the exception has a value");
        };
        let text = gc_hosts::text_of(&mut program.store, thrown).unwrap();
        assert_eq!(text.as_deref(), Some("Error: a1b22c"));
        program.call::<()>("say").unwrap();
        assert_eq!(program.stdout.contents(), b"a1b22c\n");
    });
}
