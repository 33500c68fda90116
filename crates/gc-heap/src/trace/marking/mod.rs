//! [`Marking`]: marks the objects of a mark region, and scans them for what they refer to.
//!
//! Marking misses the cache twice for each object: at the object's mark bit and at its header. So
//! both are fetched before they are needed. A reference waits in a queue while the mark bit is
//! fetched, and a marked object in another one while its header is fetched (Chen-Yong Cher, Antony
//! L. Hosking and T. N. Vijaykumar, "Software Prefetching for Mark-Sweep Garbage Collection", 2004).
//! Between the two queues is a stack. It has only marked objects, and each at most once. So it never
//! has more entries than there are objects.
//!
//! The loop takes one object and one reference in turn, and adds references without a branch:
//! whether a slot holds null is hard to predict for a processor. It borrows only the parts of the heap
//! that it needs. Another thread may run it while the program runs (`loan.rs`). When it consisted of methods of the whole heap, which updated counters in memory, a
//! collection of 143 MiB of live objects took 81 to 88 ms instead of 66 to 70.

mod loan;

use super::grey::Grey;
use super::shapes::{BAD_OBJECT, Shapes, slots_of_bits};
use crate::space::Count;
use crate::space::mark_region::MarkRegion;
use crate::space::mark_region::evacuate::{Evacuator, is_in};
use crate::space::object_map::Mark;
use crate::{GcRootsIter, HeapCore, HeapView, WeakTracer};
use gc_types::{ArrayLayout, I31, VMGcHeader, VMGcRef};

/// The most references that wait.
const REFERENCES: usize = 64;
/// The number of references that wait, if there are enough. More wait where one object has many.
const FETCHED: usize = 16;
/// The most marked objects that wait. With eight here and in [`FETCHED`], `splay` took 1.02 of its time.
const OBJECTS: usize = 16;
/// Units of work between two looks whether marking should stop.
const LOOK: u32 = 64;
/// Elements of an array that are scanned at a time.
const ELEMENTS: u32 = 1 << 10;

/// What [`Marking::run`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Everything is marked.
    Done,
    /// The budget was used, or the heap is damaged and objects are left.
    More,
    /// More slots refer into the blocks that will be evacuated than can be updated in one pause. The evacuation must
    /// be [given up](Evacuator::give_up) before marking goes on.
    ManySlots,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Done,
    Budget,
    ManySlots,
    Damage(u32, &'static str),
}

/// The state of marking.
#[derive(Debug, Default)]
pub struct Marker {
    /// Marked objects that are to be scanned.
    stack: Vec<Grey>,
    /// The first index whose object is marked.
    floor: u32,
    /// References that the program overwrote, and their slots, for the thread that marks next.
    pub(crate) overwritten: Vec<(u32, u32)>,
    /// Slots of arrays on the stack that are not scanned.
    waiting: u64,
}

impl Marker {
    /// Begins to mark. This is called before anything is marked. Objects below `floor` count as alive and are not
    /// marked. That is the region's start, unless objects [outside its memory](MarkRegion::add_outside) are to be
    /// marked too.
    pub fn begin(&mut self, floor: u32) {
        self.clear();
        self.floor = floor.max(1);
    }

    /// Forgets what is to be scanned.
    pub fn clear(&mut self) {
        self.stack.clear();
        self.overwritten.clear();
        self.waiting = 0;
    }

    /// Slots of arrays that were found, but are not scanned.
    pub(crate) fn waiting_slots(&self) -> u64 {
        self.waiting
    }

    /// Whether nothing is to be scanned or marked.
    pub(crate) fn is_done(&self) -> bool {
        self.stack.is_empty() && self.overwritten.is_empty()
    }
}

/// Marks the objects of a [`MarkRegion`], and follows their references.
///
/// # Examples
/// A list of two objects, and one that is garbage:
///
/// ```
/// use gc_heap::space::mark_region::MarkRegion;
/// use gc_heap::space::mark_region::evacuate::Evacuator;
/// use gc_heap::trace::marking::{Marked, Marker, Marking};
/// use gc_heap::trace::shapes::Shapes;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout};
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
/// use std::sync::Arc;
///
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let cell = TypeIndex::new(0).unwrap();
/// let layout = GcLayout::Struct(StructLayout::new([StorageType::Ref]).unwrap());
/// core.side.layouts.ensure(cell, &Arc::new(layout))?;
/// let mut shapes = Shapes::default();
/// shapes.update(&core.side.layouts);
/// let mut region = MarkRegion::new(NULL_PAGE_SIZE, core.memory.maximum());
/// region.extend(core.memory.len());
///
/// let mut cells = Vec::new();
/// for _ in 0..3 {
///     let at = region.alloc_zeroed(&mut core.memory, 16).unwrap();
///     core.set_header_at(at, VMGcHeader::new(VMGcKind::StructRef, cell)).unwrap();
///     cells.push(at);
/// }
/// core.memory.write_u32(u64::from(cells[0]) + 8, cells[1]).unwrap();
///
/// let (mut marker, mut evacuator) = (Marker::default(), Evacuator::default());
/// region.begin_marking();
/// marker.begin(region.start());
/// let mut marking = Marking {
///     core: &mut core,
///     shapes: &shapes,
///     region: &mut region,
///     evacuator: &mut evacuator,
///     marker: &mut marker,
/// };
/// marking.mark(cells[0]);
/// assert_eq!(marking.run(&mut 1000), Marked::Done);
/// assert_eq!(region.marked().objects, 2);
/// assert!(!region.is_marked(cells[2]));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Marking<'h> {
    /// The heap's core.
    pub core: &'h mut HeapCore,
    /// The shapes of objects.
    pub shapes: &'h Shapes,
    /// The space whose objects are marked.
    pub region: &'h mut MarkRegion,
    /// Gets the slots that refer into the blocks that it has chosen.
    pub evacuator: &'h mut Evacuator,
    /// The state.
    pub marker: &'h mut Marker,
}

impl Marking<'_> {
    /// Marks the referent of `word`, a reference from anywhere. If there is no such object, notes damage.
    #[inline(always)]
    pub fn mark(&mut self, word: u32) {
        debug_assert!(self.marker.floor > 0, "something is marked before `Marker::begin`");
        if word & I31::TAG != 0 || word < self.marker.floor {
            return;
        }
        match self.region.mark(word) {
            Mark::New => self.marker.stack.push(Grey::new(word, 0)),
            Mark::Old => {}
            Mark::NoObject => self.core.note_damage(word, NO_OBJECT),
        }
    }

    /// Marks the referents of roots, as far as `budget` allows. Returns whether there are no more roots.
    pub fn mark_roots(&mut self, roots: &mut GcRootsIter<'_>, budget: &mut u32) -> bool {
        while *budget > 0 && self.core.damage.is_none() {
            *budget -= 1;
            let Some(root) = roots.next() else { return true };
            root.get().iter().for_each(|word| self.mark(word.as_raw_u32()));
        }
        false
    }

    /// Scans marked objects, as far as `budget` allows: a unit for each object and for eight slots.
    pub fn run(&mut self, budget: &mut u32) -> Marked {
        while *budget > 0
            && self.core.damage.is_none()
            && let Some(bytes) = self.core.memory.bytes()
        {
            let (chosen, slots, most_slots) = self.evacuator.parts();
            let Marker { stack, floor, waiting, .. } = &mut *self.marker;
            let (shapes, region, floor) = (self.shapes, &mut *self.region, *floor);
            let mut parts = MarkLoop {
                bytes,
                shapes,
                region,
                stack,
                waiting,
                chosen,
                slots,
                most_slots,
                floor,
            };
            match parts.run(budget, || false) {
                Stop::Done => return Marked::Done,
                Stop::Budget => {}
                Stop::ManySlots => return Marked::ManySlots,
                Stop::Damage(at, what) => self.core.note_damage(at, what),
            }
        }
        if self.marker.stack.is_empty() { Marked::Done } else { Marked::More }
    }
}

/// What is marked is alive, and what is below the floor.
impl WeakTracer for Marking<'_> {
    fn core(&self) -> &HeapCore {
        self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let index = object.as_raw_u32();
        let lives = index < self.marker.floor || self.region.is_marked(index);
        lives.then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        self.mark(object.as_raw_u32());
        object.unchecked_copy()
    }

    /// Objects outside the region's memory are.
    fn is_young(&self, object: &VMGcRef) -> bool {
        object.as_raw_u32() < self.region.start()
    }
}

const NO_OBJECT: &str = "a reference to no object";

/// A queue of at most `N` entries, a power of two. The entries are outside of this struct, so that the
/// compiler keeps the other fields in registers.
struct Queue<'q, T, const N: usize> {
    entries: &'q mut [T; N],
    first: usize,
    count: usize,
}

impl<'q, T: Copy, const N: usize> Queue<'q, T, N> {
    fn new(entries: &'q mut [T; N]) -> Self {
        Queue { entries, first: 0, count: 0 }
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.count == N
    }

    /// Adds an entry, if `really`. There is no branch. The queue is not full.
    #[inline(always)]
    fn push_if(&mut self, really: bool, entry: T) {
        self.entries[(self.first + self.count) % N] = entry;
        self.count += usize::from(really);
    }

    /// Takes the oldest entry.
    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        if self.count == 0 {
            return None;
        }
        let entry = self.entries[self.first % N];
        (self.first, self.count) = ((self.first + 1) % N, self.count - 1);
        Some(entry)
    }
}

/// What the loop keeps in registers.
struct Lane<'q> {
    /// References whose mark bits are being fetched.
    references: Queue<'q, u32, REFERENCES>,
    stack: Vec<Grey>,
    /// Word 0 of the header of the last object with a plain shape, its size, the bits of its references, and the cost
    /// of scanning it.
    last: (u32, u32, u64, u32),
    /// Objects that were scanned.
    marked: Count,
    damage: Option<(u32, &'static str)>,
}

/// The parts of a heap that the loop uses. The loop changes nothing else.
struct MarkLoop<'h, V> {
    bytes: V,
    shapes: &'h Shapes,
    region: &'h mut MarkRegion,
    stack: &'h mut Vec<Grey>,
    /// Slots of arrays on the stack that are not scanned.
    waiting: &'h mut u64,
    /// For each block, whether it will be evacuated. Empty if none will be.
    chosen: &'h [bool],
    /// Slots that refer into these blocks.
    slots: &'h mut Vec<u32>,
    /// The most of them that can be updated in one pause.
    most_slots: usize,
    /// The first index whose object is marked.
    floor: u32,
}

impl<V: HeapView> MarkLoop<'_, V> {
    #[inline(never)]
    fn run(&mut self, budget: &mut u32, is_asked: impl Fn() -> bool) -> Stop {
        let (mut references, mut objects) = ([0; REFERENCES], [Grey::default(); OBJECTS]);
        let mut objects = Queue::new(&mut objects);
        let mut lane = Lane {
            references: Queue::new(&mut references),
            stack: std::mem::take(self.stack),
            // No object has this size.
            last: (0, u32::MAX, 0, 1),
            marked: Count::default(),
            damage: None,
        };
        let mut left = *budget;
        let mut look = left;
        let stop = loop {
            if let Some((at, what)) = lane.damage {
                break Stop::Damage(at, what);
            }
            if left <= look {
                if is_asked() {
                    break Stop::Budget;
                }
                look = left.saturating_sub(LOOK);
            }
            if self.slots.len() > self.most_slots {
                break Stop::ManySlots;
            }
            if left == 0 {
                break Stop::Budget;
            }
            if lane.references.count >= FETCHED {
                self.mark_oldest(&mut lane);
            }
            while !objects.is_full()
                && let Some(object) = lane.stack.pop()
            {
                self.bytes.prefetch_object(object.index());
                objects.push_if(true, object);
            }
            // Too few objects wait. References may give more.
            if !objects.is_full() && lane.references.count > 0 {
                self.mark_oldest(&mut lane);
                continue;
            }
            let Some(object) = objects.pop() else { break Stop::Done };
            left = left.saturating_sub(self.scan(object, &mut lane));
        };
        while lane.references.count > 0 {
            self.mark_oldest(&mut lane);
        }
        // The oldest object is the next one.
        for n in (0..objects.count).rev() {
            lane.stack.push(objects.entries[(objects.first + n) % OBJECTS]);
        }
        *self.stack = lane.stack;
        self.region.add_marked(lane.marked);
        *budget = left;
        match (stop, lane.damage) {
            (_, Some((at, what))) => Stop::Damage(at, what),
            _ => stop,
        }
    }

    /// Marks the referent of the reference that waits longest.
    #[inline(always)]
    fn mark_oldest(&mut self, lane: &mut Lane<'_>) {
        let Some(word) = lane.references.pop() else { return };
        match self.region.mark(word) {
            Mark::New => lane.stack.push(Grey::new(word, 0)),
            Mark::Old => {}
            Mark::NoObject => lane.damage = Some((word, NO_OBJECT)),
        }
    }

    /// Scans an object. Returns the cost.
    #[inline(always)]
    fn scan(&mut self, object: Grey, lane: &mut Lane<'_>) -> u32 {
        let index = object.index();
        let header = self.bytes.read_u32(u64::from(index) + u64::from(VMGcHeader::WORD_OFFSET));
        let Some(header) = header else {
            lane.damage = Some((index, "an object outside the heap"));
            return 1;
        };
        if header != lane.last.0
            && let Some((size, bits)) = self.shapes.plain(header)
        {
            lane.last = (header, size, bits, 1 + bits.count_ones() / 8);
        }
        let (word, size, bits, cost) = lane.last;
        if word != header
            || index < self.region.start()
            || object.from() != 0
            || !self.region.reach_small(index, size)
        {
            return self.scan_any(object, header, lane);
        }
        lane.marked.add(size);
        slots_of_bits(index, bits, |at| self.visit(at, lane));
        cost
    }

    /// Scans an object with any shape.
    #[inline(never)]
    fn scan_any(&mut self, grey: Grey, header: u32, lane: &mut Lane<'_>) -> u32 {
        let (index, from) = (grey.index(), grey.from());
        let (shapes, bytes) = (self.shapes, &self.bytes);
        let length = || bytes.read_u32(u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET));
        let outside = index < self.region.start();
        let object = shapes.object_with(header, length);
        let object = object.filter(|object| outside || self.region.fits(index, object.size));
        let Some(object) = object else {
            lane.damage = Some((index, BAD_OBJECT));
            return 1;
        };
        if from == 0 && !outside {
            self.region.reached(index, object.size);
        }
        // Below what its elements refer to. Otherwise all that a large array refers to would be on the stack.
        let rest = object.rest(from, ELEMENTS);
        lane.stack.extend(rest.map(|rest| grey.at(rest)));
        let _rest = shapes.slots(index, object, from, ELEMENTS, |at| self.visit(at, lane));
        let all = shapes.count(object);
        let slots = rest.unwrap_or(all).saturating_sub(from);
        if rest.is_some() || from > 0 {
            let first = if from == 0 { u64::from(all) } else { 0 };
            *self.waiting = (*self.waiting + first).saturating_sub(slots.into());
        }
        1 + slots / 8
    }

    /// Puts the reference in the slot at `at` into the queue and fetches its mark bit. Records the slot
    /// if it refers into a block that will be evacuated.
    #[inline(always)]
    fn visit(&mut self, at: u64, lane: &mut Lane<'_>) {
        let Some(word) = self.bytes.read_u32(at) else { return };
        if lane.references.is_full() {
            self.mark_oldest(lane);
        }
        let refers = word & I31::TAG == 0 && word >= self.floor;
        self.region.prefetch_mark(if refers { word } else { 0 });
        lane.references.push_if(refers, word);
        if !self.chosen.is_empty() && is_in(self.chosen, self.region.start(), word) {
            self.slots.push(at as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_the_oldest_entry_first() {
        let mut entries = [0; 4];
        let mut queue = Queue::new(&mut entries);
        assert_eq!(queue.pop(), None);
        let mut out = Vec::new();
        for n in 1..20 {
            queue.push_if(n % 3 != 0, n);
            if queue.is_full() {
                out.extend(queue.pop());
            }
        }
        assert_eq!(queue.count, 3);
        out.extend(std::iter::from_fn(|| queue.pop()));
        assert_eq!(out, (1..20).filter(|n| n % 3 != 0).collect::<Vec<_>>());
        assert!(!queue.is_full());
    }
}
