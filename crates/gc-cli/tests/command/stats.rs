//! Statistics of the heap, and options that change them.

use crate::common::{COLLECTORS, library, reclaim};
use serde_json::Value;

#[test]
fn stats_say_what_the_heap_did() {
    let lib = &library();
    for collector in COLLECTORS {
        let run =
            |args: &[&str]| reclaim(&[&["run", lib, "--collector", collector], args].concat());
        let churn = run(&["--stats=json", "--heap-max", "64MiB", "--invoke", "churn", "1000000"]);
        churn.prints("1\n");
        let stats: Value = serde_json::from_str(&churn.stderr).unwrap();
        assert_eq!(stats["collector"], collector);
        assert_eq!(stats["allocations"], 1_000_000);
        let number = |key: &str| stats[key].as_u64().unwrap_or_else(|| panic!("{key}: {stats}"));
        assert!(number("allocated_bytes") >= 16_000_000);
        assert!(number("peak_heap_bytes") <= 64 << 20);
        assert_eq!(number("collections") > 0, collector != "null");
        assert!(number("longest_pause_ns") <= number("total_pause_ns"));

        let table = run(&["--stats", "--invoke", "churn", "10"]);
        table.prints("1\n").says(&[
            "collector",
            collector,
            "allocations",
            "longest pause",
            "peak heap",
        ]);
        // Statistics of a failing program are printed too.
        let fails = run(&["--stats=json", "--heap-max", "1MiB", "--invoke", "fill"]);
        assert_eq!(fails.status, 1);
        assert!(fails.stderr.starts_with("{\"collector\""), "{}", fails.stderr);
        fails.says(&["\nerror: "]);
    }
}

#[test]
fn policies_size_the_heap() {
    let lib = &library();
    let stats = |args: &[&str]| {
        let run = [lib, "--stats=json", "--collector", "copying", "--heap-max", "16MiB"];
        let run = reclaim(&[&run, args, &["--invoke", "churn", "1000000"]].concat());
        run.prints("1\n");
        serde_json::from_str::<Value>(&run.stderr).unwrap()
    };
    let fixed = stats(&["--heap-policy", "fixed"]);
    assert_eq!(fixed["heap_bytes"], (16 << 20) - (64 << 10));
    for policy in ["balanced", "throughput", "memory"] {
        let stats = stats(&["--heap-policy", policy, "--pause-target", "1ms"]);
        assert!(stats["peak_heap_bytes"].as_u64() < Some(12 << 20), "{policy}: {stats}");
    }
    assert!(stats(&["--heap-utilisation", "25%"])["collections"].as_u64() > Some(0));
}

#[test]
fn zeal_collects_at_every_allocation() {
    let lib = &library();
    let churn = reclaim(&[lib, "--stats=json", "--gc-zeal", "1", "--invoke", "churn", "1000"]);
    churn.prints("1\n");
    let stats: Value = serde_json::from_str(&churn.stderr).unwrap();
    assert!(stats["collections"].as_u64().unwrap() >= 1000, "{stats}");
}
