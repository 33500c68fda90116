//! When a collection is due, what it does about cycles, and how much of that may wait.

use super::collect::{CycleSearch, Finished};
use super::cycles::Phase;
use super::{DrcHeap, Target};
use gc_heap::space::nursery::size::NurseryUse;
use gc_heap::{GcCause, GcHeap, Idle};
use std::time::Duration;

/// Bytes that may be allocated between two collections. If they would take longer than a pause should, there are fewer, as
/// in a nursery ([`Sizing`](gc_heap::space::nursery::size::Sizing)), and with deep stacks there are more.
pub(super) const BUDGET: u64 = 4 << 20;
/// Whether more should be allocated between two collections, so that fewer objects mature that soon die, is decided when
/// this number of bytes was allocated.
const WINDOW: u64 = 16 << 20;
/// A search for cycles begins when so many tenths of the room that the heap has beside its live objects are used.
const TENTHS: u64 = 8;
/// Bytes of a small object. Most objects are in the list for a while.
const LEAST_OBJECT: u64 = 16;
/// The largest budget that many roots give.
const MAX_BUDGET: u64 = 64 << 20;
/// Bytes by which mature objects should grow before the collector looks for cycles.
pub(super) const FIRST_TRACE: u64 = 1 << 20;
/// The same, as a number of externrefs.
pub(super) const FIRST_TRACE_VALUES: u32 = 1 << 14;
/// If time that the host gives was this often too short for a collection, by how long the others took, one begins all the
/// same: one slow collection must not prevent all others.
const MOST_REFUSED: u32 = 16;
/// One of so many collections that zeal asks for is a whole search for cycles. The others are slices.
const WHOLE_OF_ZEAL: u32 = 16;

/// What happened since the last decision whether more should be allocated between two collections.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Bytes that were allocated.
    allocated: u64,
    /// Bytes of objects that matured, and of mature objects that died.
    matured: u64,
    died: u64,
}

impl DrcHeap {
    pub(super) fn is_at_limit(&self) -> bool {
        self.cannot_grow || self.core.memory.len() == self.core.memory.maximum()
    }

    /// Whether little is free in a heap that cannot grow.
    pub(super) fn is_cramped(&self) -> bool {
        let usable = self.core.memory.usable();
        let free = usable.saturating_sub(self.space.mature_bytes());
        let enough = (usable / 8).min(self.budget).max(u64::from(self.need) * 2);
        free < enough || !self.space.has_room(self.need)
    }

    /// Bytes of mature objects at which a search for cycles begins: as many as the plan says, or fewer if the heap
    /// cannot become so large, because the program runs while it is under way.
    fn search_threshold(&self) -> u64 {
        let live = self.core.live;
        let room = self.core.ceiling().saturating_sub(live);
        self.core.plan.goal.min(live + room / 10 * TENTHS)
    }

    /// Whether dead objects wait for a collection, or a search for cycles is under way.
    fn has_work(&self) -> bool {
        !self.work.dying.is_empty() || self.cycles.phase() != Phase::Idle
    }

    /// Whether a collection for this cause should begin to search for cycles.
    fn search_is_due(&self, cause: GcCause) -> bool {
        let (mature, live) = (self.space.mature_bytes(), self.core.live);
        let threshold = match cause {
            // A search that begins in time that the host gives takes no other time.
            GcCause::Idle => live + (self.search_threshold().saturating_sub(live) / 2).max(1),
            _ => self.search_threshold(),
        };
        let values = cause == GcCause::HostValues && self.values >= self.trace_at_values;
        // What dead objects refer to would count as reachable.
        let is_ready = self.cycles.phase() == Phase::Idle && self.work.dying.is_empty();
        is_ready && (values || mature >= threshold || self.core.review_is_due())
    }

    /// What a collection for this cause does about cycles.
    pub(super) fn search_for(&mut self, cause: GcCause) -> CycleSearch {
        match cause {
            GcCause::NoRoom if self.is_at_limit() && self.is_cramped() => CycleSearch::IfCramped,
            GcCause::NoRoom | GcCause::HostValues | GcCause::Idle => {
                CycleSearch::Slice { begins: self.search_is_due(cause) }
            }
            GcCause::Zeal => {
                self.zeal = self.zeal.wrapping_add(1);
                match self.zeal.is_multiple_of(WHOLE_OF_ZEAL) {
                    true => CycleSearch::Whole,
                    false => CycleSearch::Slice { begins: self.cycles.phase() == Phase::Idle },
                }
            }
            _ => CycleSearch::Whole,
        }
    }

    /// Whether as much of the search for cycles is done as mature objects have used of the room for its time: a fifth of
    /// what they were, or half of what the heap can still grow if that is less.
    pub(super) fn search_keeps_up(&self) -> bool {
        let (began_at, mature) = (self.cycles.began_at.bytes, self.space.mature_bytes());
        let from = began_at.max(self.search_threshold());
        let within = from + self.core.ceiling().saturating_sub(from) / 2;
        let room = (from + from / 5).min(within).saturating_sub(began_at).max(1);
        let used = mature.saturating_sub(began_at) as f64 / room as f64;
        self.cycles.progress(self.space.map().group_count()) >= used
    }

    /// Ends a collection: makes a plan and resets counters.
    pub(super) fn finish(&mut self, finished: Finished) {
        let Finished { found, died, searched } = finished;
        let mature = self.space.mature_bytes();
        let is_idle = self.cycles.phase() == Phase::Idle;
        // A collection without a search can also show that a spike is over.
        if searched || is_idle && mature < self.core.live / 2 {
            let (grown, took) = match searched {
                true => (self.cycles.grown, self.cycles.took),
                false => Default::default(),
            };
            let occupancy = self.occupancy();
            self.core.make_plan(&occupancy, mature, grown, took);
            let spare = self.core.plan.spare;
            self.space.give_blocks_back(&mut self.core.memory, spare);
        }
        if searched {
            self.trace_at_values = self.values.saturating_mul(2).max(FIRST_TRACE_VALUES);
        }
        self.work.named.clear();
        let room = self.core.side.stack_room();
        let entries = u32::try_from(room / LEAST_OBJECT).unwrap_or(u32::MAX);
        self.list.set_threshold(&self.core.memory, entries);
        self.target = Target::default();
        self.window.matured += found.survived;
        self.window.died += died;
        self.window.allocated += u64::from(found.used);
        if self.window.allocated >= WINDOW {
            let Window { matured, died, .. } = std::mem::take(&mut self.window);
            self.sizing.after_major(died, matured);
        }
        let (size, target) = (self.budget.min(BUDGET) as u32, self.core.side.pause_target);
        let budget = u64::from(self.sizing.next(size, BUDGET as u32, 0, target, found));
        self.budget = budget.max(u64::from(found.least_size(0)).min(MAX_BUDGET)).max(room);
        (self.ask_at, self.asked, self.need, self.refused) = (self.budget, false, 0, 0);
    }

    /// Dead objects that wait, and a search that is under way, are work that a collection continues. What was allocated
    /// is looked at when it is half of what is allocated between two collections, and a search begins when half of the room for
    /// mature objects is used.
    pub(super) fn use_for(&mut self, left: Duration) -> Idle {
        let allocated = self.space.allocated();
        let is_due =
            self.has_work() || allocated >= self.budget / 2 || self.search_is_due(GcCause::Idle);
        if !is_due {
            return Idle::Rest { bytes: 0 };
        }
        let used = u32::try_from(allocated).unwrap_or(u32::MAX);
        let expected = self.sizing.expected(NurseryUse { used, ..self.sizing.last() });
        if !left.is_zero() && (expected <= left || self.refused >= MOST_REFUSED) {
            return Idle::Collect;
        }
        self.refused += 1;
        Idle::Rest { bytes: self.space.used_bytes().max(1) }
    }
}
