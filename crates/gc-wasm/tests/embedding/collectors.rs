//! Tests that the two halves of a collector must agree.

use crate::common::message;
use anyhow::Result;
use gc_compiler::collector::{drc::DrcCompiler, null::NullCompiler};
use gc_runtime::collector::NullCollector;
use gc_runtime::{GcHeap, GcRuntime, Handle, HeapError, HeapMemory, OwnedHandle};
use gc_types::CollectorAbi;
use gc_wasm::{Collector, Config, Engine, Instance, Module, Store};
use std::sync::Arc;

/// A later version of `null`.
struct Later;

impl GcRuntime for Later {
    fn name(&self) -> &'static str {
        "null"
    }

    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new("null").with("version", 2)
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        NullCollector.new_gc_heap(memory)
    }
}

#[test]
fn halves_that_do_not_agree_are_no_collector() {
    assert_eq!(
        message(Collector::new(Arc::new(NullCollector), Arc::new(DrcCompiler))),
        "the heaps of collector `null` do not work with the code of collector `drc`"
    );
    assert_eq!(
        message(Collector::new(Arc::new(Later), Arc::new(NullCompiler))),
        "the halves of collector `null` do not fit: collector.version is `2` here, and nothing \
         there (here: its heaps, there: its code)"
    );
    assert!(Collector::new(Arc::new(NullCollector), Arc::new(NullCompiler)).is_ok());
}

/// `null`, with a limit for references outside the heap.
struct Counting(u64);

impl GcRuntime for Counting {
    fn name(&self) -> &'static str {
        "null"
    }

    fn wrapped(&self) -> Option<&dyn GcRuntime> {
        Some(&NullCollector)
    }

    fn max_native_refs(&self) -> u64 {
        self.0
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        NullCollector.new_gc_heap(memory)
    }
}

#[test]
fn a_store_has_no_more_references_than_its_collector_allows() -> Result<()> {
    let of = |most| Collector::new(Arc::new(Counting(most)), Arc::new(NullCompiler));
    let handles = (Handle::MAX + OwnedHandle::MAX) as u64;
    assert_eq!(
        message(of(handles - 1)),
        format!(
            "the collector `null` allows {} references outside the heap, but the handles of a \
             store may be {handles}",
            handles - 1
        )
    );
    // Handles, globals, and 100 elements of tables.
    let most = handles + (1 << 24) + 100;
    let mut config = Config::new();
    config.collector(of(most)?).table_elements_maximum(100);
    Engine::new(&config)?;
    config.table_elements_maximum(101);
    assert_eq!(
        message(Engine::new(&config)),
        format!(
            "engine configuration: the collector `null` allows {most} references outside the \
             heap, but with `Config::table_elements_maximum` of 101 a store may have {}",
            most + 1
        )
    );
    Ok(())
}

#[test]
fn code_for_one_collector_never_meets_a_heap_of_another() -> Result<()> {
    for code in Collector::all() {
        let engine = Engine::new(Config::new().collector(code.clone()))?;
        assert_eq!(engine.collector().name(), code.name());
        let module = Module::new(&engine, "(module)")?;
        for heap in Collector::all() {
            let engine = Engine::new(Config::new().collector(heap.clone()))?;
            let mut store = Store::new(&engine, ());
            let error = message(Instance::new(&mut store, &module, &[]));
            if heap.name() == code.name() {
                assert_eq!(error, "the module and the store belong to different engines");
                continue;
            }
            let (heap, code) = (heap.name(), code.name());
            let expected = format!(
                "the module's code does not fit the store (here: the store; there: the code): \
                 collector is `{heap}` here, but `{code}` there"
            );
            assert_eq!(error, expected);
        }
    }
    assert!(Collector::by_name("mark-sweep").is_err());
    Ok(())
}
