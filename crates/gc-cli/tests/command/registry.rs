//! A copy of the command with a collector from outside.

use gc_cli::registry::Registry;
use gc_compiler::GcCompiler;
use gc_runtime::collector::NullCollector;
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_wasm::{Collector, Reclaims};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

const NAME: &str = "foreign";

/// The heaps of `null` under another name.
struct Heaps;

impl GcRuntime for Heaps {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "tests alone"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        NullCollector.new_gc_heap(memory)
    }
}

/// The code of `null`, which consists of the provided methods.
struct Code;

impl GcCompiler for Code {
    fn name(&self) -> &'static str {
        NAME
    }
}

fn collectors() -> Vec<Collector> {
    let foreign = Collector::new(Arc::new(Heaps), Arc::new(Code)).unwrap();
    vec![foreign, Collector::null()]
}

fn reclaim(args: &[&str]) -> ExitCode {
    let args = ["reclaim"].iter().chain(args).map(OsString::from);
    gc_cli::main_with(args, collectors())
}

fn module() -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("registry.wat");
    let text = r#"(module (type $s (struct (field i32)))
        (func (export "get") (param i32) (result i32)
            (struct.get $s 0 (struct.new $s (local.get 0)))))"#;
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_is_run_like_ours() {
    let module = &module();
    for name in [&["--collector", NAME][..], &["--collector", "null"], &[]] {
        let args = [&["run", module, "--invoke", "get", "7"], name].concat();
        assert_eq!(reclaim(&args), ExitCode::SUCCESS, "{args:?}");
        let args = [&[module, "--invoke", "get", "7"], name].concat();
        assert_eq!(reclaim(&args), ExitCode::SUCCESS, "{args:?}");
        let args = [&["explore", module], name].concat();
        assert_eq!(reclaim(&args), ExitCode::SUCCESS, "{args:?}");
    }
    // A collector that this copy does not have.
    let drc = ["run", module, "--invoke", "get", "7", "--collector", "drc"];
    assert_eq!(reclaim(&drc), ExitCode::from(2));
}

#[test]
fn it_is_listed_like_ours() {
    let registry = Registry::new(collectors()).unwrap();
    assert_eq!(registry.default_collector().name(), NAME);
    let mut grammar = gc_cli::grammar(&registry);
    for command in ["run", "wast", "explore"] {
        let help = grammar.find_subcommand_mut(command).unwrap().render_long_help().to_string();
        assert!(help.contains("foreign: for tests alone"), "{help}");
        assert!(help.contains("[default: foreign]") && !help.contains("drc"), "{help}");
    }
    let foreign = registry.choose(NAME, "--collector").unwrap();
    assert_eq!((foreign.moves_objects(), foreign.reclaims()), (true, Reclaims::Everything));
}

#[test]
fn lists_that_are_none_are_errors() {
    for collectors in [Vec::new(), vec![Collector::null(), Collector::null()]] {
        let args = ["reclaim", "--help"].map(OsString::from);
        assert_eq!(gc_cli::main_with(args, collectors), ExitCode::FAILURE);
    }
}
