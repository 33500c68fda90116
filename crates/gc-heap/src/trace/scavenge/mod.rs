//! [`Scavenge`]: moves all reachable objects of a nursery to the old generation, or lets them age.
//!
//! Roots are the slots that the caller gives, and the references on dirty cards. An object that is found is copied
//! once, and its old header gets the new index (`run.rs`). Dead objects are not
//! visited. A survivor for which there is no room is retained in the nursery.
//!
//! A scavenge in which objects age moves those that survive their first collection to a part of the nursery
//! ([`Survivors`](crate::space::nursery::Survivors)) and those that survive their second one to the old generation. The
//! slots that still refer to young objects afterwards are on dirty cards, or in
//! [`young_slots`](Scavenger::young_slots).
//!
//! A scavenge treats old objects as alive, or it marks them too ([`OldObjects`]). If it treats them as alive, the
//! referents of a dead old object are promoted, and then their referents. In a queue whose cells keep a reference to
//! their successor after they leave, every cell is promoted (*nepotism*: David Ungar and Frank Jackson, "Tenuring
//! Policies for Generation-Based Storage Reclamation", 1988). A major collection finds them dead. But the nursery is
//! emptied before it begins, so the last dead cell keeps the next ones alive.

mod run;
mod weak;

pub(crate) use run::{BATCH_BYTES, young_among};

use super::forwarding::OFFSET;
use super::grey::Grey;
use super::shapes::{BAD_OBJECT, Shapes};
use crate::os::thread_time;
use crate::remember::Cards;
use crate::space::Generations;
use crate::space::nursery::size::{MIN_BY_TIME, NurseryUse};
use crate::space::object_map::Mark;
use crate::{GcRootsIter, HeapBytes, HeapCore, HeapView};
use gc_types::collector::bump::NEXT;
use gc_types::collector::nursery::NURSERY_START;
use gc_types::{I31, VMGcRef};
use run::{ELEMENTS, Entry, ScavengeLoop, Stop};
use std::time::Duration;

/// Number of dirty cards that are scanned together. A card that is scanned is seldom in the cache: the starts
/// of its objects, their headers and their fields are two to ten lines. So the memory of the next ones is
/// fetched meanwhile.
const CARDS: usize = 8;
/// Number of cache lines that are fetched of a card.
const FETCHED_LINES: u64 = 2;
/// Number of young objects to which roots refer that are fetched at the same time.
const ROOTS: usize = 64;

/// Cards that are scanned together.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    cards: [u32; CARDS],
    count: usize,
}

/// The collection met damage, which was noted.
#[derive(Clone, Copy, Debug)]
struct Damaged;

/// What a scavenge does with references to old objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldObjects {
    /// Old objects are alive. References to them are not looked at.
    #[default]
    Alive,
    /// Old objects are alive. Slots of moved objects that refer into blocks that will be evacuated are recorded. If there
    /// are too many, the evacuation is given up: the caller looks after the scavenge whether it
    /// [is active](crate::space::mark_region::evacuate::Evacuator::is_active).
    Recorded,
    /// Old objects are alive if they are reached. They are marked. The dirty cards are not roots. After the scavenge the
    /// caller ends marking, and cleans the cards if the nursery is empty.
    Traced {
        /// The most bytes of old objects that may be reached. If there are more, the scavenge must
        /// [treat them as alive](Scavenge::stop_tracing).
        most: u64,
    },
}

/// What a scavenge has found and not visited, and what it found so far.
#[derive(Debug, Default)]
struct Work {
    /// Slots that refer to young objects.
    slots: Vec<Entry>,
    /// Arrays of which some elements were not visited.
    pieces: Vec<Grey>,
    /// Slots that refer to old objects, if they are of interest.
    old: Vec<Entry>,
    /// Bytes moved or retained, and the part of them that had survived a collection before.
    bytes: u64,
    again: u64,
}

impl Work {
    /// Whether nothing is left to visit.
    fn is_done(&self) -> bool {
        self.slots.is_empty() && self.pieces.is_empty() && self.old.is_empty()
    }
}

/// Old objects that were reached, while they are traced.
#[derive(Debug, Default)]
struct Traced {
    /// Those that are not scanned yet.
    grey: Vec<u32>,
    /// Bytes of those that were scanned.
    bytes: u64,
    /// Whether there are more than there may be.
    is_over: bool,
}

/// The state of a scavenge.
#[derive(Debug, Default)]
pub struct Scavenger {
    work: Work,
    /// Objects that were retained.
    retained: Vec<u32>,
    retained_bytes: u64,
    /// Number of roots visited.
    roots: u32,
    /// The most bytes that may be moved or retained.
    young: u32,
    /// Addresses of slots outside the heap whose referents stay young.
    young_slots: Vec<usize>,
    /// The first index whose card was not visited yet.
    next_card: u32,
    old: OldObjects,
    /// Whether it began to trace old objects.
    began_traced: bool,
    traced: Traced,
    /// Whether its processor time is measured.
    is_timed: bool,
    /// The processor time of the increments before this one, and that at the beginning of this one.
    took: Duration,
    since: Option<Duration>,
}

impl Scavenger {
    /// Whether old objects are traced.
    #[inline(always)]
    pub fn is_tracing(&self) -> bool {
        matches!(self.old, OldObjects::Traced { .. })
    }

    /// Whether more old objects were reached than may be.
    pub fn traced_too_many(&self) -> bool {
        self.traced.is_over
    }

    /// Bytes of the old objects that were reached and scanned.
    pub fn traced_bytes(&self) -> u64 {
        self.traced.bytes
    }

    /// Number of roots that were visited.
    pub fn roots(&self) -> u32 {
        self.roots
    }

    /// Addresses of slots, neither on the stack nor in the heap, that refer to survivors.
    pub fn young_slots(&self) -> &[usize] {
        &self.young_slots
    }

    /// Continues to measure the time of a scavenge, which is that of its increments.
    pub fn begin_increment(&mut self) {
        self.since = self.is_timed.then(thread_time);
    }

    /// Ends the measurement that [`begin_increment`](Scavenger::begin_increment) began.
    pub fn end_increment(&mut self) {
        if let Some(since) = self.since.take() {
            self.took += thread_time().saturating_sub(since);
        }
    }
}

/// The result of a scavenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scavenged {
    /// Bytes of the nursery's new objects.
    pub used: u32,
    /// Bytes of objects that were moved or retained.
    pub survived: u64,
    /// Bytes of objects that were moved to the old generation.
    pub promoted: u64,
    /// Whether the nursery has no objects but survivors. Otherwise it retains objects, to which any slot may refer.
    pub emptied: bool,
}

/// The parts of a heap that a scavenge needs. The nursery's objects are between the begin of the heap and
/// [`NEXT`]. Cards are `1 << SHIFT` bytes, from 8 to 512.
#[derive(Debug)]
pub struct Scavenge<'h, const SHIFT: u32> {
    /// The heap's core.
    pub core: &'h mut HeapCore,
    /// The shapes of objects.
    pub shapes: &'h Shapes,
    /// The nursery and the old generation.
    pub space: &'h mut Generations,
    /// The cards of old objects.
    pub cards: &'h mut Cards<SHIFT>,
    /// The state.
    pub scavenger: &'h mut Scavenger,
}

impl<const SHIFT: u32> Scavenge<'_, SHIFT> {
    /// Begins. The shapes must be up to date. If old objects are traced, the old generation must be prepared for
    /// marking. If objects `age`, those that survive their first collection stay young. They may not in a nursery that
    /// retains objects, and not if old objects are traced.
    pub fn begin(&mut self, old: OldObjects, age: bool) {
        const {
            assert!(
                SHIFT >= 3 && SHIFT <= 9,
                "a card has a granule at least, and at most what a word of the map covers"
            )
        };
        self.space.nursery.settle(self.core);
        self.space.nursery.close(&mut self.core.memory);
        let young = self.space.young_bytes(self.core);
        self.space.begin_collection(self.core, age);
        let (scavenger, tracing) = (&mut *self.scavenger, matches!(old, OldObjects::Traced { .. }));
        debug_assert!(!age || !tracing && !self.space.nursery.retains());
        (scavenger.old, scavenger.began_traced) = (old, tracing);
        (scavenger.work.bytes, scavenger.work.again, scavenger.retained_bytes) = (0, 0, 0);
        (scavenger.roots, scavenger.young) = (0, u32::try_from(young).unwrap_or(u32::MAX));
        scavenger.young_slots.clear();
        scavenger.next_card = self.space.old.region.start();
        scavenger.traced.grey.clear();
        (scavenger.traced.bytes, scavenger.traced.is_over) = (0, false);
        // To ask the system for the time takes as long as to empty a small nursery. Its time makes no nursery smaller than
        // `MIN_BY_TIME`. One of that size may be collected before it is full, so half of that is the limit here. In time
        // that the host gives, each is measured: the next one must fit into what is left.
        scavenger.is_timed = young >= u64::from(MIN_BY_TIME / 2) || self.core.side.given.is_some();
        (scavenger.took, scavenger.since) = (Duration::ZERO, None);
        scavenger.begin_increment();
    }

    /// The parts that the loop needs. `None` if nothing is mapped.
    #[inline]
    fn parts(&mut self) -> Option<ScavengeLoop<'_, HeapBytes<'_>, SHIFT>> {
        let used = self.core.memory.data_u32(NEXT);
        Some(ScavengeLoop {
            bytes: self.core.memory.bytes()?,
            shapes: self.shapes,
            nursery: self.space.nursery.most(),
            survivors: &mut self.space.nursery.survivors,
            old: &mut self.space.old.region,
            work: &mut self.scavenger.work,
            cards: self.cards,
            used,
            young: self.scavenger.young,
            looks_at_old: self.scavenger.old != OldObjects::Alive,
        })
    }

    /// Moves the referents of roots out of the nursery, as far as `budget` allows. Returns whether there are no more
    /// roots.
    pub fn follow_roots(&mut self, iter: &mut GcRootsIter<'_>, budget: &mut u32) -> bool {
        let mut last = false;
        while !last && *budget > 0 && self.core.damage.is_none() {
            let (mut roots, mut words) = ([const { None }; ROOTS], [0; ROOTS]);
            let mut count = 0;
            while count < ROOTS && *budget > 0 {
                *budget -= 1;
                let Some(root) = iter.next() else {
                    last = true;
                    break;
                };
                self.scavenger.roots = self.scavenger.roots.saturating_add(1);
                let Some(word) = root.get().map(|word| word.as_raw_u32()) else { continue };
                if self.space.nursery.is_young(word) {
                    if let Some(bytes) = self.core.memory.bytes() {
                        bytes.prefetch_object(word);
                    }
                    (roots[count], words[count]) = (Some(root), word);
                    count += 1;
                } else if self.scavenger.is_tracing() {
                    self.trace(word);
                }
            }
            self.forward_all(&mut words[..count]);
            for (root, &word) in roots.iter_mut().zip(&words[..count]) {
                if let Some(root) = root
                    && let Some(new) = VMGcRef::from_heap_index(word)
                {
                    root.set(new);
                    if self.space.nursery.is_young(word) && !root.is_on_stack() {
                        self.scavenger.young_slots.push(root.address());
                    }
                }
            }
            // A trace that finds too much is given up, but not before all roots are visited.
            if !self.scavenger.is_tracing() {
                self.scan_found(budget);
            }
        }
        last
    }

    /// The new place of the object to which `word` refers, in the nursery. Moves the object if it was
    /// not moved yet. `None` after damage.
    pub fn forward(&mut self, mut word: u32) -> Option<u32> {
        self.forward_all(std::slice::from_mut(&mut word));
        self.core.damage.is_none().then_some(word)
    }

    /// As [`forward`](Scavenge::forward) for several references, which become the new places.
    /// After damage, some of them are as they were.
    fn forward_all(&mut self, words: &mut [u32]) {
        let mut words = words.iter_mut();
        while let Some(mut parts) = self.parts()
            && let Some((word, stop)) = parts.forward_all(&mut words)
            && let Ok(new) = self.relieve(stop)
        {
            *word = new;
        }
        self.space.old.region.record();
    }

    /// Does what stopped the loop, and returns the new place of the object that could not be
    /// moved: memory is taken from the system, or the object is retained.
    #[cold]
    #[inline(never)]
    fn relieve(&mut self, stop: Stop) -> Result<u32, Damaged> {
        let (at, what) = match stop {
            Stop::NoRoom(young) => {
                let size = young.object.size;
                let new = self.space.room_for_survivor(self.core, size).unwrap_or_else(|| {
                    self.scavenger.retained.push(young.index);
                    self.scavenger.retained_bytes += u64::from(size);
                    young.index
                });
                match self.parts().ok_or(Damaged)?.place(young, new) {
                    Ok(new) => return Ok(new),
                    Err(Stop::Damage(at, what)) => (at, what),
                    Err(Stop::NoRoom(_)) => (new, "an object with a place has no room"),
                }
            }
            Stop::Damage(at, what) => (at, what),
        };
        self.core.note_damage(at, what);
        Err(Damaged)
    }

    /// Moves everything that can be reached through the slots that were found, as far as `budget`
    /// allows. Returns whether nothing is left.
    pub fn scan_found(&mut self, budget: &mut u32) -> bool {
        while self.core.damage.is_none() {
            let Some(mut parts) = self.parts() else { return true };
            if let Err(stop) = parts.run(budget) {
                // The slot is still on the stack.
                let _damaged = self.relieve(stop);
                continue;
            }
            if *budget == 0 {
                return self.scavenger.work.is_done() && self.scavenger.traced.grey.is_empty();
            }
            *budget -= 1;
            if let Some(entry) = self.scavenger.work.old.pop() {
                self.look_at_old(entry.slot(), entry.word());
            } else if let Some(piece) = self.scavenger.work.pieces.pop() {
                *budget = budget.saturating_sub(ELEMENTS / 64);
                self.find(|parts| parts.find_in_piece(piece));
            } else if let Some(index) = self.scavenger.traced.grey.pop() {
                if !self.scan_old(index) {
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
        find: impl FnOnce(&mut ScavengeLoop<'_, HeapBytes<'_>, SHIFT>) -> Result<(), Stop>,
    ) {
        if let Some(mut parts) = self.parts()
            && let Err(stop) = find(&mut parts)
        {
            let _damaged = self.relieve(stop);
        }
    }

    // ---- old objects --------------------------------------------------------------

    /// Scans dirty cards and moves what can be reached through them, as far as `budget` allows.
    /// Returns whether there are no more. The cards are clean afterwards, unless objects were
    /// retained.
    pub fn scan_cards(&mut self, budget: &mut u32) -> bool {
        let end = self.space.old.region.touched_end();
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
                self.find(|parts| parts.find_on_card(card));
            }
        }
        for &card in next.cards[..next.count].iter().rev() {
            self.cards.dirty(card);
            self.scavenger.next_card = card;
        }
        self.core.damage.is_some()
    }

    /// Takes some dirty cards, which become clean, and fetches their memory.
    #[inline]
    fn take_cards(&mut self, end: u32) -> Batch {
        let mut batch = Batch::default();
        while batch.count < CARDS
            && let Some(card) = self.cards.take_dirty(self.scavenger.next_card, end)
        {
            self.scavenger.next_card = card + Cards::<SHIFT>::SIZE;
            self.space.old.region.prefetch(card);
            for line in 0..FETCHED_LINES {
                self.core.memory.prefetch(u64::from(card) + 64 * line);
            }
            batch.cards[batch.count] = card;
            batch.count += 1;
        }
        batch
    }

    /// Looks at a slot of an object that was moved or traced, which refers to an old object.
    #[inline(never)]
    fn look_at_old(&mut self, slot: u32, word: u32) {
        if self.scavenger.is_tracing() {
            self.trace(word);
        } else {
            // The caller looks at that after the scavenge.
            let _given_up = self.space.note_slot(slot.into(), word);
        }
    }

    /// Follows the reference `word`, which does not refer to a young object, in a scavenge that traces old ones.
    #[inline]
    fn trace(&mut self, word: u32) {
        if word & I31::TAG != 0 || word < self.space.nursery.end() {
            return;
        }
        match self.space.old.region.mark(word) {
            Mark::New => self.scavenger.traced.grey.push(word),
            Mark::Old => {}
            Mark::NoObject => self.core.note_damage(word, "a reference to no object"),
        }
    }

    /// Scans an old object that was reached. Returns false if it is not, because there are too many, or it is
    /// damaged.
    fn scan_old(&mut self, index: u32) -> bool {
        let Some(object) = self.shapes.object_in(self.core, index) else { return false };
        if !self.space.old.region.fits(index, object.size) {
            self.core.note_damage(index, BAD_OBJECT);
            return false;
        }
        let (traced, old) = (&mut self.scavenger.traced, self.scavenger.old);
        traced.bytes += u64::from(object.size);
        traced.is_over |= matches!(old, OldObjects::Traced { most } if traced.bytes > most);
        if traced.is_over {
            return false;
        }
        self.space.old.region.reached(index, object.size);
        self.find(|parts| {
            parts.find(index, object);
            Ok(())
        });
        true
    }

    /// Treats old objects as alive from now on, in a scavenge that traced them and whose roots were all visited. The
    /// caller abandons marking, and then scans the cards. The objects that were moved stay moved.
    pub fn stop_tracing(&mut self) {
        self.scavenger.old = OldObjects::Alive;
        self.scavenger.traced.grey.clear();
        self.scavenger.traced.is_over = false;
        self.scavenger.work.old.clear();
    }

    // ---- the end --------------------------------------------------------------------

    /// Ends a scavenge that has nothing left to scan: every reachable object was moved or retained.
    pub fn end(&mut self) -> Scavenged {
        self.scavenger.old = OldObjects::Alive;
        self.space.forget_retained();
        let retained = std::mem::take(&mut self.scavenger.retained);
        let used = self.space.nursery.used(&self.core.memory);
        let (survived, again) = (self.scavenger.work.bytes, self.scavenger.work.again);
        let emptied = retained.is_empty();
        if emptied {
            self.core.memory.poison(NURSERY_START.into(), used.into());
            let before = self.space.nursery.survivors.objects();
            self.core.memory.poison(before.start.into(), (before.end - before.start).into());
            self.scavenger.end_increment();
            let frames = u32::try_from(self.core.side.frames).unwrap_or(u32::MAX);
            let roots = self.scavenger.roots.saturating_add(frames);
            // A trace also takes time for old objects.
            let is_timed = self.scavenger.is_timed && !self.scavenger.began_traced;
            let took = is_timed.then_some(self.scavenger.took);
            let new = survived.saturating_sub(again);
            self.space.emptied(self.core, NurseryUse { used, survived: new, roots, took }, again);
        } else {
            for &index in &retained {
                let _mapped = self.core.memory.write_u32(u64::from(index) + OFFSET, 0);
            }
            self.space.retain(self.core, retained, self.scavenger.retained_bytes, survived);
        }
        Scavenged { used, survived, promoted: self.space.promoted(), emptied }
    }
}
