//! Heaps that are handed from store to store.

use super::common::*;
use gc_runtime::{
    Decision, ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcRuntime, GcStats,
    GcStore, GrowthPolicy, HeapBounds, HeapCore, HeapError, HeapFactory, HeapGrowth, HeapLimiter,
    HeapMemory, HeapOptions, HeapPlan, HeapUsage, MappedMemory, MemoryPurpose, MemoryRequest,
    MemorySource, NoStack, OnDemand, PolicyFactory, collector,
};
use gc_types::{
    GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout, TypeIndex, VMGcHeader, VMGcRef,
};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

fn collectors() -> [Arc<dyn GcRuntime>; 4] {
    [
        Arc::new(collector::NullCollector),
        Arc::new(collector::DrcCollector),
        Arc::new(collector::CopyingCollector),
        Arc::new(collector::GenerationalCollector::new()),
    ]
}

fn factory(runtime: Arc<dyn GcRuntime>, total: u32) -> Arc<HeapFactory> {
    let factory = HeapFactory::new(runtime, &options(HeapBounds::Checked)).unwrap();
    Arc::new(factory.with_pool(total))
}

/// A factory without a pool, whose heaps come from `source`.
fn keeping(runtime: Arc<dyn GcRuntime>, source: &Arc<OnDemand>) -> Arc<HeapFactory> {
    let options = HeapOptions { memory: source.clone(), ..options(HeapBounds::Checked) };
    Arc::new(HeapFactory::new(runtime, &options).unwrap())
}

/// A store with a heap from the pool, and the heap's address.
fn store(factory: &Arc<HeapFactory>) -> (GcStore, usize) {
    let mut store = GcStore::lazy(factory);
    store.ensure_heap().unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
    let base = store.heap().unwrap().vmctx_gc_heap_base().addr();
    (store, base)
}

#[test]
fn the_next_store_gets_the_heap_without_anything_of_the_last() {
    let factories = collectors().into_iter().flat_map(|runtime| {
        [factory(runtime.clone(), 2), keeping(runtime, &Arc::new(OnDemand::default()))]
    });
    for factory in factories {
        let name = factory.runtime().name();
        let value = Arc::new(());
        let (_, expected) = store(&factory);
        for round in 0..4 {
            let (mut store, base) = store(&factory);
            assert_eq!(base, expected, "{name}");
            assert_eq!(store.stats().allocations, 0);
            store.heap().unwrap().for_each_object(&mut |_| panic!("an object")).unwrap();
            store.heap().unwrap().verify().unwrap();
            let object = node(&mut store);
            assert_eq!(
                store.read_field(&object, VALUE, StorageType::I64),
                Ok(0),
                "{name}, {round}"
            );
            store.write_field(&object, VALUE, StorageType::I64, u128::MAX).unwrap();
            store.expose_gc_ref_to_wasm(object);
            let boxed = Box::new(Arc::clone(&value));
            store.alloc_externref(&mut NoStack, boxed).map_err(|(error, _)| error).unwrap();
            // Also what was written where no object is.
            let memory = &mut store.heap_mut().unwrap().core_mut().memory;
            let end = memory.len();
            assert_eq!(memory.read_u64(end - 8), Some(0));
            memory.write_u64(end - 8, 1).unwrap();
            store.heap_mut().unwrap().enter_no_gc_scope();
            store.heap_mut().unwrap().exit_no_gc_scope();
            drop(store);
            assert_eq!(Arc::strong_count(&value), 1, "{name}");
        }
        assert_eq!(factory.kept_heaps(), 1);
    }
}

/// What a collector keeps of the layouts of one store is nothing to the next one, also if as many are registered.
#[test]
fn the_next_store_has_other_types() {
    let value = Arc::new(GcLayout::Struct(StructLayout::new([StorageType::I64]).unwrap()));
    let pair = Arc::new(GcLayout::Struct(StructLayout::new([StorageType::Ref; 2]).unwrap()));
    let ty = |n| TypeIndex::new(n).unwrap();
    for runtime in collectors() {
        let factory = factory(runtime, 1);
        let name = factory.runtime().name();
        // Each type has another layout in the second store, or none.
        for types in [[(ty(0), &value), (ty(1), &pair)], [(ty(0), &pair), (ty(2), &value)]] {
            let mut store = GcStore::lazy(&factory);
            for (ty, layout) in types {
                store.ensure_layout(ty, layout).unwrap();
            }
            let ty_of = |layout| types.iter().find(|(_, it)| Arc::ptr_eq(it, layout)).unwrap().0;
            let child = store.alloc_struct(&mut NoStack, ty_of(&value)).unwrap();
            let parent = store.alloc_struct(&mut NoStack, ty_of(&pair)).unwrap();
            store.write_field_ref(&parent, VMGcHeader::SIZE, Some(&child)).unwrap();
            store.drop_gc_ref(child);
            let handle = store.root(parent).unwrap();
            for _ in 0..3 {
                store.gc(&mut NoStack).unwrap();
                store.verify(&mut NoStack).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            let parent = store.rooted(&handle).unwrap().unchecked_copy();
            let child = store.read_field_ref(&parent, VMGcHeader::SIZE).unwrap().unwrap();
            assert_eq!(store.heap().unwrap().header(&child).unwrap().ty(), ty_of(&value), "{name}");
            store.drop_gc_ref(child);
        }
    }
}

#[test]
fn a_pool_has_a_limit() {
    for runtime in collectors() {
        let factory = factory(runtime, 2);
        let stores = [store(&factory), store(&factory)];
        let mut third = GcStore::lazy(&factory);
        let error = third.ensure_heap().unwrap_err();
        assert_eq!(error, HeapError::PoolLimit { purpose: MemoryPurpose::GcHeap, limit: 2 });
        // A store without a heap takes no place, and works.
        assert!(!third.has_heap() && third.gc(&mut NoStack).unwrap());
        drop(stores);
        third.ensure_heap().unwrap();
        assert_eq!(factory.pooled_heaps(), Some((1, 1)));
    }
}

#[test]
fn heaps_that_may_not_be_as_new_are_dropped() {
    type Change = fn(&mut GcStore);
    let changes: [Change; 3] = [
        |store| {
            // A heap may first use more of what is mapped. That is undone.
            let heap = store.heap_mut().unwrap();
            let before = heap.core().memory.len();
            while heap.core().memory.len() == before {
                assert!(heap.grow(1 << 20).unwrap() > 0);
            }
        },
        |store| store.heap_mut().unwrap().core_mut().note_damage(8, "a test's"),
        |store| {
            let other = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
            store.heap_mut().unwrap().core_mut().memory = other;
        },
    ];
    for runtime in collectors() {
        for (number, change) in changes.iter().enumerate() {
            let factory = factory(runtime.clone(), 1);
            let (mut store, _) = store(&factory);
            change(&mut store);
            drop(store);
            assert_eq!(factory.pooled_heaps(), Some((0, 0)), "{}, {number}", runtime.name());
        }
    }
}

/// Its heaps have the provided `reset`.
struct NoReset;

impl GcRuntime for NoReset {
    fn name(&self) -> &'static str {
        "no-reset"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let inner = collector::CopyingCollector.new_gc_heap(memory)?;
        Ok(Box::new(NoResetHeap(inner)))
    }
}

struct NoResetHeap(Box<dyn GcHeap>);

impl GcHeap for NoResetHeap {
    fn core(&self) -> &HeapCore {
        self.0.core()
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        self.0.core_mut()
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.0.alloc_raw(header, size)
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.0.grow(bytes)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.0.gc(request)
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.0.for_each_object(visit)
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.0.verify()
    }

    fn stats(&self) -> GcStats {
        self.0.stats()
    }
}

#[test]
fn a_collector_may_do_without_reset() {
    let factory = factory(Arc::new(NoReset), 1);
    let value = Arc::new(());
    for _ in 0..3 {
        let (mut store, _) = store(&factory);
        let object = node(&mut store);
        assert_eq!(store.read_field(&object, VALUE, StorageType::I64), Ok(0));
        store.write_field(&object, VALUE, StorageType::I64, u128::MAX).unwrap();
        let boxed = Box::new(Arc::clone(&value));
        store.alloc_externref(&mut NoStack, boxed).map_err(|(error, _)| error).unwrap();
        // Nothing changes.
        assert_eq!(store.reset(), Err(HeapError::NoReset));
        assert_eq!(store.stats().live_objects, 2);
        assert_eq!(store.read_field(&object, VALUE, StorageType::I64), Ok(u64::MAX.into()));
        assert_eq!(Arc::strong_count(&value), 2);
        drop(store);
        assert_eq!((factory.pooled_heaps(), Arc::strong_count(&value)), (Some((0, 0)), 1));
    }
    let mut heap = NoResetHeap(
        collector::CopyingCollector
            .new_gc_heap(HeapMemory::new(&options(HeapBounds::Checked)).unwrap())
            .unwrap(),
    );
    assert!(!heap.reset(&mut ExternRefHostDataTable::default()));
    assert!(heap.core().memory.len() > NULL_PAGE_SIZE.into());
}

/// A heap that nobody has used is not reset, and is not dropped either.
#[test]
fn an_unused_heap_goes_back_as_it_is() {
    let factory = factory(Arc::new(NoReset), 1);
    let (one, base) = store(&factory);
    drop(one);
    assert_eq!(factory.pooled_heaps(), Some((0, 1)));
    let (mut two, other) = store(&factory);
    assert_eq!(other, base);
    // Compiled code uses a heap without telling the store.
    assert!(two.enter_compiled());
    drop(two);
    assert_eq!(factory.pooled_heaps(), Some((0, 0)));
}

/// Stores of one factory may number their types as they like.
#[test]
fn layouts_belong_to_the_store() {
    for runtime in collectors() {
        let factory = factory(runtime, 1);
        let (mut store, base) = store(&factory);
        let layouts = layouts();
        let longs = &layouts[4].1;
        let known = Arc::strong_count(longs);
        let [own, next] = [200, 201].map(|index| TypeIndex::new(index).unwrap());
        store.ensure_layout(own, longs).unwrap();
        node(&mut store);
        assert_eq!(Arc::strong_count(longs), known + 1);
        drop(store);
        // A heap that waits knows no type.
        assert_eq!(Arc::strong_count(longs), known);

        let mut other = GcStore::lazy(&factory);
        other.ensure_heap().unwrap();
        assert_eq!(other.heap().unwrap().vmctx_gc_heap_base().addr(), base);
        assert!(other.heap().unwrap().core().side.layouts.iter().next().is_none());
        other.ensure_layout(next, longs).unwrap();
        other.ensure_layout(own, &layouts[2].1).unwrap();
        let array = other.alloc_array(&mut NoStack, own, 3).unwrap();
        other.expose_gc_ref_to_wasm(array);
        other.gc(&mut NoStack).unwrap();
        other.heap().unwrap().verify().unwrap();
    }
}

/// A limiter that knows whether it exists.
#[derive(Debug)]
struct Limiter {
    _exists: Arc<()>,
}

impl HeapLimiter for Limiter {
    fn growing(&mut self, _growth: HeapGrowth) -> Result<bool, String> {
        Ok(true)
    }
}

/// Also the cause of the last collection, on which plans depend, belongs to the store.
#[test]
fn a_heap_that_waits_has_no_limiter_and_no_cause() {
    for runtime in collectors() {
        let factory = factory(runtime, 1);
        let (mut store, base) = store(&factory);
        let limiter = Arc::new(());
        store.set_limiter(Some(Box::new(Limiter { _exists: limiter.clone() })));
        node(&mut store);
        store.gc(&mut NoStack).unwrap();
        drop(store);
        assert_eq!(Arc::strong_count(&limiter), 1);
        let (other, again) = self::store(&factory);
        assert_eq!((again, other.heap().unwrap().core().side.asked), (base, false));
    }
}

/// Without a pool, few heaps are kept, and none by a source that keeps nothing.
#[test]
fn few_heaps_are_kept_without_a_pool() {
    let resident = OnDemand::DEFAULT_RESIDENT;
    let sources = [(0, 0, 0), (16, resident - 1, 0), (2, resident, 2), (16, resident, 4)];
    for (most, resident, kept) in sources {
        for runtime in collectors() {
            let source = Arc::new(OnDemand::keeping(most, resident));
            let factory = keeping(runtime, &source);
            assert_eq!((factory.kept_heaps(), factory.pooled_heaps()), (0, None));
            let mut stores: Vec<GcStore> = (0..9).map(|_| store(&factory).0).collect();
            // Some are used, some are not.
            stores.iter_mut().step_by(2).for_each(|store| _ = node(store));
            drop(stores);
            assert_eq!(factory.kept_heaps(), kept);
            assert!(source.kept_now() <= most);
            drop(factory);
            assert!(source.kept_now() <= most);
        }
    }
    let initial = HeapFactory::MAX_KEPT_SIZE + 1;
    let large = HeapOptions { initial, ..options(HeapBounds::Checked) };
    let factory = HeapFactory::new(Arc::new(collector::CopyingCollector), &large).unwrap();
    let factory = Arc::new(factory);
    GcStore::lazy(&factory).ensure_heap().unwrap();
    assert_eq!(factory.kept_heaps(), 0);
}

/// The source may be shared by several factories, and outlive them.
#[test]
fn kept_heaps_are_released_when_the_system_has_no_more() {
    let source = Arc::new(OnDemand::default());
    let memory = |size: usize| {
        let purpose = MemoryPurpose::LinearMemory;
        let request = MemoryRequest { purpose, size, unmapped: 0, initial: 0, affinity: 0 };
        let source: Arc<dyn MemorySource> = source.clone();
        MappedMemory::new(&source, request)
    };
    let factories = collectors().map(|runtime| keeping(runtime, &source));
    for factory in &factories {
        drop(store(factory));
        assert_eq!(factory.kept_heaps(), 1);
    }
    let [_, second, ..] = factories.each_ref();
    let second = Arc::downgrade(second);
    assert!(memory(1 << 62).is_err());
    assert!(factories.iter().all(|factory| factory.kept_heaps() == 0));
    assert_eq!(source.kept_now(), 0);
    // They are kept again, and a factory that is gone is no obstacle.
    factories.iter().for_each(|factory| drop(store(factory)));
    let first = factories.into_iter().next().unwrap();
    assert!(second.upgrade().is_none());
    assert_eq!(first.kept_heaps(), 1);
    assert!(memory(1 << 62).is_err());
    assert_eq!((first.kept_heaps(), source.kept_now()), (0, 0));
}

/// A policy and a limiter with a share of something.
#[derive(Clone, Debug)]
struct Share(#[allow(dead_code, reason = "its count")] Arc<()>);

impl GrowthPolicy for Share {
    fn decide(&mut self, _usage: &HeapUsage, _need: u64) -> Decision {
        Decision::Collect
    }

    fn plan(&mut self, _usage: &HeapUsage) -> HeapPlan {
        HeapPlan::default()
    }
}

impl HeapLimiter for Share {
    fn growing(&mut self, _growth: HeapGrowth) -> Result<bool, String> {
        Ok(true)
    }
}

/// A policy that sees how many heaps its pool keeps when it ends.
#[derive(Clone, Debug, Default)]
struct Ends(Arc<OnceLock<Weak<HeapFactory>>>, Arc<AtomicUsize>);

impl GrowthPolicy for Ends {
    fn decide(&mut self, _usage: &HeapUsage, _need: u64) -> Decision {
        Decision::Collect
    }

    fn plan(&mut self, _usage: &HeapUsage) -> HeapPlan {
        HeapPlan::default()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(factory) = self.0.get().and_then(Weak::upgrade) {
            self.1.fetch_max(factory.kept_heaps() + 1, Relaxed);
        }
    }
}

/// A policy may count what the heap uses. Its share must be free when another store gets the heap.
#[test]
fn a_store_has_no_policy_any_more_when_its_heap_is_given_back() {
    let policy = Ends::default();
    let (known, seen) = (policy.0.clone(), policy.1.clone());
    let options =
        HeapOptions { policy: PolicyFactory::from(policy), ..options(HeapBounds::Checked) };
    let factory = HeapFactory::new(collectors()[2].clone(), &options).unwrap();
    let factory = Arc::new(factory.with_pool(1));
    let (store, _) = store(&factory);
    known.set(Arc::downgrade(&factory)).unwrap();
    drop(store);
    assert_eq!((factory.kept_heaps(), seen.load(Relaxed)), (1, 1));
}

/// A heap that waits has nothing of the store that had it, and the next store does not inherit how the
/// last one changed the heap.
#[test]
fn what_a_store_gives_to_its_heap_ends_with_the_store() {
    for runtime in collectors() {
        for is_used in [false, true] {
            let (policy, limiter) = (Arc::new(()), Arc::new(()));
            let options = HeapOptions {
                policy: PolicyFactory::from(Share(policy.clone())),
                ..options(HeapBounds::Checked)
            };
            let factory = Arc::new(HeapFactory::new(runtime.clone(), &options).unwrap());
            let policies = Arc::strong_count(&policy);
            let (one, base) = {
                let mut one = GcStore::lazy(&factory);
                one.set_limiter(Some(Box::new(Share(limiter.clone()))));
                one.ensure_heap().unwrap();
                layouts().iter().for_each(|(ty, it)| one.ensure_layout(*ty, it).unwrap());
                let base = one.heap().unwrap().vmctx_gc_heap_base();
                (one, base)
            };
            let mut one = one;
            if is_used {
                one.heap_mut().unwrap().core_mut().side.pause_target = Duration::from_secs(9);
                one.heap_mut().unwrap().limit_inline_allocation(NonZeroU32::new(64));
                _ = node(&mut one);
            }
            drop(one);
            assert_eq!(factory.kept_heaps(), 1);
            assert_eq!(Arc::strong_count(&policy), policies, "{}", runtime.name());
            assert_eq!(Arc::strong_count(&limiter), 1);

            let mut new = GcStore::new(&*runtime, &options).unwrap();
            layouts().iter().for_each(|(ty, it)| new.ensure_layout(*ty, it).unwrap());
            let (mut two, same) = store(&factory);
            assert_eq!(same, base.addr());
            assert_eq!(two.heap().unwrap().core().side.pause_target, options.pause_target);
            // Emitted code gets as much memory at a time as in a new heap.
            let limit = |store: &mut GcStore| {
                _ = node(store);
                store.heap().unwrap().core().memory.data_u32(gc_types::collector::bump::LIMIT)
            };
            assert_eq!(limit(&mut two), limit(&mut new), "{}", runtime.name());
        }
    }
}
