//! [`Semispace`]: a space whose live objects are copied to free memory.
//!
//! C. J. Cheney, "A Nonrecursive List Compacting Algorithm", 1970. Emitted code allocates objects
//! one after the other, inline, between the data words [`NEXT`] and [`LIMIT`]. A collection copies the
//! reachable objects to free memory ([`Copying`]). Barriers do nothing, and dead objects cost nothing.
//!
//! The two spaces are not halves of the heap. They are sets of chunks from one pool (`chunks.rs`),
//! so they are as large as their live objects. The space estimates from the survivors of the
//! last collections how many chunks may be filled before the next one (`budget.rs`). If more
//! objects survive than there is room for, the others are marked in place, and chunks with little
//! in them are emptied next. So a heap at its limit degrades to stepwise compaction (an idea of
//! Immix: Stephen M. Blackburn and Kathryn S. McKinley, 2008). A large object has its own chunks
//! and never moves.

mod budget;
mod check;
mod chunks;
mod copying;
mod pass;

pub use chunks::CHUNK_SIZE;
pub use copying::Copying;

use super::{Count, Epoch, Visit};
use crate::{HeapCore, HeapError, HeapMemory};
use budget::Budget;
use chunks::{Chunks, State};
use copying::Collected;
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader};

/// Larger objects get their own chunks, unless they fit between `NEXT` and `LIMIT`.
const SMALL: u32 = CHUNK_SIZE / 2;

/// Bytes by which `LIMIT` advances. They are zeroed just before the program writes them, so that
/// they are in a cache then.
const PIECE: u32 = 16 << 10;

const WRONG_SIZE: &str = "a large object has a wrong size";

/// A space in chunks, which is all of a heap.
///
/// # Examples
/// ```
/// use gc_heap::space::semispace::Semispace;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
///
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let mut space = Semispace::new(&mut core.memory);
/// let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
/// let first = space.alloc(&mut core, header, 16).unwrap();
/// assert_eq!(space.alloc(&mut core, header, 16), Some(first + 16));
/// assert_eq!(space.used_bytes(&core.memory), 32);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Semispace {
    chunks: Chunks,
    budget: Budget,
    /// The chunk that contains `NEXT`. Without a chunk, nothing fits below `LIMIT`.
    current: Option<usize>,
    /// The objects that were allocated since the last collection.
    epoch: Epoch,
    /// The objects that were allocated before that.
    allocated: Count,
    /// The objects that the last collection found alive.
    survivors: Count,
    /// Bytes of those that are not large.
    small_bytes: u64,
    /// The collection under way.
    collected: Collected,
}

impl Semispace {
    /// The least bytes that should be allocated between two collections.
    pub const LEAST: u64 = budget::LEAST;

    /// An empty space in all of `memory`, which must be zero.
    pub fn new(memory: &mut HeapMemory) -> Semispace {
        let chunks = Chunks::default();
        let mut space = Semispace {
            budget: Budget::new(&chunks),
            chunks,
            current: None,
            epoch: Epoch::default(),
            allocated: Count::default(),
            survivors: Count::default(),
            small_bytes: 0,
            collected: Collected::default(),
        };
        space.chunks.extend(memory.usable());
        space.budget = Budget::new(&space.chunks);
        space.set_cursor(memory, NULL_PAGE_SIZE, NULL_PAGE_SIZE);
        space
    }

    fn set_cursor(&mut self, memory: &mut HeapMemory, next: u32, limit: u32) {
        memory.set_data_u32(NEXT, next);
        memory.set_data_u32(LIMIT, limit);
    }

    // ---- what it has, and needs -------------------------------------------------

    /// Bytes of the chunks whose pages were returned to the system.
    pub fn given_back(&self) -> u64 {
        u64::from(self.chunks.given_back()) * u64::from(CHUNK_SIZE)
    }

    /// The bytes of all objects, dead or alive.
    pub fn used_bytes(&self, memory: &HeapMemory) -> u64 {
        self.survivors.bytes + self.epoch.bytes(self.now(memory))
    }

    /// The bytes of the chunks in use.
    pub fn used_chunk_bytes(&self) -> u64 {
        u64::from(self.chunks.used()) * u64::from(CHUNK_SIZE)
    }

    /// Bytes that are needed to allocate as much as the plan allows, and to copy the expected survivors, and that the
    /// space may not use yet.
    pub fn wanted(&self) -> u64 {
        u64::from(self.budget.wanted(&self.chunks)) * u64::from(CHUNK_SIZE)
    }

    /// Whether enough was allocated to make a collection worth its cost.
    pub fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// All objects that were allocated since the heap was new, and those of them that may be alive.
    pub fn counts(&self, core: &HeapCore) -> (Count, Count) {
        let walk = |at, end, visit: Visit<'_>| core.walk(at, end, visit);
        let new = self.epoch.count(self.now(&core.memory), &walk);
        let (mut allocated, mut live) = (self.allocated, self.survivors);
        allocated.add_all(new);
        live.add_all(new);
        (allocated, live)
    }

    /// `NEXT`, if a chunk is being filled.
    fn now(&self, memory: &HeapMemory) -> Option<u32> {
        self.current.map(|current| self.next(memory, current))
    }

    /// `NEXT`, which is in the current chunk.
    fn next(&self, memory: &HeapMemory, current: usize) -> u32 {
        memory.data_u32(NEXT).clamp(Chunks::start(current), Chunks::limit(current))
    }

    /// The end of the objects in the chunk, also if the chunk is being filled.
    fn end_of(&self, memory: &HeapMemory, chunk: usize) -> u32 {
        match self.current {
            Some(current) if current == chunk => self.next(memory, chunk),
            _ => self.chunks.end(chunk),
        }
    }

    // ---- allocation ---------------------------------------------------------------

    /// Allocates by bumping the next index, as emitted code does.
    #[inline]
    pub fn bump(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        let next = core.bump(header, size)?;
        self.epoch.count_host(size);
        Some(next)
    }

    /// Allocates an object of `size` bytes, if there is room.
    pub fn alloc(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        match self.bump(core, header, size) {
            Some(object) => Some(object),
            None if size > SMALL => self.alloc_large(core, header, size),
            None => self.make_room(core, size).and_then(|()| self.bump(core, header, size)),
        }
    }

    /// Makes room for an object of `size` bytes at `NEXT`, if possible.
    #[cold]
    fn make_room(&mut self, core: &mut HeapCore, size: u32) -> Option<()> {
        if let Some(current) = self.current {
            let next = self.next(&core.memory, current);
            let limit = core.memory.data_u32(LIMIT);
            let end = Chunks::limit(current);
            if size <= end - next {
                let new = limit.saturating_add(PIECE).max(next + size).min(end);
                core.memory.fill(limit.into(), u64::from(new.checked_sub(limit)?), 0)?;
                core.memory.set_data_u32(LIMIT, new);
                return Some(());
            }
        }
        if size > CHUNK_SIZE || !self.budget.take_small(&self.chunks) {
            return None;
        }
        self.retire(core);
        let (chunk, zero) = self.chunks.take()?;
        let start = Chunks::start(chunk);
        let limit = if zero { CHUNK_SIZE } else { size.max(PIECE) };
        if !zero {
            core.memory.fill(start.into(), limit.into(), 0)?;
        }
        self.fill_from(&mut core.memory, chunk, start, start + limit);
        Some(())
    }

    /// Closes the chunk that is being filled.
    fn retire(&mut self, core: &mut HeapCore) {
        let Some(current) = self.current.take() else { return };
        let next = self.next(&core.memory, current);
        if next != core.memory.data_u32(NEXT) {
            core.note_damage(next, "the next object's index is not in its chunk");
        }
        self.chunks.set_end(current, next);
        self.epoch.close(next);
        self.set_cursor(&mut core.memory, NULL_PAGE_SIZE, NULL_PAGE_SIZE);
    }

    /// From now on allocates in `chunk` at `next`. The chunk's bytes from there up to `limit` are
    /// zero.
    fn fill_from(&mut self, memory: &mut HeapMemory, chunk: usize, next: u32, limit: u32) {
        self.current = Some(chunk);
        self.epoch.open(next);
        self.set_cursor(memory, next, limit);
    }

    fn alloc_large(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        let count = size.div_ceil(CHUNK_SIZE);
        if !self.budget.admits_large(&self.chunks, count) {
            return None;
        }
        let head = self.chunks.take_run(&mut core.memory, count, size)?;
        self.budget.count_large(count);
        let index = Chunks::start(head);
        core.set_header_at(index, header)?;
        self.epoch.count_large(size);
        Some(index)
    }

    /// Allows more of the existing chunks, or maps more, for `bytes` bytes. Returns for how many bytes.
    ///
    /// # Errors
    /// If that is refused.
    pub fn grow(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        let count = bytes.div_ceil(u64::from(CHUNK_SIZE));
        let raised = self.budget.raise(&self.chunks, u32::try_from(count).unwrap_or(u32::MAX));
        if raised > 0 {
            return Ok(u64::from(raised) * u64::from(CHUNK_SIZE));
        }
        let grown = core.grow(count.saturating_mul(CHUNK_SIZE.into()))?;
        self.chunks.extend(core.memory.usable());
        self.budget.allow_all(&self.chunks);
        Ok(grown)
    }

    // ---- objects --------------------------------------------------------------------

    /// Calls `visit` with the index and the size of each object, in address order.
    ///
    /// # Errors
    /// If an object is damaged; that of `visit`.
    pub fn walk(&self, core: &HeapCore, visit: Visit<'_>) -> Result<(), HeapError> {
        let mut chunks = 0..self.chunks.len() as usize;
        chunks.try_for_each(|chunk| self.walk_chunk(core, chunk, visit))
    }

    fn walk_chunk(&self, core: &HeapCore, chunk: usize, visit: Visit<'_>) -> Result<(), HeapError> {
        match self.chunks.state(chunk) {
            Some(State::Live | State::From | State::Stay) if self.chunks.is_retained(chunk) => {
                let end = self.chunks.end(chunk);
                for index in self.chunks.marked(chunk) {
                    visit(index, core.size_before(index, end)?)?;
                }
            }
            Some(State::Live | State::From | State::Stay) => {
                core.walk(Chunks::start(chunk), self.end_of(&core.memory, chunk), visit)?;
            }
            Some(State::Large) => {
                let (index, end) = (Chunks::start(chunk), self.chunks.end(chunk));
                let size = core.size_before(index, end)?;
                if size != end - index {
                    return Err(HeapError::Corrupt { at: index, what: WRONG_SIZE });
                }
                visit(index, size)?;
            }
            Some(State::LargeTail | State::Free) | None => {}
        }
        Ok(())
    }
}
