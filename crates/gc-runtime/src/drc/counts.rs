//! Counting references, and the steps that a collection applies to an object and its referents.
//!
//! Counts, references, types and lengths are read from the heap and therefore untrusted. The map
//! says what is an object, how large it is and whether it is mature. An object whose header
//! disagrees is damaged and is not touched.
//!
//! Nothing recurses: objects still to be processed go on a stack, and a large array is processed in
//! pieces. So a list of a million nodes and an array of a million elements are both processed in
//! increments.

use super::cycles::Cycles;
use super::list::List;
use super::work::{ArrayCursor, Stack, Work};
use gc_heap::space::gaps::GapSpace;
use gc_heap::trace::shapes::{EXTERNREF, Refs, Shapes};
use gc_heap::{ExternRefHostDataId, ExternRefHostDataTable, HeapError, HeapMemory};
use gc_types::collector::drc::{COUNT_ONE, COUNT_SHIFT, LISTED, MATURE};
use gc_types::{GcLayout, I31, VMGcHeader};

/// The prefetch distance, in entries of the list or elements of an array. Their referents are all
/// over the heap.
const AHEAD: u32 = 8;

/// The heap index in a reference's word, unless it is null or an `i31`.
#[inline]
pub(super) fn heap_index(raw: u32) -> Option<u32> {
    (raw != 0 && raw & I31::TAG == 0).then_some(raw)
}

/// The count in a collector's word.
pub(super) fn count(word: u32) -> u32 {
    word >> COUNT_SHIFT
}

/// The parts of a heap that counting needs. The layouts are not among them, so they can be read at
/// the same time.
pub(super) struct Counts<'a> {
    pub(super) memory: &'a mut HeapMemory,
    pub(super) space: &'a mut GapSpace,
    pub(super) list: &'a mut List,
    pub(super) work: &'a mut Work,
    pub(super) cycles: &'a mut Cycles,
    pub(super) damage: &'a mut Option<HeapError>,
    /// Number of externrefs.
    pub(super) values: &'a mut u32,
}

impl Counts<'_> {
    #[cold]
    pub(super) fn note(&mut self, at: u32, what: &'static str) {
        HeapError::note(self.damage, at, what);
    }

    /// The collector's word of an object.
    #[inline]
    pub(super) fn word(&self, index: u32) -> u32 {
        let at = u64::from(index) + u64::from(VMGcHeader::COLLECTOR_OFFSET);
        // Objects are mapped, because the map ends where the memory ends.
        self.memory.read_u32(at).unwrap_or(0)
    }

    /// Writes the collector's word of an object.
    #[inline]
    pub(super) fn set_word(&mut self, index: u32, word: u32) {
        let at = u64::from(index) + u64::from(VMGcHeader::COLLECTOR_OFFSET);
        let _mapped = self.memory.write_u32(at, word);
        debug_assert!(_mapped.is_some());
    }

    /// Enters an object with this word into the list. It must not be in the list yet.
    #[inline]
    pub(super) fn enter_list(&mut self, index: u32, word: u32) {
        self.set_word(index, word | LISTED);
        self.list.push(self.memory, index);
    }

    // ---- for the mutator ----------------------------------------------------

    /// Increments the count of the object that `raw` refers to.
    #[inline]
    pub(super) fn up(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.is_object(index) {
            return self.note(index, "a reference to no object was copied");
        }
        let word = self.word(index).wrapping_add(COUNT_ONE);
        if word & (MATURE | LISTED) == 0 {
            self.enter_list(index, word);
        } else {
            self.set_word(index, word);
        }
    }

    /// Decrements the count of the object that `raw` refers to. If the count becomes zero, or a search for
    /// cycles marks, the next collection examines the object.
    #[inline]
    pub(super) fn down(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.is_object(index) {
            return self.note(index, "a reference to no object was dropped");
        }
        let word = self.word(index);
        if count(word) == 0 {
            return self.note(index, "a reference that was not counted");
        }
        let word = word - COUNT_ONE;
        match self.cycles.is_to_list(word) {
            true => self.enter_list(index, word),
            false => self.set_word(index, word),
        }
    }

    /// Like [`down`](Counts::down), for a reference that compiled code gets. A new object is as if
    /// compiled code had allocated it inline: it leaves the list, and costs nothing if it dies young.
    #[inline]
    pub(super) fn expose(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        let is_new = self.space.is_object(index) && self.word(index) == COUNT_ONE | LISTED;
        if is_new && self.list.take_back(self.memory, index) {
            self.set_word(index, 0);
        } else {
            self.down(raw);
        }
    }

    /// Enters an object into the list, if it is not in it. Emitted code calls this when the list's
    /// memory is full.
    pub(super) fn list(&mut self, index: u32) {
        if !self.space.is_object(index) {
            return self.note(index, "compiled code has a reference to no object");
        }
        let word = self.word(index);
        if word & LISTED == 0 {
            self.enter_list(index, word);
        }
    }

    // ---- for a collection ---------------------------------------------------

    /// Notes an object that a root refers to. If the root is not counted, the object has a count for it until
    /// [`forget_root`](Counts::forget_root), and a young one matures.
    pub(super) fn root(&mut self, index: u32, counted: bool) {
        if !self.space.map().is_live(index) {
            return self.note(index, "a root refers to no object");
        }
        if counted {
            return self.work.named.push(index);
        }
        // With more references than all that a collection can drop, the object lives anyway.
        let Some(word) = self.word(index).checked_add(COUNT_ONE) else {
            return self.work.named.push(index);
        };
        match self.space.map().is_mature(index) {
            true => self.set_word(index, word),
            false => self.mature(index, word),
        }
        self.work.rooted.push(index);
    }

    /// Takes the count for an uncounted root away. If there is no other one, the object stays in the list.
    pub(super) fn forget_root(&mut self, index: u32) {
        let word = self.word(index);
        if !self.space.map().is_mature(index) || count(word) == 0 {
            return self.note(index, "an object of a root lost its count");
        }
        match word - COUNT_ONE {
            MATURE => self.enter_list(index, MATURE),
            word => self.set_word(index, word),
        }
    }

    /// Makes a young object mature. Its referents will be counted.
    #[inline]
    fn mature(&mut self, index: u32, word: u32) {
        self.set_word(index, word | MATURE);
        self.space.make_mature(index);
        self.mark_born(index);
        self.work.maturing.objects.push(index);
    }

    /// Counts a reference from an object that matured. A young referent matures too.
    #[inline]
    pub(super) fn adopt(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_live(index) {
            return self.note(index, "a reference to no object in an object");
        }
        let word = self.word(index).wrapping_add(COUNT_ONE);
        if self.space.map().is_mature(index) {
            self.set_word(index, word);
        } else {
            self.mature(index, word);
        }
    }

    /// Returns the entry at `next` of the list, which has `entries` entries, and advances `next`.
    #[inline]
    pub(super) fn next_listed(&self, next: &mut u32, entries: u32) -> u32 {
        if *next + AHEAD < entries {
            let ahead = self.list.get(*next + AHEAD);
            self.memory.prefetch(ahead.into());
            self.space.map().prefetch(ahead);
        }
        let entry = self.list.get(*next);
        *next += 1;
        entry
    }

    /// Processes an entry of the list: a young object that is referred to matures.
    pub(super) fn mature_if_counted(&mut self, index: u32) {
        if !self.space.map().is_live(index) {
            return self.note(index, "a listed entry is not an object");
        }
        let word = self.word(index);
        if count(word) > 0 && !self.space.map().is_mature(index) {
            self.mature(index, word);
        }
    }

    /// Processes an entry of the list after everything that lives is counted. The object leaves the
    /// list or dies.
    pub(super) fn settle(&mut self, index: u32) {
        if !self.space.map().is_live(index) {
            return self.note(index, "a listed entry is not an object");
        }
        if !self.space.map().is_mature(index) {
            // It dies with all other young objects.
            return;
        }
        let word = self.word(index);
        if word & LISTED == 0 {
            self.note(index, "a listed object without its flag");
        } else if count(word) > 0 {
            self.set_word(index, word & !LISTED);
            self.mark_overwritten(index);
        } else if self.cycles.is_unsure() {
            // A rescue may give it a count.
            self.work.kept.push(index);
        } else {
            self.work.dying.objects.push(index);
        }
    }

    /// Removes a reference from an object that died.
    #[inline]
    pub(super) fn orphan(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_mature(index) {
            return self.note(index, "a reference to no object in a dead object");
        }
        let word = self.word(index);
        if count(word) == 0 {
            return self.note(index, "a reference that was not counted");
        }
        match word - COUNT_ONE {
            // The flag prevents a second death if the count is wrong.
            MATURE => {
                self.set_word(index, MATURE | LISTED);
                self.work.dying.objects.push(index);
            }
            word => {
                self.set_word(index, word);
                self.mark_overwritten(index);
            }
        }
    }

    /// Frees a mature object whose referents have lost their counts.
    #[inline]
    pub(super) fn free(&mut self, index: u32, values: &mut ExternRefHostDataTable) {
        if self.memory.read_u32(index.into()) == Some(EXTERNREF) {
            self.free_value(values, index.into());
        }
        let Some(range) = self.space.free_mature(index) else {
            return self.note(index, "an object died twice");
        };
        // Another object may begin here before the marking goes on.
        self.work.grey.cursor.take_if(|cursor| cursor.array == index);
        self.memory.poison(range.start.into(), (range.end - range.start).into());
    }

    // ---- processing objects ----------------------------------------------

    /// Calls `visit` with the words of all references in the object at `index`, which is in the
    /// map. For an array of references it returns the elements. `Err` if the object is damaged.
    #[inline]
    fn each_ref(
        &mut self,
        shapes: &Shapes,
        index: u32,
        visit: impl Fn(&mut Self, u32),
    ) -> Result<Option<ArrayCursor>, ()> {
        let word = self.memory.read_u32(index.into()).unwrap_or(0);
        let object = match shapes.object(self.memory, index, word) {
            Some(object) if object.size == self.space.size(index) => object,
            Some(_) => {
                self.note(index, "an object's size is not that of its block");
                return Err(());
            }
            None => {
                self.note(index, shapes.fault(word));
                return Err(());
            }
        };
        if let Refs::Elements(_) = object.refs {
            let elements = object.elements(index);
            return Ok(Some(ArrayCursor { array: index, next: elements.start, end: elements.end }));
        }
        let _all = shapes.slots(index, object, 0, 0, |slot| {
            visit(self, self.memory.read_u32(slot).unwrap_or(0));
        });
        Ok(None)
    }

    /// Processes the objects of a stack as far as `budget` allows, with one unit for each object and each element of an
    /// array: calls `visit` with the words of their references, and then `end` with each object. Returns
    /// whether there are no more.
    #[inline]
    pub(super) fn process(
        &mut self,
        shapes: &Shapes,
        stack: fn(&mut Work) -> &mut Stack,
        budget: &mut u32,
        visit: impl Fn(&mut Self, u32) + Copy,
        mut end: impl FnMut(&mut Self, u32),
    ) -> bool {
        while *budget > 0 {
            *budget -= 1;
            if let Some(cursor) = stack(self.work).cursor.take() {
                let cursor = self.each_element(cursor, budget, visit);
                match cursor.next < cursor.end {
                    true => stack(self.work).cursor = Some(cursor),
                    false => end(self, cursor.array),
                }
                continue;
            }
            let Some(index) = stack(self.work).objects.pop() else { return true };
            if !self.space.map().is_mature(index) {
                // It was marked, and died before the marking went on.
                continue;
            }
            match self.each_ref(shapes, index, visit) {
                Ok(Some(cursor)) => stack(self.work).cursor = Some(cursor),
                Ok(None) => end(self, index),
                Err(()) => {}
            }
        }
        false
    }

    /// Frees the host value of the externref's box at `at`.
    fn free_value(&mut self, values: &mut ExternRefHostDataTable, at: u64) {
        *self.values = self.values.saturating_sub(1);
        let id = self.memory.read_u32(at + u64::from(GcLayout::EXTERNREF_ID_OFFSET));
        if let Some(id) = id.and_then(ExternRefHostDataId::from_raw) {
            values.dealloc(id);
        }
    }

    /// Continues with the array at `cursor`, with one unit of `budget` for each element. Returns how far it came.
    #[inline]
    fn each_element(
        &mut self,
        mut cursor: ArrayCursor,
        budget: &mut u32,
        visit: impl Fn(&mut Self, u32),
    ) -> ArrayCursor {
        while cursor.next < cursor.end && *budget > 0 {
            *budget -= 1;
            let ahead = cursor.next + 4 * u64::from(AHEAD);
            if ahead < cursor.end {
                self.memory.prefetch(self.memory.read_u32(ahead).unwrap_or(0).into());
            }
            visit(self, self.memory.read_u32(cursor.next).unwrap_or(0));
            cursor.next += 4;
        }
        cursor
    }
}
