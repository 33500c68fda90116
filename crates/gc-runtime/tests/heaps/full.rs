//! Heaps of `generational` at their limit, whose blocks of old objects come and go: allocation ends, and so does growth.

use crate::common::*;
use gc_runtime::collector::GenerationalCollector;
use gc_runtime::{
    AdaptivePolicy, Decision, GcStore, GrowthPolicy, HeapBounds, HeapError, HeapOptions, HeapPlan,
    HeapUsage, PolicyFactory,
};
use gc_testkit::roots::Stack;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Admits so many bytes, and lets the whole heap be collected whenever an allocation finds no room.
#[derive(Clone, Debug)]
struct Limit {
    bytes: u64,
    review: Duration,
    policy: AdaptivePolicy,
    asked: Arc<AtomicU32>,
}

impl Limit {
    fn new(bytes: u64, review: Duration) -> Limit {
        Limit { bytes, review, policy: AdaptivePolicy::balanced(), asked: Arc::default() }
    }

    fn options(&self, maximum: u64, initial: u64) -> HeapOptions {
        let limit = self.clone();
        let policy = PolicyFactory::new(move || Box::new(limit.clone()));
        HeapOptions { initial, maximum, policy, ..options(HeapBounds::Checked) }
    }
}

impl GrowthPolicy for Limit {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        assert!(self.asked.fetch_add(1, Relaxed) < 100_000, "an allocation does not end");
        self.policy.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        let plan = self.policy.plan(usage);
        HeapPlan { review: self.review.min(plan.review), ..plan }
    }

    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        mapped + more <= self.bytes
    }
}

fn array(store: &mut GcStore, stack: &mut Stack, bytes: u32) -> Result<u64, HeapError> {
    let array = store.alloc_array(stack, LONGS, (bytes - 16) / 8)?;
    Ok(store.expose_gc_ref_to_wasm(array).into())
}

#[test]
fn an_allocation_ends_where_each_collection_takes_back_what_the_heap_has_grown_by() {
    let limit = Limit::new(u64::MAX, Duration::ZERO);
    let mut store = store_with(&GenerationalCollector::new(), &limit.options(16 << 20, 1 << 20));
    let mut stack = Stack(Vec::new());
    // Each array is a block, and every second one is dropped.
    while let Ok(word) = array(&mut store, &mut stack, 32 << 10) {
        stack.0.push(word);
    }
    stack.0 = stack.0.iter().copied().step_by(2).collect();
    store.gc(&mut stack).unwrap();
    let kept = stack.0.len();
    stack.0.push(0);
    for kib in [256, 1024, 4096] {
        for _ in 0..200_000 {
            let node = store.alloc_struct(&mut stack, NODE).unwrap();
            stack.0[kept] = store.expose_gc_ref_to_wasm(node).into();
        }
        let before = store.stats().collections;
        let result = array(&mut store, &mut stack, kib << 10);
        let collections = store.stats().collections - before;
        assert!(matches!(result, Ok(_) | Err(HeapError::OutOfMemory { .. })), "{result:?}");
        assert!(collections <= 8, "{kib} KiB: {collections} collections");
    }
}

#[test]
fn no_more_is_used_and_hardly_more_is_mapped_than_the_policy_admits() {
    const ADMITTED: u64 = 4 << 20;
    let limit = Limit::new(ADMITTED, Duration::MAX);
    let mut store = store_with(&GenerationalCollector::new(), &limit.options(256 << 20, 1 << 20));
    let mut stack = Stack(vec![0; 16]);
    let mut state = 1_u64;
    for n in 0..40_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if let Ok(word) = array(&mut store, &mut stack, 9000 + (state >> 33) as u32 % 120_000) {
            stack.0[n % 16] = word;
        }
        for _ in 0..(state >> 20) % 50 {
            let node = store.alloc_struct(&mut stack, NODE).unwrap();
            store.expose_gc_ref_to_wasm(node);
        }
    }
    let core = store.heap().unwrap().core();
    assert!(core.in_use() <= ADMITTED);
    let old = core.memory.usable() - u64::from(core.memory.apart());
    assert!(old <= 4 * ADMITTED, "{} KiB are mapped", old >> 10);
    // What is mapped was not all admitted.
    store.reset().unwrap();
    let mut stack = Stack(Vec::new());
    while let Ok(word) = array(&mut store, &mut stack, 1000) {
        stack.0.push(word);
    }
    assert!(store.heap().unwrap().core().in_use() <= ADMITTED);
}

#[test]
fn a_full_heap_names_the_limit_that_held() {
    const ADMITTED: u64 = 4 << 20;
    let limit = Limit::new(ADMITTED, Duration::MAX);
    let mut store = store_with(&GenerationalCollector::new(), &limit.options(64 << 20, 1 << 20));
    let mut stack = Stack(Vec::new());
    while let Ok(word) = array(&mut store, &mut stack, 32 << 10) {
        stack.0.push(word);
    }
    // Free blocks, whose memory goes back to the system.
    stack.0 = stack.0.iter().copied().step_by(2).collect();
    store.gc(&mut stack).unwrap();
    let error = array(&mut store, &mut stack, 4 << 20).unwrap_err();
    let HeapError::OutOfMemory { bytes: 0x40_0000, limit } = error else { panic!("{error}") };
    let admitted = store.heap().unwrap().usage().admitted;
    assert_eq!(limit, admitted + u64::from(gc_types::NULL_PAGE_SIZE));
    assert!(admitted <= ADMITTED && admitted > ADMITTED / 8 * 7, "{admitted}");
}
