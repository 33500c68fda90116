//! [`Nursery`]: where objects are allocated one after the other, inline, and from which a collection moves those that
//! live.
//!
//! Most objects die young (David Ungar, "Generation Scavenging: A Non-disruptive High Performance
//! Storage Reclamation Algorithm", 1984). The nursery is at the begin of the heap
//! ([`gc_types::collector::nursery`]), has all of its addresses from the start, and uses a part of them, which is
//! handed out in chunks. A chunk is zeroed just before it is handed out, so it is in the cache when objects are made
//! there, and a short program touches little memory. Every collection moves its new objects elsewhere: to the old
//! generation, or to a part at the nursery's end ([`Survivors`]). Survivors for which there is no room elsewhere are
//! *retained*: they stay where they are, and nothing is allocated in the nursery until a later collection finds room.

pub mod size;
mod survivors;

pub(crate) use survivors::Room;
pub use survivors::Survivors;

use super::{Count, Epoch};
use crate::{HeapCore, HeapError, HeapMemory};
use gc_types::VMGcHeader;
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::collector::nursery::NURSERY_START;
use std::num::NonZeroU32;

/// The most bytes that are zeroed at a time, if one object does not need more.
pub const CHUNK: u32 = 32 << 10;
/// The largest nursery is this number of times as large as the largest object that the host allocates in it.
const OBJECTS: u32 = 8;

/// A nursery. Its other half are the words [`NEXT`] and [`LIMIT`] in the heap data: objects are allocated between
/// them.
///
/// # Examples
/// ```
/// use gc_heap::space::Nursery;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::collector::nursery::NURSERY_START;
/// use gc_types::{GcLayout, StorageType, StructLayout, TypeIndex, VMGcHeader, VMGcKind};
/// use std::sync::Arc;
///
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let pair = TypeIndex::new(0).unwrap();
/// let layout = StructLayout::new([StorageType::Ref; 2]).unwrap();
/// core.side.layouts.ensure(pair, &Arc::new(GcLayout::Struct(layout)))?;
///
/// let mut nursery = Nursery::new(64 << 10, 8 << 10);
/// nursery.renew(&mut core.memory);
/// nursery.set_limit(&mut core.memory, nursery.survivors.start());
/// let header = VMGcHeader::new(VMGcKind::StructRef, pair);
/// assert_eq!(nursery.bump(&mut core, header, 16), None, "no chunk was handed out");
/// assert!(nursery.refill(&mut core.memory, 16));
/// assert_eq!(nursery.bump(&mut core, header, 16), Some(NURSERY_START));
/// assert_eq!((nursery.used(&core.memory), nursery.young(&core).objects), (16, 1));
///
/// nursery.settle(&core);
/// nursery.empty(&mut core.memory);
/// assert_eq!((nursery.used(&core.memory), nursery.allocated(&core).objects), (0, 1));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Nursery {
    /// Its end, mapped or not.
    end: u32,
    /// The end of the part in use.
    limit: u32,
    /// The most bytes of a chunk.
    chunk: u32,
    /// Memory from here on was never used or was given back, and is zero.
    touched: u32,
    /// The system was asked to provide the memory up to here.
    asked: u32,
    /// The objects that have survived one collection.
    pub survivors: Survivors,
    /// Objects that were retained, ascending, and their bytes.
    retained: Vec<u32>,
    retained_bytes: u64,
    /// The objects in it, unless some were retained.
    epoch: Epoch,
    /// The objects that were allocated in earlier epochs. And in this one, if that is over and its objects are being
    /// moved or were retained.
    allocated: Count,
    settled: bool,
}

impl Nursery {
    /// A nursery of at most `size` bytes, of which none is in use. Each half for survivors has at most `survivors` of
    /// them, and at most a quarter. The nursery must be [renewed](Nursery::renew) before the first allocation.
    pub fn new(size: u32, survivors: u32) -> Nursery {
        Nursery {
            end: NURSERY_START + size,
            limit: NURSERY_START,
            chunk: CHUNK,
            touched: NURSERY_START,
            asked: NURSERY_START,
            survivors: Survivors::new(NURSERY_START..NURSERY_START + size, survivors),
            retained: Vec::new(),
            retained_bytes: 0,
            epoch: Epoch::default(),
            allocated: Count::default(),
            settled: false,
        }
    }

    // ---- bounds -----------------------------------------------------------------

    /// The end of the largest nursery. No young object is at or after it.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Bytes of the largest nursery.
    #[inline(always)]
    pub fn most(&self) -> u32 {
        self.end - NURSERY_START
    }

    /// Bytes of the largest part for new objects.
    pub fn most_new(&self) -> u32 {
        self.survivors.start() - NURSERY_START
    }

    /// The end of the part in use for new objects.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Bytes that are used before the nursery is collected.
    pub fn size(&self) -> u32 {
        self.limit - NURSERY_START
    }

    /// Whether the reference `word` refers into the nursery.
    #[inline(always)]
    pub fn is_young(&self, word: u32) -> bool {
        gc_types::collector::nursery::is_young(word, self.most())
    }

    /// The place of the next object.
    #[inline]
    pub fn next(&self, memory: &HeapMemory) -> u32 {
        memory.data_u32(NEXT)
    }

    /// Bytes of new objects, dead or alive.
    pub fn used(&self, memory: &HeapMemory) -> u32 {
        self.next(memory).saturating_sub(NURSERY_START)
    }

    /// The end of the memory that was handed out.
    pub fn handed_out(&self, memory: &HeapMemory) -> u32 {
        self.next(memory).max(memory.data_u32(LIMIT))
    }

    /// The largest object that the host should allocate here. Emitted code may allocate larger ones. It fits the part
    /// in use.
    pub fn max_object(&self) -> u32 {
        (self.most_new() / OBJECTS).min(CHUNK).min(self.size())
    }

    /// The end of the part that was used since the nursery was new, or since its memory was given back.
    pub fn touched(&self) -> u32 {
        self.touched
    }

    /// Bytes that are not used and have no memory.
    pub fn unbacked(&self) -> u64 {
        let used = self.limit.max(self.touched) - NURSERY_START;
        u64::from(self.most() - used) - self.survivors.touched()
    }

    /// Sets the end of the part in use, at most that of the largest nursery, and behind all objects. Gives back what is
    /// no longer used.
    pub fn set_limit(&mut self, memory: &mut HeapMemory, limit: u32) {
        debug_assert!(
            (self.handed_out(memory).max(NURSERY_START)..=self.survivors.start()).contains(&limit)
        );
        self.limit = limit;
        let unused = self.touched.saturating_sub(limit);
        if unused > 0 {
            let _mapped = memory.give_back(limit.into(), unused.into());
            self.touched = limit;
            self.asked = self.asked.min(limit);
        }
    }

    // ---- allocation -----------------------------------------------------------------

    fn set_bounds(&mut self, memory: &mut HeapMemory, next: u32, limit: u32) {
        memory.set_data_u32(NEXT, next);
        memory.set_data_u32(LIMIT, limit);
    }

    /// Prevents emitted code from allocating in the rest of the current chunk.
    pub fn close(&mut self, memory: &mut HeapMemory) {
        let next = self.next(memory);
        self.set_bounds(memory, next, next);
    }

    /// Makes the nursery empty.
    pub fn empty(&mut self, memory: &mut HeapMemory) {
        self.set_bounds(memory, NURSERY_START, NURSERY_START);
        self.retained.clear();
        self.retained_bytes = 0;
        self.epoch.clear();
        self.epoch.open(NURSERY_START);
        self.settled = false;
    }

    /// Resets the nursery to that of a new heap, of which nothing is in use. Its bytes must be zero.
    pub fn renew(&mut self, memory: &mut HeapMemory) {
        *self = Nursery::new(self.most(), self.survivors.size());
        self.empty(memory);
    }

    /// Hands out another chunk that is large enough for an object of `size` bytes. Returns whether
    /// there is one.
    pub fn refill(&mut self, memory: &mut HeapMemory, size: u32) -> bool {
        if self.retains() {
            return false;
        }
        let (next, limit) = (memory.data_u32(NEXT), memory.data_u32(LIMIT));
        let end = self.limit;
        let needed = u64::from(next) + u64::from(size);
        if limit < next || needed > u64::from(end) {
            return false;
        }
        let new = end.min((needed as u32).max(limit.saturating_add(self.chunk)));
        let dirty = new.min(self.touched).saturating_sub(limit);
        if memory.fill(u64::from(limit), u64::from(dirty), 0).is_none() {
            return false;
        }
        self.epoch.split(next, CHUNK);
        memory.set_data_u32(LIMIT, new);
        self.touched = self.touched.max(new);
        true
    }

    /// Limits chunks, also the current one, to `bytes`.
    pub fn limit_chunks(&mut self, memory: &mut HeapMemory, bytes: Option<NonZeroU32>) {
        self.chunk = bytes.map_or(CHUNK, |bytes| bytes.get().min(CHUNK));
        let (next, limit) = (self.next(memory), memory.data_u32(LIMIT));
        // The memory after the limit is zero. It is zeroed again when it becomes part of a chunk.
        self.set_bounds(memory, next, limit.min(next.saturating_add(self.chunk)));
    }

    /// If the part in use is used for the first time, and at least `least` bytes of it were: lets the system provide
    /// the memory for the rest. Returns whether this is the first such call since the nursery was renewed.
    pub fn touch_ahead(&mut self, memory: &HeapMemory, least: u32) -> bool {
        let (from, limit) = (self.touched, self.limit);
        if self.handed_out(memory) < from || from < NURSERY_START + least || self.asked >= limit {
            return false;
        }
        let is_first = self.asked == NURSERY_START;
        memory.touch_ahead(from.into(), u64::from(limit.saturating_sub(from)));
        self.asked = limit;
        is_first
    }

    /// Allocates by bumping the next index, as emitted code does.
    #[inline]
    pub fn bump(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        let next = core.bump(header, size)?;
        self.epoch.count_host(size);
        Some(next)
    }

    // ---- survivors that stay ------------------------------------------------------------

    /// Whether objects that survived a collection are in it.
    #[inline]
    pub fn retains(&self) -> bool {
        !self.retained.is_empty()
    }

    /// The objects that survived a collection in place, ascending.
    pub fn retained(&self) -> &[u32] {
        &self.retained
    }

    /// Their bytes.
    pub fn retained_bytes(&self) -> u64 {
        self.retained_bytes
    }

    /// Takes the list of retained objects. It must be given back with [`retain`](Nursery::retain), or the nursery be
    /// [emptied](Nursery::empty), before anything else happens.
    pub fn take_retained(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.retained)
    }

    /// Retains objects of so many bytes, which a collection has found. All other objects are gone. There must be some:
    /// otherwise the nursery is [emptied](Nursery::empty).
    pub fn retain(&mut self, mut objects: Vec<u32>, bytes: u64) {
        debug_assert!(!objects.is_empty());
        objects.sort_unstable();
        (self.retained, self.retained_bytes) = (objects, bytes);
    }

    // ---- objects --------------------------------------------------------------------------

    /// Calls `visit` with the index and the size of each object, in address order: new ones, and then survivors. If
    /// objects were retained, visits only those.
    ///
    /// # Errors
    /// If an object is damaged; that of `visit`.
    pub fn walk(
        &self,
        core: &HeapCore,
        mut visit: impl FnMut(u32, u32) -> Result<(), HeapError>,
    ) -> Result<(), HeapError> {
        if self.retains() {
            return self.retained.iter().try_for_each(|&index| visit(index, core.size_at(index)?));
        }
        core.walk(NURSERY_START, self.next(&core.memory), &mut visit)?;
        let survivors = self.survivors.objects();
        core.walk(survivors.start, survivors.end, visit)
    }

    /// Counts the new objects, or the retained ones. Does not walk over an object often.
    pub fn young(&self, core: &HeapCore) -> Count {
        if self.retains() {
            let mut count = Count::default();
            self.retained.iter().filter_map(|&at| core.size_at(at).ok()).for_each(|n| count.add(n));
            return count;
        }
        let walk = |at, end, visit: &mut dyn FnMut(u32, u32) -> _| core.walk(at, end, visit);
        self.epoch.count(Some(self.next(&core.memory)), &walk)
    }

    /// Counts what was allocated, before a collection moves objects. The objects of emitted code are not
    /// counted one by one ([`Epoch::estimate`]).
    pub fn settle(&mut self, core: &HeapCore) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        self.epoch.close(self.next(&core.memory));
        let walk = |at, end, visit: &mut dyn FnMut(u32, u32) -> _| core.walk(at, end, visit);
        let more = match core.memory.zeal() {
            0 => self.epoch.estimate(&walk),
            _ => self.epoch.count(None, &walk),
        };
        self.allocated.add_all(more);
    }

    /// All objects that were allocated here since the heap was new.
    pub fn allocated(&self, core: &HeapCore) -> Count {
        let mut all = self.allocated;
        if !self.settled {
            all.add_all(self.young(core));
        }
        all
    }

    /// Checks that the memory in which emitted code may allocate is zero, and inside the nursery.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_free(&self, memory: &HeapMemory) -> Result<(), HeapError> {
        let (next, limit) = (self.next(memory), memory.data_u32(LIMIT));
        if limit > self.survivors.start() || u64::from(limit) > memory.len() && limit > next {
            let what = "emitted code may allocate outside the nursery";
            return Err(HeapError::Corrupt { at: limit, what });
        }
        match (next..limit).step_by(8).find(|&at| memory.read_u64(at.into()) != Some(0)) {
            Some(at) => {
                Err(HeapError::Corrupt { at, what: "free memory of the nursery is not zero" })
            }
            None => Ok(()),
        }
    }
}
