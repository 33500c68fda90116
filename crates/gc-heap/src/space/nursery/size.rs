//! [`Sizing`]: how much of the nursery is used before it is collected.
//!
//! Emitted code knows the bounds of the largest nursery. The part in use depends on the survival
//! rate and on the time of minor collections. If nearly everything survives, a minor collection is
//! only a pause, and a smaller nursery makes it shorter. If little survives, a larger nursery gives
//! objects more time to die. It becomes larger than the machine's cache only beside many old objects,
//! whose marking takes long and which are in no cache either. No more is used than a minor collection
//! can empty in the time that the heap's options want a pause to take. That time is predicted from the
//! times of the last minor collections. For what takes time whatever is in the nursery (the
//! stack and other roots), the nursery has a minimum.
//!
//! A small nursery does not tell what a larger one would do: objects that would die in it a little
//! later survive. They die as old objects then, and the next major collection finds them dead. So
//! if most of what was promoted is dead, a nursery of four times the size is tried once. If a smaller share
//! survives, this nursery stays, and its collections may take four times as long as a pause should. A trial
//! also follows if a larger share survives in a nursery that has just become smaller.
//!
//! Other rules were worse. To grow beyond the cache only where collections take more than an eighth of
//! the time gained nothing for most programs, and took 1.5 times the memory of `string_build`. To grow only
//! if more than a 16th survives, instead of a 64th, made *binary_trees* take 1.15 of its time.

use gc_types::collector::nursery::{MAX_NURSERY, NURSERY_ALIGN};
use std::sync::OnceLock;
use std::time::Duration;

/// The smallest nursery that the survival rate can give, in bytes. If all of it survives, its
/// collection takes about 0.7 ms.
const MIN_NURSERY: u32 = 3 << 18;
/// The smallest nursery that the time of minor collections can give, or the heap's policy, in bytes. With one of 64 KiB,
/// programs with a gibibyte of live objects took 1.5 times the processor time. With one of 512 KiB, p99.9 of
/// their pauses was 1.7 ms.
pub const MIN_BY_TIME: u32 = 256 << 10;
/// A smaller nursery grows if up to three quarters survive, a larger one if up to a half do.
const SMALL: u32 = 2 << 20;
/// A nursery grows up to this number of sixteenths of one that fits the cache even where so little survives
/// that a larger one gains little.
const USUAL_SIXTEENTHS: u32 = 3;
/// The time in ns to visit a root, or a frame of the stack.
const ROOT_NS: u64 = 10;
/// The least bytes of nursery for each ns that a collection of an empty one would take. A deep stack must
/// not be scanned too often.
const BYTES_OF_NS: u64 = 25;
/// A nursery that does not fit the cache has at most this part of the bytes of the old objects that
/// lived at the last marking.
const PART_OF_LIVE: u64 = 8;
/// From a nursery with fewer bytes nothing is learnt about the time of minor collections.
const LEAST_TELLING: u32 = 64 << 10;
/// The share of a shorter time of minor collections that is learnt from each.
const LEARNED: f64 = 0.5;
/// A trial has a nursery this number of times as large, or as large as a small heap allows. If the trial
/// succeeds, collections may take this number of times the pause target.
const TRIAL: u32 = 4;
/// A trial succeeds if the share of the bytes that survives is less than this part of what it was. With a half,
/// the collections of `persistent_map` took 1.9 times as long.
const GAIN: f64 = 0.75;
/// The most failed trials that are counted. The distance between trials doubles with each.
const MOST_FAILED: u32 = 16;

/// Bytes of a nursery that fits the machine's cache: half of the last-level cache, from 4 to 16 MiB.
/// Larger ones were not faster where the cache is larger.
fn cached_size() -> u32 {
    const LEAST: u64 = 4 << 20;
    const MOST: u64 = 16 << 20;
    static SIZE: OnceLock<u32> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let cache = crate::os::last_level_cache().unwrap_or(2 * MOST);
        (cache / 2).clamp(LEAST, MOST) as u32 / NURSERY_ALIGN * NURSERY_ALIGN
    })
}

/// The most bytes to use of a nursery that may have `end` bytes, if `live` bytes of old objects lived
/// at the last marking.
fn most_size(end: u32, cached: u32, live: u64) -> u32 {
    let of_live = (live / PART_OF_LIVE).min(end.into()) as u32 / NURSERY_ALIGN * NURSERY_ALIGN;
    cached.max(of_live).min(end)
}

/// The initial part in use of a nursery that may have `end` bytes. It is small, because often all that a
/// program allocates at first survives.
pub fn first_size(end: u32) -> u32 {
    MIN_NURSERY.min(end)
}

/// What a collection found in the nursery, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct NurseryUse {
    /// The bytes of all objects.
    pub used: u32,
    /// The bytes of those that are alive.
    pub survived: u64,
    /// The number of roots and of the stack's frames.
    pub roots: u32,
    /// The time of the collection, if it was a minor one and nothing else, and was measured. That of a nursery with few
    /// bytes is not.
    pub took: Option<Duration>,
}

impl NurseryUse {
    /// Whether enough of a nursery of `size` bytes was used for conclusions.
    fn is_telling(self, size: u32) -> bool {
        self.used >= size / 2
    }

    /// The share of the bytes that survived.
    fn share(self) -> f64 {
        self.survived as f64 / f64::from(self.used.max(1))
    }

    /// The time in ns that the collection would have taken with an empty nursery.
    fn fixed(self) -> u64 {
        u64::from(self.roots) * ROOT_NS
    }

    /// `size`, or more if that is too small for what each collection takes anyway.
    pub fn least_size(self, size: u32) -> u32 {
        let least = (self.fixed() * BYTES_OF_NS).min(1 << 31) as u32;
        size.max(least).next_multiple_of(NURSERY_ALIGN)
    }
}

/// The time that minor collections take for each byte of the nursery, beyond what they take anyway.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// In ns. It rises at once and falls slowly.
    of_byte: f64,
}

impl Pace {
    /// Learns from a minor collection.
    fn learn(&mut self, found: NurseryUse) {
        let Some(took) = found.took.filter(|_| found.used >= LEAST_TELLING) else { return };
        let took = took.as_nanos() as f64;
        let variable = (took - found.fixed() as f64).max(took / 8.0);
        let of_byte = variable / f64::from(found.used);
        self.of_byte = of_byte.max(self.of_byte + (of_byte - self.of_byte) * LEARNED);
    }

    /// The bytes of a nursery whose collection is likely to take `target`. What its objects take may
    /// always be as much as what the collection takes anyway.
    fn within(self, target: Duration, fixed: u64) -> u32 {
        let target = u64::try_from(target.as_nanos()).unwrap_or(u64::MAX);
        let rest = target.saturating_sub(fixed).max(fixed);
        let bytes = rest as f64 / self.of_byte.max(f64::MIN_POSITIVE);
        // The conversion saturates.
        (bytes as u32).max(MIN_BY_TIME) / NURSERY_ALIGN * NURSERY_ALIGN
    }
}

/// The next size of a nursery of `size` bytes that may have at most `most` bytes, where `cached` bytes fit
/// the cache.
fn adapted_size(size: u32, cached: u32, most: u32, found: NurseryUse) -> u32 {
    let NurseryUse { survived, .. } = found;
    let used = u64::from(found.used);
    let some = if size < SMALL { used / 4 * 3 } else { used / 2 };
    let usual = cached / 16 * USUAL_SIXTEENTHS / NURSERY_ALIGN * NURSERY_ALIGN;
    let new = if !found.is_telling(size) {
        size
    } else if survived > used / 4 * 3 {
        size / 2
    } else if survived < some {
        let enough = if survived > used / 64 { u32::MAX } else { usual.max(size) };
        size.saturating_mul(2).min(enough)
    } else {
        size
    };
    found.least_size(new.max(MIN_NURSERY)).min(most)
}

/// The most bytes of a nursery of a heap that may have `limit` bytes in use, of which old objects have `taken`. As in
/// Appel's collector (Andrew W. Appel, "Simple Generational Garbage Collection and Fast Allocation", 1989) it may
/// have half of what is free, so that all of it could survive, less an eighth of that for what is lost between old
/// objects. But it may always have a sixteenth of the limit, up to 768 KiB: with a smaller one each collection would
/// find roots for next to nothing.
pub fn most_in_use(limit: u64, taken: u64) -> u32 {
    let free = limit.saturating_sub(taken);
    let most = (free / 2 - free / 16).max(least_in_use(limit));
    most.min(MAX_NURSERY.into()) as u32 / NURSERY_ALIGN * NURSERY_ALIGN
}

/// The old generation does not make the nursery smaller than this, in a heap that may have `limit` bytes in use.
pub fn least_in_use(limit: u64) -> u64 {
    (limit / 16).min(MIN_NURSERY.into())
}

/// Chooses the size of a nursery.
#[derive(Debug, Default)]
pub struct Sizing {
    /// Whether a larger nursery should be tried.
    due: bool,
    /// The size to return to if the trial that is under way fails, and the share of survivors at which it does.
    trial: Option<(u32, f64)>,
    /// If the last trial has succeeded, the share of survivors below which the larger nursery stays.
    proven: Option<f64>,
    /// If the last collection made the nursery smaller, the share that survived in the larger one.
    larger: Option<f64>,
    /// The number of trials in a row that have failed.
    failed: u32,
    /// The number of major collections that are not followed by a trial.
    wait: u32,
    pace: Pace,
    /// What the last minor collection found.
    last: NurseryUse,
}

impl Sizing {
    /// What the last minor collection found.
    pub fn last(&self) -> NurseryUse {
        self.last
    }

    /// The time that a minor collection is likely to take that finds this.
    pub fn expected(&self, found: NurseryUse) -> Duration {
        let ns = self.pace.of_byte * f64::from(found.used);
        Duration::from_nanos(ns as u64 + found.fixed())
    }

    /// Learns from a major collection. `died` bytes of old objects died since the previous one, and
    /// `grown` bytes were promoted.
    pub fn after_major(&mut self, died: u64, grown: u64) {
        if died <= grown / 2 || self.trial.is_some() || self.proven.is_some() {
            return;
        }
        self.due = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
    }

    /// The next size of a nursery of `size` bytes that may have `end` bytes, if `live` bytes of old
    /// objects lived at the last marking, and a pause should take `target`.
    pub fn next(
        &mut self,
        size: u32,
        end: u32,
        live: u64,
        target: Duration,
        found: NurseryUse,
    ) -> u32 {
        let cached = cached_size();
        self.last = found;
        self.pace.learn(found);
        if let Some(share) = self.proven
            && found.is_telling(size)
            && found.share() >= share
        {
            self.proven = None;
        }
        let target = if self.proven.is_some() { target.saturating_mul(TRIAL) } else { target };
        let in_time = self.pace.within(target, found.fixed());
        self.next_with(size, cached, most_size(end, cached, live), in_time, found)
    }

    /// As [`next`](Sizing::next), if a nursery has at most `most` bytes, and is likely to be collected in
    /// time if it has at most `in_time`. A trial takes longer.
    fn next_with(
        &mut self,
        size: u32,
        cached: u32,
        most: u32,
        in_time: u32,
        found: NurseryUse,
    ) -> u32 {
        if let Some((before, share)) = self.trial {
            if !found.is_telling(size) {
                return found.least_size(size).min(most);
            }
            self.trial = None;
            if found.share() >= share {
                self.failed = (self.failed + 1).min(MOST_FAILED);
                self.wait = 1 << self.failed;
                return found.least_size(before).min(most).min(in_time);
            }
            self.failed = 0;
            self.proven = Some(share);
            return found.least_size(size).min(most);
        }
        let new = adapted_size(size, cached, most, found).min(in_time);
        if found.is_telling(size) {
            let larger = self.larger.take();
            let gained = larger.is_some_and(|share| share < found.share() * GAIN);
            self.due |= gained && self.wait == 0 && self.proven.is_none();
            self.larger = (new < size).then(|| found.share());
        }
        let tried = new.saturating_mul(TRIAL).min(cached).min(most);
        if std::mem::take(&mut self.due) && new <= tried / 2 {
            // If the same share survives, the larger nursery gains nothing.
            self.trial = Some((new, found.share().min(1.0) * GAIN));
            return tried;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;
    const CACHED: u32 = 16 * MIB;

    /// What a collection found, which took no time.
    fn found(used: u32, survived: u32) -> NurseryUse {
        NurseryUse { used, survived: survived.into(), ..NurseryUse::default() }
    }

    fn adapt(size: u32, most: u32, used: u32, survived: u32, roots: u32) -> u32 {
        adapted_size(size, CACHED, most, NurseryUse { roots, ..found(used, survived) })
    }

    #[test]
    fn a_nursery_shrinks_where_all_survives_and_grows_where_some_does() {
        let full = |survived| adapt(4 * MIB, CACHED, 4 * MIB, survived, 0);
        assert_eq!(full(4 * MIB), 2 * MIB);
        assert_eq!(full(3 * MIB + 1), 2 * MIB);
        assert_eq!([full(3 * MIB), full(2 * MIB), full(MIB / 16)], [4 * MIB; 3]);
        assert_eq!([full(2 * MIB - 1), full(MIB / 16 + 1)], [8 * MIB; 2]);
        assert_eq!(adapt(12 * MIB, CACHED, 12 * MIB, MIB, 0), CACHED);
        // If next to nothing survives, it grows to three sixteenths of what fits the cache.
        let nothing = |size: u32| adapt(size, CACHED, size, 0, 0);
        assert_eq!([nothing(MIB), nothing(2 * MIB)], [2 * MIB, 3 * MIB]);
        assert_eq!([nothing(3 * MIB), nothing(5 * MIB)], [3 * MIB, 5 * MIB]);
        // A small one grows if a little more survives.
        assert_eq!(adapt(MIB, CACHED, MIB, MIB, 0), MIN_NURSERY);
        assert_eq!(adapt(MIN_NURSERY, CACHED, MIN_NURSERY, MIN_NURSERY, 0), MIN_NURSERY);
        assert_eq!(adapt(MIB, CACHED, MIB, MIB / 4 * 3 - 1, 0), 2 * MIB);
        // In a heap with a small nursery, and half full.
        assert_eq!(adapt(MIB / 4, MIB / 4, MIB / 4, MIB / 4, 0), MIB / 4);
        assert_eq!(adapt(4 * MIB, CACHED, 2 * MIB - 1, 2 * MIB, 0), 4 * MIB);
        // With a deep stack.
        let deep = |roots| adapt(MIB, CACHED, MIB, MIB, roots);
        let some = (10_000 * ROOT_NS * BYTES_OF_NS) as u32;
        let some = some.next_multiple_of(NURSERY_ALIGN);
        assert_eq!([deep(100), deep(10_000), deep(u32::MAX)], [MIN_NURSERY, some, CACHED]);
        let first = [first_size(64 * MIB), first_size(2 * MIB), first_size(0)];
        assert_eq!(first, [MIN_NURSERY, MIN_NURSERY, 0]);
    }

    #[test]
    fn a_nursery_outgrows_the_cache_only_beside_many_old_objects() {
        let most = |live: u32| most_size(64 * MIB, CACHED, u64::from(live) * u64::from(MIB));
        assert_eq!([most(0), most(128), most(256), most(4000)].map(|n| n / MIB), [16, 16, 32, 64]);
        assert_eq!(most_size(8 * MIB, CACHED, 4000 << 20), 8 * MIB);
    }

    #[test]
    fn a_nursery_is_as_large_as_it_can_be_collected_in_time() {
        let mut sizing = Sizing::default();
        let (end, live) = (64 * MIB, 4000 << 20);
        let mut next = |size: u32, us: u64, target: u64, found: NurseryUse| {
            let took = Some(Duration::from_micros(us));
            let target = Duration::from_micros(target);
            sizing.next(size, end, live, target, NurseryUse { took, ..found })
        };
        let half = |size: u32| found(size, size / 2 - 1);
        // It is halved where a collection takes twice as long as it should, to a limit.
        assert_eq!(next(8 * MIB, 2000, 1000, half(8 * MIB)), 4 * MIB);
        assert_eq!(next(4 * MIB, 1000, 500, half(4 * MIB)), 2 * MIB);
        assert_eq!(next(2 * MIB, 9000, 500, half(2 * MIB)), MIN_BY_TIME);
        assert_eq!(next(MIN_BY_TIME, 9000, 0, half(MIN_BY_TIME)), MIN_BY_TIME);
        // It grows slowly when collections take less time.
        let mut size = MIN_BY_TIME;
        let sizes: Vec<u32> = (0..40)
            .map(|_| {
                size = next(size, 10, 500, half(size));
                size
            })
            .collect();
        assert!(sizes.is_sorted() && sizes[0] < MIB && sizes[39] == 64 * MIB, "{sizes:?}");
        // A collection of a few bytes tells nothing.
        assert_eq!(next(64 * MIB, 9000, 500, found(4096, 4096)), 64 * MIB);
    }

    #[test]
    fn what_a_collection_takes_anyway_is_not_blamed_on_the_nursery() {
        let mut sizing = Sizing::default();
        let mut next = |us: u64, roots: u32| {
            let took = Some(Duration::from_micros(us));
            let found = NurseryUse { roots, took, ..found(4 * MIB, MIB) };
            sizing.next(4 * MIB, 64 * MIB, 0, Duration::from_micros(500), found)
        };
        // 200 µs of 700 are for the stack, 300 are for the nursery.
        let roots = (200_000 / ROOT_NS) as u32;
        assert_eq!(next(700, roots), 4 * MIB / 5 * 3 / NURSERY_ALIGN * NURSERY_ALIGN);
        // A deep stack alone takes longer than a pause should. As much is spent for the nursery.
        let roots = (2_000_000 / ROOT_NS) as u32;
        assert_eq!(next(2500, roots), cached_size());
    }

    #[test]
    fn collections_of_a_nursery_that_gains_may_take_longer() {
        let mut sizing = Sizing { due: true, ..Sizing::default() };
        let mut next = |size: u32, us: u64, survived: u32| {
            let took = Some(Duration::from_micros(us));
            let found = NurseryUse { took, ..found(size, survived) };
            sizing.next(size, 64 * MIB, 0, Duration::from_micros(500), found)
        };
        // A quarter survives in a nursery of four times the size, instead of a half.
        let tried = next(MIB, 500, MIB / 2 - 1);
        assert!((tried / NURSERY_ALIGN).abs_diff(4 * MIB / NURSERY_ALIGN) <= 4, "{tried}");
        assert_eq!(next(tried, 1600, tried / 4), tried);
        for _ in 0..10 {
            assert!(next(tried, 1600, tried / 4) >= tried);
        }
        // As much survives as before.
        assert!(next(tried, 1600, tried / 2) < 2 * MIB);
    }

    #[test]
    fn a_larger_nursery_is_tried_where_more_survives_a_smaller_one() {
        let large = found(4 * MIB, 2 * MIB);
        for (wait, proven, survived, next) in [
            (0, None, MIB / 4 * 3, 4 * MIB),
            (0, None, MIB / 2, MIB),
            // The last trial has failed.
            (1, None, MIB / 4 * 3, MIB),
            // A trial has succeeded.
            (0, Some(1.0), MIB / 4 * 3, MIB),
        ] {
            let mut sizing = Sizing { wait, proven, ..Sizing::default() };
            assert_eq!(sizing.next_with(4 * MIB, CACHED, CACHED, MIB, large), MIB);
            let small = found(MIB, survived);
            assert_eq!(sizing.next_with(MIB, CACHED, CACHED, MIB, small), next, "{sizing:?}");
        }
    }

    #[test]
    fn a_larger_nursery_is_tried_where_old_objects_die_soon() {
        let mut sizing = Sizing::default();
        let next = |sizing: &mut Sizing, size: u32, survived: u32| {
            sizing.next_with(size, CACHED, CACHED, CACHED, found(size, survived))
        };
        // Nothing is tried where what was promoted lives.
        sizing.after_major(10, 20);
        assert_eq!(next(&mut sizing, MIN_NURSERY, MIN_NURSERY), MIN_NURSERY);
        // As much survives of a larger one: the next trials are later and later.
        let mut trials = Vec::new();
        for major in 0..40 {
            sizing.after_major(20, 20);
            let tried = next(&mut sizing, MIN_NURSERY, MIN_NURSERY);
            if tried != MIN_NURSERY {
                assert_eq!(tried, 4 * MIN_NURSERY);
                trials.push(major);
                assert_eq!(next(&mut sizing, tried, tried), MIN_NURSERY);
            }
        }
        assert_eq!(trials, [0, 3, 8, 17, 34]);
        // Less survives of a larger one: it stays, and the next trial is not late.
        sizing.wait = 0;
        sizing.after_major(20, 20);
        assert_eq!(next(&mut sizing, MIN_NURSERY, MIN_NURSERY), 4 * MIN_NURSERY);
        assert_eq!(next(&mut sizing, 4 * MIN_NURSERY, MIN_NURSERY), 4 * MIN_NURSERY);
        assert_eq!((sizing.failed, sizing.trial), (0, None));
        // No other trial follows as long as that holds.
        sizing.after_major(20, 20);
        assert!(!sizing.due && sizing.proven.is_some());
        // As large a share survives, though it is a small one.
        sizing.proven = None;
        let share = |size: u32| size / 16 * 7;
        sizing.after_major(20, 20);
        assert_eq!(next(&mut sizing, MIN_NURSERY, share(MIN_NURSERY)), 4 * 2 * MIN_NURSERY);
        let tried = 8 * MIN_NURSERY;
        assert_eq!(next(&mut sizing, tried, share(tried)), 2 * MIN_NURSERY);
        assert_eq!((sizing.failed, sizing.trial), (1, None));
        // A trial with too few objects goes on.
        let trial = Some((MIN_NURSERY, 0.5));
        let mut sizing = Sizing { trial, ..Sizing::default() };
        let all = found(MIN_NURSERY, MIN_NURSERY);
        assert_eq!(sizing.next_with(4 * MIN_NURSERY, CACHED, CACHED, CACHED, all), 4 * MIN_NURSERY);
        assert_eq!(sizing.trial, trial);
        // Half of it is used, and as large a share survives.
        let half = found(2 * MIN_NURSERY, 2 * MIN_NURSERY);
        assert_eq!(sizing.next_with(4 * MIN_NURSERY, CACHED, CACHED, CACHED, half), MIN_NURSERY);
        assert_eq!((sizing.failed, sizing.proven), (1, None));
        // None is tried that would not fit the cache, and no less than twice as much.
        for (size, tried) in [(8 * MIB, CACHED), (9 * MIB, 9 * MIB)] {
            sizing = Sizing { due: true, ..Sizing::default() };
            assert_eq!(next(&mut sizing, size, size / 8 * 5), tried);
        }
        // From one that is as large as time allows, four times that.
        sizing = Sizing { due: true, ..Sizing::default() };
        let half = found(2 * MIB, MIB - 1);
        assert_eq!(sizing.next_with(2 * MIB, CACHED, CACHED, MIB, half), 4 * MIB);
        assert_eq!(sizing.trial.map(|(before, _)| before), Some(MIB));
        // In a small heap as much is tried as there is room for, if it is twice as much.
        for (most, tried) in
            [(3 * MIN_NURSERY, 3 * MIN_NURSERY), (MIN_NURSERY + MIN_NURSERY / 2, MIN_NURSERY)]
        {
            sizing = Sizing { due: true, ..Sizing::default() };
            assert_eq!(sizing.next_with(MIN_NURSERY, CACHED, most, CACHED, all), tried);
        }
    }
}
