//! Panics of the embedder's policy and source of memory. If one interrupts a collection, the heap is
//! refused until it is reset.

use super::common::*;
use gc_runtime::{
    AdaptivePolicy, Decision, GcRuntime, GcStore, Growth, GrowthPolicy, HeapBounds, HeapError,
    HeapOptions, HeapPlan, HeapUsage, MemoryRequest, MemorySource, NoStack, OwnedHandle,
    PolicyFactory, Reclaims, Reservation, UsedReservation,
};
use gc_types::StorageType;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The number of questions to the embedder until one panics, and no more after that.
#[derive(Clone, Debug)]
struct Fuse(Arc<AtomicU32>);

impl Fuse {
    fn burn(&self) {
        if self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) == Ok(1) {
            panic_any("the test panics");
        }
    }
}

#[derive(Debug)]
struct Source(Fuse);

impl MemorySource for Source {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        self.0.burn();
        Reservation::new(request)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        self.0.burn();
        growth.commit()
    }

    fn give_back(&self, _used: UsedReservation) {}
}

#[derive(Debug)]
struct Policy(AdaptivePolicy, Fuse);

impl GrowthPolicy for Policy {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        self.1.burn();
        self.0.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        self.1.burn();
        self.0.plan(usage)
    }

    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        self.1.burn();
        self.0.admit(mapped, more)
    }
}

/// A heap that asks the policy if `asks_policy`, and otherwise the source, with the fuse of both.
fn store(runtime: &dyn GcRuntime, asks_policy: bool) -> (GcStore, Fuse) {
    let fuse = Fuse(Arc::default());
    let mut options = HeapOptions { initial: 128 << 10, ..options(HeapBounds::Checked) };
    if asks_policy {
        let fuse = fuse.clone();
        let policy = move || Box::new(Policy(AdaptivePolicy::balanced(), fuse.clone())) as _;
        options.policy = PolicyFactory::new(policy);
    } else {
        options.memory = Arc::new(Source(fuse.clone()));
    }
    (store_with(runtime, &options), fuse)
}

/// A list of `count` nodes.
fn list(store: &mut GcStore, count: u32) -> Result<Option<OwnedHandle>, HeapError> {
    let mut head: Option<OwnedHandle> = None;
    for n in 0..count {
        let node = store.alloc_struct(&mut NoStack, NODE)?;
        store.write_field(&node, VALUE, StorageType::I64, n.into())?;
        if let Some(next) = &head {
            let next = store.rooted(&next.handle()).unwrap().unchecked_copy();
            store.write_field_ref(&node, LEFT, Some(&next))?;
        }
        head = Some(store.root_owned(node).unwrap());
    }
    Ok(head)
}

/// Checks that the list is whole.
fn check(what: &str, store: &mut GcStore, head: &OwnedHandle, count: u32) {
    let mut next = Some(store.rooted(&head.handle()).unwrap().unchecked_copy());
    for n in (0..count).rev() {
        let node = next.unwrap_or_else(|| panic!("{what}: the list ends at {n}"));
        assert_eq!(store.read_field(&node, VALUE, StorageType::I64), Ok(n.into()), "{what}");
        let left = store.read_field(&node, LEFT, StorageType::Ref).unwrap();
        next = gc_types::VMGcRef::from_raw_u32(left as u32);
    }
    assert!(next.is_none(), "{what}");
}

#[test]
fn an_interrupted_collection_makes_the_heap_unusable_until_it_is_reset() {
    const COUNT: u32 = 2000;
    for runtime in ALL_COLLECTORS {
        let mut interrupted = 0;
        for (asks_policy, left) in (1..20).flat_map(|left| [(true, left), (false, left)]) {
            let what = format!("{}, {asks_policy}, {left}", runtime.name());
            let (mut store, fuse) = store(runtime, asks_policy);
            let kept = list(&mut store, COUNT).unwrap().unwrap();
            fuse.0.store(left, Relaxed);
            let _panic = catch_unwind(AssertUnwindSafe(|| {
                for _ in 0..3 {
                    store.gc(&mut NoStack).unwrap();
                    list(&mut store, 3 * COUNT).unwrap();
                }
            }));
            fuse.0.store(0, Relaxed);
            if store.check_usable().is_ok() {
                check(&what, &mut store, &kept, COUNT);
                store.verify(&mut NoStack).unwrap_or_else(|error| panic!("{what}: {error}"));
                continue;
            }
            interrupted += 1;
            let error = store.alloc_struct(&mut NoStack, NODE).unwrap_err();
            assert_eq!(error.to_string(), "corrupt GC heap: a collection was interrupted");
            let (error, _value) = store.alloc_externref(&mut NoStack, Box::new(1)).unwrap_err();
            assert_eq!(error, HeapError::Interrupted);
            assert_eq!(store.gc(&mut NoStack), Err(HeapError::Interrupted));
            assert_eq!(store.verify(&mut NoStack), Err(HeapError::Interrupted));

            store.reset().unwrap();
            for _ in 0..2 {
                let new = list(&mut store, COUNT).unwrap().unwrap();
                store.gc(&mut NoStack).unwrap();
                check(&what, &mut store, &new, COUNT);
                store.verify(&mut NoStack).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
        assert_eq!(interrupted > 0, runtime.reclaims() != Reclaims::Nothing, "{}", runtime.name());
    }
}

/// A future that is dropped abandons its collection between increments. That is no interruption.
#[cfg(feature = "async")]
#[test]
fn a_future_that_panics_interrupts_its_collection_and_one_that_is_dropped_does_not() {
    use std::task::{Context, Waker};
    for runtime in &ALL_COLLECTORS[1..] {
        let (mut store, fuse) = store(*runtime, true);
        list(&mut store, 2000).unwrap();
        let mut poll = |most: usize| {
            let mut stack = NoStack;
            let mut future = Box::pin(store.gc_async(&mut stack));
            let mut context = Context::from_waker(Waker::noop());
            let _done = (0..most).any(|_| future.as_mut().poll(&mut context).is_ready());
            drop(future);
            store.check_usable()
        };
        assert_eq!(poll(1), Ok(()));
        fuse.0.store(1, Relaxed);
        // On a slow machine the first increments may ask nothing.
        let panicked = catch_unwind(AssertUnwindSafe(|| poll(usize::MAX)));
        assert!(panicked.is_err(), "{}", runtime.name());
        assert_eq!(store.check_usable(), Err(HeapError::Interrupted));
    }
}
