//! Tests of the internals: when the list is allocated, maturing, increments, slow paths of emitted
//! code, damage.

mod cycles;
mod slices;
mod unnamed;
mod verifier;

use super::*;
use gc_heap::{
    GcProgress, GcRootsList, GcStore, HeapBounds, HeapOptions, HeapPlan, NoStack, SlotsId,
    WeakTable,
};
use gc_testkit::roots::{Stack, add_slots, add_stack};
use gc_types::collector::drc::{LIST_CAPACITY, LIST_LEN};
use gc_types::{ArrayLayout, GcLayout, RootKind, StorageType, StructLayout, TypeIndex};
use std::sync::Arc;
use std::time::Duration;

const PAIR: TypeIndex = TypeIndex::new(0).unwrap();
const REFS: TypeIndex = TypeIndex::new(1).unwrap();
/// Offsets of a pair's two fields.
const CAR: u32 = 8;
const CDR: u32 = 12;

fn options() -> HeapOptions {
    let bounds = HeapBounds::Checked;
    HeapOptions { initial: 1 << 20, maximum: 64 << 20, bounds, ..HeapOptions::default() }
}

fn layouts() -> [(TypeIndex, Arc<GcLayout>); 2] {
    let pair = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
    [
        (PAIR, Arc::new(GcLayout::Struct(pair))),
        (REFS, Arc::new(GcLayout::Array(ArrayLayout::new(StorageType::Ref)))),
    ]
}

fn store() -> GcStore {
    store_with(&options())
}

fn store_with(options: &HeapOptions) -> GcStore {
    let mut store = GcStore::new(&DrcCollector, options).unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
    store
}

fn heap() -> DrcHeap {
    let memory = HeapMemory::new(&HeapOptions { zeal: 1, ..options() }).unwrap();
    let mut heap = DrcHeap::new(memory).unwrap();
    // The shortest possible increments.
    heap.core.side.pause_target = Duration::ZERO;
    layouts().iter().for_each(|(ty, layout)| heap.core.side.layouts.ensure(*ty, layout).unwrap());
    heap
}

fn pair(heap: &mut DrcHeap) -> VMGcRef {
    heap.alloc_raw(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16).unwrap()
}

fn word(heap: &dyn GcHeap, gc_ref: &VMGcRef) -> u32 {
    heap.header(gc_ref).unwrap().collector_bits()
}

/// Collects without roots and without looking for cycles, until no dead object waits.
fn collect_counts(heap: &mut DrcHeap) {
    assert_eq!(heap.search_for(GcCause::NoRoom), CycleSearch::Slice { begins: false });
    let mut host_data = ExternRefHostDataTable::default();
    let mut roots = GcRootsList::default();
    let mut weak = WeakTable::default();
    loop {
        let request = GcRequest::new(GcCause::NoRoom, &mut roots, &mut host_data, &mut weak);
        heap.gc(request).collect().unwrap();
        heap.verify().unwrap();
        if heap.work.dying.is_empty() {
            break;
        }
    }
}

fn asked<'a>(
    roots: &'a mut GcRootsList,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
) -> GcRequest<'a> {
    GcRequest::new(GcCause::Asked, roots, host_data, weak)
}

#[test]
fn nothing_is_allocated_for_the_list_before_the_host_has_an_object() {
    let mut store = store();
    store.gc(&mut NoStack).unwrap();
    assert_eq!(store.heap().unwrap().core().memory.data_u32(LIST_CAPACITY), 0);
    let object = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    assert_ne!(store.heap().unwrap().core().memory.data_u32(LIST_CAPACITY), 0);
    store.drop_gc_ref(object);
}

/// Also a heap that has no block yet.
#[test]
fn a_heap_that_was_reset_is_right_whatever_its_size() {
    for initial in [64 << 10, 68 << 10, 96 << 10, 128 << 10, 1 << 20] {
        let memory = HeapMemory::new(&HeapOptions { initial, zeal: 1, ..options() }).unwrap();
        let mut heap = DrcHeap::new(memory).unwrap();
        heap.verify().unwrap();
        assert!(heap.reset(&mut ExternRefHostDataTable::default()));
        heap.verify().unwrap();
        heap.grow(1000).unwrap();
        heap.verify().unwrap();
    }
}

#[test]
fn only_what_is_counted_or_on_the_stack_survives_a_collection() {
    let mut store = store();
    let on_stack = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    let on_stack = store.expose_gc_ref_to_wasm(on_stack);
    for _ in 0..10 {
        let garbage = store.alloc_struct(&mut NoStack, PAIR).unwrap();
        store.expose_gc_ref_to_wasm(garbage);
    }
    let held = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    let exposed = store.clone_gc_ref(&held);
    store.expose_gc_ref_to_wasm(exposed);
    assert_eq!(store.stats().live_objects, 12);

    let i31 = VMGcRef::from_i31(gc_types::I31::wrapping_u32(9)).as_raw_u32();
    let mut stack = Stack(vec![0, u64::from(on_stack), u64::from(i31), u64::from(on_stack)]);
    for _ in 0..2 {
        assert!(store.gc(&mut stack).unwrap());
        store.heap().unwrap().verify().unwrap();
        assert_eq!(store.stats().live_objects, 2);
        // The object without a count.
        assert_eq!(store.heap().unwrap().core().memory.data_u32(LIST_LEN), 1);
    }
    assert_eq!(word(store.heap().unwrap(), &held), COUNT_ONE | MATURE);
    store.drop_gc_ref(held);
    store.gc(&mut NoStack).unwrap();
    assert_eq!(store.stats().live_objects, 0);
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn what_a_young_object_refers_to_is_counted_when_it_matures() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let (parent, child) = (pair(&mut heap), pair(&mut heap));
    for field in [CAR, CDR] {
        let at = u64::from(parent.as_raw_u32() + field);
        heap.write_field_ref(&mut host_data, at, Some(&child)).unwrap();
    }
    assert_eq!(word(&heap, &child), COUNT_ONE | LISTED, "only the host's own");
    let child_word = heap.expose_gc_ref_to_wasm(child);
    let child = VMGcRef::from_raw_u32(child_word).unwrap();
    collect_counts(&mut heap);
    assert_eq!(word(&heap, &child), (2 * COUNT_ONE) | MATURE);
    assert_eq!(word(&heap, &parent), COUNT_ONE | MATURE);

    // From now on stores are counted, and unreferenced objects wait for a collection.
    let at = u64::from(parent.as_raw_u32() + CAR);
    heap.write_field_ref(&mut host_data, at, None).unwrap();
    assert_eq!(word(&heap, &child), COUNT_ONE | MATURE);
    heap.write_field_ref(&mut host_data, at + 4, None).unwrap();
    assert_eq!(word(&heap, &child), MATURE | LISTED);
    heap.verify().unwrap();
    assert_eq!(heap.stats().live_objects, 2);
    collect_counts(&mut heap);
    assert_eq!(heap.stats().live_objects, 1);
}

#[test]
fn young_objects_that_are_not_reached_die_with_what_they_refer_to() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let old = pair(&mut heap);
    collect_counts(&mut heap);
    let young = pair(&mut heap);
    let at = u64::from(young.as_raw_u32() + CAR);
    heap.write_field_ref(&mut host_data, at, Some(&old)).unwrap();
    assert_eq!(word(&heap, &old), COUNT_ONE | MATURE);
    let raw = heap.expose_gc_ref_to_wasm(old);
    heap.expose_gc_ref_to_wasm(young);
    heap.verify().unwrap();
    collect_counts(&mut heap);
    assert_eq!(heap.stats().live_objects, 0);
    assert!(!heap.space.is_object(raw));
}

#[test]
fn large_young_objects_die_beside_one_that_matures_and_dies_at_once() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let array = |heap: &mut DrcHeap| {
        let layout = ArrayLayout::new(StorageType::Ref);
        let header = VMGcHeader::new(VMGcKind::ArrayRef, REFS);
        let array = heap.alloc_raw(header, layout.size(10_000).unwrap()).unwrap();
        let length_at = u64::from(array.as_raw_u32() + ArrayLayout::LENGTH_OFFSET);
        heap.core.memory.write_u32(length_at, 10_000).unwrap();
        array
    };
    let parent = pair(&mut heap);
    collect_counts(&mut heap);
    for _ in 0..3 {
        let dead = array(&mut heap);
        heap.expose_gc_ref_to_wasm(dead);
    }
    let child = array(&mut heap);
    let at = u64::from(parent.as_raw_u32() + CAR);
    heap.write_field_ref(&mut host_data, at, Some(&child)).unwrap();
    heap.expose_gc_ref_to_wasm(child);
    heap.expose_gc_ref_to_wasm(parent);
    assert_eq!(heap.stats().live_objects, 5);
    collect_counts(&mut heap);
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn slow_paths_do_what_emitted_code_began() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    // Emitted code incremented the counts of young objects, and found the list full.
    let young: Vec<VMGcRef> = (0..3000)
        .map(|_| {
            let object = pair(&mut heap);
            let raw = heap.expose_gc_ref_to_wasm(object);
            VMGcRef::from_raw_u32(raw).unwrap()
        })
        .collect();
    collect_counts(&mut heap);
    assert_eq!(heap.stats().live_objects, 0);
    for object in &young {
        heap.space.alloc(&mut heap.core.memory, 16).unwrap();
        let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
        heap.core.set_header_at(object.as_raw_u32(), header).unwrap();
    }
    heap.verify().unwrap();
    for object in &young {
        heap.set_word(object, COUNT_ONE);
        for _ in 0..2 {
            let object = Some(object.unchecked_copy());
            heap.collector_slow_path(&mut host_data, OP_LIST, object, 0);
        }
        assert_eq!(word(&heap, object), COUNT_ONE | LISTED);
    }
    assert_eq!(heap.core.memory.data_u32(LIST_LEN), 3000);
    heap.verify().unwrap();

    // Other operations, null and i31s do nothing.
    heap.collector_slow_path(&mut host_data, 77, Some(young[0].unchecked_copy()), 0);
    heap.collector_slow_path(&mut host_data, OP_LIST, None, 0);
    heap.verify().unwrap();
    collect_counts(&mut heap);
    assert_eq!(heap.stats().live_objects, 3000);
}

/// A list of `length` pairs, linked by their second fields.
fn list(store: &mut GcStore, length: u32) -> VMGcRef {
    let mut head = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    for _ in 1..length {
        let node = store.alloc_struct(&mut NoStack, PAIR).unwrap();
        store.write_field_ref(&node, CDR, Some(&head)).unwrap();
        store.drop_gc_ref(head);
        head = node;
    }
    head
}

#[test]
fn a_list_of_a_million_nodes_dies_without_recursion() {
    let mut store = store();
    let head = list(&mut store, 1_000_000);
    assert_eq!(store.stats().live_objects, 1_000_000);
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let collect = || {
            assert!(store.gc(&mut NoStack).unwrap());
            store.drop_gc_ref(head);
            assert!(store.gc(&mut NoStack).unwrap());
        };
        small.spawn_scoped(scope, collect).unwrap().join().unwrap();
    });
    assert_eq!(store.stats().live_objects, 0);
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn increments_are_bounded_and_a_large_array_is_gone_through_in_pieces() {
    let mut heap = heap();
    heap.grow(4 << 20).unwrap();
    let mut host_data = ExternRefHostDataTable::default();
    let length = 50_000;
    let size = ArrayLayout::new(StorageType::Ref).size(length).unwrap();
    let header = VMGcHeader::new(VMGcKind::ArrayRef, REFS);
    let array = heap.alloc_raw(header, size).unwrap();
    let at = u64::from(array.as_raw_u32());
    heap.core.memory.write_u32(at + 8, length).unwrap();
    for i in 0..u64::from(length) {
        let element = pair(&mut heap);
        heap.write_field_ref(&mut host_data, at + 12 + i * 4, Some(&element)).unwrap();
        heap.drop_gc_ref(&mut host_data, element);
    }
    heap.verify().unwrap();
    // The array matures, is marked, and dies. What dies may wait for the next collection, so that one takes no longer
    // than a pause should.
    let mut array = Some(array);
    for (cause, live) in [(GcCause::NoRoom, length + 1), (GcCause::Asked, length + 1)]
        .into_iter()
        .chain([(GcCause::NoRoom, 0)])
    {
        if live == 0 {
            heap.expose_gc_ref_to_wasm(array.take().unwrap());
            heap.core.plan = HeapPlan::default();
        }
        if let Some(array) = &mut array {
            // The reference is not counted, but the host has one.
            assert_ne!(word(&heap, array) & !(LISTED | MATURE), 0);
        }
        let mut slot = array.as_ref().map_or(0, VMGcRef::as_raw_u32);
        let mut roots = GcRootsList::default();
        add_other(&mut slot, &mut roots);
        let mut weak = WeakTable::default();
        let (mut increments, mut collections) = (0, 0);
        while collections == 0 || !heap.work.dying.is_empty() {
            let request = GcRequest::new(cause, &mut roots, &mut host_data, &mut weak);
            let mut collection = heap.gc(request);
            increments += 1;
            while collection.collect_increment().unwrap() == GcProgress::Continue {
                increments += 1;
            }
            assert_eq!(collection.collect_increment().unwrap(), GcProgress::Complete);
            drop(collection);
            collections += 1;
        }
        assert_eq!(collections > 1, live == 0, "{cause:?}: {collections}");
        assert!(increments > length / 4096, "{cause:?}: {increments}");
        assert_eq!(heap.stats().live_objects, u64::from(live), "{cause:?}");
        heap.verify().unwrap();
    }
}

fn add_other(slot: &mut u32, roots: &mut GcRootsList) {
    add_slots(std::slice::from_mut(slot), RootKind::Global, 3, roots);
}

#[test]
fn an_abandoned_collection_leaves_the_heap_in_order() {
    for increments in 0..12 {
        let mut heap = heap();
        let mut host_data = ExternRefHostDataTable::default();
        let mut slots: Vec<u64> = (0..6000)
            .map(|i| {
                let object = pair(&mut heap);
                let at = u64::from(object.as_raw_u32() + CAR);
                // A third of the objects are on cycles.
                let to = (i % 3 == 0).then_some(&object);
                heap.write_field_ref(&mut host_data, at, to).unwrap();
                let raw = heap.expose_gc_ref_to_wasm(object);
                if i % 2 == 0 { u64::from(raw) } else { 0 }
            })
            .collect();
        let mut roots = GcRootsList::default();
        add_stack(&mut slots, &mut roots);
        heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect().unwrap();
        roots.clear_stack();
        add_stack(&mut slots[..3000], &mut roots);
        let mut weak = WeakTable::default();
        let mut collection = heap.gc(asked(&mut roots, &mut host_data, &mut weak));
        for _ in 0..increments {
            collection.collect_increment().unwrap();
        }
        collection.abandon();
        drop(collection);
        heap.verify().unwrap();
        assert!(heap.stats().live_objects <= 2000);
        heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect().unwrap();
        heap.verify().unwrap();
        assert_eq!(heap.stats().live_objects, 1500);
    }
}

#[test]
fn freed_memory_is_poisoned_and_new_objects_are_zero() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    for mature in [false, true] {
        let object = pair(&mut heap);
        let at = u64::from(object.as_raw_u32());
        heap.core.memory.write_u64(at + 8, 1).unwrap();
        if mature {
            heap.core.memory.write_u64(at + 8, 0).unwrap();
            collect_counts(&mut heap);
        }
        heap.core.memory.write_u64(at + 8, 0).unwrap();
        heap.drop_gc_ref(&mut host_data, object);
        collect_counts(&mut heap);
        assert_eq!(heap.core.memory.read_u64(at + 8), Some(0xa5a5_a5a5_a5a5_a5a5));
        let object = pair(&mut heap);
        assert_eq!(u64::from(object.as_raw_u32()), at);
        assert_eq!(heap.core.memory.read_u64(at + 8), Some(0));
        heap.drop_gc_ref(&mut host_data, object);
        collect_counts(&mut heap);
    }
}

#[test]
fn small_gaps_are_one_before_the_heap_grows() {
    let mut store = store();
    let head = list(&mut store, 40_000);
    let heap_bytes = store.stats().heap_bytes;
    store.drop_gc_ref(head);
    let array = store.alloc_array(&mut NoStack, REFS, (heap_bytes / 4 - 100) as u32).unwrap();
    assert_eq!(store.stats().heap_bytes, heap_bytes);
    assert_eq!(store.read_field(&array, 12, StorageType::Ref).unwrap(), 0);
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn damage_is_an_error_of_the_next_allocation_until_reset() {
    type Break = fn(&mut DrcHeap, &VMGcRef);
    const WORD: u32 = COUNT_ONE | MATURE;
    let breaks: [Break; 6] = [
        |heap, object| heap.set_header(object, VMGcHeader::from_words(0, WORD)),
        |heap, object| heap.set_header(object, VMGcHeader::from_words(u32::MAX, WORD)),
        |heap, object| {
            let header = VMGcHeader::new(VMGcKind::ArrayRef, REFS);
            heap.set_header(object, header.with_collector_bits(WORD));
            heap.core.memory.write_u32(u64::from(object.as_raw_u32()) + 8, u32::MAX).unwrap();
        },
        |heap, object| heap.set_word(object, 0),
        |heap, object| heap.set_word(object, COUNT_ONE | LISTED),
        |heap, object| {
            let at = u64::from(object.as_raw_u32() + CAR);
            heap.core.memory.write_u32(at, 0xffff_fff0).unwrap();
        },
    ];
    for (i, damage) in breaks.iter().enumerate() {
        let mut heap = heap();
        let mut host_data = ExternRefHostDataTable::default();
        let object = pair(&mut heap);
        let _other = pair(&mut heap);
        collect_counts(&mut heap);
        damage(&mut heap, &object);
        assert!(matches!(heap.verify(), Err(HeapError::Corrupt { .. })), "break {i}");
        heap.drop_gc_ref(&mut host_data, object.unchecked_copy());
        let mut roots = GcRootsList::default();
        let collected =
            heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect();
        if i == 4 {
            // The flag keeps the object out of the list. It leaks until the collector looks for
            // cycles.
            assert_eq!((collected, heap.stats().live_objects), (Ok(()), 1));
            continue;
        }
        assert!(collected.is_err(), "break {i}");
        let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
        assert!(matches!(heap.alloc_raw(header, 16), Err(HeapError::Corrupt { .. })), "break {i}");
        assert!(
            heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default()))
                .collect()
                .is_err()
        );
        assert!(heap.reset(&mut host_data));
        heap.verify().unwrap();
        pair(&mut heap);
    }
}

#[test]
fn a_collection_finds_what_is_wrong_with_roots_and_entries() {
    type Break = fn(&mut DrcHeap, u32, &mut u64);
    let breaks: [Break; 4] = [
        |_, _, slot| *slot = 8,
        |_, _, slot| *slot += 4,
        |heap, object, _| {
            heap.set_word(&VMGcRef::from_raw_u32(object).unwrap(), MATURE);
        },
        |heap, _, _| heap.list.set(0, 24),
    ];
    for (i, damage) in breaks.iter().enumerate() {
        let mut heap = heap();
        let mut host_data = ExternRefHostDataTable::default();
        let object = pair(&mut heap);
        let object = heap.expose_gc_ref_to_wasm(object);
        let mut slots = [u64::from(object)];
        let mut roots = GcRootsList::default();
        add_stack(&mut slots, &mut roots);
        heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect().unwrap();
        damage(&mut heap, object, &mut slots[0]);
        let result =
            heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect();
        assert!(matches!(result, Err(HeapError::Corrupt { .. })), "break {i}");
    }
}

#[test]
fn a_host_value_whose_drop_panics_leaves_the_heap_in_order() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a host value's own panic");
        }
    }
    let mut store = store();
    for i in 0..100 {
        let externref = if i == 50 {
            store.alloc_externref(&mut NoStack, Box::new(Bomb))
        } else {
            store.alloc_externref(&mut NoStack, Box::new(i))
        };
        let externref = externref.map_err(|(error, _)| error).unwrap();
        store.expose_gc_ref_to_wasm(externref);
    }
    let collect = std::panic::AssertUnwindSafe(|| store.gc(&mut NoStack));
    assert!(std::panic::catch_unwind(collect).is_err());
    store.heap().unwrap().verify().unwrap();
    assert_eq!((store.stats().live_objects, store.host_data().len()), (0, 0), "cut short");
    assert!(store.gc(&mut NoStack).unwrap());
}

impl DrcHeap {
    fn set_header(&mut self, object: &VMGcRef, header: VMGcHeader) {
        self.core.set_header_at(object.as_raw_u32(), header).unwrap();
    }

    fn set_word(&mut self, object: &VMGcRef, word: u32) {
        let header = self.core.header(object).unwrap();
        self.set_header(object, header.with_collector_bits(word));
    }
}
