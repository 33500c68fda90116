//! The list of boxes: what a sweep finds, in any number of parts, and after it was abandoned.

use super::*;
use crate::{HeapCore, HeapMemory, HeapOptions};
use std::collections::HashMap;
use std::sync::Arc;

/// The places of young objects are below this.
const OLD: u32 = 0x10000;

/// A collection that has found some objects, and moved them.
struct Found {
    core: HeapCore,
    now: HashMap<u32, u32>,
}

impl Found {
    fn new() -> Found {
        let memory = HeapMemory::new(&HeapOptions::default()).unwrap();
        Found { core: HeapCore::new(memory), now: HashMap::new() }
    }
}

impl WeakTracer for Found {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        self.now.get(&object.as_raw_u32()).and_then(|&now| VMGcRef::from_heap_index(now))
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        object.unchecked_copy()
    }

    fn is_young(&self, object: &VMGcRef) -> bool {
        object.as_raw_u32() < OLD
    }
}

/// A table of values whose boxes are at `places`, and what is alive besides the table.
fn table(
    places: &[u32],
) -> (ExternRefHostDataTable, Vec<ExternRefHostDataId>, Vec<std::sync::Weak<()>>) {
    let mut table = ExternRefHostDataTable::default();
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    for &place in places {
        let value = Arc::new(());
        values.push(Arc::downgrade(&value));
        let id = table.alloc(Box::new(value)).unwrap();
        table.set_box(id, &VMGcRef::from_heap_index(place).unwrap());
        ids.push(id);
    }
    (table, ids, values)
}

fn alive(values: &[std::sync::Weak<()>]) -> Vec<bool> {
    values.iter().map(|value| value.strong_count() > 0).collect()
}

/// Sweeps with this budget for each part. Returns the number of parts.
fn sweep(table: &mut ExternRefHostDataTable, scope: WeakScope, found: &Found, budget: u32) -> u32 {
    table.begin_sweep(scope);
    let mut parts = 1;
    while !table.sweep(found, &mut { budget }) {
        parts += 1;
    }
    parts
}

#[test]
fn values_without_a_found_box_are_dropped_in_any_number_of_parts() {
    for (scope, budget) in
        [(WeakScope::All, 1), (WeakScope::All, 100), (WeakScope::Young, 1), (WeakScope::Young, 100)]
    {
        let (mut table, ids, values) = table(&[8, 16, 24, 32]);
        let mut found = Found::new();
        found.now.extend([(8, OLD), (24, 48)]);
        let parts = sweep(&mut table, scope, &found, budget);
        assert_eq!(parts > 3, budget == 1, "{scope:?}");
        assert_eq!(alive(&values), [true, false, true, false], "{scope:?}");
        let now = ids.iter().map(|&id| table.box_of(id).map(|at| at.as_raw_u32()));
        assert_eq!(now.collect::<Vec<_>>(), [Some(OLD), None, Some(48), None], "{scope:?}");
        // One box is still young.
        assert_eq!([WeakScope::Young, WeakScope::All].map(|scope| table.count(scope)), [1, 2]);
    }
}

#[test]
fn a_young_collection_looks_at_young_boxes_only() {
    let (mut table, ids, values) = table(&[8, 16]);
    let mut found = Found::new();
    found.now.extend([(8, OLD), (16, OLD + 8)]);
    sweep(&mut table, WeakScope::Young, &found, 9);
    // It finds nothing, but these are old.
    found.now.clear();
    let third = table.alloc(Box::new(())).unwrap();
    table.set_box(third, &VMGcRef::from_heap_index(8).unwrap());
    sweep(&mut table, WeakScope::Young, &found, 9);
    assert_eq!((alive(&values), table.get(third).is_none()), (vec![true; 2], true));
    // The slot is used again, and listed again.
    assert_eq!(table.alloc(Box::new(())).unwrap(), third);
    table.set_box(third, &VMGcRef::from_heap_index(24).unwrap());
    assert_eq!(table.count(WeakScope::Young), 1);
    found.now.insert(OLD + 8, OLD + 8);
    sweep(&mut table, WeakScope::All, &found, 9);
    assert_eq!((alive(&values), table.len()), (vec![false, true], 1));
    assert_eq!(table.box_of(ids[1]).unwrap().as_raw_u32(), OLD + 8);
}

#[test]
fn a_sweep_that_is_abandoned_begins_again() {
    for scope in [WeakScope::Young, WeakScope::All] {
        for parts in 0..8 {
            let (mut table, _, values) = table(&[8, 16, 24, 32]);
            let mut found = Found::new();
            // Nothing moves.
            found.now.extend([(8, 8), (16, 16), (32, 32)]);
            table.begin_sweep(scope);
            (0..parts).for_each(|_| _ = table.sweep(&found, &mut 1));
            sweep(&mut table, scope, &found, 1);
            assert_eq!(alive(&values), [true, true, false, true], "{scope:?}, {parts} parts");
            assert_eq!(table.count(WeakScope::Young), 3);
        }
    }
}

#[test]
fn a_slot_that_is_used_again_is_listed_once() {
    let (mut table, ids, _) = table(&[8]);
    for n in 2..100 {
        assert!(table.dealloc(ids[0]) && table.box_of(ids[0]).is_none());
        assert_eq!(table.alloc(Box::new(())).unwrap(), ids[0]);
        table.set_box(ids[0], &VMGcRef::from_heap_index(8 * n).unwrap());
        assert_eq!(table.count(WeakScope::Young), 1);
    }
    table.update(&mut |at| VMGcRef::from_heap_index(at.as_raw_u32() + 8));
    assert_eq!(table.box_of(ids[0]).unwrap().as_raw_u32(), 8 * 100);
    table.clear();
    assert_eq!((table.count(WeakScope::Young), table.box_of(ids[0])), (0, None));
}

#[test]
fn a_collection_that_does_not_sweep_is_noticed() {
    let (mut table, _, _) = table(&[8]);
    table.expect_sweep();
    assert!(table.sweep(&Found::new(), &mut 9) && !table.was_swept(), "it was not begun");
    // Neither was one that an earlier collection has abandoned.
    table.begin_sweep(WeakScope::Young);
    table.expect_sweep();
    assert!(table.sweep(&Found::new(), &mut 9) && !table.was_swept() && table.len() == 1);
    table.begin_sweep(WeakScope::All);
    assert!(!table.was_swept());
    assert!(table.sweep(&Found::new(), &mut 9) && table.was_swept());
    table.expect_sweep();
    assert!(table.was_swept(), "there is nothing to sweep");
    let id = table.alloc(Box::new(())).unwrap();
    table.set_box(id, &VMGcRef::from_heap_index(8).unwrap());
    table.expect_sweep();
    table.keep_all();
    assert!(table.was_swept());
}
