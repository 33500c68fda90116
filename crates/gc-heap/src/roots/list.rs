//! [`GcRootsList`]: all roots of a store.
#![allow(unsafe_code)]

use super::HandleTable;
use super::slot::{GcRoot, Group, Slot, Words};
use crate::HeapError;
use crate::remember::RememberedSlots;
use gc_types::{RootKind, VMGcRef};
use std::collections::HashSet;
use std::ptr::NonNull;

/// The identity of slots that were registered together ([`GcRootsList::add_slots`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotsId {
    kind: RootKind,
    place: u32,
}

/// The identity of an element segment in a list ([`GcRootsList::add_segment`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentId(u32);

/// All roots of a mutator: the slots outside the stack, which are registered by kind, the host's
/// handles, and the slots on the stack, which are added for each collection.
///
/// It holds addresses of slots, so that a moving collector can update them in place. A collector
/// asks for the roots that it needs: those on the [stack](GcRootsList::stack),
/// [all](GcRootsList::all), or those that may have changed since it last visited them
/// ([`remembered`](GcRootsList::remembered)). The list keeps its memory between collections, so a
/// collection allocates nothing for its roots when the list is long enough.
///
/// # Examples
/// ```
/// use gc_heap::{GcRootsList, RootOwner};
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
    /// The number of frames that were looked at to find the slots on the stack.
    frames: u64,
    /// The roots outside the stack for which a collector has asked.
    asked: Vec<Words>,
    table: HandleTable,
    /// Made when the first slots are registered, because many stores register none.
    registered: Option<Box<Registered>>,
}

/// The roots outside the stack.
#[derive(Debug, Default)]
struct Registered {
    globals: Slots,
    constants: Slots,
    tables: Slots,
    fixed_tables: Slots,
    /// Slots of segments that the embedder keeps.
    segments: Slots,
    /// Slots of handles that the embedder keeps.
    handles: Slots,
    kept_segments: Vec<Segment>,
    free_segments: Vec<u32>,
    /// The segments in the list that were added since the last
    /// [`forget_new`](Registered::forget_new).
    new_segments: Vec<u32>,
}

/// Registered slots of one kind.
#[derive(Debug, Default)]
struct Slots {
    /// Free places have no slots.
    all: Vec<Words>,
    free: Vec<u32>,
    /// The places that are new or have moved since the last [`Registered::forget_new`].
    new: Vec<u32>,
}

/// The references of an element segment.
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

// SAFETY: the code that adds or registers a slot promises that any thread that holds the list may
// access it.
unsafe impl Send for GcRootsList {}
// SAFETY: a shared list gives access only to slots that it owns.
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

    /// Adds the new slots to `asked`.
    fn ask_new(&self, asked: &mut Vec<Words>) {
        asked.extend(self.new.iter().map(|&place| self.all[place as usize]));
    }
}

/// The slots of scoped handles.
fn scoped(table: &mut HandleTable) -> Words {
    Words::of(table.scoped_mut(), Group::Handles { owned: false })
}

impl Registered {
    fn of(&mut self, kind: RootKind) -> &mut Slots {
        match kind {
            RootKind::Global => &mut self.globals,
            RootKind::Constant => &mut self.constants,
            RootKind::Table => &mut self.tables,
            RootKind::FixedTable => &mut self.fixed_tables,
            RootKind::Segment => &mut self.segments,
            RootKind::Handle => &mut self.handles,
            kind => panic!("a {kind} is not registered: it is added for each collection"),
        }
    }

    /// The slots of every kind.
    fn all(&mut self) -> [&mut Slots; 6] {
        let Registered { globals, constants, tables, fixed_tables, segments, handles, .. } = self;
        [globals, constants, tables, fixed_tables, segments, handles]
    }

    fn ask_all(&mut self, table: &mut HandleTable, asked: &mut Vec<Words>) {
        for slots in self.all() {
            asked.extend(slots.all.iter().filter(|words| words.len() > 0));
        }
        asked.push(scoped(table));
        asked.push(Words::of(table.owned_mut().0, Group::Handles { owned: true }));
        asked.extend(self.kept_segments.iter_mut().map(Segment::words));
    }

    fn ask_remembered(
        &mut self,
        table: &mut HandleTable,
        remembered: &RememberedSlots,
        asked: &mut Vec<Words>,
    ) {
        asked.extend(&self.globals.all);
        for words in &self.fixed_tables.all {
            words.referring_to(remembered.young(), |words| asked.push(words));
        }
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
        asked.push(scoped(table));
        let (owned, new) = table.owned_mut();
        let owned = Words::of(owned, Group::Handles { owned: true });
        asked.extend(new.iter().map(|&place| owned.part(place, 1)));
        for &place in &self.new_segments {
            asked.push(self.kept_segments[place as usize].words());
        }
    }

    /// Forgets that slots are new, except constants and segments with a reference for which `is_young` returns true.
    fn forget_new(&mut self, is_young: &impl Fn(u32) -> bool) {
        for slots in
            [&mut self.tables, &mut self.globals, &mut self.fixed_tables, &mut self.handles]
        {
            slots.new.clear();
        }
        for slots in [&mut self.constants, &mut self.segments] {
            let all = &slots.all;
            slots.new.retain(|&place| all[place as usize].any(is_young));
        }
        let kept = &mut self.kept_segments;
        self.new_segments.retain(|&place| kept[place as usize].words().any(is_young));
    }
}

/// Registration.
impl GcRootsList {
    /// Registers `len` slots outside the stack and the heap. Each slot has four bytes and holds a
    /// reference, or zero for null. `kind` says who writes the slots and when ([`RootKind`]), and
    /// collectors rely on it. The references in a table must have been stored with the write
    /// barrier at their present address. Messages identify the slots by `number`, which the
    /// embedder chooses.
    ///
    /// # Panics
    /// If `kind` is [`RootKind::Stack`] or `len` is 2^32 or more.
    ///
    /// # Safety
    /// Until the slots are [moved](GcRootsList::move_slots) or
    /// [removed](GcRootsList::remove_slots), or the list is dropped, they must be valid for reads
    /// and writes from any thread, aligned and initialized. While a [`GcRootsIter`] or a [`GcRoot`]
    /// borrows the list, no other code may access them.
    pub unsafe fn add_slots(
        &mut self,
        kind: RootKind,
        number: u32,
        first: NonNull<u32>,
        len: usize,
    ) -> SlotsId {
        let len = u32::try_from(len).expect("fewer than 2^32 slots");
        // For the other kinds, either every collection visits each slot, or a barrier records the
        // written slots.
        let is_new = matches!(kind, RootKind::Constant | RootKind::Segment);
        let words = Words::new(first, len, kind, number);
        let place = self.registered().of(kind).add(words, is_new);
        SlotsId { kind, place }
    }

    /// Changes the address or number of registered slots, for example when a table has grown.
    ///
    /// # Panics
    /// If `len` is 2^32 or more, or if `id` belongs to another list.
    ///
    /// # Safety
    /// As [`add_slots`](GcRootsList::add_slots).
    pub unsafe fn move_slots(&mut self, id: SlotsId, first: NonNull<u32>, len: usize) {
        let len = u32::try_from(len).expect("fewer than 2^32 slots");
        let slots = self.registered().of(id.kind);
        if slots.all[id.place as usize].moved(first, len) && !slots.new.contains(&id.place) {
            // The barrier recorded the old addresses.
            slots.new.push(id.place);
        }
    }

    /// Removes registered slots.
    ///
    /// # Panics
    /// If `id` belongs to another list.
    pub fn remove_slots(&mut self, id: SlotsId) {
        let slots = self.registered().of(id.kind);
        let words = &mut slots.all[id.place as usize];
        *words = words.part(0, 0);
        slots.new.retain(|&place| place != id.place);
        slots.free.push(id.place);
    }

    /// Takes ownership of the references of an element segment, which are never written again.
    /// Messages identify the segment by `number`, which the embedder chooses.
    pub fn add_segment(&mut self, number: u32, words: Vec<Option<VMGcRef>>) -> SegmentId {
        let Registered { kept_segments, free_segments, new_segments, .. } = self.registered();
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
    /// If `id` belongs to another list.
    pub fn segment(&self, id: SegmentId) -> &[Option<VMGcRef>] {
        let registered = self.registered.as_ref().expect("the list has this segment");
        &registered.kept_segments[id.0 as usize].words
    }

    /// Removes a segment and returns its references.
    ///
    /// # Panics
    /// If `id` belongs to another list.
    pub fn remove_segment(&mut self, id: SegmentId) -> Vec<Option<VMGcRef>> {
        let registered = self.registered();
        registered.new_segments.retain(|&place| place != id.0);
        registered.free_segments.push(id.0);
        std::mem::take(&mut registered.kept_segments[id.0 as usize].words)
    }

    pub(crate) fn handles(&self) -> &HandleTable {
        &self.table
    }

    pub(crate) fn handles_mut(&mut self) -> &mut HandleTable {
        &mut self.table
    }

    /// What is registered.
    fn registered(&mut self) -> &mut Registered {
        self.registered.get_or_insert_default()
    }

    /// Forgets every reference that is kept in the list, those of handles and segments. Registered
    /// slots stay registered.
    pub(crate) fn reset(&mut self) {
        self.clear_stack();
        self.table.reset();
        let segments = self.registered.iter_mut().flat_map(|all| &mut all.kept_segments);
        segments.for_each(|segment| segment.words.fill_with(|| None));
    }

    // ---- the stack ----------------------------------------------------------

    /// Adds a slot of a stack frame from a stack map: eight bytes that hold a zero-extended
    /// reference, or zero for null.
    ///
    /// # Safety
    /// Until the [stack is cleared](GcRootsList::clear_stack), or the borrow of the
    /// [`TraceRoots`](crate::TraceRoots) that added the slot ends, `slot` must be valid for reads
    /// and writes from any thread, aligned and initialized, and only the list may access it.
    #[inline]
    pub unsafe fn add_stack_root(&mut self, slot: *mut u64) {
        self.stack.push(slot);
    }

    /// Counts `count` frames that were looked at to find the roots on the stack, with roots or without.
    /// The next collection waits until memory in proportion to them was allocated
    /// ([`StoreSide::stack_room`](crate::StoreSide::stack_room)), so that a deep stack is not walked again
    /// and again.
    pub fn add_frames(&mut self, count: u64) {
        self.frames += count;
    }

    /// Number of frames that were [counted](GcRootsList::add_frames) since the stack was cleared.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Removes the slots on the stack, forgets its frames, and keeps the list's memory.
    pub fn clear_stack(&mut self) {
        self.stack.clear();
        self.frames = 0;
        self.asked.clear();
    }

    /// Number of slots on the stack.
    pub fn stack_len(&self) -> usize {
        self.stack.len()
    }
}

/// The roots that a collector can ask for.
impl GcRootsList {
    /// The roots on the stack.
    pub fn stack(&mut self) -> GcRootsIter<'_> {
        self.ask(|_, _, _| ())
    }

    /// The roots whose references no barrier tells the heap of: those on the stack and those of scoped handles. Nulls of
    /// handles are skipped.
    pub fn uncounted(&mut self) -> GcRootsIter<'_> {
        self.ask(|_, table, asked| asked.push(scoped(table)))
    }

    /// All roots. Null slots outside the stack are skipped.
    pub fn all(&mut self) -> GcRootsIter<'_> {
        self.ask(Registered::ask_all)
    }

    /// The roots that may have changed since [`forget_new`] was last called. These are the roots on
    /// the stack; mutable globals and scoped handles, whose writes no barrier records; the slots of
    /// fixed tables that refer to [young](RememberedSlots::with_young) objects, with some of their
    /// neighbours; new constants, segments and owned handles; and the tables' slots in `remembered`,
    /// or all slots of a table that has moved. A generational collector remembers the slots that
    /// [`write_gc_ref`](crate::GcHeap::write_gc_ref) and its emitted code write, and calls
    /// [`forget_new`] when it knows which objects are still young.
    ///
    /// [`forget_new`]: GcRootsIter::forget_new
    pub fn remembered(&mut self, remembered: &RememberedSlots) -> GcRootsIter<'_> {
        self.ask(|registered, table, asked| registered.ask_remembered(table, remembered, asked))
    }

    /// Checks that [`remembered`](GcRootsList::remembered) returns every root that refers to a young object, for
    /// verifiers.
    ///
    /// # Errors
    /// The first one that it does not, and the object ([`HeapError::Verification`]).
    pub fn check_remembered(
        &mut self,
        remembered: &RememberedSlots,
        is_young: impl Fn(u32) -> bool,
    ) -> Result<(), HeapError> {
        let known: HashSet<usize> =
            self.remembered(remembered).map(|root| root.address()).collect();
        for root in self.all() {
            let object = root.get().filter(|gc_ref| !gc_ref.is_i31());
            if let Some(at) = object.map(|object| object.as_raw_u32())
                && is_young(at)
                && !known.contains(&root.address())
            {
                let path = format!("from {} → {at:#x}", root.owner());
                let what = "a slot refers to a young object and is not remembered";
                return Err(HeapError::Verification { at, what, path });
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        ask: impl FnOnce(&mut Registered, &mut HandleTable, &mut Vec<Words>),
    ) -> GcRootsIter<'_> {
        let GcRootsList { stack, asked, table, registered, .. } = self;
        let registered = registered.get_or_insert_default();
        asked.clear();
        ask(registered, table, asked);
        let mut iter = GcRootsIter {
            stack: [].iter(),
            words: None,
            next: 0,
            rest: [].iter(),
            all_stack: stack,
            all_words: asked,
            table,
            registered,
        };
        iter.restart();
        if log::log_enabled!(log::Level::Trace) {
            iter.log_all();
        }
        iter
    }
}

/// An iterator over roots. The roots on the stack come first.
///
/// # Examples
/// ```
/// use gc_heap::GcRootsList;
/// use gc_types::{I31, VMGcRef};
///
/// let mut roots = GcRootsList::default();
/// let one = VMGcRef::from_i31(I31::wrapping_i32(1));
/// roots.add_segment(0, vec![Some(one), None]);
/// let mut all = roots.all();
/// assert_eq!(all.by_ref().count(), 1);
/// all.restart();
/// assert_eq!(all.count(), 1);
/// ```
#[derive(Debug)]
pub struct GcRootsIter<'a> {
    stack: std::slice::Iter<'a, *mut u64>,
    /// The current slots, and the next one among them.
    words: Option<&'a Words>,
    next: u32,
    rest: std::slice::Iter<'a, Words>,
    all_stack: &'a [*mut u64],
    all_words: &'a [Words],
    table: &'a mut HandleTable,
    registered: &'a mut Registered,
}

impl GcRootsIter<'_> {
    /// Begins again with the first root, for collectors that visit roots twice.
    pub fn restart(&mut self) {
        self.stack = self.all_stack.iter();
        (self.words, self.next) = (None, 0);
        self.rest = self.all_words.iter();
    }

    /// Logs each root, and begins again.
    #[cold]
    fn log_all(&mut self) {
        for root in self.by_ref() {
            let (owner, address) = (root.owner(), root.address());
            let word = root.get().map_or(0, |word| word.as_raw_u32());
            log::trace!("root: {owner} at {address:#x}: {word:#x}");
        }
        self.restart();
    }

    /// Declares that the slots which are registered now need not be visited again
    /// ([`GcRootsList::remembered`]) until they are written, if they refer to no object for whose index `is_young` returns
    /// true. Slots of tables that do must be [remembered](RememberedSlots::insert).
    pub fn forget_new(&mut self, is_young: impl Fn(u32) -> bool) {
        self.registered.forget_new(&is_young);
        self.table.forget_new(&is_young);
    }
}

// SAFETY: it is made from a mutably borrowed `GcRootsList`, which is `Send`.
unsafe impl Send for GcRootsIter<'_> {}
// SAFETY: a shared iterator gives no access to slots.
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
