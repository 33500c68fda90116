//! Follows references. Each object found is copied, or marked in place.
//!
//! Nothing recurses. Copies are scanned chunk by chunk in the order in which they were made, so
//! to-space is its own queue (Cheney 1970). Objects that are marked in place wait in their chunk's
//! mark bits. Large objects wait in a list, each at most once.
//!
//! Even if the heap is corrupt, only three things are written: copies, inside chunks that were
//! taken for them; forwarding words, in headers in chunks that are being emptied; and references,
//! which overwrite references inside objects of a known type that do not pass the end of their
//! chunk. So the headers of copies do not change after their size was taken, and to-space can
//! always be walked.

use super::chunks::{Chunks, State};
use super::{PASSES_END, Survivors, WRONG_SIZE};
use crate::object::{NO_KIND, NO_TYPE, Named, note_damage};
use crate::{HeapError, HeapMemory, LayoutTable};
use gc_types::collector::copying::{CHUNK_SIZE, FORWARDED};
use gc_types::{ArrayLayout, GcLayout, I31, OBJECT_ALIGN, VMGcHeader};

/// The queues of one pass over the heap, and what it found so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Chunks taken for copies, in that order.
    to: Vec<u32>,
    /// The place of the next copy, and the end of its chunk, which is the last of `to`.
    next: u32,
    limit: u32,
    /// Copies in chunks of `to` before this one were scanned, and those below `scan` in this one.
    scan_chunk: usize,
    scan: u32,
    /// Chunks with objects that were marked in place and are to be scanned.
    marked: Vec<u32>,
    /// Large objects that are to be scanned.
    large: Vec<u32>,
    /// The object that the last increment scanned only in part.
    cursor: Option<Cursor>,
    pub(super) survivors: Survivors,
    /// Whether an object that was to be moved was marked in place.
    pub(super) ran_out: bool,
}

/// An object that is being scanned.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    index: u32,
    /// Number of references that were scanned.
    done: u32,
}

impl Work {
    /// Prepares for a new pass.
    pub(super) fn begin(&mut self) {
        self.to.clear();
        self.marked.clear();
        self.large.clear();
        *self = Work {
            to: std::mem::take(&mut self.to),
            marked: std::mem::take(&mut self.marked),
            large: std::mem::take(&mut self.large),
            ..Work::default()
        };
    }

    /// The chunk of the last copies, and the end of the copies in it.
    pub(super) fn last_chunk(&self) -> Option<(usize, u32)> {
        self.to.last().map(|&chunk| (chunk as usize, self.next))
    }
}

/// The parts of a heap that following references needs.
pub(super) struct Tracer<'h> {
    pub(super) memory: &'h mut HeapMemory,
    pub(super) layouts: &'h LayoutTable,
    pub(super) chunks: &'h mut Chunks,
    pub(super) damage: &'h mut Option<HeapError>,
    pub(super) work: &'h mut Work,
}

/// The size and the references of an object, according to its header.
struct Shape<'l> {
    size: u32,
    refs: Refs<'l>,
}

/// The places of an object's references.
#[derive(Clone, Copy)]
enum Refs<'l> {
    /// At these offsets.
    At(&'l [u32]),
    /// `count` adjacent references from the offset `first` on.
    Row { first: u32, count: u32 },
}

/// The shape of the object at `index`, whose header's word 0 is `word`.
#[inline]
fn shape<'l>(
    memory: &HeapMemory,
    layouts: &'l LayoutTable,
    index: u32,
    word: u32,
) -> Result<Shape<'l>, &'static str> {
    let layout = match Named::by(VMGcHeader::from_words(word, 0), layouts) {
        Named::Layout(layout) => layout,
        Named::ExternRef => {
            return Ok(Shape { size: GcLayout::EXTERNREF_SIZE, refs: Refs::At(&[]) });
        }
        Named::NoType => return Err(NO_TYPE),
        Named::NoKind => return Err(NO_KIND),
    };
    let (size, refs) = match layout {
        GcLayout::Struct(layout) => (layout.size, &layout.refs),
        GcLayout::Exn(layout) => (layout.size, &layout.refs),
        GcLayout::Array(layout) => {
            let at = u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET);
            let length = memory.read_u32(at).unwrap_or(u32::MAX);
            let size = layout.size(length).ok_or("an array's length is invalid")?;
            let row = Refs::Row { first: layout.elements_offset(), count: length };
            let refs = if layout.element.is_ref() { row } else { Refs::At(&[]) };
            return Ok(Shape { size, refs });
        }
    };
    Ok(Shape { size, refs: Refs::At(refs) })
}

impl<'h> Tracer<'h> {
    #[cold]
    fn damaged(&mut self, at: u32, what: &'static str) {
        note_damage(self.damage, at, what);
    }

    /// Both words of the header at `index`.
    #[inline]
    fn header(&self, index: u32) -> Option<(u32, u32)> {
        const _: () = assert!(VMGcHeader::WORD_OFFSET == 0 && VMGcHeader::COLLECTOR_OFFSET == 4);
        let both = self.memory.read_u64(index.into())?;
        let (low, high) = (both as u32, (both >> 32) as u32);
        Some(if cfg!(target_endian = "little") { (low, high) } else { (high, low) })
    }

    /// Returns the word that replaces the reference `raw`.
    #[inline]
    pub(super) fn follow(&mut self, raw: u32) -> u32 {
        if raw == 0 || raw & I31::TAG != 0 {
            return raw;
        }
        let chunk = Chunks::of(raw);
        match self.chunks.state(chunk) {
            Some(State::From) => self.evacuate(raw, chunk),
            Some(State::Live) => raw,
            Some(State::Stay) => self.mark(raw, chunk),
            Some(State::Large) => self.reach_large(raw, chunk),
            Some(State::LargeTail | State::Free) | None => {
                self.damaged(raw, "a reference to no object");
                raw
            }
        }
    }

    /// The new index of an object that is to be moved.
    #[inline]
    fn evacuate(&mut self, raw: u32, chunk: usize) -> u32 {
        let end = self.chunks.end(chunk);
        let Some((word, collector)) = self.header(raw) else { return raw };
        if !raw.is_multiple_of(OBJECT_ALIGN) || raw >= end {
            self.damaged(raw, "a reference to no object");
            return raw;
        }
        if collector != 0 {
            let new = collector & !FORWARDED;
            let moved = collector & FORWARDED != 0
                && new.is_multiple_of(OBJECT_ALIGN)
                && self.chunks.state(Chunks::of(new)) == Some(State::Live);
            if !moved {
                self.damaged(raw, "an object was moved to an invalid place");
                return raw;
            }
            return new;
        }
        let size = match shape(self.memory, self.layouts, raw, word) {
            Ok(Shape { size, .. }) if size <= end - raw => size,
            other => {
                self.damaged(raw, other.err().unwrap_or(PASSES_END));
                return raw;
            }
        };
        // After there was no room once, an object may have been marked already.
        let room = if self.work.ran_out && self.chunks.is_marked(chunk, raw) {
            None
        } else {
            self.room(size)
        };
        let Some(new) = room else {
            self.work.ran_out = true;
            return self.mark(raw, chunk);
        };
        // Both places are in chunks, so they are mapped.
        let at = u64::from(raw);
        let _mapped = self.memory.copy_object(new.into(), at, size);
        let collector_at = at + u64::from(VMGcHeader::COLLECTOR_OFFSET);
        let _mapped = _mapped.and(self.memory.write_u32(collector_at, new | FORWARDED));
        debug_assert!(_mapped.is_some());
        self.work.next = new + size;
        let survivors = &mut self.work.survivors;
        survivors.objects += 1;
        survivors.small_bytes += u64::from(size);
        new
    }

    /// The place for a copy of `size` bytes, at most a chunk's.
    #[inline]
    fn room(&mut self, size: u32) -> Option<u32> {
        let work = &mut *self.work;
        if size <= work.limit - work.next {
            return Some(work.next);
        }
        self.next_chunk()
    }

    #[cold]
    fn next_chunk(&mut self) -> Option<u32> {
        let (chunk, _) = self.chunks.take()?;
        let work = &mut *self.work;
        let start = Chunks::start(chunk);
        match work.to.last() {
            Some(&last) => self.chunks.set_end(last as usize, work.next),
            None => work.scan = start,
        }
        work.to.push(chunk as u32);
        (work.next, work.limit) = (start, start + CHUNK_SIZE);
        Some(start)
    }

    /// Marks an object in place.
    #[cold]
    fn mark(&mut self, raw: u32, chunk: usize) -> u32 {
        let end = self.chunks.end(chunk);
        let header = self.header(raw).filter(|_| raw.is_multiple_of(OBJECT_ALIGN) && raw < end);
        let Some((_, collector)) = header else {
            self.damaged(raw, "a reference to no object");
            return raw;
        };
        let Some(Shape { size, .. }) = self.shape_before(raw, end) else { return raw };
        if collector != 0 {
            self.damaged(raw, "an object that was not moved has a forwarding word");
        } else if !self.chunks.is_marked(chunk, raw) {
            if self.chunks.mark(chunk, raw, size) {
                self.work.marked.push(chunk as u32);
            }
            self.work.survivors.objects += 1;
            self.work.survivors.small_bytes += u64::from(size);
        }
        raw
    }

    #[cold]
    fn reach_large(&mut self, raw: u32, chunk: usize) -> u32 {
        if raw != Chunks::start(chunk) {
            self.damaged(raw, "a reference into a large object");
        } else if self.chunks.reach_large(chunk) {
            self.work.large.push(raw);
            self.work.survivors.objects += 1;
            self.work.survivors.bytes += u64::from(self.chunks.end(chunk) - raw);
        }
        raw
    }

    // ---- scanning ---------------------------------------------------------

    /// Scans the objects found, with one unit of `budget` for each object and each reference.
    /// Returns whether nothing is left to scan.
    pub(super) fn scan(&mut self, budget: &mut u32) -> bool {
        loop {
            if *budget == 0 || self.damage.is_some() {
                return false;
            }
            *budget -= 1;
            if let Some(cursor) = self.work.cursor.take() {
                self.scan_large(cursor, budget);
            } else if self.scan_copies(budget) {
                // One chunk at a time.
            } else if let Some(&chunk) = self.work.marked.last() {
                match self.chunks.next_to_scan(chunk as usize) {
                    Some(index) => {
                        let end = self.chunks.end(chunk as usize);
                        self.scan_object(index, end, budget);
                    }
                    None => drop(self.work.marked.pop()),
                }
            } else if let Some(index) = self.work.large.pop() {
                self.scan_large(Cursor { index, done: 0 }, budget);
            } else {
                return true;
            }
        }
    }

    /// Scans the copies in the chunk that is due. Returns whether there were any.
    #[inline]
    fn scan_copies(&mut self, budget: &mut u32) -> bool {
        let Some(&chunk) = self.work.to.get(self.work.scan_chunk) else { return false };
        let is_last = self.work.scan_chunk + 1 == self.work.to.len();
        let end = if is_last { self.work.next } else { self.chunks.end(chunk as usize) };
        if self.work.scan >= end {
            if is_last {
                return false;
            }
            self.work.scan_chunk += 1;
            self.work.scan = Chunks::start(self.work.to[self.work.scan_chunk] as usize);
            return true;
        }
        while self.work.scan < end && *budget > 0 {
            *budget -= 1;
            match self.scan_object(self.work.scan, end, budget) {
                Some(size) => self.work.scan += size,
                None => return false,
            }
        }
        true
    }

    /// Scans a whole object that must not pass `end`. Returns its size.
    #[inline]
    fn scan_object(&mut self, index: u32, end: u32, budget: &mut u32) -> Option<u32> {
        let Shape { size, refs } = self.shape_before(index, end)?;
        match refs {
            Refs::At(offsets) => {
                *budget = budget.saturating_sub(offsets.len() as u32);
                offsets.iter().for_each(|&offset| self.scan_slot(index + offset));
            }
            Refs::Row { first, count } => {
                *budget = budget.saturating_sub(count);
                (0..count).for_each(|i| self.scan_slot(index + first + i * 4));
            }
        }
        Some(size)
    }

    /// The shape of an object that must not pass `end`. If there is none, records damage.
    #[inline]
    fn shape_before(&mut self, index: u32, end: u32) -> Option<Shape<'h>> {
        let word = self.memory.read_u32(index.into()).unwrap_or(0);
        let what = match shape(self.memory, self.layouts, index, word) {
            Ok(shape) if shape.size <= end - index => return Some(shape),
            Ok(_) => PASSES_END,
            Err(what) => what,
        };
        self.damaged(index, what);
        None
    }

    /// Continues to scan a large object.
    #[cold]
    fn scan_large(&mut self, mut cursor: Cursor, budget: &mut u32) {
        let index = cursor.index;
        let end = self.chunks.end(Chunks::of(index));
        let Some(Shape { size, refs }) = self.shape_before(index, end) else { return };
        if size != end - index {
            return self.damaged(index, WRONG_SIZE);
        }
        let count = match refs {
            Refs::At(offsets) => offsets.len() as u32,
            Refs::Row { count, .. } => count,
        };
        while cursor.done < count && *budget > 0 {
            *budget -= 1;
            let offset = match refs {
                Refs::At(offsets) => offsets[cursor.done as usize],
                Refs::Row { first, .. } => first + cursor.done * 4,
            };
            self.scan_slot(index + offset);
            cursor.done += 1;
        }
        if cursor.done < count {
            self.work.cursor = Some(cursor);
        }
    }

    /// Follows the reference at `at`, inside an object.
    #[inline]
    fn scan_slot(&mut self, at: u32) {
        // Objects are mapped.
        let Some(old) = self.memory.read_u32(at.into()) else { return };
        let new = self.follow(old);
        if new != old {
            let _mapped = self.memory.write_u32(at.into(), new);
            debug_assert!(_mapped.is_some());
        }
    }
}
