//! The places of objects, and allocation.
//!
//! Free memory is a list of runs. Emitted code allocates inline by bumping an index through a piece
//! of a run, between the heap data's `NEXT` and `LIMIT`. When the piece is full, the next piece
//! follows. The heap then walks once through the objects of the full piece, and enters the start of
//! each in a map.

use crate::collection::MarkSweep;
use gc_runtime::space::Count;
use gc_runtime::space::object_map::{ObjectMap, WORD_BYTES};
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcStats, HeapCore, HeapError,
    HeapMemory, Occupancy,
};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader, VMGcRef};
use std::ops::Range;

/// Bytes of the pieces that are zeroed and bumped through.
const PIECE: u32 = 32 << 10;

/// Larger objects get a separate place. A run that is too short for a smaller object is not used
/// again before the next collection.
const SMALL: u32 = 256;

/// Shorter runs are not used.
const SHORTEST_RUN: u32 = 16;

/// Bytes that are allocated at least between two collections, if the heap may grow.
const LITTLE: u64 = 256 << 10;

// ANCHOR: heap
pub(crate) struct MarkSweepHeap {
    pub(crate) core: HeapCore,
    /// The starts of objects, except those in the current piece, and which of them the collection under way has found.
    pub(crate) objects: ObjectMap,
    /// Objects that were found and not scanned yet. Empty between collections.
    pub(crate) to_do: Vec<u32>,
    /// The current piece, beginning with the first object that is not in `objects`.
    piece: Range<u32>,
    /// Free memory, in address order. The runs before `next_run` are used up.
    free: Vec<Range<u32>>,
    next_run: usize,
    /// The objects in `objects`.
    pub(crate) live: Count,
    /// Bytes allocated since the last collection.
    pub(crate) new_bytes: u64,
    /// The end of the memory that may be dirty.
    dirty_end: u32,
}
// ANCHOR_END: heap

pub(crate) fn corrupt(at: u32, what: &'static str) -> HeapError {
    HeapError::Corrupt { at, what }
}

impl MarkSweepHeap {
    pub(crate) fn new(memory: HeapMemory) -> MarkSweepHeap {
        let mut heap = MarkSweepHeap {
            core: HeapCore::new(memory),
            objects: ObjectMap::default(),
            to_do: Vec::new(),
            piece: NULL_PAGE_SIZE..NULL_PAGE_SIZE,
            free: Vec::new(),
            next_run: 0,
            live: Count::default(),
            new_bytes: 0,
            dirty_end: NULL_PAGE_SIZE,
        };
        heap.set_up();
        heap
    }

    /// Makes all mapped memory free.
    fn set_up(&mut self) {
        self.core.plan.goal = LITTLE;
        self.set_piece(NULL_PAGE_SIZE..NULL_PAGE_SIZE);
        self.add_run(NULL_PAGE_SIZE);
    }

    /// Makes the mapped memory from `start` on free, and extends the map.
    fn add_run(&mut self, start: u32) {
        let end = self.mapped_end();
        self.objects.extend(u64::from(end));
        match self.free.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.free.push(start..end),
        }
        // The run may have been used up.
        self.next_run = self.next_run.min(self.free.len() - 1);
    }

    fn mapped_end(&self) -> u32 {
        u32::try_from(self.core.memory.len()).expect("heaps end below 4 GiB")
    }

    // ANCHOR: alloc
    fn set_piece(&mut self, piece: Range<u32>) {
        self.core.memory.set_data_u32(NEXT, piece.start);
        self.core.memory.set_data_u32(LIMIT, piece.end);
        self.dirty_end = self.dirty_end.max(piece.end);
        self.piece = piece;
    }

    /// Continues in the next piece of free memory in which an object of `size` bytes fits.
    #[cold]
    fn next_piece(&mut self, size: u32) -> Result<bool, HeapError> {
        self.close_piece()?;
        while let Some(run) = self.free.get_mut(self.next_run) {
            if run.len() < size as usize {
                self.next_run += 1;
                continue;
            }
            let start = run.start;
            run.start += PIECE.min(run.end - start);
            let zeroed = start..run.start;
            self.zero(&zeroed)?;
            // The rest of the previous piece may end where the new piece begins.
            let front = if self.piece.end == start { self.piece.start } else { start };
            self.set_piece(front..zeroed.end);
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes `size` bytes from the first run that is large enough.
    fn alloc_large(&mut self, header: VMGcHeader, size: u32) -> Result<Option<u32>, HeapError> {
        let mut runs = self.free[self.next_run..].iter_mut();
        let Some(run) = runs.find(|run| run.len() >= size as usize) else { return Ok(None) };
        let index = run.start;
        run.start += size;
        self.zero(&(index..index + size))?;
        self.core.set_header_at(index, header).ok_or(corrupt(index, UNMAPPED))?;
        self.objects.set_start(index, false);
        self.count(size);
        self.dirty_end = self.dirty_end.max(index + size);
        Ok(Some(index))
    }
    // ANCHOR_END: alloc

    fn zero(&mut self, range: &Range<u32>) -> Result<(), HeapError> {
        let filled = self.core.memory.fill(range.start.into(), range.len() as u64, 0);
        filled.ok_or(corrupt(range.start, UNMAPPED))
    }

    fn count(&mut self, size: u32) {
        self.live.add(size);
        self.new_bytes += u64::from(size);
        self.core.stats.allocations += 1;
        self.core.stats.allocated_bytes += u64::from(size);
    }

    /// Enters the objects of the current piece in the map. The rest of the piece stays usable.
    pub(crate) fn close_piece(&mut self) -> Result<(), HeapError> {
        let next = self.core.memory.data_u32(NEXT);
        while self.piece.start < next {
            let index = self.piece.start;
            let size = self.core.size_before(index, next)?;
            self.objects.set_start(index, false);
            self.count(size);
            self.piece.start += size;
        }
        Ok(())
    }

    /// Calls `visit` with the index and the size of each object of the current piece.
    fn walk_piece(&self, visit: &mut dyn FnMut(u32, u32)) -> Result<(), HeapError> {
        let next = self.core.memory.data_u32(NEXT);
        self.core.walk(self.piece.start, next, |index, size| {
            visit(index, size);
            Ok(())
        })
    }

    // ANCHOR: sweep
    /// Makes all unmarked memory free.
    pub(crate) fn sweep(&mut self) -> Result<(), HeapError> {
        let (mut free, mut live) = (Vec::new(), Count::default());
        let (mut end, mapped_end) = (NULL_PAGE_SIZE, self.mapped_end());
        let objects = self.objects.starts(end, mapped_end);
        let found: Vec<u32> = objects.filter(|&index| self.objects.is_marked(index)).collect();
        for index in found {
            if index < end {
                return Err(corrupt(index, "an object begins inside another"));
            }
            self.free_run(&mut free, end..index);
            let size = self.core.size_at(index)?;
            live.add(size);
            end = index + size;
        }
        self.free_run(&mut free, end..mapped_end);
        (self.free, self.next_run) = (free, 0);
        (self.live, self.new_bytes) = (live, 0);
        // The marks become the starts.
        self.objects.sweep(NULL_PAGE_SIZE, mapped_end.next_multiple_of(WORD_BYTES));
        self.set_piece(NULL_PAGE_SIZE..NULL_PAGE_SIZE);
        Ok(())
    }
    // ANCHOR_END: sweep

    fn free_run(&mut self, free: &mut Vec<Range<u32>>, run: Range<u32>) {
        if run.start < self.dirty_end {
            let bytes = run.end.min(self.dirty_end) - run.start;
            self.core.memory.poison(run.start.into(), bytes.into());
        }
        if run.len() >= SHORTEST_RUN as usize {
            free.push(run);
        }
    }

    /// The start of each object, in order.
    fn objects(&self) -> Result<Vec<u32>, HeapError> {
        let mut objects: Vec<u32> =
            self.objects.starts(NULL_PAGE_SIZE, self.mapped_end()).collect();
        let mut new = Vec::new();
        self.walk_piece(&mut |index, _| new.push(index))?;
        let at = objects.partition_point(|&index| index < self.piece.start);
        objects.splice(at..at, new);
        Ok(objects)
    }

    /// Bytes of the objects in the current piece.
    fn piece_bytes(&self) -> u64 {
        u64::from(self.core.memory.data_u32(NEXT).saturating_sub(self.piece.start))
    }
}

const UNMAPPED: &str = "free memory outside the heap";

impl GcHeap for MarkSweepHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    // ANCHOR: alloc_raw
    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        let index = self.core.bump(header, size)?;
        VMGcRef::from_heap_index(index)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        if let Some(object) = self.alloc_fast(header, size) {
            return Ok(object);
        }
        let found = if size > SMALL {
            self.alloc_large(header, size)
        } else {
            self.next_piece(size).map(|_| self.core.bump(header, size))
        };
        match found {
            Ok(Some(index)) => VMGcRef::from_heap_index(index).ok_or(corrupt(index, UNMAPPED)),
            Ok(None) => Err(HeapError::NeedsRoom { bytes: size.into() }),
            Err(damage) => Err(self.core.damage.get_or_insert(damage).clone()),
        }
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let end = self.mapped_end();
        let grown = self.core.grow(bytes)?;
        self.add_run(end);
        Ok(grown)
    }
    // ANCHOR_END: alloc_raw

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        Box::new(MarkSweep::new(self, request))
    }

    // ANCHOR: policy
    /// A collection pays when the heap has reached the goal that the policy has set after the last
    /// collection. If the heap cannot become so large, the store collects anyway.
    fn occupancy(&self) -> Occupancy {
        let used = self.live.bytes + self.piece_bytes();
        let collection_pays = used >= self.core.plan.goal;
        Occupancy { used, collection_pays, least_room: LITTLE, ..Occupancy::default() }
    }
    // ANCHOR_END: policy

    // ANCHOR: walk
    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.objects()?.into_iter().filter_map(VMGcRef::from_heap_index).for_each(visit);
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        let objects = self.objects()?;
        let starts = |index| objects.binary_search(&index).is_ok();
        let mut end = NULL_PAGE_SIZE;
        for &object in &objects {
            let header = self.core.header_at(object)?;
            if object < end || header.collector_bits() != 0 {
                return Err(corrupt(object, "no object can be here, or its header is invalid"));
            }
            end = object + self.core.size_at(object)?;
            let mut dangling = false;
            self.core.for_each_ref_at(object, |_, target| {
                dangling |= target.as_heap_index().is_some_and(|index| !starts(index.get()));
            })?;
            if dangling {
                return Err(corrupt(object, "a reference to no object"));
            }
        }
        for run in &self.free[self.next_run..] {
            let next = objects.partition_point(|&object| object < run.start);
            let before = next.checked_sub(1).map(|last| objects[last]);
            let front = before.map_or(Ok(0), |at| Ok(at + self.core.size_at(at)?))?;
            if front > run.start || objects.get(next).is_some_and(|&object| object < run.end) {
                return Err(corrupt(run.start, "free memory with an object in it"));
            }
        }
        Ok(())
    }
    // ANCHOR_END: walk

    fn stats(&self) -> GcStats {
        let mut new = Count::default();
        if let Err(damage) = self.walk_piece(&mut |_, size| new.add(size)) {
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
        self.objects.clear();
        self.to_do.clear();
        self.free.clear();
        self.next_run = 0;
        self.live = Count::default();
        self.new_bytes = 0;
        self.dirty_end = NULL_PAGE_SIZE;
        self.set_up();
        host_data.clear();
        true
    }
}
