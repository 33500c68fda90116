//! A heap that uses less memory than its maximum.

use gc_engine::{AdaptivePolicy, HeapOptions};
use gc_runtime::{Decision, GrowthPolicy, HeapPlan, HeapUsage};

/// These options, for heaps that use at most `limit` bytes besides the nursery.
pub(crate) fn limited(heap: HeapOptions, limit: u64) -> HeapOptions {
    let policy = Limited { inner: AdaptivePolicy::default(), limit };
    HeapOptions { initial: heap.initial.min(limit), policy: policy.into(), ..heap }
}

/// Refuses memory beyond the limit.
#[derive(Clone, Debug)]
struct Limited {
    inner: AdaptivePolicy,
    limit: u64,
}

impl Limited {
    fn limited(&self, usage: &HeapUsage) -> HeapUsage {
        let mut usage = *usage;
        usage.limit = usage.limit.min(self.limit);
        usage
    }
}

impl GrowthPolicy for Limited {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        let usage = self.limited(usage);
        self.inner.decide(&usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        let usage = self.limited(usage);
        self.inner.plan(&usage)
    }

    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        mapped.saturating_add(more) <= self.limit && self.inner.admit(mapped, more)
    }
}
