//! [`Evacuation`]: blocks with many holes are emptied and become whole again.
//!
//! Immix moves objects while it marks, which is not possible while the mutator runs between slices.
//! Here the blocks with the most holes are chosen before marking begins, no more than can be copied
//! in a short pause. Marking records every slot that refers into one of them. Meanwhile, minor
//! collections record such slots in the objects that they move, and barriers record those that are
//! written (remembered sets for a few regions at a time, as in Detlefs, Flood, Heller and Printezis,
//! "Garbage-First Garbage Collection", 2004). When everything is marked, a collection with all roots
//! moves the live objects of the chosen blocks, updates the recorded slots and the roots, and frees the
//! blocks. If too many slots were recorded, or some may be missing, nothing is moved.
//!
//! The old header of a moved object holds its new index ([`forwarding`](crate::trace::forwarding)). The index is
//! used only if an object begins there.

use super::MarkRegion;
use super::blocks::{BLOCK_SIZE, LINE_SIZE};
use crate::trace::forwarding::{OFFSET, forwarded, forwarding};
use crate::trace::shapes::{Refs, Shapes};
use crate::{HeapCore, HeapMemory};
use gc_types::I31;
use std::time::Duration;

/// Bytes that may be moved in one pause.
const MAX_BYTES: u32 = 512 << 10;
/// The most slots that are updated in one pause, however long it may be, and the most that a short one
/// updates.
const MAX_SLOTS: u64 = 1 << 15;
const MIN_SLOTS: u64 = 1 << 11;
/// The time in ns to update a slot: its place and its referent are in no cache.
const SLOT_NS: u64 = 80;
/// The time in ns to move a byte.
const BYTE_NS: u64 = 1;
/// After an evacuation with too many slots the next one may move half of the bytes, and so on, up to
/// this number of times.
const MAX_HALVED: u32 = 2;
/// The minimal number of blocks for which a search for slots is worth its cost.
const MIN_BLOCKS: usize = 4;

/// The blocks of a [`MarkRegion`] that are being evacuated, and the slots that refer into them.
#[derive(Debug, Default)]
pub struct Evacuator {
    /// The blocks that were chosen, and the bytes of the objects in them, at most.
    blocks: Vec<usize>,
    bytes: u32,
    /// For each block of the region, whether it was chosen, and the start of the first one.
    chosen: Vec<bool>,
    start: u32,
    /// Slots in the heap that refer, or referred, into the chosen blocks.
    slots: Vec<u32>,
    /// The new places of moved objects whose references are not updated yet.
    moved: Vec<u32>,
    /// Number of blocks, and then of slots, that are done.
    done: usize,
    /// The most slots.
    most_slots: usize,
    /// How often [`MAX_BYTES`] is halved.
    halved: u32,
}

/// Whether the reference `word` refers into one of the `chosen` blocks. The first block begins at
/// `start`.
#[inline(always)]
pub(crate) fn is_in(chosen: &[bool], start: u32, word: u32) -> bool {
    let block = word.wrapping_sub(start) / BLOCK_SIZE;
    word & I31::TAG == 0 && chosen.get(block as usize) == Some(&true)
}

impl Evacuator {
    /// Chooses blocks, before marking begins. They should be evacuated within the heap's pause target. If marking
    /// begins in time that the host gives, their evacuation should fit into as much time, with a minor collection: a
    /// quarter each for the bytes and for the slots. Under zeal even one block is chosen.
    pub fn choose(&mut self, region: &mut MarkRegion, core: &HeapCore) {
        self.clear();
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (slots, least, most_bytes) = match core.side.given.map(|left| ns(left) / 4) {
            Some(part) => (part / SLOT_NS, 0, u32::try_from(part / BYTE_NS).unwrap_or(u32::MAX)),
            None => (ns(core.side.pause_target) / SLOT_NS, MIN_SLOTS, u32::MAX),
        };
        self.most_slots = slots.clamp(least, MAX_SLOTS) as usize;
        let (least_lines, least_blocks) = match core.memory.zeal() {
            0 => (BLOCK_SIZE / LINE_SIZE / 2, MIN_BLOCKS),
            _ => (1, 1),
        };
        let mut candidates: Vec<(u32, usize)> = region
            .recyclable
            .iter()
            .map(|&block| (region.blocks.free_lines(block), block))
            .filter(|&(free, _)| free >= least_lines)
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        // Only whole free blocks are certain to have room for them.
        let room = region.blocks.free_blocks().saturating_mul(BLOCK_SIZE / 2);
        let most = room.min(self.most_bytes()).min(most_bytes);
        for (free, block) in candidates {
            let bytes = self.bytes + (BLOCK_SIZE - free * LINE_SIZE);
            if bytes > most {
                break;
            }
            self.bytes = bytes;
            self.blocks.push(block);
        }
        if self.blocks.len() < least_blocks {
            self.clear();
            return;
        }
        self.start = region.blocks.start();
        self.chosen.resize(region.blocks.len(), false);
        for &block in &self.blocks {
            self.chosen[block] = true;
        }
        region.keep_recyclable(|block| !self.chosen[block]);
    }

    /// The most bytes of the blocks that are chosen next.
    pub fn most_bytes(&self) -> u32 {
        MAX_BYTES >> self.halved
    }

    /// Whether blocks were chosen.
    #[inline(always)]
    pub fn is_active(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// The time that the evacuation of the chosen blocks is likely to take.
    pub fn expected(&self) -> Duration {
        Duration::from_nanos(u64::from(self.bytes) * BYTE_NS + self.slots.len() as u64 * SLOT_NS)
    }

    /// The recorded slots.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The most slots that may be recorded.
    pub fn most_slots(&self) -> usize {
        self.most_slots
    }

    /// For each block of the heap, whether it was chosen, the recorded slots, and the most of them.
    pub(crate) fn parts(&mut self) -> (&[bool], &mut Vec<u32>, usize) {
        (&self.chosen, &mut self.slots, self.most_slots)
    }

    /// Whether the reference `word` refers into a chosen block.
    #[inline(always)]
    pub fn is_chosen(&self, word: u32) -> bool {
        is_in(&self.chosen, self.start, word)
    }

    /// Records the slot at the index `slot`, which refers into a chosen block. Returns false if there are too many
    /// now. Then the evacuation must be [given up](Evacuator::give_up).
    #[must_use]
    pub fn record(&mut self, slot: u32) -> bool {
        self.slots.push(slot);
        self.slots.len() <= self.most_slots
    }

    /// Gives up an evacuation with too many slots. The next one is smaller.
    pub fn give_up(&mut self) {
        self.halved = (self.halved + 1).min(MAX_HALVED);
        self.clear();
    }

    /// Forgets everything, but keeps the memory. The chosen blocks are swept like all others.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
        self.chosen.clear();
        self.slots.clear();
        self.moved.clear();
        self.done = 0;
    }

    /// The new place of the object to which `word` refers, if it was moved.
    #[inline]
    fn moved(&self, memory: &HeapMemory, region: &MarkRegion, word: u32) -> Option<u32> {
        if !self.is_chosen(word) || !region.is_start(word) {
            return None;
        }
        let new = forwarded(memory.read_u32(u64::from(word) + OFFSET)?)?;
        (region.is_start(new) && !self.is_chosen(new)).then_some(new)
    }
}

/// The parts of a heap that moving objects needs, after everything was marked.
#[derive(Debug)]
pub struct Evacuation<'h> {
    /// The heap's core.
    pub core: &'h mut HeapCore,
    /// The shapes of objects.
    pub shapes: &'h Shapes,
    /// The space in which objects move.
    pub region: &'h mut MarkRegion,
    /// The state.
    pub evacuator: &'h mut Evacuator,
}

impl Evacuation<'_> {
    /// Moves live objects of the chosen blocks, as far as `budget` allows. Returns whether there
    /// are no more.
    pub fn move_some(&mut self, budget: &mut u32) -> bool {
        while *budget > 0 && self.core.damage.is_none() {
            let Some(&block) = self.evacuator.blocks.get(self.evacuator.done) else {
                self.evacuator.done = 0;
                return true;
            };
            let objects = self.region.objects_of(block);
            *budget = budget.saturating_sub(1 + objects.len() as u32);
            self.evacuator.done += 1;
            for index in objects {
                if self.region.is_marked(index) && self.move_one(index).is_none() {
                    // There is no room for this object, so the rest of the block stays.
                    break;
                }
            }
        }
        false
    }

    /// Moves one object.
    fn move_one(&mut self, index: u32) -> Option<()> {
        let object = self.shapes.object_in(self.core, index)?;
        let new =
            self.region.fits(index, object.size).then(|| self.region.alloc(object.size))??;
        // It was counted already.
        self.region.total.remove(object.size);
        self.region.marked.remove(object.size);
        let at = u64::from(index);
        self.core.memory.copy_object(u64::from(new), at, object.size)?;
        self.core.memory.write_u32(at + OFFSET, forwarding(new))?;
        if object.refs != Refs::None {
            self.evacuator.moved.push(new);
        }
        Some(())
    }

    /// The new place of the object to which `word` refers, if it was moved.
    #[inline]
    pub fn moved(&self, word: u32) -> Option<u32> {
        self.evacuator.moved(&self.core.memory, self.region, word)
    }

    /// Updates the recorded slots and those of moved objects, as far as `budget` allows. Returns
    /// whether there are no more. Calls `stays` with the place and the contents of each slot whose referent was not
    /// moved. The roots must be updated, too.
    pub fn update_some(&mut self, budget: &mut u32, mut stays: impl FnMut(u32, u32)) -> bool {
        while *budget > 0 {
            *budget -= 1;
            if let Some(&slot) = self.evacuator.slots.get(self.evacuator.done) {
                self.evacuator.done += 1;
                // A slot in a moved object is updated in its new place.
                self.update_slot(slot.into(), &mut stays);
            } else if let Some(index) = self.evacuator.moved.pop() {
                if let Some(object) = self.shapes.object_in(self.core, index) {
                    let shapes = self.shapes;
                    let update = |at| self.update_slot(at, &mut stays);
                    let _all = shapes.slots(index, object, 0, u32::MAX, update);
                }
            } else {
                return true;
            }
        }
        false
    }

    /// Updates the reference at `at`.
    fn update_slot(&mut self, at: u64, stays: &mut impl FnMut(u32, u32)) {
        let Some(word) = self.core.memory.read_u32(at) else { return };
        match self.moved(word) {
            Some(new) => {
                let _mapped = self.core.memory.write_u32(at, new);
            }
            None => stays(at as u32, word),
        }
    }

    /// Frees the old places of moved objects. All references are updated by now, including the
    /// roots. The sweep follows.
    pub fn free(&mut self) {
        for block in std::mem::take(&mut self.evacuator.blocks) {
            for index in self.region.objects_of(block) {
                if self.moved(index).is_some()
                    && let Some(object) = self.shapes.object_in(self.core, index)
                {
                    self.core.memory.poison(index.into(), object.size.into());
                    self.region.map.clear_start(index);
                }
            }
            // Objects without room elsewhere keep their lines. The sweep frees the other lines.
            self.region.blocks.sweep_lines(block, 0);
            for index in self.region.objects_of(block) {
                if self.region.is_marked(index)
                    && let Some(object) = self.shapes.object_in(self.core, index)
                {
                    self.region.blocks.mark_lines(index, object.size, self.region.line);
                }
            }
        }
        self.evacuator.clear();
        self.evacuator.halved = self.evacuator.halved.saturating_sub(1);
    }
}

impl MarkRegion {
    /// The objects of a block.
    fn objects_of(&self, block: usize) -> Vec<u32> {
        let start = self.blocks.block_start(block);
        self.map.starts(start, start + BLOCK_SIZE).collect()
    }

    /// Keeps the recyclable blocks for which `keep` returns true.
    fn keep_recyclable(&mut self, keep: impl Fn(usize) -> bool) {
        self.recyclable.retain(|&block| keep(block));
        let free = self.recyclable.iter().map(|&block| u64::from(self.free_in(block)));
        self.recyclable_bytes = free.sum();
    }
}
