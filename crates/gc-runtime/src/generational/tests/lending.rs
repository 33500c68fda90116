//! Tests of marking on another thread: what the program changes meanwhile survives, the tables come back in time, and
//! damage is told.

use super::*;
use gc_heap::lend::{GcExecutor, GcWork};
use std::sync::Mutex;

/// Keeps work until it is asked for.
#[derive(Default)]
pub(super) struct Held(Mutex<Vec<Arc<dyn GcWork>>>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl GcExecutor for Held {
    fn execute(&self, work: Arc<dyn GcWork>) {
        self.0.lock().unwrap().push(work);
    }
}

impl Held {
    /// Does all work that waits, on this thread. Returns how many there were.
    fn run(&self) -> usize {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.iter().for_each(|work| work.run());
        all.len()
    }
}

/// A heap whose work is held.
pub(super) fn held(maximum: u64) -> (Fixture, Arc<Held>) {
    let threads = Arc::<Held>::default();
    let options = HeapOptions { threads: threads.clone(), ..options(maximum) };
    (Fixture::with(&options, &COLLECTOR), threads)
}

/// Marks to the end: lends, lets work be done, and recalls.
fn end_marking(f: &mut Fixture, threads: &Held) {
    while f.heap.major.phase() == Phase::Marking && !f.heap.major.marking_waits() {
        threads.run();
        f.heap.cycle().slice();
    }
}

/// Ends the major collection that is under way.
fn end_major(f: &mut Fixture) {
    f.heap.cycle().cancel_evacuation();
    while !f.heap.cycle().sweep(&mut { u32::MAX }) {}
    f.heap.verify().unwrap();
}

#[test]
fn another_thread_marks_all_that_lives() {
    let (mut f, threads) = held(8 << 20);
    f.list(20_000);
    f.collect(CollectionKind::Minor);
    f.stack[0] = 0;
    f.list(10_000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    assert!(f.heap.space.old.is_lent() && !f.heap.space.old.is_back());
    // What it reports does not recall the tables.
    assert_eq!(f.live(), 30_000);
    let _occupancy = f.heap.occupancy();
    assert!(f.heap.space.old.is_lent());
    assert_eq!(threads.run(), 1);
    assert!(f.heap.space.old.is_lent() && f.heap.space.old.is_back());
    f.heap.cycle().slice();
    assert_ne!(f.heap.major.phase(), Phase::Marking);
    end_major(&mut f);
    assert_eq!((f.live(), f.list_length()), (10_000, 10_000));
}

#[test]
fn another_thread_sweeps_and_gives_back() {
    let (mut f, threads) = held(64 << 20);
    f.list(200_000);
    f.collect(CollectionKind::Minor);
    f.stack[0] = 0;
    f.list(1000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    threads.run();
    f.heap.core.side.policy = Box::new(gc_heap::AdaptivePolicy::memory());
    // A slice ends where another thread can go on.
    f.heap.cycle().slice();
    if f.heap.major.phase() == Phase::Evacuating {
        f.heap.cycle().cancel_evacuation();
        f.heap.cycle().lend();
    }
    // The host's stores are of no interest for a sweep, however many there are.
    (0..100_000).for_each(|_| f.write(f.top(), CAR, f.top()));
    assert!(f.heap.space.old.is_lent());
    for phase in [Phase::Sweeping, Phase::GivingBack] {
        assert!(f.heap.space.old.is_lent(), "{phase:?}");
        assert_eq!(f.heap.major.phase(), phase);
        // It goes on elsewhere.
        f.heap.cycle().slice();
        assert!(f.heap.space.old.is_lent());
        threads.run();
        assert!(f.heap.space.old.is_back());
        f.heap.cycle().slice();
    }
    assert_eq!((f.heap.major.phase(), f.live()), (Phase::Idle, 1000));
    assert!(f.heap.space.old.region.given_back() > 1 << 20);
    f.heap.verify().unwrap();
    f.list(20_000);
    f.collect(CollectionKind::Full);
    assert_eq!(f.list_length(), 21_000);
}

#[test]
fn a_minor_collection_recalls_the_tables_and_lends_them_again() {
    let (mut f, threads) = held(8 << 20);
    f.list(20_000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let mut lent = 0;
    for n in 1..20 {
        lent += u32::from(f.heap.space.old.is_lent());
        f.list(100);
        f.begin(CollectionKind::Minor).collect().unwrap();
        assert_eq!(f.list_length(), 20_000 + n * 100);
    }
    // On a slow machine they are not lent each time, because nobody has begun.
    assert!(lent > 1, "{lent}");
    // Late threads find nothing, or what is lent now.
    end_marking(&mut f, &threads);
    end_major(&mut f);
    assert_eq!(f.live(), 21_900);
}

#[test]
fn what_the_host_overwrites_meanwhile_survives() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    // The tail is removed before anything is marked, and put where nothing is scanned.
    let tail = f.read(f.top(), CDR);
    let holder = f.pair(0, tail);
    f.stack[1] = u64::from(holder);
    f.write(f.top(), CDR, 0);
    assert!(f.heap.space.old.is_lent());
    end_marking(&mut f, &threads);
    end_major(&mut f);
    assert!(f.heap.space.old.region.is_start(tail));
    f.stack[0] = u64::from(f.read(holder, CDR));
    assert_eq!(f.list_length(), 4999);
}

#[test]
fn what_emitted_code_overwrites_meanwhile_survives() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let tail = f.read(f.top(), CDR);
    f.heap.tables.log.set(0, tail, f.top() + CDR as u32);
    f.heap.core.memory.set_data_u64(LOG_LEN, 1);
    f.poke(f.top(), CDR, 0);
    let holder = f.pair(0, tail);
    f.stack[1] = u64::from(holder);
    assert!(f.heap.space.old.is_lent());
    end_marking(&mut f, &threads);
    end_major(&mut f);
    f.stack[0] = u64::from(f.read(holder, CDR));
    assert_eq!(f.list_length(), 4999);
}

#[test]
fn a_long_log_is_handed_over() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    f.heap.core.memory.set_data_u64(LOG_LEN, 1000);
    f.heap.cycle().slice();
    assert_eq!(f.heap.tables.log.unread(&f.heap.core.memory), Some(1000));
    f.heap.core.memory.set_data_u64(LOG_LEN, 100_000);
    f.heap.cycle().slice();
    assert!(f.heap.space.old.is_lent());
    assert_eq!(f.heap.tables.log.unread(&f.heap.core.memory), Some(0));
    end_marking(&mut f, &threads);
    end_major(&mut f);
    assert_eq!(f.live(), 5000);
}

#[test]
fn what_needs_the_tables_recalls_them() {
    type Case = (&'static str, fn(&mut Fixture));
    let recalls: [Case; 6] = [
        ("a large object", |f| {
            let array = f.refs(50_000);
            f.poke(array, 8, 50_000);
        }),
        ("a copy", |f| f.heap.core.memory.copy_within(4 << 20, (4 << 20) + 8, 8).unwrap()),
        ("a fill", |f| {
            let at = u64::from(f.top()) + CDR;
            f.heap.core.memory.fill(at, 0, 0).unwrap();
            let header = f.heap.core.memory.read_u32(u64::from(f.top())).unwrap();
            f.heap.core.memory.write_bytes(f.top().into(), &header.to_ne_bytes()).unwrap();
        }),
        ("a walk", |f| {
            let mut count = 0;
            f.heap.for_each_object(&mut |_| count += 1).unwrap();
            assert_eq!(count, 5000);
        }),
        ("memory that is given back", |f| f.heap.core.memory.give_back(6 << 20, 1 << 16).unwrap()),
        ("a reset", |f| {
            f.stack[0] = 0;
            assert!(f.heap.reset(&mut f.host_data));
        }),
    ];
    for (what, use_tables) in recalls {
        let (mut f, threads) = held(8 << 20);
        f.list(5000);
        f.begin(CollectionKind::Begin).collect().unwrap();
        assert!(f.heap.space.old.is_lent() && !f.heap.space.old.is_back(), "{what}");
        use_tables(&mut f);
        assert!(f.heap.space.old.is_back(), "{what}");
        // The thread that comes late finds nothing.
        threads.run();
        f.heap.cycle().recall();
        f.heap.verify().unwrap();
    }
}

#[test]
fn a_heap_that_is_dropped_recalls_what_is_lent() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let mapping = Arc::downgrade(&f.heap.core.memory.mapping());
    drop(f);
    assert_eq!(mapping.strong_count(), 0);
    assert_eq!(threads.run(), 1);
}

#[test]
fn damage_that_another_thread_meets_is_told() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    f.poke(f.top(), 0, u32::MAX);
    threads.run();
    let error = f.begin(CollectionKind::Minor).collect().unwrap_err();
    assert!(error.to_string().contains("an object with an invalid header or size"), "{error}");
}

#[test]
fn without_time_on_another_thread_the_programs_thread_marks() {
    let (mut f, _threads) = held(8 << 20);
    f.list(20_000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let mut slices = 0;
    while f.heap.major.phase() == Phase::Marking {
        std::thread::sleep(Duration::from_millis(if f.heap.space.old.is_lent() { 3 } else { 0 }));
        f.heap.cycle().recall();
        f.heap.cycle().slice();
        slices += 1;
        assert!(slices < 10_000);
    }
    end_major(&mut f);
    assert_eq!(f.live(), 20_000);
}

#[test]
fn what_waits_in_an_array_is_still_to_be_marked() {
    let (mut f, threads) = held(64 << 20);
    f.list(20_000);
    f.collect(CollectionKind::Full);
    f.stack[1] = u64::from(f.refs(1 << 20));
    f.begin(CollectionKind::Begin).collect().unwrap();
    let waiting = |f: &Fixture| f.heap.space.old.counts().waiting_slots;
    f.heap.cycle().recall();
    let before = f.heap.cycle().to_keep_up();
    while waiting(&f) == 0 {
        assert!(!f.heap.cycle().mark_some(&mut 100));
    }
    // Most units of work are for the elements, though all bytes of the array count as marked.
    assert!(waiting(&f) > 1 << 16);
    let pace = f.heap.cycle().to_keep_up();
    assert!(before > 0 && pace > 2 * before, "{pace} after {before}");
    end_marking(&mut f, &threads);
    assert_eq!(waiting(&f), 0);
    end_major(&mut f);
}

#[test]
fn threads_mark_while_the_program_changes_the_heap() {
    let threads = Arc::new(GcThreads::new(2));
    let options = HeapOptions { threads, ..options(16 << 20) };
    let mut f = Fixture::with(&options, &COLLECTOR);
    let mut random = 1_u32;
    let mut next = move |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    let table = f.refs(4096);
    f.stack[2] = u64::from(table);
    for round in 0..40 {
        f.begin(CollectionKind::Begin).collect().unwrap();
        for _ in 0..20_000 {
            if f.heap.next() + 64 > f.heap.space.nursery.limit() {
                f.begin(CollectionKind::Minor).collect().unwrap();
            }
            let table = f.stack[2] as u32;
            let (from, to) = (next(4096), next(4096));
            let other = f.read(table, 12 + 4 * u64::from(from));
            let pair = f.pair(2 * from + 1, other);
            f.write(table, 12 + 4 * u64::from(to), pair);
            if next(64) == 0 {
                f.write(table, 12 + 4 * u64::from(from), 0);
            }
            f.heap.cycle().slice();
        }
        f.collect(if round % 8 == 0 { CollectionKind::Full } else { CollectionKind::Minor });
    }
}

#[test]
fn references_that_the_host_writes_are_not_torn() {
    let threads = Arc::new(GcThreads::new(1));
    let options = HeapOptions { threads, ..options(16 << 20) };
    let mut f = Fixture::with(&options, &COLLECTOR);
    const COUNT: u32 = 4096;
    let at = |n: u32| 12 + 4 * u64::from(n % COUNT);
    f.stack[2] = u64::from(f.refs(COUNT));
    for n in 0..COUNT {
        f.make_room();
        let leaf = f.refs(3);
        f.write(f.stack[2] as u32, at(n), leaf);
    }
    f.collect(CollectionKind::Full);
    let table = f.stack[2] as u32;
    let leaves: Vec<u32> = (0..COUNT).map(|n| f.read(table, at(n))).collect();
    for _ in 0..20 {
        f.begin(CollectionKind::Begin).collect().unwrap();
        for n in 0..6 * COUNT {
            let leaf = leaves[(n % COUNT) as usize];
            f.write(table, at(n), if (n / COUNT).is_multiple_of(2) { 0 } else { leaf });
        }
        f.begin(CollectionKind::Minor).collect().unwrap();
        while f.heap.major.phase() != Phase::Idle {
            f.heap.cycle().slice();
            f.heap.core.check_damage().unwrap();
        }
    }
}

#[test]
fn a_reset_ends_the_damage_that_a_thread_has_met() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    f.poke(f.top(), 0, u32::MAX);
    threads.run();
    f.stack[0] = 0;
    assert!(f.heap.reset(&mut f.host_data));
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    assert!(f.heap.space.old.is_lent());
    f.begin(CollectionKind::Minor).collect().unwrap();
    assert_eq!(f.list_length(), 5000);
}

#[test]
fn a_pool_hears_of_the_damage_that_a_thread_has_met() {
    let (mut f, threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    f.poke(f.top(), 0, u32::MAX);
    threads.run();
    assert!(f.heap.core.damage.is_none());
    f.heap.recall();
    assert!(f.heap.core.damage.is_some());
}

/// A program whose objects all die young makes no old objects that would ask for help.
#[test]
fn marking_ends_where_no_thread_begins() {
    let (mut f, _threads) = held(8 << 20);
    f.list(20_000);
    f.collect(CollectionKind::Full);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let mut minors = 0;
    while f.heap.major.phase() != Phase::Idle {
        while f.heap.next() + 64 <= f.heap.space.nursery.limit() {
            let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
            f.heap.alloc_raw(header, 16).unwrap();
        }
        f.begin(CollectionKind::Minor).collect().unwrap();
        minors += 1;
        assert!(minors < 1000, "{:?}", f.heap.major.phase());
    }
}

/// Nobody takes what is overwritten, so the log becomes full, and marking is given up.
#[test]
fn what_waits_for_a_thread_is_bounded() {
    let (mut f, _threads) = held(8 << 20);
    f.list(5000);
    f.begin(CollectionKind::Begin).collect().unwrap();
    let (top, mut logged) = (f.top(), 0_u64);
    while f.heap.major.phase() == Phase::Marking && logged < 30_000_000 {
        for _ in 0..70_000 {
            f.heap.tables.log.set(logged, top, top + CDR as u32);
            logged += 1;
        }
        f.heap.core.memory.set_data_u64(LOG_LEN, logged);
        f.heap.cycle().slice();
    }
    assert_ne!(f.heap.major.phase(), Phase::Marking);
}
