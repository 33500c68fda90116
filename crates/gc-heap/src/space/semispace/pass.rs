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

use super::WRONG_SIZE;
use super::chunks::{CHUNK_SIZE, Chunks, State};
use crate::object::PASSES_END;
use crate::space::Count;
use crate::trace::forwarding::{OFFSET, forwarded, forwarding};
use crate::trace::grey::Grey;
use crate::trace::shapes::{Object, Shapes};
use crate::{HeapError, HeapView};
use gc_types::{ArrayLayout, I31, OBJECT_ALIGN, VMGcHeader};

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
    large: Vec<Grey>,
    pub(super) survivors: Survivors,
    /// Whether an object that was to be moved was marked in place.
    pub(super) ran_out: bool,
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

/// Objects that a collection found alive.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survivors {
    objects: u64,
    /// The bytes of those that are not large.
    pub(super) small_bytes: u64,
    large_bytes: u64,
}

impl Survivors {
    /// All of them.
    pub(super) fn all(self) -> Count {
        Count { objects: self.objects, bytes: self.small_bytes + self.large_bytes }
    }

    /// Counts an object that is not large.
    #[inline(always)]
    fn add_small(&mut self, size: u32) {
        self.objects += 1;
        self.small_bytes += u64::from(size);
    }
}

/// The parts of a heap that following references needs.
pub(super) struct Tracer<'h, V> {
    pub(super) bytes: V,
    pub(super) shapes: &'h Shapes,
    pub(super) chunks: &'h mut Chunks,
    pub(super) damage: &'h mut Option<HeapError>,
    pub(super) work: &'h mut Work,
}

impl<V: HeapView> Tracer<'_, V> {
    #[cold]
    fn damaged(&mut self, at: u32, what: &'static str) {
        HeapError::note(self.damage, at, what);
    }

    /// Both words of the header at `index`.
    #[inline]
    fn header(&self, index: u32) -> Option<(u32, u32)> {
        const _: () = assert!(VMGcHeader::WORD_OFFSET == 0 && VMGcHeader::COLLECTOR_OFFSET == 4);
        let both = self.bytes.read_u64(index.into())?;
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
            let is_copy = |new: &u32| {
                new.is_multiple_of(OBJECT_ALIGN)
                    && self.chunks.state(Chunks::of(*new)) == Some(State::Live)
            };
            let Some(new) = forwarded(collector).filter(is_copy) else {
                self.damaged(raw, "an object was moved to an invalid place");
                return raw;
            };
            return new;
        }
        let Some(Object { size, .. }) = self.object_before(raw, word, end) else { return raw };
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
        let _mapped = self.bytes.copy_object(new.into(), at, size);
        let _mapped = _mapped.and(self.bytes.write_u32(at + OFFSET, forwarding(new)));
        debug_assert!(_mapped.is_some());
        self.work.next = new + size;
        self.work.survivors.add_small(size);
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
        let Some((word, collector)) = header else {
            self.damaged(raw, "a reference to no object");
            return raw;
        };
        let Some(Object { size, .. }) = self.object_before(raw, word, end) else { return raw };
        if collector != 0 {
            self.damaged(raw, "an object that was not moved has a forwarding word");
        } else if !self.chunks.is_marked(chunk, raw) {
            if self.chunks.mark(chunk, raw, size) {
                self.work.marked.push(chunk as u32);
            }
            self.work.survivors.add_small(size);
        }
        raw
    }

    #[cold]
    fn reach_large(&mut self, raw: u32, chunk: usize) -> u32 {
        if raw != Chunks::start(chunk) {
            self.damaged(raw, "a reference into a large object");
        } else if self.chunks.reach_large(chunk) {
            self.work.large.push(Grey::new(raw, 0));
            self.work.survivors.objects += 1;
            self.work.survivors.large_bytes += u64::from(self.chunks.end(chunk) - raw);
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
            if self.scan_copies(budget) {
                // One chunk at a time.
            } else if let Some(&chunk) = self.work.marked.last() {
                match self.chunks.next_to_scan(chunk as usize) {
                    Some(index) => {
                        let end = self.chunks.end(chunk as usize);
                        self.scan_object(index, end, budget);
                    }
                    None => drop(self.work.marked.pop()),
                }
            } else if let Some(object) = self.work.large.pop() {
                self.scan_large(object, budget);
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
        let object = self.object_at(index, end)?;
        let (shapes, mut slots) = (self.shapes, 0);
        let _all = shapes.slots(index, object, 0, u32::MAX, |at| {
            slots += 1;
            self.scan_slot(at);
        });
        *budget = budget.saturating_sub(slots);
        Some(object.size)
    }

    /// The object at `index`, which must not pass `end`. If there is none, records damage.
    #[inline]
    fn object_at(&mut self, index: u32, end: u32) -> Option<Object> {
        let word = self.bytes.read_u32(index.into()).unwrap_or(0);
        self.object_before(index, word, end)
    }

    /// As [`object_at`](Tracer::object_at). Word 0 of its header is `word`.
    #[inline]
    fn object_before(&mut self, index: u32, word: u32, end: u32) -> Option<Object> {
        let at = u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET);
        let bytes = &self.bytes;
        let object = self.shapes.object_with(word, || bytes.read_u32(at));
        if let Some(object) = object
            && object.size <= end - index
        {
            return Some(object);
        }
        let what = if object.is_some() { PASSES_END } else { self.shapes.fault(word) };
        self.damaged(index, what);
        None
    }

    /// Continues to scan a large object.
    #[cold]
    fn scan_large(&mut self, grey: Grey, budget: &mut u32) {
        let index = grey.index();
        let end = self.chunks.end(Chunks::of(index));
        let Some(object) = self.object_at(index, end) else { return };
        if object.size != end - index {
            return self.damaged(index, WRONG_SIZE);
        }
        let shapes = self.shapes;
        let (from, most) = (grey.from(), *budget);
        let next = shapes.slots(index, object, from, most, |at| self.scan_slot(at));
        let end = next.unwrap_or_else(|| shapes.count(object));
        *budget = budget.saturating_sub(end.saturating_sub(from));
        self.work.large.extend(next.map(|next| grey.at(next)));
    }

    /// Follows the reference at `at`, inside an object.
    #[inline]
    fn scan_slot(&mut self, at: u64) {
        // Objects are mapped.
        let Some(old) = self.bytes.read_u32(at) else { return };
        let new = self.follow(old);
        if new != old {
            let _mapped = self.bytes.write_u32(at, new);
            debug_assert!(_mapped.is_some());
        }
    }
}
