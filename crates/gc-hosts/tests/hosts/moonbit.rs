//! MoonBit's host, with programs that print, read and end as those of its compiler do.

use anyhow::Result;
use gc_hosts::{
    Host, HostCtx, HostOptions, I32Exit, InputStream, MemoryOutputPipe, OutputStream, Stdio,
};
use gc_wasm::{Collector, Config, Engine, Linker, Module, Store};

/// Runs `_start` under a collector. Returns what is printed.
fn run(collector: Collector, text: &str, stdin: &'static [u8]) -> Result<String> {
    run_with(Config::new().collector(collector), text, stdin)
}

fn run_with(
    config: &Config,
    text: &str,
    stdin: impl std::io::Read + Send + 'static,
) -> Result<String> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, text)?;
    let stdout = MemoryOutputPipe::new();
    let stdio = Stdio {
        stdin: InputStream::new(stdin),
        stdout: OutputStream::new(stdout.clone()),
        ..Stdio::none()
    };
    let args = ["prog", "ä😀"].map(String::from).to_vec();
    let env = vec![("NAME".to_owned(), "value".to_owned())];
    let options = HostOptions { args, env, stdio, ..Default::default() };
    let mut store: Store<HostCtx> = Store::new(&engine, options.build()?);
    let mut linker = Linker::new(&engine);
    for host in Host::recognised(&module) {
        assert_eq!(host.name(), "moonbit");
        host.define(&mut linker, &mut store, &module)?;
    }
    let instance = linker.instantiate(&mut store, &module)?;
    let result = instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ());
    drop(store);
    result.map(|()| String::from_utf8_lossy(&stdout.contents()).into_owned())
}

#[test]
fn arguments_are_read_and_printed() {
    let text = include_str!("../programs/moonbit_args.wat");
    for collector in Collector::all() {
        let mut config = Config::new();
        config.collector(collector);
        for zeal in [0, 1] {
            let printed = run_with(config.gc_zeal(zeal), text, &b""[..]).unwrap();
            assert_eq!(printed, "prog\nä😀\nvalue\n");
        }
    }
}

#[test]
fn input_is_read_character_by_character() {
    let text = r#"(module
        (import "__moonbit_io_unstable" "read_char" (func $read (result i32)))
        (import "__moonbit_io_unstable" "write_char" (func $write (param i32 i32)))
        (func (export "_start") (local $c i32)
            (loop $more
                (local.set $c (call $read))
                (if (i32.ge_s (local.get $c) (i32.const 0))
                    (then (call $write (i32.const 1) (local.get $c)) (br $more))))))"#;
    let echoed = run(Collector::drc(), text, "aä😀\n!".as_bytes()).unwrap();
    assert_eq!(echoed, "aä😀\n!");
    assert_eq!(run(Collector::drc(), text, b"a\xff\xff\xff\xffb").unwrap(), "a");
}

#[test]
fn the_program_ends_itself() {
    let text = r#"(module
        (import "__moonbit_sys_unstable" "exit" (func $exit (param i32)))
        (func (export "_start") (call $exit (i32.const 7))))"#;
    let error = run(Collector::drc(), text, b"").unwrap_err();
    assert_eq!(error.downcast_ref::<I32Exit>(), Some(&I32Exit(7)));
}

#[test]
fn values_of_the_wrong_kind_are_errors() {
    for value in ["(ref.null extern)", "(call $now)"] {
        let text = format!(
            r#"(module
            (import "__moonbit_time_unstable" "instant_now" (func $now (result externref)))
            (import "__moonbit_fs_unstable" "string_read_char"
                (func $read (param externref) (result i32)))
            (func (export "_start") (drop (call $read {value}))))"#
        );
        let error = run(Collector::drc(), &text, b"").unwrap_err();
        assert!(format!("{error:#}").contains("no string reader"), "{error:#}");
    }
}

#[test]
fn exceptions_are_thrown_and_caught() {
    let imports = r#"(import "exception" "tag" (tag $tag))
        (import "exception" "throw" (func $throw))
        (import "spectest" "print_char" (func $print (param i32)))"#;
    let caught = format!(
        r#"(module {imports} (func (export "_start")
            (block $caught (try_table (catch $tag $caught) (call $throw)) (unreachable))
            (call $print (i32.const 0x63))))"#
    );
    for collector in Collector::all() {
        assert_eq!(run(collector, &caught, b"").unwrap(), "c");
    }
    let uncaught = r#"(module (import "exception" "throw" (func $throw))
        (func (export "_start") (call $throw)))"#;
    let error = run(Collector::drc(), uncaught, b"").unwrap_err();
    assert!(format!("{error:#}").contains("threw an exception"), "{error:#}");
}

/// What a program makes of characters and bytes is in its heap. So is what it reads.
#[test]
fn lists_are_counted_by_the_limit_of_the_heap() {
    let append = |begin: &str, append: &str| {
        format!(
            r#"(module
            (import "__moonbit_fs_unstable" "{begin}" (func $begin (result externref)))
            (import "__moonbit_fs_unstable" "{append}" (func $append (param externref i32)))
            (func (export "_start") (local $n i32) (local $writer externref)
                (local.set $writer (call $begin))
                (loop $more
                    (call $append (local.get $writer) (i32.const 65))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $more (i32.lt_s (local.get $n) (i32.const 2000000))))))"#
        )
    };
    let endless = r#"(module
        (import "__moonbit_io_unstable" "read_bytes_from_stdin" (func $read (result externref)))
        (func (export "_start") (drop (call $read))))"#;
    let programs = [
        append("begin_create_string", "string_append_char"),
        append("begin_create_byte_array", "byte_array_append_byte"),
        endless.to_owned(),
    ];
    for collector in Collector::all() {
        let mut config = Config::new();
        config.collector(collector).gc_heap_maximum(1 << 20);
        for program in &programs {
            let error = run_with(&config, program, std::io::repeat(b'x')).unwrap_err();
            assert!(format!("{error:#}").contains("out of memory"), "{error:#}");
        }
    }
}
