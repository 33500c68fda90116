//! The book's table of features says what Wasmtime runs in its default configuration.

use std::path::Path;
use wasmtime::{Engine, Instance, Module, Store};

/// Runs the module of a feature. Whether Wasmtime has the feature.
fn has(text: &str) -> bool {
    let engine = Engine::default();
    let Ok(module) = Module::new(&engine, wat::parse_str(text).unwrap()) else { return false };
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let test = instance.get_typed_func::<(), i32>(&mut store, "test").unwrap();
    assert_eq!(test.call(&mut store, ()).unwrap(), 1);
    true
}

#[test]
fn the_book_says_what_wasmtime_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/src/features.md")).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("tests/features")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // These need a host. This Wasmtime has no threads.
        if text.contains("(import ") || text.contains("shared") {
            continue;
        }
        let title = text.lines().next().and_then(|line| line.strip_prefix(";; ")).unwrap();
        let row = page.lines().find(|line| line.starts_with(&format!("| {title} |"))).unwrap();
        let cell = row.split('|').nth(3).unwrap().trim();
        assert_eq!(has(&text), cell.starts_with("yes"), "{title}: `{cell}`");
        count += 1;
    }
    assert!(count > 15, "only {count} features");
}
