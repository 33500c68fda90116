//! [`GcRuntime`]: the half of a collector that makes heaps.

use crate::{GcHeap, HeapError, HeapMemory, HeapOptions};
use gc_types::CollectorAbi;

/// What a collector's collections free, sooner or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaims {
    /// Nothing, ever.
    Nothing,
    /// Every object that cannot be reached, except those on cycles of such objects
    /// and what hangs on these: reference counting.
    Acyclic,
    /// Every object that cannot be reached: tracing.
    Everything,
}

/// Makes heaps of one collector. Its other half is gc-compiler's `GcCompiler` of
/// the same [`name`](GcRuntime::name); code emitted by one works only on heaps of
/// the other.
pub trait GcRuntime: Send + Sync {
    /// The collector's name, as in `--collector NAME`: lower case, stable.
    fn name(&self) -> &'static str;

    /// What its emitted code and its heaps must agree on. Both halves give the same. To be
    /// given if the collector has options or constants of its own that both know: as
    /// provided it is the name alone.
    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new(self.name())
    }

    /// What it is good for, for those who choose one: some words that say for which programs
    /// to take it and what it costs, to stand behind "good for".
    fn summary(&self) -> &'static str {
        "(no description)"
    }

    /// Whether an object may be elsewhere after a collection. It may, unless the collector
    /// says otherwise.
    fn moves_objects(&self) -> bool {
        true
    }

    /// What its collections free. All garbage, unless the collector says less.
    fn reclaims(&self) -> Reclaims {
        Reclaims::Everything
    }

    /// The most bytes a heap of this collector can use; a larger maximum is cut down
    /// to it. All that indices can name, unless the collector says less.
    fn max_heap_size(&self) -> u64 {
        HeapOptions::MAX_SIZE
    }

    /// Makes a heap in `memory`, in which nothing is allocated yet and which may
    /// have been used by an earlier heap and reset. `zeal`: collect at every Nth
    /// allocation (0: never only for that; see the `gc_zeal` feature). The store
    /// counts and collects; a heap with zeal also poisons what it frees.
    ///
    /// # Errors
    /// If the collector cannot set itself up in that memory.
    fn new_gc_heap(&self, memory: HeapMemory, zeal: u32) -> Result<Box<dyn GcHeap>, HeapError>;
}
