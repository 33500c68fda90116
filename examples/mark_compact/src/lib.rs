//! `mark-compact`: a collector outside the project that moves objects. It uses only the public
//! interface.
//!
//! A collection marks the reachable objects and slides them to the front of the heap without
//! changing their order. This is the Lisp-2 algorithm (Donald Knuth, "The Art of Computer
//! Programming", volume 1, section 2.5, exercise 33): mark, compute the new places, update all
//! references, move. The new places are not written into the objects. They are computed from a
//! bitmap, as in the Compressor (Haim Kermany and Erez Petrank, "The Compressor: Concurrent,
//! Incremental, and Parallel Compaction", 2006). So no byte of the heap has to be trusted.
//!
//! * `heap.rs`: the places of objects, and allocation by bumping one index.
//! * `collection.rs`: mark, update, move.
//! * `forwarding.rs`: the new place of each object.
//! * `bitmap.rs`: a bit for every eight bytes of the heap, in native memory.

#![forbid(unsafe_code)]

mod bitmap;
mod collection;
mod forwarding;
mod heap;

use gc_compiler::GcCompiler;
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_wasm::Collector;
use std::sync::Arc;

/// The collector's name, as in `--collector mark-compact`.
pub const NAME: &str = "mark-compact";

/// The half that makes heaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkCompactRuntime;

impl GcRuntime for MarkCompactRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "a moving collector to read: no barriers, no memory lost to gaps; pauses as long as \
         marking and moving all that lives takes"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(heap::MarkCompactHeap::new(memory)))
    }
}

/// The half that emits code. The provided methods, with inline allocation and no barriers, are
/// enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkCompactCompiler;

impl GcCompiler for MarkCompactCompiler {
    fn name(&self) -> &'static str {
        NAME
    }
}

/// The collector: both halves, for an engine's configuration.
///
/// # Errors
/// If the halves do not fit together, which cannot happen.
pub fn mark_compact() -> anyhow::Result<Collector> {
    Collector::new(Arc::new(MarkCompactRuntime), Arc::new(MarkCompactCompiler))
}
