//! Programs that do not end by themselves: `--timeout` and Ctrl-C end them.

use crate::common::{COLLECTORS, Ran, file, reclaim};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LOOP: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "begin\n")
    (func $hang (loop (br 0)))
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $hang)))"#;

/// Programs that wait in a host function: for a character, for two, for a day, and for a reader of
/// what they print.
const WAITS: [(&str, &str); 4] = [
    (
        "fd_read",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read"
                (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\06\00\00\00")
            (func (export "_start") (loop
                (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br 0))))"#,
    ),
    (
        "read_char",
        r#"(module
            (import "spectest" "read_char" (func $read_char (result i32)))
            (func (export "_start") (drop (call $read_char))))"#,
    ),
    (
        "poll_oneoff",
        r#"(module
            (import "wasi_snapshot_preview1" "poll_oneoff"
                (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 86400000000000))
                (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
                (loop (br 0))))"#,
    ),
    (
        "fd_write",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 0) "\10\00\00\00\00\00\01\00")
            (func (export "_start") (loop
                (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br 0))))"#,
    ),
];

/// The command, which runs. It does not outlive a test that fails.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins to run the command. Its streams stay open. It does not ignore Ctrl-C, even if the tests
/// run in the background of a shell and do.
fn begin(args: &[&str]) -> Running {
    let child = Command::new("env")
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_reclaim")])
        .args(args)
        .env_remove("RECLAIM_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running(child)
}

/// Waits for the command, without reading what it prints and without closing its input.
fn end(Running(child): &mut Running) -> Ran {
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().expect("not ended by a signal");
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it hangs");
        thread::sleep(Duration::from_millis(5));
    };
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { status, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr }
}

/// Presses Ctrl-C.
fn interrupt(Running(child): &Running) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Checks all cases at the same time. A time must be long enough for a program to begin on a machine
/// that is busy.
fn each<T: Send + 'static>(cases: [T; 4], check: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

#[test]
fn a_timeout_ends_a_loop_with_a_backtrace() {
    let hang = &file("hang.wat", LOOP);
    each(COLLECTORS, |collector| {
        let ran = reclaim(&[hang, "--timeout", "3s", "--collector", collector]);
        assert_eq!((ran.status, &*ran.stdout), (124, "begin\n"), "{}", ran.stderr);
        ran.says(&[
            "error: not finished after 3s (`--timeout`)\n  caused by: calling `_start()`",
            "interrupt\nwasm backtrace:\n   0: hang at 0x",
            "\n   1: _start at 0x",
        ]);
    });
}

#[test]
fn a_timeout_ends_a_program_that_waits() {
    each(WAITS, |(name, text)| {
        let program = &file(&format!("waits_{name}.wat"), text);
        let mut child = begin(&["run", program, "--timeout", "3s"]);
        let ran = end(&mut child);
        assert_eq!(ran.status, 124, "{name}: {}", ran.stderr);
        ran.says(&["error: not finished after 3s (`--timeout`)", "interrupt", "_start at 0x"]);
    });
}

/// A program that takes long to compile. It is binary, because to parse its text takes long too.
fn long(name: &str) -> String {
    // Each function is compiled in a short time, because a function that is being compiled is finished.
    let casts = "(drop (ref.cast (ref $s) (global.get $g)))".repeat(60);
    let functions = format!("(func {casts})").repeat(5_000);
    let types = "(type $s (sub (struct))) (global $g (mut anyref) (ref.null any))";
    let text = format!(r#"(module {types} (func (export "_start")) {functions})"#);
    file(name, wat::parse_str(text).unwrap())
}

#[test]
fn a_timeout_ends_a_compilation() {
    let long = &long("long.wasm");
    let out = &format!("{long}.elf");
    for args in [&["run", long][..], &["compile", long, "-o", out], &["bench", long]] {
        let ran = reclaim(&[args, &["--timeout", "3s"]].concat());
        ran.fails(
            124,
            &["error: ", "not finished after 3s (`--timeout`)\n  caused by: compiling "],
        );
        ran.says(&["long.wasm\n  caused by: function ", "the compilation was cancelled"]);
    }
    assert!(!std::path::Path::new(out).exists());
}

#[test]
fn control_c_ends_a_compilation() {
    let mut child = begin(&["run", &long("long_c.wasm")]);
    thread::sleep(Duration::from_secs(3));
    interrupt(&child);
    let ran = end(&mut child);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    ran.says(&["error: interrupted by Ctrl-C\n  caused by: compiling ", "caused by: function "]);
}

#[test]
fn control_c_ends_a_loop_with_a_backtrace() {
    let hang = &file("hang_c.wat", LOOP);
    let mut child = begin(&["run", hang]);
    // The program runs.
    let mut line = String::new();
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    child.0.stdout = Some(stdout.into_inner());
    interrupt(&child);
    let ran = end(&mut child);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    ran.says(&["error: interrupted by Ctrl-C", "wasm backtrace:\n   0: hang at 0x"]);
}

#[test]
fn control_c_ends_a_program_that_waits() {
    let program = &file("waits_c.wat", WAITS[0].1);
    let mut child = begin(&["run", program]);
    // If it has not begun to wait by then, it is ended before it does.
    thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    let ran = end(&mut child);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    ran.says(&["error: interrupted by Ctrl-C"]);
}
