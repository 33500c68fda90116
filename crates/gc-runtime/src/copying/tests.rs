//! Tests of the internals: where objects move to, which ones stay in place, a heap without room,
//! sizes, increments, damage.

mod verifier;

use super::*;
use gc_heap::space::semispace::CHUNK_SIZE;
use gc_heap::trace::forwarding::forwarding;
use gc_heap::{
    GcCause, GcProgress, GcRootsList, GcStore, HeapBounds, HeapOptions, NoStack, TraceRoots,
    WeakTable,
};
use gc_testkit::roots::Stack;
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{
    ArrayLayout, GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout, TypeIndex, VMGcKind,
};
use std::sync::Arc;

const PAIR: TypeIndex = TypeIndex::new(0).unwrap();
const REFS: TypeIndex = TypeIndex::new(1).unwrap();
const BYTES: TypeIndex = TypeIndex::new(2).unwrap();
/// Offsets of a pair's two fields.
const CAR: u32 = 8;
const CDR: u32 = 12;
const CHUNK: u64 = CHUNK_SIZE as u64;

/// The chunk of the object at `index`.
fn chunk_of(index: u32) -> u32 {
    (index - NULL_PAGE_SIZE) / CHUNK_SIZE
}

/// The index of a chunk's first byte.
fn chunk_start(chunk: u32) -> u32 {
    NULL_PAGE_SIZE + chunk * CHUNK_SIZE
}

fn options(chunks: u64, maximum: u64) -> HeapOptions {
    let null_page = u64::from(NULL_PAGE_SIZE);
    HeapOptions {
        initial: chunks * CHUNK + null_page,
        maximum: maximum * CHUNK + null_page,
        bounds: HeapBounds::Checked,
        ..HeapOptions::default()
    }
}

fn layouts() -> [(TypeIndex, Arc<GcLayout>); 3] {
    let pair = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
    let array = |ty| Arc::new(GcLayout::Array(ArrayLayout::new(ty)));
    [
        (PAIR, Arc::new(GcLayout::Struct(pair))),
        (REFS, array(StorageType::Ref)),
        (BYTES, array(StorageType::I8)),
    ]
}

fn heap(chunks: u64, maximum: u64) -> CopyingHeap {
    let options = HeapOptions { zeal: 1, ..options(chunks, maximum) };
    let memory = HeapMemory::new(&options).unwrap();
    let mut heap = CopyingHeap::new(memory);
    // The shortest possible increments.
    heap.core.side.pause_target = std::time::Duration::ZERO;
    layouts().iter().for_each(|(ty, layout)| heap.core.side.layouts.ensure(*ty, layout).unwrap());
    heap
}

fn store(chunks: u64, maximum: u64) -> GcStore {
    let mut store = GcStore::new(&CopyingCollector, &options(chunks, maximum)).unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
    store
}

fn collect(heap: &mut CopyingHeap, stack: &mut Stack) -> Result<(), HeapError> {
    let mut roots = GcRootsList::default();
    stack.trace_stack(&mut roots).unwrap();
    let mut host_data = ExternRefHostDataTable::default();
    let mut weak = WeakTable::default();
    heap.gc(GcRequest::new(GcCause::Asked, &mut roots, &mut host_data, &mut weak)).collect()
}

fn pair(heap: &mut CopyingHeap) -> VMGcRef {
    heap.alloc_raw(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16).unwrap()
}

/// Allocates a pair as emitted code does while there is room.
fn inline_pair(heap: &mut CopyingHeap) -> Option<u32> {
    let memory = &mut heap.core.memory;
    let (next, limit) = (memory.data_u32(NEXT), memory.data_u32(LIMIT));
    if u64::from(next) + 16 > u64::from(limit) {
        return None;
    }
    assert_eq!(memory.read_u128(next.into()), Some(0), "what is handed out is zero");
    memory.write_u32(next.into(), PAIR.header_word(VMGcKind::StructRef)).unwrap();
    memory.set_data_u32(NEXT, next + 16);
    Some(next)
}

fn array(heap: &mut CopyingHeap, ty: TypeIndex, length: u32) -> Result<VMGcRef, HeapError> {
    let layout = *heap.core.side.layouts.get(ty).unwrap().as_array().unwrap();
    let header = VMGcHeader::new(VMGcKind::ArrayRef, ty);
    let array = heap.alloc_raw(header, layout.size(length).unwrap())?;
    let at = u64::from(array.as_raw_u32() + ArrayLayout::LENGTH_OFFSET);
    heap.core.memory.write_u32(at, length).unwrap();
    Ok(array)
}

fn write(heap: &mut CopyingHeap, index: u32, offset: u32, word: u32) {
    heap.core.memory.write_u32(u64::from(index + offset), word).unwrap();
}

fn read(heap: &CopyingHeap, index: u32, offset: u32) -> u32 {
    heap.core.memory.read_u32(u64::from(index + offset)).unwrap()
}

#[test]
fn survivors_are_copied_in_breadth_first_order_and_shared_ones_once() {
    let mut heap = heap(8, 8);
    let [root, left, right, leaf] = [(); 4].map(|()| pair(&mut heap).as_raw_u32());
    write(&mut heap, root, CAR, left);
    write(&mut heap, root, CDR, right);
    write(&mut heap, left, CAR, leaf);
    write(&mut heap, right, CAR, leaf);
    write(&mut heap, right, CDR, root);
    let mut stack = Stack(vec![u64::from(root), 0, u64::from(root)]);
    for _ in 0..3 {
        let from = chunk_of(stack.word(0));
        collect(&mut heap, &mut stack).unwrap();
        heap.verify().unwrap();
        let new = stack.word(0);
        assert_ne!(chunk_of(new), from);
        assert_eq!(stack.0[1..], [0, u64::from(new)]);
        let of = |object, field| read(&heap, object, field) - new;
        assert_eq!((of(new, CAR), of(new, CDR)), (16, 32));
        assert_eq!((of(new + 16, CAR), of(new + 32, CAR), of(new + 32, CDR)), (48, 48, 0));
        let stats = heap.stats();
        assert_eq!((stats.live_objects, stats.live_bytes, stats.allocations), (4, 64, 4));
        // The old places of the objects are poisoned.
        assert_eq!(read(&heap, chunk_start(from), 0), 0xa5a5_a5a5);
    }
}

#[test]
fn the_mutator_goes_on_behind_the_copies_in_zeroed_memory() {
    let mut heap = heap(4, 4);
    let kept = pair(&mut heap);
    let mut stack = Stack::default();
    stack.push(&kept);
    let mut allocated = 1;
    for _ in 0..20 {
        for _ in 0..1000 {
            let object = match inline_pair(&mut heap) {
                Some(object) => object,
                None => pair(&mut heap).as_raw_u32(),
            };
            write(&mut heap, object, CAR, u32::MAX);
            write(&mut heap, object, CDR, u32::MAX);
            allocated += 1;
        }
        heap.verify().unwrap();
        collect(&mut heap, &mut stack).unwrap();
        heap.verify().unwrap();
        assert_eq!(heap.core.memory.data_u32(NEXT), stack.word(0) + 16);
        let stats = heap.stats();
        assert_eq!((stats.allocations, stats.allocated_bytes), (allocated, allocated * 16));
        assert_eq!((stats.live_objects, heap.space.used_chunk_bytes() / CHUNK), (1, 1));
    }
}

#[test]
fn large_objects_stay_and_are_freed_when_not_reached() {
    let mut heap = heap(64, 64);
    let kept = array(&mut heap, REFS, 20_000).unwrap().as_raw_u32();
    array(&mut heap, BYTES, 300_000).unwrap();
    let small = pair(&mut heap).as_raw_u32();
    write(&mut heap, kept, 12 + 19_999 * 4, small);
    write(&mut heap, small, CAR, kept);
    let mut stack = Stack(vec![u64::from(kept)]);
    for _ in 0..2 {
        collect(&mut heap, &mut stack).unwrap();
        heap.verify().unwrap();
        assert_eq!(stack.word(0), kept);
        let moved = read(&heap, kept, 12 + 19_999 * 4);
        assert_eq!(read(&heap, moved, CAR), kept);
        let stats = heap.stats();
        assert_eq!((stats.live_objects, stats.live_bytes), (2, 80_016 + 16));
        assert_eq!(heap.space.used_chunk_bytes() / CHUNK, 3 + 1);
    }
    collect(&mut heap, &mut Stack::default()).unwrap();
    assert_eq!((heap.space.used_chunk_bytes() / CHUNK, heap.stats().live_objects), (0, 0));
    heap.verify().unwrap();
    // Its memory is zero for the next one.
    let array = array(&mut heap, BYTES, 500_000).unwrap().as_raw_u32();
    assert!(
        (0..500_000)
            .step_by(8)
            .all(|i| heap.core.memory.read_u8((array + 12 + i).into()) == Some(0))
    );
}

/// A list that fills more than half of its heap, so there is no room to copy all of it.
#[test]
fn what_finds_no_room_is_marked_in_place() {
    let mut store = store(32, 32);
    let mut stack = Stack(vec![0]);
    let mut length = 0u64;
    let error = loop {
        match store.alloc_struct(&mut stack, PAIR) {
            Ok(pair) => {
                let next = VMGcRef::from_raw_u32(stack.word(0));
                store.write_field_ref(&pair, CDR, next.as_ref()).unwrap();
                stack.0[0] = u64::from(pair.as_raw_u32());
                length += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, HeapError::OutOfMemory { .. }), "{error}");
    assert!(length * 16 > 30 * CHUNK, "{length} pairs fill no heap of 1 MiB");
    let check = |store: &mut GcStore, stack: &Stack, expected: u64| {
        store.heap().unwrap().verify().unwrap();
        let (mut at, mut found) = (stack.word(0), 0);
        while let Some(pair) = VMGcRef::from_raw_u32(at) {
            at = store.read_field(&pair, CDR, StorageType::Ref).unwrap() as u32;
            found += 1;
        }
        assert_eq!((found, store.stats().live_objects), (expected, expected));
    };
    for _ in 0..3 {
        store.gc(&mut stack).unwrap();
        check(&mut store, &stack, length);
    }
    // Nine of each ten pairs die, all over the heap.
    let mut at = stack.word(0);
    while let Some(pair) = VMGcRef::from_raw_u32(at) {
        let mut next = at;
        for _ in 0..10 {
            let Some(pair) = VMGcRef::from_raw_u32(next) else { break };
            next = store.read_field(&pair, CDR, StorageType::Ref).unwrap() as u32;
        }
        store.write_field_ref(&pair, CDR, VMGcRef::from_raw_u32(next).as_ref()).unwrap();
        at = next;
    }
    store.gc(&mut stack).unwrap();
    check(&mut store, &stack, length.div_ceil(10));
    // Nearly the whole heap is usable again.
    for _ in 0..200_000 {
        store.alloc_struct(&mut stack, PAIR).unwrap();
    }
    store.gc(&mut stack).unwrap();
    check(&mut store, &stack, length.div_ceil(10));
    store.gc(&mut NoStack).unwrap();
    assert_eq!(store.stats().live_objects, 0);
}

#[test]
fn more_than_half_of_the_heap_is_used_where_little_survives() {
    let mut store = store(32, 256);
    let mut stack = Stack(vec![0]);
    let kept = store.alloc_array(&mut stack, BYTES, 1000).unwrap();
    stack.push(&kept);
    let mut most = 0;
    for _ in 0..2_000_000 {
        store.alloc_struct(&mut stack, PAIR).unwrap();
        let chunk = chunk_of(store.heap().unwrap().core().memory.data_u32(NEXT));
        most = most.max(chunk);
    }
    // The heap uses no more chunks than the budget needs, which are few here.
    assert!(most < 60, "{most} chunks");
    assert!(store.stats().collections > 10);

    // If as much survives as was allocated between two collections, the budget needs more. If few
    // of 90 chunks survive, their copies need fewer than 90.
    let refs = store.alloc_array(&mut stack, REFS, 90 * 2000).unwrap();
    stack.push(&refs);
    for i in 0..90 * 2000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        let refs = VMGcRef::from_raw_u32(stack.word(2)).unwrap();
        store.write_field_ref(&refs, 12 + i * 4, Some(&pair)).unwrap();
    }
    let before = store.stats().collections;
    let mut most = 0;
    for _ in 0..2_000_000 {
        store.alloc_struct(&mut stack, PAIR).unwrap();
        let memory = &store.heap().unwrap().core().memory;
        most = most.max(chunk_of(memory.data_u32(NEXT)));
    }
    let collections = store.stats().collections - before;
    assert!(most > 128, "{most} chunks of 256 were used");
    assert!(collections < 40, "{collections} collections for 1000 chunks");
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn a_heap_shrinks_and_its_memory_goes_back() {
    let mut store = store(32, 4096);
    let mut stack = Stack(vec![0]);
    for _ in 0..1_500_000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        let next = VMGcRef::from_raw_u32(stack.word(0));
        store.write_field_ref(&pair, CDR, next.as_ref()).unwrap();
        stack.0[0] = u64::from(pair.as_raw_u32());
    }
    let large = store.stats();
    assert!(large.heap_bytes > 32 << 20, "{large:?}");
    stack.0[0] = 0;
    store.gc(&mut stack).unwrap();
    store.heap().unwrap().verify().unwrap();
    let small = store.stats();
    assert!(small.heap_bytes < 16 << 20, "{small:?}");
    assert_eq!(small.peak_heap_bytes, large.peak_heap_bytes);
    let usable = store.heap().unwrap().core().memory.usable();
    // The heap stays small as long as little lives. It can become large again without mapping.
    for _ in 0..1_000_000 {
        store.alloc_struct(&mut stack, PAIR).unwrap();
    }
    assert!(store.stats().heap_bytes < 16 << 20);
    for _ in 0..1_000_000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        let next = VMGcRef::from_raw_u32(stack.word(0));
        store.write_field_ref(&pair, CDR, next.as_ref()).unwrap();
        stack.0[0] = u64::from(pair.as_raw_u32());
    }
    store.gc(&mut stack).unwrap();
    assert_eq!(store.heap().unwrap().core().memory.usable(), usable);
    assert_eq!(store.stats().live_objects, 1_000_000);
}

#[test]
fn an_increment_is_bounded_even_in_a_wide_array() {
    let mut heap = heap(512, 512);
    let wide = array(&mut heap, REFS, 500_000).unwrap();
    for i in 0..50_000 {
        let pair = pair(&mut heap).as_raw_u32();
        write(&mut heap, wide.as_raw_u32(), 12 + i * 40, pair);
    }
    let mut stack = Stack::default();
    stack.push(&wide);
    let mut roots = GcRootsList::default();
    stack.trace_stack(&mut roots).unwrap();
    let mut host_data = ExternRefHostDataTable::default();
    let mut weak = WeakTable::default();
    let request = GcRequest::new(GcCause::Asked, &mut roots, &mut host_data, &mut weak);
    let mut collection = heap.gc(request);
    let mut increments = 0;
    while collection.collect_increment().unwrap() == GcProgress::Continue {
        increments += 1;
    }
    drop(collection);
    assert!(increments > 100, "{increments}");
    assert_eq!(heap.stats().live_objects, 50_001);
    heap.verify().unwrap();
}

#[test]
fn a_collection_that_is_abandoned_is_finished() {
    for increments in 0..40 {
        let mut heap = heap(64, 64);
        let mut stack = Stack(vec![0]);
        for _ in 0..20_000 {
            let pair = pair(&mut heap).as_raw_u32();
            let next = stack.word(0);
            write(&mut heap, pair, CAR, next);
            stack.0[0] = u64::from(pair);
        }
        let mut roots = GcRootsList::default();
        stack.trace_stack(&mut roots).unwrap();
        let mut host_data = ExternRefHostDataTable::default();
        let mut weak = WeakTable::default();
        let request = GcRequest::new(GcCause::Asked, &mut roots, &mut host_data, &mut weak);
        let mut collection = heap.gc(request);
        for _ in 0..increments {
            collection.collect_increment().unwrap();
        }
        collection.abandon();
        drop(collection);
        heap.verify().unwrap();
        assert_eq!(heap.stats().live_objects, 20_000);
        collect(&mut heap, &mut stack).unwrap();
        heap.verify().unwrap();
    }
}

/// Damages a heap, given a small and a large object.
type Damage = fn(&mut CopyingHeap, u32, u32);

/// Damage that is written into the heap before a collection. Its effects must stay inside the heap.
#[test]
fn damage_is_found_or_harmless() {
    let cases: [(&str, Damage); 11] = [
        ("moved to outside", |heap, object, _| write(heap, object, 4, forwarding(0xffff_fff8))),
        ("moved to the null page", |heap, object, _| write(heap, object, 4, forwarding(8))),
        ("moved to itself", |heap, object, _| write(heap, object, 4, forwarding(object))),
        ("moved to a large object", |heap, object, large| {
            write(heap, object, 4, forwarding(large))
        }),
        ("moved to between places", |heap, object, _| {
            let start = chunk_start(1);
            write(heap, object, 4, forwarding(start + 4));
        }),
        ("another collector's bits", |heap, object, _| write(heap, object, 4, 2)),
        ("no kind", |heap, object, _| write(heap, object, 0, 0)),
        ("no type", |heap, object, _| {
            write(heap, object, 0, TypeIndex::new(77).unwrap().header_word(VMGcKind::StructRef));
        }),
        ("too long", |heap, object, _| {
            write(heap, object, 0, REFS.header_word(VMGcKind::ArrayRef));
            write(heap, object, 8, 1 << 20);
        }),
        ("a large object of another size", |heap, object, large| {
            write(heap, object, CAR, large);
            write(heap, large, 8, 7);
        }),
        ("a reference into a large object", |heap, object, large| {
            write(heap, object, CAR, large + CHUNK_SIZE);
        }),
    ];
    for (what, damage) in cases {
        let mut heap = heap(32, 32);
        let large = array(&mut heap, REFS, 20_000).unwrap().as_raw_u32();
        let object = pair(&mut heap).as_raw_u32();
        damage(&mut heap, object, large);
        assert!(heap.verify().is_err(), "{what}");
        let mut stack = Stack(vec![u64::from(object)]);
        let collected = collect(&mut heap, &mut stack);
        assert!(matches!(collected, Err(HeapError::Corrupt { .. })), "{what}: {collected:?}");
        // The damage stays recorded.
        assert!(heap.verify().is_err() && heap.core.check_damage().is_err(), "{what}");
        assert!(heap.alloc_raw(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16).is_err());
        assert!(
            collect(&mut heap, &mut stack).is_err() && heap.for_each_object(&mut |_| ()).is_err()
        );
        heap.stats();
        assert!(heap.reset(&mut ExternRefHostDataTable::default()));
        heap.verify().unwrap();
        pair(&mut heap);
    }
}

/// Many references to places inside fake large arrays. Copies of all of them would be larger than
/// the heap.
#[test]
fn overlapping_objects_do_not_overflow_the_heap() {
    let mut heap = heap(64, 64);
    let roots = array(&mut heap, REFS, 2000).unwrap().as_raw_u32();
    let bytes = array(&mut heap, BYTES, 16_000).unwrap().as_raw_u32();
    for i in 0..900 {
        let fake = bytes + 16 + i * 16;
        write(&mut heap, fake, 0, BYTES.header_word(VMGcKind::ArrayRef));
        write(&mut heap, fake, 8, 15_000 - i * 16);
        write(&mut heap, roots, 12 + i * 4, fake);
    }
    let mut stack = Stack(vec![u64::from(roots)]);
    for _ in 0..3 {
        let _: Result<(), HeapError> = collect(&mut heap, &mut stack);
        assert!(heap.core.memory.len() == heap.core.memory.maximum());
    }
    assert!(heap.reset(&mut ExternRefHostDataTable::default()));
    heap.verify().unwrap();
}

#[test]
fn host_values_of_externrefs_that_moved_are_kept() {
    let mut store = store(8, 64);
    let value = Arc::new(());
    let mut stack = Stack::default();
    for i in 0..10_000 {
        let boxed = store.alloc_externref(&mut stack, Box::new(Arc::clone(&value)));
        let boxed = boxed.map_err(|(error, _)| error).unwrap();
        if i % 10 == 0 {
            stack.push(&boxed);
        }
    }
    for _ in 0..3 {
        store.gc(&mut stack).unwrap();
        store.heap().unwrap().verify().unwrap();
        assert_eq!((Arc::strong_count(&value), store.host_data().len()), (1001, 1000));
    }
    let first = VMGcRef::from_raw_u32(stack.word(0)).unwrap();
    assert!(store.externref_host_data(&first).unwrap().is::<Arc<()>>());
    stack.0.clear();
    store.gc(&mut stack).unwrap();
    assert_eq!(Arc::strong_count(&value), 1);
}
