//! Tests of traces: a dead old chain keeps nothing alive, and a trace is abandoned if everything
//! lives.

use super::*;

/// Slots of the stack.
const FIRST: usize = 0;
const LAST: usize = 1;

impl Fixture {
    /// Runs the collection that the heap chooses when the nursery is full. Returns the kind and the
    /// promoted bytes.
    fn make_room_as_chosen(&mut self) -> Option<(CollectionKind, u64)> {
        if self.heap.next() + 64 <= self.heap.space.nursery.limit() {
            return None;
        }
        let kind = self.choose(GcCause::NoRoom);
        self.collect(kind);
        while !self.heap.cycle().sweep(&mut { u32::MAX }) {}
        Some((kind, self.heap.space.promoted()))
    }

    /// Moves `count` pairs through a queue of ten. Pairs that have left it still refer to their
    /// successors. Returns the kinds and the promoted bytes of the collections.
    fn queue(&mut self, count: u32) -> Vec<(CollectionKind, u64)> {
        let mut collections = Vec::new();
        for n in 0..count {
            collections.extend(self.make_room_as_chosen());
            let pair = self.pair(0, 0);
            match self.stack[LAST] as u32 {
                0 => self.stack[FIRST] = u64::from(pair),
                last => self.write(last, CDR, pair),
            }
            self.stack[LAST] = u64::from(pair);
            if n >= 10 {
                self.stack[FIRST] = u64::from(self.read(self.stack[FIRST] as u32, CDR));
            }
        }
        collections
    }

    /// The length of the chain of second fields from the first pair on.
    fn chain(&self) -> u32 {
        let (mut at, mut length) = (self.stack[FIRST] as u32, 0);
        while at != 0 {
            (at, length) = (self.read(at, CDR), length + 1);
        }
        length
    }
}

#[test]
fn a_dead_old_chain_hands_on_nothing() {
    let mut f = Fixture::new(64 << 20);
    // Makes a plan.
    f.collect(CollectionKind::Full);
    // Two hundred nurseries.
    let collections = f.queue(200 * 16_384);
    assert!(collections.len() >= 200, "{}", collections.len());
    let nursery = u64::from(f.heap.nursery_size());
    // While there were only minor collections, each promoted nearly everything.
    assert!(collections[1..3].iter().all(|&(_, promoted)| promoted > nursery / 4 * 3));
    let promoted: u64 = collections[20..].iter().map(|&(_, promoted)| promoted).sum();
    let used = collections[20..].len() as u64 * nursery;
    assert!(promoted < used / 20, "{promoted} of {used}");
    assert!(f.heap.chooser.traces());
    assert!(f.heap.space.old.region.total().bytes <= 2 * nursery);
    assert_eq!(f.chain(), 10);
    // The same when there are many host values and the nursery is large enough.
    f.queue(8000);
    let kind = f.choose(GcCause::HostValues);
    assert!(kind == CollectionKind::Trace && f.heap.needs_all_roots(kind));
    // The same in time that the host gives, unless marking is under way.
    assert_eq!(f.choose(GcCause::Idle), CollectionKind::Trace);
    f.heap.cycle().begin();
    assert_eq!(f.choose(GcCause::Idle), CollectionKind::Minor);
}

#[test]
fn a_collection_before_the_nursery_is_full_does_not_end_traces() {
    let mut f = Fixture::new(64 << 20);
    f.collect(CollectionKind::Full);
    f.queue(20 * 16_384);
    f.list(100);
    f.collect(CollectionKind::Minor);
    (0..100).for_each(|_| _ = f.pair(0, 0));
    // The same when a large object finds no room.
    let kind = f.choose(GcCause::NoRoom);
    f.collect(kind);
    assert!(f.heap.chooser.traces());
}

#[test]
fn traces_are_given_up_when_all_lives() {
    let mut f = Fixture::new(64 << 20);
    f.collect(CollectionKind::Full);
    f.queue(20 * 16_384);
    assert!(f.heap.chooser.traces());
    let mut kinds = Vec::new();
    for _ in 0..500_000 {
        kinds.extend(f.make_room_as_chosen().map(|(kind, _)| kind));
        let pair = f.pair(0, f.top());
        f.stack[0] = u64::from(pair);
    }
    let tried = kinds.iter().filter(|&&kind| kind == CollectionKind::Trace).count();
    assert!((1..=2).contains(&tried) && kinds.len() > 25, "{kinds:?}");
    assert!(!f.heap.chooser.traces());
    assert_eq!(f.list_length(), 500_010);
}

#[test]
fn nothing_is_tried_where_much_is_known_to_live() {
    let mut f = Fixture::new(64 << 20);
    let mut kinds = Vec::new();
    for n in 0..700_000 {
        if n == 200_000 {
            // What lives is known from here on.
            f.collect(CollectionKind::Full);
            kinds.clear();
        }
        kinds.extend(f.make_room_as_chosen().map(|(kind, _)| kind));
        let pair = f.pair(0, f.top());
        f.stack[0] = u64::from(pair);
    }
    assert!(kinds.len() > 25 && !kinds.contains(&CollectionKind::Trace), "{kinds:?}");
    assert_eq!(f.list_length(), 700_000);
}

/// A trace follows roots, old objects and young ones, and ignores cards. It also handles
/// externrefs.
#[test]
fn a_trace_keeps_what_is_reachable_and_nothing_else() {
    let mut f = Fixture::new(8 << 20);
    let (dead, top) = (f.pair(0, 0), f.refs(3000));
    (f.stack[0], f.stack[1]) = (u64::from(top), u64::from(dead));
    (2..4).for_each(|slot| f.externref(slot, Box::new(())));
    f.collect(CollectionKind::Minor);
    let dead = f.stack[1] as u32;
    (1..3).for_each(|slot| f.stack[slot] = 0);
    // Old to young to old to young, and a dead old one to young ones.
    let middle = f.pair(0, 0);
    f.write(f.top(), 12 + 4 * 2000, middle);
    f.collect(CollectionKind::Minor);
    let middle = f.read(f.top(), 12 + 4 * 2000);
    f.write(f.top(), 12 + 4 * 2000, 0);
    let (last, between) = (f.pair(0, 0), f.pair(0, middle));
    f.write(middle, CAR, last);
    f.write(f.top(), 12, between);
    let lost = f.pair(0, 0);
    f.write(dead, CAR, lost);
    // One of two old externrefs lives, and one of two young ones.
    (4..6).for_each(|slot| f.externref(slot, Box::new(())));
    f.stack[5] = 0;
    assert_eq!(f.host_data.len(), 4);
    f.heap.chooser.expect(1 << 30, 1);
    f.collect(CollectionKind::Trace);
    assert_eq!((f.live(), f.host_data.len(), f.heap.major.phase()), (6, 2, Phase::Idle));
    let between = f.read(f.top(), 12);
    let last = f.read(f.read(between, CDR), CAR);
    assert!(f.heap.space.old.region.is_start(between) && f.heap.space.old.region.is_start(last));
    assert!(!f.heap.space.old.region.is_start(dead));
    assert_eq!(f.begin(CollectionKind::Trace).kind(), PauseKind::Major);
}

/// The store asks again only when there are twice as many host values.
#[test]
fn host_values_whose_externrefs_died_old_are_dropped_although_traces_pay() {
    let mut f = Fixture::new(64 << 20);
    f.collect(CollectionKind::Full);
    f.queue(20 * 16_384);
    f.stack.fill(0);
    for slot in 0..8 {
        f.externref(slot, Box::new(()));
    }
    f.collect(CollectionKind::Minor);
    f.stack.fill(0);
    // More objects live than a trace may find.
    f.list(3000);
    f.collect(CollectionKind::Minor);
    (0..5000).for_each(|_| _ = f.pair(0, 0));
    assert!(f.heap.due().trace());
    let kind = f.choose(GcCause::HostValues);
    f.collect(kind);
    assert_eq!((f.host_data.len(), f.list_length()), (0, 3000));
}

#[test]
fn a_trace_that_finds_too_much_becomes_a_minor_collection() {
    let mut f = Fixture::new(8 << 20);
    f.list(1000);
    f.collect(CollectionKind::Minor);
    // At the far end of the list, only the card shows the reference before everything is marked.
    let mut end = f.top();
    while f.read(end, CDR) != 0 {
        end = f.read(end, CDR);
    }
    let young = f.pair(0, 0);
    f.write(end, CDR, young);
    f.heap.chooser.expect(2000, 16);
    let mut collection = f.begin(CollectionKind::Trace);
    collection.collect().unwrap();
    assert_eq!(collection.kind(), PauseKind::Minor);
    drop(collection);
    f.heap.verify().unwrap();
    assert_eq!((f.list_length(), f.live()), (1001, 1001));
    assert!(f.heap.space.old.region.first_marked().is_none());
}

#[test]
fn a_trace_can_be_abandoned_anywhere() {
    for steps in 0..12 {
        let mut f = Fixture::new(8 << 20);
        f.heap.core.side.pause_target = Duration::ZERO;
        f.stack[2] = u64::from(f.pair(0, 0));
        f.queue(20_000);
        f.collect(CollectionKind::Minor);
        // An old object that dies refers to a young one.
        for _ in 0..100 {
            f.pair(0, 0);
        }
        let (old, young) = (f.stack[2] as u32, f.pair(0, 0));
        f.write(old, CAR, young);
        f.stack[2] = 0;
        f.heap.chooser.expect(1 << 30, 1);
        let mut collection = f.begin(CollectionKind::Trace);
        let mut progress = GcProgress::Continue;
        for _ in 0..steps {
            progress = collection.collect_increment().unwrap();
        }
        collection.abandon();
        drop(collection);
        assert!(steps < 11 || progress == GcProgress::Complete);
        f.heap.verify().unwrap();
        assert_eq!(f.chain(), 10, "{steps}");
        // No dead object refers to what was in the nursery, whatever is on its card.
        let (start, end) = (f.heap.space.old.region.start(), f.heap.space.old.region.touched_end());
        f.heap.tables.cards.dirty_all(start, end);
        f.collect(CollectionKind::Minor);
        f.queue(20_000);
        f.collect(CollectionKind::Full);
        f.stack[LAST] = 0;
        assert_eq!(u64::from(f.chain()), f.live(), "{steps}");
    }
}

#[test]
fn what_finds_no_room_in_a_trace_does_when_it_has_swept() {
    let mut f = Fixture::new(1 << 20);
    let mut kept = Vec::new();
    while let Some(array) = f.alloc_all_old(VMGcHeader::new(VMGcKind::ArrayRef, BYTES), 8016) {
        f.poke(array, 8, 8000);
        kept.push(u64::from(array));
    }
    // The rest of their blocks.
    f.stack.extend(&kept);
    f.collect(CollectionKind::Full);
    while f.alloc_all_old(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16).is_some() {}
    // An old object refers to young ones. Half of the others die.
    let holder = kept[0] as u32;
    f.poke(holder, 0, REFS.header_word(VMGcKind::ArrayRef));
    f.poke(holder, 8, 2000);
    f.fill_nursery(20_000);
    f.list(1000);
    f.write(holder, 12 + 4 * 1999, f.top());
    f.stack.truncate(8 + kept.len() / 2);
    f.externref(1, Box::new(()));
    f.heap.chooser.expect(1 << 30, 1);
    f.collect(CollectionKind::Trace);
    assert_eq!((f.list_length(), f.host_data.len()), (1000, 1));
    assert_eq!(f.read(holder, 12 + 4 * 1999), f.top());
    assert!(
        !f.heap.space.nursery.retains() && !f.heap.is_young(f.top()) && !f.heap.chooser.traces()
    );
    assert_eq!(f.live(), kept.len() as u64 / 2 + 1001);
}
