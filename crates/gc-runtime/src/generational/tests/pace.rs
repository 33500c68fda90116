//! Tests of the amount of work in a slice, and of the memory that is used and given back.

use super::lending::held;
use super::*;
use gc_heap::AdaptivePolicy;
use gc_heap::space::generations::major::STEP;

/// A slice without time does one step of work: a bounded number of objects, slots, log entries and
/// blocks.
#[test]
fn a_slice_without_time_does_one_step_of_work() {
    let mut f = Fixture::new(64 << 20);
    f.heap.core.side.pause_target = Duration::ZERO;
    f.list(20_000);
    let wide = f.refs(200_000);
    f.stack[1] = u64::from(wide);
    assert!(!f.heap.is_young(wide));
    // A thousand large objects, half of which die.
    for n in 0..1000 {
        if f.heap.next() + 9000 > f.heap.space.nursery.limit() {
            f.collect(CollectionKind::Minor);
        }
        let large = f.refs(2100);
        f.write(wide, 12 + n * 4, large);
    }
    f.collect(CollectionKind::Minor);
    (0..500).for_each(|n| f.write(wide, 12 + n * 8, 0));
    assert_eq!(f.heap.space.old.region.large_objects(), 1001);
    f.collect(CollectionKind::Begin);
    // Emitted code logs more than is read in one step.
    for n in 0..10 * STEP {
        f.heap.tables.log.set(n.into(), 0, 0);
    }
    f.heap.core.memory.set_data_u64(LOG_LEN, u64::from(10 * STEP));
    let (mut slices, mut logged) = (0, 10 * STEP);
    while f.heap.major.phase() == Phase::Marking && logged > 0 {
        f.heap.cycle().slice();
        let left = f.heap.tables.log.unread(&f.heap.core.memory).unwrap();
        assert!(logged - left <= STEP, "{logged} {left}");
        (logged, slices) = (left, slices + 1);
    }
    assert_eq!(slices, 10);
    while f.heap.major.phase() == Phase::Marking {
        let before = f.heap.space.old.region.marked().objects;
        f.heap.cycle().slice();
        let marked = f.heap.space.old.region.marked().objects - before;
        assert!(marked <= u64::from(STEP), "{marked} objects in a step");
        slices += 1;
    }
    // Objects, and the elements of the wide array by eighths.
    assert!(slices > 10 + (20_000 + 200_000 / 8) / STEP, "{slices}");
    f.heap.cycle().cancel_evacuation();
    let mut free = f.heap.space.old.region.blocks().free_pages();
    let mut steps = 0;
    while f.heap.space.old.region.left_to_sweep().0 > 0 {
        f.heap.cycle().slice();
        // Each of them has three pages.
        assert!(f.heap.space.old.region.blocks().free_pages() - free <= 3 * STEP);
        (free, steps) = (f.heap.space.old.region.blocks().free_pages(), steps + 1);
    }
    assert_eq!(f.heap.space.old.region.large_objects(), 501);
    assert!(steps > 1, "{steps}");
    let mut free = f.heap.space.old.region.blocks().free_blocks();
    while f.heap.major.phase() == Phase::Sweeping {
        f.heap.cycle().slice();
        assert!(f.heap.space.old.region.blocks().free_blocks() - free <= STEP / 16);
        free = f.heap.space.old.region.blocks().free_blocks();
    }
    f.heap.verify().unwrap();
}

#[test]
fn free_blocks_are_given_back_in_slices() {
    let mut f = Fixture::new(64 << 20);
    f.list(1_000_000);
    f.collect(CollectionKind::Full);
    let before = f.heap.space.unbacked(&f.heap.core);
    f.stack[0] = 0;
    f.heap.core.side.pause_target = Duration::ZERO;
    let mut policy = AdaptivePolicy::memory();
    policy.cushion = 0;
    f.heap.core.side.policy = Box::new(policy);
    f.collect(CollectionKind::Begin);
    let mut most = 0;
    while f.heap.major.phase() != Phase::Idle {
        let before = f.heap.space.unbacked(&f.heap.core);
        f.heap.cycle().slice();
        most = most.max(f.heap.space.unbacked(&f.heap.core) - before);
    }
    assert!(most > 0 && most <= 16 * u64::from(BLOCK_SIZE), "{most}");
    let given_back = f.heap.space.unbacked(&f.heap.core) - before;
    assert!(given_back > 12 << 20, "{given_back}");
    assert_eq!(
        f.heap.stats().heap_bytes,
        f.heap.core.memory.usable() - f.heap.space.unbacked(&f.heap.core)
    );
    f.list(1_000_000);
    f.collect(CollectionKind::Full);
    assert_eq!(f.list_length(), 1_000_000);
}

#[test]
fn the_nursery_follows_what_survives() {
    let options = options(1 << 30);
    let options = HeapOptions { initial: 64 << 20, ..options };
    let mut f = Fixture::with(&options, &GenerationalCollector::new());
    // However long the collections take.
    f.heap.core.side.pause_target = Duration::from_secs(3600);
    // The smallest nursery.
    const LEAST: u32 = 768 << 10;
    assert_eq!(f.heap.nursery_size(), LEAST);
    let fill = |f: &mut Fixture, survives: bool| {
        while f.heap.next() + 64 <= f.heap.space.nursery.limit() {
            let pair = f.pair(0, f.top());
            f.stack[0] = if survives { u64::from(pair) } else { 0 };
        }
        f.collect(CollectionKind::Minor);
        f.heap.nursery_size() / LEAST
    };
    // Nothing survives. A larger nursery gains little, so it grows only to the usual size.
    assert_eq!([(); 4].map(|()| fill(&mut f, false)), [2, 4, 4, 4]);
    // Everything survives, so two collections free nothing.
    assert_eq!([(); 3].map(|()| fill(&mut f, true)), [2, 1, 1]);
    // The unused part was given back.
    assert_eq!(f.heap.space.nursery.touched(), f.heap.space.nursery.limit());
    let mapped = f.heap.space.nursery.end() - f.heap.space.nursery.limit();
    let survivors = f.heap.space.nursery.survivors.touched();
    assert!(f.heap.space.unbacked(&f.heap.core) + survivors >= mapped.into());
    // A third survives.
    let some = |f: &mut Fixture| {
        let mut n = 0;
        f.stack[0] = 0;
        while f.heap.next() + 64 <= f.heap.space.nursery.limit() {
            let pair = f.pair(0, f.top());
            n += 1;
            if n % 3 == 0 {
                f.stack[0] = u64::from(pair);
            } else {
                f.write(pair, CDR, 0);
            }
        }
        f.collect(CollectionKind::Minor);
        f.heap.nursery_size() / LEAST
    };
    let sizes: Vec<u32> = (0..6).map(|_| some(&mut f)).collect();
    assert_eq!(sizes, [2, 4, 8, 16, 21, 21]);
    assert!(f.heap.reset(&mut f.host_data));
    assert_eq!(f.heap.nursery_size(), LEAST);
}

/// All that the mutator allocates lives on, so the old generation grows fast while it is marked. The
/// slices mark so much that the mutator need not wait, as it would from 1.5 times the threshold on.
#[test]
fn marking_keeps_up_with_what_is_promoted() {
    // With memory that is lost between objects, and without, and beside a thread that never comes.
    for (distance, is_lent) in [(1, false), (2, false), (1, true)] {
        let mut f = if is_lent { held(1 << 30).0 } else { Fixture::new(1 << 30) };
        // Objects limit a slice, not time.
        f.heap.core.side.pause_target = Duration::from_secs(3600);
        // The room does not depend on how long collections take.
        let mut policy = AdaptivePolicy::balanced().with_utilisation(0.2);
        policy.least_utilisation = policy.utilisation;
        f.heap.core.side.policy = Box::new(policy);
        keep_one_in(&mut f, distance);
        assert_eq!(f.heap.major.size.lost > 1 << 20, distance == 2);
        while f.heap.due().taken_bytes() < f.heap.due().major_threshold() {
            f.list(1000);
        }
        f.collect(CollectionKind::Begin);
        // What is lost leaves less room, so slices are larger.
        let (lost, pace) = (f.heap.major.size.lost, f.heap.cycle().to_keep_up());
        f.heap.major.size.lost = 0;
        assert_eq!(pace > f.heap.cycle().to_keep_up(), lost > 0, "{pace}");
        f.heap.major.size.lost = lost;
        let began_at = f.heap.due().taken_bytes();
        while f.heap.major.phase() == Phase::Marking && !f.heap.major.marking_waits() {
            f.list(1000);
        }
        let taken = f.heap.due().taken_bytes();
        assert!(taken < began_at / 100 * 140, "{taken} after {began_at}: it ends late");
        assert!(taken > began_at / 100 * 110, "{taken} after {began_at}: it was done all at once");
        f.collect(CollectionKind::Full);
    }
}

/// Makes 400,000 old pairs of which one in `distance` lives. A line has eight.
fn keep_one_in(f: &mut Fixture, distance: u32) {
    f.stack.fill(0);
    for n in 0..400_000 {
        f.make_room();
        let pair = f.pair(f.top(), 0);
        f.stack[0] = u64::from(pair);
        if n % distance == 0 {
            f.write(pair, CDR, f.stack[1] as u32);
            f.stack[1] = u64::from(pair);
        }
    }
    f.collect(CollectionKind::Minor);
    let mut at = f.stack[1] as u32;
    while at != 0 {
        f.write(at, CAR, 0);
        at = f.read(at, CDR);
    }
    f.stack[0] = 0;
    f.collect(CollectionKind::Full);
}

/// Memory between objects that nothing can use counts when the next marking begins. But it counts for
/// no more than half of the room, so that marking does not begin again at once.
#[test]
fn memory_between_objects_counts() {
    let mut f = Fixture::new(1 << 30);
    let mut keep_one_in = |distance| {
        keep_one_in(&mut f, distance);
        let live = f.heap.space.old.region.total().bytes;
        let room = f.heap.due().major_threshold() - live;
        assert_eq!(f.heap.due().taken_bytes() - live, f.heap.major.size.lost);
        (live, room, f.heap.space.old.region.lost_bytes(), f.heap.major.size.lost)
    };
    let (live, room, lost, counted) = keep_one_in(2);
    assert_eq!(live, 16 * 200_000);
    assert!(lost.abs_diff(live) < 64 << 10, "{lost} bytes lost between {live}");
    // At least 4 MiB are promoted before the next marking.
    assert_eq!(counted, lost.min(room / 2).min(room - (4 << 20)));
    // One in each line.
    let (live, room, lost, counted) = keep_one_in(8);
    assert_eq!(live, 16 * 50_000);
    assert!(lost.abs_diff(7 * live) < 64 << 10, "{lost} bytes lost between {live}");
    assert_eq!((room, counted), (4 << 20, 0));
    // Nothing is lost between objects that follow each other.
    assert!(keep_one_in(1).2 < 64 << 10);
}

/// Memory that was lost when the last marking ended is no reason to mark again in time that the host gives.
#[test]
fn given_time_is_used_for_marking_once_objects_use_half_of_the_room() {
    let mut f = Fixture::new(64 << 20);
    f.list(1000);
    f.collect(CollectionKind::Full);
    let (old, long) = (f.heap.space.old.region.total().bytes, Duration::from_secs(10));
    // So many bytes were allocated since the last marking.
    let new = |f: &mut Fixture, bytes| {
        f.heap.core.live = old - bytes;
        f.heap.core.plan.goal = f.heap.core.live + 20_000;
    };
    new(&mut f, 0);
    f.heap.major.size.lost = 10_000;
    assert_eq!(f.heap.idle(long), Idle::Rest { bytes: 0 });
    new(&mut f, 4999);
    assert_eq!(f.heap.idle(long), Idle::Rest { bytes: 0 });
    new(&mut f, 5000);
    assert_eq!(f.heap.idle(long), Idle::Collect);
    // The last marking was given up, and the next one would be too.
    f.heap.major.lost_log = true;
    assert_eq!(f.heap.idle(long), Idle::Rest { bytes: 0 });
}

/// Makes a heap of old pairs whose old generation is as large as the plan's goal. Returns the goal.
fn full_heap() -> (Fixture, u32) {
    let mut f = Fixture::new(1 << 30);
    // A slice does one step of work.
    f.heap.core.side.pause_target = Duration::ZERO;
    f.list(200_000);
    f.collect(CollectionKind::Full);
    while f.heap.due().taken_bytes() < f.heap.due().major_threshold() {
        f.list(1000);
    }
    let threshold = f.heap.due().major_threshold() as u32;
    (f, threshold)
}

/// Allocates an array of bytes that is not young.
fn large(f: &mut Fixture, bytes: u32) {
    let size = bytes & !7;
    let array = f.alloc(BYTES, size);
    assert!(!f.heap.is_young(array));
    f.poke(array, 8, size - 12);
}

/// Large objects that are allocated while marking is under way do not make the mutator wait until it
/// is finished: the heap grows instead. But it does not grow without a bound.
#[test]
fn large_objects_do_not_hurry_marking() {
    let (mut f, threshold) = full_heap();
    f.collect(CollectionKind::Begin);
    f.heap.large_wanted = true;
    for _ in 0..5 {
        let marked = f.heap.space.old.region.marked().objects;
        large(&mut f, threshold / 4);
        // One of them is the array itself.
        assert!(f.heap.space.old.region.marked().objects - marked <= u64::from(STEP) + 1);
        assert!(f.heap.major.phase() == Phase::Marking && !f.heap.collection_pays());
        assert_eq!(f.choose(GcCause::NoRoom), CollectionKind::Minor);
    }
    assert!(f.heap.due().taken_bytes() > 2 * u64::from(threshold));
    (0..2).for_each(|_| large(&mut f, threshold / 4));
    assert!(f.heap.collection_pays());
    assert_eq!(f.choose(GcCause::NoRoom), CollectionKind::Finish);
    assert_eq!(f.heap.major.size.large, 7 * u64::from((threshold / 4) & !7));
    f.collect(CollectionKind::Finish);
    // The next marking excuses others.
    f.collect(CollectionKind::Full);
    assert_eq!((f.heap.major.size.large_before, f.heap.major.size.large), (0, 0));
    assert_eq!(u64::from(f.list_length()), f.live());
}

/// Objects that are promoted while marking is under way do: most of them come with slices.
#[test]
fn promoted_objects_hurry_marking() {
    let (mut f, threshold) = full_heap();
    f.collect(CollectionKind::Begin);
    let (began_at, most) = (f.heap.due().taken_bytes(), f.heap.due().deadline(5));
    assert!(most - began_at <= u64::from(threshold / 2), "{most} {began_at}");
    assert!(!f.heap.due().end_of_major());
    // These come without slices.
    while f.heap.due().taken_bytes() < most {
        let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
        f.heap.alloc_old(header, 16).unwrap();
    }
    assert!(f.heap.major.phase() == Phase::Marking && f.heap.due().end_of_major());
}

/// Those that were promoted before it began do, too. A small heap that grows fast is marked in one pause,
/// which costs less than many slices.
#[test]
fn objects_promoted_before_marking_hurry_it() {
    let (mut f, threshold) = full_heap();
    while f.heap.due().taken_bytes() < u64::from(threshold) * 8 / 5 {
        let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
        f.heap.alloc_old(header, 16).unwrap();
    }
    assert!(!f.heap.major.is_under_way() && !f.heap.due().end_of_major());
    f.collect(CollectionKind::Begin);
    assert!(f.heap.due().end_of_major());
}

/// If large objects have filled the heap before marking began, it begins then, and is not done in one
/// pause.
#[test]
fn marking_begins_in_slices_however_large_the_heap_is() {
    let (mut f, threshold) = full_heap();
    (0..8).for_each(|_| large(&mut f, threshold / 4));
    assert!(!f.heap.major.is_under_way());
    f.heap.large_wanted = true;
    assert!(f.heap.collection_pays());
    assert_eq!(f.choose(GcCause::NoRoom), CollectionKind::Begin);
    f.collect(CollectionKind::Begin);
    // It has as much time as if it had begun earlier.
    assert!(!f.heap.collection_pays());
    assert_eq!(f.choose(GcCause::NoRoom), CollectionKind::Minor);
    let room = f.heap.due().deadline(5) - f.heap.due().taken_bytes();
    assert!(room > u64::from(threshold / 5 * 2), "{room} of {threshold}");
}
