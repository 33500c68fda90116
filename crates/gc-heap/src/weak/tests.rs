//! Tests of the table with a collector that only marks: what it asks, and how often.

use super::*;
use crate::{HeapCore, HeapMemory, HeapOptions};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{
    GcLayout, I31, NULL_PAGE_SIZE, StorageType, StructLayout, TypeIndex, VMGcHeader, VMGcKind,
};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

const PAIR: TypeIndex = TypeIndex::new(0).unwrap();
/// Offset of a pair's first field.
const CAR: u32 = 8;

/// A heap of pairs that never frees or moves them, and its marks.
struct Marks {
    core: HeapCore,
    marked: HashSet<u32>,
    grey: Vec<u32>,
    /// Objects from here on are young.
    young: u32,
    asked: Cell<usize>,
}

impl WeakTracer for Marks {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        self.asked.set(self.asked.get() + 1);
        let index = object.as_raw_u32();
        let lives = self.marked.contains(&index) || index < self.young && self.young < u32::MAX;
        lives.then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        self.mark(object.as_raw_u32());
        object.unchecked_copy()
    }

    fn is_young(&self, object: &VMGcRef) -> bool {
        object.as_raw_u32() >= self.young
    }
}

impl Marks {
    fn new() -> Marks {
        let options = HeapOptions { initial: 8 << 20, ..HeapOptions::default() };
        let mut core = HeapCore::new(HeapMemory::new(&options).unwrap());
        let layout = StructLayout::new([StorageType::Ref; 2]).unwrap();
        core.side.layouts.ensure(PAIR, &Arc::new(GcLayout::Struct(layout))).unwrap();
        core.memory.set_data_u32(NEXT, NULL_PAGE_SIZE);
        core.memory.set_data_u32(LIMIT, core.memory.len() as u32);
        let (marked, grey) = Default::default();
        Marks { core, marked, grey, young: u32::MAX, asked: Cell::new(0) }
    }

    fn pair(&mut self) -> VMGcRef {
        let index = self.core.bump(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16).unwrap();
        VMGcRef::from_heap_index(index).unwrap()
    }

    fn link(&mut self, from: &VMGcRef, to: &VMGcRef) {
        self.core.write_ref_at(u64::from(from.as_raw_u32() + CAR), Some(to)).unwrap();
    }

    fn mark(&mut self, index: u32) {
        if self.marked.insert(index) {
            self.grey.push(index);
        }
    }

    fn trace(&mut self) {
        while let Some(index) = self.grey.pop() {
            let mut found = Vec::new();
            self.core.for_each_ref_at(index, |_, to| found.push(to.as_raw_u32())).unwrap();
            found.retain(|word| word & I31::TAG == 0);
            found.into_iter().for_each(|word| self.mark(word));
        }
    }

    /// Collects with one root. Returns the number of objects about which it was asked.
    fn collect(&mut self, weak: &mut WeakTable, scope: WeakScope, root: Option<&VMGcRef>) -> usize {
        self.marked.clear();
        self.asked.set(0);
        root.into_iter().for_each(|root| self.mark(root.as_raw_u32()));
        weak.expect();
        weak.begin(scope);
        loop {
            self.trace();
            if weak.step(self, &mut { 100 }) == WeakStep::Done {
                assert!(weak.was_processed());
                return self.asked.get();
            }
        }
    }
}

fn copy(gc_ref: &VMGcRef) -> VMGcRef {
    gc_ref.unchecked_copy()
}

/// A map whose entries lead from `keys[0]` to all other keys, each value referring to the next key.
/// The entries are in the order that is worst.
fn chain(marks: &mut Marks, weak: &mut WeakTable, length: usize) -> (WeakMap, Vec<VMGcRef>) {
    let map = weak.add_map().unwrap();
    let number = weak.map(&map).unwrap();
    let keys: Vec<VMGcRef> = (0..length).map(|_| marks.pair()).collect();
    for pair in keys.windows(2).rev() {
        let value = marks.pair();
        marks.link(&value, &pair[1]);
        weak.entries_mut().insert(number, copy(&pair[0]), value);
    }
    (map, keys)
}

#[test]
fn a_chain_of_entries_is_followed_in_linear_time() {
    for length in [10, 1_000, 20_000] {
        let (mut marks, mut weak) = (Marks::new(), WeakTable::default());
        let (map, keys) = chain(&mut marks, &mut weak, length);
        let number = weak.map(&map).unwrap();
        let asked = marks.collect(&mut weak, WeakScope::All, Some(&keys[0]));
        assert_eq!(weak.entries().len_of(number) as usize, length - 1);
        assert_eq!(marks.marked.len(), 2 * length - 1);
        assert!(asked < 12 * length + 3_000, "{asked} questions about {length} entries");
        // Without the first half.
        let asked = marks.collect(&mut weak, WeakScope::All, Some(&keys[length / 2]));
        assert_eq!(weak.entries().len_of(number) as usize, length - 1 - length / 2);
        assert!(asked < 12 * length + 3_000, "{asked} questions about {length} entries");
        let asked = marks.collect(&mut weak, WeakScope::All, None);
        assert_eq!(weak.entries().len_of(number), 0);
        assert!(asked <= length, "{asked} questions about {length} entries");
        assert!(weak.is_empty());
    }
}

/// The chain hangs on an object that only its finalizer keeps.
#[test]
fn a_chain_behind_a_finalizer_is_followed_in_linear_time() {
    let (mut marks, mut weak) = (Marks::new(), WeakTable::default());
    let length = 20_000;
    let (map, keys) = chain(&mut marks, &mut weak, length);
    weak.add_finalizer(copy(&keys[0]), Box::new(())).map_err(|_| ()).unwrap();
    let asked = marks.collect(&mut weak, WeakScope::All, None);
    let number = weak.map(&map).unwrap();
    assert_eq!(weak.entries().len_of(number) as usize, length - 1);
    assert!(asked < 14 * length, "{asked} questions");
    assert_eq!(weak.next_finalizable().map(|(object, _)| object), Some(copy(&keys[0])));
    marks.collect(&mut weak, WeakScope::All, None);
    assert!(weak.is_empty());
}

#[test]
fn a_collection_of_young_objects_asks_about_young_ones() {
    let (mut marks, mut weak) = (Marks::new(), WeakTable::default());
    let map = weak.add_map().unwrap();
    let number = weak.map(&map).unwrap();
    let root = marks.pair();
    let (mut keys, mut handles) = (Vec::new(), Vec::new());
    for i in 0..10_000u32 {
        let (key, value) = (marks.pair(), marks.pair());
        handles.push(weak.add_handle(copy(&key)).unwrap());
        weak.add_finalizer(copy(&key), Box::new(i)).map_err(|_| ()).unwrap();
        weak.entries_mut().insert(number, copy(&key), value);
        keys.push(key);
    }
    let old = keys.last().unwrap().as_raw_u32() + 64;
    marks.young = old;
    marks.pair();
    marks.pair();
    marks.pair();
    marks.pair();
    let asked = marks.collect(&mut weak, WeakScope::Young, Some(&root));
    assert!(asked >= 30_000, "all were new: {asked}");
    assert!(marks.collect(&mut weak, WeakScope::Young, Some(&root)) == 0, "none is young");

    // A young value of an old key lives. A young key dies, and one with a finalizer waits.
    let (value, dead, last) = (marks.pair(), marks.pair(), marks.pair());
    weak.entries_mut().insert(number, copy(&keys[5]), copy(&value));
    weak.entries_mut().insert(number, copy(&dead), copy(&root));
    let handle = weak.add_handle(copy(&dead)).unwrap();
    weak.add_finalizer(copy(&last), Box::new("last")).map_err(|_| ()).unwrap();
    let asked = marks.collect(&mut weak, WeakScope::Young, Some(&root));
    assert!(asked < 20, "{asked} questions");
    assert_eq!(weak.entries().len_of(number), 10_000);
    assert_eq!(weak.get(&handle), Ok(None));
    assert!(marks.marked.contains(&value.as_raw_u32()));
    assert_eq!(weak.entries_mut().get(number, &keys[5]), Some(value));
    assert_eq!(weak.finalizable(), 1);
    // What is still young is looked at again.
    let asked = marks.collect(&mut weak, WeakScope::Young, Some(&root));
    assert!((1..20).contains(&asked), "{asked} questions");
    assert_eq!(weak.next_finalizable().map(|(object, _)| object), Some(last));
}

#[test]
fn a_collection_that_forgets_the_table_is_noticed() {
    let (mut marks, mut weak) = (Marks::new(), WeakTable::default());
    weak.expect();
    assert!(weak.was_processed(), "there is nothing to look at");
    let pair = marks.pair();
    let handle = weak.add_handle(pair).unwrap();
    weak.expect();
    assert!(!weak.was_processed());
    weak.begin(WeakScope::All);
    assert!(!weak.was_processed());
    weak.keep_all();
    assert!(weak.was_processed());
    drop(handle);
    assert_eq!(weak.take_dropped().len(), 1);
    assert!(weak.is_empty());
}

#[test]
fn places_of_dropped_handles_and_maps_are_used_again() {
    let (mut marks, mut weak) = (Marks::new(), WeakTable::default());
    let (key, value) = (marks.pair(), marks.pair());
    for _ in 0..100 {
        let (handle, map) = (weak.add_handle(copy(&key)).unwrap(), weak.add_map().unwrap());
        let number = weak.map(&map).unwrap();
        let unused = weak.entries_mut().insert(number, copy(&key), copy(&value));
        assert_eq!(unused, [None, None]);
        let unused = weak.entries_mut().insert(number, copy(&key), copy(&key));
        assert_eq!(unused, [Some(copy(&key)), Some(copy(&value))]);
        drop((handle, map));
        assert_eq!(weak.take_dropped(), [copy(&key)]);
        assert!(!weak.is_empty(), "the entry is there");
        marks.collect(&mut weak, WeakScope::All, Some(&key));
        assert!(weak.is_empty());
    }
    assert_eq!((weak.handles.len(), weak.entries.places()), (1, 1));
    assert!(weak.young_handles.len() <= 1 && weak.entries.young.len() <= 1);
}
