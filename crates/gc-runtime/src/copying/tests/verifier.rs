//! For every broken invariant, the verifier names the wrong object and the path to it.

use super::*;

/// A pair on the stack. Its `car` refers to an array, whose element 1 refers to a pair. There is
/// also an externref.
struct Objects {
    top: u32,
    array: u32,
    leaf: u32,
    host: u32,
}

fn objects(heap: &mut CopyingHeap) -> Objects {
    let top = pair(heap).as_raw_u32();
    let array = array(heap, REFS, 3).unwrap().as_raw_u32();
    let leaf = pair(heap).as_raw_u32();
    let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
    let host = heap.alloc_raw(header, GcLayout::EXTERNREF_SIZE).unwrap().as_raw_u32();
    write(heap, top, CAR, array);
    write(heap, array, 12 + 4, leaf);
    Objects { top, array, leaf, host }
}

fn verify(heap: &CopyingHeap, objects: &Objects) -> Result<(), HeapError> {
    let mut roots = GcRootsList::default();
    let mut stack = Stack(vec![u64::from(objects.top)]);
    stack.trace_stack(&mut roots).unwrap();
    let (host_data, weak) = Default::default();
    gc_heap::verify(heap, &host_data, &weak, &mut roots, None)
}

#[test]
fn what_is_wrong_is_named_and_the_way_to_it() {
    type Case = (&'static str, fn(&mut CopyingHeap, &Objects), fn(&Objects) -> u32);
    let cases: [Case; 7] = [
        (
            "unexpected collector bits in a header",
            |heap, o| write(heap, o.leaf, 4, forwarding(o.top)),
            |o| o.leaf,
        ),
        (
            "unexpected collector bits in a header",
            |heap, o| write(heap, o.array, 4, 2),
            |o| o.array,
        ),
        ("a header names no kind", |heap, o| write(heap, o.leaf, 0, 0), |o| o.leaf),
        (
            "a reference to something that is not an object",
            |heap, o| write(heap, o.array, 16, o.leaf + 8),
            |o| o.array,
        ),
        (
            "a reference to something that is not an object",
            |heap, o| write(heap, o.leaf, CDR, o.leaf + 4),
            |o| o.leaf,
        ),
        (
            "memory for the next objects is not zero",
            |heap, o| write(heap, o.host, 16 + 40, 1 << 24),
            |o| o.host + 16 + 43,
        ),
        (
            "the next object's index is not in its chunk",
            |heap, o| heap.core.memory.set_data_u32(LIMIT, o.leaf),
            |o| o.host + 16,
        ),
    ];
    for (n, (what, damage, at)) in cases.into_iter().enumerate() {
        let mut heap = heap(8, 8);
        let o = objects(&mut heap);
        verify(&heap, &o).unwrap();
        damage(&mut heap, &o);
        let found = verify(&heap, &o);
        let Err(HeapError::Verification { at: found_at, what: found_what, path }) = found else {
            panic!("case {n}: {found:?}");
        };
        assert_eq!((found_at, found_what), (at(&o), what), "case {n}: {path}");
        let to_array = format!(
            "from stack slot (root 0) → StructRef type#0 at {:#x}, field 0 (+8) → ArrayRef type#1 at {:#x}",
            o.top, o.array
        );
        let expected = match at(&o) {
            at if at == o.leaf => format!("{to_array}, element 1 (+16) → "),
            at if at == o.array => to_array,
            at if at == NULL_PAGE_SIZE => String::new(),
            _ => "no path from a root".into(),
        };
        assert!(path.starts_with(&expected), "case {n}: {path}\ninstead of {expected}");
    }
}
