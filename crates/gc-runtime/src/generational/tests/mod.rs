//! Tests of the internals: what each kind of collection finds, and retained objects. Marking beside
//! the mutator and damage have files of their own.

mod ageing;
mod damage;
mod evacuation;
mod lending;
mod marking;
mod pace;
mod store;
mod sweeping;
mod trace;
mod verifier;

use super::collect::CollectionKind;
use super::*;
use gc_heap::lend::GcThreads;
use gc_heap::space::generations::Log;
use gc_heap::space::mark_region::blocks::BLOCK_SIZE;
use gc_heap::trace::forwarding::forwarding;
use gc_heap::{GcProgress, GcRootsList, HeapBounds, HeapOptions, HostValue, PauseKind, WeakTable};
use gc_testkit::roots::{Stack, add_slots, add_stack};
use gc_types::collector::generational::{CARD_SIZE, LIMIT, LOG_CAPACITY, LOG_LEN, MARKING, NEXT};
use gc_types::collector::nursery::NURSERY_START;
use gc_types::{GcLayout, RootKind, StorageType, StructLayout, TypeIndex};
use std::sync::Arc;
use std::time::Duration;

const PAIR: TypeIndex = TypeIndex::new(0).unwrap();
const REFS: TypeIndex = TypeIndex::new(1).unwrap();
const BYTES: TypeIndex = TypeIndex::new(2).unwrap();
/// Offsets of a pair's two fields.
const CAR: u64 = 8;
const CDR: u64 = 12;

/// A nursery that tests fill.
const COLLECTOR: GenerationalCollector =
    GenerationalCollector::new().with_nursery(256 << 10).with_survivors(0);

/// Heaps of a fixed size, which no other thread works for.
fn options(maximum: u64) -> HeapOptions {
    let (initial, bounds) = (maximum, HeapBounds::Checked);
    let threads = Arc::new(GcThreads::new(0));
    HeapOptions { initial, maximum, bounds, threads, ..HeapOptions::default() }
}

fn add_layouts(heap: &mut dyn GcHeap) {
    let pair = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
    for (ty, layout) in [
        (PAIR, GcLayout::Struct(pair)),
        (REFS, GcLayout::Array(ArrayLayout::new(StorageType::Ref))),
        (BYTES, GcLayout::Array(ArrayLayout::new(StorageType::I8))),
    ] {
        heap.core_mut().side.layouts.ensure(ty, &Arc::new(layout)).unwrap();
    }
}

/// What tests ask often.
impl GenerationalHeap {
    fn next(&self) -> u32 {
        self.space.nursery.next(&self.core.memory)
    }

    fn nursery_used(&self) -> u32 {
        self.space.nursery.used(&self.core.memory)
    }

    fn nursery_size(&self) -> u32 {
        self.space.nursery.size()
    }

    fn is_young(&self, word: u32) -> bool {
        self.space.nursery.is_young(word)
    }
}

/// A heap, a stack and a slot outside both.
struct Fixture {
    heap: GenerationalHeap,
    host_data: ExternRefHostDataTable,
    weak: WeakTable,
    stack: Vec<u64>,
    slot: Vec<u32>,
    roots: GcRootsList,
}

impl Fixture {
    fn new(maximum: u64) -> Fixture {
        Fixture::with(&options(maximum), &COLLECTOR)
    }

    fn with(options: &HeapOptions, collector: &GenerationalCollector) -> Fixture {
        let memory = HeapMemory::with_apart(options, collector.apart()).unwrap();
        let mut heap = GenerationalHeap::new(memory, collector.survivors).unwrap();
        add_layouts(&mut heap);
        let (mut slot, mut roots) = (vec![0], GcRootsList::default());
        add_slots(&mut slot, RootKind::Table, 2, &mut roots);
        let (host_data, weak) = Default::default();
        Fixture { heap, host_data, weak, stack: vec![0; 8], slot, roots }
    }

    fn begin(&mut self, kind: CollectionKind) -> InParts<GenerationalCollection<'_>> {
        self.roots.clear_stack();
        add_stack(&mut self.stack, &mut self.roots);
        self.heap.recall();
        let roots = self.heap.roots_for(kind, &mut self.roots);
        let (host_data, weak) = (&mut self.host_data, &mut self.weak);
        let store = StoreTables { roots, host_data, weak };
        InParts(GenerationalCollection::new(&mut self.heap, store, kind))
    }

    /// The kind of collection for this cause.
    fn choose(&mut self, cause: GcCause) -> CollectionKind {
        self.heap.choose(cause, &self.host_data)
    }

    /// Makes an externref in a slot of the stack.
    fn externref(&mut self, slot: usize, value: HostValue) {
        let id = self.host_data.alloc(value).unwrap();
        let externref = (&mut self.heap as &mut dyn GcHeap).alloc_externref(id).unwrap();
        self.host_data.set_box(id, &externref);
        self.stack[slot] = u64::from(externref.as_raw_u32());
    }

    /// Whether a collection that begins because of a lack of room gets all roots.
    fn needs_all_roots(&mut self) -> bool {
        let kind = self.choose(GcCause::NoRoom);
        self.heap.needs_all_roots(kind)
    }

    /// The slot outside the stack.
    fn slot(&self) -> u32 {
        self.slot[0]
    }

    fn collect(&mut self, kind: CollectionKind) {
        self.begin(kind).collect().unwrap();
        self.heap.verify().unwrap();
    }

    fn alloc(&mut self, ty: TypeIndex, size: u32) -> u32 {
        let kind = self.heap.core.side.layouts.get(ty).unwrap().kind();
        let header = VMGcHeader::new(kind, ty);
        let object = match self.heap.alloc_raw(header, size) {
            // The old generation has not used all that the heap began with.
            Err(HeapError::NeedsRoom { .. }) if self.heap.core.unused() > 0 => {
                self.heap.grow(size.into()).unwrap();
                self.heap.alloc_raw(header, size)
            }
            object => object,
        };
        object.unwrap().as_raw_u32()
    }

    fn pair(&mut self, car: u32, cdr: u32) -> u32 {
        let pair = self.alloc(PAIR, 16);
        self.write(pair, CAR, car);
        self.write(pair, CDR, cdr);
        pair
    }

    fn refs(&mut self, length: u32) -> u32 {
        let size = ArrayLayout::new(StorageType::Ref).size(length).unwrap();
        let array = self.alloc(REFS, size);
        self.heap.core.memory.write_u32(u64::from(array) + 8, length).unwrap();
        array
    }

    /// Collects the nursery if there is no room in it for some pairs.
    fn make_room(&mut self) {
        if self.heap.next() + 64 > self.heap.space.nursery.limit() {
            self.collect(CollectionKind::Minor);
        }
    }

    /// Allocates in the old generation, which grows as far as the nursery lets it.
    fn alloc_all_old(&mut self, header: VMGcHeader, size: u32) -> Option<u32> {
        loop {
            if let Some(object) = self.heap.alloc_old(header, size) {
                return Some(object.as_raw_u32());
            }
            self.heap.grow(size.into()).ok()?;
        }
    }

    /// Allocates garbage in the nursery until so many bytes are left of the part in use. Then the nursery cannot give up
    /// memory to the old generation.
    fn fill_nursery(&mut self, left: u32) {
        while self.heap.next() + left < self.heap.space.nursery.limit() {
            self.pair(0, 0);
        }
    }

    /// Overwrites a reference through the barrier.
    fn write(&mut self, object: u32, offset: u64, word: u32) {
        let source = VMGcRef::from_raw_u32(word);
        let at = u64::from(object) + offset;
        self.heap.write_field_ref(&mut self.host_data, at, source.as_ref()).unwrap();
    }

    fn read(&self, object: u32, offset: u64) -> u32 {
        self.heap.core.memory.read_u32(u64::from(object) + offset).unwrap()
    }

    /// Overwrites a word without the barrier.
    fn poke(&mut self, object: u32, offset: u64, word: u32) {
        self.heap.core.memory.write_u32(u64::from(object) + offset, word).unwrap();
    }

    fn top(&self) -> u32 {
        self.stack[0] as u32
    }

    fn live(&self) -> u64 {
        self.heap.stats().live_objects
    }

    /// Makes a list of `length` pairs, linked by their second fields, in the first slot of the
    /// stack.
    fn list(&mut self, length: u32) {
        for _ in 0..length {
            self.make_room();
            let pair = self.pair(0, self.top());
            self.stack[0] = u64::from(pair);
        }
    }

    fn list_length(&self) -> u32 {
        let (mut at, mut length) = (self.top(), 0);
        while at != 0 {
            (at, length) = (self.read(at, CDR), length + 1);
        }
        length
    }
}

#[test]
fn emitted_code_is_told_how_large_the_nursery_is() {
    for maximum in [0, 1 << 20, (1 << 20) + 1, (130 << 10) + 4095, 64 << 20, 1 << 32] {
        for nursery in [0, 5000, 256 << 10, u64::MAX] {
            let collector = GenerationalCollector::new().with_nursery(nursery);
            let options = HeapOptions { initial: 0, ..options(maximum) }.cut_to(&collector);
            let told = collector.heap_abi().option(NURSERY);
            let nursery = Fixture::with(&options, &collector).heap.space.nursery;
            assert_eq!(told, Some(u64::from(nursery.most())), "{options:?}");
        }
    }
}

#[test]
fn a_minor_collection_moves_what_is_reachable_and_empties_the_nursery() {
    let mut f = Fixture::new(4 << 20);
    let (a, b) = (f.pair(0, 0), f.pair(0, 0));
    let c = f.pair(a, b);
    f.pair(a, c);
    f.write(a, CAR, c);
    (f.stack[0], f.stack[3]) = (u64::from(c), u64::from(c));
    f.collect(CollectionKind::Minor);
    assert_eq!((f.live(), f.heap.nursery_used()), (3, 0));
    let c = f.top();
    assert!(!f.heap.is_young(c) && f.stack[3] == u64::from(c));
    let a = f.read(c, CAR);
    assert_eq!(f.read(a, CAR), c);
    // Old garbage stays until a full collection.
    f.stack.fill(0);
    f.collect(CollectionKind::Minor);
    assert_eq!(f.live(), 3);
    f.collect(CollectionKind::Full);
    assert_eq!((f.live(), f.heap.stats().collections), (0, 3));
}

#[test]
fn young_objects_are_found_through_cards() {
    let mut f = Fixture::new(8 << 20);
    // A large array, an array in a block, and one whose elements begin on another card.
    let arrays = [100_000, 1000, 1].map(|length| f.refs(length));
    arrays.iter().enumerate().for_each(|(i, &array)| f.stack[i] = u64::from(array));
    let pair = f.pair(0, 0);
    f.stack[3] = u64::from(pair);
    f.collect(CollectionKind::Minor);
    let old: Vec<u32> = f.stack[..4].iter().map(|&word| word as u32).collect();
    assert!(old.iter().all(|&object| !f.heap.is_young(object)));
    let slots = [
        (old[0], 12),
        (old[0], 12 + 4 * 50_000),
        (old[0], 12 + 4 * 99_999),
        (old[1], 12 + 4 * 500),
        (old[2], 12),
        (old[3], CDR),
    ];
    for round in 0..3 {
        for &(object, offset) in &slots {
            let young = f.pair(0, 0);
            f.write(object, offset, young);
        }
        f.heap.verify().unwrap();
        f.collect(CollectionKind::Minor);
        for &(object, offset) in &slots {
            let moved = f.read(object, offset);
            assert!(f.heap.space.old.region.is_start(moved), "round {round}: {offset}");
        }
    }
    // The pairs of each round replaced those of the previous round.
    f.collect(CollectionKind::Full);
    assert_eq!(f.live(), 4 + 6);
}

/// Cards whose memory was fetched ahead are scanned by the next increment, however small its budget is.
#[test]
fn cards_are_scanned_in_many_increments() {
    let mut f = Fixture::new(16 << 20);
    let (length, each) = (100_000, 1000);
    let array = f.refs(length);
    f.stack[0] = u64::from(array);
    let offsets = || (0..length / each).map(|n| u64::from(12 + 4 * each * n));
    for offset in offsets() {
        let young = f.pair(0, 0);
        f.write(array, offset, young);
    }
    Shapes::update_shared(&mut f.heap.shapes, &f.heap.core.side.layouts);
    f.heap.scavenge().begin(OldObjects::Alive, false);
    let mut increments = 0;
    while !f.heap.scavenge().scan_cards(&mut 3) {
        increments += 1;
    }
    assert!(increments > length / each / 8);
    for offset in offsets() {
        let moved = f.read(array, offset);
        assert!(f.heap.space.old.region.is_start(moved), "{offset}");
    }
}

/// The cards of a new array are dirty, unless it is so large that even its first references are stored
/// with the barrier.
#[test]
fn the_cards_of_a_large_new_array_are_clean() {
    let mut f = Fixture::new(16 << 20);
    let most = (ArrayLayout::MAX_EXAMINED - 12) / 4;
    for (length, dirty) in [(most, true), (most + 2, false), (1_000_000, false)] {
        let array = f.refs(length);
        let last = array + 12 + 4 * (length - 1);
        let (first, end) = (array / CARD_SIZE * CARD_SIZE, last + 4);
        assert!(!f.heap.is_young(array));
        assert_eq!(f.heap.tables.cards.is_dirty(last), dirty, "{length} elements");
        assert_eq!(f.heap.tables.cards.take_dirty(first, end).is_some(), dirty);
        f.stack[0] = u64::from(array);
        let pair = f.pair(0, 0);
        f.write(array, u64::from(last - array), pair);
        f.heap.verify().unwrap();
        f.collect(CollectionKind::Minor);
        let pair = f.read(array, u64::from(last - array));
        assert!(!f.heap.is_young(pair) && f.heap.space.old.region.is_start(pair));
    }
}

#[test]
fn a_slot_outside_the_heap_is_a_root_when_it_was_remembered() {
    let mut f = Fixture::new(4 << 20);
    // After this it is not new.
    f.collect(CollectionKind::Minor);
    let pair = f.pair(0, 0);
    f.slot[0] = pair;
    let address = (&raw const f.slot[0]).addr();
    f.heap.remember_slot(address, pair);
    f.collect(CollectionKind::Minor);
    assert!(!f.heap.is_young(f.slot()) && f.live() == 1);
    // The slot refers to no young object any more, so it is not remembered.
    assert!(!f.heap.tables.slots.contains(address));
    f.heap.remember_slot(address, f.slot());
    assert!(!f.heap.tables.slots.contains(address));
    f.slot[0] = f.pair(0, 0);
    f.heap.tables.all_slots = true;
    assert!(f.needs_all_roots());
    f.collect(CollectionKind::Minor);
    assert!(!f.heap.is_young(f.slot()));
    f.pair(0, 0);
    assert!(!f.needs_all_roots());
}

#[test]
fn what_finds_no_room_is_retained_until_there_is_some() {
    let mut f = Fixture::new(1 << 20);
    // Fills the old generation with live objects.
    let mut kept = Vec::new();
    while let Some(array) = f.alloc_all_old(VMGcHeader::new(VMGcKind::ArrayRef, BYTES), 8016) {
        f.poke(array, 8, 8000);
        kept.push(u64::from(array));
    }
    let (arrays, names) = (kept.len(), f.stack.len());
    f.stack.extend(&kept);
    // Makes the rest of their blocks available.
    f.collect(CollectionKind::Full);
    while let Some(pair) = f.alloc_all_old(VMGcHeader::new(VMGcKind::StructRef, PAIR), 16) {
        kept.push(u64::from(pair));
    }
    f.stack.extend(&kept[arrays..]);
    f.heap.verify().unwrap();
    f.fill_nursery(20_000);
    f.list(1000);
    f.externref(1, Box::new(()));
    let young = f.top();
    f.collect(CollectionKind::Minor);
    assert_eq!((f.top(), f.list_length()), (young, 1000));
    assert!(f.heap.space.nursery.retains());
    assert!(f.needs_all_roots());
    f.collect(CollectionKind::Full);
    assert_eq!((f.top(), f.list_length(), f.host_data.len()), (young, 1000, 1));
    // An old object may refer to a retained one, over any number of collections.
    let holder = f.stack[names] as u32;
    f.poke(holder, 0, REFS.header_word(VMGcKind::ArrayRef));
    f.poke(holder, 8, 2000);
    f.write(holder, 12, f.top());
    f.stack[0] = 0;
    f.collect(CollectionKind::Full);
    f.collect(CollectionKind::Minor);
    f.stack[0] = u64::from(f.read(holder, 12));
    assert_eq!((f.top(), f.list_length()), (young, 1000));
    // Nothing is allocated in the nursery beside them.
    let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
    assert!(matches!(f.heap.alloc_raw(header, 16), Err(HeapError::NeedsRoom { .. })));
    // Half of the retained objects die. Then there is room for the others.
    for _ in 0..500 {
        f.stack[0] = u64::from(f.read(f.top(), CDR));
    }
    f.poke(holder, 0, BYTES.header_word(VMGcKind::ArrayRef));
    f.poke(holder, 8, 8000);
    f.stack[1] = 0;
    f.collect(CollectionKind::Full);
    assert_eq!(
        (f.list_length(), f.heap.space.nursery.retained().len(), f.host_data.len()),
        (500, 500, 0)
    );
    f.stack.truncate(names + arrays / 2);
    f.collect(CollectionKind::Full);
    assert!(!f.heap.space.nursery.retains() && !f.heap.is_young(f.top()));
    assert_eq!((f.list_length(), f.heap.nursery_used()), (500, 0));
    f.pair(0, 0);
}

/// When one of many structures dies, the memory between the others is free: the collector places each
/// structure in lines of its own, except its first object.
#[test]
fn structures_are_not_mixed() {
    const LENGTH: u32 = 64;
    let mut f = Fixture::new(4 << 20);
    f.stack.resize(100, 0);
    // The lists grow at the same time, so they are mixed in the nursery.
    for _ in 0..LENGTH {
        for n in 0..f.stack.len() {
            let pair = f.pair(0, f.stack[n] as u32);
            f.stack[n] = u64::from(pair);
        }
    }
    f.collect(CollectionKind::Minor);
    for n in 0..f.stack.len() {
        let (mut at, mut length) = (f.read(f.stack[n] as u32, CDR), 1);
        while let next @ 1.. = f.read(at, CDR) {
            // A block is left when it is full.
            assert!(next == at + 16 || next.is_multiple_of(BLOCK_SIZE), "list {n}: {at} {next}");
            (at, length) = (next, length + 1);
        }
        assert_eq!(length, LENGTH - 1);
    }
}

/// A profiler sees at least one allocation in the number of bytes that it sets.
#[test]
fn emitted_code_is_handed_out_no_more_than_is_allowed() {
    let mut f = Fixture::new(4 << 20);
    let left = |f: &Fixture| f.heap.core.memory.data_u32(LIMIT) - f.heap.next();
    f.pair(0, 0);
    assert!(left(&f) > 256);
    for bytes in [256, 64] {
        assert!(f.heap.limit_inline_allocation(NonZeroU32::new(bytes)));
        assert!(left(&f) <= bytes, "what was handed out already");
        let mut handed_out = 0;
        for _ in 0..100 {
            let before = left(&f);
            f.pair(0, 0);
            handed_out += u32::from(left(&f) > before);
            assert!(left(&f) <= bytes);
        }
        assert_eq!(handed_out, 100 * 16 / bytes);
        // Larger objects can still be allocated.
        f.refs(100);
        f.heap.verify().unwrap();
    }
    f.heap.limit_inline_allocation(None);
    while left(&f) > 0 {
        f.pair(0, 0);
    }
    f.pair(0, 0);
    assert!(left(&f) > 256);
    f.collect(CollectionKind::Minor);
    // The limit ends with what the heap has.
    f.heap.limit_inline_allocation(NonZeroU32::new(64));
    assert!(f.heap.reset(&mut f.host_data));
    f.pair(0, 0);
    assert!(left(&f) > 256);
}

#[test]
fn a_collection_can_be_abandoned_anywhere() {
    for kind in [CollectionKind::Minor, CollectionKind::Begin, CollectionKind::Full] {
        for increments in (0..40).chain([100, 1000]) {
            let mut f = Fixture::new(8 << 20);
            f.list(10_000);
            f.collect(CollectionKind::Minor);
            f.stack[0] = u64::from(f.read(f.top(), CDR));
            f.list(10_000);
            f.heap.core.side.pause_target = Duration::ZERO;
            let mut collection = f.begin(kind);
            for _ in 0..increments {
                if collection.collect_increment().unwrap() == GcProgress::Complete {
                    assert_eq!(collection.collect_increment().unwrap(), GcProgress::Complete);
                    break;
                }
            }
            collection.abandon();
            drop(collection);
            f.heap.verify().unwrap();
            assert_eq!(f.list_length(), 19_999);
            f.collect(CollectionKind::Minor);
            f.collect(CollectionKind::Full);
            assert_eq!((f.list_length(), f.live()), (19_999, 19_999));
        }
    }
}

#[test]
fn memory_of_the_dead_is_used_again() {
    let mut f = Fixture::new(2 << 20);
    for round in 0..20 {
        // Half of the pairs die now, the other half in the next round.
        f.stack[0] = 0;
        for _ in 0..15_000 {
            let pair = f.pair(0, f.top());
            f.stack[0] = u64::from(pair);
            f.pair(0, 0);
            if f.heap.next() > f.heap.space.nursery.limit() - 64 {
                f.collect(CollectionKind::Minor);
            }
        }
        let array = f.refs(30_000 + round * 100);
        f.stack[1] = u64::from(array);
        f.collect(CollectionKind::Full);
        assert_eq!((f.list_length(), f.live()), (15_000, 15_001));
    }
    assert_eq!(f.heap.space.old.region.large_objects(), 1);
}

#[test]
fn a_young_externref_gives_its_value_up_at_once() {
    let mut f = Fixture::new(4 << 20);
    let value = Arc::new(());
    for i in 0..10 {
        f.externref(i % 5, Box::new(Arc::clone(&value)));
    }
    f.collect(CollectionKind::Minor);
    assert_eq!(Arc::strong_count(&value), 6);
    f.stack.fill(0);
    f.collect(CollectionKind::Minor);
    assert_eq!(Arc::strong_count(&value), 6);
    f.collect(CollectionKind::Begin);
    f.collect(CollectionKind::Finish);
    assert_eq!((Arc::strong_count(&value), f.host_data.len()), (1, 0));
}

#[test]
fn what_emitted_code_allocated_is_counted_by_its_bytes() {
    let mut f = Fixture::new(4 << 20);
    f.pair(0, 0);
    let word = PAIR.header_word(VMGcKind::StructRef);
    for _ in 0..1000 {
        let next = f.heap.next();
        assert!(next + 16 <= f.heap.core.memory.data_u32(LIMIT));
        f.poke(next, 0, word);
        f.heap.core.memory.set_data_u32(NEXT, next + 16);
    }
    for _ in 0..2 {
        let stats = f.heap.stats();
        assert_eq!((stats.allocations, stats.allocated_bytes), (1001, 1001 * 16));
        f.collect(CollectionKind::Minor);
    }
    f.pair(0, 0);
    assert_eq!(f.heap.stats().allocations, 1002);
}
