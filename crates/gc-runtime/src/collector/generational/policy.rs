//! The policy of the generational heap: the choice of collections, the size of the nursery, and the
//! memory that is mapped and given back.
//!
//! A full nursery is collected. The heap's growth policy decides whether more is collected: the
//! goal of its plan is the size of the old generation at which marking begins.
//!
//! Emitted code knows the bounds of the largest nursery. The part in use depends on the survival
//! rate. If nearly everything survives, a minor collection is only a pause, and a smaller nursery
//! makes it shorter. If little survives, a larger nursery gives objects more time to die. It becomes
//! larger than the machine's cache only beside many old objects, whose marking takes long and which
//! are in no cache either.

use super::GenerationalHeap;
use super::major::Phase;
use crate::object::by_halves;
use crate::space::blocks::{BLOCK_SIZE, GiveBack};
use crate::{GcHeap, HeapError};
use gc_types::collector::generational::{MAX_NURSERY, NURSERY_ALIGN, NURSERY_START};
use std::sync::OnceLock;

/// The smallest nursery that the survival rate can give, in bytes.
const MIN_NURSERY: u32 = 1 << 20;
/// The least bytes of nursery for each root. Each collection scans the whole stack, and a deep
/// stack must not be scanned too often.
const BYTES_OF_ROOT: u32 = 256;
/// The smallest nursery in bytes when no more memory can be mapped.
const MIN_MAPPED: u32 = 64 << 10;
/// A new heap uses a nursery that fits the cache, divided by this.
const FIRST_PART: u32 = 4;
/// A nursery that does not fit the cache has at most this part of the bytes of the old objects that
/// lived at the last marking.
const PART_OF_LIVE: u64 = 8;
/// A nursery that does not fit the cache may have at most this number of bytes that survive. Moving
/// them takes about a nanosecond for each byte.
const MOST_SURVIVORS: u64 = 4 << 20;
/// Where fewer bytes survive a minor collection, memory for more is not touched ahead, in bytes.
const LEAST_AHEAD: u64 = 256 << 10;
/// The most memory of the old generation that is touched ahead, in bytes.
const MOST_AHEAD: u64 = 8 << 20;
/// Bytes of a nursery that is used for the first time after which its rest is touched ahead.
const USED_ALONE: u32 = 1 << 20;
/// Number of blocks that a slice gives back between two reads of the clock.
const GIVEN_BACK: u32 = 16;

/// Bytes of a nursery that fits the machine's cache: half of the last-level cache, from 4 to 16 MiB.
/// Larger ones were not faster where the cache is larger.
fn cached_size() -> u32 {
    static SIZE: OnceLock<u32> = OnceLock::new();
    const LEAST: u64 = 4 << 20;
    const MOST: u64 = 16 << 20;
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

/// The initial part in use of a nursery that may have `size` bytes.
pub(super) fn first_size(size: u32) -> u32 {
    (size.min(cached_size()) / FIRST_PART).max(MIN_NURSERY).min(size)
}

/// The new size of a nursery of `size` bytes that may have at most `most` bytes, after a collection
/// with `roots` roots that found `survived` of `used` bytes alive. `cached` bytes fit the cache.
fn adapted_size(
    size: u32,
    cached: u32,
    most: u32,
    used: u32,
    survived: u64,
    roots: u32,
) -> u32 {
    let (full, used) = (used >= size / 2, u64::from(used));
    let doubled = size.saturating_mul(2);
    let most = if doubled > cached && 2 * survived > MOST_SURVIVORS {
        // The next collection would be too long a pause.
        most.min(cached.max(if survived > MOST_SURVIVORS { size / 2 } else { size }))
    } else {
        most
    };
    // The survival rate of a nursery that was not full shows little.
    let new = if full && survived > used / 4 * 3 {
        size / 2
    } else if full && survived < used / 2 && survived > used / 64 {
        doubled
    } else {
        size
    };
    let least = roots.saturating_mul(BYTES_OF_ROOT).clamp(MIN_NURSERY, 1 << 31);
    new.max(least).next_multiple_of(NURSERY_ALIGN).min(most)
}

impl GenerationalHeap {
    /// Bytes of the nursery that are used before it is collected.
    pub(super) fn nursery_size(&self) -> u32 {
        self.nursery.limit - NURSERY_START
    }

    /// Sizes the empty nursery from the bytes that survived and the number of roots.
    pub(super) fn adapt_nursery(&mut self, used: u32, survived: u64, roots: u32) {
        let (end, cached) = (self.nursery.end - NURSERY_START, cached_size());
        let most = most_size(end, cached, self.core.live);
        let mut size = adapted_size(self.nursery_size(), cached, most, used, survived, roots);
        if self.core.asked {
            // Use as little memory as possible.
            size = size.min(adapted_size(first_size(end), cached, most, 0, 0, roots));
        }
        if self.cramped {
            let mapped = self.core.memory.usable().saturating_sub(self.core.set_aside);
            let most = (mapped / 8).clamp(MIN_MAPPED.into(), MAX_NURSERY.into()) as u32;
            size = size.min(most.next_multiple_of(NURSERY_ALIGN));
        }
        self.size_nursery(size);
        self.give_unused_back();
    }

    /// Lets the system provide the memory that the survivors of the next minor collections need.
    pub(super) fn touch_old_ahead(&mut self) {
        if self.survived >= LEAST_AHEAD {
            let wanted = (4 * self.survived).min(MOST_AHEAD);
            let wanted = wanted.saturating_sub(self.old.recyclable_bytes());
            self.old.blocks.touch_ahead(&self.core.memory, wanted);
        }
    }

    /// Lets the system provide the memory for the rest of a nursery that is used for the first
    /// time up to `touched`.
    pub(super) fn touch_nursery_ahead(&mut self, touched: u32) {
        let limit = self.nursery.limit;
        if touched >= NURSERY_START + USED_ALONE && self.nursery.asked < limit {
            self.core.memory.touch_ahead(touched.into(), u64::from(limit.saturating_sub(touched)));
            self.nursery.asked = limit;
        }
    }

    /// Gives back the part of the nursery that is no longer used.
    fn give_unused_back(&mut self) {
        let limit = self.nursery.limit;
        let unused = self.nursery.touched.saturating_sub(limit);
        if unused > 0 {
            let _mapped = self.core.memory.give_back(limit.into(), unused.into());
            self.nursery.touched = limit;
            self.nursery.asked = self.nursery.asked.min(limit);
        }
    }

    /// Makes `size` bytes of the nursery usable, unless the policy refuses.
    pub(super) fn size_nursery(&mut self, size: u32) {
        let more = size.saturating_sub(self.nursery_size());
        if self.core.admit(more.into()).is_ok() {
            self.core.use_admitted(more.into());
            self.nursery.limit = NURSERY_START + size;
            self.take_mapped();
        }
    }

    /// Mapped bytes without memory: given back, or never touched.
    pub(super) fn unbacked(&self) -> u64 {
        let mapped = self.core.memory.len().min(u64::from(self.nursery.end));
        let used = self.nursery.limit.max(self.nursery.touched);
        self.old.blocks.given_back() + mapped.saturating_sub(u64::from(used))
    }

    /// The bytes of the heap's objects.
    pub(super) fn used_bytes(&self) -> u64 {
        self.old.total.bytes + u64::from(self.nursery_used())
    }

    /// Whether a collection is likely to be worth its cost when an allocation finds no room.
    pub(super) fn collection_pays(&self) -> bool {
        if self.major_is_due() {
            return true;
        }
        if self.large_wanted {
            return matches!(self.phase, Phase::Idle | Phase::GivingBack(_))
                && self.marking_is_due();
        }
        self.nursery.is_mapped(self.core.memory.len())
            && self.has_room_for_minor()
            && (self.grown || !self.nursery.retains())
    }

    /// Bytes that a minor collection now is likely to need in the old generation.
    pub(super) fn expected(&self) -> u64 {
        if self.nursery.retains() {
            return self.nursery.retained_bytes;
        }
        let used = u64::from(self.nursery_used());
        (self.survived * 3 / 2).max(used / 16).min(used)
    }

    /// The bytes that the old generation must have in addition to contain as many objects as the plan
    /// says. `None` if the plan says nothing.
    pub(super) fn wanted(&self) -> Option<u64> {
        let goal = self.core.plan.goal;
        let old = u64::from(self.old.blocks.end() - self.old.blocks.start());
        (goal != u64::MAX).then(|| goal.saturating_sub(old))
    }

    /// Whether the old generation has room for the expected survivors of a minor collection.
    pub(super) fn has_room_for_minor(&self) -> bool {
        self.old.free_bytes() >= self.expected()
    }

    /// Maps `bytes` more bytes for the old generation. If that is refused, tries half of it, down
    /// to `least`. The unmapped part of the nursery before them is mapped too.
    pub(super) fn map_old(&mut self, bytes: u64, least: u64) -> Result<u64, HeapError> {
        let mut unmapped = u64::from(self.nursery.limit).saturating_sub(self.core.memory.len());
        if self.core.admit(unmapped).is_err() {
            self.nursery.limit = self.core.memory.len() as u32;
            unmapped = 0;
        }
        let grown = by_halves(bytes, least, |step| {
            let gap = u64::from(self.nursery.end).saturating_sub(self.core.memory.len());
            self.core.grow_behind(gap, step, unmapped)
        });
        // It is part of the gap.
        self.core.use_admitted(unmapped);
        let grown = match grown {
            Err(error @ HeapError::Refused { .. }) => self.share_mapped(least).ok_or(error),
            grown => grown,
        };
        self.cramped = grown.is_err();
        self.take_mapped();
        grown
    }

    /// Ensures that a new heap that is only a nursery will have memory for survivors: half of the
    /// nursery's size, or a third of the mapped memory if no more may be mapped.
    pub(super) fn leave_room_for_old(&mut self, size: u32) {
        let mapped = self.core.memory.usable();
        let needed = u64::from(self.handed_out()) + u64::from(size);
        let is_all = self.core.memory.len() <= self.nursery.end.into();
        if is_all && needed > u64::from(NURSERY_START) + mapped / 3 * 2 {
            let missing = (mapped / 2).saturating_sub(self.core.admitted());
            if self.core.admit(missing).is_err() && self.share_mapped(0).is_some() {
                self.take_mapped();
            }
        }
    }

    /// Moves a part of the nursery to the old generation, if the nursery is all or most of the
    /// heap: a third, or `least` bytes if that is more. Returns the number of bytes. `None` if not
    /// enough is free, or too little nursery would remain.
    fn share_mapped(&mut self, least: u64) -> Option<u64> {
        let (len, end) = (self.core.memory.len(), u64::from(self.nursery.end));
        let top = if len > end { self.nursery.limit.into() } else { len };
        let size = top - u64::from(NURSERY_START);
        let part = (size / 3).max(least).checked_next_multiple_of(BLOCK_SIZE.into())?;
        let limit = u32::try_from(top.checked_sub(part)?).ok()?;
        let left = (size / 3).min(MIN_MAPPED.into()) as u32;
        let old = len.saturating_sub(end);
        if old >= size || limit < self.handed_out().max(NURSERY_START + left) {
            return None;
        }
        let gap = end.saturating_sub(len);
        // This maps more memory, but the heap does not use more.
        let grown = self.core.memory.grow(gap + part).ok()?;
        self.nursery.limit = self.nursery.limit.min(limit);
        self.give_unused_back();
        Some(grown.saturating_sub(gap))
    }

    /// Maps up to `bytes` more bytes for the nursery, if half as much will be available for its
    /// survivors. Otherwise the nursery keeps its size.
    pub(super) fn map_nursery(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let len = self.core.memory.len();
        let mapped = len.saturating_sub(NURSERY_START.into());
        let more = bytes.min(u64::from(self.nursery.limit).saturating_sub(len));
        let grown = self.core.grow_behind(0, more, (mapped + more) / 2);
        if grown.is_err() && mapped >= MIN_MAPPED.into() {
            self.nursery.limit = len as u32;
            self.cramped = true;
        }
        self.take_mapped();
        grown
    }

    /// Updates the tables for the mapped memory.
    pub(super) fn take_mapped(&mut self) {
        let len = self.core.memory.len();
        self.old.extend(len);
        let nursery = len.min(u64::from(self.nursery.end));
        self.core.set_aside = nursery.saturating_sub(u64::from(self.nursery.limit));
    }

    /// Maps memory for the expected survivors of a collection, if the heap may grow. Otherwise a
    /// requested collection could retain objects in the nursery of a heap that is still smaller
    /// than a nursery.
    pub(super) fn reserve(&mut self) {
        if self.has_room_for_minor() && self.old.blocks.end() > self.nursery.end {
            return;
        }
        let needed = u64::from(self.nursery_used()) / 4 + u64::from(BLOCK_SIZE);
        // Without this memory objects are retained.
        let _mapped = self.map_old(needed, BLOCK_SIZE.into());
    }

    /// Bytes of old objects that should be added at least before the old generation is marked: the
    /// size of the nursery.
    pub(super) fn least_old(&self) -> u64 {
        u64::from(self.nursery_size())
    }

    /// Bytes of old objects at which a major collection begins: as many as the plan says, or fewer
    /// if the heap cannot become so large, because the program continues during the collection.
    pub(super) fn major_threshold(&self) -> u64 {
        let most = self.core.memory.maximum() - u64::from(self.nursery.end);
        let live = self.core.live;
        self.core.plan.goal.min(live + most.saturating_sub(live) / 2)
    }

    /// Whether marking of the old generation should begin, because it is large enough or the last
    /// marking was long ago.
    pub(super) fn marking_is_due(&self) -> bool {
        self.old.total.bytes >= self.major_threshold() || self.core.review_is_due()
    }

    /// Whether the old generation is so large that the mutator should wait for the major
    /// collection.
    pub(super) fn major_is_due(&self) -> bool {
        self.old.total.bytes >= self.major_threshold().saturating_add(self.major_threshold() / 2)
    }

    /// Makes a plan when everything is swept, and continues with giving memory back.
    pub(super) fn end_major(&mut self) {
        let took = std::mem::take(&mut self.marker.took);
        let occupancy = self.occupancy();
        self.core.make_plan(&occupancy, self.old.total.bytes, self.marker.grown, took);
        let spare = self.core.plan.spare.saturating_sub(self.old.recyclable_bytes());
        self.phase = Phase::GivingBack(GiveBack::new(spare));
    }

    /// Gives free blocks back, as far as `budget` allows.
    pub(super) fn give_back_some(&mut self, budget: &mut u32) {
        while let Phase::GivingBack(mut from) = self.phase
            && *budget > 0
        {
            *budget = budget.saturating_sub(32 * GIVEN_BACK);
            let done = self.old.blocks.give_back(&mut self.core.memory, &mut from, GIVEN_BACK);
            self.phase = if done { Phase::Idle } else { Phase::GivingBack(from) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn a_nursery_shrinks_where_all_survives_and_grows_where_some_does() {
        let size = |size, most, used, survived: u32, roots| {
            adapted_size(size, 16 * MIB, most, used, survived.into(), roots)
        };
        let adapt = |survived| size(4 * MIB, 16 * MIB, 4 * MIB, survived, 0);
        assert_eq!(adapt(4 * MIB), 2 * MIB);
        assert_eq!(adapt(3 * MIB + 1), 2 * MIB);
        assert_eq!([adapt(3 * MIB), adapt(2 * MIB), adapt(MIB / 16)], [4 * MIB; 3]);
        assert_eq!([adapt(2 * MIB - 1), adapt(MIB / 16 + 1)], [8 * MIB; 2]);
        assert_eq!(size(12 * MIB, 16 * MIB, 12 * MIB, MIB, 0), 16 * MIB);
        assert_eq!(size(MIB, 16 * MIB, MIB, MIB, 0), MIB);
        // In a heap with a small nursery, and half full.
        assert_eq!(size(MIB / 4, MIB / 4, MIB / 4, MIB / 4, 0), MIB / 4);
        assert_eq!(size(4 * MIB, 16 * MIB, 2 * MIB - 1, 2 * MIB, 0), 4 * MIB);
        // With a deep stack.
        let deep = |roots| size(MIB, 16 * MIB, MIB, MIB, roots);
        let some = 10_000 * BYTES_OF_ROOT;
        assert_eq!([deep(100), deep(10_000), deep(u32::MAX)], [MIB, some, 16 * MIB]);
    }

    #[test]
    fn a_nursery_outgrows_the_cache_only_beside_many_old_objects() {
        let most = |live: u32| most_size(64 * MIB, 16 * MIB, u64::from(live) * u64::from(MIB));
        assert_eq!([most(0), most(128), most(256), most(4000)].map(|n| n / MIB), [16, 16, 32, 64]);
        assert_eq!(most_size(8 * MIB, 16 * MIB, 4000 << 20), 8 * MIB);
        // It grows as long as what survives of it is moved quickly, and shrinks otherwise.
        let size = |size: u32, survived: u32| {
            adapted_size(size * MIB, 16 * MIB, 64 * MIB, size * MIB, survived.into(), 0) / MIB
        };
        assert_eq!([size(16, MIB), size(16, 2 * MIB), size(16, 3 * MIB)], [32, 32, 16]);
        assert_eq!([size(32, 2 * MIB), size(32, 4 * MIB), size(32, 5 * MIB)], [64, 32, 16]);
        // A nursery that fits the cache is not concerned.
        assert_eq!(size(8, 7 * MIB / 2), 16);
        let first = [first_size(64 * MIB), first_size(2 * MIB), first_size(0)];
        assert_eq!(first, [cached_size() / 4, MIB, 0]);
    }
}
