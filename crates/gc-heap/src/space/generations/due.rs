//! [`Due`]: when the old generation is marked, and what is done in time that the host gives.
//!
//! The heap's growth policy decides when marking begins: the goal of its plan is the size of the old generation at
//! that time. How much of the nursery is used is another policy ([`Sizing`](crate::space::nursery::size::Sizing)).

use super::Generations;
use super::chooser::Chooser;
use super::major::{Major, Phase};
use crate::{HeapCore, Idle, Occupancy};
use std::time::Duration;

/// The old generation of a new heap is marked when it has this number of bytes, or as many as the
/// nursery.
const LEAST_OLD: u64 = 4 << 20;
/// Marking begins when so many tenths of the room that the heap has beside its live objects are used. With five instead
/// of eight it begins sooner than it needs to in a heap of two or three times what lives.
const TENTHS: u64 = 8;
/// A nursery with fewer bytes is not emptied in time that the host gives: each collection visits all roots.
const LEAST_IDLE: u32 = 16 << 10;

/// The parts of a heap that say what is due. A heap makes this value when it needs it.
///
/// # Examples
/// ```
/// use gc_heap::space::Generations;
/// use gc_heap::space::generations::{Chooser, Due, Major};
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
///
/// let mut core = HeapCore::new(HeapMemory::with_apart(&HeapOptions::default(), 64 << 10)?);
/// let space = Generations::new(&mut core, 0)?;
/// let (major, chooser) = (Major::default(), Chooser::default());
/// let due = Due { core: &core, space: &space, major: &major, chooser: &chooser };
/// assert!(due.least_old() >= 1 << 20 && due.may_trace());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Due<'h> {
    /// The heap's memory, and the plan of its growth policy.
    pub core: &'h HeapCore,
    /// The generations.
    pub space: &'h Generations,
    /// The major collection that is under way.
    pub major: &'h Major,
    /// What collections of the nursery have cost.
    pub chooser: &'h Chooser,
}

impl Due<'_> {
    // ---- the old generation ---------------------------------------------------------

    /// Bytes of old objects that should be added at least before the old generation is marked.
    pub fn least_old(&self) -> u64 {
        u64::from(self.space.nursery.size()).max(LEAST_OLD)
    }

    /// The bytes of old objects, and the [lost bytes](super::major::OldSize::lost) that count.
    pub fn taken_bytes(&self) -> u64 {
        self.space.old.counts().total.bytes + self.major.size.lost
    }

    /// [Taken bytes](Due::taken_bytes) at which a major collection begins: as many as the
    /// plan says, or fewer if the heap cannot become so large, because the program continues during
    /// the collection.
    pub fn major_threshold(&self) -> u64 {
        let live = self.core.live;
        let room = self.core.ceiling().saturating_sub(live);
        self.core.plan.goal.min(live + room / 10 * TENTHS)
    }

    /// Whether marking of the old generation should begin, because it is large enough or the last
    /// marking was long ago.
    pub fn marking(&self) -> bool {
        !self.space.old.counts().is_sweeping
            && (self.taken_bytes() >= self.major_threshold() || self.core.review_is_due())
    }

    /// Whether the old generation has grown so much during a major collection that the mutator should
    /// wait for its end. If none is under way, one has to begin first.
    pub fn end_of_major(&self) -> bool {
        self.major.is_under_way() && self.taken_bytes() >= self.deadline(5)
    }

    /// [Taken bytes](Due::taken_bytes) at the end of the room for the program during a
    /// major collection. The room is this number of tenths of the threshold.
    ///
    /// Large objects do not use it up: those that were allocated before marking began, and since then as
    /// many as the threshold. There is no work for them, and they come all at once, without the slices that
    /// come with promoted objects. If they did, a buffer that doubles would make the program wait for all
    /// the marking that is left.
    pub fn deadline(&self, tenths: u64) -> u64 {
        let (threshold, size) = (self.major_threshold(), &self.major.size);
        let large = size.large_before.saturating_add(size.large.min(threshold));
        threshold.saturating_add(threshold / 10 * tenths).saturating_add(large)
    }

    // ---- traces ---------------------------------------------------------------------

    /// Whether a trace is possible: no major collection is marking or evacuating, and no objects
    /// are retained in the nursery.
    pub fn may_trace(&self) -> bool {
        self.major.may_begin() && !self.space.nursery.retains()
    }

    /// Whether a trace should replace a minor collection.
    pub fn trace(&self) -> bool {
        let used = self.space.nursery.used(&self.core.memory);
        self.may_trace()
            && !self.space.old.counts().is_sweeping
            && self.chooser.wants_trace(used.into())
    }

    // ---- time that the host gives ---------------------------------------------------

    /// The time that a minor collection now is likely to take, with the evacuation of blocks that wait for
    /// it.
    pub fn expected_minor(&self) -> Duration {
        let evacuation = match self.major.phase() {
            Phase::Evacuating => self.space.old.evacuator.expected(),
            _ => Duration::ZERO,
        };
        self.space.expected_time(self.core) + evacuation
    }

    /// Whether the nursery should be emptied in time that the host gives, of which `left` is left: half of it is
    /// used, or so much that its collection is likely to take half of the time. If the host gives as much again,
    /// the nursery is not full before.
    fn idle_minor(&self, left: Duration) -> bool {
        let used = self.space.nursery.used(&self.core.memory);
        let size = self.space.nursery.size().min(self.space.share(self.core));
        used > 0 && (used >= size / 2 || used >= LEAST_IDLE && self.expected_minor() >= left / 2)
    }

    /// Whether marking of the old generation should begin in time that the host gives: half of the room of
    /// the plan is used.
    pub fn idle_marking(&self) -> bool {
        // Lost bytes were there when the last one ended.
        let live = self.core.live;
        let room = self.major_threshold().saturating_sub(live + self.major.size.lost);
        let grown = self.space.old.counts().total.bytes.saturating_sub(live);
        self.major.phase() == Phase::Idle && !self.major.lost_log && grown > 0 && grown >= room / 2
    }

    /// The bytes of objects that collections still have to visit: those in the nursery, and those that a
    /// major collection that is under way or due has to mark.
    pub fn idle_work_left(&self) -> u64 {
        let old = self.space.old.counts();
        let to_mark = match self.major.phase() {
            Phase::Marking => old.total.bytes.saturating_sub(old.marked.bytes),
            Phase::Idle if self.idle_marking() => old.total.bytes,
            _ => 0,
        };
        // Sweeping visits no objects, but is something to do.
        (u64::from(self.space.nursery.used(&self.core.memory)) + to_mark).max(1)
    }

    /// What to do in time that the host gives, of which `left` is left. The nursery comes first: the program would
    /// wait for it soon. Slices of a major collection need no roots. With retained objects only a full collection
    /// helps, which takes too long.
    pub fn idle(&self, left: Duration) -> Idle {
        let phase = self.major.phase();
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
    pub fn occupancy(&self) -> Occupancy {
        self.space.occupancy(self.core, self.least_old())
    }
}
