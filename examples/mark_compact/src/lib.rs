//! `mark-compact`: a collector from outside that moves objects, written against the public
//! interface only.
//!
//! A collection marks the objects that can be reached, and slides them to the front of the
//! heap in the order in which they lie there. This is the Lisp-2 algorithm (Donald Knuth,
//! "The Art of Computer Programming", volume 1, section 2.5, exercise 33): mark, compute
//! the new places, update all references, move. The new places are not written into the
//! objects. They are computed from a bitmap, as in the Compressor (Haim Kermany and Erez
//! Petrank, "The Compressor: Concurrent, Incremental, and Parallel Compaction", 2006). So no
//! byte of the heap has to be believed.
//!
//! * `heap.rs`: where objects are, and allocation: one index goes up through the heap.
//! * `collection.rs`: mark, update, move.
//! * `forwarding.rs`: where each object goes.
//! * `bitmap.rs`: a bit for every eight bytes of the heap, in native memory.

mod bitmap;
mod collection;
mod forwarding;
mod heap;

use gc_compiler::GcCompiler;
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_wasm::Collector;
use std::sync::Arc;

/// As in `--collector mark-compact`.
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

    fn new_gc_heap(&self, memory: HeapMemory, zeal: u32) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(heap::MarkCompactHeap::new(memory, zeal != 0)))
    }
}

/// The half that emits code: allocation between two indices and no barriers, as provided.
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
/// If the halves do not fit; they do.
pub fn mark_compact() -> anyhow::Result<Collector> {
    Collector::new(Arc::new(MarkCompactRuntime), Arc::new(MarkCompactCompiler))
}
