//! Minor collections: all reachable objects of the nursery move to the old generation.
//!
//! Roots are the stack, the slots outside the heap that the barriers remembered, and the references
//! on dirty cards. An object that is found is copied once, directly to the old generation, and its
//! old header gets the new index. Copies are scanned from an explicit list (C. J. Cheney, "A
//! Nonrecursive List Compacting Algorithm", 1970, scans in place, which holes do not allow). Dead
//! objects are not visited, except for the host values of externrefs.
//!
//! A guest may have changed headers in the nursery. So an index is used only if an object of the
//! old generation begins there, and no more bytes are copied than the nursery has.

use super::GenerationalHeap;
use super::trace::{FOUND, Trace};
use crate::space::blocks::{BLOCK_SIZE, Owner};
use crate::space::shapes::{Object, Refs};
use gc_types::VMGcHeader;
use gc_types::collector::generational::{CARD_SIZE, FORWARDED, NURSERY_START, is_young};

/// The byte that fills freed memory under zeal. It gives neither a valid kind nor a likely index.
pub(super) const POISON: u8 = 0xa5;

/// Bytes by which the heap grows at least when survivors find no room.
const MORE: u64 = 256 << 10;

/// The prefetch distance, in elements of an array.
const AHEAD: u64 = 8;

const HEADER_WORD: u64 = VMGcHeader::WORD_OFFSET as u64;
const COLLECTOR_WORD: u64 = VMGcHeader::COLLECTOR_OFFSET as u64;

/// The state of a minor collection.
#[derive(Debug, Default)]
pub(super) struct Scavenger {
    /// Objects that were moved or retained and are not scanned yet. In a trace also objects that
    /// were [`FOUND`].
    pub(super) grey: Vec<u32>,
    /// Objects that were retained.
    retained: Vec<u32>,
    retained_bytes: u64,
    /// Number of roots visited.
    pub(super) roots: u32,
    /// Bytes moved or retained.
    pub(super) bytes: u64,
    /// The first index whose card was not visited yet.
    next_card: u32,
    /// Whether a trace or evacuation needs references to old objects.
    pub(super) looks_at_old: bool,
    /// The trace that this minor collection is part of.
    pub(super) trace: Trace,
}

impl GenerationalHeap {
    /// Whether the reference `word` refers into the nursery.
    #[inline(always)]
    pub(super) fn is_young(&self, word: u32) -> bool {
        is_young(word, self.nursery.end - NURSERY_START)
    }

    /// Begins a minor collection.
    pub(super) fn begin_minor(&mut self) {
        self.count_nursery();
        self.close_nursery();
        self.shapes.update(&self.core.layouts);
        (self.scavenger.bytes, self.scavenger.retained_bytes) = (0, 0);
        self.scavenger.roots = 0;
        self.scavenger.looks_at_old = self.evacuator.is_active();
        self.scavenger.next_card = self.old.blocks.start();
    }

    /// The current place of the object to which `word` refers, in the nursery. Moves the object if
    /// it was not moved yet. `None` after damage.
    pub(super) fn scavenge(&mut self, word: u32) -> Option<u32> {
        let memory = &self.core.memory;
        let used = memory.data_u32(gc_types::collector::generational::NEXT);
        let at = u64::from(word);
        if word >= used || !word.is_multiple_of(8) {
            self.core.note_damage(word, "a reference to no young object");
            return None;
        }
        let header = memory.read_u32(at + HEADER_WORD)?;
        let forward = memory.read_u32(at + COLLECTOR_WORD)?;
        if forward != 0 {
            let target = forward & !FORWARDED;
            if forward & FORWARDED != 0
                && (target == word || target >= self.nursery.end && self.old.map.is_start(target))
            {
                return Some(target);
            }
            self.core.note_damage(word, "a young object was moved to no object");
            return None;
        }
        let object = self.shapes.object(memory, word, header);
        let Some(Object { size, refs, .. }) = object.filter(|object| object.size <= used - word)
        else {
            self.core.note_damage(word, "a young object with an invalid header or size");
            return None;
        };
        self.scavenger.bytes += u64::from(size);
        if self.scavenger.bytes > u64::from(used - NURSERY_START) {
            self.core.note_damage(word, "young objects overlap");
            return None;
        }
        let new = match self.old.alloc(size).or_else(|| self.alloc_in_more(size)) {
            Some(new) => {
                self.core.memory.copy_object(u64::from(new), at, size)?;
                new
            }
            None => {
                self.scavenger.retained.push(word);
                self.scavenger.retained_bytes += u64::from(size);
                word
            }
        };
        self.core.memory.write_u32(at + COLLECTOR_WORD, new | FORWARDED)?;
        if refs != Refs::None {
            self.scavenger.grey.push(new);
        }
        Some(new)
    }

    /// Takes memory from the old generation when it has too little, because more survives than
    /// expected.
    #[cold]
    #[inline(never)]
    fn alloc_in_more(&mut self, size: u32) -> Option<u32> {
        let more = (self.core.memory.usable() / 8).max(u64::from(size) + MORE);
        self.map_old(more, size.max(BLOCK_SIZE).into()).ok()?;
        self.old.alloc(size)
    }

    /// Updates the reference at `at` if it refers to a young object.
    #[inline(always)]
    fn scavenge_slot(&mut self, at: u64) {
        let Some(word) = self.core.memory.read_u32(at) else { return };
        if !self.is_young(word) {
            if self.scavenger.looks_at_old {
                self.look_at_old(at, word);
            }
            return;
        }
        let Some(new) = self.scavenge(word) else { return };
        if new == word {
            // The object was retained, so its referrers must be scanned again.
            if at >= u64::from(self.nursery.end) {
                self.tables.dirty(at as u32);
            }
        } else {
            let _mapped = self.core.memory.write_u32(at, new);
        }
    }

    #[inline(never)]
    fn look_at_old(&mut self, at: u64, word: u32) {
        if self.scavenger.trace.is_active {
            self.trace(word);
        } else {
            self.note_slot(at, word);
        }
    }

    /// Calls `visit` with the index of each reference of an object between `low` and `high`.
    #[inline(always)]
    pub(super) fn for_each_slot(
        &mut self,
        index: u32,
        object: Object,
        low: u64,
        high: u64,
        mut visit: impl FnMut(&mut Self, u64),
    ) {
        let base = u64::from(index);
        match object.refs {
            Refs::None => {}
            Refs::Bits(mut bits) => {
                while bits != 0 {
                    let at = base + 8 + 4 * u64::from(bits.trailing_zeros());
                    bits &= bits - 1;
                    if at >= low && at < high {
                        visit(self, at);
                    }
                }
            }
            Refs::List(list) => {
                for n in 0..self.shapes.list(list).len() {
                    let at = base + u64::from(self.shapes.list(list)[n]);
                    if at >= low && at < high {
                        visit(self, at);
                    }
                }
            }
            Refs::Elements(offset) => {
                let first = base + u64::from(offset);
                let end = (first + u64::from(object.length) * 4).min(high);
                let mut at = first.max(low);
                while at < end {
                    visit(self, at);
                    at += 4;
                }
            }
        }
    }

    /// Updates the references of an object between `low` and `high`.
    #[inline]
    fn scan(&mut self, index: u32, object: Object, low: u64, high: u64) {
        if let Refs::Elements(offset) = object.refs {
            let first = u64::from(index) + u64::from(offset);
            let end = (first + u64::from(object.length) * 4).min(high);
            self.scan_elements(first.max(low), end);
        } else {
            self.for_each_slot(index, object, low, high, Self::scavenge_slot);
        }
    }

    /// Updates the references from `at` up to `end`. Their referents are all over the nursery and
    /// are prefetched.
    fn scan_elements(&mut self, mut at: u64, end: u64) {
        while at < end {
            let ahead = at + 4 * AHEAD;
            if ahead < end
                && let Some(word) = self.core.memory.read_u32(ahead)
                && self.is_young(word)
            {
                self.core.memory.prefetch(u64::from(word));
            }
            self.scavenge_slot(at);
            at += 4;
        }
    }

    /// The object at `index`, which is in the old generation or was moved or retained.
    pub(super) fn known_object(&mut self, index: u32) -> Option<Object> {
        let memory = &self.core.memory;
        let header = memory.read_u32(u64::from(index) + HEADER_WORD)?;
        match self.shapes.object(memory, index, header) {
            Some(object) if u64::from(index) + u64::from(object.size) <= self.core.memory.len() => {
                Some(object)
            }
            _ => {
                self.core.note_damage(index, "an old object with an invalid header or size");
                None
            }
        }
    }

    /// Scans objects that were moved or found, as far as `budget` allows. Returns whether there are
    /// no more.
    pub(super) fn scan_grey(&mut self, budget: &mut u32) -> bool {
        while let Some(entry) = self.scavenger.grey.pop() {
            let index = entry & !FOUND;
            if let Some(object) = self.known_object(index) {
                if entry & FOUND != 0 && !self.found(index, object.size) {
                    return false;
                }
                self.scan(index, object, 0, u64::MAX);
                *budget = budget.saturating_sub(1 + object.size / 64);
            }
            if *budget == 0 || self.core.damage.is_some() {
                return self.scavenger.grey.is_empty();
            }
        }
        true
    }

    /// Scans dirty cards, as far as `budget` allows. Returns whether there are no more. The cards
    /// are clean afterwards, unless objects were retained.
    pub(super) fn scan_cards(&mut self, budget: &mut u32) -> bool {
        let end = self.old.blocks.end();
        while *budget > 0 {
            *budget -= 1;
            let Some(card) = self.tables.take_dirty(self.scavenger.next_card, end) else {
                return true;
            };
            self.scavenger.next_card = card + CARD_SIZE;
            self.scan_card(card);
            if self.core.damage.is_some() {
                return true;
            }
        }
        false
    }

    /// Updates the references on a card: all references of structs that begin on it, and the array
    /// elements that lie on it.
    fn scan_card(&mut self, card: u32) {
        let (low, high) = (u64::from(card), u64::from(card) + u64::from(CARD_SIZE));
        let before = match self.old.blocks.owner(card) {
            Owner::Nobody => return,
            Owner::Block(start) => self.old.map.start_before(card, start),
            Owner::Large(start) => (start < card).then_some(start),
        };
        if let Some(index) = before
            && let Some(object) = self.known_object(index)
        {
            self.scan(index, object, low, high);
        }
        let mut starts = self.old.map.starts_on(card);
        while starts != 0 {
            let index = card + 8 * starts.trailing_zeros();
            starts &= starts - 1;
            if let Some(object) = self.known_object(index) {
                let is_array = matches!(object.refs, Refs::Elements(_));
                self.scan(index, object, low, if is_array { high } else { u64::MAX });
            }
        }
    }

    /// Ends a minor collection, after every reachable object was moved or retained.
    pub(super) fn end_minor(&mut self) {
        for index in std::mem::take(&mut self.nursery.externrefs) {
            let forward = self.core.memory.read_u32(u64::from(index) + COLLECTOR_WORD);
            match forward.unwrap_or_default() {
                0 => self.dead_values.extend(self.core.externref_id_at(index)),
                forward if forward & !FORWARDED == index => self.nursery.externrefs.push(index),
                forward if self.old.map.is_start(forward & !FORWARDED) => {
                    self.old.externrefs.push(forward & !FORWARDED);
                }
                _ => self.core.note_damage(index, "an externref was moved to no object"),
            }
        }
        for index in std::mem::take(&mut self.nursery.retained) {
            self.old.map.clear_start(index);
        }
        self.survived = self.scavenger.bytes;
        let mut retained = std::mem::take(&mut self.scavenger.retained);
        if retained.is_empty() {
            let used = self.nursery_used();
            if self.zeal != 0 {
                let _mapped = self.core.memory.fill(NURSERY_START.into(), used.into(), POISON);
            }
            self.empty_nursery();
            self.adapt_nursery(used, self.survived, self.scavenger.roots);
            self.learn_from_minor(used);
            self.tables.forget_slots();
        } else {
            retained.sort_unstable();
            self.old.map.extend(self.core.memory.len());
            for &index in &retained {
                let _mapped = self.core.memory.write_u32(u64::from(index) + COLLECTOR_WORD, 0);
                self.old.map.set_start(index, false);
            }
            self.nursery.retained = retained;
            self.nursery.retained_bytes = self.scavenger.retained_bytes;
            self.tables.remember_all();
        }
    }
}
