//! Heaps that are handed from store to store.

use super::common::*;
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcRuntime, GcStats, GcStore,
    HeapBounds, HeapCore, HeapError, HeapFactory, HeapGrowth, HeapLimiter, HeapMemory,
    MemoryPurpose, NoStack, collector,
};
use gc_types::{NULL_PAGE_SIZE, StorageType, TypeIndex, VMGcHeader, VMGcRef};
use std::sync::Arc;

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

/// A store with a heap from the pool, and the heap's address.
fn store(factory: &Arc<HeapFactory>) -> (GcStore, usize) {
    let mut store = GcStore::lazy(factory);
    store.ensure_heap().unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
    let base = store.heap().vmctx_gc_heap_base().addr();
    (store, base)
}

#[test]
fn the_next_store_gets_the_heap_without_anything_of_the_last() {
    for runtime in collectors() {
        let name = runtime.name();
        let factory = factory(runtime, 2);
        let value = Arc::new(());
        let (_, expected) = store(&factory);
        for round in 0..4 {
            let (mut store, base) = store(&factory);
            assert_eq!(base, expected, "{name}");
            assert_eq!(store.stats().allocations, 0);
            store.heap().for_each_object(&mut |_| panic!("an object")).unwrap();
            store.heap().verify().unwrap();
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
            let memory = &mut store.heap_mut().core_mut().memory;
            let end = memory.len();
            assert_eq!(memory.read_u64(end - 8), Some(0));
            memory.write_u64(end - 8, 1).unwrap();
            store.heap_mut().enter_no_gc_scope();
            store.heap_mut().exit_no_gc_scope();
            drop(store);
            assert_eq!(Arc::strong_count(&value), 1, "{name}");
        }
        assert_eq!(factory.pooled_heaps(), Some((0, 1)));
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
    let changes: [Change; 4] = [
        |store| assert!(store.heap_mut().grow(1 << 20).unwrap() > 0),
        |store| store.heap_mut().core_mut().note_damage(8, "a test's"),
        |store| store.heap_mut().enter_no_gc_scope(),
        |store| {
            let other = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
            store.heap_mut().core_mut().memory = other;
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

    fn new_gc_heap(&self, memory: HeapMemory, zeal: u32) -> Result<Box<dyn GcHeap>, HeapError> {
        let inner = collector::CopyingCollector.new_gc_heap(memory, zeal)?;
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
            .new_gc_heap(HeapMemory::new(&options(HeapBounds::Checked)).unwrap(), 0)
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
    two.enter_compiled().unwrap();
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
        assert_eq!(other.heap().vmctx_gc_heap_base().addr(), base);
        assert!(other.heap().core().layouts.iter().next().is_none());
        other.ensure_layout(next, longs).unwrap();
        other.ensure_layout(own, &layouts[2].1).unwrap();
        let array = other.alloc_array(&mut NoStack, own, 3).unwrap();
        other.expose_gc_ref_to_wasm(array);
        other.gc(&mut NoStack).unwrap();
        other.heap().verify().unwrap();
    }
}

/// A limiter that knows whether it exists.
#[derive(Debug)]
struct Limiter {
    _exists: Arc<()>,
}

impl HeapLimiter for Limiter {
    fn growing(&mut self, _growth: HeapGrowth) -> bool {
        true
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
        assert_eq!((again, other.heap().core().asked), (base, false));
    }
}
