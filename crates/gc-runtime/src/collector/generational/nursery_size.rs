//! How much of the nursery is used before it is collected.
//!
//! Emitted code knows the bounds of the largest nursery. The part in use depends on the survival
//! rate. If nearly everything survives, a minor collection is only a pause, and a smaller nursery
//! makes it shorter. If little survives, a larger nursery gives objects more time to die. It becomes
//! larger than the machine's cache only beside many old objects, whose marking takes long and which
//! are in no cache either.
//!
//! A small nursery does not tell what a larger one would do: objects that would die in it a little
//! later survive. They die as old objects then, and the next major collection finds them dead. So
//! if most of what was promoted is dead, a nursery of four times the size is tried once.
//!
//! Other rules were worse. To grow beyond the cache only where collections take more than an eighth of
//! the time gained nothing for most programs, and took 1.5 times the memory of `string_build`. To grow only
//! if more than a 16th survives, instead of a 64th, made *binary_trees* take 1.15 of its time. For small
//! heaps, a nursery of a quarter of the maximum instead of an eighth made `lru` take 0.82 of its time. But
//! a heap of 1 MiB then holds 785 KB of small live objects instead of some 920 KB.

use gc_types::collector::generational::NURSERY_ALIGN;
use std::sync::OnceLock;

/// The smallest nursery that the survival rate can give, in bytes. If all of it survives, its
/// collection takes about 0.7 ms.
const MIN_NURSERY: u32 = 3 << 18;
/// A smaller nursery grows if up to three quarters survive, a larger one if up to a half do.
const SMALL: u32 = 2 << 20;
/// A new heap uses this number of sixteenths of a nursery that fits the cache. Often all that a
/// program allocates at first survives, and the first minor collection is the longest.
const FIRST_SIXTEENTHS: u32 = 3;
/// The least bytes of nursery for each root. Each collection scans the whole stack, and a deep
/// stack must not be scanned too often. To scan a frame takes about 10 ns.
const BYTES_OF_ROOT: u32 = 256;
/// A nursery that does not fit the cache has at most this part of the bytes of the old objects that
/// lived at the last marking.
const PART_OF_LIVE: u64 = 8;
/// A nursery that does not fit the cache may have at most this number of bytes that survive. Moving
/// them takes about a nanosecond for each byte.
const MOST_SURVIVORS: u64 = 4 << 20;
/// A trial has a nursery this number of times as large, or as large as a small heap allows.
const TRIAL: u32 = 4;
/// The most failed trials that are counted. The distance between trials doubles with each.
const MOST_FAILED: u32 = 16;

/// Bytes of a nursery that fits the machine's cache: half of the last-level cache, from 4 to 16 MiB.
/// Larger ones were not faster where the cache is larger.
fn cached_size() -> u32 {
    const LEAST: u64 = 4 << 20;
    const MOST: u64 = 16 << 20;
    static SIZE: OnceLock<u32> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let cache = crate::memory::last_level_cache().unwrap_or(2 * MOST);
        (cache / 2).clamp(LEAST, MOST) as u32 / NURSERY_ALIGN * NURSERY_ALIGN
    })
}

/// The most bytes to use of a nursery that may have `end` bytes, if `live` bytes of old objects lived
/// at the last marking.
fn most_size(end: u32, cached: u32, live: u64) -> u32 {
    let of_live = (live / PART_OF_LIVE).min(end.into()) as u32 / NURSERY_ALIGN * NURSERY_ALIGN;
    cached.max(of_live).min(end)
}

/// The initial part in use of a nursery that may have `end` bytes.
pub(super) fn first_size(end: u32) -> u32 {
    let size = end.min(cached_size()) / 16 * FIRST_SIXTEENTHS / NURSERY_ALIGN * NURSERY_ALIGN;
    size.max(MIN_NURSERY).min(end)
}

/// `size`, or more if that is too small for a heap with `roots` roots.
pub(super) fn least_size(size: u32, roots: u32) -> u32 {
    let least = roots.saturating_mul(BYTES_OF_ROOT).clamp(MIN_NURSERY, 1 << 31);
    size.max(least).next_multiple_of(NURSERY_ALIGN)
}

/// What a collection found in the nursery.
#[derive(Clone, Copy, Debug)]
pub(super) struct NurseryUse {
    /// The bytes of all objects.
    pub(super) used: u32,
    /// The bytes of those that are alive.
    pub(super) survived: u64,
    /// The number of roots.
    pub(super) roots: u32,
}

impl NurseryUse {
    /// Whether enough of a nursery of `size` bytes was used for conclusions.
    fn is_telling(self, size: u32) -> bool {
        self.used >= size / 2
    }
}

/// The next size of a nursery of `size` bytes that may have at most `most` bytes, of which `cached`
/// fit the cache.
fn adapted_size(size: u32, cached: u32, most: u32, found: NurseryUse) -> u32 {
    let NurseryUse { survived, roots, .. } = found;
    let used = u64::from(found.used);
    let doubled = size.saturating_mul(2);
    let most = if doubled <= cached || 2 * survived <= MOST_SURVIVORS {
        most
    } else {
        // The next collection would be too long a pause.
        let fits = if survived > MOST_SURVIVORS { size / 2 } else { size };
        most.min(cached.max(fits))
    };
    let some = if size < SMALL { used / 4 * 3 } else { used / 2 };
    let new = if !found.is_telling(size) {
        size
    } else if survived > used / 4 * 3 {
        size / 2
    } else if survived < some && survived > used / 64 {
        doubled
    } else {
        size
    };
    least_size(new, roots).min(most)
}

/// Chooses the size of a nursery.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    /// Whether a larger nursery should be tried.
    due: bool,
    /// The size to return to if the trial that is under way fails.
    trial: Option<u32>,
    /// The number of trials in a row that have failed.
    failed: u32,
    /// The number of major collections that are not followed by a trial.
    wait: u32,
}

impl Sizing {
    /// Learns from a major collection. `died` bytes of old objects died since the previous one, and
    /// `grown` bytes were promoted.
    pub(super) fn after_major(&mut self, died: u64, grown: u64) {
        if died <= grown / 2 || self.trial.is_some() {
            return;
        }
        self.due = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
    }

    /// The next size of a nursery of `size` bytes that may have `end` bytes, if `live` bytes of old
    /// objects lived at the last marking.
    pub(super) fn next(&mut self, size: u32, end: u32, live: u64, found: NurseryUse) -> u32 {
        let cached = cached_size();
        self.next_with(size, cached, most_size(end, cached, live), found)
    }

    fn next_with(&mut self, size: u32, cached: u32, most: u32, found: NurseryUse) -> u32 {
        if let Some(before) = self.trial {
            if !found.is_telling(size) {
                return least_size(size, found.roots).min(most);
            }
            self.trial = None;
            if found.survived >= u64::from(found.used / 2) {
                self.failed = (self.failed + 1).min(MOST_FAILED);
                self.wait = 1 << self.failed;
                return least_size(before, found.roots).min(most);
            }
            self.failed = 0;
        }
        let new = adapted_size(size, cached, most, found);
        let mut tried = new.saturating_mul(TRIAL);
        if most < cached {
            // A small heap has no room for more.
            tried = tried.min(most);
        }
        if std::mem::take(&mut self.due) && tried <= cached && new <= tried / 2 {
            self.trial = Some(new);
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

    fn adapt(size: u32, most: u32, used: u32, survived: u32, roots: u32) -> u32 {
        adapted_size(size, CACHED, most, NurseryUse { used, survived: survived.into(), roots })
    }

    #[test]
    fn a_nursery_shrinks_where_all_survives_and_grows_where_some_does() {
        let full = |survived| adapt(4 * MIB, CACHED, 4 * MIB, survived, 0);
        assert_eq!(full(4 * MIB), 2 * MIB);
        assert_eq!(full(3 * MIB + 1), 2 * MIB);
        assert_eq!([full(3 * MIB), full(2 * MIB), full(MIB / 16)], [4 * MIB; 3]);
        assert_eq!([full(2 * MIB - 1), full(MIB / 16 + 1)], [8 * MIB; 2]);
        assert_eq!(adapt(12 * MIB, CACHED, 12 * MIB, MIB, 0), CACHED);
        // A small one grows if a little more survives.
        assert_eq!(adapt(MIB, CACHED, MIB, MIB, 0), MIN_NURSERY);
        assert_eq!(adapt(MIN_NURSERY, CACHED, MIN_NURSERY, MIN_NURSERY, 0), MIN_NURSERY);
        assert_eq!(adapt(MIB, CACHED, MIB, MIB / 4 * 3 - 1, 0), 2 * MIB);
        // In a heap with a small nursery, and half full.
        assert_eq!(adapt(MIB / 4, MIB / 4, MIB / 4, MIB / 4, 0), MIB / 4);
        assert_eq!(adapt(4 * MIB, CACHED, 2 * MIB - 1, 2 * MIB, 0), 4 * MIB);
        // With a deep stack.
        let deep = |roots| adapt(MIB, CACHED, MIB, MIB, roots);
        let some = 10_000 * BYTES_OF_ROOT;
        assert_eq!([deep(100), deep(10_000), deep(u32::MAX)], [MIN_NURSERY, some, CACHED]);
        let first = [first_size(64 * MIB), first_size(2 * MIB), first_size(0)];
        assert_eq!(first, [cached_size() / 16 * 3, MIN_NURSERY, 0]);
    }

    #[test]
    fn a_nursery_outgrows_the_cache_only_beside_many_old_objects() {
        let most = |live: u32| most_size(64 * MIB, CACHED, u64::from(live) * u64::from(MIB));
        assert_eq!([most(0), most(128), most(256), most(4000)].map(|n| n / MIB), [16, 16, 32, 64]);
        assert_eq!(most_size(8 * MIB, CACHED, 4000 << 20), 8 * MIB);
        // It grows as long as what survives of it is moved quickly, and shrinks otherwise.
        let size = |size, survived| adapt(size * MIB, 64 * MIB, size * MIB, survived, 0) / MIB;
        assert_eq!([size(16, MIB), size(16, 2 * MIB), size(16, 3 * MIB)], [32, 32, 16]);
        assert_eq!([size(32, 2 * MIB), size(32, 4 * MIB), size(32, 5 * MIB)], [64, 32, 16]);
        // A nursery that fits the cache is not concerned.
        assert_eq!(size(8, 7 * MIB / 2), 16);
    }

    #[test]
    fn a_larger_nursery_is_tried_where_old_objects_die_soon() {
        let mut sizing = Sizing::default();
        let next = |sizing: &mut Sizing, size: u32, survived: u32| {
            let found = NurseryUse { used: size, survived: survived.into(), roots: 0 };
            sizing.next_with(size, CACHED, CACHED, found)
        };
        let all = |size| size;
        // Nothing is tried where what was promoted lives.
        sizing.after_major(10, 20);
        assert_eq!(next(&mut sizing, MIN_NURSERY, all(MIN_NURSERY)), MIN_NURSERY);
        // As much survives of a larger one: the next trials are later and later.
        let mut trials = Vec::new();
        for major in 0..40 {
            sizing.after_major(20, 20);
            let tried = next(&mut sizing, MIN_NURSERY, all(MIN_NURSERY));
            if tried != MIN_NURSERY {
                assert_eq!(tried, 4 * MIN_NURSERY);
                trials.push(major);
                assert_eq!(next(&mut sizing, tried, all(tried)), MIN_NURSERY);
            }
        }
        assert_eq!(trials, [0, 3, 8, 17, 34]);
        // Less survives of a larger one: it stays, and the next trial is not late.
        sizing.wait = 0;
        sizing.after_major(20, 20);
        assert_eq!(next(&mut sizing, MIN_NURSERY, all(MIN_NURSERY)), 4 * MIN_NURSERY);
        assert_eq!(next(&mut sizing, 4 * MIN_NURSERY, MIN_NURSERY), 8 * MIN_NURSERY);
        assert_eq!((sizing.failed, sizing.trial), (0, None));
        // A trial with too few objects goes on.
        let mut sizing = Sizing { trial: Some(MIN_NURSERY), ..Sizing::default() };
        let found = NurseryUse { used: MIN_NURSERY, survived: MIN_NURSERY.into(), roots: 0 };
        assert_eq!(sizing.next_with(4 * MIN_NURSERY, CACHED, CACHED, found), 4 * MIN_NURSERY);
        assert_eq!(sizing.trial, Some(MIN_NURSERY));
        // None is tried that would not fit the cache.
        sizing = Sizing { due: true, ..Sizing::default() };
        assert_eq!(next(&mut sizing, 8 * MIB, 5 * MIB), 8 * MIB);
        // In a small heap as much is tried as there is room for, if it is twice as much.
        for (most, tried) in
            [(3 * MIN_NURSERY, 3 * MIN_NURSERY), (MIN_NURSERY + MIN_NURSERY / 2, MIN_NURSERY)]
        {
            sizing = Sizing { due: true, ..Sizing::default() };
            let found = NurseryUse { used: MIN_NURSERY, survived: MIN_NURSERY.into(), roots: 0 };
            assert_eq!(sizing.next_with(MIN_NURSERY, CACHED, most, found), tried);
        }
    }
}
