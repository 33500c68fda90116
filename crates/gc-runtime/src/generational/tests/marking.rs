//! Tests of marking beside the mutator: objects that were reachable when it began survive, and
//! allocation drives it to its end.

use super::*;
use gc_heap::{MemoryPurpose, MemoryRequest, MemorySource, Reservation, UsedReservation};

/// Begins a major collection and runs `mutate` between its slices.
fn beside_marking(f: &mut Fixture, mut mutate: impl FnMut(&mut Fixture, u32)) -> u32 {
    // Nothing is marked at the end of the collection.
    f.heap.core.side.pause_target = Duration::ZERO;
    f.collect(CollectionKind::Begin);
    let mut slices = 0;
    while f.heap.major.phase() == Phase::Marking {
        mutate(f, slices);
        f.heap.verify().unwrap();
        f.heap.core.memory.set_zeal(1);
        f.heap.cycle().slice();
        f.heap.core.memory.set_zeal(0);
        slices += 1;
        assert!(slices < 1 << 20, "marking does not end");
    }
    f.heap.cycle().cancel_evacuation();
    while !f.heap.cycle().sweep(&mut { u32::MAX }) {}
    f.heap.verify().unwrap();
    slices
}

#[test]
fn marking_keeps_what_was_reachable_when_it_began() {
    let mut f = Fixture::new(8 << 20);
    f.list(20_000);
    f.collect(CollectionKind::Minor);
    let garbage = f.top();
    f.stack[0] = 0;
    f.list(20_000);
    f.collect(CollectionKind::Minor);
    assert_eq!(f.live(), 40_000);
    let mut last = 0;
    let slices = beside_marking(&mut f, |f, slice| {
        // A logging barrier removes the tail from the list. The tail is stored in another place,
        // which may have been scanned.
        if slice % 7 == 3 {
            f.make_room();
            let tail = f.read(f.top(), CDR);
            let holder = f.pair(0, tail);
            f.stack[1] = u64::from(holder);
            f.write(f.top(), CDR, 0);
            (f.stack[0], last) = (u64::from(tail), tail);
        }
        if slice % 50 == 49 {
            f.collect(CollectionKind::Minor);
        }
    });
    assert!(slices > 100, "{slices}");
    assert!(!f.heap.space.old.region.is_start(garbage), "garbage from before survives");
    assert!(f.heap.space.old.region.is_start(last));
    f.collect(CollectionKind::Minor);
    let length = f.list_length();
    assert!(length < 19_990 && f.live() >= 20_000, "{length} {}", f.live());
    f.collect(CollectionKind::Full);
    assert_eq!(f.live(), u64::from(f.list_length()) + 1);
}

#[test]
fn emitted_stores_beside_marking_are_logged() {
    let mut f = Fixture::new(8 << 20);
    f.list(5000);
    f.collect(CollectionKind::Minor);
    let mut cut = 0;
    beside_marking(&mut f, |f, slice| {
        assert_eq!(f.heap.core.memory.data_u32(MARKING), 1);
        if slice == 2 {
            // Does what emitted code does, with a log in which some entries are meaningless.
            (cut, f.stack[0]) = (f.read(f.top(), CDR), u64::from(f.top()));
            for word in [0, 1, NURSERY_START, u32::MAX, cut] {
                let n = f.heap.core.memory.data_u64(LOG_LEN);
                f.heap.tables.log.set(n, word, f.top() + CDR as u32);
                f.heap.core.memory.set_data_u64(LOG_LEN, n + 1);
            }
            f.poke(f.top(), CDR, 0);
        }
    });
    assert!(cut != 0 && f.heap.space.old.region.is_start(cut));
    assert_eq!((f.live(), f.heap.core.memory.data_u32(MARKING)), (5000, 0));
}

#[test]
fn marking_is_given_up_when_the_log_was_too_short() {
    let mut f = Fixture::new(8 << 20);
    f.list(5000);
    // For short slices.
    f.heap.core.memory.set_zeal(1);
    f.collect(CollectionKind::Begin);
    assert_eq!(f.heap.major.phase(), Phase::Marking);
    f.stack[0] = 0;
    f.heap.core.memory.set_data_u64(LOG_LEN, LOG_CAPACITY + 1);
    f.heap.cycle().slice();
    assert_eq!((f.heap.major.phase(), f.live()), (Phase::Idle, 5000));
    f.heap.verify().unwrap();
    f.collect(CollectionKind::Begin);
    f.heap.core.memory.set_data_u64(LOG_LEN, u64::MAX);
    f.collect(CollectionKind::Finish);
    f.collect(CollectionKind::Full);
    assert_eq!(f.live(), 0);
}

/// Refuses the memory of the log.
#[derive(Debug)]
struct NoLog;

impl MemorySource for NoLog {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        match request.purpose {
            MemoryPurpose::CollectorTable if request.size as u64 >= 8 * LOG_CAPACITY => {
                Err(request.refused("the test refuses"))
            }
            _ => Reservation::new(request),
        }
    }

    fn give_back(&self, _used: UsedReservation) {}
}

#[test]
fn marking_is_not_interleaved_without_memory_for_the_log() {
    let options = HeapOptions { memory: Arc::new(NoLog), ..options(8 << 20) };
    let mut f = Fixture::with(&options, &COLLECTOR);
    f.list(5000);
    f.heap.core.memory.set_zeal(1);
    f.collect(CollectionKind::Begin);
    assert_eq!((f.heap.major.phase(), f.heap.core.memory.data_u32(MARKING)), (Phase::Idle, 0));
    // Emitted code does not log this.
    let rest = f.read(f.top(), CDR);
    f.poke(f.top(), CDR, 0);
    f.stack[0] = u64::from(rest);
    f.heap.cycle().slice();
    assert_eq!((f.heap.major.phase(), f.live()), (Phase::Idle, 5000));
    f.collect(CollectionKind::Full);
    assert_eq!((f.list_length(), f.live()), (4999, 4999));
}

#[test]
fn allocation_drives_a_major_collection_to_its_end() {
    let mut f = Fixture::new(16 << 20);
    f.list(200_000);
    f.collect(CollectionKind::Begin);
    f.stack[0] = 0;
    let mut chunks = 0;
    while f.heap.major.phase() != Phase::Idle {
        chunks += 1;
        for _ in 0..2048 {
            let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
            if f.heap.alloc_raw(header, 16).is_err() {
                f.collect(CollectionKind::Minor);
            }
        }
        assert!(chunks < 1000, "no slices are done");
    }
    assert!(chunks > 10, "{chunks}");
    let slices = f.heap.core.side.pauses.count_of(PauseKind::Slice);
    assert!(slices > 10, "{slices} pauses of {chunks} slices");
    // The objects were reachable when marking began, so only the next collection frees them.
    assert_eq!(f.heap.space.old.region.total().objects, 200_000);
    f.collect(CollectionKind::Begin);
    f.collect(CollectionKind::Finish);
    assert_eq!(f.live(), 0);
}
