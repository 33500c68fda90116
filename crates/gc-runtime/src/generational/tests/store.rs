//! Tests of a heap in a store, over many nurseries: what is collected when.

use super::*;
use gc_heap::{GcStore, MemoryBudget, NoStack};

/// The referent of the second field of the pair `object`.
fn cdr(store: &GcStore, object: &VMGcRef) -> Option<VMGcRef> {
    let word = store.read_field(object, CDR as u32, StorageType::Ref).unwrap();
    VMGcRef::from_raw_u32(word as u32)
}

#[test]
fn a_store_collects_the_nursery_mostly_and_the_rest_in_time() {
    let options = HeapOptions { initial: 1 << 20, ..options(64 << 20) };
    let mut store = GcStore::new(&COLLECTOR, &options).unwrap();
    add_layouts(store.heap_mut().unwrap());
    // A queue of 20,000 pairs: each dies old.
    let mut stack = Stack(vec![0]);
    let anchor = store.alloc_struct(&mut stack, PAIR).unwrap();
    stack.set(0, &anchor);
    for n in 0..2_000_000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        let anchor = stack.get(0).unwrap();
        let field = |at| store.read_field(&anchor, at, StorageType::Ref).unwrap() as u32;
        let (first, last) = (VMGcRef::from_raw_u32(field(8)), VMGcRef::from_raw_u32(field(12)));
        match last {
            Some(last) => store.write_field_ref(&last, 12, Some(&pair)).unwrap(),
            None => store.write_field_ref(&anchor, 8, Some(&pair)).unwrap(),
        }
        store.write_field_ref(&anchor, 12, Some(&pair)).unwrap();
        if let Some(first) = first.filter(|_| n > 20_000) {
            let second = store.read_field(&first, 12, StorageType::Ref).unwrap() as u32;
            let second = VMGcRef::from_raw_u32(second);
            store.write_field_ref(&anchor, 8, second.as_ref()).unwrap();
        }
    }
    let stats = store.stats();
    assert!(stats.collections > 100, "{stats:?}");
    assert!(stats.heap_bytes < 8 << 20, "{stats:?}");
    assert!(store.gc(&mut stack).unwrap());
    assert_eq!(store.stats().live_objects, 20_002);
    store.heap().unwrap().verify().unwrap();
    assert!(store.gc(&mut NoStack).unwrap());
    assert_eq!(store.stats().live_objects, 0);
}

/// Traces evacuate nothing, and no other collection between them does.
#[test]
fn a_large_object_finds_room_between_what_traces_left() {
    let mut store = GcStore::new(&COLLECTOR, &options(4 << 20)).unwrap();
    add_layouts(store.heap_mut().unwrap());
    let (kept, first, last) = (0, 1, 2);
    let mut stack = Stack(vec![0; 3]);
    let array = store.alloc_array(&mut stack, REFS, 100).unwrap();
    stack.set(kept, &array);
    // The whole heap is one list. One pair in each block is kept.
    for _ in 0..220_000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        store.write_field_ref(&pair, CDR as u32, stack.get(first).as_ref()).unwrap();
        stack.set(first, &pair);
    }
    store.gc(&mut stack).unwrap();
    let (array, mut pair) = (stack.get(kept).unwrap(), stack.get(first));
    for n in 0.. {
        let Some(this) = pair else { break };
        pair = cdr(&store, &this);
        if n % 2200 == 0 {
            store.write_field_ref(&this, CDR as u32, None).unwrap();
            store.write_field_ref(&array, 12 + n / 2200 * 4, Some(&this)).unwrap();
        }
    }
    stack.0[first] = 0;
    store.gc(&mut stack).unwrap();
    assert_eq!(store.stats().live_objects, 101);
    // Runs a queue until there were some traces, and a minor collection after them.
    let (mut pauses, mut traces, mut after) = (0, 0, None);
    for n in 0.. {
        assert!(n < 10_000_000, "no traces");
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        match stack.get(last) {
            Some(last) => store.write_field_ref(&last, CDR as u32, Some(&pair)).unwrap(),
            None => stack.set(first, &pair),
        }
        stack.set(last, &pair);
        if n >= 10 {
            stack.set(first, &cdr(&store, &stack.get(first).unwrap()).unwrap());
        }
        if store.pauses().count() > std::mem::replace(&mut pauses, store.pauses().count()) {
            match store.pauses().recent().last().unwrap().kind {
                PauseKind::Minor if traces > 4 => after = Some(n + 1000),
                PauseKind::Minor => traces = 0,
                _ => traces += 1,
            }
        }
        if after == Some(n) {
            break;
        }
    }
    store.alloc_array(&mut stack, BYTES, 2 << 20).unwrap();
    store.heap().unwrap().verify().unwrap();
}

/// An hour that the host gives is not used up where there is nothing to do.
#[test]
fn given_time_ends_with_the_work() {
    const HOUR: Duration = Duration::from_secs(3600);
    let options = HeapOptions { initial: 128 << 10, ..options(256 << 10) };
    for nursery in [0, 64 << 10] {
        let collector = GenerationalCollector::new().with_nursery(nursery);
        let mut store = GcStore::new(&collector, &options).unwrap();
        add_layouts(store.heap_mut().unwrap());
        let mut stack = Stack(vec![0]);
        assert!(store.gc_for(&mut stack, HOUR).unwrap().is_nothing());
        // Until the heap is full of live objects.
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        stack.set(0, &pair);
        let full = loop {
            let pair = match store.alloc_struct(&mut stack, PAIR) {
                Ok(pair) => pair,
                Err(full) => break full,
            };
            store.write_field_ref(&pair, CDR as u32, stack.get(0).as_ref()).unwrap();
            stack.set(0, &pair);
        };
        let _left = store.gc_for(&mut stack, HOUR).unwrap();
        store.heap().unwrap().verify().unwrap();
        assert!(matches!(full, HeapError::OutOfMemory { .. }), "{full}");
        store.heap_mut().unwrap().core_mut().note_damage(NURSERY_START, "a test");
        let damage = store.gc_for(&mut stack, HOUR).unwrap_err();
        assert!(damage.to_string().contains("a test"), "{damage}");
    }
}

/// A budget limits the nursery, and an idle heap gives the rest of it back.
#[test]
fn a_memory_budget_limits_the_nursery() {
    const LEAST: u64 = 256 << 10;
    let fill = |budget: u64| {
        let policy = MemoryBudget::new(budget).into();
        let options = HeapOptions { policy, ..options(64 << 20) };
        let mut store = GcStore::new(&GenerationalCollector::new(), &options).unwrap();
        add_layouts(store.heap_mut().unwrap());
        let mut stack = Stack(vec![0]);
        // An eighth of the pairs lives until the next collections.
        for n in 0..1_000_000 {
            let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
            if n % 8 == 0 {
                let before = if n % 80_000 == 0 { None } else { stack.get(0) };
                store.write_field_ref(&pair, CDR as u32, before.as_ref()).unwrap();
                stack.set(0, &pair);
            }
        }
        store
    };
    let nursery = |store: &GcStore| {
        let minors = store.pauses().recent().filter(|pause| pause.kind == PauseKind::Minor);
        // The first one began before the policy was asked. Objects that aged die, too.
        minors.skip(1).map(|pause| pause.bytes_before - pause.bytes_after).max().unwrap()
    };
    let (tight, mut ample) = (fill(0), fill(1 << 30));
    let (small, large) = (nursery(&tight), nursery(&ample));
    assert!(small < 2 * LEAST && large > 4 * LEAST, "{small}, {large}");
    let before = ample.stats().heap_bytes;
    // The host has time again and again.
    for _ in 0..10 {
        let _left = ample.gc_for(&mut NoStack, Duration::from_secs(1)).unwrap();
        let after = ample.stats().heap_bytes;
        if after < before {
            return ample.heap().unwrap().verify().unwrap();
        }
    }
    panic!("an idle heap still has {before} bytes");
}
