//! How the generations share what the heap may use: the nursery's part, what is held for survivors, and the memory of the
//! old generation.

use super::{BLOCK_SIZE, Generations};
use crate::object::by_halves;
use crate::os::page_size;
use crate::space::nursery::size::{MIN_BY_TIME, NurseryUse, least_in_use, most_in_use};
use crate::{HeapCore, HeapError};
use gc_types::collector::nursery::{NURSERY_ALIGN, NURSERY_START};
use std::time::Duration;

/// `bytes`, rounded up to units of `unit` bytes.
fn in_whole(bytes: u64, unit: u64) -> u64 {
    bytes.checked_next_multiple_of(unit).unwrap_or(bytes)
}

/// The bytes of whole pages of the system among `bytes`.
fn in_pages(bytes: u64) -> u64 {
    bytes / page_size() as u64 * page_size() as u64
}

impl Generations {
    /// Holds memory for new objects that survive the next collection.
    pub(super) fn reserve_for_survivors(&mut self, core: &mut HeapCore) {
        let new = self.nursery.size();
        match self.ages(core) {
            true => self.nursery.survivors.reserve(core, new),
            false => self.nursery.survivors.rest(),
        }
    }

    /// The most bytes of the nursery to use now: its share of what is free, as far as there is room for it beside the old
    /// generation.
    pub(super) fn most_in_use(&self, core: &HeapCore) -> u32 {
        self.share(core).min(self.room(core)) / NURSERY_ALIGN * NURSERY_ALIGN
    }

    /// The nursery's share of what is free, or what the policy lets it have. If all young objects survive, the survivors need
    /// as much in the old generation as they have.
    pub(super) fn share(&self, core: &HeapCore) -> u32 {
        let taken = self.old.region.total().bytes + 2 * self.nursery.survivors.count().bytes;
        let share = most_in_use(core.ceiling(), taken).min(self.nursery.most_new());
        share.min(self.allowed)
    }

    /// Asks the policy how much of the nursery may be used in time that the host gives, and gives back what is more and not
    /// in use.
    pub fn ask_policy_when_idle(&mut self, core: &mut HeapCore) {
        self.ask_policy(core, NurseryUse::default());
        let used = self.nursery.handed_out(&core.memory).saturating_sub(NURSERY_START);
        let size = self.allowed.max(used.next_multiple_of(NURSERY_ALIGN));
        if size < self.nursery.size() && !self.nursery.retains() {
            self.wanted = size;
            let _smaller = self.set_nursery_size(core, size);
        }
    }

    /// Asks the policy how much of the nursery may be used, now that it was collected. Without `found` the policy learns
    /// nothing.
    pub(super) fn ask_policy(&mut self, core: &mut HeapCore, found: NurseryUse) {
        let (used, took) = found.took.map_or((0, Duration::ZERO), |took| (found.used, took));
        let allowed = core.most_young(used.into(), took).clamp(MIN_BY_TIME.into(), u32::MAX.into());
        self.allowed = allowed as u32 / NURSERY_ALIGN * NURSERY_ALIGN;
    }

    /// The bytes that are left beside the old generation, and what that is likely to need for the next survivors.
    fn left(&self, core: &HeapCore) -> u64 {
        let left = core.ceiling().saturating_sub(self.old_in_use());
        let promoted = (self.promoted * 3 / 2).max(self.nursery.survivors.count().bytes / 2);
        let missing = promoted.saturating_sub(self.old.region.free_bytes());
        let beside = left.saturating_sub(missing.next_multiple_of(BLOCK_SIZE.into()));
        if beside >= least_in_use(core.ceiling()) { beside } else { left }
    }

    /// Whether objects should age in the next collection: beside what ages enough is left for new objects.
    fn ages(&self, core: &HeapCore) -> bool {
        let survivors = &self.nursery.survivors;
        let new = survivors.most_beside(self.left(core));
        survivors.should_age() && new >= least_in_use(core.ceiling())
    }

    /// The bytes that are left for new objects beside old ones and those that will age.
    pub(super) fn room(&self, core: &HeapCore) -> u32 {
        let (left, survivors) = (self.left(core), &self.nursery.survivors);
        let left = match self.ages(core) {
            true => survivors.most_beside(left),
            false => left.saturating_sub(survivors.touched()),
        };
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Bytes of the old generation that count as used by the heap.
    pub(super) fn old_in_use(&self) -> u64 {
        let old = self.old.counts();
        u64::from(old.end - old.start) - old.aside
    }

    /// Sets free blocks of the old generation aside, as far as a nursery of `size` bytes, and what ages, have no room.
    pub(super) fn make_room_for_nursery(&mut self, core: &mut HeapCore, size: u32) {
        let (size, survivors) = (u64::from(size), &self.nursery.survivors);
        let wanted = match self.ages(core) {
            true => size + survivors.wanted(size) + survivors.count().bytes,
            false => size + survivors.touched(),
        };
        let left = core.ceiling().saturating_sub(self.old_in_use());
        if wanted > left {
            let missing = (wanted - left).next_multiple_of(BLOCK_SIZE.into());
            let aside = self.old.region.set_aside(&mut core.memory, missing);
            core.set_aside(aside);
        }
    }

    /// Uses `size` bytes of the nursery, at most all of it.
    ///
    /// # Errors
    /// If more would be used, and the limit or the policy refuses it. Then nothing changes.
    pub(super) fn set_nursery_size(
        &mut self,
        core: &mut HeapCore,
        size: u32,
    ) -> Result<(), HeapError> {
        let before = self.nursery.size();
        core.use_set_aside(size.saturating_sub(before).into())?;
        core.set_aside(before.saturating_sub(size).into());
        self.nursery.set_limit(&mut core.memory, NURSERY_START + size);
        if size > before {
            core.memory.advise_huge(NURSERY_START.into()..self.nursery.limit().into());
        }
        Ok(())
    }

    /// Whether the nursery is larger than its share of what old objects leave free now. Then a minor collection makes room
    /// for old objects.
    pub fn nursery_shrinks(&self, core: &HeapCore) -> bool {
        self.nursery.size() > self.share(core) && self.nursery.used(&core.memory) > 0
    }

    /// Whether the heap should grow by a part of the nursery before the nursery is collected.
    pub fn nursery_grows(&self) -> bool {
        self.nursery.size() < self.wanted && !self.nursery.retains()
    }

    /// Grows the heap by up to `bytes` bytes, and at least enough for an object of so many: the nursery, if not all of it
    /// that is wanted is in use, or else the old generation. Returns by how much.
    ///
    /// # Errors
    /// If that is refused.
    pub fn grow(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        if self.nursery_grows() {
            let grown = self.grow_nursery(core, bytes);
            if grown > 0 {
                return Ok(grown);
            }
        }
        // For the next collection, if the nursery cannot grow.
        let missing = self.expected(core).saturating_sub(self.old.region.free_bytes());
        let missing = missing + u64::from(BLOCK_SIZE);
        self.map_old(core, bytes.max(missing), bytes)
    }

    /// Maps memory for the expected survivors of a collection, if the heap may grow. Otherwise a
    /// requested collection could retain objects in the nursery of a heap that is still smaller
    /// than a nursery.
    pub fn reserve(&mut self, core: &mut HeapCore) {
        if self.has_room_for_minor(core) && self.old.region.end() > self.nursery.end() {
            return;
        }
        let needed = u64::from(self.nursery.used(&core.memory)) / 4 + u64::from(BLOCK_SIZE);
        // Without this memory objects are retained.
        let _mapped = self.map_old(core, needed, 0);
    }

    /// Adds `bytes` more bytes to the old generation, or what is left up to the heap's limit. If that is refused, tries half
    /// of it, down to what an object of `size` bytes needs. If that is refused too, the nursery gives up as much, and
    /// otherwise what nobody is asked about is taken.
    pub(super) fn map_old(
        &mut self,
        core: &mut HeapCore,
        bytes: u64,
        size: u64,
    ) -> Result<u64, HeapError> {
        let least = size.max(BLOCK_SIZE.into());
        let mut grown = Err(HeapError::OutOfMemory { bytes: least, limit: core.memory.limit() });
        let left = in_pages(core.room());
        if left >= BLOCK_SIZE.into() {
            let step = self.in_blocks(bytes.max(least), left, size);
            grown = by_halves(step, least.min(step), |step| {
                let step = self.in_blocks(step, step, size);
                self.grow_old(core, step)
            });
        }
        for least in [least, BLOCK_SIZE.into()] {
            if grown.is_err() && self.shrink_nursery(core, least.saturating_sub(core.unused())) {
                grown = self.grow_old(core, least);
            }
        }
        match self.in_blocks(least, in_pages(core.unused()), size) {
            left if grown.is_err() && left > 0 => self.grow_old(core, left),
            _ => grown,
        }
    }

    /// The bytes by which the old generation may grow if it wants `bytes` more and `left` are left: it then ends with a whole
    /// block, because nothing else has room for small objects. An object of `size` bytes may be a large one, which needs
    /// only pages.
    fn in_blocks(&self, bytes: u64, left: u64, size: u64) -> u64 {
        let block = u64::from(BLOCK_SIZE);
        let over = u64::from(self.old.region.end() - self.old.region.start()) % block;
        let whole = |bytes: u64| ((bytes + over) / block * block).saturating_sub(over);
        let wanted = whole(bytes.min(left) + block - 1).min(whole(left));
        let is_large = u32::try_from(size).map_or(true, Generations::is_large);
        if is_large { wanted.max(bytes.min(left)) } else { wanted }
    }

    /// Adds at least `bytes` bytes to the old generation: first blocks that were set aside and other mapped memory that is not
    /// in use, then new memory. Returns how many.
    fn grow_old(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        let (bytes, whole) =
            (in_whole(bytes, page_size() as u64), in_whole(bytes, BLOCK_SIZE.into()));
        // With parts of blocks its end would move at each growth, however many blocks are set aside.
        let fits = whole <= self.old.region.aside() && whole <= core.room();
        let bytes = if fits { whole } else { bytes };
        core.admit(bytes)?;
        let back = self.old.region.take_back(bytes);
        core.use_set_aside(back)?;
        let before = u64::from(self.old.region.end());
        let again = (bytes - back).min(core.memory.len() - before);
        core.use_set_aside(again)?;
        self.old.region.extend(before + again);
        let more = bytes - back - again;
        let grown = if more > 0 { core.grow(more)? } else { 0 };
        self.old.region.extend(before + again + grown);
        Ok(back + again + grown)
    }

    /// Sets `bytes` bytes aside: what is held for survivors, and a part of the nursery. Returns whether it did. It does not if
    /// objects are there, or too little would remain.
    fn shrink_nursery(&mut self, core: &mut HeapCore, bytes: u64) -> bool {
        let bytes = bytes.saturating_sub(self.nursery.survivors.release(core));
        let used = self.nursery.handed_out(&core.memory).saturating_sub(NURSERY_START);
        let least = least_in_use(core.ceiling()).max(used.into());
        let bytes = bytes.checked_next_multiple_of(NURSERY_ALIGN.into());
        match bytes.and_then(|bytes| u64::from(self.nursery.size()).checked_sub(bytes)) {
            Some(size) if size >= least => {
                self.wanted = size as u32;
                self.set_nursery_size(core, size as u32).is_ok()
            }
            _ => false,
        }
    }

    /// Uses up to `bytes` more bytes of the nursery, if half as much will be available for its survivors. Otherwise the
    /// nursery keeps its size. Returns how many.
    fn grow_nursery(&mut self, core: &mut HeapCore, bytes: u64) -> u64 {
        let size = self.nursery.size();
        let more = bytes.min((self.wanted - size).into()).next_multiple_of(NURSERY_ALIGN.into());
        let new = size + more as u32;
        let reserve = u64::from(new / 2).saturating_sub(self.old.region.free_bytes());
        if core.admit(more + reserve).is_ok() && self.set_nursery_size(core, new).is_ok() {
            return more;
        }
        self.wanted = size;
        0
    }
}
