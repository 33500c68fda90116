//! [`Cycle`]: a major collection, which marks the old generation and sweeps it.
//!
//! Marking follows references from the roots with an explicit stack. It may stop anywhere, also in the middle of an
//! array, and the mutator may run in between. Then the overwritten references are logged and marked
//! too, and new objects are marked when they are allocated. So marking finds everything that was
//! reachable when it began (snapshot at the beginning: Taiichi Yuasa, "Real-Time Garbage Collection
//! on General-Purpose Machines", 1990). It begins with an empty nursery and ignores young objects. If
//! objects were retained, it marks these too, and then it does not stop before it is done.
//!
//! If the store has weak references or externrefs, marking then waits for the next collection, which marks
//! what weak references keep, and drops the host values of dead externrefs. Without a collection neither can
//! be seen. If blocks were chosen for evacuation, they wait for the next collection with all roots, too.
//!
//! Marking and sweeping continue in slices whenever the nursery needs another chunk, and at the end of each minor
//! collection. They are fast enough to finish before the old generation has grown much.

use super::lending::Lending;
use super::{Chooser, Due, Generations, OldTables};
use crate::remember::OverwrittenLog;
use crate::space::{Count, nursery};
use crate::trace::marking::{Marked, Marking};
use crate::trace::shapes::Shapes;
use crate::{HeapCore, Pause, PauseKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of objects, and of eighths of slots, that a slice visits, if there is time for so many. A slice
/// processes at most as many log entries and large objects, and fewer blocks. With twice as many, marking
/// ends sooner and begins once more: a map with 1 GiB of entries took 1.3 of its time. With half as many,
/// marking lasts longer: lists of 1 GiB took 1.2 of their time.
pub const SLICE: u32 = 6 << 10;
/// Number of these between two reads of the clock.
pub const STEP: u32 = 512;
/// Shorter slices are not counted as pauses.
const SHORTEST_PAUSE: Duration = Duration::from_micros(1);
/// [`SLICE`] under zeal, where a major collection should last for several collections.
pub(super) const ZEAL_SLICE: u32 = 16;
/// Number of blocks that a slice gives back between two reads of the clock.
const GIVEN_BACK: u32 = 16;

/// The phase of the old generation's collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is under way.
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

/// The progress of reading the log of overwritten references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// To its end.
    Done,
    /// Not to its end, because the budget was used.
    More,
    /// Some entries were lost. Marking must be abandoned.
    Lost,
}

/// The major collection that is under way, and what is known from the last one.
///
/// [`Cycle`] has an example.
#[derive(Debug, Default)]
pub struct Major {
    phase: Phase,
    pub(super) lending: Lending,
    /// Whether everything was marked except what weak references keep. A collection marks that, and sweeps
    /// host values.
    waits: bool,
    /// Time spent in the major collection so far.
    pub took: Duration,
    /// Bytes of old objects when marking began.
    began_at: u64,
    /// Bytes by which the old generation had grown since the previous marking.
    grown: u64,
    /// Bytes of the old generation that count in special ways.
    pub size: OldSize,
    /// Whether the last marking was given up because entries of the log were lost. Time that the host gives is not
    /// used for another one.
    pub lost_log: bool,
}

/// Bytes of the old generation that count in special ways.
#[derive(Debug, Default)]
pub struct OldSize {
    /// Bytes of large objects that had been allocated since the last plan when marking began.
    pub large_before: u64,
    /// Bytes of large objects that were allocated since marking began, or since the last plan if that was
    /// later. Those that are allocated while marking is under way count as marked.
    pub large: u64,
    /// Bytes between old objects that nothing could use after the last sweep, as far as they count
    /// (half of the room that the plan leaves).
    pub lost: u64,
}

impl Major {
    /// What is under way.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether marking waits for a collection, which gets the weak references and the host values of
    /// the store.
    pub fn marking_waits(&self) -> bool {
        self.phase == Phase::Marking && self.waits
    }

    /// Whether a major collection is under way.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::GivingBack)
    }

    /// Whether a major collection, or a trace, may begin.
    pub fn may_begin(&self) -> bool {
        !matches!(self.phase, Phase::Marking | Phase::Evacuating)
    }
}

/// The parts of a heap on which a major collection works. A heap makes this value when it needs it.
///
/// # Examples
/// ```
/// use gc_heap::remember::OverwrittenLog;
/// use gc_heap::space::Generations;
/// use gc_heap::space::generations::{Chooser, Cycle, Major, Phase};
/// use gc_heap::trace::shapes::Shapes;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{HeapDataOffsets, SideTable, VMGcHeader, VMGcKind, TypeIndex};
/// use std::sync::Arc;
///
/// const WORDS: u32 = HeapDataOffsets::COLLECTOR + 8;
/// const LOG: SideTable = SideTable::masked("log", WORDS + 16, 3, 1 << 10).with_switch(WORDS);
/// let mut core = HeapCore::new(HeapMemory::with_apart(&HeapOptions::default(), 64 << 10)?);
/// let mut log = OverwrittenLog::new(&core.memory, LOG, WORDS + 8)?;
/// let mut space = Generations::new(&mut core, 0)?;
/// space.reserve(&mut core);
/// let (shapes, mut major, mut chooser): (Arc<Shapes>, Major, Chooser) = Default::default();
///
/// let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
/// let kept = space.alloc_old(&mut core, header, 16).unwrap();
/// let dead = space.alloc_old(&mut core, header, 16).unwrap();
/// let mut cycle = Cycle {
///     core: &mut core, shapes: &shapes, space: &mut space,
///     log: &mut log, major: &mut major, chooser: &mut chooser,
/// };
/// cycle.begin();
/// cycle.marking().mark(kept);
/// // From here on the program could run, and slices would do the rest.
/// cycle.interleave();
/// while cycle.major.phase() != Phase::Idle {
///     cycle.slice();
/// }
/// assert!(space.old.region.objects().eq([kept]));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Cycle<'h> {
    /// The heap's memory and what its store lends it.
    pub core: &'h mut HeapCore,
    /// The shapes of objects.
    pub shapes: &'h Arc<Shapes>,
    /// The generations.
    pub space: &'h mut Generations,
    /// The references that the program overwrites while marking is under way.
    pub log: &'h mut OverwrittenLog,
    /// The progress of the collection.
    pub major: &'h mut Major,
    /// Learns how much is alive.
    pub chooser: &'h mut Chooser,
}

impl Cycle<'_> {
    /// The policies, for the same parts.
    pub fn due(&self) -> Due<'_> {
        Due { core: self.core, space: self.space, major: self.major, chooser: self.chooser }
    }

    /// The parts that marking needs.
    #[inline(always)]
    pub fn marking(&mut self) -> Marking<'_> {
        let OldTables { region, evacuator, marker, .. } = &mut *self.space.old;
        Marking { core: self.core, shapes: self.shapes, region, evacuator, marker }
    }

    // ---- marking ------------------------------------------------------------------

    /// Begins to mark, and chooses blocks to evacuate. The roots must be marked before the mutator runs again, unless
    /// marking ends before.
    pub fn begin(&mut self) {
        let OldTables { region, evacuator, .. } = &mut *self.space.old;
        evacuator.choose(region, self.core);
        self.begin_in_place();
    }

    /// Begins to mark. No blocks are chosen.
    pub fn begin_in_place(&mut self) {
        debug_assert!(matches!(self.major.phase, Phase::Idle | Phase::GivingBack));
        let major = &mut *self.major;
        (major.phase, major.waits, major.took) = (Phase::Marking, false, Duration::ZERO);
        major.began_at = self.space.old.region.total().bytes;
        major.size.large_before = std::mem::take(&mut major.size.large);
        self.space.begin_marking();
    }

    /// Lets the mutator run while marking is under way.
    pub fn interleave(&mut self) {
        self.log.begin(&mut self.core.memory, OverwrittenLog::LOGS);
        self.log.set_evacuates(self.space.old.evacuator.is_active());
    }

    /// Abandons marking. Nothing is known to be garbage.
    pub fn abandon(&mut self) {
        if self.major.phase == Phase::Marking {
            self.space.old.evacuator.clear();
            self.space.abandon_marking();
            self.space.old.marker.clear();
            self.major.lending.clear();
            self.log.begin(&mut self.core.memory, 0);
            self.major.phase = Phase::Idle;
        }
    }

    /// Abandons marking because entries of the log were lost.
    pub fn lose(&mut self) {
        log::debug!("marking given up: the log of overwritten references was too short");
        self.major.lost_log = true;
        self.abandon();
    }

    /// Scans marked objects, as far as `budget` allows. Returns whether there are no more.
    pub fn mark_some(&mut self, budget: &mut u32) -> bool {
        loop {
            match self.marking().run(budget) {
                Marked::Done => return true,
                Marked::More => return false,
                Marked::ManySlots => {
                    self.space.old.evacuator.give_up();
                    self.cancel_evacuation();
                }
            }
        }
    }

    /// Marks the references that the mutator overwrote since the last call, as far as `budget`
    /// allows.
    pub fn mark_logged(&mut self, budget: &mut u32) -> Log {
        let Some(logged) = self.log.unread(&self.core.memory) else { return Log::Lost };
        let kept = self.space.old.marker.overwritten.len();
        let all = u32::try_from(kept).unwrap_or(u32::MAX).saturating_add(logged);
        let part = all.min(*budget);
        for _ in 0..part {
            let kept = self.space.old.marker.overwritten.pop();
            let (overwritten, slot) = kept.unwrap_or_else(|| self.log.next());
            self.marking().mark(overwritten);
            if let Some(word) = self.core.memory.read_u32(slot.into()) {
                self.note_slot(slot.into(), word);
            }
            if self.major.phase == Phase::Sweeping {
                // The slots were too many for the evacuation. The log is empty, and some blocks are swept: a mark
                // there would stay.
                return Log::Done;
            }
        }
        *budget -= part;
        if part == all { Log::Done } else { Log::More }
    }

    /// Ends marking. Everything unmarked is garbage.
    pub fn end_marking(&mut self) {
        let (total, marked) =
            (self.space.old.region.total().bytes, self.space.old.region.marked().bytes);
        let born = total.saturating_sub(self.major.began_at);
        self.chooser.learn_live(marked.saturating_sub(born));
        self.major.lost_log = false;
        self.major.grown = total.saturating_sub(self.core.live);
        self.space.end_marking(self.core);
        if self.space.old.evacuator.is_active() {
            self.major.phase = Phase::Evacuating;
        } else {
            self.begin_sweeping();
        }
    }

    // ---- evacuation ---------------------------------------------------------------

    /// Abandons the evacuation. The chosen blocks are swept like all others.
    #[cold]
    pub fn cancel_evacuation(&mut self) {
        self.space.old.evacuator.clear();
        self.log.set_evacuates(false);
        if self.major.phase == Phase::Evacuating {
            self.begin_sweeping();
        }
    }

    // ---- sweeping -----------------------------------------------------------------

    /// Begins to sweep, when nothing is to be evacuated any more.
    pub fn begin_sweeping(&mut self) {
        self.log.begin(&mut self.core.memory, 0);
        self.space.begin_sweeping();
        self.major.phase = Phase::Sweeping;
    }

    /// Sweeps as far as `budget` allows. Returns whether nothing is left.
    pub fn sweep(&mut self, budget: &mut u32) -> bool {
        let done = self.space.old.region.sweep(&mut self.core.memory, budget);
        if done && self.major.phase == Phase::Sweeping {
            self.end();
        }
        done
    }

    /// Ends the major collection, if an allocation or a survivor that needed room has swept the last block.
    pub fn notice_end(&mut self) {
        if self.major.phase == Phase::Sweeping && !self.space.old.region.is_sweeping() {
            self.end();
        }
    }

    /// Makes a plan when everything is swept, and continues with giving memory back.
    fn end(&mut self) {
        let took = std::mem::take(&mut self.major.took);
        let occupancy = self.due().occupancy();
        let (live, grown) = (self.space.old.region.total().bytes, self.major.grown);
        let lived = self.core.live + grown;
        self.space.sizing.after_major(lived.saturating_sub(live), grown);
        self.core.make_plan(&occupancy, live, grown, took);
        self.major.size.large = 0;
        // In a heap whose objects are far apart, the next marking must not begin at once.
        let room = self.due().major_threshold().saturating_sub(live);
        let most = (room / 2).min(room.saturating_sub(self.due().least_old()));
        self.major.size.lost = self.space.old.region.lost_bytes().min(most);
        let spare = self.core.plan.spare.saturating_sub(self.space.old.region.recyclable_bytes());
        self.space.old.region.begin_giving_back(spare);
        self.major.phase = Phase::GivingBack;
    }

    /// Gives free blocks back, as far as `budget` allows. Returns whether none are left.
    pub fn give_back(&mut self, budget: &mut u32) -> bool {
        while self.major.phase == Phase::GivingBack && *budget > 0 {
            *budget = budget.saturating_sub(32 * GIVEN_BACK);
            self.space.old.region.give_back(&mut self.core.memory, GIVEN_BACK);
            if !self.space.old.region.is_giving_back() {
                self.major.phase = Phase::Idle;
            }
        }
        self.major.phase != Phase::GivingBack
    }

    // ---- slices -------------------------------------------------------------------

    /// Does a slice of the major collection that is under way, if there is one, as a separate
    /// pause.
    pub fn slice(&mut self) {
        if self.major.phase == Phase::Idle || self.is_done_elsewhere() {
            return;
        }
        let start = Instant::now();
        self.core.side.pauses.begin(start);
        self.recall();
        let bytes_before = self.space.used_bytes(self.core);
        self.work(SLICE.saturating_add(self.to_keep_up()));
        self.lend();
        let length = start.elapsed();
        if length >= SHORTEST_PAUSE {
            let start = self.core.side.pauses.since_made(start);
            let (kind, bytes_after) = (PauseKind::Slice, self.space.used_bytes(self.core));
            self.core.side.pauses.record(Pause { start, length, kind, bytes_before, bytes_after });
        } else {
            self.core.side.pauses.cancel();
        }
    }

    /// The units of work that a slice has to do so that marking ends before the mutator has to
    /// wait for it. Most of the time it is less than what a slice does anyway.
    pub fn to_keep_up(&self) -> u32 {
        if self.major.phase != Phase::Marking || self.core.memory.zeal() != 0 {
            return 0;
        }
        let counts = self.space.old.counts();
        let Count { objects, bytes } = counts.total;
        // New objects count as marked.
        let to_mark = bytes.saturating_sub(counts.marked.bytes);
        // Marking aims at an end before the old generation has grown by a fifth; the mutator waits when
        // it has grown by half. With an aim of two fifths a thread has more time to mark, but the largest heap of `splay`
        // was 1.4 times as large. The estimate counts dead objects, so it is too high and not too low.
        //
        // Large objects came without slices. So there are fewer than there should have been.
        let due = self.due();
        let threshold = due.major_threshold();
        let tenths = if self.major.size.large > threshold / 8 { 1 } else { 2 };
        // The heap's limit may leave less, of which the nursery needs a part.
        let within = threshold + self.core.ceiling().saturating_sub(threshold) / 2;
        let room = due.deadline(tenths).min(within).saturating_sub(due.taken_bytes());
        // There is a slice for each chunk of the nursery.
        let promoted = self.chooser.minor_cost(nursery::CHUNK.into()).max(1);
        let slices = (room / promoted).max(1);
        let size = (bytes / objects.max(1)).max(1);
        let units = to_mark / size + counts.waiting_slots / 8;
        u32::try_from(units / slices).unwrap_or(u32::MAX)
    }

    /// Continues the major collection that is under way, if there is one, for `units` units of work,
    /// or until the pause has taken the time that it should take.
    pub fn work(&mut self, units: u32) {
        let mut left = match self.core.memory.zeal() {
            0 => units,
            _ => ZEAL_SLICE,
        };
        let (start, time) = (Instant::now(), self.core.side.pause_left());
        while left > 0 && self.major.phase != Phase::Idle {
            let mut budget = left.min(STEP);
            let given = budget;
            let phase = self.major.phase;
            self.step(&mut budget);
            left -= given - budget;
            self.major.lending.count((given - budget).into());
            let waits = self.major.phase == phase && budget == given;
            // Another thread may do what follows.
            let ends = self.major.phase != phase && self.core.memory.threads().is_parallel();
            if waits || ends || self.core.damage.is_some() || start.elapsed() >= time {
                break;
            }
        }
        self.major.took += start.elapsed();
    }

    /// Continues the major collection that is under way, as far as `budget` allows.
    fn step(&mut self, budget: &mut u32) {
        let logs = matches!(self.major.phase, Phase::Marking | Phase::Evacuating);
        let log = if logs { self.mark_logged(budget) } else { Log::Done };
        match (self.major.phase, log) {
            (Phase::Marking, Log::Lost) => self.lose(),
            (Phase::Marking, Log::Done) if self.mark_some(budget) && self.core.damage.is_none() => {
                self.major.waits = self.core.side.marking_must_wait();
                if !self.major.waits {
                    self.end_marking();
                }
            }
            (Phase::Evacuating, Log::Lost) => self.cancel_evacuation(),
            _ => {}
        }
        self.sweep(budget);
        self.give_back(budget);
    }
}
