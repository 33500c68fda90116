//! [`Generations`]: a nursery in front of a mark region, and how the two share the memory of a heap.
//!
//! The nursery's addresses are the first ones of the heap, all of them mapped and no part of the heap's limit
//! ([`HeapMemory::apart`]). The mark region begins behind them. What counts is the part of the nursery that is in use, and
//! the mapped part of the mark region. The two share the limit: the nursery gets a part of what old objects leave free
//! ([`most_in_use`](super::nursery::size::most_in_use)), and gives it up when the old generation needs room.

mod check;
pub mod chooser;
pub mod due;
mod lending;
pub(crate) mod loan;
pub mod major;
mod old;
mod room;

pub use check::Marking;
pub use chooser::{BYTES_OF_ROOT, Chooser};
pub use due::Due;
pub use major::{Cycle, Log, Major, Phase};
pub use old::{Counts, OldGeneration, OldTables};

use super::mark_region::MarkRegion;
use super::mark_region::blocks::{BLOCK_SIZE, MAX_SMALL};
use super::nursery::Nursery;
use super::nursery::size::{NurseryUse, Sizing, first_size};
use super::object_map::WORD_BYTES;
use crate::space::Count;
use crate::{HeapCore, HeapError, HeapMemory, Occupancy};
use gc_types::collector::nursery::NURSERY_ALIGN;
use gc_types::{VMGcHeader, VMGcRef};
use std::time::Duration;

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
/// Bytes by which the old generation grows at least when survivors find no room.
const MORE: u64 = 256 << 10;
/// The budget of the first sweep for an object that finds no room. A search for a large hole takes time, so there
/// are few.
const STEP: u32 = 512;

/// A nursery in front of a mark region. Objects are born in the nursery, and those that survive a collection move to
/// the mark region, the old generation.
///
/// # Examples
/// ```
/// use gc_heap::space::Generations;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{VMGcHeader, VMGcKind, TypeIndex};
///
/// let mut core = HeapCore::new(HeapMemory::with_apart(&HeapOptions::default(), 64 << 10)?);
/// let mut space = Generations::new(&mut core, 0)?;
/// assert!(space.refill(&mut core, 16));
/// space.reserve(&mut core);
/// let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
/// let young = space.nursery.bump(&mut core, header, 16).unwrap();
/// let old = space.alloc_old(&mut core, header, 16).unwrap();
/// assert!(space.nursery.is_young(young) && !space.nursery.is_young(old));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Generations {
    /// The young generation.
    pub nursery: Nursery,
    /// The old generation, whose tables may be lent.
    pub old: OldGeneration,
    /// Chooses the nursery's size.
    pub sizing: Sizing,
    /// Objects that were allocated in the old generation.
    born_old: Count,
    /// Bytes that the last collection of the nursery moved to the old generation.
    promoted: u64,
    /// Whether the marking that is under way marks young objects, which were retained.
    marks_young: bool,
    /// Bytes of the nursery that should be in use. They are not if the heap has not grown by them yet.
    wanted: u32,
    /// Bytes of the nursery that the policy lets it use.
    allowed: u32,
}

impl Generations {
    /// The generations of an empty heap. The nursery has the addresses [apart](HeapMemory::apart). Of these, each half for
    /// survivors has at most `survivors` bytes, and at most a quarter. If that is 0, no object ages.
    ///
    /// # Errors
    /// If the heap may not use what it should begin with.
    pub fn new(core: &mut HeapCore, survivors: u32) -> Result<Generations, HeapError> {
        let nursery = Nursery::new(core.memory.apart(), survivors);
        let mut space = Generations {
            old: OldGeneration::new(MarkRegion::new(nursery.end(), core.memory.maximum())),
            nursery,
            sizing: Sizing::default(),
            born_old: Count::default(),
            promoted: 0,
            marks_young: false,
            wanted: 0,
            allowed: u32::MAX,
        };
        space.begin(core)?;
        Ok(space)
    }

    /// Forgets all objects. The core was reset before.
    pub fn reset(&mut self, core: &mut HeapCore) {
        let OldTables { region, evacuator, marker, told, lost } = &mut *self.old;
        match std::mem::take(lost) {
            true => *region = MarkRegion::new(self.nursery.end(), core.memory.maximum()),
            false => region.clear(),
        }
        (*evacuator, *marker, *told) = Default::default();
        self.sizing = Sizing::default();
        self.born_old = Count::default();
        (self.promoted, self.marks_young) = (0, false);
        // What it does not get now it asks for when it allocates.
        let _begun = self.begin(core);
    }

    /// Uses up to a half of what a heap begins with for the nursery. The old generation takes its memory when it needs some.
    fn begin(&mut self, core: &mut HeapCore) -> Result<(), HeapError> {
        core.set_aside(core.in_use());
        self.nursery.renew(&mut core.memory);
        self.allowed = u32::MAX;
        self.wanted = first_size(self.most_in_use(core));
        let first = u64::from(self.wanted).min(core.unused() / 2) as u32;
        self.set_nursery_size(core, first / NURSERY_ALIGN * NURSERY_ALIGN)?;
        self.reserve_for_survivors(core);
        Ok(())
    }

    // ---- allocation ---------------------------------------------------------------

    /// Hands out another chunk of the nursery that is large enough for an object of `size` bytes. Returns whether
    /// there is one.
    pub fn refill(&mut self, core: &mut HeapCore, size: u32) -> bool {
        if self.nursery.retains() {
            return false;
        }
        if !self.nursery.refill(&mut core.memory, size) {
            return false;
        }
        // In a new heap the first survivors need memory, too.
        if self.nursery.touch_ahead(&core.memory, USED_ALONE) {
            self.reserve(core);
            self.old.region.touch_ahead(&core.memory, self.nursery.size().into());
        }
        true
    }

    /// Allocates an object in the old generation. As long as there is no room, sweeps more.
    pub fn alloc_old(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        let index = self.sweep_until(core, |old, memory| old.alloc_zeroed(memory, size))?;
        core.set_header_at(index, header)?;
        self.born_old.add(size);
        Some(index)
    }

    /// Takes memory in the old generation for a survivor of `size` bytes, when there was none: sweeps, or else maps
    /// more.
    #[cold]
    pub fn room_for_survivor(&mut self, core: &mut HeapCore, size: u32) -> Option<u32> {
        if let Some(at) = self.sweep_until(core, |old, _memory| old.alloc(size)) {
            return Some(at);
        }
        let more = (core.memory.usable() / 8).max(u64::from(size) + MORE);
        self.map_old(core, more, size.into()).ok()?;
        self.old.region.alloc(size)
    }

    /// Takes memory from the old generation with `take`. As long as there is none, sweeps more.
    fn sweep_until(
        &mut self,
        core: &mut HeapCore,
        mut take: impl FnMut(&mut MarkRegion, &mut HeapMemory) -> Option<u32>,
    ) -> Option<u32> {
        let mut step = STEP;
        loop {
            let taken = take(&mut self.old.region, &mut core.memory);
            if taken.is_some() || !self.old.region.is_sweeping() {
                return taken;
            }
            self.old.region.sweep(&mut core.memory, &mut { step });
            step = step.saturating_mul(2);
        }
    }

    /// Whether an object of `size` bytes has memory of its own in the old generation.
    pub fn is_large(size: u32) -> bool {
        size > MAX_SMALL
    }

    /// Records that the slot at `at` now holds `word`, if that refers into a block that will be evacuated. Returns whether
    /// the evacuation was given up, because there are too many slots.
    #[must_use]
    #[inline(always)]
    pub fn note_slot(&mut self, at: u64, word: u32) -> bool {
        self.old.evacuator.is_active() && self.old.evacuator.is_chosen(word) && self.note_chosen(at)
    }

    #[cold]
    fn note_chosen(&mut self, at: u64) -> bool {
        // Young objects will have moved before the evacuation, and are scanned when they move. But
        // retained objects stay.
        if at < u64::from(self.nursery.end()) && !self.nursery.retains() {
            return false;
        }
        let too_many = !self.old.evacuator.record(at as u32);
        if too_many {
            self.old.evacuator.give_up();
        }
        too_many
    }

    // ---- what it has, and needs -----------------------------------------------------

    /// The bytes of all objects, dead or alive.
    pub fn used_bytes(&self, core: &HeapCore) -> u64 {
        let young = u64::from(self.nursery.used(&core.memory));
        self.old.counts().total.bytes + young + self.nursery.survivors.count().bytes
    }

    /// All objects that were allocated since the heap was new, and those of them that may be alive.
    pub fn counts(&self, core: &HeapCore) -> (Count, Count) {
        let mut allocated = self.nursery.allocated(core);
        allocated.add_all(self.born_old);
        let mut live = self.nursery.young(core);
        live.add_all(self.nursery.survivors.count());
        live.add_all(self.old.counts().total);
        (allocated, live)
    }

    /// Calls `visit` with each object, in address order.
    ///
    /// # Errors
    /// If a young object is damaged, or if a thread has panicked that had the tables of the old generation.
    pub fn walk(&self, core: &HeapCore, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.nursery.walk(core, |at, _| {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
            Ok(())
        })?;
        self.old.check_lost()?;
        self.old.region.objects().filter_map(VMGcRef::from_heap_index).for_each(visit);
        Ok(())
    }

    /// The use of the heap's memory, if at least `least_room` bytes should be promoted between two collections of all
    /// objects. Every collection pays.
    pub fn occupancy(&self, core: &HeapCore, least_room: u64) -> Occupancy {
        Occupancy {
            used: self.used_bytes(core),
            given_back: self.unbacked(core),
            least_room,
            wanted: self.wanted(core),
            collection_pays: true,
            frees_young: true,
        }
    }

    /// Mapped bytes without memory: given back, or never touched.
    pub fn unbacked(&self, core: &HeapCore) -> u64 {
        let old = self.old.counts();
        let unused = core.memory.len() - u64::from(old.end);
        old.given_back + old.aside + self.nursery.unbacked() + unused
    }

    /// Bytes that the last collection of the nursery moved to the old generation.
    pub fn promoted(&self) -> u64 {
        self.promoted
    }

    /// Bytes that a minor collection now is likely to need in the old generation.
    pub fn expected(&self, core: &HeapCore) -> u64 {
        if self.nursery.retains() {
            return self.nursery.retained_bytes();
        }
        let used = u64::from(self.nursery.used(&core.memory));
        let survivors = self.nursery.survivors.count().bytes;
        (self.promoted * 3 / 2).max(used / 16).max(survivors / 2).min(used + survivors)
    }

    /// The time that a minor collection now is likely to take.
    pub fn expected_time(&self, core: &HeapCore) -> Duration {
        let used = self.nursery.used(&core.memory);
        self.sizing.expected(NurseryUse { used, ..self.sizing.last() })
    }

    /// Whether the old generation has room for the expected survivors of a minor collection, or may have
    /// when more of it is swept.
    pub fn has_room_for_minor(&self, core: &HeapCore) -> bool {
        let old = self.old.counts();
        old.is_sweeping || old.free_bytes + core.unused() >= self.expected(core)
    }

    /// Sweeps until the old generation is likely to have room for the survivors of a minor collection,
    /// as far as `budget` allows. Returns whether it has, or nothing is left to sweep.
    pub fn sweep_for_minor(&mut self, core: &mut HeapCore, budget: &mut u32) -> bool {
        while self.old.region.is_sweeping() && self.old.region.free_bytes() < self.expected(core) {
            if *budget == 0 {
                return false;
            }
            let given = (*budget).min(STEP);
            let mut left = given;
            self.old.region.sweep(&mut core.memory, &mut left);
            *budget -= given - left;
        }
        true
    }

    /// The bytes that must be added to the old generation so that it has the size of the plan's goal.
    /// `None` if there is no goal.
    fn wanted(&self, core: &HeapCore) -> Option<u64> {
        let goal = core.plan.goal;
        (goal != u64::MAX).then(|| goal.saturating_sub(self.old_in_use()))
    }

    // ---- the nursery's size -----------------------------------------------------------

    /// Begins a collection of the nursery. If objects `age`, those that survive their first collection stay young, as far as
    /// there is room for them.
    pub fn begin_collection(&mut self, core: &mut HeapCore, age: bool) {
        if age {
            self.old.region.cover(self.nursery.end().into());
            let new = self.nursery.used(&core.memory);
            self.nursery.survivors.begin(core, new);
        } else {
            let retains = self.nursery.retains();
            self.nursery.survivors.begin_without(core, retains);
        }
    }

    /// Bytes of all young objects, at most.
    pub fn young_bytes(&self, core: &HeapCore) -> u64 {
        if self.nursery.retains() {
            return self.nursery.retained_bytes();
        }
        u64::from(self.nursery.used(&core.memory)) + self.nursery.survivors.count().bytes
    }

    /// Ends a collection of the nursery that moved all that survived: of the new objects `found.survived` bytes, and of the
    /// survivors `again` bytes. Sizes the empty nursery from that, and from the depth of the stack.
    pub fn emptied(&mut self, core: &mut HeapCore, found: NurseryUse, again: u64) {
        let survivors = &mut self.nursery.survivors;
        self.promoted = found.survived + again - survivors.placed();
        let objects = survivors.objects();
        self.old.region.forget_outside(objects.start, objects.end.next_multiple_of(WORD_BYTES));
        survivors.end(core, again);
        self.nursery.empty(&mut core.memory);
        self.ask_policy(core, found);
        let (most, target) = (self.share(core), core.side.pause_target);
        let mut size = self.sizing.next(self.nursery.size(), most, core.live, target, found);
        let deep = core.side.stack_room().next_multiple_of(NURSERY_ALIGN.into());
        size = size.max(deep.min(most.into()) as u32);
        if core.side.asked {
            // Use as little memory as possible.
            size = size.min(found.least_size(first_size(most))).min(most);
        }
        self.make_room_for_nursery(core, size);
        let size = size.min(self.room(core)) / NURSERY_ALIGN * NURSERY_ALIGN;
        // If that is refused, it keeps its size.
        let _used = self.set_nursery_size(core, size);
        self.wanted = self.nursery.size();
        self.reserve_for_survivors(core);
        self.touch_old_ahead(core);
    }

    /// Ends a collection of the nursery that found no room for some objects, which have so many bytes. In all, `survived`
    /// bytes survived. Survivors are retained too, so that no object is aged in a nursery that retains others.
    pub fn retain(&mut self, core: &HeapCore, mut objects: Vec<u32>, bytes: u64, survived: u64) {
        let survivors = &mut self.nursery.survivors;
        self.promoted = survived - bytes - survivors.placed();
        let (before, placed) = (survivors.objects(), survivors.to);
        self.old.region.forget_outside(before.start, before.end.next_multiple_of(WORD_BYTES));
        let bytes = bytes + survivors.placed();
        objects.extend(self.old.region.starts(placed.start, placed.next));
        survivors.retain();
        self.nursery.retain(objects, bytes);
        self.old.region.add_outside(self.nursery.retained(), core.memory.len());
    }

    /// Forgets that objects were retained, because they are being moved.
    pub fn forget_retained(&mut self) {
        self.old.region.remove_outside(&self.nursery.take_retained());
    }

    /// Begins to mark the old generation. Young objects count as alive. If objects are retained in the nursery, they are
    /// marked too, and marking must end before the mutator runs again.
    pub fn begin_marking(&mut self) {
        self.marks_young = self.nursery.retains();
        let OldTables { region, marker, .. } = &mut *self.old;
        marker.begin(if self.marks_young { 0 } else { region.start() });
        region.begin_marking();
    }

    /// Ends marking. Everything unmarked is garbage, and waits for [the sweep](MarkRegion::begin_sweeping).
    pub fn end_marking(&mut self, core: &mut HeapCore) {
        if std::mem::take(&mut self.marks_young) {
            self.sweep_retained(core);
        }
        self.old.region.end_marking();
    }

    /// Abandons marking. Nothing is known to be garbage.
    pub fn abandon_marking(&mut self) {
        self.marks_young = false;
        self.old.region.abandon_marking();
    }

    /// Begins to sweep what was there when marking ended.
    pub fn begin_sweeping(&mut self) {
        self.old.region.begin_sweeping();
    }

    /// Forgets the unmarked ones of the retained objects.
    fn sweep_retained(&mut self, core: &mut HeapCore) {
        let mut retained = self.nursery.take_retained();
        self.old.region.sweep_outside(&mut retained);
        if retained.is_empty() {
            self.nursery.empty(&mut core.memory);
        } else {
            self.nursery.retain(retained, self.nursery.retained_bytes());
        }
    }

    /// Lets the system provide the memory that the survivors of the next minor collections need.
    fn touch_old_ahead(&mut self, core: &HeapCore) {
        let least = (self.old.region.total().bytes / PART_AHEAD).min(FEW_AHEAD);
        if self.promoted.max(least) >= LEAST_AHEAD {
            let wanted = (4 * self.promoted).clamp(least, MOST_AHEAD);
            let wanted = wanted.saturating_sub(self.old.region.recyclable_bytes());
            self.old.region.touch_ahead(&core.memory, wanted);
        }
    }
}
