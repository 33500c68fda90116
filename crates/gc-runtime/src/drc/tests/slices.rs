//! A search for cycles in slices, between which the host changes what is reachable; and dead objects that wait.

use super::*;
use crate::drc::cycles::Phase;
use gc_heap::space::nursery::size::NurseryUse;

/// A heap whose collections do a few units of what may wait, and its roots.
pub(super) struct Fixture {
    pub(super) heap: DrcHeap,
    pub(super) host_data: ExternRefHostDataTable,
    pub(super) weak: WeakTable,
    pub(super) roots: GcRootsList,
    /// Words on the stack.
    pub(super) stack: Vec<u64>,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture {
            heap: heap(),
            host_data: ExternRefHostDataTable::default(),
            weak: WeakTable::default(),
            roots: GcRootsList::default(),
            stack: vec![0; 2],
        }
    }

    pub(super) fn collect(&mut self, cause: GcCause) {
        self.roots.clear_stack();
        add_stack(&mut self.stack, &mut self.roots);
        self.heap.verify_with_roots(&mut self.roots).unwrap();
        let Fixture { heap, host_data, weak, roots, .. } = self;
        heap.gc(GcRequest::new(cause, roots, host_data, weak)).collect().unwrap();
        self.heap.verify_with_roots(&mut self.roots).unwrap();
    }

    /// Collects until the search is in another phase.
    pub(super) fn next_phase(&mut self) -> Phase {
        let phase = self.heap.cycles.phase();
        while self.heap.cycles.phase() == phase {
            self.collect(GcCause::NoRoom);
        }
        self.heap.cycles.phase()
    }

    /// Begins a search.
    pub(super) fn begin(&mut self) {
        // One of sixteen collections that zeal asks for searches as a whole.
        self.heap.zeal = 0;
        self.collect(GcCause::Zeal);
        assert_eq!(self.heap.cycles.phase(), Phase::Mark);
    }

    pub(super) fn set(&mut self, object: u32, field: u32, value: u32) {
        let value = VMGcRef::from_raw_u32(value);
        let at = u64::from(object + field);
        self.heap.write_field_ref(&mut self.host_data, at, value.as_ref()).unwrap();
    }

    pub(super) fn get(&self, object: u32, field: u32) -> u32 {
        self.heap.core.memory.read_u32(u64::from(object + field)).unwrap()
    }

    /// A list of `length` pairs, which is on the stack, and its last pair. The search finds the last pair last.
    fn list(&mut self, length: usize) -> (u32, u32) {
        let last = pair(&mut self.heap);
        let (mut first, last) = (last.unchecked_copy(), last.as_raw_u32());
        for _ in 1..length {
            let node = pair(&mut self.heap);
            self.set(node.as_raw_u32(), CAR, first.as_raw_u32());
            self.heap.drop_gc_ref(&mut self.host_data, first);
            first = node;
        }
        (self.heap.expose_gc_ref_to_wasm(first), last)
    }
}

/// Objects in a chain so long that each phase of a search takes several slices.
pub(super) const LONG: usize = 3000;

impl Fixture {
    /// A mature list on the stack, at whose end are two pairs that refer to each other; and a mature pair at the other place
    /// on the stack. A search has begun, and has marked neither the end of the list nor the two pairs. Returns the pair,
    /// the last pair of the list, and the two.
    pub(super) fn half_marked(&mut self) -> [u32; 4] {
        let (first, last) = self.list(LONG);
        let [a, b, other] = std::array::from_fn(|_| pair(&mut self.heap));
        let [one, two] = [&a, &b].map(VMGcRef::as_raw_u32);
        self.set(last, CDR, one);
        self.set(one, CAR, two);
        self.set(two, CAR, one);
        for held in [a, b] {
            self.heap.drop_gc_ref(&mut self.host_data, held);
        }
        let other = self.heap.expose_gc_ref_to_wasm(other);
        self.stack = vec![first.into(), other.into()];
        self.collect(GcCause::Asked);
        assert_eq!(self.heap.stats().live_objects, LONG as u64 + 3);
        self.begin();
        assert!(!self.heap.space.map().is_marked(one), "it is marked too soon");
        [other, last, one, two]
    }

    /// Ends the search. Returns the number of objects that are left.
    pub(super) fn end(&mut self) -> u64 {
        while self.heap.cycles.phase() != Phase::Idle {
            self.collect(GcCause::NoRoom);
        }
        self.heap.stats().live_objects
    }
}

#[test]
fn a_search_in_slices_finds_a_ring() {
    let mut f = Fixture::new();
    let [_, last, ..] = f.half_marked();
    f.set(last, CDR, 0);
    // It was reachable when the search began.
    assert_eq!(f.end(), LONG as u64 + 3);
    f.begin();
    assert_eq!(f.next_phase(), Phase::Leave);
    assert_eq!(f.next_phase(), Phase::Rescue);
    assert_eq!(f.next_phase(), Phase::Sweep);
    assert_eq!(f.end(), LONG as u64 + 1);
}

#[test]
fn what_moves_to_a_marked_object_lives() {
    let mut f = Fixture::new();
    let [other, last, one, two] = f.half_marked();
    f.set(other, CDR, one);
    f.set(last, CDR, 0);
    assert_eq!(f.end(), LONG as u64 + 3);
    assert_eq!([f.get(other, CDR), f.get(one, CAR), f.get(two, CAR)], [one, two, one]);
}

#[test]
fn what_is_only_on_the_stack_lives() {
    let mut f = Fixture::new();
    let [_, last, one, two] = f.half_marked();
    f.stack[1] = one.into();
    f.set(last, CDR, 0);
    assert_eq!(f.end(), LONG as u64 + 2);
    assert_eq!([f.get(one, CAR), f.get(two, CAR)], [two, one]);
}

#[test]
fn what_moves_to_a_new_object_lives() {
    let mut f = Fixture::new();
    let [_, last, one, two] = f.half_marked();
    let new = pair(&mut f.heap);
    f.set(new.as_raw_u32(), CAR, one);
    f.stack[1] = f.heap.expose_gc_ref_to_wasm(new).into();
    f.set(last, CDR, 0);
    assert_eq!(f.end(), LONG as u64 + 3);
    assert_eq!([f.get(one, CAR), f.get(two, CAR)], [two, one]);
}

#[test]
fn what_a_dead_object_referred_to_lives() {
    let mut f = Fixture::new();
    let [other, _, one, two] = f.half_marked();
    f.set(other, CDR, one);
    // The whole list dies before it is marked.
    f.stack[0] = 0;
    assert_eq!(f.end(), 3);
    assert_eq!([f.get(other, CDR), f.get(one, CAR), f.get(two, CAR)], [one, two, one]);
}

/// An object is marked, dies, and another one begins where it was.
#[test]
fn a_marked_object_dies_and_its_memory_is_used_again() {
    let mut f = Fixture::new();
    f.half_marked();
    f.stack[0] = 0;
    while f.heap.cycles.phase() == Phase::Mark {
        f.collect(GcCause::NoRoom);
        let (first, _) = f.list(5);
        f.stack[0] = first.into();
    }
    f.end();
    f.stack = vec![0; 2];
    f.collect(GcCause::Asked);
    assert_eq!(f.heap.stats().live_objects, 0);
}

/// Objects that die wait for later collections, in which the program allocates, and none is lost.
#[test]
fn dead_objects_wait() {
    let mut f = Fixture::new();
    let (first, _) = f.list(LONG);
    f.stack[0] = first.into();
    f.collect(GcCause::NoRoom);
    f.stack[0] = 0;
    let mut collections = 0;
    while f.heap.stats().live_objects > 0 {
        f.collect(GcCause::NoRoom);
        collections += 1;
    }
    assert!(collections > 10, "{collections}");
    // A collection that is requested does not leave any.
    let (first, _) = f.list(LONG);
    f.stack[0] = first.into();
    f.collect(GcCause::NoRoom);
    f.stack[0] = 0;
    f.collect(GcCause::NoRoom);
    assert!(f.heap.stats().live_objects > 0);
    f.collect(GcCause::Asked);
    assert_eq!(f.heap.stats().live_objects, 0);
}

/// A collection that finds all garbage ends a search that has found some, or begins it anew.
#[test]
fn a_whole_search_follows_one_in_slices() {
    for phase in [Phase::Mark, Phase::Leave, Phase::Rescue, Phase::Sweep] {
        let mut f = Fixture::new();
        f.half_marked();
        while f.heap.cycles.phase() != phase {
            f.next_phase();
        }
        f.stack = vec![0; 2];
        f.collect(GcCause::Asked);
        assert_eq!(f.heap.stats().live_objects, 0, "{phase:?}");
    }
}

/// A host that gives time has no search for cycles in other pauses.
#[test]
fn time_that_the_host_gives_is_used() {
    let mut store = store_with(&HeapOptions { zeal: 0, ..options() });
    let ring = |store: &mut GcStore| {
        let [a, b] = std::array::from_fn(|_| store.alloc_struct(&mut NoStack, PAIR).unwrap());
        store.write_field_ref(&a, CAR, Some(&b)).unwrap();
        store.write_field_ref(&b, CAR, Some(&a)).unwrap();
        store.drop_gc_ref(b);
        a
    };
    let mut held: Vec<VMGcRef> = (0..100_000).map(|_| ring(&mut store)).collect();
    store.gc(&mut NoStack).unwrap();
    held.extend((0..300_000).map(|_| ring(&mut store)));
    held.drain(..).for_each(|ring| store.drop_gc_ref(ring));
    let mut calls = 0;
    while !store.gc_for(&mut NoStack, Duration::from_millis(100)).unwrap().is_nothing() {
        calls += 1;
        assert!(calls < 1000, "there is always something left");
    }
    assert_eq!(store.stats().live_objects, 0);
    assert_eq!(store.heap().unwrap().core().side.pauses.count_of(gc_heap::PauseKind::Cycles), 1);
}

/// A collection that took long does not keep all others from beginning.
#[test]
fn time_that_the_host_gives_is_used_after_a_slow_collection() {
    let mut f = Fixture::new();
    f.half_marked();
    for _ in 0..5000 {
        let new = pair(&mut f.heap);
        f.heap.expose_gc_ref_to_wasm(new);
    }
    let took = Some(Duration::from_secs(1));
    let slow = NurseryUse { used: 1 << 20, took, ..NurseryUse::default() };
    f.heap.sizing.next(1 << 20, 4 << 20, 0, Duration::from_millis(1), slow);
    let (mut calls, time) = (0, Duration::from_millis(5));
    loop {
        match f.heap.idle(time) {
            Idle::Collect => f.collect(GcCause::Idle),
            Idle::Rest { bytes: 0 } => break,
            _ => {}
        }
        calls += 1;
        assert!(calls < 100_000, "{:?} {:?}", f.heap.cycles.phase(), f.heap.idle(time));
    }
}

/// While the elements of a dead array are counted down, nothing is freed.
#[test]
fn a_large_array_that_dies_may_wait() {
    let memory = HeapMemory::new(&options()).unwrap();
    let mut f = Fixture { heap: DrcHeap::new(memory).unwrap(), ..Fixture::new() };
    layouts().iter().for_each(|(ty, it)| f.heap.core.side.layouts.ensure(*ty, it).unwrap());
    f.heap.grow(16 << 20).unwrap();
    let length = 1_000_000;
    let size = ArrayLayout::new(StorageType::Ref).size(length).unwrap();
    let array = f.heap.alloc_raw(VMGcHeader::new(VMGcKind::ArrayRef, REFS), size).unwrap();
    let element = pair(&mut f.heap).as_raw_u32();
    f.heap.core.memory.write_u32(u64::from(array.as_raw_u32()) + 8, length).unwrap();
    (0..length).for_each(|i| f.set(array.as_raw_u32(), 12 + 4 * i, element));
    f.stack[0] = f.heap.expose_gc_ref_to_wasm(array).into();
    f.collect(GcCause::NoRoom);
    f.stack[0] = 0;
    f.heap.core.side.pause_target = Duration::ZERO;
    f.collect(GcCause::NoRoom);
    assert!(f.heap.work.dying.cursor.is_some(), "it died in one collection");
    while f.heap.stats().live_objects > 1 {
        f.collect(GcCause::NoRoom);
    }
}
