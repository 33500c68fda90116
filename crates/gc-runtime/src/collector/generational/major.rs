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
use super::nursery::{CHUNK, Count};
use super::old::Old;
use crate::space::blocks::GiveBack;
use crate::space::object_map::Mark;
use crate::trace::grey::Grey;
use crate::{HeapMemory, Pause, PauseKind};
use gc_types::I31;
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
    /// Sweeping large objects. Blocks are swept after them.
    SweepingLarge,
    /// Sweeping blocks. Those before this one are swept.
    Sweeping(usize),
    /// Giving free memory back to the system.
    GivingBack(GiveBack),
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

/// The state of marking.
#[derive(Debug, Default)]
pub(super) struct Marker {
    /// Marked objects that are to be scanned.
    pub(super) stack: Vec<Grey>,
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
        debug_assert!(matches!(self.phase, Phase::Idle | Phase::GivingBack(_)));
        self.choose_blocks();
        self.mark_from_here();
    }

    /// Begins to mark in a collection that finishes marking before the mutator runs again and moves
    /// nothing afterwards.
    pub(super) fn begin_marking_all(&mut self) {
        debug_assert!(matches!(self.phase, Phase::Idle | Phase::GivingBack(_)));
        self.evacuator.clear();
        self.mark_from_here();
    }

    fn mark_from_here(&mut self) {
        self.marker.stack.clear();
        self.marker.young = self.nursery.retains();
        self.marker.waits = false;
        self.marker.took = Duration::ZERO;
        self.marker.began_at = self.old.total.bytes;
        self.marker.large_before = std::mem::take(&mut self.marker.large);
        self.old.begin_marking();
        self.phase = Phase::Marking;
    }

    /// Lets the mutator run while marking is under way.
    pub(super) fn interleave_marking(&mut self) {
        self.tables.set_logging(&mut self.core.memory, true);
        self.tables.set_evacuation(self.evacuator.is_active());
    }

    /// Abandons marking. Nothing is known to be garbage.
    pub(super) fn abandon_marking(&mut self) {
        if self.phase == Phase::Marking {
            self.evacuator.clear();
            self.old.abandon_marking();
            self.marker.stack.clear();
            self.end_logging();
            self.phase = Phase::Idle;
        }
    }

    /// Abandons marking because entries of the log were lost.
    pub(super) fn lose_marking(&mut self) {
        log::debug!("marking given up: the log of overwritten references was too short");
        self.marker.lost_log = true;
        self.abandon_marking();
    }

    /// Marks the referent of `word`, a reference from anywhere.
    #[inline(always)]
    pub(super) fn mark(&mut self, word: u32) {
        if self.may_mark(word) {
            self.mark_object(word);
        }
    }

    /// Whether `word` may refer to an object that is to be marked.
    #[inline(always)]
    fn may_mark(&self, word: u32) -> bool {
        word & I31::TAG == 0 && (word >= self.nursery.end || self.marker.young && word != 0)
    }

    #[inline(always)]
    fn mark_object(&mut self, word: u32) {
        match self.old.map.mark(word) {
            Mark::New => self.marker.stack.push(Grey::new(word, 0)),
            Mark::Old => {}
            Mark::NoObject => self.core.note_damage(word, "a reference to no object"),
        }
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
            if self.is_sweeping() {
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
        self.phase == Phase::Marking && self.marker.waits
    }

    /// Stops emitted code from logging.
    pub(super) fn end_logging(&mut self) {
        self.tables.set_logging(&mut self.core.memory, false);
    }

    /// Ends marking. Everything unmarked is garbage.
    pub(super) fn end_marking(&mut self) {
        if self.marker.young {
            let map = &mut self.old.map;
            self.nursery.retained.retain(|&index| {
                let live = map.is_marked(index);
                if live {
                    map.unmark(index);
                } else {
                    map.clear_start(index);
                }
                live
            });
            if !self.nursery.retains() {
                self.empty_nursery();
            }
        }
        self.marker.lost_log = false;
        let born = self.old.total.bytes.saturating_sub(self.marker.began_at);
        self.chooser.learn_live(self.old.marked_bytes().saturating_sub(born));
        self.marker.grown = self.old.total.bytes.saturating_sub(self.core.live);
        self.old.end_marking();
        if self.evacuator.is_active() {
            self.phase = Phase::Evacuating;
        } else {
            self.begin_sweeping();
        }
    }

    /// Begins to sweep, when nothing is to be evacuated any more.
    pub(super) fn begin_sweeping(&mut self) {
        self.end_logging();
        self.old.begin_sweeping();
        self.phase = Phase::SweepingLarge;
    }

    /// Whether known garbage is not swept yet.
    pub(super) fn is_sweeping(&self) -> bool {
        matches!(self.phase, Phase::SweepingLarge | Phase::Sweeping(_))
    }

    /// Does a slice of the major collection that is under way, if there is one, as a separate
    /// pause.
    pub(super) fn major_slice(&mut self) {
        if self.phase == Phase::Idle {
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
        if self.phase != Phase::Marking || self.has_zeal() {
            return 0;
        }
        let Count { objects, bytes } = self.old.total;
        // New objects count as marked.
        let to_mark = bytes.saturating_sub(self.old.marked_bytes());
        // Marking aims at an end before the old generation has grown by two fifths; the mutator waits when
        // it has grown by half. With an aim of a quarter, marking ends sooner and finds fewer live bytes, so
        // the plan after it is smaller, and a growing heap is marked once more. The estimate counts dead
        // objects, so it is too high and not too low.
        //
        // Large objects came without slices. So there are fewer than there should have been.
        let tenths = if self.marker.large > self.major_threshold() / 8 { 1 } else { 4 };
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
        while left > 0 && self.phase != Phase::Idle {
            let mut budget = left.min(STEP);
            let given = budget;
            let phase = self.phase;
            self.major_step(&mut budget);
            left -= given - budget;
            let waits = self.phase == phase && budget == given;
            if waits || self.core.damage.is_some() || start.elapsed() >= time {
                break;
            }
        }
        self.marker.took += start.elapsed();
    }

    /// Continues the major collection that is under way, as far as `budget` allows.
    fn major_step(&mut self, budget: &mut u32) {
        let logs = matches!(self.phase, Phase::Marking | Phase::Evacuating);
        let log = if logs { self.mark_logged(budget) } else { Log::Done };
        match (self.phase, log) {
            (Phase::Marking, Log::Lost) => {
                self.lose_marking();
            }
            (Phase::Marking, Log::Done) if self.mark_some(budget) && self.core.damage.is_none() => {
                self.marker.waits = self.core.marking_must_wait();
                if !self.marker.waits {
                    self.end_marking();
                }
            }
            (Phase::Evacuating, Log::Lost) => self.cancel_evacuation(),
            _ => {}
        }
        self.sweep_some(budget);
        self.give_back_some(budget);
    }

    /// Sweeps blocks, as far as `budget` allows. Returns whether there are no more.
    pub(super) fn sweep_some(&mut self, budget: &mut u32) -> bool {
        let mut block = match self.phase {
            Phase::Sweeping(block) => block,
            Phase::SweepingLarge if self.old.sweep_large(budget) => 0,
            Phase::SweepingLarge => return false,
            _ => return true,
        };
        let blocks = self.old.blocks_to_sweep();
        while block < blocks && *budget > 0 {
            self.old.sweep_block(block);
            block += 1;
            *budget = budget.saturating_sub(16);
        }
        if block < blocks {
            self.phase = Phase::Sweeping(block);
            return false;
        }
        self.old.end_sweeping();
        self.end_major();
        true
    }

    /// Sweeps until the old generation is likely to have room for the survivors of a minor collection,
    /// as far as `budget` allows. Returns whether it has, or nothing is left to sweep.
    pub(super) fn sweep_for_minor(&mut self, budget: &mut u32) -> bool {
        while self.is_sweeping() && self.old.free_bytes() < self.expected() {
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
        mut take: impl FnMut(&mut Old, &mut HeapMemory) -> Option<u32>,
    ) -> Option<u32> {
        // A search for a large hole takes time, so there are few.
        let mut step = STEP;
        loop {
            let taken = take(&mut self.old, &mut self.core.memory);
            if taken.is_some() || !self.is_sweeping() {
                return taken;
            }
            self.sweep_some(&mut { step });
            step = step.saturating_mul(2);
        }
    }
}
