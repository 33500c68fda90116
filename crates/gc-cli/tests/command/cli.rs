//! Tests of the command: what it prints, where, and the exit status.

use crate::common::{file, reclaim};
use std::process::{Command, Stdio};

/// A module with many kinds of functions, in a file of the test.
fn library(name: &str) -> String {
    file(
        name,
        r#"(module $lib
        (type $node (struct (field i32) (field (ref null $node))))
        (type $longs (array i64))
        (global $list (mut (ref null $node)) (ref.null $node))
        (memory (export "memory") 1)
        (func (export "add") (param i32 i32) (result i32)
            (i32.add (local.get 0) (local.get 1)))
        (func (export "swap") (param i64 f32) (result f32 i64) (local.get 1) (local.get 0))
        (func (export "vector") (param v128) (result v128) (local.get 0))
        (func (export "half") (param f64) (result f64)
            (f64.div (local.get 0) (f64.const 2)))
        (func (export "push") (param i32)
            (global.set $list (struct.new $node (local.get 0) (global.get $list))))
        (func (export "list") (result anyref) (global.get $list))
        (func (export "same") (param externref) (result externref) (local.get 0))
        (func (export "odd (name)") (result i32) (i32.const 7))
        (func $inner (unreachable))
        (func $trap (export "trap") (call $inner))
        (func $forever (export "forever") (call $forever))
        (func (export "fill")
            (loop $more
                (global.set $list (struct.new $node (i32.const 0) (global.get $list)))
                (br $more)))
        (func (export "churn") (param i32) (result i32)
            (local $node (ref null $node))
            (loop $more
                (local.set $node (struct.new $node (local.get 0) (ref.null $node)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $more (local.get 0)))
            (struct.get $node 0 (local.get $node))))"#,
    )
}

const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

#[test]
fn exports_are_called() {
    let lib = &library("exports_are_called.wat");
    for collector in COLLECTORS {
        let run =
            |args: &[&str]| reclaim(&[&["run", lib, "--collector", collector], args].concat());
        run(&["--invoke", "add", "2", "3"]).prints("5\n");
        run(&["--invoke", "add(2, 3)"]).prints("5\n");
        run(&["--invoke", "swap", "9223372036854775807", "-0.1"])
            .prints("-0.1\n9223372036854775807\n");
        run(&["--invoke", "push(1)", "--invoke", "push(2)", "--invoke", "list()"])
            .prints("(struct 2 (struct 1 null))\n");
        run(&["--invoke", "push(1)"]).prints("");
        run(&["--invoke", "\"odd (name)\"()"]).prints("7\n");
    }
    // Options may be anywhere. A file without a subcommand is run too.
    reclaim(&[lib, "--invoke", "add", "2", "3", "--heap-max", "1MiB"]).prints("5\n");
    // The largest heap has 64 KiB less.
    reclaim(&[lib, "--invoke", "add", "2", "3", "--heap-max", "4GiB"]).prints("5\n");
    reclaim(&["--heap-bounds", "checked", lib, "--invoke", "add(2, 3)"]).prints("5\n");
    reclaim(&["run", "--invoke", "add", lib, "2", "3"]).prints("5\n");
}

#[test]
fn what_is_printed_can_be_typed() {
    let lib = &library("what_is_printed_can_be_typed.wat");
    reclaim(&[lib, "--invoke", "add", "-2", "-0x10"]).prints("-18\n");
    reclaim(&[lib, "--invoke", "half", "-3"]).prints("-1.5\n");
    reclaim(&[lib, "--invoke", "half", "-inf"]).prints("-inf\n");
    reclaim(&[lib, "--invoke", "half(-nan:0x8000000000001)"]).prints("-nan:0x8000000000001\n");
    let vector = "i32x4 0x00000001 0x00000000 0xffffffff 0xffffffff";
    reclaim(&[lib, "--invoke", "vector", vector]).prints(&format!("{vector}\n"));
    reclaim(&[lib, "--invoke", "vector(i64x2 1 -1)"]).prints(&format!("{vector}\n"));
    reclaim(&[lib, "--invoke", "vector", "1"]).fails(2, &["`i32x4 1 2 3 4` or `f64x2 1 2.5`"]);
    for value in ["null", "externref:7", "i31:-5"] {
        reclaim(&[lib, "--invoke", "same", value]).prints(&format!("{value}\n"));
    }
}

#[test]
fn without_a_call_start_runs() {
    let start = &file(
        "start.wat",
        r#"(module (func (export "_start") (result i32) (i32.const 3)) (func $s) (start $s))"#,
    );
    reclaim(&[start]).prints("3\n");
    let lib = &library("without_a_call.wat");
    reclaim(&["run", lib]).fails(
        2,
        &[
            "no function `_start`: name a function with `--invoke`",
            "add: (func (param i32 i32) (result i32))",
            "memory: (memory 1)",
        ],
    );
    let start = &file("start_takes.wat", r#"(module (func (export "_start") (param i32)))"#);
    reclaim(&[start]).fails(2, &["`_start` takes arguments", "--invoke '_start(…)'"]);
    reclaim(&[&file("empty.wat", "(module)")]).fails(2, &["it exports nothing"]);
    // A start function is enough, also in a compiled module.
    let only = &file("start_only.wat", "(module (func $f) (start $f))");
    reclaim(&[only]).prints("");
    let compiled = &only.replace(".wat", ".elf");
    reclaim(&["compile", only, "-o", compiled]).prints("");
    reclaim(&[compiled]).prints("");
    reclaim(&[&file("start_traps.wat", "(module (func $f unreachable) (start $f))")])
        .fails(1, &["unreachable", "wasm backtrace:\n   0: f at 0x"]);
}

#[test]
fn modules_that_are_not_good() {
    reclaim(&["run", "there/is/no/such.wasm"]).fails(1, &["there/is/no/such.wasm", "No such file"]);
    let malformed = &file("malformed.wat", "(module\n  (func (resul i32)))");
    reclaim(&["run", malformed]).fails(1, &["malformed.wat:2:10", "resul"]);
    let malformed = &file("malformed.wasm", b"\0asm\x01\0\0\0\x01\x7f");
    reclaim(&["run", malformed]).fails(1, &["malformed.wasm", "offset 0x"]);
    let invalid = &file("invalid.wat", "(module (func $f (result i32) (i64.const 1)))");
    reclaim(&["run", invalid]).fails(1, &["invalid.wat:1:10", "type mismatch"]);
    let mismatch = r#"(module (type $a (struct)) (type $b (array i8))
        (func $f (param (ref $b)) (result (ref null $a))
            (return (local.get 0))))"#;
    let mismatch = &file("mismatch.wat", mismatch);
    let types = "type mismatch: expected (ref null $a), found (ref $b)";
    for command in [&["run"][..], &["bench", "--invoke", "f"], &["explore"]] {
        let ran = reclaim(&[command, &[mismatch]].concat());
        ran.fails(1, &[types, "mismatch.wat:3:14"]);
    }
    let unsupported = &file("unsupported.wat", "(module (func atomic.fence))");
    reclaim(&["run", unsupported]).fails(1, &["unsupported.wat", "threads"]);
    let missing = &file(
        "missing.wat",
        r#"(module (import "env" "log" (func (param i64))) (import "js" "m" (memory 1))
            (func (export "_start")))"#,
    );
    reclaim(&["run", missing])
        .fails(1, &["does not provide", "env.log: (func (param i64))", "js.m: (memory 1)"]);
}

#[test]
fn calls_that_do_not_fit() {
    let lib = &library("calls_that_do_not_fit.wat");
    reclaim(&[lib, "--invoke", "ad", "1", "2"]).fails(
        2,
        &["no function `ad`", "did you mean `add`?", "half: (func (param f64) (result f64))"],
    );
    reclaim(&[lib, "--invoke", "memory"]).fails(2, &["`memory` is not a function"]);
    reclaim(&[lib, "--invoke", "add", "1"]).fails(
        2,
        &["`add` takes 2 arguments, but 1 is given, `1`: its type is (func (param i32 i32) (result"],
    );
    reclaim(&[lib, "--invoke", "add(1 2)"]).fails(2, &["but 1 is given, `1 2`: its type"]);
    reclaim(&[lib, "--invoke", "half", "1e999"]).fails(2, &["got `1e999`: it is too large"]);
    reclaim(&[lib, "--invoke", "half()"]).fails(2, &["`half` takes 1 argument, but 0 are given"]);
    reclaim(&[lib, "--invoke", "add", "1", "two"])
        .fails(2, &["argument 2 of `add`: expected a value of type i32, got `two`"]);
    reclaim(&[lib, "--invoke", "add(1, 4294967296)"]).fails(2, &["argument 2 of `add`"]);
    reclaim(&[lib, "--invoke", "same", "7"]).fails(2, &["argument 1 of `same`", "externref:N"]);
    reclaim(&[lib, "--invoke", "add(1, 2"]).fails(2, &["`add(1, 2` is not a call"]);
    reclaim(&[lib, "--invoke", "add(1, 2)", "3"]).fails(2, &["`3` is one argument too many"]);
    reclaim(&[lib, "3"]).fails(2, &["`3` is an argument without a call", "--invoke NAME"]);
    // Nothing runs if a later call does not fit.
    reclaim(&[lib, "--invoke", "trap()", "--invoke", "nothing()"]).fails(2, &["`nothing`"]);
}

#[test]
fn misuse_of_options() {
    let lib = &library("misuse_of_options.wat");
    for (args, says) in [
        (&["run"][..], "<FILE>"),
        (
            &["run", lib, "--collector", "perfect"],
            "possible values: null, drc, copying, generational",
        ),
        (
            &["run", lib, "--collector", "perfect:nursery=1"],
            "possible values: null, drc, copying, generational",
        ),
        (
            &["run", lib, "--collector", "generational:size=1"],
            "the collector `generational` has no option `size`; available: `nursery`",
        ),
        (
            &["run", lib, "--collector", "drc:nursery=1MiB"],
            "no option `nursery`: it has no options",
        ),
        (&["run", lib, "--collector", "generational:nursery=lots"], "512MiB"),
        (&["run", lib, "--collector", "generational:nursery"], "OPTION=VALUE"),
        (&["run", lib, "--heap-nursery", "1MiB"], "unexpected argument '--heap-nursery' found"),
        (&["run", lib, "--heap-max", "lots"], "512MiB"),
        (&["run", lib, "--no-such-option"], "--no-such-option"),
        (&["run", lib, "--heap-maxx", "1"], "a similar argument exists: '--heap-max'"),
        (
            &["run", lib, "--collector", "drc:size=1"],
            "`--collector drc:size=1`: the collector `drc` has no option `size`",
        ),
        (&["run", "--stats", "json", lib], "the format is given as `--stats=json`"),
        (&["run", lib, "--invoke", "fill", "--stats", "table"], "given as `--stats=table`"),
        (&["run", lib, "--stats=xml"], "possible values: table, json"),
        (&["run", lib, "--heap-max", "8GiB"], "'--heap-max <SIZE>': the maximum is 4GiB"),
        (
            &["run", lib, "--collector", "drc", "--heap-max", "4GiB", "--invoke", "add"],
            "--heap-max 4 GiB is too large: the maximum of `drc` is 3 GiB",
        ),
        (&["run", lib, "--heap-max", "-1"], "invalid value '-1' for '--heap-max <SIZE>'"),
        (&["collectors", "-1"], "unexpected argument '-1' found"),
        (&["run", lib, "--heap-max", "1MiB", "--heap-initial", "2MiB"], "more than --heap-max"),
        (&["run", lib, "--heap-policy", "greedy"], "balanced, throughput, memory, fixed"),
        (&["run", lib, "--heap-utilisation", "100"], "expected a share from 1% to 99%"),
        (
            &["run", lib, "--heap-policy", "fixed", "--heap-initial", "2MiB"],
            "--heap-initial and --heap-utilisation are not allowed",
        ),
        (&["run", lib, "--gc-slice", "5"], "such as 500us"),
        (
            &["run", lib, "--fuel", "abc"],
            "expected a number of units from 0 to 18446744073709551615",
        ),
        (&["frob", lib], "`frob` is neither a command nor a file; the commands are run, "),
        (&["exlore", lib], "did you mean `explore`?"),
        (&["run", lib, "--max-stack", "1"], "the minimum is 16 KiB"),
        (&["run", lib, "--memory-max", "99999999999999999999GiB"], "the size is out of range"),
        (&["run", lib, "--timeout", "99999999999999999999s"], "the time is out of range"),
        (&["wast"], "<FILE>"),
        (&["explore", lib, "--emit", "poetry"], "stack-maps"),
        (&["completions", "cmd.exe"], "possible values: bash"),
    ] {
        reclaim(args).fails(2, &[says]);
    }
    // No other option is proposed, and none stands in the usage.
    for option in ["--heap-nursery", "--foo", "--jit"] {
        let ran = reclaim(&["run", lib, option]);
        ran.fails(2, &[&format!("unexpected argument '{option}' found")]);
        assert!(!ran.stderr.contains("similar") && !ran.stderr.contains("--heap-bounds"));
    }
    let none = reclaim(&[]);
    assert_eq!(none.status, 2);
    none.says(&["Usage: reclaim"]);
}

#[test]
fn names_may_look_like_numbers() {
    let module = r#"(module (func $-9 (export "-1") (param i32) (result i32) (local.get 0)))"#;
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(dir.join("-1.wat"), module).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reclaim"));
        command.current_dir(dir).args(args).output().unwrap()
    };
    for args in [
        &["run", "-1.wat", "--invoke", "-1(-5)"][..],
        &["run", "-1.wat", "--invoke", "-1", "-5"],
        &["run", "--invoke", "-1(-5)", "--", "-1.wat"],
    ] {
        let ran = run(args);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "-5\n", "{args:?} {ran:?}");
    }
    let ran = run(&["explore", "-1.wat", "--func", "-9"]);
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn modules_are_compiled_once_and_run_later() {
    let lib = &library("modules_are_compiled_once_and_run_later.wat");
    let out = &lib.replace(".wat", ".elf");
    reclaim(&["compile", lib, "-o", out, "--collector", "copying"]).prints("");
    let run = |args: &[&str]| reclaim(&[&["run", out], args].concat());
    run(&["--collector", "copying", "--invoke", "push(1)", "--invoke", "list()"])
        .prints("(struct 1 null)\n");
    run(&["--collector", "drc", "--invoke", "list()"]).fails(
        1,
        &["was compiled for the collector `copying`, not for `drc`", "--collector copying"],
    );
    run(&["--collector", "copying", "--heap-bounds", "checked", "--invoke", "list()"])
        .fails(1, &["was compiled with `--heap-bounds guarded`"]);
    let mut bytes = std::fs::read(out).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let damaged = &file("modules_are_compiled_once_damaged.elf", bytes);
    reclaim(&["run", damaged, "--collector", "copying"]).fails(1, &["damaged", "checksum"]);
    let again = &lib.replace(".wat", "_again.elf");
    reclaim(&["compile", out, "-o", again]).fails(2, &["is already compiled"]);
    assert!(!std::path::Path::new(again).exists());
    reclaim(&["explore", out]).fails(2, &["is already compiled", "objdump"]);
}

#[test]
fn a_compiled_module_does_not_replace_its_source() {
    let text = "(module)";
    let source = &file("not_replaced.wat", text);
    let (hard, soft) = (source.replace(".wat", "_hard.wat"), source.replace(".wat", "_soft.wat"));
    for link in [&hard, &soft] {
        let _ = std::fs::remove_file(link);
    }
    std::fs::hard_link(source, &hard).unwrap();
    std::os::unix::fs::symlink(source, &soft).unwrap();
    for output in [source, &hard, &soft, &source.replace("not_replaced", "./not_replaced")] {
        reclaim(&["compile", source, "-o", output]).fails(2, &["would replace the module"]);
        assert_eq!(std::fs::read_to_string(source).unwrap(), text);
    }
}

#[test]
fn help_has_examples() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["bench", "--help"],
        &["compile", "--help"],
        &["wast", "--help"],
        &["explore", "-h"],
    ] {
        let ran = reclaim(args);
        assert_eq!(ran.status, 0);
        assert!(ran.stdout.contains("--collector"), "{}", ran.stdout);
    }
    let help = reclaim(&["--help"]).stdout;
    for part in ["Examples:", "Exit status:", "RECLAIM_LOG", "completions"] {
        assert!(help.contains(part), "{help}");
    }
    // What most people need comes first.
    for help in ["-h", "--help"] {
        let help = reclaim(&["run", help]).stdout;
        let first = help.split("\nImports:\n").next().unwrap();
        let options =
            ["invoke", "dir", "env", "timeout", "fuel", "stats", "collector", "heap-max", "help"];
        let mut rest = first.split("\nOptions:\n").nth(1).unwrap();
        for option in options {
            rest = rest.split_once(&format!("--{option}")).unwrap_or_else(|| panic!("{option}")).1;
        }
        for heading in ["Heap, memory and stack", "Compilation", "Options of Wasmtime, for scripts"]
        {
            assert_eq!(help.matches(&format!("\n{heading}:\n")).count(), 1, "{heading}");
        }
    }
    assert!(reclaim(&["--version"]).stdout.starts_with("reclaim 0."));
}

#[test]
fn uncaught_exceptions_are_named() {
    let module = &file(
        "exceptions.wat",
        r#"(module
            (tag $named (export "named") (param i32 externref))
            (tag $other (param f64))
            (func (export "a") (throw $named (i32.const 5) (ref.null extern)))
            (func (export "b") (throw $other (f64.const 1.5))))"#,
    );
    reclaim(&[module, "--invoke", "a"])
        .fails(1, &["calling `a()`", "uncaught exception `named`: (exn 5 null)"]);
    reclaim(&[module, "--invoke", "b"]).fails(1, &["uncaught exception `other`: (exn 1.5)"]);
    let nameless = &file(
        "nameless.wat",
        r#"(module (tag (param f64)) (func (export "b") (throw 0 (f64.const 1.5))))"#,
    );
    reclaim(&[nameless, "--invoke", "b"])
        .fails(1, &["uncaught exception of (tag (func (param f64))): (exn 1.5)"]);
}

#[test]
fn traps_say_why_and_where() {
    let lib = &library("traps.wat");
    for collector in COLLECTORS {
        let run =
            |args: &[&str]| reclaim(&[&["run", lib, "--collector", collector], args].concat());
        let trap = run(&["--invoke", "trap"]);
        trap.fails(1, &["calling `trap()`", "`unreachable` instruction executed", "backtrace:\n"]);
        let inner = trap.stderr.find("0: inner").expect(&trap.stderr);
        let outer = trap.stderr.find("1: trap").expect(&trap.stderr);
        assert!(inner < outer);

        run(&["--invoke", "forever", "--max-stack", "256KiB"])
            .fails(1, &["call stack exhausted", "forever", "more frames", "hint: ", "--max-stack"]);
        run(&["--invoke", "fill", "--heap-max", "1MiB"])
            .fails(1, &["GC heap out of memory", "1048576", "hint: ", "--heap-max"]);
    }
    // The results of earlier calls are printed.
    let partly = reclaim(&[lib, "--invoke", "add(1, 2)", "--invoke", "trap()"]);
    assert_eq!((partly.status, &*partly.stdout), (1, "3\n"));
}

#[test]
fn deep_recursion_has_the_stack_it_is_promised() {
    let deep = &file(
        "deep.wat",
        r#"(module (func $f (export "f") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0)))))"#,
    );
    reclaim(&[deep, "--invoke", "f", "1000000", "--max-stack", "256MiB"]).prints("1000000\n");
    reclaim(&[deep, "--invoke", "f", "10000"]).prints("10000\n");
}

#[test]
fn stats_say_what_the_heap_did() {
    let lib = &library("stats.wat");
    for collector in COLLECTORS {
        let run =
            |args: &[&str]| reclaim(&[&["run", lib, "--collector", collector], args].concat());
        let churn = run(&["--stats=json", "--heap-max", "64MiB", "--invoke", "churn", "1000000"]);
        churn.prints("1\n");
        let stats: serde_json::Value = serde_json::from_str(&churn.stderr).unwrap();
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
    let lib = &library("policies.wat");
    let stats = |args: &[&str]| {
        let run = [lib, "--stats=json", "--collector", "copying", "--heap-max", "16MiB"];
        let run = reclaim(&[&run, args, &["--invoke", "churn", "1000000"]].concat());
        run.prints("1\n");
        serde_json::from_str::<serde_json::Value>(&run.stderr).unwrap()
    };
    let fixed = stats(&["--heap-policy", "fixed"]);
    assert_eq!(fixed["heap_bytes"], (16 << 20) - (64 << 10));
    for policy in ["balanced", "throughput", "memory"] {
        let stats = stats(&["--heap-policy", policy, "--gc-slice", "1ms"]);
        assert!(stats["peak_heap_bytes"].as_u64() < Some(12 << 20), "{policy}: {stats}");
    }
    assert!(stats(&["--heap-utilisation", "25%"])["collections"].as_u64() > Some(0));
}

#[test]
fn zeal_collects_at_every_allocation() {
    let lib = &library("zeal.wat");
    let churn = reclaim(&[lib, "--stats=json", "--gc-zeal", "1", "--invoke", "churn", "1000"]);
    churn.prints("1\n");
    let stats: serde_json::Value = serde_json::from_str(&churn.stderr).unwrap();
    assert!(stats["collections"].as_u64().unwrap() >= 1000, "{stats}");
}

#[test]
fn scripts_are_run() {
    let good = &file(
        "good.wast",
        r#"(module (func (export "f") (result i32) (i32.const 1)))
(assert_return (invoke "f") (i32.const 1))
(module (memory 1 1 shared))"#,
    );
    let bad = &file(
        "bad.wast",
        r#"(module (func (export "f") (result i32) (i32.const 1)))
(assert_return (invoke "f") (i32.const 2))"#,
    );
    for collector in COLLECTORS {
        let ran = reclaim(&["wast", good, "--collector", collector]);
        ran.prints(&format!("{good}: 2 passed, 0 failed, 1 skipped\n  1 skipped: needs threads\n"));
        let ran = reclaim(&["wast", good, bad, "nowhere.wast", "--collector", collector]);
        assert_eq!(ran.status, 1);
        for line in [
            &format!("{bad}: 1 passed, 1 failed"),
            &format!("  {bad}:2:2: assert_return: expected (i32.const 2), got (i32.const 1)"),
            "nowhere.wast: 0 passed, 1 failed",
            "3 scripts: 3 passed, 2 failed, 1 skipped",
        ] {
            assert!(ran.stdout.lines().any(|l| l == line), "`{line}` is not in {}", ran.stdout);
        }
    }
}

#[test]
fn functions_are_explored() {
    let lib = &library("explore.wat");
    for collector in COLLECTORS {
        let explore = |args: &[&str]| {
            let ran = reclaim(&[&["explore", lib, "--collector", collector], args].concat());
            assert_eq!(ran.status, 0, "{}", ran.stderr);
            ran.stdout
        };
        let clif = explore(&["--func", "push"]);
        assert!(clif.contains("function ") && clif.contains("block0"), "{clif}");
        let all = explore(&[]);
        assert!(all.len() > clif.len() && all.contains(&clif), "{all}");
        let asm = explore(&["--func", "push", "--emit", "asm"]);
        assert!(asm.contains("ret"), "{asm}");
        assert!(!explore(&["--func", "fill", "--emit", "stack-maps"]).is_empty());
        let checked = explore(&["--func", "push", "--check"]);
        assert_eq!(checked, format!("{clif}checked: roots, barriers, sandbox\n"));
        reclaim(&["explore", lib, "--func", "psh"]).fails(2, &["no function `psh`", "`push`?"]);
    }
}

#[test]
fn types_have_their_names() {
    let module = r#"(module
        (type $node (struct (field $value i32) (field $next (mut (ref null $node)))))
        (type $fn (func (param (ref $node))))
        (global (export "g") (mut (ref null $node)) (ref.null $node))
        (table (export "t") 3 (ref null $fn))
        (func (export "push") (param $n (ref $node)) (param i32) (result (ref null $node))
            (local.get $n)))"#;
    let list = [
        "\n  g: (global (mut (ref null $node)))\n",
        "\n  t: (table 3 (ref null $fn))\n",
        "\n  push: (func (param (ref $node) i32) (result (ref null $node)))\n",
    ];
    let lib = &file("names.wat", module);
    reclaim(&[lib]).fails(2, &list);
    reclaim(&[lib, "--invoke", "pull"]).fails(2, &list);
    reclaim(&[lib, "--invoke", "t"]).fails(2, &["it is (table 3 (ref null $fn))"]);
    reclaim(&[lib, "--invoke", "push"]).fails(2, &["its type is (func (param (ref $node) i32)"]);
    reclaim(&[lib, "--invoke", "push(5, 1)"])
        .fails(2, &["expected a value of type (ref $node), got `5`"]);
    // A module that imports it.
    let user = r#"(module
        (type $tree (struct (field $value i32)))
        (import "lib" "push" (func (param (ref $tree)))) (func (export "_start")))"#;
    let user = &file("names_user.wat", user);
    reclaim(&[user]).fails(1, &["\n  lib.push: (func (param (ref $tree)))"]);
    reclaim(&[user, "--preload", &format!("lib={lib}")])
        .fails(1, &["expected (func (param (ref $tree))), found (func (param (ref (struct "]);
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = reclaim(&["completions", shell]);
        assert_eq!(ran.status, 0);
        for part in ["reclaim", "explore", "bench", "collectors", "runs"] {
            assert!(ran.stdout.contains(part), "{shell}: {part}");
        }
        // Not all shells' completions include values.
        let values = ["bash", "zsh", "fish"].contains(&shell);
        assert_eq!(ran.stdout.contains("generational"), values, "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reclaim"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_cache_keeps_compiled_functions() {
    let add = r#"(module (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))"#;
    let module = &file("cached.wat", add);
    let folder = std::env::temp_dir().join(format!("reclaim-cli-cache-{}", std::process::id()));
    let cache = folder.to_str().unwrap();
    let [plain, cold, warm] = ["plain.elf", "cold.elf", "warm.elf"].map(|name| file(name, ""));
    reclaim(&["compile", module, "-o", &plain]).prints("");
    reclaim(&["compile", module, "-o", &cold, "--cache", cache]).prints("");
    let count = || std::fs::read_dir(&folder).unwrap().count();
    let kept = count();
    assert!(kept > 0);
    reclaim(&["compile", module, "-o", &warm, "--cache", cache]).prints("");
    assert_eq!(count(), kept, "nothing is compiled again");
    let bytes = |path: &String| std::fs::read(path).unwrap();
    assert!(bytes(&plain) == bytes(&cold) && bytes(&plain) == bytes(&warm));
    reclaim(&["run", module, "--cache", cache, "--invoke", "add", "1", "2"]).prints("3\n");
    reclaim(&["run", module, "--cache", &plain, "--invoke", "add", "1", "2"])
        .fails(2, &["`--cache ", "plain.elf`: it is a file, not a folder"]);
    std::fs::remove_dir_all(&folder).unwrap();
}
