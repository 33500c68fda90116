//! Stores that get their heap when it is needed.

use super::common::*;
use gc_runtime::{
    GcRuntime, GcStats, GcStore, HeapError, HeapFactory, HeapOptions, NoStack, PauseKind, collector,
};
use gc_types::{I31, VMGcRef};
use std::sync::Arc;

fn collectors() -> [Arc<dyn GcRuntime>; 4] {
    [
        Arc::new(collector::NullCollector),
        Arc::new(collector::DrcCollector),
        Arc::new(collector::CopyingCollector),
        Arc::new(collector::GenerationalCollector::new()),
    ]
}

fn lazy(runtime: Arc<dyn GcRuntime>, options: &HeapOptions) -> GcStore {
    GcStore::lazy(&Arc::new(HeapFactory::new(runtime, options).unwrap()))
}

/// Runs `test` on a store without a heap of each collector.
fn on_lazy_stores(test: impl Fn(&str, GcStore)) {
    for runtime in collectors() {
        for bounds in [gc_runtime::HeapBounds::Guarded, gc_runtime::HeapBounds::Checked] {
            if cfg!(miri) && bounds == gc_runtime::HeapBounds::Guarded {
                continue;
            }
            let name = runtime.name();
            test(name, lazy(runtime.clone(), &options(bounds)));
        }
    }
}

#[test]
fn everything_but_an_allocation_works_without_a_heap() {
    on_lazy_stores(|name, mut store| {
        layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
        let id = store.func_refs_mut().add(0x1000);
        let one = store.root_owned(VMGcRef::from_i31(I31::wrapping_i32(1))).unwrap();
        let scope = store.enter_handle_scope();
        let two = store.root(VMGcRef::from_i31(I31::wrapping_i32(2))).unwrap();
        assert!(store.gc(&mut NoStack).unwrap(), "{name}");
        store.verify(&mut NoStack).unwrap();
        assert_eq!(store.stats(), GcStats::default(), "{name}");
        assert_eq!(store.pauses().recent().count(), 0);
        assert_eq!(store.pauses().count_of(PauseKind::Full), 0);
        assert_eq!(store.rooted(&two).unwrap().as_i31().unwrap().get_i32(), 2);
        store.exit_handle_scope(scope);
        let dangling = VMGcRef::from_raw_u32(0x1_0008).unwrap();
        assert!(store.header(&dangling).is_err());
        let i31 = VMGcRef::from_i31(I31::wrapping_i32(1));
        assert!(matches!(store.header(&i31), Err(HeapError::NotAnObject { .. })));
        assert!(store.read_field(&dangling, 8, gc_types::StorageType::I32).is_err());
        assert!(store.heap().is_none() && store.heap_mut().is_none(), "{name}");
        // Barriers and weak references work with `i31`s.
        let mut slot = None;
        store.write_gc_ref(&mut slot, Some(&i31));
        let weak = store.downgrade(&i31).unwrap();
        assert_eq!((store.upgrade(&weak).unwrap(), slot), (Some(i31.unchecked_copy()), Some(i31)));
        assert!(!store.has_heap(), "{name}");

        // The heap has all that was registered before.
        let object = node(&mut store);
        assert!(store.has_heap(), "{name}");
        assert_eq!(store.stats().allocations, 1);
        assert_eq!(store.func_refs().get(id), Some(0x1000));
        assert_eq!(store.rooted(&one.handle()).unwrap().as_i31().unwrap().get_i32(), 1);
        store.drop_gc_ref(object);
        assert!(store.gc(&mut NoStack).unwrap());
        let collected = u64::from(name != "null");
        assert!(store.stats().collections >= collected, "{name}");
    });
}

#[test]
fn a_reset_makes_no_heap() {
    on_lazy_stores(|name, mut store| {
        layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
        store.reset().unwrap();
        assert!(!store.has_heap(), "{name}");
        store.ensure_heap().unwrap();
        let base = store.heap().unwrap().vmctx_gc_heap_base();
        store.ensure_heap().unwrap();
        let object = node(&mut store);
        assert_eq!(store.heap().unwrap().vmctx_gc_heap_base(), base, "{name}");
        store.drop_gc_ref(object);
        store.reset().unwrap();
        assert!(store.has_heap());
    });
}

#[test]
fn scopes_without_collection_outlast_the_making_of_the_heap() {
    on_lazy_stores(|name, mut store| {
        layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
        store.enter_no_gc_scope();
        let object = node(&mut store);
        assert_eq!(store.side().no_gc_scopes, 1, "{name}");
        store.exit_no_gc_scope();
        store.drop_gc_ref(object);
    });
}

#[test]
#[should_panic(expected = "inside a no-GC scope")]
fn a_collection_in_such_a_scope_panics_without_a_heap() {
    let mut store = lazy(collectors()[2].clone(), &HeapOptions::default());
    store.enter_no_gc_scope();
    let _ = store.gc(&mut NoStack);
}

/// The first allocation counts as the first, whether or not there was a heap.
#[cfg(feature = "gc_zeal")]
#[test]
fn zeal_counts_from_the_first_allocation() {
    let options = HeapOptions { zeal: 3, ..options(gc_runtime::HeapBounds::Checked) };
    for runtime in collectors() {
        let collections = |mut store: GcStore| {
            layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
            let counts = (0..12).map(|_| {
                let object = node(&mut store);
                store.drop_gc_ref(object);
                store.stats().collections
            });
            counts.collect::<Vec<_>>()
        };
        let eager = GcStore::new(&*runtime, &options).unwrap();
        let late = lazy(runtime.clone(), &options);
        assert_eq!(collections(eager), collections(late), "{}", runtime.name());
    }
}

#[test]
fn the_maximum_is_what_the_collector_can_do() {
    let most = HeapOptions { maximum: 4 << 30, ..HeapOptions::default() };
    for runtime in collectors() {
        let factory = HeapFactory::new(runtime.clone(), &most).unwrap();
        assert_eq!(factory.options().maximum, HeapOptions::MAX_SIZE.min(runtime.max_heap_size()));
    }
}
