//! Programs that import from hosts, run as a user runs them: those of C in `tests/toolchains`, and
//! small ones of these tests.

use crate::common::programs::toolchain;
use crate::common::{COLLECTORS, Ran, file, reclaim, reclaim_with_input};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A new directory for a test.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[track_caller]
fn is(ran: &Ran, status: i32, stdout: &str, stderr: &str) {
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (status, stdout, stderr));
}

const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "hello\n")
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $proc_exit (i32.const STATUS))))"#;

#[test]
fn a_program_prints_and_ends_itself() {
    for status in [0, 7, 255] {
        let hello =
            &file(&format!("hello_{status}.wat"), HELLO.replace("STATUS", &status.to_string()));
        for collector in COLLECTORS {
            is(&reclaim(&["run", hello, "--collector", collector]), status, "hello\n", "");
        }
        is(&reclaim(&[hello]), status, "hello\n", "");
    }
    // A status that the system cannot pass on is not lost.
    let hello = &file("hello_256.wat", HELLO.replace("STATUS", "256"));
    let ran = reclaim(&[hello]);
    assert_eq!((ran.status, &*ran.stdout), (1, "hello\n"));
    ran.says(&["ended with exit status 256"]);
}

#[test]
fn a_c_program_reads_files_and_input() {
    let wc = &toolchain("c/wc.wasm");
    let dir = directory("wc");
    std::fs::write(dir.join("a.txt"), "one two\nthree\n").unwrap();
    std::fs::write(dir.join("b.txt"), "").unwrap();
    let dir = dir.to_str().unwrap();
    for collector in COLLECTORS {
        let run = |args: &[&str]| {
            let options = ["run", wc, "--collector", collector, "--dir", &format!("{dir}::/in")];
            reclaim(&[&options, args].concat())
        };
        let counted = "2 3 14 /in/a.txt\n0 0 0 /in/b.txt\n";
        is(&run(&["--", "/in/a.txt", "/in/b.txt"]), 0, counted, "");
        is(
            &run(&["--", "/in/c.txt", "/in/a.txt"]),
            1,
            "2 3 14 /in/a.txt\n",
            "wc.wasm: /in/c.txt: No such file or directory\n",
        );
        let input = reclaim_with_input(&["run", wc, "--collector", collector], "a b\n c");
        is(&input, 0, "1 3 6 -\n", "");
    }
    // Without a directory there are no files.
    let ran = reclaim(&["run", wc, "--", "/in/a.txt"]);
    assert_eq!((ran.status, &*ran.stdout), (1, ""));
    reclaim(&[wc, "--dir", "there/is/none"])
        .fails(1, &["opening the directory there/is/none", "No such file"]);
}

#[test]
fn a_c_program_changes_files() {
    let files = &toolchain("c/files.wasm");
    for collector in COLLECTORS {
        let dir = directory(&format!("files_{collector}"));
        std::fs::create_dir(dir.join("open")).unwrap();
        std::fs::write(dir.join("outside"), "outside").unwrap();
        let open = dir.join("open");
        let options = ["--dir", &format!("{}::/d", open.display()), "--env", "GREETING=hello"];
        let args = [&["run", files, "--collector", collector], &options[..], &["--", "/d"]];
        let expected = "\
from the second byte: ello
size 6, a file: 1
4 entries, 2 known
rmdir: Directory not empty
unlink: Is a directory
open: No such file or directory
open ../outside: Operation not permitted
open /etc/passwd: Capabilities insufficient
mkdir: File exists
close: Bad file descriptor
slept at least 5 ms: 1
";
        is(&reclaim(&args.concat()), 42, expected, "");
        assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    }
}

#[test]
fn a_library_is_initialised_before_its_calls() {
    let lib = &toolchain("c/lib.wasm");
    is(&reclaim(&[lib, "--invoke", "add", "2"]), 0, "42\n", "");
    is(&reclaim(&[lib, "--invoke", "add(1)", "--invoke", "add(1)"]), 0, "41\n42\n", "");
    is(&reclaim(&[lib, "--invoke", "_initialize", "--invoke", "add(1)"]), 0, "41\n", "");
    reclaim(&[lib]).fails(2, &["is a library: it exports `_initialize`, but no `_start`"]);
}

#[test]
fn a_moonbit_program_reads_its_arguments() {
    let program =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../gc-hosts/tests/programs/moonbit_args.wat");
    for collector in COLLECTORS {
        let ran = reclaim(&[
            "run",
            program,
            "--collector",
            collector,
            "--env",
            "NAME=v",
            "--",
            "-x",
            "ä😀",
        ]);
        is(&ran, 0, "moonbit_args.wat\n-x\nä😀\nv\n", "");
    }
}

#[test]
fn what_is_printed_comes_before_results() {
    let program = &file(
        "print_then_return.wat",
        r#"(module (import "spectest" "print_char" (func $print (param i32)))
            (func (export "f") (result i32) (call $print (i32.const 0x61)) (i32.const 1)))"#,
    );
    is(&reclaim(&[program, "--invoke", "f"]), 0, "a1\n", "");
}

#[test]
fn arguments_need_somebody_who_reads_them() {
    let start = &file("no_args.wat", r#"(module (func (export "_start")))"#);
    reclaim(&[start, "--", "x"]).fails(2, &["cannot read the argument `x`", "imports no function"]);
    let hello = &file("args_hello.wat", HELLO.replace("STATUS", "0"));
    is(&reclaim(&[hello, "--", "--not-an-option"]), 0, "hello\n", "");
}

#[test]
fn what_a_preloaded_file_lacks_is_named() {
    let lib = file("lacks_lib.wat", r#"(module (func (export "g")))"#);
    let main =
        &file("lacks.wat", r#"(module (import "x" "f" (func)) (func (export "_start") (call 0)))"#);
    let preload = format!("x={lib}");
    reclaim(&[main, "--preload", &preload])
        .fails(1, &["x.f: (func)", &format!("({lib} does not export it)")]);
    reclaim(&[main, "--preload", &preload, "--preload", &preload]).fails(2, &["given twice"]);
}

#[test]
fn unsupported_proposals_are_named() {
    for (text, proposal) in [
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (type $f (func)) (type (cont $f)))", "stack-switching"),
    ] {
        let module = file("unsupported.wat", text);
        reclaim(&[&module]).fails(1, &[&format!("not supported: the proposal {proposal}")]);
    }
}

#[test]
fn hosts_are_chosen() {
    let hello = &file("chosen.wat", HELLO.replace("STATUS", "0"));
    is(&reclaim(&[hello, "--host", "wasi"]), 0, "hello\n", "");
    is(&reclaim(&[hello, "--host", "moonbit,wasi"]), 0, "hello\n", "");
    for (host, both) in [("none", "--host wasi"), ("moonbit", "--host moonbit,wasi")] {
        reclaim(&[hello, "--host", host]).fails(
            1,
            &[
                "does not provide",
                "wasi_snapshot_preview1.fd_write: (func (param i32 i32 i32 i32) (result i32)) \
                 (host module `wasi` has it)\n",
                &format!("hint: `{both}` provides what host modules have, `--preload NAME=FILE`"),
                "--unknown-imports trap",
            ],
        );
    }
    reclaim(&[hello, "--host", "none,wasi"]).fails(2, &["goes with no other"]);
    reclaim(&[hello, "--host", "wsi"])
        .fails(2, &["possible values: wasi, js-string, moonbit, hoot, j2cl, assemblyscript, none"]);
    let unknown = &file(
        "unknown_function.wat",
        r#"(module (import "wasi_snapshot_preview1" "fd_fly" (func))
            (import "env" "f" (func)) (func (export "_start")))"#,
    );
    let ran = reclaim(&[unknown]);
    ran.fails(1, &["fd_fly: (func) (host module `wasi` does not have it)", "env.f: (func)\n"]);
    let other = &file(
        "unknown_wasi.wat",
        r#"(module (import "wasi_unstable" "fd_close" (func)) (import "wasi:cli/run" "run" (func))
            (import "wasi" "thread-spawn" (func)) (func (export "_start")))"#,
    );
    reclaim(&[other]).fails(
        1,
        &[
            "fd_close: (func) (not supported: WASI preview 0)\n",
            "run: (func) (not supported: WASI 0.2 and later, which are for components)\n",
            "thread-spawn: (func) (not supported: threads of WASI)\n",
        ],
    );
    let scheme = &file(
        "unknown_of_hoot.wat",
        r#"(module (import "rt" "async_invoke" (func (param externref)))
            (import "rt" "fsin" (func (param f64) (result f64))) (func (export "_start")))"#,
    );
    let missing = "rt.async_invoke: (func (param externref)) (host module `hoot` does not have it)";
    reclaim(&[scheme]).fails(1, &[missing]);
    let there = "rt.fsin: (func (param f64) (result f64)) (host module `hoot` has it)";
    reclaim(&[scheme, "--host", "none"]).fails(1, &[missing, there, "hint: `--host hoot`"]);
    // A function of a host with another type.
    let wrong = &file(
        "wrong_type_of_hoot.wat",
        r#"(module (import "rt" "fsin" (func (param f32) (result f64)))
            (func (export "_start")))"#,
    );
    reclaim(&[wrong]).fails(1, &["incompatible import type", "fsin"]);
    let wrong = &file(
        "wrong_type.wat",
        r#"(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64)))
            (func (export "_start")))"#,
    );
    reclaim(&[wrong]).fails(1, &["incompatible import type", "fd_close"]);
}

#[test]
fn variables_of_the_environment() {
    let hello = &file("variables.wat", HELLO.replace("STATUS", "0"));
    reclaim(&[hello, "--env", "=3"]).fails(2, &["`--env =3`: expected NAME or NAME=VALUE"]);
    let count = &file(
        "count_variables.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "environ_sizes_get"
                (func $sizes (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "count") (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (i32.load (i32.const 0))))"#,
    );
    let args = [count, "--env", "A=1", "--env", "B=1", "--env", "A=2", "--invoke", "count"];
    reclaim(&args).prints("2\n");
}

#[test]
fn a_caller_of_wasi_needs_a_memory() {
    let program = &file(
        "no_memory.wat",
        r#"(module (import "wasi_snapshot_preview1" "fd_close" (func $f (param i32) (result i32)))
            (func (export "_start") (drop (call $f (i32.const 0)))))"#,
    );
    reclaim(&[program]).fails(1, &["must export its memory as `memory`"]);
}

#[test]
fn unknown_imports_trap_or_do_nothing() {
    let program = &file(
        "unknown_imports.wat",
        r#"(module
            (import "env" "f" (func $f (param i32) (result i64)))
            (import "env" "g" (global $g f32))
            (import "env" "m" (memory 1))
            (import "env" "t" (table 2 funcref))
            (func (export "calls") (result i64) (call $f (i32.const 1)))
            (func (export "reads") (result f32 i32 i32)
                (global.get $g) (i32.load (i32.const 0)) (table.size 0)))"#,
    );
    let run = |args: &[&str]| reclaim(&[&["run", program], args].concat());
    run(&["--invoke", "calls"]).fails(1, &["does not provide", "env.m: (memory 1)"]);
    // Only functions can trap.
    run(&["--invoke", "calls", "--unknown-imports", "trap"]).fails(
        1,
        &["does not provide:\n  env.g: (global f32)\n", "`--unknown-imports default` runs"],
    );
    run(&["--invoke", "calls", "--unknown-imports", "default"]).prints("0\n");
    run(&["--invoke", "reads", "--unknown-imports", "default"]).prints("0.0\n0\n2\n");
    let functions = &file(
        "unknown_functions.wat",
        r#"(module (import "env" "f" (func $f (result (ref any))))
            (func (export "one") (result i32) (i32.const 1))
            (func (export "calls") (drop (call $f))))"#,
    );
    let trap = ["run", functions, "--unknown-imports", "trap", "--invoke"];
    reclaim(&[&trap[..], &["one"]].concat()).prints("1\n");
    reclaim(&[&trap[..], &["calls"]].concat()).fails(1, &["unknown import: `env::f` of type"]);
    // There is no default for its result.
    let default = ["run", functions, "--unknown-imports", "default", "--invoke"];
    reclaim(&[&default[..], &["one"]].concat()).prints("1\n");
    reclaim(&[&default[..], &["calls"]].concat()).fails(1, &["unknown import: `env::f`"]);
}

#[test]
fn modules_are_preloaded() {
    let list = &file(
        "preloaded_list.wat",
        r#"(module
            (type $node (struct (field i32) (field (ref null $node))))
            (global $list (mut (ref null $node)) (ref.null $node))
            (func (export "_initialize") (global.set $list (struct.new $node (i32.const 5) (ref.null $node))))
            (func (export "push") (param i32)
                (global.set $list (struct.new $node (local.get 0) (global.get $list))))
            (func (export "first") (result i32) (struct.get $node 0 (global.get $list))))"#,
    );
    let twice = &file(
        "preloaded_twice.wat",
        r#"(module (import "list" "first" (func $first (result i32)))
            (func (export "twice") (result i32) (i32.add (call $first) (call $first))))"#,
    );
    let main = &file(
        "preloading.wat",
        r#"(module
            (import "list" "push" (func $push (param i32)))
            (import "two" "twice" (func $twice (result i32)))
            (func (export "run") (param i32) (result i32) (call $push (local.get 0)) (call $twice))
            (func (export "old") (result i32) (call $twice)))"#,
    );
    let (list_, two) = (format!("list={list}"), format!("two={twice}"));
    for collector in COLLECTORS {
        let options = ["run", main, "--collector", collector, "--preload", &list_, "--preload"];
        let options = [&options[..], &[&two, "--invoke"]].concat();
        reclaim(&[&options[..], &["run", "21"]].concat()).prints("42\n");
        // `_initialize` of the library ran.
        reclaim(&[&options[..], &["old"]].concat()).prints("10\n");
    }
    reclaim(&["run", main, "--preload", &two, "--preload", &list_, "--invoke", "old"])
        .fails(1, &["preloading", "preloaded_twice.wat", "list.first: (func (result i32))"]);
    reclaim(&["run", main, "--preload", "list", "--invoke", "old"])
        .fails(2, &["`--preload list`: expected NAME=FILE"]);
    reclaim(&["run", main, "--preload", "list=no/such.wasm", "--invoke", "old"])
        .fails(1, &["no/such.wasm"]);
    // A module can stand for a host.
    let shim = &file(
        "shim.wat",
        r#"(module (func (export "fd_write") (param i32 i32 i32 i32) (result i32) (i32.const 8)))"#,
    );
    let hello = &file("shimmed.wat", HELLO.replace("STATUS", "3"));
    let shim = &format!("wasi_snapshot_preview1={shim}");
    is(&reclaim(&[hello, "--preload", shim]), 3, "", "");
}

#[test]
fn programs_with_hosts_are_timed() {
    let program = &file(
        "timed.wat",
        r#"(module (import "spectest" "print_char" (func $print (param i32)))
            (func (export "_start") (call $print (i32.const 0x61))))"#,
    );
    let ran = reclaim(&["bench", program, "--runs", "2"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("generational"), "{}", ran.stdout);
    // A program that ends itself has run, unless it says that it failed.
    let hello = &file("timed_hello.wat", HELLO.replace("STATUS", "0"));
    assert_eq!(reclaim(&["bench", hello, "--runs", "2"]).status, 0);
    let hello = &file("timed_failure.wat", HELLO.replace("STATUS", "3"));
    let ran = reclaim(&["bench", hello, "--runs", "2"]);
    assert_eq!(ran.status, 1);
    ran.says(&["run 1\n", "ended with exit status 3"]);
}

#[test]
fn scripts_collect_on_demand() {
    let script = &file(
        "collects.wast",
        r#"(module
            (import "reclaim" "gc" (func $gc))
            (type $box (struct (field i32)))
            (func (export "keep") (result i32) (local $box (ref $box))
                (local.set $box (struct.new $box (i32.const 7)))
                (call $gc)
                (struct.get $box 0 (local.get $box))))
        (assert_return (invoke "keep") (i32.const 7))"#,
    );
    for collector in COLLECTORS {
        reclaim(&["wast", script, "--collector", collector])
            .prints(&format!("{script}: 2 passed, 0 failed\n"));
    }
}

#[test]
fn calls_after_the_end_of_a_program_are_named() {
    let text = HELLO.replace("\"_start\"", "\"end\"").replace("STATUS", "0");
    let program = &file("ends_early.wat", text);
    let ran = reclaim(&["run", program, "--invoke", "end", "--invoke", "end()"]);
    is(&ran, 0, "hello\n", "`end()` ended the program: `end()` was not called\n");
}

#[test]
fn a_name_is_given_to_one_directory() {
    let program = &file("two_dirs.wat", HELLO.replace("STATUS", "0"));
    reclaim(&["run", program, "--dir", ".::x", "--dir", "/::x"])
        .fails(2, &["`--dir …::x` is given twice"]);
}

#[test]
fn variables_and_arguments_are_text() {
    let program = &file("not_text.wat", HELLO.replace("STATUS", "0"));
    let run = |args: &[&OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reclaim"));
        command.env("NOT_TEXT", OsStr::from_bytes(b"a\xff"));
        let ran = command.arg("run").arg(program).args(args).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    let [env, inherit, none] = ["--env", "-Sinherit-env", "--"].map(OsStr::new);
    for (args, says) in [
        (
            &[env, OsStr::new("NOT_TEXT")][..],
            "`--env NOT_TEXT`: the variable `NOT_TEXT` is not text",
        ),
        (&[inherit], "`-S inherit-env`: the variable `NOT_TEXT` is not text in UTF-8"),
        (&[env, OsStr::from_bytes(b"A=\xff")], "'--env <NAME[=VALUE]>': it is not text in UTF-8"),
        (&[none, OsStr::from_bytes(b"\xff")], "for '[ARGS]...': it is not text in UTF-8"),
    ] {
        let (status, stderr) = run(args);
        assert!(status == 2 && stderr.contains(says), "{args:?}: {stderr}");
    }
    // A variable that there is not is left out.
    assert_eq!(run(&[env, OsStr::new("NOT_THERE")]), (0, String::new()));
}

#[test]
fn a_device_as_input_is_no_terminal() {
    let module = &file(
        "stdin.wat",
        r#"(module (import "wasi_snapshot_preview1" "fd_fdstat_get"
                (func $stat (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "type") (result i32 i64)
                (drop (call $stat (i32.const 0) (i32.const 64)))
                (i32.load8_u (i32.const 64))
                (i64.and (i64.load (i32.const 72)) (i64.const 0x24))))"#,
    );
    let text = Path::new(module).to_owned();
    // A terminal is a character device without a position.
    for (input, ty) in [
        (Path::new("/dev/null"), 0),
        (Path::new("/dev/zero"), 0),
        (Path::new("/dev/ptmx"), 2),
        (&text, 4),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reclaim"));
        command.args([module, "--invoke", "type"]).stdin(File::open(input).unwrap());
        let ran = command.output().unwrap();
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(printed, format!("{ty}\n0\n"), "{}", input.display());
    }
    // Neither is a pipe.
    reclaim(&[module, "--invoke", "type"]).prints("0\n0\n");
}
