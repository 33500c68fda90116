//! `reclaim bench`.

use crate::common::{file, reclaim};
use serde_json::Value;

const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

/// A module whose `churn` allocates 16 bytes in each iteration.
fn module(name: &str) -> String {
    file(
        name,
        r#"(module
          (type $s (struct (field i32)))
          (global $kept (mut (ref null $s)) (ref.null $s))
          (func (export "churn") (param i32) (result i32)
            (loop $again
              (global.set $kept (struct.new $s (local.get 0)))
              (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (struct.get $s 0 (global.get $kept)))
          (func (export "two") (param i32 externref) (result i64 externref)
            (i64.extend_i32_s (local.get 0)) (local.get 1))
          (func (export "nothing"))
          (func $boom (export "trap") unreachable))"#,
    )
}

/// The lines of JSON that `reclaim bench` printed.
fn entries(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_has_a_line_for_each_collector() {
    let module = &module("bench_json.wat");
    let ran = reclaim(&["bench", module, "--invoke", "churn", "100000", "--runs", "4", "--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let entries = entries(&ran.stdout);
    let names: Vec<_> = entries.iter().map(|entry| entry["collector"].as_str().unwrap()).collect();
    assert_eq!(names, COLLECTORS);
    for entry in &entries {
        assert_eq!((&entry["result"], &entry["runs"]), (&"1".into(), &4.into()), "{entry}");
        assert!(entry.get("error").is_none(), "{entry}");
        let secs = |key: &str| entry["secs"][key].as_f64().unwrap_or_else(|| panic!("{entry}"));
        assert!(secs("best") > 0.0 && secs("best") <= secs("median"), "{entry}");
        assert!(secs("best") <= secs("first") && secs("median") < 60.0, "{entry}");
        assert!(entry["compile_secs"].as_f64().unwrap() > 0.0, "{entry}");
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {entry}"));
        // The sum over all runs.
        assert!(number(&entry["allocated_bytes"]) >= 4 * 1_600_000, "{entry}");
        assert!((1 << 16..1 << 26).contains(&number(&entry["peak_heap_bytes"])), "{entry}");
        let pause = |key: &str| number(&entry["pause_ns"][key]);
        assert!(pause("p99") <= pause("longest") && pause("longest") <= pause("total"));
        // The initial part of the nursery, 3 MiB, fills.
        let collects = entry["collector"] != "null";
        assert_eq!(number(&entry["collections"]) > 0, collects, "{entry}");
    }
}

#[test]
fn the_table_has_a_row_for_each_collector() {
    let module = &module("bench_table.wat");
    let ran = reclaim(&["bench", module, "--invoke", "churn(1000)", "--runs", "3"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let mut lines = ran.stdout.lines();
    assert_eq!(lines.next(), Some("churn(1000) = 1, 3 runs each"));
    for name in COLLECTORS {
        let row = lines.find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        assert!(row.ends_with("46.9 KiB"), "{row}");
    }
    assert!(lines.next_back().unwrap().starts_with("medians as multiples of "), "{}", ran.stdout);
    let scope = "\ntimes are of one run; collections, pauses and bytes of all 3 runs\n";
    assert!(ran.stdout.contains(scope), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);

    let alone = reclaim(&["bench", module, "--invoke", "nothing", "--collector", "drc"]);
    assert_eq!(alone.status, 0);
    assert!(alone.stdout.starts_with("nothing(), 5 runs each\n"), "{}", alone.stdout);
    assert!(!alone.stdout.contains("multiples"), "{}", alone.stdout);
}

#[test]
fn collectors_are_chosen() {
    let module = &module("bench_chosen.wat");
    for (args, names) in [
        (&["--collector", "drc"][..], &["drc"][..]),
        (&["--collector", "copying,null"], &["copying", "null"]),
        (&["--collector", "drc", "--collector", "null,drc"], &["drc", "null"]),
        (&["--collector", "drc,all"], &["drc", "null", "copying", "generational"]),
        (&["--collector", "all"], &COLLECTORS),
    ] {
        let ran = reclaim(&[&["bench", module, "--invoke=nothing", "--json"], args].concat());
        let entries = entries(&ran.stdout);
        assert_eq!(entries.iter().map(|entry| &entry["collector"]).collect::<Vec<_>>(), names);
        assert_eq!(entries[0]["result"], "");
    }
}

#[test]
fn values_are_those_of_run() {
    let module = &module("bench_values.wat");
    for args in [&["two", "-5", "externref:7"][..], &["two(-5, externref:7)"]] {
        let ran = reclaim(&[&["bench", module, "--json", "--invoke"], args].concat());
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        for entry in entries(&ran.stdout) {
            assert_eq!(entry["result"], "-5, externref:7");
        }
    }
    let start = &file("bench_start.wat", r#"(module (func (export "_start")))"#);
    let ran = reclaim(&["bench", start]);
    assert!(ran.stdout.starts_with("_start(), 5 runs each\n"), "{} {}", ran.stdout, ran.stderr);
}

#[test]
fn a_collector_that_fails_does_not_stop_the_others() {
    let module = &module("bench_fails.wat");
    let args =
        ["bench", module, "--invoke", "churn", "100000", "--runs", "3", "--heap-max", "4MiB"];
    let ran = reclaim(&[&args[..], &["--json"]].concat());
    assert_eq!(ran.status, 1);
    ran.says(&["error: under `null`: run 3\n", "out of memory", "hint: ", "--heap-max"]);
    let entries = entries(&ran.stdout);
    let null = &entries[0];
    let message = "run 3: calling `churn(100000)`: allocating an object: wasm trap: GC heap out of memory: 16 bytes more";
    assert!(null["error"].as_str().unwrap().starts_with(message), "{null}");
    assert_eq!((&null["result"], &null["runs"]), (&"1".into(), &2.into()));
    assert!(null["secs"]["median"].is_f64() && null["allocated_bytes"].as_u64() > Some(4_000_000));
    for entry in &entries[1..] {
        assert!(entry.get("error").is_none() && entry["runs"] == 3, "{entry}");
    }

    let ran = reclaim(&args);
    assert_eq!(ran.status, 1);
    let null = ran.stdout.lines().find(|line| line.starts_with("null")).unwrap();
    assert!(null.contains("failed"), "{null}");
    let comparison = ran.stdout.lines().next_back().unwrap();
    assert!(comparison.contains("drc") && !comparison.contains("null"), "{comparison}");
}

#[test]
fn what_fails_under_all_is_said_once() {
    let trap = reclaim(&["bench", &module("bench_trap.wat"), "--invoke", "trap", "--json"]);
    assert_eq!(trap.status, 1);
    trap.says(&["error: under `null`, `drc`, `copying`, `generational`: run 1\n", "0: boom at 0x"]);
    assert_eq!(trap.stderr.matches("error:").count(), 1, "{}", trap.stderr);
    for entry in entries(&trap.stdout) {
        assert!(entry["error"].as_str().unwrap().contains("`unreachable`"), "{entry}");
        assert!(entry["result"].is_null() && entry["secs"]["best"].is_null(), "{entry}");
    }
    // Without a table of failures.
    reclaim(&["bench", &module("bench_trap_2.wat"), "--invoke", "trap"])
        .fails(1, &["0: boom at 0x"]);
    let start = "(module (func $f unreachable) (start $f) (func (export \"f\")))";
    let start = reclaim(&["bench", &file("bench_start_traps.wat", start), "--invoke", "f"]);
    assert_eq!(start.status, 1);
    start.says(&["`generational`: instantiating the module", "0: f at 0x"]);
}

#[test]
fn misuse() {
    let module = &module("bench_misuse.wat");
    for (args, says) in [
        (&["--invoke", "chrn", "1"][..], "did you mean `churn`?"),
        (&["--invoke", "churn"], "`churn` takes 1 argument, but 0 are given"),
        (&["--invoke", "churn", "1", "2"], "`churn` takes 1 argument, but 2 are given"),
        (&["--invoke", "churn", "one"], "argument 1 of `churn`: expected a value of type i32"),
        (&["--invoke", "churn(1)", "2"], "`2` is one argument too many"),
        (&["7"], "`7` is an argument without a call"),
        (&[], "the module exports no function `_start`: name a function with `--invoke`"),
        (&["--invoke", "nothing", "--invoke", "nothing"], "cannot be used multiple times"),
        (&["--invoke", "nothing", "--runs", "0"], "0 is not in 1.."),
        (&["--invoke", "nothing", "--runs", "many"], "invalid value 'many' for '--runs <N>'"),
        (
            &["--invoke", "nothing", "--collector", "null,perfect"],
            "possible values: null, drc, copying, generational, all",
        ),
        (&["--invoke", "nothing", "--heap-max", "1KiB"], "the minimum is 128 KiB"),
    ] {
        reclaim(&[&["bench", module], args].concat()).fails(2, &[says]);
    }
    reclaim(&["bench"]).fails(2, &["<FILE>"]);
    reclaim(&["bench", "no/such.wat"]).fails(1, &["no/such.wat", "No such file"]);
    let invalid = &file("bench_invalid.wat", "(module (func (result i32)))");
    reclaim(&["bench", invalid]).fails(1, &["bench_invalid.wat", "type mismatch"]);
    let imports = &file("bench_imports.wat", r#"(module (func (import "a" "b")))"#);
    reclaim(&["bench", imports]).fails(2, &["exports no function `_start`"]);
    let imports = &file(
        "bench_imports_2.wat",
        r#"(module (func (import "a" "b")) (func (export "_start")))"#,
    );
    reclaim(&["bench", imports]).fails(1, &["does not provide", "a.b: (func)"]);
}

/// A program that counts its arguments. It writes a line to stderr and ends itself with their number
/// as its status. It traps if it runs twice in an instance.
const COUNTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "wrong\n")
    (type $box (struct (field i64)))
    (global $ran (mut i32) (i32.const 0))
    (func (export "_start")
        (if (global.get $ran) (then (unreachable)))
        (global.set $ran (i32.const 1))
        (drop (struct.new $box (i64.const 1)))
        (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $args (i32.const 8) (i32.const 12)))
        (call $exit (i32.sub (i32.load (i32.const 8)) (i32.const 1)))))"#;

#[test]
fn a_program_has_a_new_instance_for_each_run() {
    let counts = &file("bench_counts.wat", COUNTS);
    let ran = reclaim(&["bench", counts, "--runs", "3", "--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    for entry in entries(&ran.stdout) {
        // The sum over all instances.
        assert_eq!((&entry["runs"], &entry["allocated_bytes"]), (&3.into(), &48.into()), "{entry}");
    }
}

#[test]
fn a_program_has_arguments_and_its_stderr_is_shown_if_it_fails() {
    let counts = &file("bench_args.wat", COUNTS);
    let ran = reclaim(&["bench", counts, "--runs", "2", "--collector", "drc", "--", "-a", "b"]);
    ran.fails(1, &["run 1\n", "exit status 2", "the program wrote to stderr:\nwrong\n"]);
    let ran = reclaim(&["bench", counts, "--collector", "drc", "--json", "--", "-a"]);
    assert_eq!(ran.status, 1);
    assert_eq!(entries(&ran.stdout)[0]["stderr"], "wrong");
    let start = &file("bench_no_args.wat", r#"(module (func (export "_start")))"#);
    reclaim(&["bench", start, "--", "a"])
        .fails(2, &["the program cannot read the argument `a`: it imports no function"]);
}

#[test]
fn a_compiled_module_fails_under_other_collectors() {
    let module =
        &file("bench_compiled.wat", r#"(module (func (export "f") (result i32) (i32.const 3)))"#);
    let compiled = &module.replace(".wat", ".elf");
    reclaim(&["compile", module, "-o", compiled, "--collector", "copying"]).prints("");
    let bench = |options: &[&str]| {
        reclaim(&[&["bench", &**compiled, "--invoke", "f", "--runs", "1"], options].concat())
    };
    let ran = bench(&[]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("f() = 3"), "{}", ran.stdout);
    ran.says(&["error: under `drc`: ", "for the collector `copying`, not for `drc`"]);
    assert!(!ran.stderr.contains("under `copying`"), "{}", ran.stderr);
    assert_eq!(bench(&["--collector", "copying"]).status, 0);
}
