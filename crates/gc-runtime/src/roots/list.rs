//! [`GcRootsList`]: all roots of a store.
#![allow(unsafe_code)]

use super::slot::{GcRoot, Group, Slot, Words};
use super::{HandleTable, RememberedSlots};
use gc_types::{RootKind, VMGcRef};
use std::ptr::NonNull;

/// Slots that were registered together ([`GcRootsList::add_slots`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotsId {
    kind: RootKind,
    place: u32,
}

/// An element segment in a list ([`GcRootsList::add_segment`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentId(u32);

/// All roots of a mutator: slots outside the stack that are registered by kind, the handles
/// of the host, and the slots on the stack, which are added for each collection.
///
/// It holds addresses of slots, so that a moving collector can update them in place. A
/// collector asks for the roots it needs: those on the [stack](GcRootsList::stack),
/// [all](GcRootsList::all), or those that may have changed since it looked last
/// ([`remembered`](GcRootsList::remembered)). Memory is kept between collections: one
/// allocates nothing for its roots once the list has grown as long as it needs to be.
///
/// # Examples
/// ```
/// use gc_runtime::{GcRootsList, RootOwner};
/// use gc_types::{I31, VMGcRef};
///
/// let mut roots = GcRootsList::default();
/// let one = VMGcRef::from_i31(I31::wrapping_i32(1));
/// let segment = roots.add_segment(7, vec![None, Some(one)]);
/// let owners: Vec<_> = roots.all().map(|root| root.owner()).collect();
/// assert_eq!(owners, [RootOwner::Segment { number: 7, element: 1 }]);
/// roots.remove_segment(segment);
/// assert_eq!(roots.all().count(), 0);
/// ```
#[derive(Debug, Default)]
pub struct GcRootsList {
    stack: Vec<*mut u64>,
    /// The roots outside the stack that a collector asked for.
    asked: Vec<Words>,
    registered: Registered,
}

/// The roots outside the stack.
#[derive(Debug, Default)]
struct Registered {
    globals: Slots,
    constants: Slots,
    tables: Slots,
    /// Slots of segments that their owner keeps.
    segments: Slots,
    /// Slots of handles that their owner keeps.
    handles: Slots,
    table: HandleTable,
    kept_segments: Vec<Segment>,
    free_segments: Vec<u32>,
    /// Segments in the list that are new since [`forget_new`](Registered::forget_new).
    new_segments: Vec<u32>,
}

/// Registered slots of one kind.
#[derive(Debug, Default)]
struct Slots {
    /// Of no slots in free places.
    all: Vec<Words>,
    free: Vec<u32>,
    /// Places that are new, or have other slots, since [`Registered::forget_new`].
    new: Vec<u32>,
}

/// References of an element segment.
#[derive(Debug, Default)]
struct Segment {
    number: u32,
    words: Vec<Option<VMGcRef>>,
}

impl Segment {
    fn words(&mut self) -> Words {
        Words::of(&mut self.words, Group::Slots(RootKind::Segment, self.number))
    }
}

// SAFETY: whoever adds or registers a slot promises that it may be accessed from
// whatever thread holds the list.
unsafe impl Send for GcRootsList {}
// SAFETY: a shared list gives access to no slot that it does not own.
unsafe impl Sync for GcRootsList {}

impl Slots {
    fn add(&mut self, words: Words, is_new: bool) -> u32 {
        let place = match self.free.pop() {
            Some(place) => {
                self.all[place as usize] = words;
                place
            }
            None => {
                self.all.push(words);
                self.all.len() as u32 - 1
            }
        };
        if is_new {
            self.new.push(place);
        }
        place
    }

    /// Adds those that are new to `asked`.
    fn ask_new(&self, asked: &mut Vec<Words>) {
        asked.extend(self.new.iter().map(|&place| self.all[place as usize]));
    }
}

impl Registered {
    fn of(&mut self, kind: RootKind) -> &mut Slots {
        match kind {
            RootKind::Global => &mut self.globals,
            RootKind::Constant => &mut self.constants,
            RootKind::Table => &mut self.tables,
            RootKind::Segment => &mut self.segments,
            RootKind::Handle => &mut self.handles,
            kind => panic!("a {kind} is not registered: it is added for each collection"),
        }
    }

    fn ask_all(&mut self, asked: &mut Vec<Words>) {
        let Registered { globals, constants, tables, segments, handles, .. } = self;
        for slots in [globals, constants, tables, segments, handles] {
            asked.extend(slots.all.iter().filter(|words| words.len() > 0));
        }
        asked.push(Words::of(self.table.scoped_mut(), Group::Handles { owned: false }));
        asked.push(Words::of(self.table.owned_mut().0, Group::Handles { owned: true }));
        asked.extend(self.kept_segments.iter_mut().map(Segment::words));
    }

    fn ask_remembered(&mut self, remembered: &RememberedSlots, asked: &mut Vec<Words>) {
        asked.extend(&self.globals.all);
        asked.extend(&self.handles.all);
        self.constants.ask_new(asked);
        self.segments.ask_new(asked);
        for (place, words) in (0..).zip(&self.tables.all) {
            if self.tables.new.contains(&place) {
                asked.push(*words);
            } else {
                words.remembered(remembered, |words| asked.push(words));
            }
        }
        asked.push(Words::of(self.table.scoped_mut(), Group::Handles { owned: false }));
        let (owned, new) = self.table.owned_mut();
        let owned = Words::of(owned, Group::Handles { owned: true });
        asked.extend(new.iter().map(|&place| owned.part(place, 1)));
        for &place in &self.new_segments {
            asked.push(self.kept_segments[place as usize].words());
        }
    }

    fn forget_new(&mut self) {
        let Registered { globals, constants, tables, segments, handles, .. } = self;
        for slots in [globals, constants, tables, segments, handles] {
            slots.new.clear();
        }
        self.table.forget_new();
        self.new_segments.clear();
    }
}

/// Registration.
impl GcRootsList {
    /// Registers `len` slots outside stack and heap: four bytes each, a reference or zero
    /// for null. `kind` says who writes them and when ([`RootKind`]), which a collector
    /// relies on; what is in a table was stored with the write barrier, where it is now.
    /// `number` is what the embedder calls them by, in messages.
    ///
    /// # Panics
    /// If `kind` is [`RootKind::Stack`], or there are 2^32 slots or more.
    ///
    /// # Safety
    /// Until the slots are [moved](GcRootsList::move_slots) or
    /// [removed](GcRootsList::remove_slots), or the list is dropped, they must be valid for
    /// reads and writes from any thread, aligned and initialized. While the list is
    /// borrowed by a [`GcRootsIter`] or a [`GcRoot`], nobody else accesses them.
    pub unsafe fn add_slots(
        &mut self,
        kind: RootKind,
        number: u32,
        first: NonNull<u32>,
        len: usize,
    ) -> SlotsId {
        let len = u32::try_from(len).expect("fewer than 2^32 slots");
        // Of the others either each slot is looked at, or a barrier notes which was written.
        let is_new = matches!(kind, RootKind::Constant | RootKind::Segment);
        let words = Words::new(first, len, kind, number);
        let place = self.registered.of(kind).add(words, is_new);
        SlotsId { kind, place }
    }

    /// Says that the registered slots are elsewhere, or more or fewer, such as those of a
    /// table that has grown.
    ///
    /// # Panics
    /// If there are 2^32 slots or more, or `id` is of another list.
    ///
    /// # Safety
    /// As [`add_slots`](GcRootsList::add_slots).
    pub unsafe fn move_slots(&mut self, id: SlotsId, first: NonNull<u32>, len: usize) {
        let len = u32::try_from(len).expect("fewer than 2^32 slots");
        let slots = self.registered.of(id.kind);
        if slots.all[id.place as usize].moved(first, len) && !slots.new.contains(&id.place) {
            // The barrier noted where the slots were.
            slots.new.push(id.place);
        }
    }

    /// Forgets slots that were registered.
    ///
    /// # Panics
    /// If `id` is of another list.
    pub fn remove_slots(&mut self, id: SlotsId) {
        let slots = self.registered.of(id.kind);
        let words = &mut slots.all[id.place as usize];
        *words = words.part(0, 0);
        slots.new.retain(|&place| place != id.place);
        slots.free.push(id.place);
    }

    /// Takes over the references of an element segment, which are written never again.
    /// `number` is what the embedder calls it by, in messages.
    pub fn add_segment(&mut self, number: u32, words: Vec<Option<VMGcRef>>) -> SegmentId {
        let Registered { kept_segments, free_segments, new_segments, .. } = &mut self.registered;
        let segment = Segment { number, words };
        let place = match free_segments.pop() {
            Some(place) => {
                kept_segments[place as usize] = segment;
                place
            }
            None => {
                kept_segments.push(segment);
                kept_segments.len() as u32 - 1
            }
        };
        new_segments.push(place);
        SegmentId(place)
    }

    /// The references of a segment.
    ///
    /// # Panics
    /// If `id` is of another list.
    pub fn segment(&self, id: SegmentId) -> &[Option<VMGcRef>] {
        &self.registered.kept_segments[id.0 as usize].words
    }

    /// Gives the references of a segment back.
    ///
    /// # Panics
    /// If `id` is of another list.
    pub fn remove_segment(&mut self, id: SegmentId) -> Vec<Option<VMGcRef>> {
        self.registered.new_segments.retain(|&place| place != id.0);
        self.registered.free_segments.push(id.0);
        std::mem::take(&mut self.registered.kept_segments[id.0 as usize].words)
    }

    pub(crate) fn handles(&self) -> &HandleTable {
        &self.registered.table
    }

    pub(crate) fn handles_mut(&mut self) -> &mut HandleTable {
        &mut self.registered.table
    }

    /// Forgets every reference that is kept here: those of handles and segments. Slots that
    /// are registered stay so.
    pub(crate) fn reset(&mut self) {
        self.clear_stack();
        self.registered.table.reset();
        self.registered.kept_segments.iter_mut().for_each(|segment| {
            segment.words.fill_with(|| None);
        });
    }

    // ---- the stack ----------------------------------------------------------

    /// Adds a slot of a stack frame, as stack maps describe it: eight bytes that
    /// hold a zero-extended reference, or zero for null.
    ///
    /// # Safety
    /// Until the [stack is cleared](GcRootsList::clear_stack), or the borrow of the
    /// [`TraceRoots`](crate::TraceRoots) that added the slot ends, `slot` must be valid for
    /// reads and writes from any thread, aligned, initialized, and accessed by nobody but
    /// the list.
    #[inline]
    pub unsafe fn add_stack_root(&mut self, slot: *mut u64) {
        self.stack.push(slot);
    }

    /// Forgets the slots on the stack, keeps the memory they stood in.
    pub fn clear_stack(&mut self) {
        self.stack.clear();
        self.asked.clear();
    }

    /// Number of slots on the stack.
    pub fn stack_len(&self) -> usize {
        self.stack.len()
    }
}

/// What a collector asks for.
impl GcRootsList {
    /// The roots on the stack.
    pub fn stack(&mut self) -> GcRootsIter<'_> {
        self.ask(|_, _| ())
    }

    /// All roots. Null slots outside the stack are passed over.
    pub fn all(&mut self) -> GcRootsIter<'_> {
        self.ask(Registered::ask_all)
    }

    /// The roots that may refer to an object which none did when [`forget_new`] was called
    /// last: those on the stack; mutable globals and scoped handles, whose writes no barrier
    /// notes; constants, segments and owned handles that are new since; and of tables the
    /// slots in `remembered`, or all if the table has moved. A collector with
    /// generations remembers what [`write_gc_ref`](crate::GcHeap::write_gc_ref) and its
    /// emitted code store, and calls [`forget_new`] when nothing is young any more.
    ///
    /// [`forget_new`]: GcRootsIter::forget_new
    pub fn remembered(&mut self, remembered: &RememberedSlots) -> GcRootsIter<'_> {
        self.ask(|registered, asked| registered.ask_remembered(remembered, asked))
    }

    fn ask(&mut self, ask: impl FnOnce(&mut Registered, &mut Vec<Words>)) -> GcRootsIter<'_> {
        let GcRootsList { stack, asked, registered } = self;
        asked.clear();
        ask(registered, asked);
        let mut iter = GcRootsIter {
            stack: [].iter(),
            words: None,
            next: 0,
            rest: [].iter(),
            all_stack: stack,
            all_words: asked,
            registered,
        };
        iter.restart();
        iter
    }
}

/// Iterates over roots: those on the stack first.
#[derive(Debug)]
pub struct GcRootsIter<'a> {
    stack: std::slice::Iter<'a, *mut u64>,
    /// The slots that are gone through, and which of them comes next.
    words: Option<&'a Words>,
    next: u32,
    rest: std::slice::Iter<'a, Words>,
    all_stack: &'a [*mut u64],
    all_words: &'a [Words],
    registered: &'a mut Registered,
}

impl GcRootsIter<'_> {
    /// Begins again with the first root, for collectors that look at them twice.
    pub fn restart(&mut self) {
        self.stack = self.all_stack.iter();
        (self.words, self.next) = (None, 0);
        self.rest = self.all_words.iter();
    }

    /// Says that what is registered now need not be looked at again
    /// ([`GcRootsList::remembered`]) until it is written.
    pub fn forget_new(&mut self) {
        self.registered.forget_new();
    }
}

// SAFETY: made from an exclusively borrowed `GcRootsList`, which may itself be sent.
unsafe impl Send for GcRootsIter<'_> {}
// SAFETY: a shared iterator gives access to no slot.
unsafe impl Sync for GcRootsIter<'_> {}

impl<'a> Iterator for GcRootsIter<'a> {
    type Item = GcRoot<'a>;

    #[inline]
    fn next(&mut self) -> Option<GcRoot<'a>> {
        if let Some(&slot) = self.stack.next() {
            return Some(GcRoot::new(Slot::Stack(slot)));
        }
        loop {
            if let Some(words) = self.words
                && let Some(slot) = words.next(&mut self.next)
            {
                return Some(GcRoot::new(Slot::Word(slot, words)));
            }
            (self.words, self.next) = (Some(self.rest.next()?), 0);
        }
    }
}

#[cfg(test)]
mod tests;
