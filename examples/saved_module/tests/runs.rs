//! Tests of the example: functions with and without an argument, and wrong arguments.

use gc_wasm::{Config, Engine, Module};
use std::path::Path;
use std::process::{Command, Output};

fn saved_module(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saved_module"));
    command.args(args).output().expect("the example starts")
}

#[track_caller]
fn prints(args: &[&str], expected: &str) {
    let output = saved_module(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{args:?}");
}

#[track_caller]
fn fails(args: &[&str], expected: &str) {
    let output = saved_module(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(errors.contains(expected), "{args:?}: {errors}");
}

#[test]
fn the_number_is_optional() {
    let wat = r#"(module
        (func (export "two") (result i32) (i32.const 2))
        (func (export "next") (param i32) (result i32)
            (i32.add (local.get 0) (i32.const 1))))"#;
    let engine = Engine::new(Config::new().interruptible(true)).expect("an engine");
    let saved = Module::new(&engine, wat).and_then(|module| module.serialize());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("two.elf");
    std::fs::write(&file, saved.expect("a saved module")).expect("the file is written");
    let file = file.to_str().expect("the path is text");
    prints(&[file, "two"], "2");
    prints(&[file, "next", "-5"], "-4");
    fails(&[file, "next", "five"], "NUMBER must be a number");
    fails(&[file, "next"], "next");
    let usage = "usage: saved_module FILE FUNCTION [NUMBER [COLLECTOR]]";
    fails(&[file, "next", "1", "generational", "2"], usage);
    fails(&[file], usage);
    fails(&[], usage);
    prints(&[file, "next", "1", "generational"], "2");
    fails(&[file, "next", "1", "copying"], "copying");
    fails(&[file, "next", "1", "none"], "none");
}
