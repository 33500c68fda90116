//! The functions of all programs in all their forms: marks change no code, and each range of code has
//! an operator.

use anyhow::{Context, Result};
use cranelift_codegen::ir::{self, InstBuilder};
use gc_compiler::{GcCompiler, GcEmitter, RefPlace, trap_code};
use gc_runtime::collector::NullCollector;
use gc_wasm::explore::{ClifMark, Part, machine_code, sides};
use gc_wasm::{Collector, Config, Engine, Trap};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

#[test]
fn marks_change_no_code() -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    for folder in ["filetests", "programs"] {
        for entry in std::fs::read_dir(tests.join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "wat") {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            for collector in Collector::all() {
                let config = Config::new().collector(collector.clone()).interruptible(true).clone();
                let engine = Engine::new(&config)?;
                let place = || format!("{}, {}", path.display(), collector.name());
                let shown = sides(&engine, &bytes, None).with_context(place)?;
                let plain = machine_code(&engine, &bytes, None)?;
                assert_eq!(shown.len(), plain.len());
                for (shown, plain) in shown.iter().zip(&plain) {
                    assert_eq!(shown.machine.code, plain.code);
                    assert_eq!(shown.machine.stack_maps, plain.stack_maps);
                    // Ranges of one operator may be split by their parts.
                    let offsets = |locations: &[(u32, u32, u32)]| -> BTreeSet<u32> {
                        locations.iter().map(|(_, _, offset)| *offset).collect()
                    };
                    assert_eq!(offsets(&shown.machine.locations), offsets(&plain.locations));
                }
            }
        }
    }
    Ok(())
}

/// The parts of the machine code of a function with this body, which has two lists and a table.
fn parts(collector: Collector, body: &str) -> Result<BTreeSet<&'static str>> {
    let wat = format!(
        "(module
            (type $list (struct (field $next (mut (ref null $list)))))
            (table $t 1 (ref null $list)) (export \"t\" (table $t))
            (table $fixed 1 (ref null $list))
            (func $f (param $a (ref $list)) (param $b (ref null $list)) {body}))"
    );
    let engine = Engine::new(Config::new().collector(collector))?;
    let sides = sides(&engine, wat.as_bytes(), Some("f"))?;
    let parts = sides[0].parts.iter().filter_map(|(_, _, part)| match part {
        Part::Operator => None,
        Part::Allocation => Some("allocation"),
        Part::ReadBarrier => Some("read"),
        Part::WriteBarrier => Some("write"),
    });
    let parts: BTreeSet<_> = parts.collect();
    // The CLIF has what the machine code has.
    let clif: BTreeSet<Part> = sides[0].clif.iter().map(|line| line.part).collect();
    assert!(sides[0].parts.iter().all(|(_, _, part)| clif.contains(part)), "{clif:?}");
    Ok(parts)
}

/// `null` with a read barrier: a test of the loaded reference.
struct Reading;

impl GcCompiler for Reading {
    fn name(&self) -> &'static str {
        "null"
    }

    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        let value = e.load_ref(place);
        let bit = e.builder.ins().band_imm_u(value, 2);
        e.builder.ins().trapnz(bit, trap_code(Trap::UnreachableCodeReached));
        e.declare_ref(value)
    }
}

fn reading() -> Result<Collector> {
    Collector::new(Arc::new(NullCollector), Arc::new(Reading))
}

#[test]
fn barriers_are_those_of_the_collector() -> Result<()> {
    let store = "(struct.set $list $next (local.get $a) (local.get $b))";
    let load = "(struct.get $list $next (local.get $a)) (drop)";
    let keep = "(table.set $t (i32.const 0) (struct.get $list $next (local.get $a)))";
    let keep_fixed = "(table.set $fixed (i32.const 0) (struct.get $list $next (local.get $a)))";
    let make = "(drop (struct.new $list (local.get $b)))";
    for collector in [Collector::null(), Collector::copying()] {
        for body in [store, load, keep] {
            assert!(parts(collector.clone(), body)?.is_empty(), "{body}");
        }
    }
    for (collector, body, expected) in [
        (Collector::generational(), store, &["write"][..]),
        (Collector::generational(), load, &[]),
        (Collector::generational(), keep, &["write"]),
        (Collector::generational(), keep_fixed, &[]),
        (Collector::drc(), keep_fixed, &["write"]),
        (Collector::generational(), make, &["allocation"]),
        (Collector::copying(), make, &["allocation"]),
        (Collector::drc(), keep, &["write"]),
        (reading()?, load, &["read"]),
        (reading()?, store, &[]),
    ] {
        let found: Vec<_> = parts(collector.clone(), body)?.into_iter().collect();
        assert_eq!(found, expected, "{}: {body}", collector.name());
    }
    Ok(())
}

#[test]
fn calls_are_marked_where_a_collection_may_run() -> Result<()> {
    let wat = r#"(module
        (type $list (struct (field (ref null $list))))
        (import "host" "call" (func $call))
        (func $f (param $a (ref null $list)) (result (ref $list))
            (call $call) (struct.new $list (local.get $a)))
        (func $tail (return_call $tail)))"#;
    let engine = Engine::new(&Config::new())?;
    let sides = sides(&engine, wat.as_bytes(), None)?;
    let count =
        |n: usize, mark| sides[n].clif.iter().filter(|line| line.mark == Some(mark)).count();
    assert_eq!(count(0, ClifMark::Safepoint), 2);
    assert!(count(0, ClifMark::Spill) > 0);
    assert_eq!(count(1, ClifMark::Safepoint), 0);
    Ok(())
}
