//! A large array costs memory only where it is touched, under every collector. They are one test, alone in
//! its binary, because it counts the memory of the process.
#![cfg(all(target_os = "linux", not(miri)))]

use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{GcRuntime, GcStore, HeapBounds, HeapOptions, NoStack, Reclaims};
use gc_types::{ArrayLayout, GcLayout, StorageType, TypeIndex, VMGcRef};
use std::sync::Arc;

const BYTES: TypeIndex = TypeIndex::new(0).unwrap();
const REFS: TypeIndex = TypeIndex::new(1).unwrap();
const LARGE: u32 = 512 << 20;
const MIB: u64 = 1 << 20;

/// Bytes of the process in physical memory.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn store(collector: &dyn GcRuntime) -> GcStore {
    let options = HeapOptions {
        initial: MIB,
        maximum: (2 << 30) + 64 * MIB,
        bounds: HeapBounds::Guarded,
        ..HeapOptions::default()
    };
    let mut store = GcStore::new(collector, &options).unwrap();
    for (ty, element) in [(BYTES, StorageType::I8), (REFS, StorageType::Ref)] {
        let layout = GcLayout::Array(ArrayLayout::new(element));
        store.ensure_layout(ty, &Arc::new(layout)).unwrap();
    }
    store
}

/// The length of an array with about `size` bytes.
fn length(ty: TypeIndex, size: u32) -> u32 {
    if ty == REFS { size / 4 } else { size }
}

/// Places all over an array of [`LARGE`] bytes.
fn places(array: &VMGcRef) -> impl Iterator<Item = u64> + use<> {
    let first = u64::from(array.as_raw_u32()) + 16;
    (0..16).map(move |n| first + u64::from(LARGE / 16 * n))
}

#[test]
fn large_arrays() {
    untouched_arrays_cost_no_memory();
    used_memory_is_zero_again();
}

fn untouched_arrays_cost_no_memory() {
    let collectors: [&dyn GcRuntime; 4] =
        [&NullCollector, &DrcCollector, &CopyingCollector, &GenerationalCollector::new()];
    for collector in collectors {
        for ty in [BYTES, REFS] {
            let name = collector.name();
            let mut store = store(collector);
            let before = resident();
            // What is touched may have huge pages.
            let most = 24 * MIB;
            let check = |what: &str| {
                let more = resident().saturating_sub(before);
                assert!(more <= most, "{name}: {what} took {} KiB", more >> 10);
            };
            // Later rounds use the memory of earlier ones.
            for round in 0..3 {
                let scope = store.enter_handle_scope();
                let array = store.alloc_array(&mut NoStack, ty, length(ty, LARGE)).unwrap();
                check("an array");
                let memory = &store.heap().unwrap().core().memory;
                assert!(places(&array).all(|at| memory.read_u32(at) == Some(0)), "{name}");
                if collector.reclaims() == Reclaims::Nothing {
                    break;
                }
                // A collection finds it alive.
                let handle = store.root(array).unwrap();
                if round % 2 == 0 {
                    store.gc(&mut NoStack).unwrap();
                    check("a collection");
                }
                let array = store.rooted(&handle).unwrap().unchecked_copy();
                assert_eq!(store.array_len(&array), Ok(length(ty, LARGE)));
                if ty == BYTES {
                    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
                    places(&array).for_each(|at| memory.write_u32(at, 7).unwrap());
                }
                store.exit_handle_scope(scope);
                store.gc(&mut NoStack).unwrap();
                check("a collection without it");
            }
        }
    }
}

/// Arrays that were written in full are zero in the same memory later.
fn used_memory_is_zero_again() {
    let collectors: [&dyn GcRuntime; 3] =
        [&DrcCollector, &CopyingCollector, &GenerationalCollector::new()];
    for collector in collectors {
        let mut store = store(collector);
        for size in [10_000, 300_000, 5 << 20, 20 << 20, 600_000, 20 << 20] {
            let array = store.alloc_array(&mut NoStack, BYTES, size).unwrap();
            let mut bytes = vec![1; size as usize];
            store.array_read_bytes(&array, 0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|&byte| byte == 0), "{}: {size}", collector.name());
            store.array_fill(&array, 0, 0xff, size).unwrap();
            store.drop_gc_ref(array);
            store.gc(&mut NoStack).unwrap();
        }
    }
}
