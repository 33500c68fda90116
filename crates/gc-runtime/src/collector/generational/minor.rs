//! Minor collections: all reachable objects of the nursery move to the old generation.
//!
//! Roots are the stack, the slots outside the heap that the barriers remembered, and the references
//! on dirty cards. An object that is found is copied once, directly to the old generation, and its
//! old header gets the new index (`scavenge.rs`). Dead objects are not visited.

use super::GenerationalHeap;
use super::nursery_size::NurseryUse;
use super::scavenge::{ELEMENTS, ScavengeLoop, ScavengeStop, ScavengeWork};
use super::trace::TraceState;
use crate::HeapBytes;
use crate::clock::thread_time;
use crate::space::mark_region::blocks::BLOCK_SIZE;
use crate::trace::forwarding::OFFSET;
use gc_types::collector::generational::{CARD_SIZE, NURSERY_START, is_young};
use std::time::Duration;

/// Number of dirty cards that are scanned together. A card that is scanned is seldom in the cache: the starts
/// of its objects, their headers and their fields are two to ten lines. So the memory of the next ones is
/// fetched meanwhile.
const CARDS: usize = 8;

/// Cards that are scanned together.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    cards: [u32; CARDS],
    count: usize,
}

/// Bytes by which the heap grows at least when survivors find no room.
const MORE: u64 = 256 << 10;

/// The collection met damage, which was noted.
#[derive(Clone, Copy, Debug)]
struct Damaged;

/// The state of a minor collection.
#[derive(Debug, Default)]
pub(super) struct Scavenger {
    /// What was found and not visited.
    pub(super) found: ScavengeWork,
    /// Objects that were retained.
    retained: Vec<u32>,
    retained_bytes: u64,
    /// Number of roots visited.
    pub(super) roots: u32,
    /// The processor time of the increments before this one, and that at the beginning of this one.
    took: Duration,
    since: Option<Duration>,
    /// The first index whose card was not visited yet.
    next_card: u32,
    /// Whether a trace or evacuation needs references to old objects.
    pub(super) looks_at_old: bool,
    /// The trace that this minor collection is part of.
    pub(super) trace: TraceState,
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
        (self.scavenger.found.bytes, self.scavenger.retained_bytes) = (0, 0);
        self.scavenger.roots = 0;
        self.scavenger.trace.was_begun = false;
        self.scavenger.looks_at_old = self.major.evacuator.is_active();
        self.scavenger.next_card = self.old.start();
        (self.scavenger.took, self.scavenger.since) = (Duration::ZERO, Some(thread_time()));
    }

    /// Measures the time of a minor collection without that between its increments.
    pub(super) fn begin_increment(&mut self) {
        self.scavenger.since = Some(thread_time());
    }

    /// Ends the measurement that [`begin_increment`](GenerationalHeap::begin_increment) began.
    pub(super) fn end_increment(&mut self) {
        if let Some(since) = self.scavenger.since.take() {
            self.scavenger.took += thread_time().saturating_sub(since);
        }
    }

    /// The new place of the object to which `word` refers, in the nursery. Moves the object if it was
    /// not moved yet. `None` after damage.
    pub(super) fn forward(&mut self, mut word: u32) -> Option<u32> {
        self.forward_all(std::slice::from_mut(&mut word));
        self.core.damage.is_none().then_some(word)
    }

    /// As [`forward`](GenerationalHeap::forward) for several references, which become the new places.
    /// After damage, some of them are as they were.
    pub(super) fn forward_all(&mut self, words: &mut [u32]) {
        let mut words = words.iter_mut();
        while let Some(mut scavenge) = self.scavenge()
            && let Some((word, stop)) = scavenge.forward_all(&mut words)
            && let Ok(new) = self.relieve(stop)
        {
            *word = new;
        }
        self.old.record();
    }

    /// Does what stopped the scavenging, and returns the new place of the object that could not be
    /// moved: memory is taken from the system, or the object is retained.
    #[cold]
    #[inline(never)]
    fn relieve(&mut self, stop: ScavengeStop) -> Result<u32, Damaged> {
        let (at, what) = match stop {
            ScavengeStop::NoRoom(young) => {
                let new = self.alloc_in_more(young.object.size).unwrap_or_else(|| {
                    self.scavenger.retained.push(young.index);
                    self.scavenger.retained_bytes += u64::from(young.object.size);
                    young.index
                });
                match self.scavenge().ok_or(Damaged)?.place(young, new) {
                    Ok(new) => return Ok(new),
                    Err(ScavengeStop::Damage(at, what)) => (at, what),
                    Err(ScavengeStop::NoRoom(_)) => (new, "an object with a place has no room"),
                }
            }
            ScavengeStop::Damage(at, what) => (at, what),
        };
        self.core.note_damage(at, what);
        Err(Damaged)
    }

    /// Sweeps, or adds memory to the old generation when it has too little, because more survives than
    /// expected.
    fn alloc_in_more(&mut self, size: u32) -> Option<u32> {
        if let Some(at) = self.take_old(|old, _| old.alloc(size)) {
            return Some(at);
        }
        let more = (self.core.memory.usable() / 8).max(u64::from(size) + MORE);
        self.map_old(more, size.max(BLOCK_SIZE).into()).ok()?;
        self.old.alloc(size)
    }

    #[inline(never)]
    fn look_at_old(&mut self, at: u64, word: u32) {
        if self.scavenger.trace.is_active {
            self.trace(word);
        } else {
            self.note_slot(at, word);
        }
    }

    /// Moves everything that can be reached through the slots that were found, as far as `budget`
    /// allows. Returns whether nothing is left.
    pub(super) fn scan_found(&mut self, budget: &mut u32) -> bool {
        while self.core.damage.is_none() {
            let Some(mut scavenge) = self.scavenge() else { return true };
            if let Err(stop) = scavenge.run(budget) {
                // The slot is still on the stack.
                let _damaged = self.relieve(stop);
                continue;
            }
            if *budget == 0 {
                return self.scavenger.found.is_done() && self.scavenger.trace.is_done();
            }
            *budget -= 1;
            if let Some(entry) = self.scavenger.found.old.pop() {
                self.look_at_old(entry.slot().into(), entry.word());
            } else if let Some(piece) = self.scavenger.found.pieces.pop() {
                *budget = budget.saturating_sub(ELEMENTS / 64);
                self.find(|scavenge| scavenge.find_in_piece(piece));
            } else if let Some(index) = self.scavenger.trace.next() {
                if let Some(object) = self.shapes.object_in(&mut self.core, index)
                    && self.found(index, object.size)
                {
                    self.find(|scavenge| {
                        scavenge.find(index, object);
                        Ok(())
                    });
                } else {
                    return false;
                }
            } else {
                return true;
            }
        }
        false
    }

    /// Finds slots.
    #[inline(always)]
    fn find(
        &mut self,
        find: impl FnOnce(&mut ScavengeLoop<'_, HeapBytes<'_>>) -> Result<(), ScavengeStop>,
    ) {
        if let Some(mut scavenge) = self.scavenge()
            && let Err(stop) = find(&mut scavenge)
        {
            let _damaged = self.relieve(stop);
        }
    }

    /// Scans dirty cards and moves what can be reached through them, as far as `budget` allows.
    /// Returns whether there are no more. The cards are clean afterwards, unless objects were
    /// retained.
    pub(super) fn scan_cards(&mut self, budget: &mut u32) -> bool {
        let end = self.old.touched_end();
        let mut next = Batch::default();
        while self.scan_found(budget) && *budget > 0 {
            if next.count == 0 {
                next = self.take_cards(end);
            }
            // The memory of the next cards is on its way while these are scanned.
            let cards = std::mem::replace(&mut next, self.take_cards(end));
            if cards.count == 0 {
                return true;
            }
            *budget = budget.saturating_sub(cards.count as u32);
            // The last entry on the stack is followed first.
            for &card in cards.cards[..cards.count].iter().rev() {
                self.find(|scavenge| scavenge.find_on_card(card));
            }
        }
        for &card in next.cards[..next.count].iter().rev() {
            self.tables.cards.dirty(card);
            self.scavenger.next_card = card;
        }
        self.core.damage.is_some()
    }

    /// Takes some dirty cards, which become clean, and fetches their memory.
    #[inline]
    fn take_cards(&mut self, end: u32) -> Batch {
        let mut batch = Batch::default();
        while batch.count < CARDS
            && let Some(card) = self.tables.cards.take_dirty(self.scavenger.next_card, end)
        {
            self.scavenger.next_card = card + CARD_SIZE;
            self.fetch_card(card);
            batch.cards[batch.count] = card;
            batch.count += 1;
        }
        batch
    }

    /// Ends a minor collection, after every reachable object was moved or retained.
    pub(super) fn end_minor(&mut self) {
        self.old.remove_outside(&std::mem::take(&mut self.nursery.retained));
        self.survived = self.scavenger.found.bytes;
        let mut retained = std::mem::take(&mut self.scavenger.retained);
        if retained.is_empty() {
            let used = self.nursery_used();
            self.core.memory.poison(NURSERY_START.into(), used.into());
            self.empty_nursery();
            self.end_increment();
            let frames = u32::try_from(self.core.frames).unwrap_or(u32::MAX);
            let roots = self.scavenger.roots.saturating_add(frames);
            // A trace also takes time for old objects.
            let minor = !self.scavenger.trace.was_begun;
            let (survived, took) = (self.survived, minor.then_some(self.scavenger.took));
            self.adapt_nursery(NurseryUse { used, survived, roots, took });
            self.learn_from_minor(used);
            self.touch_old_ahead();
            self.tables.forget_slots();
        } else {
            retained.sort_unstable();
            self.old.add_outside(&retained, self.core.memory.len());
            for &index in &retained {
                let _mapped = self.core.memory.write_u32(u64::from(index) + OFFSET, 0);
            }
            self.nursery.retained = retained;
            self.nursery.retained_bytes = self.scavenger.retained_bytes;
            self.tables.remember_all();
        }
    }
}
