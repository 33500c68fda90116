//! The policy of the generational heap: the choice of collections, the size of the nursery, and the
//! memory that is mapped and given back.
//!
//! A full nursery is collected. The heap's growth policy decides whether more is collected: the
//! goal of its plan is the size of the old generation at which marking begins.
//!
//! How much of the nursery is used is in `nursery_size.rs`.

use super::GenerationalHeap;
use super::major::Phase;
use super::nursery_size::{NurseryUse, first_size};
use crate::object::by_halves;
use crate::space::mark_region::blocks::BLOCK_SIZE;
use crate::{GcHeap, HeapError};
use gc_types::collector::generational::{MAX_NURSERY, NURSERY_ALIGN, NURSERY_START};
use std::time::Duration;

/// The smallest nursery in bytes when no more memory can be mapped.
const MIN_MAPPED: u32 = 64 << 10;
/// The old generation of a new heap is marked when it has this number of bytes, or as many as the
/// nursery.
const LEAST_OLD: u64 = 4 << 20;
/// Less memory is not touched ahead, in bytes.
const LEAST_AHEAD: u64 = 256 << 10;
/// The most memory of the old generation that is touched ahead where few bytes survive each minor
/// collection, in bytes, and the most where many do. In a virtual machine the first touch of a huge page
/// may take 5 ms.
const FEW_AHEAD: u64 = 4 << 20;
const MOST_AHEAD: u64 = 8 << 20;
/// Of the bytes of old objects, one in this number is touched ahead where few bytes survive.
const PART_AHEAD: u64 = 32;
/// Bytes of a nursery that is used for the first time after which its rest is touched ahead.
const USED_ALONE: u32 = 1 << 20;
/// A nursery with fewer bytes is not emptied in time that the host gives: each collection visits all roots.
const LEAST_IDLE: u32 = 16 << 10;
/// Number of blocks that a slice gives back between two reads of the clock.
const GIVEN_BACK: u32 = 16;

impl GenerationalHeap {
    /// Bytes of the nursery that are used before it is collected.
    pub(super) fn nursery_size(&self) -> u32 {
        self.nursery.limit - NURSERY_START
    }

    /// Sizes the empty nursery from what the last minor collection found in it and how long it took, and
    /// from the depth of the stack.
    pub(super) fn adapt_nursery(&mut self, found: NurseryUse) {
        let end = self.nursery.end - NURSERY_START;
        let (live, target) = (self.core.live, self.core.pause_target);
        let mut size = self.sizing.next(self.nursery_size(), end, live, target, found);
        let deep = self.core.stack_room().next_multiple_of(NURSERY_ALIGN.into());
        size = size.max(deep.min(end.into()) as u32);
        if self.core.asked {
            // Use as little memory as possible.
            size = size.min(found.least_size(first_size(end))).min(end);
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
        let least = (self.old.total().bytes / PART_AHEAD).min(FEW_AHEAD);
        if self.survived.max(least) >= LEAST_AHEAD {
            let wanted = (4 * self.survived).clamp(least, MOST_AHEAD);
            let wanted = wanted.saturating_sub(self.old.recyclable_bytes());
            self.old.touch_ahead(&self.core.memory, wanted);
        }
    }

    /// Lets the system provide the memory for the rest of a nursery that is used for the first
    /// time up to `touched`, and in a new heap for the first survivors.
    pub(super) fn touch_nursery_ahead(&mut self, touched: u32) {
        let limit = self.nursery.limit;
        if touched >= NURSERY_START + USED_ALONE && self.nursery.asked < limit {
            let is_first = self.nursery.asked == NURSERY_START;
            self.core.memory.touch_ahead(touched.into(), u64::from(limit.saturating_sub(touched)));
            self.nursery.asked = limit;
            if is_first {
                self.reserve();
                self.old.touch_ahead(&self.core.memory, self.nursery_size().into());
            }
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
        self.old.given_back() + mapped.saturating_sub(u64::from(used))
    }

    /// The bytes of the heap's objects.
    pub(super) fn used_bytes(&self) -> u64 {
        self.old.total().bytes + u64::from(self.nursery_used())
    }

    /// Whether a collection is likely to be worth its cost when an allocation finds no room.
    pub(super) fn collection_pays(&self) -> bool {
        if self.major_is_due() {
            return true;
        }
        if self.large_wanted {
            return !self.is_major_under_way() && self.marking_is_due();
        }
        self.nursery.is_mapped(self.core.memory.len())
            && self.has_room_for_minor()
            && (self.grown || !self.nursery.retains())
    }

    /// The bytes of `used` bytes of young objects that are likely to survive: as many as at the last
    /// minor collection.
    pub(super) fn survival_of(&self, used: u32) -> u64 {
        let (survived, of) = self.chooser.last_minor();
        (survived as f64 / of.max(1) as f64 * f64::from(used)) as u64
    }

    /// Bytes that a minor collection now is likely to need in the old generation.
    pub(super) fn expected(&self) -> u64 {
        if self.nursery.retains() {
            return self.nursery.retained_bytes;
        }
        let used = u64::from(self.nursery_used());
        (self.survived * 3 / 2).max(used / 16).min(used)
    }

    /// The bytes that must be added to the old generation so that it has the size of the plan's goal.
    /// `None` if there is no goal.
    pub(super) fn wanted(&self) -> Option<u64> {
        let goal = self.core.plan.goal;
        let old = u64::from(self.old.end() - self.old.start());
        (goal != u64::MAX).then(|| goal.saturating_sub(old))
    }

    /// Whether the old generation has room for the expected survivors of a minor collection, or may have
    /// when more of it is swept.
    pub(super) fn has_room_for_minor(&self) -> bool {
        self.old.is_sweeping() || self.old.free_bytes() >= self.expected()
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
        if self.has_room_for_minor() && self.old.end() > self.nursery.end {
            return;
        }
        let needed = u64::from(self.nursery_used()) / 4 + u64::from(BLOCK_SIZE);
        // Without this memory objects are retained.
        let _mapped = self.map_old(needed, BLOCK_SIZE.into());
    }

    /// Bytes of old objects that should be added at least before the old generation is marked.
    pub(super) fn least_old(&self) -> u64 {
        u64::from(self.nursery_size()).max(LEAST_OLD)
    }

    /// The bytes of old objects, and the [lost bytes](super::major::Major::lost) that count.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.old.total().bytes + self.major.lost
    }

    /// [Taken bytes](GenerationalHeap::taken_bytes) at which a major collection begins: as many as the
    /// plan says, or fewer if the heap cannot become so large, because the program continues during
    /// the collection.
    pub(super) fn major_threshold(&self) -> u64 {
        let most = self.core.memory.maximum() - u64::from(self.nursery.end);
        let live = self.core.live;
        self.core.plan.goal.min(live + most.saturating_sub(live) / 2)
    }

    /// Whether marking of the old generation should begin, because it is large enough or the last
    /// marking was long ago.
    pub(super) fn marking_is_due(&self) -> bool {
        !self.old.is_sweeping()
            && (self.taken_bytes() >= self.major_threshold() || self.core.review_is_due())
    }

    /// Whether the nursery should be emptied in time that the host gives, of which `left` is left: half of it is
    /// used, or so much that its collection is likely to take half of the time. If the host gives as much again,
    /// the nursery is not full before.
    pub(super) fn idle_minor_is_due(&self, left: Duration) -> bool {
        let used = self.nursery_used();
        used > 0
            && (used >= self.nursery_size() / 2
                || used >= LEAST_IDLE && self.expected_minor() >= left / 2)
    }

    /// Whether marking of the old generation should begin in time that the host gives: half of the room of
    /// the plan is used.
    pub(super) fn idle_marking_is_due(&self) -> bool {
        // Lost bytes were there when the last one ended.
        let room = self.major_threshold().saturating_sub(self.core.live + self.major.lost);
        let grown = self.old.total().bytes.saturating_sub(self.core.live);
        self.major.phase == Phase::Idle && !self.major.lost_log && grown > 0 && grown >= room / 2
    }

    /// The bytes of objects that collections still have to visit: those in the nursery, and those that a
    /// major collection that is under way or due has to mark.
    pub(super) fn idle_work_left(&self) -> u64 {
        let old = self.old.total().bytes;
        let to_mark = match self.major.phase {
            Phase::Marking => old.saturating_sub(self.old.marked().bytes),
            Phase::Idle if self.idle_marking_is_due() => old,
            _ => 0,
        };
        // Sweeping visits no objects, but is something to do.
        (u64::from(self.nursery_used()) + to_mark).max(1)
    }

    /// The time that a minor collection now is likely to take, with the evacuation of blocks that wait for
    /// it.
    pub(super) fn expected_minor(&self) -> Duration {
        let found = NurseryUse { used: self.nursery_used(), ..self.sizing.last() };
        let evacuation = match self.major.phase {
            Phase::Evacuating => self.major.evacuator.expected(),
            _ => Duration::ZERO,
        };
        self.sizing.expected(found) + evacuation
    }

    /// Whether the old generation has grown so much during a major collection that the mutator should
    /// wait for its end. If none is under way, one has to begin first.
    pub(super) fn major_is_due(&self) -> bool {
        self.is_major_under_way() && self.taken_bytes() >= self.deadline(5)
    }

    /// [Taken bytes](GenerationalHeap::taken_bytes) at the end of the room for the program during a
    /// major collection. The room is this number of tenths of the threshold.
    ///
    /// Large objects do not use it up: those that were allocated before marking began, and since then as
    /// many as the threshold. There is no work for them, and they come all at once, without the slices that
    /// come with promoted objects. If they did, a buffer that doubles would make the program wait for all
    /// the marking that is left.
    pub(super) fn deadline(&self, tenths: u64) -> u64 {
        let threshold = self.major_threshold();
        let large = self.major.large_before.saturating_add(self.major.large.min(threshold));
        threshold.saturating_add(threshold / 10 * tenths).saturating_add(large)
    }

    /// Makes a plan when everything is swept, and continues with giving memory back.
    pub(super) fn end_major(&mut self) {
        let took = std::mem::take(&mut self.major.took);
        let occupancy = self.occupancy();
        let lived = self.core.live + self.major.grown;
        self.sizing.after_major(lived.saturating_sub(self.old.total().bytes), self.major.grown);
        self.core.make_plan(&occupancy, self.old.total().bytes, self.major.grown, took);
        self.major.large = 0;
        // In a heap whose objects are far apart, the next marking must not begin at once.
        let room = self.major_threshold().saturating_sub(self.old.total().bytes);
        let most = (room / 2).min(room.saturating_sub(self.least_old()));
        self.major.lost = self.old.lost_bytes().min(most);
        let spare = self.core.plan.spare.saturating_sub(self.old.recyclable_bytes());
        self.old.begin_giving_back(spare);
        self.major.phase = Phase::GivingBack;
    }

    /// Gives free blocks back, as far as `budget` allows.
    pub(super) fn give_back_some(&mut self, budget: &mut u32) {
        while self.major.phase == Phase::GivingBack && *budget > 0 {
            *budget = budget.saturating_sub(32 * GIVEN_BACK);
            self.old.give_back(&mut self.core.memory, GIVEN_BACK);
            if !self.old.is_giving_back() {
                self.major.phase = Phase::Idle;
            }
        }
    }
}
