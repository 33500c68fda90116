//! [`GcStats`]: what a heap has done so far.

use std::time::Duration;

/// Counters of one heap since it was made or reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcStats {
    /// Objects allocated.
    pub allocations: u64,
    /// Bytes allocated, headers included.
    pub allocated_bytes: u64,
    /// Collections completed.
    pub collections: u64,
    /// Time the mutator was stopped for them, root search included.
    pub total_pause: Duration,
    /// The longest of these times.
    pub longest_pause: Duration,
    /// Objects not freed yet; some of them may be garbage.
    pub live_objects: u64,
    /// Bytes of these objects.
    pub live_bytes: u64,
    /// Bytes mapped for objects now.
    pub heap_bytes: u64,
    /// The most bytes that were ever mapped for objects.
    pub peak_heap_bytes: u64,
}

impl GcStats {
    /// Counts a pause.
    pub fn add_pause(&mut self, pause: Duration) {
        self.total_pause += pause;
        self.longest_pause = self.longest_pause.max(pause);
    }
}
