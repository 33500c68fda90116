//! `reclaim bench`.

use crate::common::{COLLECTORS, file, reclaim};
use serde_json::Value;

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
          (func (export "nothing")))"#,
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
