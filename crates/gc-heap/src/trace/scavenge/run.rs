//! The inner loop of a scavenge: finding slots that refer to young objects, moving the
//! objects, and updating the slots.
//!
//! The stack holds slots and not objects: each entry is a slot and the young reference in it. So an
//! object's header is read once, when the object is moved, and everything about the object is known
//! while its slots are found. An object is fetched when a slot that refers to it is found (Hans-J.
//! Boehm, "Reducing Garbage Collector Cache Misses", 2000).
//!
//! The objects of a tree or a list are placed in the order of a walk that follows first references
//! first, one after the other. A queue of fetched entries would hide more cache misses (Cher, Hosking
//! and Vijaykumar, "Software Prefetching for Mark-Sweep Garbage Collection", 2004), but would mix
//! the objects of several structures in each line. If one of these structures died, no line would
//! become free.
//!
//! Other forms of the loop were slower (bench `survivors`). A push without a branch makes the place of the
//! next object depend on a comparison: a list took 23.8 ns for each object instead of 19.4. With the newest
//! entry in a register, a list took 0.95 of its time, and a graph 1.05. With the two referents of an object
//! moved together, a graph took 0.98, a list 1.06 and cards 1.07. A queue only for nurseries of more than
//! 2 MiB made a graph take 0.96, and trees and a list 1.06.
//!
//! A guest may have changed headers in the nursery. So an index is used only if an object of the
//! old generation begins there, and no more bytes are moved than the nursery has.

use super::Work;
use crate::HeapView;
use crate::arch::even_below;
use crate::remember::Cards;
use crate::space::mark_region::blocks::{MAX_SMALL, Owner};
use crate::space::mark_region::{Bump, MarkRegion};
use crate::space::nursery::{Room, Survivors};
use crate::trace::forwarding::{OFFSET as COLLECTOR_WORD, forwarded, forwarding};
use crate::trace::grey::Grey;
use crate::trace::shapes::{BAD_OBJECT, Object, Refs, Shapes, slots_of_bits_backwards};
use gc_types::collector::nursery::{NURSERY_START, is_young};
use gc_types::{ArrayLayout, I31, VMGcHeader};

/// The distance, in bytes, from an object that was moved to the memory that is fetched for later
/// ones. A processor fetches ahead by itself, but not beyond a page.
const AHEAD: u64 = 1024;
/// Slots that are read at once.
pub(crate) const BATCH: usize = 16;
/// Bytes of the slots that are read at once.
pub(crate) const BATCH_BYTES: u64 = 4 * BATCH as u64;
/// Elements of an array that are visited before the objects to which they refer are moved.
pub(super) const ELEMENTS: u32 = 512;

const HEADER: u64 = VMGcHeader::WORD_OFFSET as u64;
// Both words of a header are read as one number.
const _: () = assert!(HEADER == 0 && COLLECTOR_WORD == 4);

/// A slot and the reference in it.
///
/// They are one number: the slot is in the upper half. As two fields they would be pushed with two
/// stores and popped with one load, which a processor cannot serve from its store buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry(u64);

impl Entry {
    #[inline(always)]
    fn new(slot: u32, word: u32) -> Entry {
        Entry(u64::from(slot) << 32 | u64::from(word))
    }

    #[inline(always)]
    pub(super) fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn word(self) -> u32 {
        self.0 as u32
    }
}

/// Why the loop stopped before it was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// The old generation has no room for this young object of so many bytes.
    NoRoom(Young),
    /// The heap is damaged.
    Damage(u32, &'static str),
}

/// A young object that was not moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Young {
    pub(super) index: u32,
    pub(super) object: Object,
}

/// The parts of a heap that the loop uses. The loop changes nothing else.
pub(super) struct ScavengeLoop<'h, V, const SHIFT: u32> {
    pub(super) bytes: V,
    pub(super) shapes: &'h Shapes,
    pub(super) survivors: &'h mut Survivors,
    pub(super) old: &'h mut MarkRegion,
    pub(super) work: &'h mut Work,
    pub(super) cards: &'h mut Cards<SHIFT>,
    /// Bytes of the nursery.
    pub(super) nursery: u32,
    /// The end of its new objects.
    pub(super) used: u32,
    /// The most bytes that may be moved or retained.
    pub(super) young: u32,
    /// Whether slots that refer to old objects are of interest.
    pub(super) looks_at_old: bool,
}

/// Which of the references refer into a nursery of `nursery` bytes: a bit for each of them.
#[inline(always)]
pub(crate) fn young_among(words: &[u32; BATCH], nursery: u32) -> u32 {
    const { assert!(I31::TAG == 1) };
    even_below(&words.map(|word| word.wrapping_sub(NURSERY_START)), nursery)
}

/// What the loop keeps in registers. It is taken from the heap ([`ScavengeLoop::lane`]) and put back
/// ([`ScavengeLoop::put_back`]).
struct Lane {
    slots: Vec<Entry>,
    /// Where new objects are placed that age, and where all others are.
    to: Room,
    bump: Bump,
    /// The bytes of young objects that were neither moved nor retained, at most.
    left: u32,
    /// Word 0 of the header of the last object with a plain shape, its size and the bits of its references.
    last: (u32, u32, u64),
}

impl<V: HeapView, const SHIFT: u32> ScavengeLoop<'_, V, SHIFT> {
    /// Takes from the heap what the loop changes often.
    #[inline(always)]
    fn lane(&mut self) -> Lane {
        Lane {
            slots: std::mem::take(&mut self.work.slots),
            to: self.survivors.to,
            bump: self.old.bump(),
            left: self.young - self.work.bytes as u32,
            // No object has this size.
            last: (0, u32::MAX, 0),
        }
    }

    /// Gives back to the heap what [`lane`](ScavengeLoop::lane) took.
    #[inline(always)]
    fn put_back(&mut self, lane: Lane) {
        self.work.bytes = u64::from(self.young - lane.left);
        self.work.slots = lane.slots;
        self.survivors.to = lane.to;
        self.old.set_bump(lane.bump);
    }

    /// Moves the young objects to which `words` refer, unless they were moved, and finds their slots.
    /// The words become the new places. Returns the first one that stops it.
    pub(super) fn forward_all<'w>(
        &mut self,
        words: &mut std::slice::IterMut<'w, u32>,
    ) -> Option<(&'w mut u32, Stop)> {
        let mut lane = self.lane();
        let stop = words.find_map(|word| match self.forward(*word, &mut lane) {
            Ok(new) => {
                *word = new;
                None
            }
            Err(stop) => Some((word, stop)),
        });
        self.put_back(lane);
        stop
    }

    /// Moves a young object to the free memory at `new`, or retains it if that is where it is, and
    /// finds its slots.
    pub(super) fn place(&mut self, young: Young, new: u32) -> Result<u32, Stop> {
        let mut lane = self.lane();
        let before = lane.left;
        let placed = self.place_in(young, new, &mut lane);
        if young.index >= self.survivors.start() {
            self.work.again += u64::from(before - lane.left);
        }
        self.put_back(lane);
        placed
    }

    /// The new place of the object to which `word` refers, in the nursery. Moves the object if it was
    /// not moved yet, and finds its slots.
    #[inline(always)]
    fn forward(&mut self, word: u32, lane: &mut Lane) -> Result<u32, Stop> {
        let is_new = word < self.used && word.is_multiple_of(8);
        let header = if is_new || self.is_survivor(word) {
            self.bytes.read_u64(u64::from(word) + HEADER)
        } else {
            None
        };
        let Some(header) = header else {
            return Err(Stop::Damage(word, "a reference to no young object"));
        };
        let forward = (header >> 32) as u32;
        if forward != 0 {
            let is_moved = |target| {
                let is_elsewhere =
                    target >= NURSERY_START + self.nursery || lane.to.contains(target);
                is_elsewhere && self.old.is_start(target)
            };
            return match forwarded(forward) {
                Some(target) if is_moved(target) || target == word => Ok(target),
                _ => Err(Stop::Damage(word, "a young object was moved to no object")),
            };
        }
        if !is_new {
            return self.move_survivor(word, header as u32, lane);
        }
        match self.move_plain(word, header as u32, lane) {
            Some(new) => Ok(new),
            None => self.move_any(word, header as u32, self.used, lane),
        }
    }

    /// Whether one of the objects that have survived a collection begins at `word`.
    #[inline(always)]
    fn is_survivor(&self, word: u32) -> bool {
        word >= self.survivors.start() && self.old.is_start(word)
    }

    /// The new place of an object that has survived a collection and was not moved yet.
    #[inline(never)]
    fn move_survivor(&mut self, word: u32, header: u32, lane: &mut Lane) -> Result<u32, Stop> {
        if lane.to.contains(word) {
            // It was placed there in this collection.
            return Ok(word);
        }
        let end = self.survivors.half_end(word).unwrap_or(word);
        let before = lane.left;
        let moved = self.move_any(word, header, end, lane);
        self.work.again += u64::from(before - lane.left);
        moved
    }

    /// Moves an object that was not moved yet, and finds its slots, if it has a
    /// [plain shape](Shapes::plain) and fits into the hole, as most objects do. Changes nothing and
    /// returns `None` in all other cases.
    ///
    /// Objects of one type often follow each other. So the last shape is kept, and is not looked up
    /// again: the slots are then read without waiting for the shape.
    #[inline(always)]
    fn move_plain(&mut self, word: u32, header: u32, lane: &mut Lane) -> Option<u32> {
        if self.looks_at_old {
            return None;
        }
        if header != lane.last.0 {
            let (size, bits) = self.shapes.plain(header)?;
            lane.last = (header, size, bits);
        }
        let (_, size, bits) = lane.last;
        if size > self.used - word || size > lane.left {
            return None;
        }
        let at = u64::from(word);
        let new = match lane.to.peek(size) {
            Some(new) => {
                self.bytes.copy_object(new.into(), at, size)?;
                self.place_young(new, size, lane);
                new
            }
            None => {
                let new = lane.bump.peek(size)?;
                self.bytes.copy_object(new.into(), at, size)?;
                self.old.take_peeked(&mut lane.bump, size)
            }
        };
        self.bytes.prefetch_for_write(u64::from(new) + AHEAD);
        let _mapped = self.bytes.write_u32(at + COLLECTOR_WORD, forwarding(new));
        lane.left -= size;
        self.find_plain(word, new, bits, lane);
        Some(new)
    }

    /// Takes the next place for an object that ages.
    #[inline(always)]
    fn place_young(&mut self, new: u32, size: u32, lane: &mut Lane) {
        lane.to.next = new + size;
        lane.to.objects += 1;
        self.old.begin_outside(new);
    }

    /// Finds the slots of an object that was moved from `old` to `new`. They are read at the old place,
    /// because the new one has just been written.
    #[inline(always)]
    fn find_plain(&mut self, old: u32, new: u32, bits: u64, lane: &mut Lane) {
        // The first reference is followed first.
        slots_of_bits_backwards(old, bits, |at| {
            let word = self.bytes.read_u32(at).unwrap_or_default();
            if is_young(word, self.nursery) {
                self.bytes.prefetch_object(word);
                lane.slots.push(Entry::new((at as u32 - old) + new, word));
            }
        });
    }

    /// Moves an object that was not moved yet, and finds its slots. The objects beside it end at `end`.
    #[inline(always)]
    fn move_any(&mut self, word: u32, header: u32, end: u32, lane: &mut Lane) -> Result<u32, Stop> {
        let bytes = &self.bytes;
        let length = || bytes.read_u32(u64::from(word) + u64::from(ArrayLayout::LENGTH_OFFSET));
        let object = match self.shapes.object_with(header, length) {
            Some(object) if object.size <= end - word => object,
            _ => {
                return Err(Stop::Damage(word, "a young object with an invalid header or size"));
            }
        };
        if object.size > lane.left {
            return Err(Stop::Damage(word, "young objects overlap"));
        }
        let young = Young { index: word, object };
        let ages = word < self.used && object.size <= MAX_SMALL;
        if let Some(new) = lane.to.peek(object.size).filter(|_| ages) {
            self.place_young(new, object.size, lane);
            return self.place_in(young, new, lane);
        }
        match self.old.take_at(&mut lane.bump, object.size) {
            Some(new) => self.place_in(young, new, lane),
            None => Err(Stop::NoRoom(young)),
        }
    }

    /// As [`place`](ScavengeLoop::place).
    #[inline(always)]
    fn place_in(&mut self, young: Young, new: u32, lane: &mut Lane) -> Result<u32, Stop> {
        let Young { index, object } = young;
        let at = u64::from(index);
        if new != index && self.bytes.copy_object(new.into(), at, object.size).is_none() {
            return Err(Stop::Damage(new, "the old generation is not mapped"));
        }
        let _mapped = self.bytes.write_u32(at + COLLECTOR_WORD, forwarding(new));
        lane.left -= object.size;
        match object.refs {
            Refs::None => {}
            Refs::Bits(bits) if !self.looks_at_old => self.find_plain(index, new, bits, lane),
            _ => {
                self.work.slots = std::mem::take(&mut lane.slots);
                self.find_many(new, object);
                lane.slots = std::mem::take(&mut self.work.slots);
            }
        }
        Ok(new)
    }

    /// Finds the slots of the object at `index` that refer to young objects.
    #[inline]
    pub(super) fn find(&mut self, index: u32, object: Object) {
        match object.refs {
            Refs::None => {}
            Refs::Bits(bits) => slots_of_bits_backwards(index, bits, |at| self.find_slot(at)),
            _ => self.find_many(index, object),
        }
    }

    #[inline(never)]
    fn find_many(&mut self, index: u32, object: Object) {
        match object.refs {
            Refs::Elements(_) => self.find_elements(Grey::new(index, 0), object),
            _ => {
                let shapes = self.shapes;
                shapes.slots_backwards(index, object, |at| self.find_slot(at));
            }
        }
    }

    /// Finds slots in the first elements of a piece of an array.
    pub(super) fn find_in_piece(&mut self, array: Grey) -> Result<(), Stop> {
        let object = self.known(array.index())?;
        if let Refs::Elements(_) = object.refs {
            self.find_elements(array, object);
        }
        Ok(())
    }

    fn find_elements(&mut self, array: Grey, object: Object) {
        let rest = object.rest(array.from(), ELEMENTS);
        self.work.pieces.extend(rest.map(|rest| array.at(rest)));
        let end = rest.unwrap_or(object.length);
        let first = object.elements(array.index()).start;
        self.find_between(first + 4 * u64::from(array.from()), first + 4 * u64::from(end));
    }

    /// The object at `index`, which is in the old generation, or was moved or retained.
    #[inline(always)]
    fn known(&self, index: u32) -> Result<Object, Stop> {
        let at = u64::from(index);
        let header = self.bytes.read_u32(at + HEADER).unwrap_or_default();
        let length = || self.bytes.read_u32(at + u64::from(ArrayLayout::LENGTH_OFFSET));
        // No access outside the heap succeeds, so the size is not checked.
        let object = self.shapes.object_with(header, length);
        object.ok_or(Stop::Damage(index, BAD_OBJECT))
    }

    /// Finds slots on a card: all slots of structs that begin on it, and the array elements that
    /// lie on it.
    pub(super) fn find_on_card(&mut self, card: u32) -> Result<(), Stop> {
        let before = match self.old.blocks().owner(card) {
            Owner::Nobody => return Ok(()),
            Owner::Block(start) => self.old.start_before(card, start),
            Owner::Large(start) => (start < card).then_some(start),
        };
        let mut starts = self.old.starts_on(card, Cards::<SHIFT>::SIZE);
        // The last one first, because the last entry on the stack is followed first.
        while starts != 0 {
            let last = 63 - starts.leading_zeros();
            starts &= !(1 << last);
            self.find_in_part(card + 8 * last, card)?;
        }
        before.map_or(Ok(()), |index| self.find_in_part(index, card))
    }

    /// Finds slots in the part of an object that lies on a card. If a struct begins there, its
    /// whole rest counts.
    #[inline]
    fn find_in_part(&mut self, index: u32, card: u32) -> Result<(), Stop> {
        let object = self.known(index)?;
        let (low, high) = (u64::from(card), u64::from(card) + u64::from(Cards::<SHIFT>::SIZE));
        match object.refs {
            Refs::Elements(_) => {
                let elements = object.elements(index);
                self.find_between(elements.start.max(low), elements.end.min(high));
            }
            _ if index >= card => self.find(index, object),
            _ => {
                let shapes = self.shapes;
                shapes.slots_backwards(index, object, |slot| {
                    if slot >= low && slot < high {
                        self.find_slot(slot);
                    }
                });
            }
        }
        Ok(())
    }

    /// Finds slots among adjacent ones: those from `at` up to `end`, the last one first.
    pub(super) fn find_between(&mut self, at: u64, mut end: u64) {
        if !self.looks_at_old {
            while at + 4 * BATCH_BYTES <= end {
                end -= 4 * BATCH_BYTES;
                let batches = [0, 1, 2, 3].map(|n| self.young_at(end + n * BATCH_BYTES));
                let bits = (0..).zip(batches).map(|(n, bits)| u64::from(bits) << (16 * n)).sum();
                self.found_bits(end, bits);
            }
            while at + BATCH_BYTES <= end {
                end -= BATCH_BYTES;
                self.found_bits(end, self.young_at(end).into());
            }
        }
        while at < end {
            end -= 4;
            self.find_slot(end);
        }
    }

    /// Which of the slots from `at` on refer to young objects.
    #[inline(always)]
    fn young_at(&self, at: u64) -> u32 {
        self.bytes.read_words(at).map_or(0, |words| young_among(&words, self.nursery))
    }

    /// Finds the slots from `at` on whose bits are set. They refer to young objects.
    #[inline(always)]
    fn found_bits(&mut self, at: u64, mut bits: u64) {
        while bits != 0 {
            let last = 63 - bits.leading_zeros();
            bits &= !(1 << last);
            self.find_slot(at + 4 * u64::from(last));
        }
    }

    #[inline(always)]
    fn find_slot(&mut self, at: u64) {
        if let Some(word) = self.bytes.read_u32(at) {
            self.found_word(at, word);
        }
    }

    #[inline(always)]
    fn found_word(&mut self, at: u64, word: u32) {
        let entry = Entry::new(at as u32, word);
        if is_young(word, self.nursery) {
            self.bytes.prefetch_object(word);
            self.work.slots.push(entry);
        } else if self.looks_at_old && word != 0 {
            self.work.old.push(entry);
        }
    }

    /// Moves the referents of slots, and of the slots found in them, and updates the slots, as far
    /// as `budget` allows. An entry at which it stops is on the stack again.
    #[inline(never)]
    pub(super) fn run(&mut self, budget: &mut u32) -> Result<(), Stop> {
        let mut lane = self.lane();
        let mut left = *budget;
        let stop = loop {
            if left == 0 {
                break Ok(());
            }
            let Some(entry) = lane.slots.pop() else { break Ok(()) };
            left -= 1;
            match self.forward(entry.word(), &mut lane) {
                Ok(new) => {
                    let _mapped = self.bytes.write_u32(entry.slot().into(), new);
                    if is_young(new, self.nursery) && !is_young(entry.slot(), self.nursery) {
                        // It was retained, or ages. So the slot must be visited again.
                        self.cards.dirty(entry.slot());
                    }
                }
                Err(stop) => {
                    lane.slots.push(entry);
                    break Err(stop);
                }
            }
        };
        self.put_back(lane);
        self.old.record();
        *budget = left;
        stop
    }
}
