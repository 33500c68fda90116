//! For every broken invariant, the verifier names the wrong object and the path to it.

use super::*;

/// A mature pair on the stack. Its `car` refers to an array, whose element 1 refers to a pair. A
/// global refers to that pair too.
struct Objects {
    top: u32,
    array: u32,
    leaf: u32,
    global: u32,
}

fn objects(heap: &mut DrcHeap) -> Objects {
    let mut host_data = ExternRefHostDataTable::default();
    let (leaf, top) = (pair(heap), pair(heap));
    let size = ArrayLayout::new(StorageType::Ref).size(3).unwrap();
    let array = heap.alloc_raw(VMGcHeader::new(VMGcKind::ArrayRef, REFS), size).unwrap();
    heap.core.memory.write_u32(u64::from(array.as_raw_u32()) + 8, 3).unwrap();
    let mut write = |object: &VMGcRef, offset: u32, to: &VMGcRef| {
        let at = u64::from(object.as_raw_u32() + offset);
        heap.write_field_ref(&mut host_data, at, Some(to)).unwrap();
    };
    write(&top, CAR, &array);
    write(&array, 12 + 4, &leaf);
    let mut global = None;
    heap.write_gc_ref(&mut host_data, &mut global, Some(&leaf));
    let objects = [&top, &array, &leaf].map(VMGcRef::as_raw_u32);
    for held in [array, leaf] {
        heap.drop_gc_ref(&mut host_data, held);
    }
    heap.expose_gc_ref_to_wasm(top);
    let mut objects =
        Objects { top: objects[0], array: objects[1], leaf: objects[2], global: objects[2] };
    let mut roots = GcRootsList::default();
    let mut stack = [u64::from(objects.top)];
    add_stack(&mut stack, &mut roots);
    add_other(&mut objects.global, &mut roots);
    heap.gc(asked(&mut roots, &mut host_data, &mut WeakTable::default())).collect().unwrap();
    objects
}

fn verify(heap: &DrcHeap, objects: &mut Objects) -> Result<(), HeapError> {
    let mut roots = GcRootsList::default();
    let mut stack = [u64::from(objects.top)];
    add_stack(&mut stack, &mut roots);
    add_other(&mut objects.global, &mut roots);
    let (host_data, weak) = Default::default();
    gc_heap::verify(heap, &host_data, &weak, &mut roots, None)
}

#[test]
fn what_is_wrong_is_named_and_the_way_to_it() {
    type Case = (&'static str, fn(&mut DrcHeap, &Objects), fn(&Objects) -> u32);
    fn bits(heap: &mut DrcHeap, object: u32, change: impl Fn(u32) -> u32) {
        let header = heap.core.header_at(object).unwrap();
        let header = header.with_collector_bits(change(header.collector_bits()));
        heap.core.set_header_at(object, header).unwrap();
    }
    fn write(heap: &mut DrcHeap, object: u32, offset: u32, word: u32) {
        heap.core.memory.write_u32(u64::from(object + offset), word).unwrap();
    }
    let cases: [Case; 9] = [
        (
            // One of the two references is the global's.
            "an object has more references than are counted",
            |heap, o| bits(heap, o.leaf, |bits| bits - COUNT_ONE),
            |o| o.leaf,
        ),
        (
            "an object has more references than are counted",
            |heap, o| bits(heap, o.array, |bits| bits - COUNT_ONE),
            |o| o.array,
        ),
        (
            "an object is missing in the list",
            |heap, o| {
                bits(heap, o.top, |bits| bits & !LISTED);
                heap.core.memory.set_data_u32(LIST_LEN, 0);
            },
            |o| o.top,
        ),
        (
            "an object's flag disagrees with the list",
            |heap, o| bits(heap, o.leaf, |bits| bits | LISTED),
            |o| o.leaf,
        ),
        (
            "an object's flag disagrees with the map",
            |heap, o| bits(heap, o.leaf, |bits| bits & !MATURE),
            |o| o.leaf,
        ),
        (
            "a reference to something that is not an object",
            |heap, o| write(heap, o.array, 12 + 4, o.leaf + 8),
            |o| o.array,
        ),
        ("a header names no kind", |heap, o| write(heap, o.leaf, 0, 0), |o| o.leaf),
        (
            "an object's size is not that of its block",
            |heap, o| write(heap, o.array, 8, 1),
            |o| o.array,
        ),
        ("externrefs are miscounted", |heap, _| heap.values += 1, |_| 0),
    ];
    for (n, (what, damage, at)) in cases.into_iter().enumerate() {
        let mut heap = heap();
        let mut o = objects(&mut heap);
        verify(&heap, &mut o).unwrap();
        damage(&mut heap, &o);
        let found = verify(&heap, &mut o);
        let Err(HeapError::Verification { at: found_at, what: found_what, path }) = found else {
            panic!("case {n}: {found:?}");
        };
        assert_eq!((found_at, found_what), (at(&o), what), "case {n}: {path}");
        let to_array = format!("from stack slot (root 0) → StructRef type#0 at {:#x}", o.top);
        let expected = match at(&o) {
            0 => "in the heap as a whole".into(),
            at if at == o.leaf => "from global 3 → ".into(),
            at if at == o.array => {
                format!("{to_array}, field 0 (+8) → ArrayRef type#1 at {:#x}", o.array)
            }
            _ => to_array,
        };
        assert!(path.starts_with(&expected), "case {n}: {path}\ninstead of {expected}");
    }
}
