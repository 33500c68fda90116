//! [`HeapCore`] is the state that the heaps of all collectors have, with access to objects
//! (`header.rs`) and to their words (`words.rs`). All values read from the heap here (headers, type
//! indices, lengths, references) are untrusted. Inconsistent values are errors.

mod header;
mod words;

pub(crate) use header::{NO_KIND, NO_TYPE, PASSES_END};

use crate::policy::NurseryUsage;
use crate::{
    GcStats, HeapError, HeapGrowth, HeapMemory, HeapPlan, HeapUsage, Occupancy, RefusedBy,
    StoreSide,
};
use std::time::{Duration, Instant};

/// The state that the heaps of all collectors have.
///
/// # Examples
/// A heap that allocates by bumping an index, in the data words that emitted code uses too:
///
/// ```
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::collector::bump::{LIMIT, NEXT};
/// use gc_types::{GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout};
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
/// use std::sync::Arc;
///
/// let pair = TypeIndex::new(0).unwrap();
/// let layout = StructLayout::new([StorageType::Ref; 2]).unwrap();
/// let size = layout.size;
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// core.side.layouts.ensure(pair, &Arc::new(GcLayout::Struct(layout)))?;
///
/// core.memory.set_data_u32(NEXT, NULL_PAGE_SIZE);
/// core.memory.set_data_u32(LIMIT, core.memory.len() as u32);
/// let header = VMGcHeader::new(VMGcKind::StructRef, pair);
/// let index = core.bump(header, size).unwrap();
/// assert_eq!(index, NULL_PAGE_SIZE);
/// assert_eq!((core.header_at(index)?, core.size_at(index)?), (header, size));
///
/// // An index that is not in the heap is an error.
/// assert!(core.header_at(8).is_err());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct HeapCore {
    /// The heap's bytes and its data words.
    pub memory: HeapMemory,
    /// What the store tells its heap. While a store has a heap, the heap has this.
    pub side: StoreSide,
    /// Counters.
    pub stats: GcStats,
    /// The last plan of the policy. Collectors follow it.
    pub plan: HeapPlan,
    /// Bytes of objects that the last collection of the whole heap found alive.
    pub live: u64,
    /// Mapped bytes that are not in use. They do not count towards the limit.
    set_aside: u64,
    /// The most bytes that may be in use without another question to the policy: those that the heap began with, and
    /// those that were admitted.
    admitted: u64,
    /// Bytes that a heap with bytes [apart](HeapMemory::apart) may use without a question to the policy.
    initial: u64,
    /// Whether the last growth for which the policy had to be asked was refused, by whomever.
    refused: bool,
    /// The time when the plan was made, and the total time for which the mutator had been stopped
    /// until then.
    planned: (Instant, Duration),
    /// The same for the last collection of the nursery.
    emptied: (Instant, Duration),
    /// The first damage that a method without a `Result` found. The next allocation or collection
    /// reports it.
    pub damage: Option<HeapError>,
}

impl HeapCore {
    /// Makes the core of an empty heap in `memory`. A store has not told it anything yet.
    pub fn new(memory: HeapMemory) -> HeapCore {
        let side = StoreSide::default();
        let planned = (side.pauses.made(), Duration::ZERO);
        let mut core = HeapCore {
            set_aside: 0,
            admitted: 0,
            initial: memory.usable().saturating_sub(memory.apart().into()),
            refused: false,
            memory,
            side,
            stats: GcStats::default(),
            plan: HeapPlan::default(),
            live: 0,
            planned,
            emptied: planned,
            damage: None,
        };
        core.begin();
        core
    }

    /// Bytes that may be allocated, by the plan, between two collections of the whole heap.
    pub(crate) fn plan_room(&self) -> u64 {
        match self.plan.goal {
            u64::MAX => self.live.max(1 << 20),
            goal => goal.saturating_sub(self.live),
        }
    }

    /// Forgets every object and all counters. Keeps the mappings, the layouts, the policy
    /// and the limiter.
    pub fn reset(&mut self) {
        self.memory.reset();
        self.stats = GcStats::default();
        self.plan = HeapPlan::default();
        self.live = 0;
        self.damage = None;
        self.side.reset();
        self.planned = (self.side.pauses.made(), Duration::ZERO);
        self.emptied = self.planned;
        self.begin();
    }

    /// Counts the use of memory of an empty heap: all that is mapped. It may use as much without a question, or what it
    /// began with if bytes are [apart](HeapMemory::apart): then more may be mapped than was ever admitted.
    fn begin(&mut self) {
        self.set_aside = 0;
        self.admitted = match self.memory.apart() {
            0 => self.memory.usable(),
            _ => self.initial,
        };
        self.refused = false;
        self.count_heap_bytes();
    }

    /// Maps more memory ([`HeapMemory::grow`]), as much as the [limit](HeapCore::limit) allows, if the policy and the store's
    /// limiter admit it, and counts it. Returns how much.
    ///
    /// # Errors
    /// As [`HeapMemory::grow`]; [`HeapError::Refused`] by the policy or the limiter.
    pub fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let more = self.memory.growth(bytes.min(self.room()));
        if more > self.room() {
            return Err(HeapError::OutOfMemory { bytes, limit: self.memory.limit() });
        }
        self.admit(more)?;
        let grown = match self.memory.grow(more) {
            Ok(grown) => grown,
            Err(error) => {
                self.refused = true;
                if let Some(limiter) = &mut self.side.limiter {
                    limiter.grow_failed(&error);
                }
                return Err(error);
            }
        };
        self.count_heap_bytes();
        Ok(grown)
    }

    /// Asks the policy and the store's limiter whether `more` bytes may be used. They are asked only
    /// about bytes beyond those that the heap began with, and once about each.
    ///
    /// # Errors
    /// [`HeapError::Refused`] by one of them; [`HeapError::OutOfMemory`] if the limit does not allow it.
    pub fn admit(&mut self, more: u64) -> Result<(), HeapError> {
        if more > self.room() {
            return Err(HeapError::OutOfMemory { bytes: more, limit: self.memory.limit() });
        }
        let (asked, current) = (more.saturating_sub(self.unused()), self.admitted);
        if asked > 0 {
            self.refused = true;
            if !self.side.policy.admit(current, asked) {
                return Err(HeapError::Refused { bytes: asked, by: RefusedBy::Policy });
            }
            let maximum = self.limit();
            self.side.ask_limiter(HeapGrowth { current, desired: current + asked, maximum })?;
            self.admitted += asked;
            self.refused = false;
        }
        Ok(())
    }

    /// Uses `bytes` of the memory that was set aside.
    ///
    /// # Errors
    /// As [`admit`](HeapCore::admit). Then nothing changes.
    ///
    /// # Panics
    /// In debug builds, if less was set aside.
    pub fn use_set_aside(&mut self, bytes: u64) -> Result<(), HeapError> {
        self.admit(bytes)?;
        debug_assert!(bytes <= self.set_aside, "only mapped memory is set aside");
        self.set_aside = self.set_aside.saturating_sub(bytes);
        Ok(())
    }

    /// Sets `bytes` of the mapped memory aside, which are not in use any more. They may be used again, and the policy is not
    /// asked about as many.
    pub fn set_aside(&mut self, bytes: u64) {
        self.set_aside += bytes;
    }

    /// Bytes that are mapped and not set aside.
    pub fn in_use(&self) -> u64 {
        self.memory.usable().saturating_sub(self.set_aside)
    }

    /// The most bytes that may be in use.
    pub fn limit(&self) -> u64 {
        self.memory.limit() - u64::from(gc_types::NULL_PAGE_SIZE)
    }

    /// Bytes by which the use may grow.
    pub fn room(&self) -> u64 {
        self.limit().saturating_sub(self.in_use())
    }

    /// The most bytes that may be in use as far as is known: the limit, or what was admitted if the last growth was refused.
    pub fn ceiling(&self) -> u64 {
        if self.refused { self.admitted } else { self.limit() }
    }

    /// Bytes by which the use may grow without a question to the policy: the heap uses less than it began with, or less
    /// than it did.
    pub fn unused(&self) -> u64 {
        self.admitted.saturating_sub(self.in_use())
    }

    /// The input of the growth policy for a heap with this occupancy. The fields that only a plan
    /// needs are zero.
    pub fn usage(&self, occupancy: &Occupancy) -> HeapUsage {
        let Occupancy { used, given_back, least_room, wanted, frees_young, .. } = *occupancy;
        HeapUsage {
            live: self.live,
            used,
            mapped: self.memory.usable().saturating_sub(given_back),
            admitted: self.admitted,
            limit: self.limit(),
            least: least_room.max(self.side.stack_room()),
            wanted,
            frees_young,
            asked: self.side.asked,
            idle: self.side.given.is_some(),
            ..HeapUsage::default()
        }
    }

    /// Asks the policy for a [plan](HeapCore::plan). Every collection of the whole heap calls it
    /// when it knows the number of `live` bytes. [`HeapUsage`] describes `grown` and `gc_time`.
    pub fn make_plan(&mut self, occupancy: &Occupancy, live: u64, grown: u64, gc_time: Duration) {
        let now = Instant::now();
        let mutator_time = self.mutator_time(now);
        let usage = self.usage(occupancy);
        let usage = HeapUsage { live, used: live, grown, gc_time, mutator_time, ..usage };
        (self.plan, self.live) = (self.side.policy.plan(&usage), live);
        self.planned = (now, self.side.pauses.stopped());
        log::debug!("{live} bytes live in the GC heap: {:?}", self.plan);
    }

    /// The most bytes that the [policy](crate::GrowthPolicy::most_young) lets new objects have, now that a nursery of `used`
    /// bytes was collected in `gc_time`. With 0 bytes it learns nothing.
    pub(crate) fn most_young(&mut self, used: u64, gc_time: Duration) -> u64 {
        let (now, stopped) = (Instant::now(), self.side.pauses.stopped());
        let mut mutator_time = Duration::ZERO;
        if used > 0 {
            let (then, stopped_then) = std::mem::replace(&mut self.emptied, (now, stopped));
            let paused = stopped.saturating_sub(stopped_then);
            mutator_time = now.saturating_duration_since(then).saturating_sub(paused);
        }
        let idle = self.side.given.is_some();
        self.side.policy.most_young(&NurseryUsage { used, gc_time, mutator_time, idle })
    }

    /// The time for which the mutator has run from when the plan was made until `now`.
    fn mutator_time(&self, now: Instant) -> Duration {
        let (then, stopped_then) = self.planned;
        let stopped = self.side.pauses.stopped().saturating_sub(stopped_then);
        now.saturating_duration_since(then).saturating_sub(stopped)
    }

    /// Whether a collection of the whole heap is due because of the plan's `review` time, even if
    /// the heap is not full.
    pub fn review_is_due(&self) -> bool {
        self.planned.0.elapsed() >= self.plan.review
    }

    fn count_heap_bytes(&mut self) {
        self.stats.heap_bytes = self.memory.usable();
    }

    /// Updates the peak of the heap's memory. `given_back` bytes of the mapped memory were given
    /// back to the system. Called before each collection, when the heap is largest.
    pub(crate) fn count_peak(&mut self, given_back: u64) {
        let bytes = self.memory.usable().saturating_sub(given_back);
        self.stats.peak_heap_bytes = self.stats.peak_heap_bytes.max(bytes);
    }

    /// The counters of the heap. `given_back` bytes of its mapped memory were given back to the
    /// system.
    pub fn stats_without(&self, given_back: u64) -> GcStats {
        let mut stats = self.stats.clone();
        stats.heap_bytes = self.memory.usable().saturating_sub(given_back);
        stats
    }

    /// Records damage found where no error can be returned.
    #[cold]
    pub fn note_damage(&mut self, at: u32, what: &'static str) {
        HeapError::note(&mut self.damage, at, what);
    }

    /// Records that a collection was interrupted, unless it is `over`: complete, failed or
    /// abandoned. A collector that cannot leave the heap consistent calls this when its
    /// [collection](crate::GarbageCollection) is dropped.
    #[inline]
    pub fn check_over(&mut self, over: bool) {
        if !over {
            self.damage.get_or_insert(HeapError::Interrupted);
        }
    }

    /// Returns the recorded damage as an error.
    ///
    /// # Errors
    /// If damage was recorded since the heap was made or reset.
    #[inline]
    pub fn check_damage(&self) -> Result<(), HeapError> {
        match &self.damage {
            None => Ok(()),
            Some(damage) => Err(damage.clone()),
        }
    }
}

/// Calls `grow` with `bytes`. While it fails, tries half of that, down to `least`.
///
/// # Errors
/// The error of `grow` for `least` bytes, or an error that less memory would not avoid.
///
/// # Examples
/// ```
/// use gc_heap::{HeapError, RefusedBy, by_halves};
///
/// // The policy admits no more than 300 bytes.
/// let grow = |bytes| match bytes {
///     0..=300 => Ok(bytes),
///     _ => Err(HeapError::Refused { bytes, by: RefusedBy::Policy }),
/// };
/// assert_eq!(by_halves(1000, 100, grow), Ok(250));
/// assert!(by_halves(1000, 400, grow).is_err());
/// ```
pub fn by_halves(
    bytes: u64,
    least: u64,
    mut grow: impl FnMut(u64) -> Result<u64, HeapError>,
) -> Result<u64, HeapError> {
    let mut step = bytes.max(least);
    loop {
        match grow(step) {
            Err(HeapError::Refused { .. } | HeapError::NoMemory { .. }) if step > least => {
                step = (step / 2).max(least);
            }
            result => return result,
        }
    }
}
