//! The places of objects, and allocation.
//!
//! Objects follow each other from the heap's first index, without gaps. A new object is placed
//! after the last one. Emitted code does this inline between the heap data's `NEXT` and `LIMIT`. It
//! does not report the objects that it allocates, so a walk over the new objects enters them in a
//! bitmap in native memory. An object ends where the next one begins, so its size need not be
//! trusted either.

use crate::bitmap::Bitmap;
use crate::collection::MarkCompact;
use crate::forwarding::Forwarding;
use gc_runtime::space::Count;
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcStats, HeapCore, HeapError,
    HeapMemory, Occupancy,
};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader, VMGcRef};
use std::ops::Range;

/// Bytes that are zeroed at a time, for new objects.
const PIECE: u32 = 32 << 10;

/// The minimal number of bytes that are allocated between two collections, if the heap may grow.
const LITTLE: u64 = 256 << 10;

// ANCHOR: heap
pub(crate) struct MarkCompactHeap {
    pub(crate) core: HeapCore,
    /// The starts of the objects below `walked`.
    pub(crate) starts: Bitmap,
    /// The end of the objects in `starts`. The objects from here to `NEXT` are new.
    pub(crate) walked: u32,
    /// The live objects and their new places. Empty between collections.
    pub(crate) forwarding: Forwarding,
    /// Objects that were marked and not scanned yet. Empty between collections.
    pub(crate) to_do: Vec<u32>,
    /// The objects in `starts`.
    pub(crate) live: Count,
    /// Bytes of objects that were entered in `starts` since the last collection.
    pub(crate) new_bytes: u64,
    /// The end of the memory that was ever used. All memory after it is zero.
    dirty_end: u32,
}
// ANCHOR_END: heap

pub(crate) fn corrupt(at: u32, what: &'static str) -> HeapError {
    HeapError::Corrupt { at, what }
}

impl MarkCompactHeap {
    pub(crate) fn new(memory: HeapMemory) -> MarkCompactHeap {
        let mut heap = MarkCompactHeap {
            core: HeapCore::new(memory),
            starts: Bitmap::default(),
            walked: NULL_PAGE_SIZE,
            forwarding: Forwarding::default(),
            to_do: Vec::new(),
            live: Count::default(),
            new_bytes: 0,
            dirty_end: NULL_PAGE_SIZE,
        };
        heap.set_up();
        heap
    }

    fn set_up(&mut self) {
        self.core.plan.goal = LITTLE;
        self.set_bounds(NULL_PAGE_SIZE..NULL_PAGE_SIZE);
        self.fit_tables();
    }

    /// Makes room in the tables for all mapped memory.
    fn fit_tables(&mut self) {
        let end = self.mapped_end();
        self.starts.extend(end);
        self.forwarding.extend(end);
    }

    pub(crate) fn mapped_end(&self) -> u32 {
        u32::try_from(self.core.memory.len()).expect("heaps end below 4 GiB")
    }

    /// Sets the bounds of inline allocation. The memory between them must be zero.
    fn set_bounds(&mut self, room: Range<u32>) {
        self.core.memory.set_data_u32(NEXT, room.start);
        self.core.memory.set_data_u32(LIMIT, room.end);
        self.dirty_end = self.dirty_end.max(room.end);
    }

    /// The end of the last object.
    pub(crate) fn end(&self) -> u32 {
        self.core.memory.data_u32(NEXT)
    }

    // ANCHOR: alloc
    /// Makes room for `size` bytes after the last object. Returns false if there is none.
    #[cold]
    fn make_room(&mut self, size: u32) -> Result<bool, HeapError> {
        let (next, limit) = (self.end(), self.core.memory.data_u32(LIMIT));
        let mapped = self.mapped_end();
        let Some(end) = next.checked_add(size).filter(|&end| end <= mapped) else {
            return Ok(false);
        };
        let end = end.max(limit.saturating_add(PIECE)).min(mapped);
        // Memory that was never used is already zero.
        let dirty = self.dirty_end.min(end).saturating_sub(limit);
        let zeroed = self.core.memory.fill(limit.into(), dirty.into(), 0);
        zeroed.ok_or(corrupt(limit, "free memory outside the heap"))?;
        self.set_bounds(next..end);
        Ok(true)
    }
    // ANCHOR_END: alloc

    // ANCHOR: walk
    /// Calls `visit` with the index and the size of each object that is not in `starts`.
    fn walk_new(&self, visit: &mut dyn FnMut(u32, u32)) -> Result<(), HeapError> {
        self.core.walk(self.walked, self.end(), |at, size| {
            visit(at, size);
            Ok(())
        })
    }

    /// Enters the new objects in `starts`.
    pub(crate) fn note_new(&mut self) -> Result<(), HeapError> {
        let mut new = Vec::new();
        self.walk_new(&mut |at, size| new.push((at, size)))?;
        for (at, size) in new {
            self.starts.insert(at);
            self.live.add(size);
            self.new_bytes += u64::from(size);
            self.core.stats.allocations += 1;
            self.core.stats.allocated_bytes += u64::from(size);
        }
        self.walked = self.end();
        Ok(())
    }

    /// The bytes of the object at `index`. It ends where the next one begins.
    pub(crate) fn object(&self, index: u32) -> Option<Range<u32>> {
        let next = self.starts.next(index.checked_add(8)?, true);
        self.starts.contains(index).then(|| index..next.unwrap_or(self.walked))
    }
    // ANCHOR_END: walk

    /// Sets the end of the objects after they have moved. The memory after `end` is free.
    pub(crate) fn set_end(&mut self, end: u32) {
        let freed = self.end() - end;
        self.core.memory.poison(end.into(), freed.into());
        self.set_bounds(end..end);
        (self.walked, self.new_bytes) = (end, 0);
    }

    /// The starts of all objects, in order.
    fn objects(&self) -> Result<Vec<u32>, HeapError> {
        let mut objects: Vec<u32> = self.starts.in_range(NULL_PAGE_SIZE..self.walked).collect();
        self.walk_new(&mut |at, _| objects.push(at))?;
        Ok(objects)
    }
}

impl GcHeap for MarkCompactHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        let index = self.core.bump(header, size)?;
        VMGcRef::from_heap_index(index)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        if let Some(object) = self.alloc_fast(header, size) {
            return Ok(object);
        }
        match self.make_room(size) {
            Ok(true) => self.alloc_fast(header, size).ok_or(corrupt(0, "no room was made")),
            Ok(false) => Err(HeapError::NeedsRoom { bytes: size.into() }),
            Err(damage) => Err(self.core.damage.get_or_insert(damage).clone()),
        }
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let grown = self.core.grow(bytes)?;
        self.fit_tables();
        Ok(grown)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        Box::new(MarkCompact::new(self, request))
    }

    fn occupancy(&self) -> Occupancy {
        let used = u64::from(self.end() - NULL_PAGE_SIZE);
        let collection_pays = used >= self.core.plan.goal;
        Occupancy { used, collection_pays, least_room: LITTLE, ..Occupancy::default() }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.objects()?.into_iter().filter_map(VMGcRef::from_heap_index).for_each(visit);
        Ok(())
    }

    // ANCHOR: verify
    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        let objects = self.objects()?;
        let mut end = NULL_PAGE_SIZE;
        for &object in &objects {
            let header = self.core.header_at(object)?;
            if object != end || header.collector_bits() != 0 {
                return Err(corrupt(object, "no object can be here, or its header is invalid"));
            }
            end = object + self.core.size_at(object)?;
            let mut dangling = false;
            self.core.for_each_ref_at(object, |_, to| {
                let to = to.as_heap_index();
                dangling |= to.is_some_and(|to| objects.binary_search(&to.get()).is_err());
            })?;
            if dangling {
                return Err(corrupt(object, "a reference to no object"));
            }
        }
        if end != self.end() {
            return Err(corrupt(end, "the objects have a wrong end"));
        }
        if (end..self.core.memory.data_u32(LIMIT))
            .step_by(8)
            .any(|at| self.core.memory.read_u64(at.into()) != Some(0))
        {
            return Err(corrupt(end, "free memory that is not zero"));
        }
        Ok(())
    }
    // ANCHOR_END: verify

    fn stats(&self) -> GcStats {
        let mut new = Count::default();
        if let Err(damage) = self.walk_new(&mut |_, size| new.add(size)) {
            log::warn!("allocations are counted only up to the damage: {damage}");
        }
        let mut stats = self.core.stats.clone();
        stats.allocations += new.objects;
        stats.allocated_bytes += new.bytes;
        stats.live_objects = self.live.objects + new.objects;
        stats.live_bytes = self.live.bytes + new.bytes;
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.starts.clear();
        self.forwarding.clear();
        self.to_do.clear();
        (self.walked, self.dirty_end) = (NULL_PAGE_SIZE, NULL_PAGE_SIZE);
        (self.live, self.new_bytes) = (Count::default(), 0);
        self.set_up();
        host_data.clear();
        true
    }
}
