//! [`Subject`]: a collector under test, the garbage that it promises to free, and the kind of heap for the test.

use crate::threads::{AtOnce, Late, beside};
use gc_heap::lend::GcExecutor;
use gc_heap::{GcRuntime, HeapBounds, HeapOptions, MemorySource, OnDemand, Reclaims};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// Where the heaps of this thread's subjects get their memory. It keeps what was mapped for
    /// earlier heaps, and clears it. To map it anew would take most of the time of a short test.
    static MEMORY: Arc<dyn MemorySource> = Arc::new(OnDemand::keeping(32, 1 << 20));
}

/// A collector under test.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The collector.
    pub runtime: &'a dyn GcRuntime,
    /// The garbage that it promises to free.
    pub reclaims: Reclaims,
    /// The way in which its heaps are addressed.
    pub bounds: HeapBounds,
    /// Collects at every Nth allocation; 0 turns this off. Needs gc-heap's feature `gc_zeal`.
    pub zeal: u32,
    /// Whether a thread works for its heaps beside this one. Otherwise what it would do does not depend on time.
    pub beside: bool,
}

impl<'a> Subject<'a> {
    /// Makes a subject for `runtime`, which frees what `reclaims` says. Its heaps are of the kind
    /// that every machine (and Miri) supports, without zeal.
    pub fn new(runtime: &'a dyn GcRuntime, reclaims: Reclaims) -> Self {
        Subject { runtime, reclaims, bounds: HeapBounds::Checked, zeal: 0, beside: false }
    }

    /// A subject for each of these collectors, which promises what it [says](GcRuntime::reclaims) itself.
    pub fn each(collectors: &'a [Arc<dyn GcRuntime>]) -> Vec<Self> {
        collectors.iter().map(|runtime| Subject::new(&**runtime, runtime.reclaims())).collect()
    }

    /// The same collector on other heaps.
    pub fn with(self, bounds: HeapBounds, zeal: u32) -> Self {
        Subject { bounds, zeal, ..self }
    }

    /// The same collector on every kind of heap that this machine supports, each with every `zeal`.
    pub fn variants(self, zeal: &[u32]) -> Vec<Self> {
        let guarded = (!cfg!(miri)).then_some(HeapBounds::Guarded);
        let bounds = [Some(HeapBounds::Checked), guarded];
        let with = |bounds| zeal.iter().map(move |&zeal| self.with(bounds, zeal));
        bounds.into_iter().flatten().flat_map(with).collect()
    }

    /// What works for the heap: a thread, or this one, at once or late with a `zeal` above 1.
    fn threads(&self) -> Arc<dyn GcExecutor> {
        match self.zeal {
            _ if self.beside => beside(),
            0 | 1 => Arc::new(AtOnce),
            _ => Arc::new(Late::default()),
        }
    }

    /// Options for a heap of this kind with `initial` bytes mapped and at most `maximum` bytes,
    /// both without the null page.
    pub fn options(&self, initial: u64, maximum: u64) -> HeapOptions {
        let null_page = u64::from(gc_types::NULL_PAGE_SIZE);
        HeapOptions {
            initial: initial + null_page,
            maximum: maximum + null_page,
            bounds: self.bounds,
            // The shortest possible increments, so that more can happen in between.
            pause_target: Duration::ZERO,
            memory: MEMORY.with(Arc::clone),
            threads: self.threads(),
            zeal: self.zeal,
            ..HeapOptions::default()
        }
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = if self.beside { ", with a thread" } else { "" };
        write!(f, "{} ({:?} heap, zeal {}{beside})", self.runtime.name(), self.bounds, self.zeal)
    }
}
