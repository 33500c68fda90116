//! How a heap is reserved, bounded and exercised: [`HeapOptions`].

use crate::{GcRuntime, PolicyFactory};
use gc_types::{HeapBounds, NULL_PAGE_SIZE};
use std::time::Duration;

/// How a heap is reserved and bounded. Sizes are in bytes and count from the
/// heap's base: the first [`NULL_PAGE_SIZE`] of them are never mapped.
#[derive(Clone, Debug)]
pub struct HeapOptions {
    /// Bytes mapped from the start; at most `maximum` are.
    pub initial: u64,
    /// Bytes the heap may never grow past, at most 4 GiB. What is above
    /// [`HeapOptions::MAX_SIZE`] is never used.
    pub maximum: u64,
    /// How emitted code may address it.
    pub bounds: HeapBounds,
    /// The most bytes that the nursery may have, for collectors that have one. Large ones
    /// are collected less often and promote less, small ones have shorter pauses and stay in
    /// a cache; how much is used the collector finds out. It is never more than a 32nd of
    /// what the heap may become ([`nursery_size`](HeapOptions::nursery_size)).
    pub nursery: u64,
    /// How the heap uses memory: when it is collected, by how much it grows.
    pub policy: PolicyFactory,
    /// The time that a slice of a collection may take that the program runs beside, and an
    /// increment of one that other tasks of the host run beside. It is looked at every few
    /// hundred objects, and so a little more may be taken.
    pub slice: Duration,
    /// Collect at every Nth allocation; 0: never only for that. Needs the feature
    /// `gc_zeal`.
    pub zeal: u32,
}

impl HeapOptions {
    /// The most a heap can use, in bytes from its base: 4 GiB less 64 KiB, so
    /// that the index behind its last byte still fits 32 bits.
    pub const MAX_SIZE: u64 = (4 << 30) - (64 << 10);

    /// What [`HeapOptions::default`] maps from the start: small enough to stay in
    /// a second-level cache between collections.
    pub const DEFAULT_INITIAL: u64 = 1 << 20;

    /// The nursery of [`HeapOptions::default`]: half of a usual last-level cache.
    pub const DEFAULT_NURSERY: u64 = 16 << 20;

    /// The slice of [`HeapOptions::default`].
    pub const DEFAULT_SLICE: Duration = Duration::from_micros(500);

    /// The same for heaps of `runtime`'s, which may not be able to become so large.
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
    /// 1 MiB that may grow as far as indices reach, guarded, no zeal.
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
