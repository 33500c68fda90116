//! `mark-sweep`: a collector outside the project. It uses only the public interface.
//!
//! This is the oldest tracing collector (John McCarthy, "Recursive Functions of Symbolic
//! Expressions and Their Computation by Machine, Part I", 1960). A collection marks the reachable
//! objects, and all other memory is free. Objects never move. References are copied without a
//! barrier. Unreachable cycles are freed like all garbage.
//!
//! * `heap.rs`: the places of objects, and allocation. Emitted code allocates inline by bumping an
//!   index through one free run of memory after the other.
//! * `collection.rs`: mark and sweep.
//!
//! The starts of objects and their marks are in an `ObjectMap` of gc-runtime, with two bits for every eight bytes. They
//! are outside the heap. So the collector knows which objects it allocated, even if the heap is overwritten.

#![forbid(unsafe_code)]

mod collection;
mod heap;

// ANCHOR: halves
use gc_compiler::GcCompiler;
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_types::CollectorAbi;
use gc_wasm::Collector;
use std::sync::Arc;

/// The collector's name, as in `--collector mark-sweep`.
pub const NAME: &str = "mark-sweep";

/// Change this when something changes on which the two halves must agree.
const VERSION: u64 = 1;

/// The half that makes heaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkSweepRuntime;

impl GcRuntime for MarkSweepRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new(NAME).with("version", VERSION)
    }

    fn summary(&self) -> &'static str {
        "a collector to read, and objects that stay where they are: no barriers; pauses as \
         long as marking all that lives takes"
    }

    fn moves_objects(&self) -> bool {
        false
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(heap::MarkSweepHeap::new(memory)))
    }
}

/// The half that emits code. The provided methods, with inline allocation and no barriers, are
/// enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkSweepCompiler;

impl GcCompiler for MarkSweepCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new(NAME).with("version", VERSION)
    }
}

/// The collector: both halves, for an engine's configuration.
///
/// # Errors
/// If the halves do not fit together, which cannot happen.
pub fn mark_sweep() -> anyhow::Result<Collector> {
    Collector::new(Arc::new(MarkSweepRuntime), Arc::new(MarkSweepCompiler))
}
// ANCHOR_END: halves
