//! The sandbox without compiled code. Heap bytes are overwritten at random between operations.
//! Every operation must end with a wrong object or an error, never with a panic or a host value
//! that is dropped twice.

use crate::common::*;
use arbtest::{arbitrary, arbtest};
use gc_runtime::{GcRuntime, GcStore, HeapBounds, HeapOptions, NoStack};
use gc_testkit::roots::Stack;
use gc_types::{NULL_PAGE_SIZE, TypeIndex, VMGcRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts its drops. Fails the test when it is dropped twice.
struct Once {
    alive: bool,
    dropped: Arc<AtomicU32>,
}

impl Drop for Once {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut self.alive, false), "dropped twice");
        self.dropped.fetch_add(1, Relaxed);
    }
}

fn scribble(store: &mut GcStore, u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<()> {
    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
    // Most objects are near the heap's start.
    let reach = if u.ratio(9, 10)? { 2048 } else { memory.usable() - 4 };
    let at = u64::from(NULL_PAGE_SIZE) + u.arbitrary::<u64>()? % reach;
    let at = if u.arbitrary()? { at & !3 } else { at };
    let word = match u.int_in_range(0..=3)? {
        0 => u.arbitrary()?,
        1 => u.int_in_range(0..=64)?,
        2 => NULL_PAGE_SIZE + u.int_in_range(0..=256)? * 8,
        _ => memory.read_u32(at).unwrap() ^ 1 << u.int_in_range(0..=31)?,
    };
    memory.write_u32(at, word).unwrap();
    Ok(())
}

fn run(runtime: &dyn GcRuntime, u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<()> {
    let options =
        HeapOptions { initial: 80 << 10, maximum: 128 << 10, ..options(HeapBounds::Checked) };
    let mut store = store_with(runtime, &options);
    let dropped = Arc::new(AtomicU32::new(0));
    let mut made = 0;
    let mut held: Vec<VMGcRef> = Vec::new();
    let mut stack = Stack(Vec::new());
    for _ in 0..u.int_in_range(1..=120)? {
        match u.int_in_range(0..=13)? {
            0 => {
                let ty = *u.choose(&[NODE, MIXED])?;
                held.extend(store.alloc_struct(&mut stack, ty));
            }
            1 => {
                let ty: TypeIndex = *u.choose(&[BYTES, REFS, LONGS])?;
                let length = u.int_in_range(0..=100)?;
                held.extend(store.alloc_array(&mut stack, ty, length));
            }
            2 => {
                let value = Once { alive: true, dropped: Arc::clone(&dropped) };
                made += 1;
                match store.alloc_externref(&mut stack, Box::new(value)) {
                    Ok(externref) => held.push(externref),
                    Err((_, value)) => drop(value),
                }
            }
            3 | 4 if !held.is_empty() => {
                let (a, b) = (u.choose_index(held.len())?, u.choose_index(held.len())?);
                let offset = *u.choose(&[LEFT, RIGHT, VALUE, 40])?;
                let _: Result<(), _> = store.write_field_ref(&held[a], offset, Some(&held[b]));
            }
            5 if !held.is_empty() => {
                let a = u.choose_index(held.len())?;
                if let Ok(Some(read)) = store.read_field_ref(&held[a], LEFT) {
                    held.push(read);
                }
            }
            6 if !held.is_empty() => {
                let gc_ref = held.swap_remove(u.choose_index(held.len())?);
                store.drop_gc_ref(gc_ref);
            }
            7 if !held.is_empty() => {
                let gc_ref = held.swap_remove(u.choose_index(held.len())?);
                let raw = store.expose_gc_ref_to_wasm(gc_ref);
                if u.arbitrary()? {
                    stack.0.push(u64::from(raw));
                }
            }
            8 if held.len() > 1 => {
                let (a, b) = (u.choose_index(held.len())?, u.choose_index(held.len())?);
                let (to, from, n) = (u.arbitrary()?, u.arbitrary()?, u.int_in_range(0..=50)?);
                let (to, from): (u8, u8) = (to, from);
                let _: Result<(), _> =
                    store.array_copy(&held[a], to.into(), &held[b], from.into(), n);
                let _: Result<(), _> = store.array_fill(&held[a], to.into(), 0, n);
                let _: Result<_, _> = store.externref_host_data(&held[b]).map(drop);
                let _: Result<(), _> = store.array_write_bytes(&held[b], 0, &[7; 9]);
            }
            9 => {
                let word = VMGcRef::from_raw_u32(u.arbitrary()?);
                store.collector_slow_path(u.int_in_range(0..=2)?, word, 0);
            }
            10 => {
                let _: Result<bool, _> = store.gc(&mut stack);
                if u.arbitrary()? {
                    stack.0.clear();
                }
            }
            11 if u.ratio(1, 8)? => {
                held.clear();
                stack.0.clear();
                store.reset().unwrap();
                assert_eq!(dropped.load(Relaxed), made);
                store.heap().unwrap().verify().unwrap();
            }
            _ => scribble(&mut store, u)?,
        }
        let _: Result<(), _> = store.heap().unwrap().verify();
        let _ = store.stats();
    }
    let _: Result<bool, _> = store.gc(&mut NoStack);
    drop(store);
    assert_eq!(dropped.load(Relaxed), made, "every host value is dropped once");
    Ok(())
}

#[test]
fn overwritten_heaps_end_in_errors() {
    for runtime in COLLECTORS {
        arbtest(|u| run(runtime, u)).budget_ms(2_000);
    }
}
