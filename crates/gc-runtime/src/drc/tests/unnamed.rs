//! References that the host has and did not name as roots: what they refer to is alive.

use super::slices::{Fixture, LONG};
use super::*;
use crate::drc::cycles::Phase;

/// The host has a reference to a ring, which it does not name. Whenever it uses it, the ring is alive.
#[test]
fn the_host_may_use_what_no_root_led_to() {
    type Use = fn(&mut Fixture, &VMGcRef, u32);
    let uses: [Use; 4] = [
        |f, held, _| {
            let copy = f.heap.clone_gc_ref(held);
            f.heap.drop_gc_ref(&mut f.host_data, copy);
        },
        |f, held, _| {
            let raw = held.as_raw_u32();
            let other = f.get(raw, CAR);
            f.set(raw, CDR, other);
        },
        |f, held, _| {
            let copy = f.heap.clone_gc_ref(held);
            f.stack[1] = f.heap.expose_gc_ref_to_wasm(copy).into();
        },
        |f, held, other| f.set(other, CDR, held.as_raw_u32()),
    ];
    for (i, uses) in uses.iter().enumerate() {
        for phase in [Phase::Mark, Phase::Leave, Phase::Rescue, Phase::Sweep] {
            let mut f = Fixture::new();
            let [other, last, one, two] = f.half_marked();
            let held = VMGcRef::from_raw_u32(one).unwrap();
            f.heap.clone_gc_ref(&held);
            f.set(last, CDR, 0);
            f.end();
            f.begin();
            while f.heap.cycles.phase() != phase {
                f.next_phase();
            }
            uses(&mut f, &held, other);
            f.heap.verify().unwrap();
            f.end();
            assert_eq!([f.get(one, CAR), f.get(two, CAR)], [two, one], "{i}, {phase:?}");
            // The other pair has left the stack in one case.
            let live = LONG as u64 + if i == 2 { 2 } else { 3 };
            assert_eq!(f.heap.stats().live_objects, live, "{i}, {phase:?}");
            f.heap.drop_gc_ref(&mut f.host_data, held);
        }
    }
}

/// A ring of the host refers to an object that a live one refers to, too. The ring is found unmarked, and the other reference
/// goes before the ring is rescued.
#[test]
fn what_a_rescued_object_refers_to_lives() {
    for phase in [Phase::Leave, Phase::Rescue] {
        let mut f = Fixture::new();
        let [other, last, one, two] = f.half_marked();
        // M
        let m = pair(&mut f.heap);
        let raw = m.as_raw_u32();
        f.set(one, CDR, raw);
        f.set(other, CDR, raw);
        f.heap.drop_gc_ref(&mut f.host_data, m);
        let held = VMGcRef::from_raw_u32(one).unwrap();
        f.heap.clone_gc_ref(&held);
        f.set(last, CDR, 0);
        f.end();
        f.begin();
        while f.heap.cycles.phase() != phase {
            f.next_phase();
        }
        if phase == Phase::Leave {
            // The last slice of Leave that is not over.
            while f.heap.cycles.phase() == Phase::Leave
                && word(&f.heap, &VMGcRef::from_raw_u32(raw).unwrap()) >> 2 == 2
            {
                f.collect(GcCause::NoRoom);
            }
        }
        // Compiled code or the host overwrites the live reference.
        f.set(other, CDR, 0);
        f.end();
        assert_eq!([f.get(one, CAR), f.get(two, CAR), f.get(one, CDR)], [two, one, raw]);
        assert!(f.heap.space.map().is_mature(raw), "{phase:?}: M was freed");
        f.heap.drop_gc_ref(&mut f.host_data, held);
    }
}

/// The host stores its reference in a new object, and compiled code gets that. What it then decrements has a count.
#[test]
fn what_the_host_stores_in_a_young_object_is_marked() {
    let mut f = Fixture::new();
    let [_, last, one, two] = f.half_marked();
    let held = VMGcRef::from_raw_u32(one).unwrap();
    f.heap.clone_gc_ref(&held);
    f.set(last, CDR, 0);
    f.end();
    f.begin();
    let young = pair(&mut f.heap);
    let young_raw = young.as_raw_u32();
    f.set(young_raw, CAR, one);
    f.stack[1] = f.heap.expose_gc_ref_to_wasm(young).into();
    let collect = |f: &mut Fixture| {
        f.roots.clear_stack();
        add_stack(&mut f.stack, &mut f.roots);
        let Fixture { heap, host_data, weak, roots, .. } = f;
        heap.gc(GcRequest::new(GcCause::NoRoom, roots, host_data, weak)).collect().unwrap();
    };
    while f.heap.cycles.phase() != Phase::Rescue {
        collect(&mut f);
    }
    assert_eq!(f.get(young_raw, CAR), one);
    // What compiled code does for `young.car.car = null`.
    let w = word(&f.heap, &VMGcRef::from_raw_u32(two).unwrap());
    assert!(w >> 2 >= 1, "one refers to two, and its count is {}", w >> 2);
}

#[test]
fn the_host_names_a_reference_while_a_search_is_under_way() {
    for phase in [Phase::Mark, Phase::Leave, Phase::Rescue] {
        let mut f = Fixture::new();
        let [_, last, one, _] = f.half_marked();
        let held = VMGcRef::from_raw_u32(one).unwrap();
        f.heap.clone_gc_ref(&held);
        f.set(last, CDR, 0);
        f.end();
        f.begin();
        while f.heap.cycles.phase() != phase {
            f.next_phase();
        }
        f.roots.add_segment(1, vec![Some(held)]);
        f.heap.verify_with_roots(&mut f.roots).unwrap();
        f.next_phase();
        f.end();
    }
}

#[test]
fn weak_references_to_what_the_host_holds_stay() {
    let mut store = store();
    let held = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    let value = store.alloc_struct(&mut NoStack, PAIR).unwrap();
    let weak = store.downgrade(&held).unwrap();
    let map = store.weak_map().unwrap();
    store.weak_map_insert(&map, &held, &value).unwrap();
    store.add_finalizer(&held, Box::new(7)).unwrap();
    store.drop_gc_ref(value);
    store.gc(&mut NoStack).unwrap();
    store.verify(&mut NoStack).unwrap();
    let got = (
        store.upgrade(&weak).unwrap().is_some(),
        store.weak_map_get(&map, &held).unwrap().is_some(),
        store.finalizable(),
    );
    assert_eq!(got, (true, true, 0), "a weak handle, a weak map, a finalizer");
}
