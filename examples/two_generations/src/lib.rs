//! `two-generations`: a generational collector outside the project that moves objects. It is made of the public spaces
//! and policies of gc-runtime.
//!
//! Objects are born in a nursery. A minor collection moves those that live to the old generation, which is a
//! mark-region space. A full collection then marks the old generation and sweeps it. Every store of a reference into
//! the heap marks a card, whatever is stored: the shortest barrier that there is (Urs Hölzle, "A Fast Write Barrier for
//! Generational Garbage Collectors", 1993).
//!
//! * `heap.rs`: the heap, and when what is collected.
//! * `collection.rs`: the stages of a collection.
//! * `compiler.rs`: the barrier, and its rule for the checker.

#![forbid(unsafe_code)]

mod collection;
mod compiler;
mod heap;

// ANCHOR: halves
pub use compiler::TwoGenerationsCompiler;
use gc_runtime::{GcHeap, GcRuntime, HeapError, HeapMemory};
use gc_types::{CollectorAbi, HeapDataOffsets, SideTable};
use gc_wasm::Collector;
use std::sync::Arc;

/// The collector's name, as in `--collector two-generations`.
pub const NAME: &str = "two-generations";

/// log2 of the bytes of a card.
const CARD_SHIFT: u32 = 9;
/// The cards. Both halves make them from this.
const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, CARD_SHIFT);
/// The bundles of 64 cards. A collection looks only at cards of dirty bundles.
const BUNDLES: SideTable =
    SideTable::indexed("bundles", HeapDataOffsets::COLLECTOR + 24, CARD_SHIFT + 6);

/// What both halves must know.
fn abi() -> CollectorAbi {
    CollectorAbi::new(NAME).with_table(CARDS).with_table(BUNDLES)
}

/// The half that makes heaps.
#[derive(Clone, Copy, Debug)]
pub struct TwoGenerationsRuntime {
    /// The bytes of addresses of the nursery.
    nursery: u32,
}

impl Default for TwoGenerationsRuntime {
    fn default() -> Self {
        TwoGenerationsRuntime { nursery: 16 << 20 }
    }
}

impl GcRuntime for TwoGenerationsRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        abi()
    }

    fn summary(&self) -> &'static str {
        "a generational collector to read: a card barrier in reference stores; pauses as long as marking all that \
         lives takes"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        memory.check_apart(self.nursery)?;
        Ok(Box::new(heap::TwoGenerations::new(memory)?))
    }

    fn apart(&self) -> u32 {
        self.nursery
    }

    fn for_tests(&self) -> Option<Arc<dyn GcRuntime>> {
        Some(Arc::new(TwoGenerationsRuntime { nursery: 128 << 10 }))
    }
}

/// The collector: both halves, for an engine's configuration.
///
/// # Errors
/// If the halves do not fit together, which cannot happen.
pub fn two_generations() -> anyhow::Result<Collector> {
    Collector::new(Arc::new(TwoGenerationsRuntime::default()), Arc::new(TwoGenerationsCompiler))
}
// ANCHOR_END: halves
