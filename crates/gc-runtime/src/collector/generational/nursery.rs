//! The nursery, where objects are allocated one after the other.
//!
//! It is handed out in chunks. A chunk is zeroed just before it is handed out, so it is in the
//! cache when objects are made there, and a short program touches little memory. Every collection
//! empties the nursery. Survivors for which there is no room in the old generation are *retained*:
//! they stay where they are, and nothing is allocated in the nursery until a later collection finds
//! room.

use super::GenerationalHeap;
use super::nursery_size::first_size;
use crate::HeapError;
use crate::space::Count;
use gc_types::VMGcHeader;
use gc_types::collector::generational::{LIMIT, NEXT, NURSERY_START};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Bytes zeroed at a time.
pub(super) const CHUNK: u32 = 32 << 10;

/// The nursery's native half. The other half is in the heap data.
#[derive(Debug)]
pub(super) struct Nursery {
    /// Its end, mapped or not. No young object is at or after it.
    pub(super) end: u32,
    /// The end of the part in use.
    pub(super) limit: u32,
    /// The maximal number of bytes in a chunk.
    chunk: u32,
    /// Memory from here on was never used or was given back, and is zero.
    pub(super) touched: u32,
    /// The system was asked to provide the memory up to here.
    pub(super) asked: u32,
    /// Objects that were retained, ascending.
    pub(super) retained: Vec<u32>,
    pub(super) retained_bytes: u64,
    /// The objects that the host allocated here.
    host: Count,
    /// A chunk that was handed out as a whole, for estimating the size of objects.
    sample: Option<(u32, u32)>,
    /// The objects of the chunk that was walked over last.
    measured: Count,
    /// Bytes of objects whose number was estimated from it.
    estimated: u64,
    /// The objects that were walked over for counting, so that none is counted twice.
    walked: Mutex<Walked>,
}

/// The objects that begin below an index.
#[derive(Clone, Copy, Debug)]
struct Walked {
    count: Count,
    end: u32,
}

impl Default for Walked {
    fn default() -> Walked {
        Walked { count: Count::default(), end: NURSERY_START }
    }
}

impl Nursery {
    /// A nursery of `size` bytes.
    pub(super) fn new(size: u32) -> Nursery {
        Nursery {
            end: NURSERY_START + size,
            limit: NURSERY_START + first_size(size),
            chunk: CHUNK,
            touched: NURSERY_START,
            asked: NURSERY_START,
            retained: Vec::new(),
            retained_bytes: 0,
            host: Count::default(),
            sample: None,
            measured: Count::default(),
            estimated: 0,
            walked: Mutex::default(),
        }
    }

    /// The largest object that the host allocates here. Emitted code may allocate larger ones.
    pub(super) fn max_object(&self) -> u32 {
        ((self.end - NURSERY_START) / 8).min(CHUNK)
    }

    /// Whether the part in use is mapped.
    pub(super) fn is_mapped(&self, len: u64) -> bool {
        len >= u64::from(self.limit)
    }

    /// Whether objects that survived a collection are in it.
    pub(super) fn retains(&self) -> bool {
        !self.retained.is_empty()
    }
}

/// The number of objects in this many times the bytes of a chunk is estimated from one walk over it.
///
/// In a small heap a chunk is everything, and a walk in each collection took 43 % of the time of `nbody`. A
/// walk over only the first kilobyte of a chunk is wrong: the first object is often the large one for which
/// the last chunk had no room.
const FOR_EACH_WALK: u64 = 32;

impl GenerationalHeap {
    /// The place of the next young object.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.core.memory.data_u32(NEXT)
    }

    /// Bytes of the nursery that are in use.
    pub(super) fn nursery_used(&self) -> u32 {
        self.next().saturating_sub(NURSERY_START)
    }

    fn set_bounds(&mut self, next: u32, limit: u32) {
        self.core.memory.set_data_u32(NEXT, next);
        self.core.memory.set_data_u32(LIMIT, limit);
    }

    /// Prevents emitted code from allocating in the rest of the current chunk.
    pub(super) fn close_nursery(&mut self) {
        let next = self.next();
        self.set_bounds(next, next);
    }

    /// Makes the nursery empty.
    pub(super) fn empty_nursery(&mut self) {
        self.set_bounds(NURSERY_START, NURSERY_START);
        self.nursery.host = Count::default();
        self.nursery.sample = None;
        self.nursery.walked = Mutex::default();
        self.nursery_counted = false;
    }

    /// Resets the nursery to that of a new heap. Its bytes must be zero.
    pub(super) fn renew_nursery(&mut self) {
        (self.nursery.touched, self.nursery.asked) = (NURSERY_START, NURSERY_START);
        self.size_nursery(first_size(self.nursery.end - NURSERY_START));
        self.nursery.retained.clear();
        self.nursery.retained_bytes = 0;
        self.nursery.chunk = CHUNK;
        (self.nursery.measured, self.nursery.estimated) = (Count::default(), 0);
        self.empty_nursery();
    }

    /// The end of the memory that was handed out.
    pub(super) fn handed_out(&self) -> u32 {
        self.next().max(self.core.memory.data_u32(LIMIT))
    }

    /// Hands out another chunk that is large enough for an object of `size` bytes. Returns whether
    /// there is one.
    pub(super) fn refill(&mut self, size: u32) -> bool {
        if self.nursery.retains() {
            return false;
        }
        self.leave_room_for_old(size);
        let memory = &mut self.core.memory;
        let (next, limit) = (memory.data_u32(NEXT), memory.data_u32(LIMIT));
        let end = memory.len().min(u64::from(self.nursery.limit)) as u32;
        let needed = u64::from(next) + u64::from(size);
        if limit < next || needed > u64::from(end) {
            return false;
        }
        let new = end.min((needed as u32).max(limit.saturating_add(self.nursery.chunk)));
        let dirty = new.min(self.nursery.touched).saturating_sub(limit);
        if memory.fill(u64::from(limit), u64::from(dirty), 0).is_none() {
            return false;
        }
        self.nursery.sample.get_or_insert((next, new));
        memory.set_data_u32(LIMIT, new);
        if new > self.nursery.touched {
            self.nursery.touched = new;
            self.touch_nursery_ahead(new);
        }
        true
    }

    /// Limits chunks, also the current one, to `bytes`.
    pub(super) fn limit_chunks(&mut self, bytes: Option<NonZeroU32>) {
        self.nursery.chunk = bytes.map_or(CHUNK, |bytes| bytes.get().min(CHUNK));
        let (next, limit) = (self.next(), self.core.memory.data_u32(LIMIT));
        // The memory after the limit is zero. It is zeroed again when it becomes part of a chunk.
        self.set_bounds(next, limit.min(next.saturating_add(self.nursery.chunk)));
    }

    /// Allocates by bumping the next index, as emitted code does.
    #[inline]
    pub(super) fn bump(&mut self, header: VMGcHeader, size: u32) -> Option<u32> {
        let next = self.core.bump(header, size)?;
        self.nursery.host.add(size);
        Some(next)
    }

    /// Calls `visit` with the index and the size of each object in the nursery, in address order.
    /// If objects were retained, visits only those.
    pub(super) fn walk_nursery(
        &self,
        visit: impl FnMut(u32, u32) -> Result<(), HeapError>,
    ) -> Result<(), HeapError> {
        if self.nursery.retains() {
            return self.walk_retained(visit);
        }
        self.walk(NURSERY_START, self.next(), visit)
    }

    fn walk_retained(
        &self,
        mut visit: impl FnMut(u32, u32) -> Result<(), HeapError>,
    ) -> Result<(), HeapError> {
        for &index in &self.nursery.retained {
            visit(index, self.core.size_at(index)?)?;
        }
        Ok(())
    }

    fn walk(
        &self,
        start: u32,
        end: u32,
        mut visit: impl FnMut(u32, u32) -> Result<(), HeapError>,
    ) -> Result<(), HeapError> {
        let mut at = start;
        while at < end {
            // `size` is at least a header's, and `at + size` is mapped.
            let size = self.core.size_at(at)?;
            visit(at, size)?;
            at += size;
        }
        if at == end {
            Ok(())
        } else {
            Err(HeapError::Corrupt { at, what: "a young object passes the next one's index" })
        }
    }

    /// Counts the objects in the nursery, or the retained ones. Does not walk over an object twice.
    pub(super) fn young(&self) -> Count {
        let mut walked = self.nursery.walked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut young = if self.nursery.retains() { Walked::default() } else { *walked };
        let visit = |at, size| {
            young.count.add(size);
            young.end = at + size;
            Ok(())
        };
        let damage = match self.nursery.retains() {
            true => self.walk_retained(visit),
            false => self.walk(walked.end, self.next(), visit),
        };
        if let Err(damage) = damage {
            log::warn!("young objects counted only up to the damage: {damage}");
        }
        if !self.nursery.retains() {
            *walked = young;
        }
        young.count
    }

    /// Counts the allocations in the nursery before a collection empties it. The objects of emitted
    /// code are not counted one by one. Their number is estimated from their bytes and the mean
    /// size in one chunk. A small nursery is one chunk, so not every collection walks over one.
    pub(super) fn count_nursery(&mut self) {
        if std::mem::replace(&mut self.nursery_counted, true) {
            return;
        }
        let bytes = u64::from(self.nursery_used());
        let host = self.nursery.host;
        let inline = bytes.saturating_sub(host.bytes);
        let mut objects = host.objects;
        if inline > 0 {
            let (start, end) = self.nursery.sample.unwrap_or((NURSERY_START, self.next()));
            let end = end.min(self.next());
            let Count { objects: seen, .. } = self.nursery.measured;
            if seen == 0 || self.nursery.estimated / FOR_EACH_WALK >= u64::from(end - start) {
                let mut sample = Count::default();
                // The walk ends at the first object after the chunk, or at damage.
                let _end = self.walk(start, end, |_, size| {
                    sample.add(size);
                    Ok(())
                });
                (self.nursery.measured, self.nursery.estimated) = (sample, 0);
            }
            self.nursery.estimated += inline;
            let Count { objects: seen, bytes } = self.nursery.measured;
            let mean = (bytes / seen.max(1)).max(u64::from(VMGcHeader::SIZE));
            objects += inline / mean;
        }
        self.allocated.objects += objects;
        self.allocated.bytes += bytes;
    }
}
