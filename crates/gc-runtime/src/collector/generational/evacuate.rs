//! Evacuation: blocks with many holes are emptied and become whole again.
//!
//! Immix moves objects while it marks, which is not possible while the mutator runs between slices.
//! Here the blocks with the most holes are chosen before marking begins, no more than can be copied
//! in a short pause. Marking records every slot that refers into one of them. Meanwhile, minor
//! collections record such slots in the objects that they move, and barriers record those that are
//! written (remembered sets for a few regions at a time, as in Detlefs, Flood, Heller and Printezis,
//! "Garbage-First Garbage Collection", 2004). When everything is marked, the next minor collection
//! gets all roots. It moves the live objects of the chosen blocks, updates the recorded slots, and
//! frees the blocks. If too many slots were recorded, or some may be missing, nothing is moved.
//!
//! The old header of a moved object holds its new index. The index is used only if an object begins
//! there.

use super::GenerationalHeap;
use super::major::Phase;
use crate::space::blocks::{BLOCK_SIZE, LINE_SIZE};
use crate::trace::shapes::Refs;
use gc_types::collector::generational::FORWARDED;
use gc_types::{I31, VMGcHeader};
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

const COLLECTOR_WORD: u64 = VMGcHeader::COLLECTOR_OFFSET as u64;

/// The state of an evacuation.
#[derive(Debug, Default)]
pub(super) struct Evacuator {
    /// The blocks that were chosen, and the bytes of the objects in them, at most.
    blocks: Vec<usize>,
    bytes: u32,
    /// For each block of the heap, whether it was chosen.
    chosen: Vec<bool>,
    /// Slots in the heap that refer, or referred, into the chosen blocks.
    slots: Vec<u32>,
    /// The new places of moved objects whose references are not updated yet.
    moved: Vec<u32>,
    /// Number of blocks, and then of slots, that are done.
    done: usize,
    /// The most slots.
    most_slots: usize,
    /// How often [`MAX_BYTES`] is halved.
    pub(super) halved: u32,
}

impl Evacuator {
    /// Whether blocks were chosen.
    #[inline(always)]
    pub(super) fn is_active(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// The time that the evacuation of the chosen blocks is likely to take.
    pub(super) fn expected(&self) -> Duration {
        Duration::from_nanos(u64::from(self.bytes) * BYTE_NS + self.slots.len() as u64 * SLOT_NS)
    }

    /// The recorded slots, for the verifier.
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// For each block of the heap, whether it was chosen, the recorded slots, and the most of them.
    pub(super) fn parts(&mut self) -> (&[bool], &mut Vec<u32>, usize) {
        (&self.chosen, &mut self.slots, self.most_slots)
    }

    /// Forgets everything, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
        self.chosen.clear();
        self.slots.clear();
        self.moved.clear();
        self.done = 0;
    }
}

/// Whether the reference `word` refers into one of the `chosen` blocks. The first block begins at
/// `start`.
#[inline(always)]
pub(super) fn is_in(chosen: &[bool], start: u32, word: u32) -> bool {
    let block = word.wrapping_sub(start) / BLOCK_SIZE;
    word & I31::TAG == 0 && chosen.get(block as usize) == Some(&true)
}

impl GenerationalHeap {
    /// Chooses blocks, before marking begins. If it begins in time that the host gives, their evacuation should
    /// fit into as much time, with a minor collection: a quarter each for the bytes and for the slots.
    pub(super) fn choose_blocks(&mut self) {
        self.evacuator.clear();
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (slots, least, most_bytes) = match self.core.given.map(|left| ns(left) / 4) {
            Some(part) => (part / SLOT_NS, 0, u32::try_from(part / BYTE_NS).unwrap_or(u32::MAX)),
            None => (ns(self.core.pause_target) / SLOT_NS, MIN_SLOTS, u32::MAX),
        };
        self.evacuator.most_slots = slots.clamp(least, MAX_SLOTS) as usize;
        let zeal = self.has_zeal();
        let least = if zeal { 1 } else { BLOCK_SIZE / LINE_SIZE / 2 };
        let mut candidates: Vec<(u32, usize)> = self
            .old
            .recyclable()
            .iter()
            .map(|&block| (self.old.blocks.free_lines(block), block))
            .filter(|&(free, _)| free >= least)
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        // Only whole free blocks are certain to have room for them.
        let room = self.old.blocks.free_blocks().saturating_mul(BLOCK_SIZE / 2);
        let most = room.min(MAX_BYTES >> self.evacuator.halved).min(most_bytes);
        for (free, block) in candidates {
            let bytes = self.evacuator.bytes + (BLOCK_SIZE - free * LINE_SIZE);
            if bytes > most {
                break;
            }
            self.evacuator.bytes = bytes;
            self.evacuator.blocks.push(block);
        }
        if self.evacuator.blocks.len() < if zeal { 1 } else { MIN_BLOCKS } {
            self.evacuator.clear();
            return;
        }
        self.evacuator.chosen.resize(self.old.blocks.len(), false);
        for &block in &self.evacuator.blocks {
            self.evacuator.chosen[block] = true;
        }
        let chosen = &self.evacuator.chosen;
        self.old.keep_recyclable(|block| !chosen[block]);
    }

    /// Whether the reference `word` refers into a chosen block.
    #[inline]
    pub(super) fn is_chosen(&self, word: u32) -> bool {
        is_in(&self.evacuator.chosen, self.old.blocks.start(), word)
    }

    /// Records that the slot at `at` now holds `word`.
    #[inline(always)]
    pub(super) fn note_slot(&mut self, at: u64, word: u32) {
        if self.evacuator.is_active() && self.is_chosen(word) {
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
        self.evacuator.slots.push(at as u32);
        if self.evacuator.slots.len() > self.evacuator.most_slots {
            self.evacuate_less();
        }
    }

    /// Abandons an evacuation with too many slots. The next one is smaller.
    #[cold]
    pub(super) fn evacuate_less(&mut self) {
        self.evacuator.halved = (self.evacuator.halved + 1).min(MAX_HALVED);
        self.cancel_evacuation();
    }

    /// Abandons the evacuation. The chosen blocks are swept like all others.
    #[cold]
    pub(super) fn cancel_evacuation(&mut self) {
        self.evacuator.clear();
        self.tables.set_evacuation(false);
        if self.phase == Phase::Evacuating {
            self.begin_sweeping();
        }
    }

    /// Moves live objects of the chosen blocks, as far as `budget` allows. Returns whether there
    /// are no more.
    pub(super) fn evacuate_some(&mut self, budget: &mut u32) -> bool {
        while *budget > 0 && self.core.damage.is_none() {
            let Some(&block) = self.evacuator.blocks.get(self.evacuator.done) else {
                self.evacuator.done = 0;
                return true;
            };
            let start = self.old.blocks.block_start(block);
            let objects: Vec<u32> = self.old.map.starts(start, start + BLOCK_SIZE).collect();
            *budget = budget.saturating_sub(1 + objects.len() as u32);
            self.evacuator.done += 1;
            for index in objects {
                if self.old.map.is_marked(index) && self.evacuate(index).is_none() {
                    // There is no room for this object, so the rest of the block stays.
                    break;
                }
            }
        }
        false
    }

    /// Moves one object.
    fn evacuate(&mut self, index: u32) -> Option<()> {
        let object = self.known_object(index).filter(|object| self.old.fits(index, object.size))?;
        let new = self.old.alloc(object.size)?;
        self.old.uncount_copy(object.size);
        let at = u64::from(index);
        self.core.memory.copy_object(u64::from(new), at, object.size)?;
        self.core.memory.write_u32(at + COLLECTOR_WORD, new | FORWARDED)?;
        if object.refs != Refs::None {
            self.evacuator.moved.push(new);
        }
        Some(())
    }

    /// The new place of the object to which `word` refers, if it was moved.
    #[inline]
    pub(super) fn evacuated(&self, word: u32) -> Option<u32> {
        if !self.is_chosen(word) || !self.old.map.is_start(word) {
            return None;
        }
        let forward = self.core.memory.read_u32(u64::from(word) + COLLECTOR_WORD)?;
        let new = forward & !FORWARDED;
        (forward & FORWARDED != 0 && self.old.map.is_start(new) && !self.is_chosen(new))
            .then_some(new)
    }

    /// Updates the reference at `at`.
    fn update_slot(&mut self, at: u64) {
        let Some(word) = self.core.memory.read_u32(at) else { return };
        if let Some(new) = self.evacuated(word) {
            let _mapped = self.core.memory.write_u32(at, new);
        } else if self.is_young(word) {
            // The slot is in a moved object, and not on the card that was marked for it.
            self.tables.cards.dirty(at as u32);
        }
    }

    /// Updates the recorded slots and those of moved objects, as far as `budget` allows. Returns
    /// whether there are no more.
    pub(super) fn update_some(&mut self, budget: &mut u32) -> bool {
        while *budget > 0 {
            *budget -= 1;
            if let Some(&slot) = self.evacuator.slots.get(self.evacuator.done) {
                self.evacuator.done += 1;
                // A slot in a moved object is updated in its new place.
                self.update_slot(u64::from(slot));
            } else if let Some(index) = self.evacuator.moved.pop() {
                if let Some(object) = self.known_object(index) {
                    let shapes = std::mem::take(&mut self.shapes);
                    let _all = shapes.slots(index, object, 0, u32::MAX, |at| self.update_slot(at));
                    self.shapes = shapes;
                }
            } else {
                return true;
            }
        }
        false
    }

    /// Frees the old places of moved objects. All references are updated by now, including the
    /// roots.
    pub(super) fn end_evacuation(&mut self) {
        for block in std::mem::take(&mut self.evacuator.blocks) {
            let start = self.old.blocks.block_start(block);
            let objects: Vec<u32> = self.old.map.starts(start, start + BLOCK_SIZE).collect();
            for index in objects {
                if let Some(size) = self.evacuated(index).and(self.known_object(index)) {
                    self.core.memory.poison(index.into(), size.size.into());
                    self.old.map.clear_start(index);
                }
            }
            // Objects without room elsewhere keep their lines. The sweep frees the other lines.
            self.old.blocks.sweep_lines(block, 0);
            let live: Vec<u32> = self.old.map.starts(start, start + BLOCK_SIZE).collect();
            for index in live {
                if self.old.map.is_marked(index)
                    && let Some(object) = self.known_object(index)
                {
                    self.old.mark_lines_again(index, object.size);
                }
            }
        }
        self.evacuator.clear();
        self.evacuator.halved = self.evacuator.halved.saturating_sub(1);
        self.begin_sweeping();
    }
}
