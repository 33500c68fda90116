//! `generational`: a bump nursery in front of a mark-region old generation.
//!
//! Most objects die young (David Ungar, "Generation Scavenging: A Non-disruptive High Performance
//! Storage Reclamation Algorithm", 1984). Emitted code allocates them inline in the nursery
//! (`nursery.rs`), one after the other. When it is full, a minor collection (`minor.rs`) moves its
//! reachable objects to the old generation, and the nursery is empty. A trace (`trace.rs`) does the
//! same, but does not treat old objects as alive. The old generation (`old.rs`) is Immix: blocks of
//! lines for small objects, runs of pages for large ones (Stephen M. Blackburn and Kathryn S.
//! McKinley, "Immix: A Mark-Region Garbage Collector with Space Efficiency, Fast Collection, and
//! Mutator Performance", 2008). It is marked (`marking.rs`) and swept (`major.rs`), and blocks with
//! many holes are emptied (`evacuate.rs`), when it has become as large as the heap's growth policy
//! planned (`policy.rs`), when there is no other way to make room, and when a collection is requested.
//!
//! The barriers record references from old objects and from slots outside the heap to young objects
//! in native tables (`tables.rs`). These tables, and all indices and sizes on which a collection
//! depends, are outside the heap. Values read from the heap are checked with the map of old objects
//! and the nursery's bounds.

mod collect;
mod major;
mod minor;
mod nursery;
mod nursery_size;
mod policy;
mod ranges;
mod scavenge;
mod tables;
#[cfg(test)]
mod tests;
mod trace;
mod verify;
mod weak;

use crate::space::Count;
use crate::space::mark_region::MarkRegion;
use crate::space::mark_region::blocks::{BLOCK_SIZE, MAX_SMALL};
use crate::trace::shapes::Shapes;
use crate::{
    CollectorOption, ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRequest,
    GcRootsList, GcRuntime, GcStats, HeapCore, HeapError, HeapMemory, Idle, LastResort, Occupancy,
};
use collect::{GenerationalCollection, StoreTables};
use gc_types::collector::generational::{self, NAME, NURSERY, nursery_size};
use gc_types::{ArrayLayout, CollectorAbi, GcLayout, VMGcHeader, VMGcKind, VMGcRef};
use major::{Major, Phase};
use minor::Scavenger;
use nursery::Nursery;
use nursery_size::Sizing;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tables::Tables;
use trace::Chooser;

/// The runtime half of `generational`: makes its heaps.
///
/// ```
/// use gc_runtime::GcRuntime;
/// use gc_runtime::collector::GenerationalCollector;
///
/// let collector = GenerationalCollector::new().with_nursery(4 << 20);
/// assert_eq!(collector.heap_abi(1 << 30).option("nursery"), Some(4 << 20));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GenerationalCollector {
    nursery: u64,
}

impl GenerationalCollector {
    /// The default maximal size of the nursery in bytes.
    pub const DEFAULT_NURSERY: u64 = 64 << 20;

    /// A collector with the default options.
    pub const fn new() -> GenerationalCollector {
        GenerationalCollector { nursery: GenerationalCollector::DEFAULT_NURSERY }
    }

    /// Sets the maximal size of the nursery in bytes. A large nursery is collected less often and
    /// promotes less. A small one has shorter pauses and stays in a cache. The collector chooses
    /// how much of the nursery it uses: as much as fits the machine's cache, and more only if old
    /// objects take eight times as much and few young objects survive. It uses no more than it can
    /// empty in about the time of [`HeapOptions::pause_target`](crate::HeapOptions::pause_target), and
    /// 256 KiB. A nursery is never larger than
    /// an eighth of the heap's maximal size.
    #[must_use]
    pub const fn with_nursery(self, bytes: u64) -> GenerationalCollector {
        GenerationalCollector { nursery: bytes }
    }

    /// The size in bytes of the nursery of a heap with at most `maximum` bytes.
    fn nursery_size(&self, maximum: u64) -> u32 {
        nursery_size(self.nursery, maximum)
    }
}

impl Default for GenerationalCollector {
    fn default() -> GenerationalCollector {
        GenerationalCollector::new()
    }
}

impl GcRuntime for GenerationalCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "most programs: a nursery and an old generation that is marked in slices, with short pauses; \
         barriers in reference stores"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let nursery = self.nursery_size(memory.maximum());
        Ok(Box::new(GenerationalHeap::new(memory, nursery)?))
    }

    fn abi(&self) -> CollectorAbi {
        generational::abi()
    }

    fn heap_abi(&self, maximum: u64) -> CollectorAbi {
        self.abi().with(NURSERY, self.nursery_size(maximum).into())
    }

    fn options(&self) -> Vec<CollectorOption> {
        vec![CollectorOption {
            name: NURSERY,
            value: self.nursery,
            help: "the most bytes of the nursery, and never more than an eighth of the heap's maximum",
        }]
    }

    fn with_option(&self, name: &str, value: u64) -> Result<Arc<dyn GcRuntime>, HeapError> {
        match name {
            NURSERY => Ok(Arc::new(self.with_nursery(value))),
            _ => Err(HeapError::Options {
                what: format!("the collector `{NAME}` has no option `{name}`"),
            }),
        }
    }
}

/// While blocks wait for evacuation, a new array of references has at most this number of bytes.
const MOST_DIRTY: u32 = 1 << 20;

struct GenerationalHeap {
    core: HeapCore,
    shapes: Shapes,
    nursery: Nursery,
    sizing: Sizing,
    old: MarkRegion,
    tables: Tables,
    scavenger: Scavenger,
    major: Major,
    chooser: Chooser,
    /// Whether the last growth of the heap was refused.
    cramped: bool,
    /// Whether the heap has grown since the last collection.
    grown: bool,
    /// Whether the last allocation that found no room would find none in an empty nursery.
    large_wanted: bool,
    /// Bytes that survived the last minor collection.
    survived: u64,
    /// Objects that were allocated, except those in a nursery that was not counted.
    allocated: Count,
    nursery_counted: bool,
    /// Collections that zeal asked for.
    zeal_count: u32,
}

impl GenerationalHeap {
    fn new(memory: HeapMemory, nursery: u32) -> Result<GenerationalHeap, HeapError> {
        let nursery = Nursery::new(nursery);
        let old = MarkRegion::new(nursery.end, memory.maximum());
        let tables = Tables::new(&memory, nursery.end)?;
        let mut heap = GenerationalHeap {
            core: HeapCore::new(memory),
            shapes: Shapes::default(),
            nursery,
            sizing: Sizing::default(),
            old,
            tables,
            scavenger: Scavenger::default(),
            major: Major::default(),
            chooser: Chooser::default(),
            cramped: false,
            grown: false,
            large_wanted: false,
            survived: 0,
            allocated: Count::default(),
            nursery_counted: false,
            zeal_count: 0,
        };
        heap.take_mapped();
        heap.renew_nursery();
        Ok(heap)
    }

    fn has_zeal(&self) -> bool {
        self.core.memory.zeal() != 0
    }

    /// Allocates in the old generation.
    fn alloc_old(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        let index = self.take_old(|old, memory| old.alloc_zeroed(memory, size))?;
        self.core.set_header_at(index, header)?;
        if self.core.layouts.get(header.ty()).is_some_and(GcLayout::has_refs) {
            if size <= ArrayLayout::MAX_EXAMINED || header.kind() != Some(VMGcKind::ArrayRef) {
                // Stores into it before the next collection run no barrier.
                self.tables.cards.dirty_all(index, index + size);
            } else if size > MOST_DIRTY && self.major.evacuator.is_active() {
                // Otherwise every card of it would become dirty, whatever is stored.
                self.cancel_evacuation();
            }
        }
        if size > MAX_SMALL {
            self.major.large += u64::from(size);
        }
        self.allocated.add(size);
        VMGcRef::from_heap_index(index)
    }

    /// The barrier for a store of a reference outside the heap, in the slot at `address`.
    fn remember_slot(&mut self, address: usize, word: u32) {
        if self.is_young(word) {
            self.tables.remember(address);
        }
    }

    /// The barrier for every store of a reference into the heap, into the slot at `at`.
    #[inline]
    fn remember_field(&mut self, at: u64, word: u32) {
        if at >= u64::from(self.nursery.end) {
            if self.is_young(word) {
                self.tables.cards.dirty(at as u32);
            } else {
                self.note_slot(at, word);
            }
        }
    }
}

impl GcHeap for GenerationalHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn counts_handles(&self) -> bool {
        false
    }

    /// While marking is under way, what was reachable when it began is alive, and what is allocated
    /// since. The object of a weak reference may be neither.
    fn read_weak_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        if self.major.phase == Phase::Marking {
            self.mark(gc_ref.as_raw_u32());
        }
        gc_ref.unchecked_copy()
    }

    fn write_gc_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        *destination = source.map(VMGcRef::unchecked_copy);
        if let Some(source) = source {
            self.remember_slot(std::ptr::from_mut(destination).addr(), source.as_raw_u32());
        }
    }

    fn write_field_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        let word = source.map_or(0, VMGcRef::as_raw_u32);
        if self.major.phase == Phase::Marking
            && let Some(old) = self.core.memory.read_u32(at)
        {
            self.mark(old);
        }
        self.core.write_ref_at(at, source)?;
        self.remember_field(at, word);
        Ok(())
    }

    fn copy_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
        self.copy_refs(to, from, count)
    }

    fn fill_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        self.fill_refs(at, source, count)
    }

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.bump(header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        if let Some(object) = self.alloc_fast(header, size) {
            return Ok(object);
        }
        self.major_slice();
        self.core.check_damage()?;
        let large = size > self.nursery.max_object();
        if !large
            && self.refill(size)
            && let Some(object) = self.alloc_fast(header, size)
        {
            return Ok(object);
        }
        if (large || self.core.no_gc_scopes > 0)
            && let Some(object) = self.alloc_old(header, size)
        {
            return Ok(object);
        }
        self.large_wanted = large;
        Err(HeapError::NeedsRoom { bytes: size.into() })
    }

    /// If no collection can empty the nursery, objects are allocated in the old generation.
    fn alloc_last_resort(
        &mut self,
        header: VMGcHeader,
        size: u32,
        why: LastResort,
    ) -> Result<VMGcRef, HeapError> {
        match (self.alloc_raw(header, size), why) {
            (Err(HeapError::NeedsRoom { bytes }), LastResort::NoCollection) => {
                self.alloc_old(header, size).ok_or(HeapError::NeedsRoom { bytes })
            }
            (result, _) => result,
        }
    }

    fn limit_inline_allocation(&mut self, bytes: Option<NonZeroU32>) -> bool {
        self.limit_chunks(bytes);
        true
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        if !self.nursery.is_mapped(self.core.memory.len()) {
            match self.map_nursery(bytes) {
                Err(HeapError::Refused { .. } | HeapError::NoMemory { .. }) => {}
                grown => {
                    self.grown = true;
                    return grown;
                }
            }
        }
        // For the next collection, if the nursery cannot grow.
        let missing = self.expected().saturating_sub(self.old.free_bytes()) + u64::from(BLOCK_SIZE);
        let grown = self.map_old(bytes.max(missing), bytes.max(BLOCK_SIZE.into()))?;
        self.grown = true;
        Ok(grown)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.assert_may_collect();
        let GcRequest { cause, roots, host_data, weak, .. } = request;
        let kind = self.choose(cause, host_data);
        if cause != GcCause::NoRoom {
            self.reserve();
        }
        self.grown = false;
        let roots = self.roots_for(kind, roots);
        Box::new(GenerationalCollection::new(self, StoreTables { roots, host_data, weak }, kind))
    }

    /// The nursery comes first: the program would wait for it soon. Slices of a major collection need no roots.
    /// With retained objects only a full collection helps, which takes too long.
    fn idle(&mut self, left: Duration) -> Idle {
        let waits = self.marking_waits() || self.major.phase == Phase::Evacuating;
        let is_due = !self.nursery.retains()
            && (waits || self.idle_minor_is_due(left) || self.idle_marking_is_due());
        if is_due && self.expected_minor() <= left && !left.is_zero() {
            return Idle::Collect;
        }
        if self.major.phase == Phase::Idle || waits {
            return Idle::Rest { bytes: if is_due { self.idle_work_left() } else { 0 } };
        }
        if left.is_zero() {
            return Idle::Rest { bytes: self.idle_work_left() };
        }
        self.major_slice();
        Idle::Worked
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            used: self.used_bytes(),
            given_back: self.unbacked(),
            least_room: self.least_old(),
            wanted: self.wanted(),
            collection_pays: self.collection_pays(),
            frees_young: true,
        }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.walk_nursery(|at, _| {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
            Ok(())
        })?;
        for at in self.old.objects() {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.verify_all()
    }

    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        self.verify_all()?;
        self.verify_remembered(roots)
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats_without(self.unbacked());
        let young = self.young();
        (stats.allocations, stats.allocated_bytes) = (self.allocated.objects, self.allocated.bytes);
        if !self.nursery_counted {
            stats.allocations += young.objects;
            stats.allocated_bytes += young.bytes;
        }
        let old = self.old.total();
        stats.live_objects = old.objects + young.objects;
        stats.live_bytes = old.bytes + young.bytes;
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        let end = self.old.end();
        self.core.reset();
        self.tables.reset(self.nursery.end, end);
        self.old.clear();
        self.sizing = Sizing::default();
        self.scavenger = Scavenger::default();
        self.major = Major::default();
        self.chooser = Chooser::default();
        (self.grown, self.large_wanted) = (false, false);
        self.survived = 0;
        self.allocated = Count::default();
        self.zeal_count = 0;
        self.cramped = false;
        self.renew_nursery();
        self.take_mapped();
        host_data.clear();
        true
    }
}
