//! Counting references, and what happens when a count reaches zero.
//!
//! An object that dies is put on a stack, never recursed into: a list of a
//! million nodes dies in a loop. Burying one counts down what it refers to, gives
//! its host value up and its memory back. The work can be cut anywhere, even in
//! the middle of a large array, so that a collection can do it in increments.
//!
//! Counts, references, types and lengths are read from the heap and therefore
//! untrusted. The block map says what is an object and how large; an object whose
//! header disagrees is damage, and is left where it is.

use super::DrcHeap;
use super::free_list::FreeList;
use crate::object::{NO_KIND, NO_TYPE, Named, note_damage};
use crate::{ExternRefHostDataTable, HeapError, HeapMemory};
use gc_types::collector::drc::{COUNT_ONE, COUNT_SHIFT, IN_ROOT_SET};
use gc_types::{GcLayout, I31, VMGcHeader};

/// What a freed object is filled with under zeal: neither a kind nor a likely index.
pub(super) const POISON: u8 = 0xa5;

/// The index a reference's word names, unless it is null or an `i31`.
#[inline]
fn heap_index(raw: u32) -> Option<u32> {
    (raw != 0 && raw & I31::TAG == 0).then_some(raw)
}

/// Number of references a collector's word counts.
pub(super) fn count(word: u32) -> u32 {
    word >> COUNT_SHIFT
}

fn word_at(index: u32) -> u64 {
    u64::from(index) + u64::from(VMGcHeader::COLLECTOR_OFFSET)
}

/// The collector's word of the object at `index`; `None` if no object begins there.
#[inline]
pub(super) fn read_word(memory: &HeapMemory, blocks: &FreeList, index: u32) -> Option<u32> {
    if blocks.is_object(index) { memory.read_u32(word_at(index)) } else { None }
}

/// Writes the collector's word of an object.
#[inline]
pub(super) fn write_word(memory: &mut HeapMemory, index: u32, word: u32) {
    // Objects are inside what is mapped: the map's end is the memory's.
    let _mapped = memory.write_u32(word_at(index), word);
    debug_assert!(_mapped.is_some());
}

/// The parts of a heap that counting needs, so that the others stay free to be read.
pub(super) struct Counts<'a> {
    pub(super) memory: &'a mut HeapMemory,
    pub(super) blocks: &'a FreeList,
    pub(super) dying: &'a mut Vec<u32>,
    pub(super) damage: &'a mut Option<HeapError>,
}

impl Counts<'_> {
    /// Counts one reference more to what the word `raw` refers to.
    #[inline]
    pub(super) fn up(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        match read_word(self.memory, self.blocks, index) {
            Some(word) => write_word(self.memory, index, word.wrapping_add(COUNT_ONE)),
            None => note_damage(self.damage, index, "a reference to no object was copied"),
        }
    }

    /// Counts one reference less to what the word `raw` refers to. If it was the
    /// last, the object is dying.
    #[inline]
    pub(super) fn down(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        match read_word(self.memory, self.blocks, index) {
            Some(word) if count(word) > 1 => write_word(self.memory, index, word - COUNT_ONE),
            Some(word) if count(word) == 1 && word & IN_ROOT_SET == 0 => {
                write_word(self.memory, index, word - COUNT_ONE);
                self.dying.push(index);
            }
            Some(_) => note_damage(self.damage, index, "a reference that was not counted"),
            None => note_damage(self.damage, index, "a reference to no object was dropped"),
        }
    }
}

/// An array of references that is being buried.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrayCursor {
    array: u32,
    /// Heap index of the next element, and the end of the last.
    next: u64,
    end: u64,
}

impl DrcHeap {
    pub(super) fn counts(&mut self) -> Counts<'_> {
        Counts {
            memory: &mut self.core.memory,
            blocks: &self.blocks,
            dying: &mut self.dying,
            damage: &mut self.core.damage,
        }
    }

    /// Buries everything that is dying and all that dies with it.
    #[inline]
    pub(super) fn bury_all(&mut self, host_data: &mut ExternRefHostDataTable) {
        if !self.dying.is_empty() || self.cursor.is_some() {
            let mut budget = u32::MAX;
            while !self.bury(host_data, &mut budget) {
                budget = u32::MAX;
            }
        }
    }

    /// Buries what is dying, one unit of `budget` for each object and each
    /// element of an array; returns whether nothing is left.
    pub(super) fn bury(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        budget: &mut u32,
    ) -> bool {
        loop {
            if *budget == 0 {
                return self.dying.is_empty() && self.cursor.is_none();
            }
            *budget -= 1;
            if let Some(cursor) = self.cursor {
                self.bury_elements(cursor, budget);
            } else if let Some(index) = self.dying.pop() {
                self.bury_one(host_data, index);
            } else {
                return true;
            }
        }
    }

    fn bury_elements(&mut self, mut cursor: ArrayCursor, budget: &mut u32) {
        let mut counts = self.counts();
        while cursor.next < cursor.end && *budget > 0 {
            *budget -= 1;
            counts.down(counts.memory.read_u32(cursor.next).unwrap_or(0));
            cursor.next += 4;
        }
        if cursor.next < cursor.end {
            self.cursor = Some(cursor);
        } else {
            self.cursor = None;
            self.free(cursor.array);
        }
    }

    fn bury_one(&mut self, host_data: &mut ExternRefHostDataTable, index: u32) {
        let core = &mut self.core;
        let Some(size) = self.blocks.size(index) else {
            core.note_damage(index, "an object died twice");
            return;
        };
        // Not `header_at`, whose result is too large for registers.
        let header = core.memory.read_u32(u64::from(index)).unwrap_or(0);
        let layout = match Named::by(VMGcHeader::from_words(header, 0), &core.layouts) {
            Named::Layout(layout) => layout,
            Named::ExternRef => return self.bury_externref(host_data, index, size),
            Named::NoType => return core.note_damage(index, NO_TYPE),
            Named::NoKind => return core.note_damage(index, NO_KIND),
        };
        let (refs, size_now) = match layout {
            GcLayout::Struct(layout) => (&layout.refs, layout.size),
            GcLayout::Exn(layout) => (&layout.refs, layout.size),
            GcLayout::Array(layout) => {
                let at = u64::from(index);
                let length_at = at + u64::from(gc_types::ArrayLayout::LENGTH_OFFSET);
                let length = core.memory.read_u32(length_at).unwrap_or(0);
                if layout.size(length) != Some(size) {
                    core.note_damage(index, "a dead array's length is not its size");
                } else if layout.element.is_ref() {
                    self.cursor = Some(ArrayCursor {
                        array: index,
                        next: at + layout.element_offset(0),
                        end: at + layout.element_offset(length),
                    });
                } else {
                    self.free(index);
                }
                return;
            }
        };
        if size_now != size {
            core.note_damage(index, "a dead object's type is not of its size");
            return;
        }
        let mut counts = Counts {
            memory: &mut core.memory,
            blocks: &self.blocks,
            dying: &mut self.dying,
            damage: &mut core.damage,
        };
        for &offset in refs {
            let at = u64::from(index) + u64::from(offset);
            counts.down(counts.memory.read_u32(at).unwrap_or(0));
        }
        self.free(index);
    }

    fn bury_externref(&mut self, host_data: &mut ExternRefHostDataTable, index: u32, size: u32) {
        if size != GcLayout::EXTERNREF_SIZE {
            return self.core.note_damage(index, "an externref of the wrong size died");
        }
        if let Some(id) = self.core.externref_id_at(index) {
            host_data.dealloc(id);
        }
        self.free(index);
    }

    /// Gives an object's memory back.
    #[inline]
    fn free(&mut self, index: u32) {
        match self.blocks.free(index) {
            Some(size) if self.poison => {
                let _mapped = self.core.memory.fill(u64::from(index), u64::from(size), POISON);
                debug_assert!(_mapped.is_some());
            }
            Some(_) => {}
            None => self.core.note_damage(index, "an object died twice"),
        }
    }
}
