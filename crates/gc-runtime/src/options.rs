//! [`HeapOptions`]: the options of a heap.

use crate::{GcRuntime, PolicyFactory};
use gc_types::{HeapBounds, NULL_PAGE_SIZE};
use std::time::Duration;

/// How a heap is reserved and bounded. Sizes are in bytes and count from the
/// heap's base: the first [`NULL_PAGE_SIZE`] of them are never mapped.
#[derive(Clone, Debug)]
pub struct HeapOptions {
    /// Bytes mapped at the start, at most `maximum`.
    pub initial: u64,
    /// The maximum size in bytes, at most 4 GiB. Memory above [`HeapOptions::MAX_SIZE`] is never
    /// used.
    pub maximum: u64,
    /// How emitted code may address the heap.
    pub bounds: HeapBounds,
    /// The maximum size of the nursery in bytes, for collectors that have one. A large nursery is
    /// collected less often and promotes less. A small one has shorter pauses and stays in a cache.
    /// The collector adapts the part in use. The nursery is never more than a 32nd of the heap's
    /// maximum ([`nursery_size`](HeapOptions::nursery_size)).
    pub nursery: u64,
    /// How the heap uses memory: when it is collected, by how much it grows.
    pub policy: PolicyFactory,
    /// The time that a slice of incremental marking, or an increment of an asynchronous collection,
    /// may take. The collector reads the clock every few hundred objects, so a slice may take a
    /// little longer.
    pub slice: Duration,
    /// Collects at every Nth allocation; 0 turns this off. Needs the feature `gc_zeal`.
    pub zeal: u32,
}

impl HeapOptions {
    /// The maximum size of a heap, in bytes from its base: 4 GiB minus 64 KiB, so that the index
    /// after its last byte still fits in 32 bits.
    pub const MAX_SIZE: u64 = (4 << 30) - (64 << 10);

    /// The initial size in [`HeapOptions::default`]: small enough to stay in a second-level cache
    /// between collections.
    pub const DEFAULT_INITIAL: u64 = 1 << 20;

    /// The nursery of [`HeapOptions::default`]: half of a usual last-level cache.
    pub const DEFAULT_NURSERY: u64 = 16 << 20;

    /// The slice of [`HeapOptions::default`].
    pub const DEFAULT_SLICE: Duration = Duration::from_micros(500);

    /// These options for heaps of `runtime`, whose maximum may be smaller.
    #[must_use]
    pub fn cut_to(mut self, runtime: &dyn GcRuntime) -> HeapOptions {
        self.maximum = self.maximum.min(runtime.max_heap_size());
        self.initial = self.initial.min(self.maximum);
        self
    }

    /// Bytes that a nursery has in heaps with these options, which are
    /// [cut](HeapOptions::cut_to) to their collector. Emitted code must be told the same.
    pub const fn nursery_size(&self) -> u32 {
        gc_types::collector::generational::nursery_size(self.nursery, self.maximum)
    }
}

impl Default for HeapOptions {
    /// 1 MiB that may grow to [`HeapOptions::MAX_SIZE`], guarded, without zeal.
    fn default() -> Self {
        HeapOptions {
            initial: HeapOptions::DEFAULT_INITIAL,
            maximum: HeapOptions::MAX_SIZE,
            bounds: HeapBounds::Guarded,
            nursery: HeapOptions::DEFAULT_NURSERY,
            policy: PolicyFactory::default(),
            slice: HeapOptions::DEFAULT_SLICE,
            zeal: 0,
        }
    }
}

const _: () = assert!(HeapOptions::MAX_SIZE.is_multiple_of(NULL_PAGE_SIZE as u64));
