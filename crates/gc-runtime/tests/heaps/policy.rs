//! Tests of when a store collects, grows and gives up; of scopes, resets, statistics.

use crate::common::*;
use gc_runtime::collector::{DrcCollector, NullCollector};
use gc_runtime::{
    GcRootsList, HeapBounds, HeapError, HeapOptions, IncompleteWalk, NoStack, PauseKind, TraceRoots,
};
use gc_testkit::roots::Stack;
use gc_types::{HeapDataOffsets, StorageType, VMGcHeader, VMGcKind, VMGcRef};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn out_of_memory_is_an_error_the_store_survives() {
    on_every_heap(|name, mut store| {
        let mut held = Vec::new();
        let error = loop {
            match store.alloc_array(&mut NoStack, LONGS, 1000) {
                Ok(array) => held.push(array),
                Err(error) => break error,
            }
        };
        let limit = 8 << 20;
        assert!(
            matches!(error, HeapError::OutOfMemory { bytes: 8016, limit: l } if l == limit),
            "{name}: {error}"
        );
        assert!(held.len() > 900, "{name}: {} arrays", held.len());
        assert_eq!(store.stats().heap_bytes, limit - (64 << 10));
        // Live objects are unchanged, and freed memory can be used again.
        store.array_fill(&held[5], 0, 1, 1000).unwrap();
        let huge = store.alloc_array(&mut NoStack, LONGS, 100_000_000);
        assert!(matches!(huge, Err(HeapError::OutOfMemory { .. })), "{huge:?}");
        store.heap().unwrap().verify().unwrap();
        if name == "drc" {
            held.drain(..100).for_each(|array| store.drop_gc_ref(array));
            for _ in 0..100 {
                store.alloc_array(&mut NoStack, LONGS, 1000).unwrap();
            }
            store.heap().unwrap().verify().unwrap();
        }
    });
}

#[test]
fn garbage_that_compiled_code_left_is_collected_before_the_heap_grows() {
    let mut store = store_with(&DrcCollector, &options(HeapBounds::Checked));
    let kept = node(&mut store);
    store.write_field(&kept, VALUE, StorageType::I64, 99).unwrap();
    let mut stack = Stack(vec![u64::from(store.expose_gc_ref_to_wasm(kept))]);
    for _ in 0..200_000 {
        let garbage = store.alloc_struct(&mut stack, NODE).unwrap();
        store.expose_gc_ref_to_wasm(garbage);
    }
    let (stats, pauses) = (store.stats(), store.pauses());
    assert_eq!(stats.heap_bytes, (256 - 64) << 10, "it never grew");
    assert!(stats.collections > 10 && pauses.longest() <= pauses.total());
    assert_eq!(pauses.count(), stats.collections);
    assert!(pauses.count_of(PauseKind::Counts) > 0);
    let last = pauses.recent().last().unwrap();
    assert!(last.bytes_before > 100 << 10 && last.bytes_after < 1 << 10, "{last:?}");
    assert_eq!((stats.allocations, stats.allocated_bytes), (200_001, 200_001 * 24));
    let kept = VMGcRef::from_raw_u32(stack.0[0] as u32).unwrap();
    assert_eq!(store.read_field(&kept, VALUE, StorageType::I64), Ok(99));
}

#[test]
fn a_heap_full_of_live_objects_grows_instead_of_collecting_again_and_again() {
    let mut store = store_with(&DrcCollector, &options(HeapBounds::Guarded));
    let _held: Vec<VMGcRef> = (0..200_000).map(|_| node(&mut store)).collect();
    assert!(store.stats().collections < 20, "{:?}", store.stats());
    assert!(store.stats().peak_heap_bytes >= 200_000 * 24);
}

#[test]
fn an_incomplete_walk_skips_the_collection() {
    let mut store = store_with(&DrcCollector, &options(HeapBounds::Checked));
    let object = node(&mut store);
    let raw = store.expose_gc_ref_to_wasm(object);
    assert_eq!(store.gc(&mut Lost), Ok(false));
    assert_eq!((store.stats().collections, store.stats().live_objects), (0, 1));
    // Allocation continues by growing up to the limit.
    let result = loop {
        match store.alloc_struct(&mut Lost, NODE) {
            Ok(garbage) => store.expose_gc_ref_to_wasm(garbage),
            Err(error) => break error,
        };
    };
    assert!(matches!(result, HeapError::OutOfMemory { .. }));
    assert_eq!(store.stats().collections, 0);
    // A successful walk frees everything that it did not find.
    assert_eq!(store.gc(&mut Stack(vec![u64::from(raw)])), Ok(true));
    assert_eq!(store.stats().live_objects, 1);
}

#[test]
fn inside_a_no_gc_scope_allocation_grows_the_heap() {
    let mut store = store_with(&DrcCollector, &options(HeapBounds::Checked));
    store.heap_mut().unwrap().enter_no_gc_scope();
    store.heap_mut().unwrap().enter_no_gc_scope();
    store.heap_mut().unwrap().exit_no_gc_scope();
    for _ in 0..50_000 {
        let garbage = store.alloc_struct(&mut NoStack, NODE).unwrap();
        store.expose_gc_ref_to_wasm(garbage);
    }
    assert_eq!((store.stats().collections, store.stats().live_objects), (0, 50_000));
    store.heap_mut().unwrap().exit_no_gc_scope();
    assert_eq!(store.gc(&mut NoStack), Ok(true));
    assert_eq!(store.stats().live_objects, 0);
}

#[test]
fn collecting_inside_a_no_gc_scope_panics() {
    on_every_heap(|name, mut store| {
        store.heap_mut().unwrap().enter_no_gc_scope();
        store.heap_mut().unwrap().enter_no_gc_scope();
        store.heap_mut().unwrap().exit_no_gc_scope();
        let collect = std::panic::AssertUnwindSafe(|| store.gc(&mut NoStack));
        assert!(std::panic::catch_unwind(collect).is_err(), "{name}");
        store.heap_mut().unwrap().exit_no_gc_scope();
        assert_eq!(store.gc(&mut NoStack), Ok(true));
    });
}

#[test]
fn entering_compiled_code_asks_for_a_collection_in_time() {
    // Large enough that room does not run out.
    let large = HeapOptions { initial: 8 << 20, ..options(HeapBounds::Checked) };
    let mut store = store_with(&DrcCollector, &large);
    let mut entered = 0;
    while !store.need_gc_before_entering_wasm(NonZeroU32::MIN) {
        // The newest object leaves the list when compiled code gets it. Earlier ones stay.
        for object in [node(&mut store), node(&mut store)] {
            store.expose_gc_ref_to_wasm(object);
        }
        entered += 1;
        assert!(entered < 1_000_000);
    }
    store.gc(&mut NoStack).unwrap();
    assert!(!store.need_gc_before_entering_wasm(NonZeroU32::MIN));
}

#[test]
fn host_values_alone_cause_a_collection() {
    let mut store = store_with(
        &DrcCollector,
        &HeapOptions { initial: 8 << 20, ..options(HeapBounds::Guarded) },
    );
    for _ in 0..100_000 {
        let externref = store.alloc_externref(&mut NoStack, Box::new([0u8; 16]));
        let externref = externref.map_err(|(error, _)| error).unwrap();
        store.expose_gc_ref_to_wasm(externref);
        assert!(store.host_data().len() < 20_000);
    }
}

#[test]
fn every_host_value_is_dropped_once() {
    on_every_heap(|name, mut store| {
        let value = Arc::new(());
        let mut held = Vec::new();
        for i in 0..100 {
            let externref = store.alloc_externref(&mut NoStack, Box::new(Arc::clone(&value)));
            let externref = externref.map_err(|(error, _)| error).unwrap();
            match i % 4 {
                0 => held.push(externref),
                1 => drop(store.expose_gc_ref_to_wasm(externref)),
                2 => {
                    let node = node(&mut store);
                    store.write_field_ref(&node, LEFT, Some(&externref)).unwrap();
                    store.drop_gc_ref(externref);
                    held.push(node);
                }
                _ => store.drop_gc_ref(externref),
            }
        }
        let alive = || Arc::strong_count(&value) - 1;
        assert_eq!(alive(), 100);
        store.gc(&mut NoStack).unwrap();
        assert_eq!(alive(), if name == "drc" { 50 } else { 100 });
        held.drain(..25).for_each(|gc_ref| store.drop_gc_ref(gc_ref));
        store.gc(&mut NoStack).unwrap();
        assert_eq!(alive(), if name == "drc" { 25 } else { 100 });
        store.heap().unwrap().verify().unwrap();
        drop(store);
        assert_eq!(alive(), 0);
    });
}

#[test]
fn damage_that_was_noted_is_reported_until_reset() {
    on_every_heap(|name, mut store| {
        node(&mut store);
        store.heap_mut().unwrap().core_mut().note_damage(0x1234, "a test's");
        let reported = |error| matches!(error, HeapError::Corrupt { at: 0x1234, .. });
        assert!(store.alloc_struct(&mut NoStack, NODE).is_err_and(reported), "{name}");
        assert!(store.gc(&mut NoStack).is_err_and(reported), "{name}");
        store.reset().unwrap();
        node(&mut store);
        assert_eq!(store.gc(&mut NoStack), Ok(true));
    });
}

#[test]
fn an_id_that_two_boxes_claim_is_dropped_once() {
    let mut store = store_with(&DrcCollector, &options(HeapBounds::Checked));
    let value = Arc::new(());
    let made: Vec<VMGcRef> = (0..2)
        .map(|_| {
            let externref = store.alloc_externref(&mut NoStack, Box::new(Arc::clone(&value)));
            externref.map_err(|(error, _)| error).unwrap()
        })
        .collect();
    let at = gc_types::GcLayout::EXTERNREF_ID_OFFSET;
    let id = store.read_field(&made[0], at, StorageType::I32).unwrap();
    store.write_field(&made[1], at, StorageType::I32, id).unwrap();
    made.into_iter().for_each(|externref| store.drop_gc_ref(externref));
    store.gc(&mut NoStack).unwrap();
    assert_eq!(Arc::strong_count(&value), 2);
    drop(store);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_failed_externref_gives_its_value_back() {
    let small = HeapOptions { initial: 0, maximum: 0, ..options(HeapBounds::Checked) };
    for runtime in COLLECTORS {
        let mut store = store_with(runtime, &small);
        let (error, value) = store.alloc_externref(&mut NoStack, Box::new(7i32)).unwrap_err();
        assert!(matches!(error, HeapError::OutOfMemory { .. }));
        assert_eq!(value.downcast_ref(), Some(&7i32));
        assert!(store.host_data().is_empty());
    }
}

#[test]
fn reset_forgets_objects_and_values_and_keeps_the_mappings() {
    on_every_heap(|name, mut store| {
        let value = Arc::new(());
        for round in 0..3 {
            for _ in 0..20_000 {
                let object = node(&mut store);
                store.expose_gc_ref_to_wasm(object);
            }
            let externref = store.alloc_externref(&mut NoStack, Box::new(Arc::clone(&value)));
            externref.map_err(|(error, _)| error).unwrap();
            let (base, mapped) =
                (store.heap().unwrap().vmctx_gc_heap_base(), store.stats().heap_bytes);
            store.reset().unwrap();
            assert_eq!(Arc::strong_count(&value), 1, "{name}, round {round}");
            let stats = store.stats();
            assert_eq!((stats.live_objects, stats.allocations, stats.collections), (0, 0, 0));
            assert_eq!(
                (store.heap().unwrap().vmctx_gc_heap_base(), stats.heap_bytes),
                (base, mapped)
            );
            store.heap().unwrap().verify().unwrap();
            let object = node(&mut store);
            assert_eq!(store.read_field(&object, VALUE, StorageType::I64), Ok(0));
        }
    });
}

#[test]
fn the_bound_in_the_heap_data_follows_growth() {
    on_every_heap(|_, mut store| {
        let before = store.heap().unwrap().vmctx_gc_heap_bound();
        let data = store.heap().unwrap().vmctx_gc_heap_data();
        store.heap_mut().unwrap().grow(1 << 20).unwrap();
        let heap = store.heap().unwrap();
        assert!(heap.vmctx_gc_heap_bound() >= before + (1 << 20));
        let memory = &heap.core().memory;
        assert_eq!(memory.data_u64(HeapDataOffsets::BOUND), heap.vmctx_gc_heap_bound());
        assert_eq!(heap.vmctx_gc_heap_data(), data);
    });
}

/// Emitted code writes native memory that is addressed with these words.
#[test]
fn only_a_table_writes_the_words_that_address_it() {
    let mut tables = Vec::new();
    for runtime in ALL_COLLECTORS {
        let mut store = store_with(runtime, &options(HeapBounds::Checked));
        node(&mut store);
        let memory = &mut store.heap_mut().unwrap().core_mut().memory;
        let words = runtime.abi().table_words();
        for offset in (0..u32::BITS).filter(|n| words & 1 << n != 0).map(|n| 4 * n) {
            let before = memory.data_u32(offset);
            let attempt = AssertUnwindSafe(|| memory.set_data_u32(offset, 0x5555_5555));
            let panic = catch_unwind(attempt).unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert!(message.starts_with("only the owner of a side table writes"), "{message}");
            memory.reset();
            assert_eq!(memory.data_u32(offset), before, "{} at {offset}", runtime.name());
        }
        store.reset().unwrap();
        node(&mut store);
        store.heap().unwrap().verify().unwrap();
        tables.extend(runtime.abi().tables().map(|table| table.name()));
    }
    assert_eq!(tables, ["list", "starts", "bundles", "cards", "log", "slot-cards"]);
}

#[test]
fn null_allocates_between_its_data_words_like_emitted_code() {
    use gc_types::collector::null::{LIMIT, NEXT};
    let mut store = store_with(&NullCollector, &options(HeapBounds::Checked));
    let first = node(&mut store);
    // Allocates a node as emitted code does.
    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
    let next = memory.data_u32(NEXT);
    assert_eq!(next, first.as_raw_u32() + 24);
    assert!(next + 24 <= memory.data_u32(LIMIT));
    memory.write_u32(u64::from(next), NODE.header_word(gc_types::VMGcKind::StructRef)).unwrap();
    memory.set_data_u32(NEXT, next + 24);
    assert_eq!((store.stats().allocations, store.stats().allocated_bytes), (2, 48));
    store.heap().unwrap().verify().unwrap();
    assert_eq!(node(&mut store).as_raw_u32(), next + 24);
}

#[test]
fn null_counts_each_object_once_however_often_it_is_asked() {
    let mut store = store_with(&NullCollector, &options(HeapBounds::Checked));
    assert_eq!((store.stats().allocations, store.stats().live_objects), (0, 0));
    let mut bytes = 0;
    for round in 1..=100 {
        // Before its length is written an array has a smaller size.
        let header = VMGcHeader::new(VMGcKind::ArrayRef, BYTES);
        let array = store.heap_mut().unwrap().alloc_raw(header, 120).unwrap();
        bytes += 120;
        if round % 2 == 0 {
            store.stats();
        }
        let at = u64::from(array.as_raw_u32()) + 8;
        store.heap_mut().unwrap().core_mut().memory.write_u32(at, 108).unwrap();
        if round % 3 == 0 {
            node(&mut store);
            bytes += 24;
        }
        let stats = store.stats();
        assert_eq!((stats.allocations, stats.live_bytes), (round + round / 3, bytes));
    }
    store.reset().unwrap();
    assert_eq!(store.stats().live_objects, 0);
    node(&mut store);
    assert_eq!(store.stats().live_objects, 1);
}

#[cfg(not(feature = "gc_zeal"))]
#[test]
fn zeal_without_its_feature_is_an_error() {
    let options = HeapOptions { zeal: 1, ..options(HeapBounds::Checked) };
    for runtime in COLLECTORS {
        let error = gc_runtime::GcStore::new(runtime, &options).unwrap_err();
        assert!(matches!(error, HeapError::Options { .. }), "{error}");
        assert!(error.to_string().contains("`features = [\"gc_zeal\"]`"), "{error}");
    }
    // An engine is refused too, so that its stores need not be.
    let factory = gc_runtime::HeapFactory::new(Arc::new(NullCollector), &options);
    assert!(matches!(factory, Err(HeapError::Options { .. })));
}

#[cfg(feature = "gc_zeal")]
mod zeal {
    use super::*;

    #[test]
    fn every_nth_allocation_collects() {
        for runtime in COLLECTORS {
            let options = HeapOptions { zeal: 3, ..options(HeapBounds::Checked) };
            let mut store = store_with(runtime, &options);
            for _ in 0..2 {
                for _ in 0..30 {
                    node(&mut store);
                }
                assert_eq!(store.stats().collections, 10, "{}", runtime.name());
                store.reset().unwrap();
            }
            // Emitted code that counted down to zero takes the slow path.
            let memory = &mut store.heap_mut().unwrap().core_mut().memory;
            assert_eq!(memory.data_u32(HeapDataOffsets::ZEAL_COUNTDOWN), 3);
            memory.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, 0);
            node(&mut store);
            assert_eq!(store.stats().collections, 1);
            let memory = &store.heap().unwrap().core().memory;
            assert_eq!(memory.data_u32(HeapDataOffsets::ZEAL_COUNTDOWN), 3);
        }
    }

    #[test]
    fn damage_is_found_by_the_verification() {
        for runtime in COLLECTORS {
            let options = HeapOptions { zeal: 1, ..options(HeapBounds::Checked) };
            let mut store = store_with(runtime, &options);
            let object = node(&mut store);
            let at = u64::from(object.as_raw_u32());
            store.heap_mut().unwrap().core_mut().memory.write_u32(at, 0).unwrap();
            let result = store.alloc_struct(&mut NoStack, NODE);
            assert!(matches!(result, Err(HeapError::Verification { .. })), "{}", runtime.name());
        }
    }
}

#[cfg(feature = "async")]
mod asynchronous {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Polls until ready. Returns how often it was not ready.
    fn block_on<T>(future: impl Future<Output = T>) -> (T, u32) {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for yields in 0.. {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return (value, yields);
            }
        }
        unreachable!()
    }

    fn require_send<T: Send>(value: T) -> T {
        value
    }

    #[test]
    fn an_asynchronous_collection_yields_and_frees_as_much() {
        let mut store = store_with(
            &DrcCollector,
            &HeapOptions {
                initial: 8 << 20,
                pause_target: std::time::Duration::ZERO,
                ..options(HeapBounds::Guarded)
            },
        );
        let kept = node(&mut store);
        let mut stack = Stack(vec![u64::from(store.expose_gc_ref_to_wasm(kept))]);
        // The newest object leaves the list when compiled code gets it. Earlier ones stay.
        for _ in 0..50_000 {
            for garbage in [node(&mut store), node(&mut store)] {
                store.expose_gc_ref_to_wasm(garbage);
            }
        }
        let (result, yields) = block_on(require_send(store.gc_async(&mut stack)));
        assert_eq!(result, Ok(true));
        assert!(yields > 10, "{yields}");
        assert_eq!((store.stats().live_objects, store.stats().collections), (1, 1));
        store.heap().unwrap().verify().unwrap();
        assert_eq!(block_on(store.gc_async(&mut Lost)).0, Ok(false));
    }

    #[test]
    fn a_dropped_future_leaves_the_heap_in_order() {
        for polls in 0..8 {
            let mut store = store_with(&DrcCollector, &options(HeapBounds::Checked));
            for _ in 0..8000 {
                let garbage = node(&mut store);
                store.expose_gc_ref_to_wasm(garbage);
            }
            let mut no_roots = NoStack;
            let mut future = Box::pin(store.gc_async(&mut no_roots));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if future.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
            drop(future);
            store.heap().unwrap().verify().unwrap();
            store.gc(&mut NoStack).unwrap();
            assert_eq!(store.stats().live_objects, 0);
        }
    }
}

#[test]
fn a_drc_heap_stays_so_small_that_counts_cannot_overflow() {
    let options = HeapOptions { maximum: 4 << 30, ..HeapOptions::default() };
    let store = gc_runtime::GcStore::new(&DrcCollector, &options).unwrap();
    let limit = store.heap().unwrap().core().memory.maximum();
    assert_eq!(limit, gc_types::collector::drc::MAX_HEAP_SIZE);
}

/// A mutator with a deep stack, which counts the frames that are walked.
struct Deep {
    frames: u64,
    walked: u64,
}

impl TraceRoots for Deep {
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        self.walked += self.frames;
        roots.add_frames(self.frames);
        Ok(())
    }
}

/// Each frame allocates an object and calls the next one. All collections together walk over a few times
/// as many frames as there are.
#[test]
fn a_deep_stack_is_not_walked_again_and_again() {
    const FRAMES: u64 = 1 << 20;
    for runtime in ALL_COLLECTORS {
        let options = HeapOptions { maximum: 256 << 20, ..options(HeapBounds::Guarded) };
        let mut store = store_with(runtime, &options);
        let mut stack = Deep { frames: 0, walked: 0 };
        for frames in 0..FRAMES {
            stack.frames = frames;
            // Compiled code gets each object, as it gets one that it catches.
            if store.need_gc_before_entering_wasm(NonZeroU32::MIN) {
                store.gc(&mut stack).unwrap();
            }
            let object = store.alloc_struct(&mut stack, NODE).unwrap();
            store.expose_gc_ref_to_wasm(object);
        }
        let (name, collections) = (runtime.name(), store.stats().collections);
        assert!(name == "null" || collections > 1, "{name} does not collect");
        let times = stack.walked as f64 / FRAMES as f64;
        assert!(
            times < 6.0,
            "{name} walks over each frame {times} times, in {collections} collections"
        );
    }
}
