//! Major collections: marking the old generation and sweeping it.
//!
//! Marking follows references from the roots with an explicit stack (`marking.rs`). An object's lines
//! are marked when it is scanned. Marking may stop anywhere, also in the middle of an
//! array, and the mutator may run in between. Then the overwritten references are logged and marked
//! too, and new objects are marked when they are allocated. So marking finds everything that was
//! reachable when it began (snapshot at the beginning: Taiichi Yuasa, "Real-Time Garbage Collection
//! on General-Purpose Machines", 1990). It begins with an empty nursery and ignores young objects. If
//! objects were retained, it marks these too, and then it does not stop before it is done.
//!
//! If the store has weak references or externrefs, marking then waits for the next collection, which marks
//! what weak references keep, and drops the host values of dead externrefs. Without a collection neither can
//! be seen.
//!
//! Sweeping makes the mark bits the new start bits, and frees lines without a mark.
//!
//! Both continue in slices whenever the nursery needs another chunk, and at the end of each minor
//! collection. They are fast enough to finish before the old generation has grown much.

use super::GenerationalHeap;
use super::nursery::CHUNK;
use crate::space::Count;
use crate::space::mark_region::MarkRegion;
use crate::space::mark_region::evacuate::Evacuator;
use crate::trace::marking::{Marked, Marker};
use crate::{HeapMemory, Pause, PauseKind};
use gc_types::collector::generational::{NURSERY_START, is_young};
use std::time::{Duration, Instant};

/// Number of objects, and of eighths of slots, that a slice visits, if there is time for so many. A slice
/// processes at most as many log entries and large objects, and fewer blocks. With twice as many, marking
/// ends sooner and begins once more: a map with 1 GiB of entries took 1.3 of its time. With half as many,
/// marking lasts longer: lists of 1 GiB took 1.2 of their time.
const SLICE: u32 = 6 << 10;
/// Number of these between two reads of the clock.
pub(super) const STEP: u32 = 512;
/// Shorter slices are not counted as pauses.
const SHORTEST_PAUSE: Duration = Duration::from_micros(1);
/// [`SLICE`] under zeal, where a major collection should last for several collections.
const ZEAL_SLICE: u32 = 16;

/// The phase of the old generation's collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Marking.
    Marking,
    /// Waiting for a collection with all roots, to evacuate blocks.
    Evacuating,
    /// Sweeping.
    Sweeping,
    /// Giving free memory back to the system.
    GivingBack,
}

/// The progress of reading the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// To its end.
    Done,
    /// Not to its end, because the budget was used.
    More,
    /// Some entries were lost. Marking must be abandoned.
    Lost,
}

/// The major collection that is under way, and what is known from the last one.
#[derive(Debug, Default)]
pub(super) struct Major {
    pub(super) phase: Phase,
    pub(super) marker: Marker,
    pub(super) evacuator: Evacuator,
    /// Whether young objects, which were retained, are marked.
    pub(super) young: bool,
    /// Whether everything was marked except what weak references keep. A collection marks that, and sweeps
    /// host values.
    waits: bool,
    /// Time spent in the major collection so far.
    pub(super) took: Duration,
    /// Bytes of old objects when marking began.
    pub(super) began_at: u64,
    /// Bytes of large objects that had been allocated since the last plan when marking began.
    pub(super) large_before: u64,
    /// Bytes of large objects that were allocated since marking began, or since the last plan if that was
    /// later. Those that are allocated while marking is under way count as marked.
    pub(super) large: u64,
    /// Bytes by which the old generation had grown since the previous marking.
    pub(super) grown: u64,
    /// Bytes between old objects that nothing could use after the last sweep, as far as they count
    /// ([`end_major`](GenerationalHeap::end_major)).
    pub(super) lost: u64,
    /// Whether the last marking was given up because entries of the log were lost. Time that the host gives is not
    /// used for another one.
    pub(super) lost_log: bool,
}

impl GenerationalHeap {
    /// Begins to mark. The roots must be marked before the mutator runs again, unless marking ends
    /// before.
    pub(super) fn begin_marking(&mut self) {
        debug_assert!(matches!(self.major.phase, Phase::Idle | Phase::GivingBack));
        self.major.evacuator.choose(&mut self.old, &self.core);
        self.mark_from_here();
    }

    /// Begins to mark in a collection that finishes marking before the mutator runs again and moves
    /// nothing afterwards.
    pub(super) fn begin_marking_all(&mut self) {
        debug_assert!(matches!(self.major.phase, Phase::Idle | Phase::GivingBack));
        self.major.evacuator.clear();
        self.mark_from_here();
    }

    fn mark_from_here(&mut self) {
        self.major.young = self.nursery.retains();
        self.major.marker.begin(if self.major.young { 0 } else { self.old.start() });
        self.major.waits = false;
        self.major.took = Duration::ZERO;
        self.major.began_at = self.old.total().bytes;
        self.major.large_before = std::mem::take(&mut self.major.large);
        self.old.begin_marking();
        self.major.phase = Phase::Marking;
    }

    /// Lets the mutator run while marking is under way.
    pub(super) fn interleave_marking(&mut self) {
        self.tables.set_logging(&mut self.core.memory, true);
        self.tables.set_evacuation(self.major.evacuator.is_active());
    }

    /// Abandons marking. Nothing is known to be garbage.
    pub(super) fn abandon_marking(&mut self) {
        if self.major.phase == Phase::Marking {
            self.major.evacuator.clear();
            self.old.abandon_marking();
            self.major.marker.clear();
            self.end_logging();
            self.major.phase = Phase::Idle;
        }
    }

    /// Abandons marking because entries of the log were lost.
    pub(super) fn lose_marking(&mut self) {
        log::debug!("marking given up: the log of overwritten references was too short");
        self.major.lost_log = true;
        self.abandon_marking();
    }

    /// Marks the referent of `word`, a reference from anywhere.
    #[inline]
    pub(super) fn mark(&mut self, word: u32) {
        self.major.marker.mark(&mut self.core, &mut self.old, word);
    }

    /// Scans marked objects, as far as `budget` allows. Returns whether there are no more.
    pub(super) fn mark_some(&mut self, budget: &mut u32) -> bool {
        loop {
            let Major { marker, evacuator, .. } = &mut self.major;
            match marker.run(&mut self.core, &self.shapes, &mut self.old, evacuator, budget) {
                Marked::Done => return true,
                Marked::More => return false,
                Marked::ManySlots => self.evacuate_less(),
            }
        }
    }

    /// Records that the slot at `at` now holds `word`.
    #[inline(always)]
    pub(super) fn note_slot(&mut self, at: u64, word: u32) {
        if self.major.evacuator.is_active() && self.major.evacuator.is_chosen(word) {
            self.note_chosen(at);
        }
    }

    #[cold]
    fn note_chosen(&mut self, at: u64) {
        // Young objects will have moved before the evacuation, and are scanned when they move. But
        // retained objects stay.
        if at < u64::from(self.nursery.end) && !self.nursery.retains() {
            return;
        }
        if !self.major.evacuator.record(at as u32) {
            self.evacuate_less();
        }
    }

    /// Gives up an evacuation with too many slots.
    #[cold]
    fn evacuate_less(&mut self) {
        self.major.evacuator.give_up();
        self.cancel_evacuation();
    }

    /// Abandons the evacuation. The chosen blocks are swept like all others.
    #[cold]
    pub(super) fn cancel_evacuation(&mut self) {
        self.major.evacuator.clear();
        self.tables.set_evacuation(false);
        if self.major.phase == Phase::Evacuating {
            self.begin_sweeping();
        }
    }

    /// Updates slots that refer to evacuated objects, as far as `budget` allows. Returns whether only the roots are
    /// left.
    pub(super) fn update_evacuated(&mut self, budget: &mut u32) -> bool {
        let nursery = self.nursery.end - NURSERY_START;
        let GenerationalHeap { core, shapes, old, major, tables, .. } = self;
        major.evacuator.update_some(core, shapes, old, budget, |at, word| {
            // The slot is in a moved object, and not on the card that was marked for it.
            if is_young(word, nursery) {
                tables.cards.dirty(at);
            }
        })
    }

    /// The new place of the object to which `word` refers, if it was evacuated.
    #[inline]
    pub(super) fn evacuated(&self, word: u32) -> Option<u32> {
        self.major.evacuator.moved(&self.core.memory, &self.old, word)
    }

    /// Ends the evacuation. All references are updated.
    pub(super) fn end_evacuation(&mut self) {
        self.major.evacuator.free(&mut self.core, &self.shapes, &mut self.old);
        self.begin_sweeping();
    }

    /// Marks the references that the mutator overwrote since the last call, as far as `budget`
    /// allows.
    pub(super) fn mark_logged(&mut self, budget: &mut u32) -> Log {
        let Some(logged) = self.tables.logged(&self.core.memory) else { return Log::Lost };
        let part = logged.min(*budget);
        for _ in 0..part {
            let (overwritten, slot) = self.tables.next_logged();
            self.mark(overwritten);
            if let Some(word) = self.core.memory.read_u32(u64::from(slot)) {
                self.note_slot(u64::from(slot), word);
            }
            if self.old.is_sweeping() {
                // The slots were too many for the evacuation. The log is empty, and some blocks are swept: a mark
                // there would stay.
                return Log::Done;
            }
        }
        *budget -= part;
        if part == logged { Log::Done } else { Log::More }
    }

    /// Marks all references that the mutator overwrote since the last call. Returns whether none
    /// was lost. Otherwise marking must be abandoned.
    pub(super) fn mark_all_logged(&mut self) -> bool {
        self.mark_logged(&mut { u32::MAX }) == Log::Done
    }

    /// Whether marking waits for a collection, which gets the weak references and the host values of
    /// the store.
    pub(super) fn marking_waits(&self) -> bool {
        self.major.phase == Phase::Marking && self.major.waits
    }

    /// Stops emitted code from logging.
    pub(super) fn end_logging(&mut self) {
        self.tables.set_logging(&mut self.core.memory, false);
    }

    /// Ends marking. Everything unmarked is garbage.
    pub(super) fn end_marking(&mut self) {
        if self.major.young {
            self.old.sweep_outside(&mut self.nursery.retained);
            if !self.nursery.retains() {
                self.empty_nursery();
            }
        }
        self.major.lost_log = false;
        let born = self.old.total().bytes.saturating_sub(self.major.began_at);
        self.chooser.learn_live(self.old.marked().bytes.saturating_sub(born));
        self.major.grown = self.old.total().bytes.saturating_sub(self.core.live);
        self.old.end_marking();
        if self.major.evacuator.is_active() {
            self.major.phase = Phase::Evacuating;
        } else {
            self.begin_sweeping();
        }
    }

    /// Begins to sweep, when nothing is to be evacuated any more.
    pub(super) fn begin_sweeping(&mut self) {
        self.end_logging();
        self.old.begin_sweeping();
        self.major.phase = Phase::Sweeping;
    }

    /// Does a slice of the major collection that is under way, if there is one, as a separate
    /// pause.
    pub(super) fn major_slice(&mut self) {
        if self.major.phase == Phase::Idle {
            return;
        }
        let start = Instant::now();
        self.core.pauses.begin(start);
        let bytes_before = self.used_bytes();
        self.major_work(self.to_keep_up());
        let length = start.elapsed();
        if length >= SHORTEST_PAUSE {
            let start = self.core.pauses.since_made(start);
            let (kind, bytes_after) = (PauseKind::Slice, self.used_bytes());
            self.core.pauses.record(Pause { start, length, kind, bytes_before, bytes_after });
        } else {
            self.core.pauses.cancel();
        }
    }

    /// The number of objects that a slice has to mark so that marking ends before the mutator has to
    /// wait for it. Most of the time it is less than what a slice does anyway.
    pub(super) fn to_keep_up(&self) -> u32 {
        if self.major.phase != Phase::Marking || self.has_zeal() {
            return 0;
        }
        let Count { objects, bytes } = self.old.total();
        // New objects count as marked.
        let to_mark = bytes.saturating_sub(self.old.marked().bytes);
        // Marking aims at an end before the old generation has grown by two fifths; the mutator waits when
        // it has grown by half. With an aim of a quarter, marking ends sooner and finds fewer live bytes, so
        // the plan after it is smaller, and a growing heap is marked once more. The estimate counts dead
        // objects, so it is too high and not too low.
        //
        // Large objects came without slices. So there are fewer than there should have been.
        let tenths = if self.major.large > self.major_threshold() / 8 { 1 } else { 4 };
        let room = self.deadline(tenths).saturating_sub(self.taken_bytes());
        // There is a slice for each chunk of the nursery.
        let promoted = self.survival_of(CHUNK).max(1);
        let slices = (room / promoted).max(1);
        let size = (bytes / objects.max(1)).max(1);
        u32::try_from(to_mark / slices / size).unwrap_or(u32::MAX)
    }

    /// Continues the major collection that is under way, if there is one, for a slice and `more`,
    /// or until the pause has taken the time that it should take.
    pub(super) fn major_work(&mut self, more: u32) {
        let mut left = match self.core.memory.zeal() {
            0 => SLICE.saturating_add(more),
            _ => ZEAL_SLICE,
        };
        let (start, time) = (Instant::now(), self.core.pause_left());
        while left > 0 && self.major.phase != Phase::Idle {
            let mut budget = left.min(STEP);
            let given = budget;
            let phase = self.major.phase;
            self.major_step(&mut budget);
            left -= given - budget;
            let waits = self.major.phase == phase && budget == given;
            if waits || self.core.damage.is_some() || start.elapsed() >= time {
                break;
            }
        }
        self.major.took += start.elapsed();
    }

    /// Continues the major collection that is under way, as far as `budget` allows.
    fn major_step(&mut self, budget: &mut u32) {
        let logs = matches!(self.major.phase, Phase::Marking | Phase::Evacuating);
        let log = if logs { self.mark_logged(budget) } else { Log::Done };
        match (self.major.phase, log) {
            (Phase::Marking, Log::Lost) => {
                self.lose_marking();
            }
            (Phase::Marking, Log::Done) if self.mark_some(budget) && self.core.damage.is_none() => {
                self.major.waits = self.core.marking_must_wait();
                if !self.major.waits {
                    self.end_marking();
                }
            }
            (Phase::Evacuating, Log::Lost) => self.cancel_evacuation(),
            _ => {}
        }
        self.sweep_some(budget);
        self.give_back_some(budget);
    }

    /// Sweeps as far as `budget` allows. Returns whether nothing is left.
    pub(super) fn sweep_some(&mut self, budget: &mut u32) -> bool {
        let done = self.old.sweep(budget);
        if done && self.major.phase == Phase::Sweeping {
            self.end_major();
        }
        done
    }

    /// Sweeps until the old generation is likely to have room for the survivors of a minor collection,
    /// as far as `budget` allows. Returns whether it has, or nothing is left to sweep.
    pub(super) fn sweep_for_minor(&mut self, budget: &mut u32) -> bool {
        while self.old.is_sweeping() && self.old.free_bytes() < self.expected() {
            if *budget == 0 {
                return false;
            }
            let given = (*budget).min(STEP);
            let mut left = given;
            self.sweep_some(&mut left);
            *budget -= given - left;
        }
        true
    }

    /// Takes memory from the old generation with `take`. As long as there is none, sweeps more.
    pub(super) fn take_old(
        &mut self,
        mut take: impl FnMut(&mut MarkRegion, &mut HeapMemory) -> Option<u32>,
    ) -> Option<u32> {
        // A search for a large hole takes time, so there are few.
        let mut step = STEP;
        loop {
            let taken = take(&mut self.old, &mut self.core.memory);
            if taken.is_some() || !self.old.is_sweeping() {
                return taken;
            }
            self.sweep_some(&mut { step });
            step = step.saturating_mul(2);
        }
    }
}
