//! What only the inside shows: the root set's laziness, increments, slow paths
//! as emitted code takes them, damage.

use super::*;
use crate::{GcProgress, GcRootsList, GcStore, HeapBounds, HeapOptions, NoRoots, TraceRoots};
use gc_types::collector::drc::{MARKED, ROOT_SET_CAPACITY, ROOT_SET_LEN};
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex};
use std::sync::Arc;

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
    let mut store = GcStore::new(&DrcCollector, &options()).unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout));
    store
}

fn heap() -> DrcHeap {
    let mut heap = DrcHeap::new(HeapMemory::new(&options()).unwrap(), true);
    layouts().iter().for_each(|(ty, layout)| heap.core.layouts.ensure(*ty, layout));
    heap
}

fn pair(heap: &mut DrcHeap) -> VMGcRef {
    heap.alloc_raw(VMGcHeader::new(gc_types::VMGcKind::StructRef, PAIR), 16).unwrap()
}

fn word(heap: &dyn GcHeap, gc_ref: &VMGcRef) -> u32 {
    heap.header(gc_ref).unwrap().collector_bits()
}

/// A mutator whose stack is a few slots.
struct Stack(Vec<u64>);

impl TraceRoots for Stack {
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), crate::IncompleteWalk> {
        add_stack(&mut self.0, roots);
        Ok(())
    }
}

#[allow(unsafe_code)]
fn add_stack(slots: &mut [u64], roots: &mut GcRootsList) {
    let first = slots.as_mut_ptr();
    for i in 0..slots.len() {
        // SAFETY: in bounds; every test keeps its slots until the collection is over.
        unsafe { roots.add_stack_root(first.add(i)) };
    }
}

#[test]
fn nothing_is_allocated_for_the_set_before_a_reference_reaches_the_stack() {
    let mut store = store();
    let object = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
    store.gc(&mut NoRoots).unwrap();
    assert_eq!(store.heap().core().memory.data_u32(ROOT_SET_CAPACITY), 0);
    store.expose_gc_ref_to_wasm(object);
    assert_ne!(store.heap().core().memory.data_u32(ROOT_SET_CAPACITY), 0);
}

#[test]
fn only_members_the_stack_refers_to_survive_a_collection() {
    let mut store = store();
    let on_stack = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
    let on_stack = store.expose_gc_ref_to_wasm(on_stack);
    for _ in 0..10 {
        let garbage = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
        store.expose_gc_ref_to_wasm(garbage);
    }
    let held = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
    let exposed = store.clone_gc_ref(&held);
    store.expose_gc_ref_to_wasm(exposed);
    assert_eq!(store.stats().live_objects, 12);

    let i31 = VMGcRef::from_i31(gc_types::I31::wrapping_u32(9)).as_raw_u32();
    let mut stack = Stack(vec![0, u64::from(on_stack), u64::from(i31), u64::from(on_stack)]);
    for _ in 0..2 {
        assert!(store.gc(&mut stack).unwrap());
        store.heap().verify().unwrap();
        assert_eq!(store.stats().live_objects, 2);
        assert_eq!(store.heap().core().memory.data_u32(ROOT_SET_LEN), 1);
    }
    assert_eq!(word(store.heap(), &held), COUNT_ONE);
    store.drop_gc_ref(held);
    store.gc(&mut NoRoots).unwrap();
    assert_eq!(store.stats().live_objects, 0);
    store.heap().verify().unwrap();
}

#[test]
fn exposing_a_member_again_does_not_add_it_again() {
    let mut heap = heap();
    let object = pair(&mut heap);
    let (second, third) = (heap.clone_gc_ref(&object), heap.clone_gc_ref(&object));
    heap.expose_gc_ref_to_wasm(object);
    heap.expose_gc_ref_to_wasm(second);
    assert_eq!(word(&heap, &third), (2 * COUNT_ONE) | IN_ROOT_SET);
    assert_eq!(heap.roots.len(&heap.core.memory), 1);
    heap.verify().unwrap();
}

#[test]
fn a_member_without_other_references_lives_until_the_collection() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let object = pair(&mut heap);
    let other = heap.clone_gc_ref(&object);
    heap.expose_gc_ref_to_wasm(object);
    let copy = other.unchecked_copy();
    heap.drop_gc_ref(&mut host_data, other);
    assert_eq!(word(&heap, &copy), COUNT_ONE | IN_ROOT_SET);
    let mut roots = GcRootsList::default();
    heap.gc(roots.iter(), &mut host_data).collect().unwrap();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn slow_paths_do_what_emitted_code_began() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let (parent, child) = (pair(&mut heap), pair(&mut heap));
    let at = u64::from(parent.as_raw_u32() + CAR);
    heap.write_field_ref(&mut host_data, at, Some(&child)).unwrap();
    heap.drop_gc_ref(&mut host_data, child);
    assert_eq!(heap.stats().live_objects, 2);

    // Emitted code counted the parent down to zero.
    write_word(&mut heap.core.memory, parent.as_raw_u32(), 0);
    heap.collector_slow_path(&mut host_data, OP_DEAD, Some(parent), 0);
    assert_eq!(heap.stats().live_objects, 0);
    heap.verify().unwrap();

    // Emitted code found the set full.
    let held: Vec<VMGcRef> = (0..3000)
        .map(|_| {
            let object = pair(&mut heap);
            let full = Some(object.unchecked_copy());
            heap.collector_slow_path(&mut host_data, OP_ROOT_SET_FULL, full, 0);
            object
        })
        .collect();
    let again = Some(held[0].unchecked_copy());
    heap.collector_slow_path(&mut host_data, OP_ROOT_SET_FULL, again, 0);
    assert_eq!(heap.core.memory.data_u32(ROOT_SET_LEN), 3000);
    assert!(held.iter().all(|object| word(&heap, object) == (2 * COUNT_ONE) | IN_ROOT_SET));
    heap.verify().unwrap();

    // Neither knows other operations, null or i31s.
    heap.collector_slow_path(&mut host_data, 77, Some(held[0].unchecked_copy()), 0);
    heap.collector_slow_path(&mut host_data, OP_DEAD, None, 0);
    heap.verify().unwrap();
}

/// A list of `length` pairs, linked by their second fields.
fn list(store: &mut GcStore, length: u32) -> VMGcRef {
    let mut head = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
    for _ in 1..length {
        let node = store.alloc_struct(&mut NoRoots, PAIR).unwrap();
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
        let small = std::thread::Builder::new().stack_size(64 << 10);
        small.spawn_scoped(scope, || store.drop_gc_ref(head)).unwrap().join().unwrap();
    });
    assert_eq!(store.stats().live_objects, 0);
    store.heap().verify().unwrap();
}

#[test]
fn increments_are_bounded_and_a_large_array_is_buried_in_pieces() {
    let mut heap = heap();
    heap.grow(4 << 20).unwrap();
    let mut host_data = ExternRefHostDataTable::default();
    let length = 50_000;
    let size = ArrayLayout::new(StorageType::Ref).size(length).unwrap();
    let header = VMGcHeader::new(gc_types::VMGcKind::ArrayRef, REFS);
    let array = heap.alloc_raw(header, size).unwrap();
    let at = u64::from(array.as_raw_u32());
    heap.core.memory.write_u32(at + 8, length).unwrap();
    for i in 0..u64::from(length) {
        let element = pair(&mut heap);
        heap.write_field_ref(&mut host_data, at + 12 + i * 4, Some(&element)).unwrap();
        heap.drop_gc_ref(&mut host_data, element);
    }
    heap.expose_gc_ref_to_wasm(array);
    heap.verify().unwrap();

    let mut roots = GcRootsList::default();
    let mut live = Vec::new();
    loop {
        // Each time a new collection, abandoned after its first increments.
        let mut collection = heap.gc(roots.iter(), &mut host_data);
        let mark = collection.collect_increment().unwrap();
        assert_eq!(mark, GcProgress::Continue);
        let mut increments = 1;
        while collection.collect_increment().unwrap() == GcProgress::Continue {
            increments += 1;
        }
        assert_eq!(collection.collect_increment().unwrap(), GcProgress::Complete);
        drop(collection);
        live.push((increments, heap.stats().live_objects));
        if heap.stats().live_objects == 0 {
            break;
        }
    }
    assert_eq!(live.len(), 1);
    assert!(live[0].0 > 2 * length / 4096, "{live:?}");
    heap.verify().unwrap();
}

#[test]
fn an_abandoned_collection_leaves_the_heap_in_order() {
    for increments in 0..6 {
        let mut heap = heap();
        let mut host_data = ExternRefHostDataTable::default();
        let mut slots: Vec<u64> = (0..6000)
            .map(|i| {
                let object = pair(&mut heap);
                let raw = heap.expose_gc_ref_to_wasm(object);
                if i % 2 == 0 { u64::from(raw) } else { 0 }
            })
            .collect();
        let mut roots = GcRootsList::default();
        add_stack(&mut slots, &mut roots);
        let mut collection = heap.gc(roots.iter(), &mut host_data);
        for _ in 0..increments {
            collection.collect_increment().unwrap();
        }
        drop(collection);
        heap.verify().unwrap();
        heap.gc(roots.iter(), &mut host_data).collect().unwrap();
        heap.verify().unwrap();
        assert_eq!(heap.stats().live_objects, 3000);
    }
}

#[test]
fn a_cycle_leaks() {
    let mut store = store();
    let (a, b) = (
        store.alloc_struct(&mut NoRoots, PAIR).unwrap(),
        store.alloc_struct(&mut NoRoots, PAIR).unwrap(),
    );
    store.write_field_ref(&a, CAR, Some(&b)).unwrap();
    store.write_field_ref(&b, CAR, Some(&a)).unwrap();
    store.drop_gc_ref(a);
    store.drop_gc_ref(b);
    store.gc(&mut NoRoots).unwrap();
    assert_eq!(store.stats().live_objects, 2);
    store.heap().verify().unwrap();
}

#[test]
fn freed_memory_is_poisoned_and_new_objects_are_zero() {
    let mut heap = heap();
    let mut host_data = ExternRefHostDataTable::default();
    let object = pair(&mut heap);
    let at = u64::from(object.as_raw_u32());
    heap.drop_gc_ref(&mut host_data, object);
    assert_eq!(heap.core.memory.read_u64(at + 8), Some(0xa5a5_a5a5_a5a5_a5a5));
    let object = pair(&mut heap);
    assert_eq!(u64::from(object.as_raw_u32()), at);
    assert_eq!(heap.core.memory.read_u64(at + 8), Some(0));
}

#[test]
fn small_blocks_are_merged_before_the_heap_grows() {
    let mut store = store();
    let head = list(&mut store, 40_000);
    let heap_bytes = store.stats().heap_bytes;
    store.drop_gc_ref(head);
    let array = store.alloc_array(&mut NoRoots, REFS, (heap_bytes / 4 - 100) as u32).unwrap();
    assert_eq!(store.stats().heap_bytes, heap_bytes);
    assert_eq!(store.read_field(&array, 12, StorageType::Ref).unwrap(), 0);
    store.heap().verify().unwrap();
}

#[test]
fn damage_is_an_error_of_the_next_allocation_until_reset() {
    type Break = fn(&mut DrcHeap, &VMGcRef);
    let breaks: [Break; 5] = [
        |heap, object| heap.set_header(object, VMGcHeader::from_words(0, COUNT_ONE)),
        |heap, object| heap.set_header(object, VMGcHeader::from_words(u32::MAX, COUNT_ONE)),
        |heap, object| {
            let header = VMGcHeader::new(gc_types::VMGcKind::ArrayRef, REFS);
            heap.set_header(object, header.with_collector_bits(COUNT_ONE));
            heap.core.memory.write_u32(u64::from(object.as_raw_u32()) + 8, u32::MAX).unwrap();
        },
        |heap, object| write_word(&mut heap.core.memory, object.as_raw_u32(), 0),
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
        damage(&mut heap, &object);
        assert!(matches!(heap.verify(), Err(HeapError::Corrupt { .. })), "break {i}");
        heap.drop_gc_ref(&mut host_data, object);
        let header = VMGcHeader::new(gc_types::VMGcKind::StructRef, PAIR);
        assert!(matches!(heap.alloc_raw(header, 16), Err(HeapError::Corrupt { .. })), "break {i}");
        let mut roots = GcRootsList::default();
        assert!(heap.gc(roots.iter(), &mut host_data).collect().is_err());
        heap.reset(&mut host_data);
        heap.verify().unwrap();
        pair(&mut heap);
    }
}

#[test]
fn a_collection_finds_what_is_wrong_with_roots_and_members() {
    type Break = fn(&mut DrcHeap, u32, &mut u64);
    let breaks: [Break; 5] = [
        |_, _, slot| *slot = 8,
        |_, _, slot| *slot += 4,
        |heap, member, _| write_word(&mut heap.core.memory, member, COUNT_ONE),
        |heap, member, slot| {
            write_word(&mut heap.core.memory, member, IN_ROOT_SET);
            *slot = 0;
        },
        |heap, _, _| heap.roots.set(0, 24),
    ];
    for (i, damage) in breaks.iter().enumerate() {
        let mut heap = heap();
        let mut host_data = ExternRefHostDataTable::default();
        let object = pair(&mut heap);
        let member = heap.expose_gc_ref_to_wasm(object);
        let mut slots = [u64::from(member)];
        damage(&mut heap, member, &mut slots[0]);
        let mut roots = GcRootsList::default();
        add_stack(&mut slots, &mut roots);
        let result = heap.gc(roots.iter(), &mut host_data).collect();
        assert!(matches!(result, Err(HeapError::Corrupt { .. })), "break {i}");
    }
}

#[test]
fn a_leftover_mark_fails_verification() {
    let mut heap = heap();
    let object = pair(&mut heap);
    write_word(&mut heap.core.memory, object.as_raw_u32(), COUNT_ONE | MARKED);
    assert!(heap.verify().is_err());
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
            store.alloc_externref(&mut NoRoots, Box::new(Bomb))
        } else {
            store.alloc_externref(&mut NoRoots, Box::new(i))
        };
        let externref = externref.map_err(|(error, _)| error).unwrap();
        store.expose_gc_ref_to_wasm(externref);
    }
    let collect = std::panic::AssertUnwindSafe(|| store.gc(&mut NoRoots));
    assert!(std::panic::catch_unwind(collect).is_err());
    store.heap().verify().unwrap();
    assert_eq!((store.stats().live_objects, store.host_data().len()), (0, 0), "cut short");
    assert!(store.gc(&mut NoRoots).unwrap());

    // In a barrier it waits.
    let externref = store.alloc_externref(&mut NoRoots, Box::new(Bomb));
    let externref = externref.map_err(|(error, _)| error).unwrap();
    write_word(&mut store.heap_mut().core_mut().memory, externref.as_raw_u32(), 0);
    store.collector_slow_path(OP_DEAD, Some(externref), 0);
    assert_eq!((store.stats().live_objects, store.host_data().len()), (0, 0));
    let resume = std::panic::AssertUnwindSafe(|| store.resume_host_panic());
    assert!(std::panic::catch_unwind(resume).is_err());
    store.resume_host_panic();
}

impl DrcHeap {
    fn set_header(&mut self, object: &VMGcRef, header: VMGcHeader) {
        self.core.set_header_at(object.as_raw_u32(), header).unwrap();
    }
}
