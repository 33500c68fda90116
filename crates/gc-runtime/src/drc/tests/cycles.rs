//! Cycles die when the host asks, when mature objects have doubled, and before the heap is out of
//! memory.

use super::*;

/// Makes two pairs that refer to each other, and a third that one of them refers to. Returns the
/// first.
fn ring(store: &mut GcStore) -> VMGcRef {
    let [a, b, tail] = std::array::from_fn(|_| store.alloc_struct(&mut NoStack, PAIR).unwrap());
    store.write_field_ref(&a, CAR, Some(&b)).unwrap();
    store.write_field_ref(&b, CAR, Some(&a)).unwrap();
    store.write_field_ref(&b, CDR, Some(&tail)).unwrap();
    store.drop_gc_ref(b);
    store.drop_gc_ref(tail);
    a
}

#[test]
fn a_cycle_dies_when_the_host_collects() {
    let mut store = store();
    let [held, named, dropped] = std::array::from_fn(|_| ring(&mut store));
    // An object stays if the ring and something else refer to it.
    let shared = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    store.write_field_ref(&dropped, CDR, Some(&shared)).unwrap();
    // One ring is a registered root. The other is not, but its count shows that it is referenced.
    let mut slot = named.as_raw_u32();
    let slots = add_handle(&mut store, &mut slot);
    for _ in 0..3 {
        assert!(store.gc(&mut NoStack).unwrap());
        store.heap().unwrap().verify().unwrap();
        assert_eq!(store.stats().live_objects, 10);
    }
    assert_eq!(word(store.heap().unwrap(), &shared), (2 * COUNT_ONE) | MATURE);
    let words = [&held, &named, &dropped].map(|ring| word(store.heap().unwrap(), ring));
    assert_eq!(words, [(2 * COUNT_ONE) | MATURE; 3]);
    store.drop_gc_ref(dropped);
    for _ in 0..3 {
        assert!(store.gc(&mut NoStack).unwrap());
        store.heap().unwrap().verify().unwrap();
        assert_eq!(store.stats().live_objects, 7);
        assert_eq!(word(store.heap().unwrap(), &shared), COUNT_ONE | MATURE);
    }
    store.drop_gc_ref(held);
    store.drop_gc_ref(named);
    store.roots_mut().remove_slots(slots);
    store.gc(&mut NoStack).unwrap();
    assert_eq!(store.stats().live_objects, 1);
}

fn add_handle(store: &mut GcStore, slot: &mut u32) -> SlotsId {
    add_slots(std::slice::from_mut(slot), RootKind::Handle, 0, store.roots_mut())
}

#[test]
fn growth_makes_a_collection_look_for_cycles() {
    let mut store = store();
    for _ in 0..1_000_000 {
        let ring = ring(&mut store);
        store.drop_gc_ref(ring);
    }
    let stats = store.stats();
    assert_eq!(stats.allocations, 3_000_000);
    assert!(stats.peak_heap_bytes <= 8 << 20, "{stats:?}");
    store.gc(&mut NoStack).unwrap();
    assert_eq!(store.stats().live_objects, 0);
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn a_full_heap_looks_for_cycles_before_it_is_out_of_memory() {
    let mut store = store_with(&HeapOptions { maximum: 1 << 20, ..options() });
    // Fewer bytes than the threshold of growth.
    for _ in 0..100_000 {
        let ring = ring(&mut store);
        store.drop_gc_ref(ring);
    }
    let array = store.alloc_array(&mut NoStack, REFS, 200_000).unwrap();
    store.heap().unwrap().verify().unwrap();
    store.drop_gc_ref(array);
    let error = store.alloc_array(&mut NoStack, REFS, 1 << 20).unwrap_err();
    assert!(matches!(error, HeapError::OutOfMemory { .. }), "{error}");
}

/// All young objects survive, so the heap cannot know before how little room there will be.
#[test]
fn cycles_are_looked_for_even_if_what_is_young_lives() {
    let options = HeapOptions { initial: 16 << 20, maximum: 16 << 20, ..options() };
    // From 6 to 12 MB of rings live.
    for live in (130_000..260_000).step_by(20_000) {
        let mut store = store_with(&options);
        let mut held: Vec<VMGcRef> = Vec::new();
        for i in 0..600_000 {
            let ring = ring(&mut store);
            match held.get_mut(i % live) {
                Some(place) => store.drop_gc_ref(std::mem::replace(place, ring)),
                None => held.push(ring),
            }
        }
        store.heap().unwrap().verify().unwrap();
        held.drain(..).for_each(|ring| store.drop_gc_ref(ring));
        store.gc(&mut NoStack).unwrap();
        assert_eq!(store.stats().live_objects, 0);
    }
}

/// A collection happened because enough was allocated, and then there was no room.
#[test]
fn cycles_are_looked_for_after_a_collection_that_did_not() {
    let options = HeapOptions { initial: 16 << 20, maximum: 16 << 20, ..options() };
    for young in (80_000..90_000).step_by(250) {
        let mut store = store_with(&options);
        let mut held: Vec<VMGcRef> = (0..125_000).map(|_| ring(&mut store)).collect();
        store.gc(&mut NoStack).unwrap();
        // This is not growth.
        held.drain(62_500..).for_each(|ring| store.drop_gc_ref(ring));
        for _ in 0..young {
            let ring = ring(&mut store);
            store.drop_gc_ref(ring);
        }
        let array = store.alloc_array(&mut NoStack, REFS, 3 << 20).unwrap();
        store.drop_gc_ref(array);
    }
}
