//! Tests of how much an evacuation takes on.

use super::*;
use gc_heap::remember::OverwrittenLog;
use gc_heap::space::mark_region::evacuate::Evacuator;
use gc_types::collector::generational::WILL_EVACUATE;

/// The number of blocks that are chosen, of those in which these objects are.
fn chosen(f: &Fixture, objects: &[u32]) -> usize {
    let mut blocks: Vec<u32> = objects
        .iter()
        .filter(|object| f.heap.space.old.evacuator.is_chosen(**object))
        .map(|object| (object - f.heap.space.old.region.start()) / BLOCK_SIZE)
        .collect();
    blocks.dedup();
    blocks.len()
}

/// The objects to which an array refers.
fn elements(f: &Fixture, array: u32, count: u32) -> Vec<u32> {
    (0..count).map(|n| f.read(array, 12 + 4 * u64::from(n))).collect()
}

/// The number of elements of the array that [`thin_blocks`] makes.
const KEPT: u32 = 20_000;

/// Makes blocks with many holes. The second slot of the stack has an array that refers to the objects in
/// them.
fn thin_blocks() -> Fixture {
    let mut f = Fixture::new(256 << 20);
    let array = f.refs(KEPT);
    f.stack[1] = u64::from(array);
    // One pair of each line lives.
    for n in 0..KEPT {
        for _ in 0..8 {
            f.make_room();
            let pair = f.pair(0, f.top());
            f.stack[0] = u64::from(pair);
        }
        let top = f.top();
        f.write(f.stack[1] as u32, 12 + 4 * u64::from(n), top);
    }
    f.collect(CollectionKind::Full);
    let array = f.stack[1] as u32;
    // A line has eight pairs, and a block is chosen if half of its lines are free. So of three lines
    // one remains.
    f.stack[0] = 0;
    for (n, object) in elements(&f, array, KEPT).into_iter().enumerate() {
        f.write(object, CDR, 0);
        if n % 3 != 0 {
            f.write(array, 12 + 4 * n as u64, 0);
        }
    }
    f.collect(CollectionKind::Full);
    f
}

/// Records `slot` as often as there may be slots. Returns how many these are.
fn record_the_most(f: &mut Fixture, slot: u32) -> usize {
    let evacuator = &mut f.heap.space.old.evacuator;
    while evacuator.slots().len() < evacuator.most_slots() {
        assert!(evacuator.record(slot));
    }
    evacuator.most_slots()
}

/// An evacuation whose objects are in too many slots is given up. The next one is half as large, and
/// after one that succeeds they grow again.
#[test]
fn an_evacuation_that_was_too_large_is_followed_by_a_smaller_one() {
    let mut f = thin_blocks();
    let array = f.stack[1] as u32;
    // Many slots refer to each.
    let many = f.refs(300_000);
    f.stack[2] = u64::from(many);
    let objects: Vec<u32> =
        elements(&f, array, KEPT).into_iter().filter(|object| *object != 0).collect();
    for n in 0..300_000_usize {
        f.write(many, 12 + 4 * n as u64, objects[n % objects.len()]);
    }
    f.collect(CollectionKind::Minor);
    f.heap.core.side.pause_target = Duration::from_secs(3600);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        f.collect(CollectionKind::Begin);
        sizes.push(chosen(&f, &objects));
        while f.heap.major.phase() == Phase::Marking && !f.heap.major.marking_waits() {
            f.heap.cycle().slice();
        }
        assert_eq!(chosen(&f, &objects), 0, "it was not given up");
        while f.heap.major.phase() != Phase::Idle {
            f.collect(CollectionKind::Minor);
            f.heap.cycle().slice();
        }
    }
    assert!(sizes[0] > 4, "{sizes:?}");
    let is_smaller = |pair: &[usize]| 5 * pair[1] < 3 * pair[0];
    assert!(sizes.windows(2).all(is_smaller), "{sizes:?}");
}

/// Marking that ends with too many slots gives the evacuation up, however large the budget was.
#[test]
fn too_many_slots_at_the_end_of_marking_are_noticed() {
    let mut f = thin_blocks();
    f.heap.core.side.pause_target = Duration::ZERO;
    f.collect(CollectionKind::Begin);
    assert!(f.heap.space.old.evacuator.is_active());
    let array = f.stack[1] as u32;
    // As many as may be, before the array is scanned, which refers into the chosen blocks.
    let most = record_the_most(&mut f, array + 12);
    while !f.heap.cycle().mark_some(&mut { 1 }) {
        assert!(f.heap.space.old.evacuator.slots().len() <= most, "it goes on with too many slots");
    }
    assert!(!f.heap.space.old.evacuator.is_active(), "it was not given up");
    let usual = Evacuator::default().most_bytes();
    assert_eq!(f.heap.space.old.evacuator.most_bytes(), usual / 2);
    // A heap that was reset is like a new one.
    assert!(f.heap.reset(&mut f.host_data));
    assert_eq!(f.heap.space.old.evacuator.most_bytes(), usual);
}

/// A minor collection that records too many slots while marking is under way gives the evacuation up. Emitted code then
/// marks no cards for it any more.
#[test]
fn an_evacuation_that_a_minor_collection_gives_up_is_cancelled() {
    let mut f = thin_blocks();
    f.heap.core.side.pause_target = Duration::ZERO;
    f.collect(CollectionKind::Begin);
    let switched = |f: &Fixture| f.heap.tables.log.switched();
    assert!(switched(&f) & WILL_EVACUATE != 0);
    let array = f.stack[1] as u32;
    let chosen = elements(&f, array, KEPT);
    let chosen = chosen.into_iter().find(|at| f.heap.space.old.evacuator.is_chosen(*at)).unwrap();
    let pair = f.pair(chosen, 0);
    f.stack[2] = u64::from(pair);
    record_the_most(&mut f, array + 12);
    f.collect(CollectionKind::Minor);
    assert!(!f.heap.space.old.evacuator.is_active());
    assert_eq!(switched(&f) & WILL_EVACUATE, 0);
}

/// If the log gives an evacuation up, the rest of it is not read: it is empty then, and what was read again would be
/// marked in blocks that are swept already.
#[test]
fn nothing_is_marked_after_the_log_gives_an_evacuation_up() {
    let mut f = thin_blocks();
    f.heap.core.side.pause_target = Duration::from_secs(3600);
    // It is promoted to a block that is swept at once.
    let pair = f.pair(0, 0);
    f.stack[2] = u64::from(pair);
    f.collect(CollectionKind::Begin);
    while f.heap.major.phase() == Phase::Marking {
        f.heap.cycle().slice();
    }
    assert_eq!(f.heap.major.phase(), Phase::Evacuating);
    let (pair, array) = (f.stack[2] as u32, f.stack[1] as u32);
    let n = elements(&f, array, KEPT)
        .iter()
        .position(|object| f.heap.space.old.evacuator.is_chosen(*object))
        .unwrap();
    let slot = array + 12 + 4 * n as u32;
    record_the_most(&mut f, slot);
    f.heap.tables.log.begin(&mut f.heap.core.memory, OverwrittenLog::LOGS);
    (0..2).for_each(|n| f.heap.tables.log.set(n, pair, slot));
    f.heap.core.memory.set_data_u64(LOG_LEN, 2);
    assert!(f.heap.cycle().mark_logged(&mut { u32::MAX }) == Log::Done);
    assert_eq!(f.heap.major.phase(), Phase::Sweeping);
    assert!(!f.heap.space.old.region.is_marked(pair));
    while f.heap.major.phase() != Phase::Idle {
        f.heap.cycle().slice();
    }
    f.heap.verify().unwrap();
}
