//! The policy of the generational heap: when which objects are collected.
//!
//! A full nursery is collected. The heap's growth policy decides whether more is collected: the
//! goal of its plan is the size of the old generation at which marking begins. How much of the nursery is used is
//! another policy ([`Sizing`](gc_heap::space::nursery::size::Sizing)).

use super::GenerationalHeap;
use super::chooser::Chooser;
use super::collect::CollectionKind;
use super::major::{Major, Phase};
use gc_heap::space::Generations;
use gc_heap::{ExternRefHostDataTable, GcCause, HeapCore, Idle, Occupancy, WeakScope};
use std::time::Duration;

/// The old generation of a new heap is marked when it has this number of bytes, or as many as the
/// nursery.
const LEAST_OLD: u64 = 4 << 20;
/// A nursery with fewer bytes is not emptied in time that the host gives: each collection visits all roots.
const LEAST_IDLE: u32 = 16 << 10;

/// The parts of the heap that say what is due.
#[derive(Clone, Copy)]
pub(super) struct Due<'h> {
    pub(super) core: &'h HeapCore,
    pub(super) space: &'h Generations,
    pub(super) major: &'h Major,
    pub(super) chooser: &'h Chooser,
}

impl Due<'_> {
    // ---- the old generation ---------------------------------------------------------

    /// Bytes of old objects that should be added at least before the old generation is marked.
    pub(super) fn least_old(&self) -> u64 {
        u64::from(self.space.nursery.size()).max(LEAST_OLD)
    }

    /// The bytes of old objects, and the [lost bytes](super::major::OldSize::lost) that count.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.space.old.total().bytes + self.major.size.lost
    }

    /// [Taken bytes](Due::taken_bytes) at which a major collection begins: as many as the
    /// plan says, or fewer if the heap cannot become so large, because the program continues during
    /// the collection.
    pub(super) fn major_threshold(&self) -> u64 {
        let most = self.core.memory.maximum() - u64::from(self.space.nursery.end());
        let live = self.core.live;
        self.core.plan.goal.min(live + most.saturating_sub(live) / 2)
    }

    /// Whether marking of the old generation should begin, because it is large enough or the last
    /// marking was long ago.
    pub(super) fn marking(&self) -> bool {
        !self.space.old.is_sweeping()
            && (self.taken_bytes() >= self.major_threshold() || self.core.review_is_due())
    }

    /// Whether the old generation has grown so much during a major collection that the mutator should
    /// wait for its end. If none is under way, one has to begin first.
    pub(super) fn end_of_major(&self) -> bool {
        self.major.is_under_way() && self.taken_bytes() >= self.deadline(5)
    }

    /// [Taken bytes](Due::taken_bytes) at the end of the room for the program during a
    /// major collection. The room is this number of tenths of the threshold.
    ///
    /// Large objects do not use it up: those that were allocated before marking began, and since then as
    /// many as the threshold. There is no work for them, and they come all at once, without the slices that
    /// come with promoted objects. If they did, a buffer that doubles would make the program wait for all
    /// the marking that is left.
    pub(super) fn deadline(&self, tenths: u64) -> u64 {
        let (threshold, size) = (self.major_threshold(), &self.major.size);
        let large = size.large_before.saturating_add(size.large.min(threshold));
        threshold.saturating_add(threshold / 10 * tenths).saturating_add(large)
    }

    // ---- traces ---------------------------------------------------------------------

    /// Whether a trace is possible: no major collection is marking or evacuating, and no objects
    /// are retained in the nursery.
    pub(super) fn may_trace(&self) -> bool {
        self.major.may_begin() && !self.space.nursery.retains()
    }

    /// Whether a trace should replace a minor collection.
    pub(super) fn trace(&self) -> bool {
        let used = self.space.nursery.used(&self.core.memory);
        self.may_trace() && !self.space.old.is_sweeping() && self.chooser.wants_trace(used.into())
    }

    // ---- time that the host gives ---------------------------------------------------

    /// The time that a minor collection now is likely to take, with the evacuation of blocks that wait for
    /// it.
    pub(super) fn expected_minor(&self) -> Duration {
        let evacuation = match self.major.phase {
            Phase::Evacuating => self.space.evacuator.expected(),
            _ => Duration::ZERO,
        };
        self.space.expected_time(self.core) + evacuation
    }

    /// Whether the nursery should be emptied in time that the host gives, of which `left` is left: half of it is
    /// used, or so much that its collection is likely to take half of the time. If the host gives as much again,
    /// the nursery is not full before.
    fn idle_minor(&self, left: Duration) -> bool {
        let used = self.space.nursery.used(&self.core.memory);
        used > 0
            && (used >= self.space.nursery.size() / 2
                || used >= LEAST_IDLE && self.expected_minor() >= left / 2)
    }

    /// Whether marking of the old generation should begin in time that the host gives: half of the room of
    /// the plan is used.
    pub(super) fn idle_marking(&self) -> bool {
        // Lost bytes were there when the last one ended.
        let live = self.core.live;
        let room = self.major_threshold().saturating_sub(live + self.major.size.lost);
        let grown = self.space.old.total().bytes.saturating_sub(live);
        self.major.phase == Phase::Idle && !self.major.lost_log && grown > 0 && grown >= room / 2
    }

    /// The bytes of objects that collections still have to visit: those in the nursery, and those that a
    /// major collection that is under way or due has to mark.
    pub(super) fn idle_work_left(&self) -> u64 {
        let old = &self.space.old;
        let to_mark = match self.major.phase {
            Phase::Marking => old.total().bytes.saturating_sub(old.marked().bytes),
            Phase::Idle if self.idle_marking() => old.total().bytes,
            _ => 0,
        };
        // Sweeping visits no objects, but is something to do.
        (u64::from(self.space.nursery.used(&self.core.memory)) + to_mark).max(1)
    }

    /// What to do in time that the host gives, of which `left` is left. The nursery comes first: the program would
    /// wait for it soon. Slices of a major collection need no roots. With retained objects only a full collection
    /// helps, which takes too long.
    pub(super) fn idle(&self, left: Duration) -> Idle {
        let phase = self.major.phase;
        let waits = self.major.marking_waits() || phase == Phase::Evacuating;
        let is_due = !self.space.nursery.retains()
            && (waits || self.idle_minor(left) || self.idle_marking());
        if is_due && self.expected_minor() <= left && !left.is_zero() {
            return Idle::Collect;
        }
        match phase == Phase::Idle || waits {
            true => Idle::Rest { bytes: if is_due { self.idle_work_left() } else { 0 } },
            false if left.is_zero() => Idle::Rest { bytes: self.idle_work_left() },
            false => Idle::Worked,
        }
    }

    /// The use of the heap's memory. Whether a collection pays is not known here.
    pub(super) fn occupancy(&self) -> Occupancy {
        self.space.occupancy(self.core, self.least_old())
    }
}

impl GenerationalHeap {
    /// What is due.
    pub(super) fn due(&self) -> Due<'_> {
        let GenerationalHeap { core, space, major, chooser, .. } = self;
        Due { core, space, major, chooser }
    }

    /// Whether a collection is likely to be worth its cost when an allocation finds no room.
    pub(super) fn collection_pays(&self) -> bool {
        let due = self.due();
        if due.end_of_major() {
            return true;
        }
        if self.large_wanted {
            return !self.major.is_under_way() && due.marking();
        }
        let nursery = &self.space.nursery;
        nursery.is_mapped(self.core.memory.len())
            && self.space.has_room_for_minor(&self.core)
            && (self.grown || !nursery.retains())
    }

    /// The kind of collection for this cause.
    pub(super) fn choose(
        &mut self,
        cause: GcCause,
        values: &ExternRefHostDataTable,
    ) -> CollectionKind {
        let (due, under_way) = (self.due(), self.major.is_under_way());
        match cause {
            GcCause::NoRoom => {
                let stuck = self.space.nursery.retains() && !self.grown
                    || !self.space.has_room_for_minor(&self.core)
                    || self.large_wanted && due.end_of_major();
                match (stuck, under_way) {
                    (true, true) => CollectionKind::Finish,
                    (true, false) => CollectionKind::Full,
                    (false, _) if due.trace() => CollectionKind::Trace,
                    (false, false) if due.marking() => CollectionKind::Begin,
                    (false, _) => CollectionKind::Minor,
                }
            }
            // A trace may be abandoned. Then it would drop none of these values.
            GcCause::HostValues
                if values.count(WeakScope::All) / 2 > values.count(WeakScope::Young) =>
            {
                CollectionKind::Full
            }
            GcCause::HostValues if due.trace() => CollectionKind::Trace,
            GcCause::HostValues => CollectionKind::Minor,
            GcCause::Idle if self.major.phase == Phase::Idle && due.trace() => {
                CollectionKind::Trace
            }
            GcCause::Idle if under_way || !due.idle_marking() => CollectionKind::Minor,
            GcCause::Idle => CollectionKind::Begin,
            GcCause::Zeal => {
                let may_trace = due.may_trace();
                match self.chooser.next_zeal() % 16 {
                    2 => CollectionKind::Begin,
                    11 => CollectionKind::Finish,
                    0 => CollectionKind::Full,
                    1 | 9 | 12 | 13 if may_trace => CollectionKind::Trace,
                    _ => CollectionKind::Minor,
                }
            }
            _ => CollectionKind::Full,
        }
    }
}
