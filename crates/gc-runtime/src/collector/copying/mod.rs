//! `copying`: a semispace collector.
//!
//! C. J. Cheney, "A Nonrecursive List Compacting Algorithm", 1970. Emitted code allocates objects
//! one after the other, inline, between the data words `NEXT` and `LIMIT`. A collection copies the
//! reachable objects to free memory and writes the new index into the old object's header. The
//! copies themselves are the queue of objects to scan (`trace.rs`, `collect.rs`). Barriers do
//! nothing, and dead objects cost nothing.
//!
//! The two spaces are not halves of the heap. They are sets of chunks from one pool (`chunks.rs`),
//! so they are as large as their live objects. The collector estimates from the survivors of the
//! last collections how many chunks may be filled before the next one (`budget.rs`). If more
//! objects survive than there is room for, the others are marked in place, and chunks with little
//! in them are emptied next. So a heap at its limit degrades to stepwise compaction (an idea of
//! Immix: Stephen M. Blackburn and Kathryn S. McKinley, 2008). A large object has its own chunks
//! and never moves.

mod budget;
mod chunks;
mod collect;
#[cfg(test)]
mod tests;
mod trace;
mod verify;

use crate::space::{Epoch, Visit};
use crate::trace::shapes::Shapes;
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcRuntime, GcStats, HeapCore,
    HeapError, HeapMemory, Occupancy,
};
use budget::Budget;
use chunks::{Chunks, State};
use collect::CopyingCollection;
use gc_types::collector::copying::{CHUNK_SIZE, LIMIT, NAME, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader, VMGcRef};

/// The runtime half of `copying`: makes its heaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyingCollector;

impl GcRuntime for CopyingCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "programs whose objects die young: no barriers, and dead objects cost nothing; pauses grow \
         with the live objects"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(CopyingHeap::new(memory)))
    }
}

/// Larger objects get their own chunks, unless they fit between `NEXT` and `LIMIT`.
const SMALL: u32 = CHUNK_SIZE / 2;

/// Bytes by which `LIMIT` advances. They are zeroed just before the program writes them, so that
/// they are in a cache then.
const PIECE: u32 = 16 << 10;

struct CopyingHeap {
    core: HeapCore,
    /// As far as the layouts were known when the last collection began.
    shapes: Shapes,
    chunks: Chunks,
    budget: Budget,
    /// The chunk that contains `NEXT`. Without a chunk, nothing fits below `LIMIT`.
    current: Option<usize>,
    /// The objects that were allocated since the last collection.
    epoch: Epoch,
    /// The objects that survived the last collection.
    survivors: Survivors,
}

/// Objects that a collection found alive.
#[derive(Clone, Copy, Debug, Default)]
struct Survivors {
    objects: u64,
    bytes: u64,
    /// The part of these bytes in objects that are not large.
    small_bytes: u64,
}

impl CopyingHeap {
    fn new(memory: HeapMemory) -> CopyingHeap {
        let chunks = Chunks::default();
        let mut heap = CopyingHeap {
            core: HeapCore::new(memory),
            shapes: Shapes::default(),
            budget: Budget::new(&chunks),
            chunks,
            current: None,
            epoch: Epoch::default(),
            survivors: Survivors::default(),
        };
        heap.set_up();
        heap
    }

    fn set_up(&mut self) {
        self.chunks.extend(self.core.memory.usable());
        self.budget = Budget::new(&self.chunks);
        self.set_cursor(NULL_PAGE_SIZE, NULL_PAGE_SIZE);
    }

    fn set_cursor(&mut self, next: u32, limit: u32) {
        self.core.memory.set_data_u32(NEXT, next);
        self.core.memory.set_data_u32(LIMIT, limit);
    }

    /// Bytes of the chunks whose pages were returned to the system.
    fn given_back(&self) -> u64 {
        u64::from(self.chunks.given_back()) * u64::from(CHUNK_SIZE)
    }

    /// The end of the objects in the chunk, also if the chunk is being filled.
    fn end_of(&self, chunk: usize) -> u32 {
        match self.current {
            Some(current) if current == chunk => self.next(chunk),
            _ => self.chunks.end(chunk),
        }
    }

    /// `NEXT`, which is in the current chunk.
    fn next(&self, current: usize) -> u32 {
        let next = self.core.memory.data_u32(NEXT);
        next.clamp(Chunks::start(current), Chunks::limit(current))
    }

    /// Closes the chunk that is being filled.
    fn retire(&mut self) {
        let Some(current) = self.current.take() else { return };
        let next = self.next(current);
        if next != self.core.memory.data_u32(NEXT) {
            self.core.note_damage(next, "the next object's index is not in its chunk");
        }
        self.chunks.set_end(current, next);
        self.epoch.close(next);
        self.set_cursor(NULL_PAGE_SIZE, NULL_PAGE_SIZE);
    }

    /// Makes room for an object of `size` bytes at `NEXT`, if possible.
    #[cold]
    fn make_room(&mut self, size: u32) -> Option<()> {
        if let Some(current) = self.current {
            let next = self.next(current);
            let limit = self.core.memory.data_u32(LIMIT);
            let end = Chunks::limit(current);
            if size <= end - next {
                let new = limit.saturating_add(PIECE).max(next + size).min(end);
                self.core.memory.fill(limit.into(), u64::from(new.checked_sub(limit)?), 0)?;
                self.core.memory.set_data_u32(LIMIT, new);
                return Some(());
            }
        }
        if size > CHUNK_SIZE || !self.budget.take_small(&self.chunks) {
            return None;
        }
        self.retire();
        let (chunk, zero) = self.chunks.take()?;
        let start = Chunks::start(chunk);
        let limit = if zero { CHUNK_SIZE } else { size.max(PIECE) };
        if !zero {
            self.core.memory.fill(start.into(), limit.into(), 0)?;
        }
        self.fill_from(chunk, start, start + limit);
        Some(())
    }

    /// From now on allocates in `chunk` at `next`. The chunk's bytes from there up to `limit` are
    /// zero.
    fn fill_from(&mut self, chunk: usize, next: u32, limit: u32) {
        self.current = Some(chunk);
        self.epoch.open(next);
        self.set_cursor(next, limit);
    }

    fn alloc_large(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        let count = size.div_ceil(CHUNK_SIZE);
        if !self.budget.admits_large(&self.chunks, count) {
            return None;
        }
        let head = self.chunks.take_run(&mut self.core.memory, count, size)?;
        self.budget.count_large(count);
        let index = Chunks::start(head);
        self.core.set_header_at(index, header)?;
        self.epoch.count_large(size);
        VMGcRef::from_heap_index(index)
    }

    /// Calls `visit` with the index and the size of each object of a chunk.
    fn walk_chunk(&self, chunk: usize, visit: Visit<'_>) -> Result<(), HeapError> {
        match self.chunks.state(chunk) {
            Some(State::Live | State::From | State::Stay) if self.chunks.is_retained(chunk) => {
                let end = self.chunks.end(chunk);
                for index in self.chunks.marked(chunk) {
                    visit(index, self.core.size_before(index, end)?)?;
                }
            }
            Some(State::Live | State::From | State::Stay) => {
                self.core.walk(Chunks::start(chunk), self.end_of(chunk), visit)?;
            }
            Some(State::Large) => {
                let (index, end) = (Chunks::start(chunk), self.chunks.end(chunk));
                let size = self.core.size_before(index, end)?;
                if size != end - index {
                    return Err(HeapError::Corrupt { at: index, what: WRONG_SIZE });
                }
                visit(index, size)?;
            }
            Some(State::LargeTail | State::Free) | None => {}
        }
        Ok(())
    }

    /// Calls `visit` with the index and the size of each object, in address order.
    fn walk_all(&self, visit: Visit<'_>) -> Result<(), HeapError> {
        (0..self.chunks.len() as usize).try_for_each(|chunk| self.walk_chunk(chunk, visit))
    }
}

const WRONG_SIZE: &str = "a large object has a wrong size";

impl GcHeap for CopyingHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn counts_handles(&self) -> bool {
        false
    }

    // ---- barriers: the provided ones -------------------------------------------

    fn copy_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
        self.core.copy_refs_at(to, from, count)
    }

    fn fill_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        self.core.fill_refs_at(at, source, count)
    }

    // ---- allocation -----------------------------------------------------

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        let next = self.core.bump(header, size)?;
        self.epoch.count_host(size);
        VMGcRef::from_heap_index(next)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        let allocated = match self.alloc_fast(header, size) {
            Some(object) => Some(object),
            None if size > SMALL => self.alloc_large(header, size),
            None => self.make_room(size).and_then(|()| self.alloc_fast(header, size)),
        };
        allocated.ok_or(HeapError::NeedsRoom { bytes: size.into() })
    }

    /// Allows more of the existing chunks, or maps more.
    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let count = bytes.div_ceil(u64::from(CHUNK_SIZE));
        let raised = self.budget.raise(&self.chunks, u32::try_from(count).unwrap_or(u32::MAX));
        if raised > 0 {
            return Ok(u64::from(raised) * u64::from(CHUNK_SIZE));
        }
        let grown = self.core.grow(count.saturating_mul(CHUNK_SIZE.into()))?;
        self.chunks.extend(self.core.memory.usable());
        self.budget.allow_all(&self.chunks);
        Ok(grown)
    }

    // ---- collection -----------------------------------------------------

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.assert_may_collect();
        Box::new(CopyingCollection::new(self, request))
    }

    /// A collection takes time for all survivors and frees only objects that were allocated since
    /// the last one.
    fn occupancy(&self) -> Occupancy {
        let new = self.epoch.bytes(self.current.map(|current| self.next(current)));
        let wanted = u64::from(self.budget.wanted(&self.chunks)) * u64::from(CHUNK_SIZE);
        Occupancy {
            used: self.survivors.bytes + new,
            given_back: self.given_back(),
            least_room: budget::LEAST,
            wanted: Some(wanted),
            collection_pays: self.budget.is_spent(),
            frees_young: false,
        }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.walk_all(&mut |index, _| {
            VMGcRef::from_heap_index(index).into_iter().for_each(&mut *visit);
            Ok(())
        })
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.verify_all()
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats_without(self.given_back());
        let now = self.current.map(|current| self.next(current));
        let new = self.epoch.count(now, &|at, end, visit| self.core.walk(at, end, visit));
        stats.allocations += new.objects;
        stats.allocated_bytes += new.bytes;
        stats.live_objects = self.survivors.objects + new.objects;
        stats.live_bytes = self.survivors.bytes + new.bytes;
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.chunks.clear();
        self.current = None;
        self.epoch = Epoch::default();
        self.survivors = Survivors::default();
        self.set_up();
        host_data.clear();
        true
    }
}
