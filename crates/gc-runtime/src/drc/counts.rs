//! Counting references, and the steps that a collection applies to an object and its referents.
//!
//! Counts, references, types and lengths are read from the heap and therefore untrusted. The map
//! says what is an object, how large it is and whether it is mature. An object whose header
//! disagrees is damaged and is not touched.
//!
//! Nothing recurses: objects still to be processed go on a stack, and a large array is processed in
//! pieces. So a list of a million nodes and an array of a million elements are both processed in
//! increments.

use super::list::List;
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
fn heap_index(raw: u32) -> Option<u32> {
    (raw != 0 && raw & I31::TAG == 0).then_some(raw)
}

/// The count in a collector's word.
pub(super) fn count(word: u32) -> u32 {
    word >> COUNT_SHIFT
}

/// The remaining work of a collection. Everything here is empty between collections.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Objects to process: those that matured, those that died, or those reached.
    pub(super) pending: Vec<u32>,
    /// The array that is being processed.
    pub(super) cursor: Option<ArrayCursor>,
    /// Mature objects without a counted reference to which uncounted roots refer.
    pub(super) kept: Vec<u32>,
    /// Objects that roots refer to, all marked.
    pub(super) rooted: Vec<u32>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.cursor.is_none() && self.kept.is_empty()
    }

    /// Forgets all work.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.cursor = None;
        self.kept.clear();
        self.rooted.clear();
    }
}

/// An array of references that is being processed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrayCursor {
    array: u32,
    /// Heap index of the next element, and the end of the last one.
    next: u64,
    end: u64,
}

/// The parts of a heap that counting needs. The layouts are not among them, so they can be read at
/// the same time.
pub(super) struct Counts<'a> {
    pub(super) memory: &'a mut HeapMemory,
    pub(super) space: &'a mut GapSpace,
    pub(super) list: &'a mut List,
    pub(super) work: &'a mut Work,
    pub(super) damage: &'a mut Option<HeapError>,
    /// Number of externrefs.
    pub(super) values: &'a mut u32,
}

impl Counts<'_> {
    #[cold]
    fn note(&mut self, at: u32, what: &'static str) {
        HeapError::note(self.damage, at, what);
    }

    /// The collector's word of an object.
    #[inline]
    fn word(&self, index: u32) -> u32 {
        let at = u64::from(index) + u64::from(VMGcHeader::COLLECTOR_OFFSET);
        // Objects are mapped, because the map ends where the memory ends.
        self.memory.read_u32(at).unwrap_or(0)
    }

    /// Writes the collector's word of an object.
    #[inline]
    fn set_word(&mut self, index: u32, word: u32) {
        let at = u64::from(index) + u64::from(VMGcHeader::COLLECTOR_OFFSET);
        let _mapped = self.memory.write_u32(at, word);
        debug_assert!(_mapped.is_some());
    }

    /// Enters an object with this word into the list. It must not be in the list yet.
    #[inline]
    fn enter_list(&mut self, index: u32, word: u32) {
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

    /// Decrements the count of the object that `raw` refers to. If the count becomes zero, the next
    /// collection examines the object.
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
        match word - COUNT_ONE {
            MATURE => self.enter_list(index, MATURE),
            word => self.set_word(index, word),
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

    /// Marks an object that a root refers to; a young one to which an uncounted root refers matures.
    pub(super) fn root(&mut self, index: u32, counted: bool) {
        if !self.space.map().is_live(index) {
            return self.note(index, "a root refers to no object");
        }
        if !counted && !self.space.map().is_mature(index) {
            let word = self.word(index) | MATURE;
            self.mature(index, word);
            if word & LISTED == 0 && count(word) == 0 {
                self.enter_list(index, word);
            }
        }
        if self.space.map_mut().set_marked(index) {
            self.work.rooted.push(index);
        }
    }

    /// Makes a young object mature. Its referents will be counted.
    #[inline]
    fn mature(&mut self, index: u32, word: u32) {
        self.set_word(index, word | MATURE);
        self.space.make_mature(index);
        self.work.pending.push(index);
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
    /// list or dies. If only uncounted roots refer to it, it stays in the list.
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
        } else if self.space.map().is_marked(index) {
            self.work.kept.push(index);
        } else {
            self.work.pending.push(index);
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
                if self.space.map().is_marked(index) {
                    self.work.kept.push(index);
                } else {
                    self.work.pending.push(index);
                }
            }
            word => self.set_word(index, word),
        }
    }

    /// Marks the object that `raw` refers to.
    #[inline]
    pub(super) fn mark(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_live(index) {
            return self.note(index, "a reference to no object in an object");
        }
        if self.space.map_mut().set_marked(index) {
            self.work.pending.push(index);
        }
    }

    /// Removes a reference from an unmarked object.
    #[inline]
    pub(super) fn leave(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_live(index) {
            return self.note(index, "a reference to no object in an object");
        }
        let word = self.word(index);
        if count(word) == 0 {
            return self.note(index, "a reference that was not counted");
        }
        match word - COUNT_ONE {
            // An uncounted root refers to it.
            MATURE if self.space.map().is_marked(index) => self.enter_list(index, MATURE),
            word => self.set_word(index, word),
        }
    }

    /// Marks an unmarked object if it still has a count.
    pub(super) fn rescue_if_counted(&mut self, index: u32) {
        if count(self.word(index)) > 0 && self.space.map_mut().set_marked(index) {
            self.work.pending.push(index);
        }
    }

    /// Restores a reference from a rescued object.
    #[inline]
    pub(super) fn rescue(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_live(index) {
            return self.note(index, "a reference to no object in an object");
        }
        let word = self.word(index).wrapping_add(COUNT_ONE);
        self.set_word(index, word);
        if self.space.map_mut().set_marked(index) {
            self.work.pending.push(index);
        }
    }

    /// Frees a mature object.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        let Some(range) = self.space.free_mature(index) else {
            return self.note(index, "an object died twice");
        };
        self.memory.poison(range.start.into(), (range.end - range.start).into());
    }

    // ---- processing objects ----------------------------------------------

    /// Calls `visit` with the words of all references in the object at `index`, which is in the
    /// map. For an array it only sets the cursor to the elements. For an externref's box it frees
    /// the host value if `values` is given. Returns whether the object is valid.
    #[inline]
    pub(super) fn each_ref(
        &mut self,
        shapes: &Shapes,
        values: Option<&mut ExternRefHostDataTable>,
        index: u32,
        visit: impl Fn(&mut Self, u32),
    ) -> bool {
        let at = u64::from(index);
        let word = self.memory.read_u32(at).unwrap_or(0);
        let object = match shapes.object(self.memory, index, word) {
            Some(object) if object.size == self.space.size(index) => object,
            Some(_) => {
                self.note(index, "an object's size is not that of its block");
                return false;
            }
            None => {
                self.note(index, shapes.fault(word));
                return false;
            }
        };
        match object.refs {
            Refs::None if word == EXTERNREF => {
                if let Some(values) = values {
                    self.free_value(values, at);
                }
            }
            Refs::Elements(_) => {
                let elements = object.elements(index);
                let (next, end) = (elements.start, elements.end);
                self.work.cursor = Some(ArrayCursor { array: index, next, end });
            }
            _ => {
                let _all = shapes.slots(index, object, 0, 0, |slot| {
                    visit(self, self.memory.read_u32(slot).unwrap_or(0));
                });
            }
        }
        true
    }

    /// Frees the host value of the externref's box at `at`.
    fn free_value(&mut self, values: &mut ExternRefHostDataTable, at: u64) {
        *self.values = self.values.saturating_sub(1);
        let id = self.memory.read_u32(at + u64::from(GcLayout::EXTERNREF_ID_OFFSET));
        if let Some(id) = id.and_then(ExternRefHostDataId::from_raw) {
            values.dealloc(id);
        }
    }

    /// Continues with the array at the cursor, with one unit of `budget` for each element. Returns
    /// the array if it is finished.
    #[inline]
    pub(super) fn each_element(
        &mut self,
        budget: &mut u32,
        visit: impl Fn(&mut Self, u32),
    ) -> Option<u32> {
        let mut cursor = self.work.cursor?;
        while cursor.next < cursor.end && *budget > 0 {
            *budget -= 1;
            let ahead = cursor.next + 4 * u64::from(AHEAD);
            if ahead < cursor.end {
                self.memory.prefetch(self.memory.read_u32(ahead).unwrap_or(0).into());
            }
            visit(self, self.memory.read_u32(cursor.next).unwrap_or(0));
            cursor.next += 4;
        }
        let done = cursor.next >= cursor.end;
        self.work.cursor = (!done).then_some(cursor);
        done.then_some(cursor.array)
    }
}
