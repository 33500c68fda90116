//! `reclaim run --profile`: the files that Linux `perf` reads.

use crate::common::file;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program in a folder, and returns the number of its process.
fn run(module: &str, folder: &Path, format: &str) -> u32 {
    let child = Command::new(env!("CARGO_BIN_EXE_reclaim"))
        .args(["run", module, "--invoke", "main", "7", "--inlining", "off", "--profile", format])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"49\n");
    process
}

fn program(test: &str) -> String {
    let text = r#"(module
        (func $main (export "main") (param i32) (result i32) (call $square (local.get 0)))
        (func $square (param i32) (result i32) (i32.mul (local.get 0) (local.get 0))))"#;
    file(&format!("profile_{test}.wat"), text)
}

fn folder(test: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("profile_{test}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_map_names_the_functions() {
    let process = run(&program("map"), &folder("map"), "perf");
    let path = format!("/tmp/perf-{process}.map");
    let map = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut end = 0;
    let mut names = Vec::new();
    for line in map.lines() {
        let (address, rest) = line.split_once(' ').unwrap();
        let (size, name) = rest.split_once(' ').unwrap();
        let [address, size] = [address, size].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        assert!(address >= end && size > 0, "{map}");
        end = address + size;
        names.push(name);
    }
    assert_eq!(names[..2], ["main", "square"]);
    assert!(names[2..].iter().all(|name| name.starts_with('[')), "{names:?}");
    assert!(names.contains(&"[entry (i32) -> (i32)]"), "{names:?}");
}

#[test]
fn a_dump_and_its_text_are_in_the_current_directory() {
    let folder = folder("dump");
    let process = run(&program("dump"), &folder, "jitdump");
    let dump = folder.join(format!("jit-{process}.dump"));
    let text = folder.join(format!("jit-{process}-1.wat"));
    let bytes = std::fs::read(&dump).unwrap();
    assert!(bytes.starts_with(b"DTiJ"));
    for name in ["main", "square"] {
        let name = [name.as_bytes(), b"\0"].concat();
        assert!(bytes.windows(name.len()).any(|part| part == name));
    }
    assert!(std::fs::read_to_string(&text).unwrap().contains("i32.mul"));
    std::fs::remove_file(dump).unwrap();
    std::fs::remove_file(text).unwrap();
}
