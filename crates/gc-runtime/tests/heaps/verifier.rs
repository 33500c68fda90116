//! For every collector, the heap verifier names the error and the path to it.

use crate::common::*;
#[cfg(feature = "gc_zeal")]
use gc_runtime::NoStack;
use gc_runtime::{GcStore, HeapBounds, HeapError, HeapOptions};
use gc_testkit::roots::Stack;
use gc_types::{VMGcHeader, VMGcRef};

/// The places of the objects of [`graph`].
#[derive(Clone, Copy)]
struct Graph {
    top: u32,
    array: u32,
    leaf: u32,
    host: u32,
}

fn allocated(store: &mut GcStore, stack: &mut Stack, object: VMGcRef) -> u32 {
    stack.0.push(store.expose_gc_ref_to_wasm(object).into());
    stack.0[stack.0.len() - 1] as u32
}

fn link(store: &mut GcStore, from: u32, offset: u32, to: u32) {
    let [from, to] = [from, to].map(|index| VMGcRef::from_raw_u32(index).unwrap());
    store.write_field_ref(&from, offset, Some(&to)).unwrap();
}

/// A node at the root. Its field 1 refers to an array, whose element 2 refers to a node and whose
/// element 0 refers to an externref.
fn graph(store: &mut GcStore) -> (Stack, Graph) {
    let mut stack = Stack(Vec::new());
    let top = store.alloc_struct(&mut stack, NODE).unwrap();
    let top = allocated(store, &mut stack, top);
    let array = store.alloc_array(&mut stack, REFS, 3).unwrap();
    let array = allocated(store, &mut stack, array);
    let leaf = store.alloc_struct(&mut stack, NODE).unwrap();
    let leaf = allocated(store, &mut stack, leaf);
    let host = store.alloc_externref(&mut stack, Box::new(7)).unwrap();
    let host = allocated(store, &mut stack, host);
    link(store, top, RIGHT, array);
    link(store, array, 12 + 2 * 4, leaf);
    link(store, array, 12, host);
    stack.0.truncate(1);
    (stack, Graph { top, array, leaf, host })
}

fn write(store: &mut GcStore, object: u32, offset: u32, word: u32) {
    let at = u64::from(object) + u64::from(offset);
    store.heap_mut().unwrap().core_mut().memory.write_u32(at, word).unwrap();
}

fn found(store: &mut GcStore, stack: &mut Stack) -> (u32, &'static str, String) {
    match store.verify(stack) {
        Err(HeapError::Verification { at, what, path }) => (at, what, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_named_and_the_way_to_it() {
    // The damage, the place of the error, the message, and the end of the path.
    type Case = (fn(&mut GcStore, &mut Stack, Graph), fn(Graph) -> u32, &'static str, PathEnd);
    type PathEnd = fn(Graph) -> String;
    let to_array = |g: Graph| {
        format!(
            "from stack slot (root 0) → StructRef type#0 at {:#x}, field 1 (+12) → \
             ArrayRef type#3 at {:#x}",
            g.top, g.array
        )
    };
    let cases: [Case; 8] = [
        (
            |store, _, g| write(store, g.leaf, 0, 0),
            |g| g.leaf,
            "a header names no kind",
            |g| format!(", element 2 (+20) → {:#x}, whose header is 0x0", g.leaf),
        ),
        (
            |store, _, g| write(store, g.leaf, 0, REFS.header_word(gc_types::VMGcKind::StructRef)),
            |g| g.leaf,
            "a header names no type of its kind",
            |g| format!(", element 2 (+20) → StructRef type#3 at {:#x}", g.leaf),
        ),
        (
            |store, _, g| write(store, g.array, 20, g.leaf + 8),
            |g| g.array,
            "a reference to something that is not an object",
            |g| format!(", element 2 (+20) → {:#x}", g.leaf + 8),
        ),
        (
            |store, _, g| write(store, g.array, 20, 8),
            |g| g.array,
            "a reference to something that is not an object",
            |_| ", element 2 (+20) → 0x8".into(),
        ),
        (
            |store, _, g| write(store, g.array, 20, 0xffff_fff8),
            |g| g.array,
            "a reference to something that is not an object",
            |_| ", element 2 (+20) → 0xfffffff8".into(),
        ),
        (
            |store, _, g| write(store, g.host, VMGcHeader::SIZE, 77),
            |g| g.host,
            "an externref without a host value",
            |g| format!(", element 0 (+12) → ExternRef at {:#x}", g.host),
        ),
        (
            |store, _, g| write(store, g.array, 8, u32::MAX),
            |g| g.array,
            "an array's length is invalid",
            |_| String::new(),
        ),
        (
            |_, stack, g| stack.0.push(u64::from(g.array + 16)),
            |g| g.array + 16,
            "a reference to something that is not an object",
            |_| String::new(),
        ),
    ];
    for (number, (damage, at, what, end)) in cases.into_iter().enumerate() {
        on_heaps_of(&ALL_COLLECTORS, |collector, mut store| {
            let (mut stack, graph) = graph(&mut store);
            store.verify(&mut stack).unwrap();
            damage(&mut store, &mut stack, graph);
            let found = found(&mut store, &mut stack);
            let path = match number {
                7 => format!("from stack slot (root 1) → {:#x}", graph.array + 16),
                _ => to_array(graph) + &end(graph),
            };
            assert_eq!(found, (at(graph), what, path), "{collector}, case {number}");
            assert!(store.heap().unwrap().verify().is_err() || number == 5 || number == 7);
        });
    }
}

/// An unreachable object with an error is found, although no path leads to it.
#[test]
fn garbage_is_verified_too() {
    on_heaps_of(&ALL_COLLECTORS, |collector, mut store| {
        let (mut stack, graph) = graph(&mut store);
        stack.0.clear();
        write(&mut store, graph.leaf, 0, 0);
        let (at, _, path) = found(&mut store, &mut stack);
        assert_eq!((at, &*path), (graph.leaf, "no path from a root"), "{collector}");
    });
}

#[test]
fn of_a_long_way_both_ends_are_told() {
    for runtime in ALL_COLLECTORS {
        let options = HeapOptions { initial: 4 << 20, ..options(HeapBounds::Checked) };
        let mut store = store_with(runtime, &options);
        let mut stack = Stack(vec![0]);
        let mut last = 0;
        for _ in 0..10_000 {
            let node = store.alloc_struct(&mut stack, NODE).unwrap();
            let node = store.expose_gc_ref_to_wasm(node);
            if stack.0[0] != 0 {
                link(&mut store, node, LEFT, stack.0[0] as u32);
            } else {
                last = node;
            }
            stack.0[0] = node.into();
        }
        // No collection has moved anything yet.
        assert_eq!(store.stats().collections, 0);
        write(&mut store, last, LEFT, last + 4);
        let (at, _, path) = found(&mut store, &mut stack);
        assert_eq!(at, last);
        let steps: Vec<&str> = path.split(" → ").collect();
        assert_eq!(steps.len(), 1 + 8 + 1 + 8 + 1, "{path}");
        assert_eq!(steps[0], "from stack slot (root 0)");
        assert_eq!(steps[9], "… 9984 objects …");
        assert_eq!(steps[17], format!("StructRef type#0 at {last:#x}, field 0 (+8)"));
        assert_eq!(steps[18], format!("{:#x}", last + 4));
    }
}

/// Very many references into fake arrays of many references.
#[test]
fn a_way_is_looked_for_in_bounded_time() {
    let mut store = store_with(COLLECTORS[0], &options(HeapBounds::Checked));
    let mut stack = Stack(Vec::new());
    let outer = store.alloc_array(&mut stack, REFS, 500_000).unwrap();
    let outer = allocated(&mut store, &mut stack, outer);
    for n in (0..499_000).step_by(2) {
        let at = outer + 16 + n * 4;
        write(&mut store, at, 0, REFS.header_word(gc_types::VMGcKind::ArrayRef));
        write(&mut store, at, 4, at + 8);
    }
    write(&mut store, outer, 12, outer + 16);
    let behind = store.alloc_struct(&mut stack, NODE).unwrap();
    write(&mut store, behind.as_raw_u32(), 0, 0);
    let (at, _, path) = found(&mut store, &mut stack);
    assert_eq!(at, behind.as_raw_u32());
    assert!(path.contains("no "), "{path}");
}

/// An omitted barrier, and the object that a minor collection would have lost.
#[cfg(feature = "gc_zeal")]
#[test]
fn a_slot_that_is_not_remembered_is_named() {
    let options = HeapOptions { zeal: 1, ..options(HeapBounds::Checked) };
    for remembered in [true, false] {
        let mut store = store_with(ALL_COLLECTORS[3], &options);
        let mut table = table(&mut store);
        // The heap is small and the nursery empty, so the first collections may be full.
        for _ in 0..3 {
            store.alloc_struct(&mut NoStack, NODE).unwrap();
        }
        let node = store.alloc_struct(&mut NoStack, NODE).unwrap();
        if remembered {
            store.write_slot(&mut table[0], Some(&node));
        } else {
            table[0] = node.as_raw_u32();
        }
        let result = store.alloc_struct(&mut NoStack, NODE);
        if remembered {
            result.unwrap();
            continue;
        }
        let Err(HeapError::Verification { at, what, path }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(
            (at, what, path),
            (
                node.as_raw_u32(),
                "a slot refers to a young object and is not remembered",
                format!("from element 0 of table 2 → {:#x}", node.as_raw_u32()),
            )
        );
    }
}
