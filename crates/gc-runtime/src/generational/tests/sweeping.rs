//! Tests of sweeping beside the mutator: objects are allocated while blocks and large objects wait for
//! their sweep, and collections of the nursery do not wait for it.

use super::*;
use gc_heap::space::nursery::size::{NurseryUse, Sizing};

/// A heap just after marking: with 20,000 live pairs and as many dead ones, and with 201 large objects of
/// which 100 are dead.
fn marked() -> Fixture {
    let mut f = Fixture::new(32 << 20);
    f.heap.core.side.pause_target = Duration::ZERO;
    // It is large too, so it does not move.
    let all = f.refs(9000);
    f.stack[1] = u64::from(all);
    for n in 0..200 {
        let large = f.refs(9000);
        f.write(all, 12 + 4 * n, large);
    }
    // Half of each block is garbage later.
    for _ in 0..20 {
        f.list(1000);
        for _ in 0..1000 {
            let pair = f.pair(0, f.stack[3] as u32);
            f.stack[3] = u64::from(pair);
        }
        f.collect(CollectionKind::Minor);
    }
    f.stack[3] = 0;
    (0..100).for_each(|n| f.write(all, 12 + 8 * n, 0));
    f.collect(CollectionKind::Begin);
    assert!(
        f.heap.cycle().mark_logged(&mut { u32::MAX }) == Log::Done
            && f.heap.cycle().mark_some(&mut { u32::MAX })
    );
    f.heap.cycle().end_marking();
    f.heap.cycle().cancel_evacuation();
    assert_eq!(f.heap.major.phase(), Phase::Sweeping);
    f.heap.verify().unwrap();
    f
}

/// Sweeps a little.
fn sweep(f: &mut Fixture) {
    f.heap.cycle().sweep(&mut { 32 });
    f.heap.verify().unwrap();
}

#[test]
fn a_minor_collection_does_not_wait_for_the_sweep() {
    let mut f = marked();
    let (mut length, mut minors) = (f.list_length(), 0);
    while f.heap.space.old.region.is_sweeping() {
        sweep(&mut f);
        f.list(20);
        length += 20;
        let (left, total) =
            (f.heap.space.old.region.left_to_sweep().1, f.heap.space.old.region.total().objects);
        f.collect(CollectionKind::Minor);
        assert_eq!(f.heap.nursery_used(), 0);
        // It ends with a step of the sweep, and not more.
        let steps = left - f.heap.space.old.region.left_to_sweep().1;
        assert!(steps < 80 || !f.heap.space.old.region.is_sweeping(), "{steps} of {left}");
        assert_eq!(f.heap.space.old.region.total().objects, total + 20);
        minors += 1;
    }
    assert!(minors > 3, "{minors}");
    assert_eq!(f.list_length(), length);
    // What was allocated meanwhile is not marked, so the next marking frees what died.
    f.stack[0] = 0;
    f.collect(CollectionKind::Full);
    assert_eq!(f.live(), 101);
}

#[test]
fn large_objects_are_allocated_while_others_wait_for_their_sweep() {
    let mut f = marked();
    let keep = f.refs(9000);
    f.stack[2] = u64::from(keep);
    let mut made = 0;
    while f.heap.space.old.region.is_sweeping() {
        sweep(&mut f);
        for _ in 0..2 {
            let large = f.refs(9000);
            f.write(keep, 12 + 4 * made, large);
            made += 1;
        }
        f.heap.verify().unwrap();
    }
    assert_eq!(f.heap.space.old.region.large_objects(), 102 + made as usize);
    f.stack[2] = 0;
    f.collect(CollectionKind::Full);
    assert_eq!(f.heap.space.old.region.large_objects(), 101);
}

/// With no other room, a block is swept when its holes are needed.
#[test]
fn blocks_are_swept_when_there_is_no_other_room() {
    let mut f = marked();
    // Takes all free blocks.
    let bytes = VMGcHeader::new(VMGcKind::ArrayRef, BYTES);
    while f.heap.space.old.region.blocks().free_blocks() > 0 {
        let array = f.heap.alloc_old(bytes, BLOCK_SIZE).unwrap().as_raw_u32();
        f.poke(array, 8, BLOCK_SIZE - 12);
    }
    let free = f.heap.space.old.region.free_bytes();
    assert!(f.heap.space.old.region.is_sweeping() && free < 48_000, "{free} bytes are free");
    f.heap.verify().unwrap();
    let length = f.list_length();
    f.list(3000);
    f.collect(CollectionKind::Minor);
    assert_eq!((f.list_length(), f.heap.nursery_used()), (length + 3000, 0));
    assert!(!f.heap.space.nursery.retains());
}

/// An allocation may sweep the last block. Then the major collection is over, with a new plan.
#[test]
fn a_sweep_that_an_allocation_ends_ends_the_major_collection() {
    let mut f = marked();
    f.heap.core.plan.goal = 1;
    let bytes = VMGcHeader::new(VMGcKind::ArrayRef, BYTES);
    while f.heap.space.old.region.is_sweeping() {
        assert_eq!(f.heap.major.phase(), Phase::Sweeping);
        let size = 4 * BLOCK_SIZE;
        let Some(array) = f.heap.alloc_old(bytes, size) else { break };
        f.poke(array.as_raw_u32(), 8, size - 12);
    }
    assert_eq!(f.heap.major.phase(), Phase::GivingBack);
    assert!(f.heap.core.plan.goal > 1);
    f.heap.verify().unwrap();
}

#[test]
fn time_that_the_host_gives_is_used_for_slices_and_short_collections() {
    let mut f = marked();
    let long = Duration::from_secs(10);
    assert_eq!(f.heap.idle(Duration::ZERO), Idle::Rest { bytes: 1 });
    while f.heap.major.phase() != Phase::Idle {
        assert_eq!(f.heap.idle(long), Idle::Worked);
        f.heap.verify().unwrap();
    }
    assert_eq!(f.heap.idle(long), Idle::Rest { bytes: 0 });
    // Half of the nursery is used.
    while f.heap.nursery_used() < f.heap.nursery_size() / 2 {
        f.pair(0, 0);
    }
    assert_eq!(f.heap.idle(long), Idle::Collect);
    assert_eq!(f.heap.idle(Duration::ZERO), Idle::Rest { bytes: f.heap.due().idle_work_left() });
    assert_eq!(f.choose(GcCause::Idle), CollectionKind::Minor);
    f.collect(CollectionKind::Minor);
    // Its collection takes half of the time.
    let ms = Duration::from_millis;
    // 160 ns for each byte.
    let took = Some(Duration::from_nanos(160 << 20));
    let found = NurseryUse { used: 1 << 20, took, ..NurseryUse::default() };
    f.heap.space.sizing = Sizing::default();
    f.heap.space.sizing.next(1 << 20, 8 << 20, 0, ms(1), found);
    while f.heap.nursery_used() < 16 << 10 {
        assert_eq!(f.heap.idle(ms(5)), Idle::Rest { bytes: 0 });
        f.pair(0, 0);
    }
    let left = Idle::Rest { bytes: f.heap.due().idle_work_left() };
    assert_eq!(
        [1, 4, 7].map(|n| f.heap.idle(ms(n))),
        [left, Idle::Collect, Idle::Rest { bytes: 0 }]
    );
    f.collect(CollectionKind::Minor);
    // Half of the plan's room is used.
    f.heap.core.live = f.heap.space.old.region.total().bytes - 600;
    f.heap.core.plan.goal = f.heap.core.live + 1000;
    assert_eq!(f.heap.idle(long), Idle::Collect);
    assert_eq!(f.choose(GcCause::Idle), CollectionKind::Begin);
}
