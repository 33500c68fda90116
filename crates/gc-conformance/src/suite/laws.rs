//! The laws of barriers: for each kind of store whose code has a barrier, the checkers must notice if it is missing
//! ([`barrier_laws`](GcCompiler::barrier_laws)). Otherwise no checker finds a store that the collector does not see.

use super::{failed, trial_name};
use anyhow::{Context, Result, ensure};
use cranelift_codegen::ir;
use gc_compiler::{GcCompiler, GcEmitter, RefPlace, Trust};
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_testkit::trials::trial;
use gc_types::CollectorAbi;
use gc_wasm::explore::{check, machine_code};
use gc_wasm::{Collector, Config, Engine, HeapBounds};
use libtest_mimic::Trial;
use std::sync::Arc;

/// What is stored, and a function that does so.
const STORES: [(&str, &str); 7] = [
    ("a field", "(struct.set $s 0 (local.get $s) (local.get $ref))"),
    ("an element", "(array.set $a (local.get $a) (local.get $n) (local.get $ref))"),
    ("a field of a new object", "(drop (struct.new $s (local.get $ref)))"),
    ("all elements of a new array", "(drop (array.new $a (local.get $ref) (local.get $n)))"),
    ("some elements of a new array", "(drop (array.new_fixed $a 1 (local.get $ref)))"),
    ("a global", "(global.set $g (local.get $ref))"),
    ("an element of a table", "(table.set $t (local.get $n) (local.get $ref))"),
];

/// A trial for each kind of store, for each of `collectors`.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for collector in collectors {
        for (what, code) in STORES {
            let name = format!("a_missing_barrier_is_noticed/{}", what.replace(' ', "_"));
            let name = trial_name(&name, collector, HeapBounds::Guarded, false);
            let collector = collector.clone();
            trials.push(trial(name, move || is_noticed(&collector, what, code).map_err(failed)));
        }
    }
    trials
}

fn is_noticed(collector: &Collector, what: &str, code: &str) -> Result<()> {
    let text = format!(
        "(module
            (type $s (struct (field (mut anyref))))
            (type $a (array (mut anyref)))
            (global $g (mut anyref) (ref.null any))
            (table $t 0 anyref)
            (func (export \"store\")
                (param $s (ref null $s)) (param $a (ref null $a)) (param $n i32) (param $ref anyref)
                {code}))"
    );
    let wasm = text.as_bytes();
    let without = WithoutBarriers(collector.clone());
    let without = Collector::new(Arc::new(without.clone()), Arc::new(without))?;
    let engine = |collector: &Collector| Engine::new(Config::new().collector(collector.clone()));
    let (with, without) = (engine(collector)?, engine(&without)?);
    let broken = |engine: &Engine| -> Result<Option<String>> {
        let checked = check(engine, wasm, None)?;
        Ok(checked.into_iter().next().context("one function")?.broken)
    };
    let bytes = |engine: &Engine| -> Result<Vec<u8>> {
        Ok(machine_code(engine, wasm, None)?.into_iter().next().context("one function")?.code)
    };
    if let Some(broken) = broken(&with)? {
        anyhow::bail!("a store to {what} breaks a law: {broken}");
    }
    let has_barrier = bytes(&with)? != bytes(&without)?;
    ensure!(
        !has_barrier || broken(&without)?.is_some(),
        "no law notices that a store to {what} has no barrier: `GcCompiler::barrier_laws` lacks one \
         (its code differs from that of a plain store)"
    );
    Ok(())
}

/// A collector whose stores of references have no barriers.
#[derive(Clone)]
struct WithoutBarriers(Collector);

impl GcCompiler for WithoutBarriers {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn wrapped(&self) -> Option<&dyn GcCompiler> {
        Some(self.0.compiler())
    }

    fn abi(&self) -> CollectorAbi {
        self.0.abi()
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::MayBeNull);
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::Fresh);
    }
}

impl GcRuntime for WithoutBarriers {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn wrapped(&self) -> Option<&dyn GcRuntime> {
        Some(self.0.runtime())
    }

    fn abi(&self) -> CollectorAbi {
        self.0.abi()
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        self.0.runtime().new_gc_heap(memory)
    }
}
