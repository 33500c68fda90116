//! Objects that survive their first collection stay young.

use super::*;

const AGEING: GenerationalCollector =
    GenerationalCollector::new().with_nursery(512 << 10).with_survivors(64 << 10);

/// A heap in which objects age.
fn ageing(maximum: u64) -> Fixture {
    Fixture::with(&options(maximum), &AGEING)
}

impl Fixture {
    /// The survivors, and the old objects.
    fn ages(&self) -> (u64, u64) {
        (
            self.heap.space.nursery.survivors.count().objects,
            self.heap.space.old.region.total().objects,
        )
    }

    /// Whether the object is a survivor.
    fn is_survivor(&self, object: u32) -> bool {
        self.heap.space.nursery.survivors.objects().contains(&object)
    }
}

#[test]
fn an_object_is_promoted_at_its_second_collection() {
    let mut f = ageing(4 << 20);
    let (a, dies) = (f.pair(0, 0), f.pair(0, 0));
    (f.stack[0], f.stack[1]) = (u64::from(f.pair(a, a)), u64::from(dies));
    f.fill_nursery(100);
    f.collect(CollectionKind::Minor);
    assert_eq!((f.ages(), f.heap.nursery_used()), ((3, 0), 0));
    assert!(f.is_survivor(f.top()) && f.heap.is_young(f.top()));
    // What dies between two collections is never promoted.
    f.stack[1] = 0;
    let new = f.pair(0, f.top());
    f.stack[0] = u64::from(new);
    f.collect(CollectionKind::Minor);
    assert_eq!(f.ages(), (1, 2));
    let old = f.read(f.top(), CDR);
    assert!(!f.heap.is_young(old) && f.read(old, CAR) == f.read(old, CDR));
    f.collect(CollectionKind::Minor);
    assert_eq!((f.ages(), f.heap.is_young(f.top())), ((0, 3), false));
}

#[test]
fn old_objects_and_slots_refer_to_survivors_for_some_collections() {
    let mut f = ageing(4 << 20);
    // An old pair, an old array, and a slot outside the heap.
    (f.stack[0], f.stack[1]) = (u64::from(f.pair(0, 0)), u64::from(f.refs(2000)));
    f.collect(CollectionKind::Full);
    assert_eq!(f.ages(), (0, 2));
    for round in 0..4 {
        let (in_pair, in_array, in_slot) = (f.pair(0, 0), f.pair(0, 0), f.pair(0, 0));
        f.write(f.top(), CAR, in_pair);
        f.write(f.stack[1] as u32, 12 + 4 * 1777, in_array);
        f.slot[0] = in_slot;
        let address = std::ptr::from_ref(&f.slot[0]).addr();
        f.heap.remember_slot(address, in_slot);
        for collection in 0..3 {
            f.collect(CollectionKind::Minor);
            f.heap.verify_with_roots(&mut f.roots).unwrap();
            let found = [f.read(f.top(), CAR), f.read(f.stack[1] as u32, 12 + 4 * 1777), f.slot()];
            let young = found.map(|object| f.is_survivor(object));
            assert_eq!(young, [collection == 0; 3], "round {round}, collection {collection}");
            // A promoted object refers to a survivor.
            if collection == 0 {
                let newer = f.pair(0, 0);
                found.iter().for_each(|&object| f.write(object, CDR, newer));
            } else {
                let newer = found.map(|object| f.read(object, CDR));
                assert!(newer.iter().all(|&object| object == newer[0] && object != 0));
                assert_eq!(f.is_survivor(newer[0]), collection == 1);
            }
        }
        assert!(!f.needs_all_roots());
    }
}

#[test]
fn collections_that_look_at_old_objects_promote_everything() {
    for kind in [CollectionKind::Begin, CollectionKind::Full, CollectionKind::Finish] {
        let mut f = ageing(4 << 20);
        f.list(100);
        f.collect(CollectionKind::Minor);
        f.list(100);
        assert_eq!(f.ages(), (100, 0));
        f.collect(kind);
        assert_eq!((f.ages(), f.list_length()), ((0, 200), 200), "{kind:?}");
    }
    // So does one that ends marking, or evacuates.
    let mut f = ageing(64 << 20);
    f.externref(1, Box::new(()));
    f.list(200_000);
    // Until objects age again.
    (0..20).for_each(|_| f.collect(CollectionKind::Minor));
    f.collect(CollectionKind::Begin);
    assert!(f.heap.major.phase() == Phase::Marking && !f.heap.major.marking_waits());
    f.list(10);
    f.collect(CollectionKind::Minor);
    assert_eq!(f.ages(), (10, 200_001), "marking is under way");
    while !f.heap.major.marking_waits() {
        f.heap.cycle().slice();
    }
    f.list(10);
    f.collect(CollectionKind::Minor);
    assert_eq!((f.ages().0, f.host_data.len()), (0, 1));
}

#[test]
fn what_finds_no_room_in_a_half_is_promoted() {
    let mut f = ageing(4 << 20);
    let mut aged = Vec::new();
    for _ in 0..3 {
        f.stack[0] = 0;
        f.list(8000);
        let used = f.heap.nursery_used();
        assert!(used > 100 << 10);
        f.collect(CollectionKind::Minor);
        assert_eq!(f.list_length(), 8000);
        aged.push(f.heap.space.nursery.survivors.count().bytes);
        assert_eq!(f.ages().0, aged[aged.len() - 1] / 16);
    }
    // An eighth of the nursery at first, and then twice as much as before, as far as a half has room. It has 64 KiB.
    assert_eq!(aged, [48 << 10, 64 << 10, 64 << 10]);
    let (survivors, old) = f.ages();
    assert!(survivors == 4096 && old >= 8000 - 4096);
    f.collect(CollectionKind::Minor);
    assert_eq!((f.ages().0, f.list_length()), (0, 8000));
}

#[test]
fn nothing_ages_for_a_while_where_all_survivors_survive_again() {
    let mut f = ageing(8 << 20);
    let mut collect = |keep: bool| {
        let before = f.ages().1;
        for _ in 0..2048 {
            let pair = f.pair(0, if keep { f.top() } else { 0 });
            f.stack[0] = u64::from(pair);
        }
        f.collect(CollectionKind::Minor);
        (f.ages().0 > 0, f.ages().1 > before)
    };
    assert_eq!(collect(true), (true, false));
    assert_eq!(collect(true), (true, true), "its survivors survive again");
    assert_eq!(collect(true), (false, true));
    let off = (0..100).take_while(|_| !collect(true).0).count();
    assert_eq!(off, 15);
    // It is tried again, and goes on where survivors die.
    assert!((0..40).all(|_| collect(false).0));
}

#[test]
fn survivors_are_retained_with_others() {
    let mut f = ageing(1 << 20);
    let mut kept = Vec::new();
    f.list(500);
    f.collect(CollectionKind::Minor);
    assert_eq!(f.ages(), (500, 0));
    while let Some(array) = f.alloc_all_old(VMGcHeader::new(VMGcKind::ArrayRef, BYTES), 8016) {
        f.poke(array, 8, 8000);
        kept.push(u64::from(array));
    }
    let names = f.stack.len();
    f.stack.extend(&kept);
    f.fill_nursery(20_000);
    for _ in 0..1000 {
        let pair = f.pair(0, f.top());
        f.stack[0] = u64::from(pair);
    }
    f.externref(1, Box::new(()));
    f.collect(CollectionKind::Minor);
    assert!(f.heap.space.nursery.retains() && f.ages().0 == 0, "{:?}", f.ages());
    assert_eq!((f.list_length(), f.host_data.len()), (1500, 1));
    f.collect(CollectionKind::Minor);
    f.collect(CollectionKind::Full);
    assert_eq!((f.list_length(), f.host_data.len()), (1500, 1));
    f.stack.truncate(names);
    f.collect(CollectionKind::Full);
    assert!(!f.heap.space.nursery.retains());
    assert_eq!((f.ages(), f.list_length()), ((0, 1501), 1500));
    // Objects age again after a while, where whole blocks are free.
    f.stack.fill(0);
    f.collect(CollectionKind::Full);
    let again = (0..20).find(|_| {
        f.list(10);
        f.collect(CollectionKind::Minor);
        f.ages().0 == 10
    });
    assert!(again.is_some());
}

#[test]
fn damaged_references_into_the_halves_are_found() {
    for offset in [8, 1 << 12, 60 << 10] {
        let mut f = ageing(4 << 20);
        f.list(3);
        f.collect(CollectionKind::Minor);
        let survivors = f.heap.space.nursery.survivors.objects();
        f.poke(f.top(), CAR, survivors.start + offset);
        f.stack[0] = u64::from(f.top());
        assert!(f.heap.verify().is_err(), "{offset}");
        let error = f.begin(CollectionKind::Minor).collect().unwrap_err();
        assert!(error.to_string().contains("a reference to no young object"), "{error}");
    }
}

#[test]
fn a_reset_forgets_cards_behind_the_old_generation() {
    let collector = GenerationalCollector::new().with_nursery(252 << 10).with_survivors(0);
    let mut f = Fixture::with(&options(4 << 20), &collector);
    let _old = f.refs(9000);
    // A store through a damaged reference, into mapped memory.
    let (young, wild) = (f.pair(0, 0), f.heap.space.old.region.end() + 64);
    f.write(wild, CAR, young);
    assert!(f.heap.tables.cards.is_dirty(wild));
    assert!(f.heap.reset(&mut f.host_data));
    assert!(!f.heap.tables.cards.is_dirty(wild));
}
