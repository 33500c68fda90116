//! [`Generations`]: a nursery in front of a mark region, and how the two share the memory of a heap.
//!
//! The nursery begins where the heap does and never moves, so the mark region begins behind the largest nursery.
//! Address space between the part in use and that end is mapped and not used, or not mapped. Survivors of the
//! nursery need room in the old generation. If a heap may not grow, a part of the nursery becomes that room.

mod check;
pub mod chooser;
pub mod due;
pub mod major;

pub use check::Marking;
pub use chooser::{BYTES_OF_ROOT, Chooser};
pub use due::Due;
pub use major::{Cycle, Log, Major, Phase};

use super::mark_region::MarkRegion;
use super::mark_region::blocks::{BLOCK_SIZE, MAX_SMALL};
use super::mark_region::evacuate::Evacuator;
use super::nursery::Nursery;
use super::nursery::size::{NurseryUse, Sizing, first_size};
use crate::object::by_halves;
use crate::space::Count;
use crate::trace::marking::Marker;
use crate::{HeapCore, HeapError, HeapMemory, Occupancy};
use gc_types::collector::nursery::{MAX_NURSERY, NURSERY_ALIGN, NURSERY_START};
use gc_types::{VMGcHeader, VMGcRef};
use std::time::Duration;

/// The smallest nursery in bytes when no more memory can be mapped.
const MIN_MAPPED: u32 = 64 << 10;
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
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let mut space = Generations::new(&mut core, 64 << 10);
/// assert!(space.refill(&mut core, 16));
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
    /// The old generation.
    pub old: MarkRegion,
    /// The blocks of the old generation that are being evacuated.
    pub evacuator: Evacuator,
    /// Chooses the nursery's size.
    pub sizing: Sizing,
    /// Objects that were allocated in the old generation.
    born_old: Count,
    /// Bytes that survived the last collection of the nursery.
    survived: u64,
    /// Whether the marking that is under way marks young objects, which were retained.
    marks_young: bool,
    /// Whether the last growth of the heap was refused.
    cramped: bool,
}

impl Generations {
    /// The generations of an empty heap, whose nursery has at most `nursery` bytes, a multiple of
    /// [`NURSERY_ALIGN`].
    pub fn new(core: &mut HeapCore, nursery: u32) -> Generations {
        let nursery = Nursery::new(nursery);
        let mut space = Generations {
            old: MarkRegion::new(nursery.end(), core.memory.maximum()),
            nursery,
            evacuator: Evacuator::default(),
            sizing: Sizing::default(),
            born_old: Count::default(),
            survived: 0,
            marks_young: false,
            cramped: false,
        };
        space.take_mapped(core);
        space.nursery.renew(&mut core.memory);
        space
    }

    /// Forgets all objects. The core was reset before.
    pub fn reset(&mut self, core: &mut HeapCore) {
        self.old.clear();
        self.evacuator = Evacuator::default();
        self.sizing = Sizing::default();
        self.born_old = Count::default();
        (self.survived, self.marks_young, self.cramped) = (0, false, false);
        let limit = self.nursery.limit();
        self.nursery.renew(&mut core.memory);
        let size = self.nursery.size();
        self.nursery.set_limit(&mut core.memory, limit.min(self.nursery.limit()));
        self.set_nursery_size(core, size);
        self.take_mapped(core);
    }

    // ---- allocation ---------------------------------------------------------------

    /// Hands out another chunk of the nursery that is large enough for an object of `size` bytes. Returns whether
    /// there is one.
    pub fn refill(&mut self, core: &mut HeapCore, size: u32) -> bool {
        if self.nursery.retains() {
            return false;
        }
        self.leave_room_for_old(core, size);
        if !self.nursery.refill(&mut core.memory, size) {
            return false;
        }
        // In a new heap the first survivors need memory, too.
        if self.nursery.touch_ahead(&core.memory, USED_ALONE) {
            self.reserve(core);
            self.old.touch_ahead(&core.memory, self.nursery.size().into());
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
        self.map_old(core, more, size.max(BLOCK_SIZE).into()).ok()?;
        self.old.alloc(size)
    }

    /// Takes memory from the old generation with `take`. As long as there is none, sweeps more.
    fn sweep_until(
        &mut self,
        core: &mut HeapCore,
        mut take: impl FnMut(&mut MarkRegion, &mut HeapMemory) -> Option<u32>,
    ) -> Option<u32> {
        let mut step = STEP;
        loop {
            let taken = take(&mut self.old, &mut core.memory);
            if taken.is_some() || !self.old.is_sweeping() {
                return taken;
            }
            self.old.sweep(&mut core.memory, &mut { step });
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
        self.evacuator.is_active() && self.evacuator.is_chosen(word) && self.note_chosen(at)
    }

    #[cold]
    fn note_chosen(&mut self, at: u64) -> bool {
        // Young objects will have moved before the evacuation, and are scanned when they move. But
        // retained objects stay.
        if at < u64::from(self.nursery.end()) && !self.nursery.retains() {
            return false;
        }
        let too_many = !self.evacuator.record(at as u32);
        if too_many {
            self.evacuator.give_up();
        }
        too_many
    }

    // ---- what it has, and needs -----------------------------------------------------

    /// The bytes of all objects, dead or alive.
    pub fn used_bytes(&self, core: &HeapCore) -> u64 {
        self.old.total().bytes + u64::from(self.nursery.used(&core.memory))
    }

    /// All objects that were allocated since the heap was new, and those of them that may be alive.
    pub fn counts(&self, core: &HeapCore) -> (Count, Count) {
        let mut allocated = self.nursery.allocated(core);
        allocated.add_all(self.born_old);
        let mut live = self.nursery.young(core);
        live.add_all(self.old.total());
        (allocated, live)
    }

    /// Calls `visit` with each object, in address order.
    ///
    /// # Errors
    /// If a young object is damaged.
    pub fn walk(&self, core: &HeapCore, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.nursery.walk(core, |at, _| {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
            Ok(())
        })?;
        self.old.objects().filter_map(VMGcRef::from_heap_index).for_each(visit);
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
        self.old.given_back() + self.nursery.unbacked(core.memory.len())
    }

    /// Bytes that survived the last collection of the nursery.
    pub fn survived(&self) -> u64 {
        self.survived
    }

    /// Bytes that a minor collection now is likely to need in the old generation.
    pub fn expected(&self, core: &HeapCore) -> u64 {
        if self.nursery.retains() {
            return self.nursery.retained_bytes();
        }
        let used = u64::from(self.nursery.used(&core.memory));
        (self.survived * 3 / 2).max(used / 16).min(used)
    }

    /// The time that a minor collection now is likely to take.
    pub fn expected_time(&self, core: &HeapCore) -> Duration {
        let used = self.nursery.used(&core.memory);
        self.sizing.expected(NurseryUse { used, ..self.sizing.last() })
    }

    /// Whether the old generation has room for the expected survivors of a minor collection, or may have
    /// when more of it is swept.
    pub fn has_room_for_minor(&self, core: &HeapCore) -> bool {
        self.old.is_sweeping() || self.old.free_bytes() >= self.expected(core)
    }

    /// Sweeps until the old generation is likely to have room for the survivors of a minor collection,
    /// as far as `budget` allows. Returns whether it has, or nothing is left to sweep.
    pub fn sweep_for_minor(&mut self, core: &mut HeapCore, budget: &mut u32) -> bool {
        while self.old.is_sweeping() && self.old.free_bytes() < self.expected(core) {
            if *budget == 0 {
                return false;
            }
            let given = (*budget).min(STEP);
            let mut left = given;
            self.old.sweep(&mut core.memory, &mut left);
            *budget -= given - left;
        }
        true
    }

    /// The bytes that must be added to the old generation so that it has the size of the plan's goal.
    /// `None` if there is no goal.
    fn wanted(&self, core: &HeapCore) -> Option<u64> {
        let goal = core.plan.goal;
        let old = u64::from(self.old.end() - self.old.start());
        (goal != u64::MAX).then(|| goal.saturating_sub(old))
    }

    // ---- the nursery's size -----------------------------------------------------------

    /// Ends a collection of the nursery that moved all of its survivors, `found.survived` bytes. Sizes the empty
    /// nursery from that, and from the depth of the stack.
    pub fn emptied(&mut self, core: &mut HeapCore, found: NurseryUse) {
        self.survived = found.survived;
        self.nursery.empty(&mut core.memory);
        let most = self.nursery.most();
        let (size, target) = (self.nursery.size(), core.side.pause_target);
        let mut size = self.sizing.next(size, most, core.live, target, found);
        let deep = core.side.stack_room().next_multiple_of(NURSERY_ALIGN.into());
        size = size.max(deep.min(most.into()) as u32);
        if core.side.asked {
            // Use as little memory as possible.
            size = size.min(found.least_size(first_size(most))).min(most);
        }
        if self.cramped {
            let mapped = core.memory.usable().saturating_sub(core.set_aside);
            let most = (mapped / 8).clamp(MIN_MAPPED.into(), MAX_NURSERY.into()) as u32;
            size = size.min(most.next_multiple_of(NURSERY_ALIGN));
        }
        self.set_nursery_size(core, size);
        self.touch_old_ahead(core);
    }

    /// Ends a collection of the nursery that found no room for some survivors, the `objects` of so many bytes. In all,
    /// `survived` bytes survived.
    pub fn retain(&mut self, core: &HeapCore, objects: Vec<u32>, bytes: u64, survived: u64) {
        self.survived = survived;
        self.nursery.retain(objects, bytes);
        self.old.add_outside(self.nursery.retained(), core.memory.len());
    }

    /// Forgets that objects were retained, because they are being moved.
    pub fn forget_retained(&mut self) {
        self.old.remove_outside(&self.nursery.take_retained());
    }

    /// Begins to mark the old generation. Young objects count as alive. If objects are retained in the nursery, they are
    /// marked too, and marking must end before the mutator runs again.
    pub fn begin_marking(&mut self, marker: &mut Marker) {
        self.marks_young = self.nursery.retains();
        marker.begin(if self.marks_young { 0 } else { self.old.start() });
        self.old.begin_marking();
    }

    /// Ends marking. Everything unmarked is garbage, and waits for [the sweep](MarkRegion::begin_sweeping).
    pub fn end_marking(&mut self, core: &mut HeapCore) {
        if std::mem::take(&mut self.marks_young) {
            self.sweep_retained(core);
        }
        self.old.end_marking();
    }

    /// Abandons marking. Nothing is known to be garbage.
    pub fn abandon_marking(&mut self) {
        self.marks_young = false;
        self.old.abandon_marking();
    }

    /// Begins to sweep what was there when marking ended.
    pub fn begin_sweeping(&mut self) {
        self.old.begin_sweeping();
    }

    /// Forgets the unmarked ones of the retained objects.
    fn sweep_retained(&mut self, core: &mut HeapCore) {
        let mut retained = self.nursery.take_retained();
        self.old.sweep_outside(&mut retained);
        if retained.is_empty() {
            self.nursery.empty(&mut core.memory);
        } else {
            self.nursery.retain(retained, self.nursery.retained_bytes());
        }
    }

    /// Makes `size` bytes of the nursery usable, unless the policy refuses.
    fn set_nursery_size(&mut self, core: &mut HeapCore, size: u32) {
        let more = size.saturating_sub(self.nursery.size());
        if core.admit(more.into()).is_ok() {
            core.use_admitted(more.into());
            self.nursery.set_limit(&mut core.memory, NURSERY_START + size);
            self.take_mapped(core);
        }
    }

    /// Lets the system provide the memory that the survivors of the next minor collections need.
    fn touch_old_ahead(&mut self, core: &HeapCore) {
        let least = (self.old.total().bytes / PART_AHEAD).min(FEW_AHEAD);
        if self.survived.max(least) >= LEAST_AHEAD {
            let wanted = (4 * self.survived).clamp(least, MOST_AHEAD);
            let wanted = wanted.saturating_sub(self.old.recyclable_bytes());
            self.old.touch_ahead(&core.memory, wanted);
        }
    }

    // ---- mapping memory -------------------------------------------------------------------

    /// Grows the heap by up to `bytes` bytes, and at least enough for an object of so many: the nursery, if its part in
    /// use is not all mapped, or else the old generation. Returns by how much.
    ///
    /// # Errors
    /// If that is refused.
    pub fn grow(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        if !self.nursery.is_mapped(core.memory.len()) {
            match self.map_nursery(core, bytes) {
                Err(HeapError::Refused { .. } | HeapError::NoMemory { .. }) => {}
                grown => return grown,
            }
        }
        // For the next collection, if the nursery cannot grow.
        let missing = self.expected(core).saturating_sub(self.old.free_bytes());
        let missing = missing + u64::from(BLOCK_SIZE);
        self.map_old(core, bytes.max(missing), bytes.max(BLOCK_SIZE.into()))
    }

    /// Maps memory for the expected survivors of a collection, if the heap may grow. Otherwise a
    /// requested collection could retain objects in the nursery of a heap that is still smaller
    /// than a nursery.
    pub fn reserve(&mut self, core: &mut HeapCore) {
        if self.has_room_for_minor(core) && self.old.end() > self.nursery.end() {
            return;
        }
        let needed = u64::from(self.nursery.used(&core.memory)) / 4 + u64::from(BLOCK_SIZE);
        // Without this memory objects are retained.
        let _mapped = self.map_old(core, needed, BLOCK_SIZE.into());
    }

    /// Maps `bytes` more bytes for the old generation. If that is refused, tries half of it, down
    /// to `least`. The unmapped part of the nursery before them is mapped too.
    fn map_old(&mut self, core: &mut HeapCore, bytes: u64, least: u64) -> Result<u64, HeapError> {
        let mut unmapped = u64::from(self.nursery.limit()).saturating_sub(core.memory.len());
        if core.admit(unmapped).is_err() {
            let len = core.memory.len() as u32;
            self.nursery.set_limit(&mut core.memory, len);
            unmapped = 0;
        }
        let end = u64::from(self.nursery.end());
        let grown = by_halves(bytes, least, |step| {
            let gap = end.saturating_sub(core.memory.len());
            core.grow_behind(gap, step, unmapped)
        });
        // It is part of the gap.
        core.use_admitted(unmapped);
        let grown = match grown {
            Err(error @ HeapError::Refused { .. }) => self.share_mapped(core, least).ok_or(error),
            grown => grown,
        };
        self.cramped = grown.is_err();
        self.take_mapped(core);
        grown
    }

    /// Ensures that a new heap that is only a nursery will have memory for survivors: half of the
    /// nursery's size, or a third of the mapped memory if no more may be mapped.
    fn leave_room_for_old(&mut self, core: &mut HeapCore, size: u32) {
        let mapped = core.memory.usable();
        let needed = u64::from(self.nursery.handed_out(&core.memory)) + u64::from(size);
        let is_all = core.memory.len() <= self.nursery.end().into();
        if is_all && needed > u64::from(NURSERY_START) + mapped / 3 * 2 {
            let missing = (mapped / 2).saturating_sub(core.admitted());
            if core.admit(missing).is_err() && self.share_mapped(core, 0).is_some() {
                self.take_mapped(core);
            }
        }
    }

    /// Moves a part of the nursery to the old generation, if the nursery is all or most of the
    /// heap: a third, or `least` bytes if that is more. Returns the number of bytes. `None` if not
    /// enough is free, or too little nursery would remain.
    fn share_mapped(&mut self, core: &mut HeapCore, least: u64) -> Option<u64> {
        let (len, end) = (core.memory.len(), u64::from(self.nursery.end()));
        let top = if len > end { self.nursery.limit().into() } else { len };
        let size = top - u64::from(NURSERY_START);
        let part = (size / 3).max(least).checked_next_multiple_of(BLOCK_SIZE.into())?;
        let limit = u32::try_from(top.checked_sub(part)?).ok()?;
        let left = (size / 3).min(MIN_MAPPED.into()) as u32;
        let old = len.saturating_sub(end);
        if old >= size || limit < self.nursery.handed_out(&core.memory).max(NURSERY_START + left) {
            return None;
        }
        let gap = end.saturating_sub(len);
        // This maps more memory, but the heap does not use more.
        let grown = core.memory.grow(gap + part).ok()?;
        let limit = self.nursery.limit().min(limit);
        self.nursery.set_limit(&mut core.memory, limit);
        Some(grown.saturating_sub(gap))
    }

    /// Maps up to `bytes` more bytes for the nursery, if half as much will be available for its
    /// survivors. Otherwise the nursery keeps its size.
    fn map_nursery(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        let len = core.memory.len();
        let mapped = len.saturating_sub(NURSERY_START.into());
        let more = bytes.min(u64::from(self.nursery.limit()).saturating_sub(len));
        let grown = core.grow_behind(0, more, (mapped + more) / 2);
        if grown.is_err() && mapped >= MIN_MAPPED.into() {
            self.nursery.set_limit(&mut core.memory, len as u32);
            self.cramped = true;
        }
        self.take_mapped(core);
        grown
    }

    /// Updates the tables for the mapped memory.
    fn take_mapped(&mut self, core: &mut HeapCore) {
        let len = core.memory.len();
        self.old.extend(len);
        core.set_aside = self.nursery.set_aside(len);
    }
}
