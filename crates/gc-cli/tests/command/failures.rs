//! Programs that fail otherwise than by a trap: what is said, and where it was.

use crate::common::{COLLECTORS, file, reclaim};

#[test]
fn failures_have_a_backtrace() {
    let program = &file(
        "failures.wat",
        r#"(module
            (import "env" "absent" (func $absent))
            (tag $problem (param i32))
            (func $inner (param i32)
                (if (local.get 0) (then (throw $problem (i32.const 7))) (else (call $absent))))
            (func $outer (param i32) (call $inner (local.get 0)) (drop (i32.const 1)))
            (func (export "run") (param i32) (call $outer (local.get 0)) (drop (i32.const 1))))"#,
    );
    let run = |arg| reclaim(&[program, "--unknown-imports", "trap", "--invoke", "run", arg]);
    for (arg, message) in [
        (
            "0",
            "calling `run(0)`\n  caused by: unknown import: `env::absent` of type (func) has not been \
             defined\n",
        ),
        ("1", "calling `run(1)`\n  caused by: uncaught exception `problem`: (exn 7)\n"),
    ] {
        let ran = run(arg);
        ran.fails(1, &[message, "\nwasm backtrace:\n   0: inner at 0x", "\n   1: outer at 0x"]);
        assert!(ran.stderr.contains("\n   2: run at 0x"), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("backtrace").count(), 1, "{}", ran.stderr);
    }
    // In a start function and in `_initialize` too.
    let start = r#"(module (tag $t) (func $s (throw $t)) (start $s) (func (export "_start")))"#;
    reclaim(&[&file("failing_start.wat", start)]).fails(1, &["`t`: (exn)", "   0: s at 0x"]);
    let library =
        r#"(module (tag $t) (func (export "_initialize") (throw $t)) (func (export "f")))"#;
    reclaim(&[&file("failing_library.wat", library), "--invoke", "f"])
        .fails(1, &["calling `_initialize()`", "`t`: (exn)", "   0: _initialize at 0x"]);
}

/// Strings of JavaScript.
const STRINGS: &str = r#"(module
    (import "wasm:js-string" "fromCharCode" (func $char (param i32) (result (ref extern))))
    (import "wasm:js-string" "concat"
        (func $concat (param externref externref) (result (ref extern))))
    (tag $problem (param externref))
    (func $word (result externref)
        (call $concat (call $char (i32.const 0x48)) (call $char (i32.const 0xe9))))
    (func (export "word") (result externref) (call $word))
    (func (export "throw") (throw $problem (call $word)))
    (func (export "grow") (param i32) (local $s externref)
        (local.set $s (call $word))
        (loop $again
            (local.set $s (call $concat (local.get $s) (local.get $s)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;

#[test]
fn strings_are_printed_as_text() {
    let program = &file("strings.wat", STRINGS);
    for collector in COLLECTORS {
        let run = |name| reclaim(&[program, "--collector", collector, "--invoke", name]);
        run("word").prints("\"Hé\"\n");
        run("throw").fails(1, &["uncaught exception `problem`: (exn \"Hé\")"]);
    }
}

#[test]
fn a_full_heap_in_a_host_function_has_the_usual_hint() {
    let program = &file("strings_grow.wat", STRINGS);
    for collector in COLLECTORS {
        let args = ["--collector", collector, "--heap-max", "1MiB", "--invoke", "grow", "25"];
        let ran = reclaim(&[&[&**program], &args[..]].concat());
        ran.fails(1, &["out of memory", "\nhint: --heap-max sets", "   0: grow at 0x"]);
    }
}

#[test]
fn a_module_is_a_file() {
    reclaim(&["run", "-"]).fails(2, &["`-` is no file"]);
}

#[test]
fn sizes_that_are_too_small_name_their_option() {
    let program = &file("too_small.wat", r#"(module (func (export "f")))"#);
    for (option, minimum) in [("--heap-max", "128 KiB"), ("--max-stack", "16 KiB")] {
        let said = format!("{option} 0 B is too small: the minimum is {minimum}");
        reclaim(&[program, option, "0", "--invoke", "f"]).fails(2, &[&said]);
    }
}

#[test]
fn a_script_is_text() {
    let script = &file("binary.wast", b"(module)\xff");
    let ran = reclaim(&["wast", script]);
    assert!(ran.status == 1 && ran.stdout.contains("is no script"), "{}", ran.stdout);
    // What it is instead is named.
    let module = &file("module.wasm", b"\0asm\x01\0\0\0");
    let compiled = &module.replace(".wasm", ".elf");
    reclaim(&["compile", module, "-o", compiled]).prints("");
    for (script, what) in
        [(module, "a module in the binary format"), (compiled, "a compiled module")]
    {
        let ran = reclaim(&["wast", script]);
        assert!(ran.status == 1 && ran.stdout.contains(what), "{}", ran.stdout);
    }
}

#[test]
fn limits_name_themselves() {
    let table = &file("limits_table.wat", "(module (table 50000000 funcref) (func $f) (start $f))");
    reclaim(&[table]).fails(
        1,
        &["table 0 cannot have 50000000 elements: a table of 50000000 elements exceeds the limit of 10000000 elements"],
    );
    let memory = r#"(module (memory i64 70000)
        (func (export "f") (i64.store8 (i64.const 4500000000) (i64.const 1))))"#;
    let memory = &file("limits_memory.wat", memory);
    let run = |options: &[&str]| reclaim(&[&[&**memory, "--invoke", "f"], options].concat());
    run(&[]).fails(1, &["the limit of 65536 pages (`memory_maximum`)", "hint: --memory-max sets"]);
    // A memory beyond 4 GiB.
    run(&["--memory-max", "5GiB"]).prints("");
}

#[test]
fn a_library_without_a_start_says_how_to_call_it() {
    let library = r#"(module (func (export "_initialize")) (func (export "f")))"#;
    let library = &file("library_alone.wat", library);
    reclaim(&[library]).fails(
        2,
        &["is a library: it exports `_initialize`, but no `_start`", "`--invoke`", "f: (func)"],
    );
}

#[test]
fn what_begins_a_library_takes_no_arguments() {
    for (n, of) in ["(param i32)", "(result i32) (i32.const 1)"].iter().enumerate() {
        let library = format!(
            r#"(module (func (export "_initialize") {of})
                (func (export "f") (result i32) (i32.const 7)))"#
        );
        let library = &file(&format!("library_takes_{n}.wat"), library);
        let says = "`_initialize` takes arguments or has results, and so is not called by itself";
        for command in ["run", "bench"] {
            reclaim(&[command, library, "--invoke", "f"]).fails(2, &[says, "its type is (func ("]);
        }
        let user = &file("library_user.wat", r#"(module (func (export "_start")))"#);
        reclaim(&[user, "--preload", &format!("lib={library}")])
            .fails(1, &["preloading ", "`_initialize` takes arguments or has results"]);
    }
    // It can be called.
    let library = r#"(module (func (export "_initialize") (param i32)) (func (export "f")))"#;
    let library = &file("library_called.wat", library);
    reclaim(&[library, "--invoke", "_initialize(1)", "--invoke", "f()"]).prints("");
    // It is called if there is only a start function.
    let library = r#"(module (func $s) (start $s) (func (export "_initialize") unreachable))"#;
    reclaim(&[&file("library_starts.wat", library)]).fails(1, &["calling `_initialize()`"]);
}

#[test]
fn proposals_that_are_not_supported_are_named() {
    let module = &file(
        "wide.wat",
        r#"(module (func (export "f") (result i64 i64)
            (i64.add128 (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))))"#,
    );
    reclaim(&[module, "--invoke", "f"])
        .fails(1, &["\n  caused by: not supported: the proposal wide-arithmetic\n"]);
}

#[test]
fn a_stack_that_is_too_large_names_its_option() {
    let module = &file("large_stack.wat", r#"(module (func (export "_start")))"#);
    for (args, option) in [
        (["--max-stack", "8388607TiB"], "--max-stack"),
        (["-W", "max-wasm-stack=9223372036854775807"], "-W max-wasm-stack"),
    ] {
        let hint = format!("\nhint: {option} sets the stack's limit");
        reclaim(&[&[&**module], &args[..]].concat()).fails(1, &[&hint]);
    }
}

#[test]
fn a_text_with_folded_legacy_exceptions_says_what_is_read() {
    let module = &file(
        "folded.wat",
        "(module (tag $t) (func (export \"f\") (try (do (throw $t)) (catch $t))))",
    );
    reclaim(&[module]).fails(1, &["in their flat form only: `try … catch … end`", "folded.wat:1:"]);
}

#[test]
fn a_compiled_module_needs_a_file() {
    let module = &file("to_stdout.wat", "(module)");
    reclaim(&["compile", module, "-o", "-"]).fails(2, &["`-` is no file"]);
}
