//! Modules that shipped toolchains made: the project's own, and those in a folder beside it.

use super::file;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A program that a toolchain made from the source beside it.
pub fn toolchain(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/toolchains");
    folder.join(path).to_str().unwrap().to_owned()
}

/// The folder of shipped toolchains' programs, in a folder beside the project or further out.
fn shared_programs() -> Option<PathBuf> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(3);
    folders.map(|folder| folder.join("shared/programs")).find(|folder| folder.is_dir())
}

/// A case of a shared program: the options, and the result that is the last line of its output.
pub struct Case {
    pub module: String,
    pub options: Vec<String>,
    pub result: String,
}

/// The cases of the shared programs whose names begin so. `None`, with a loud message, without the
/// folder.
pub fn cases(toolchain: &str) -> Option<Vec<Case>> {
    let Some(folder) = shared_programs() else {
        eprintln!("\n!!! NOT TESTED: the programs of shipped toolchains: there is no folder\n");
        return None;
    };
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with(toolchain) || path.extension().is_none_or(|ext| ext != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let program: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let module = path.with_file_name(text(&program["module"]).unwrap());
        for case in program["cases"].as_array().unwrap() {
            let args = case["args"].as_array().unwrap().iter().map(ToString::to_string);
            let args: Vec<String> = args.collect();
            let mut options = Vec::new();
            if let Some(init) = text(&program["init"]) {
                options.extend(["--invoke".to_owned(), init]);
            }
            let entry = text(&program["entry"]).unwrap();
            if program["result_from"].is_string() {
                let host = host(&name, &args[0]);
                options.extend(["--preload".to_owned(), format!("host={host}")]);
                options.extend(["--invoke".to_owned(), entry]);
            } else {
                let call = format!("{entry}({})", args.join(", "));
                options.extend(["--invoke".to_owned(), call]);
            }
            let result = text(&case["expected"]["result"]).unwrap();
            cases.push(Case { module: module.to_str().unwrap().to_owned(), options, result });
        }
    }
    assert!(!cases.is_empty(), "there are programs of {toolchain}");
    Some(cases)
}

/// A module for `--preload` whose `arg` returns a number, and whose `result` prints one in a line.
fn host(program: &str, arg: &str) -> String {
    let text = r#"(module
        (import "spectest" "print_char" (func $print (param i32)))
        (func (export "arg") (result i32) (i32.const ARG))
        (func $digits (param $n i32)
            (if (i32.ge_u (local.get $n) (i32.const 10))
                (then (call $digits (i32.div_u (local.get $n) (i32.const 10)))))
            (call $print
                (i32.add (i32.const 0x30) (i32.rem_u (local.get $n) (i32.const 10)))))
        (func (export "result") (param $n i32)
            (if (i32.lt_s (local.get $n) (i32.const 0))
                (then (call $print (i32.const 0x2d))
                    (local.set $n (i32.sub (i32.const 0) (local.get $n)))))
            (call $digits (local.get $n))
            (call $print (i32.const 0x0a))))"#;
    file(&format!("host_{program}_{arg}.wat"), text.replace("ARG", arg))
}
