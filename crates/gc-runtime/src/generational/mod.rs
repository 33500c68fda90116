//! `generational`: a bump nursery in front of a mark-region old generation.
//!
//! Most objects die young (David Ungar, "Generation Scavenging: A Non-disruptive High Performance
//! Storage Reclamation Algorithm", 1984). Emitted code allocates them inline in the nursery
//! ([`Nursery`](gc_heap::space::Nursery)), one after the other. When it is full, a minor collection moves its
//! reachable objects to the old generation ([`Scavenge`]), and the nursery is empty. A trace does the
//! same, but does not treat old objects as alive. The old generation ([`MarkRegion`](gc_heap::space::mark_region)) is
//! Immix: blocks of lines for small objects, runs of pages for large ones (Stephen M. Blackburn and Kathryn S.
//! McKinley, "Immix: A Mark-Region Garbage Collector with Space Efficiency, Fast Collection, and
//! Mutator Performance", 2008). It is marked, evacuated where blocks have many holes, and swept ([`Cycle`])
//! when it has become as large as the heap's growth policy planned (`policy.rs`), when there is no other way to make
//! room, and when a collection is requested.
//!
//! The barriers record references from old objects and from slots outside the heap to young objects
//! in native tables (`tables.rs`). These tables, and all indices and sizes on which a collection
//! depends, are outside the heap. Values read from the heap are checked with the map of old objects
//! and the nursery's bounds.

mod barriers;
mod collect;
mod policy;
mod tables;
#[cfg(test)]
mod tests;
mod verify;

use collect::{GenerationalCollection, StoreTables};
use gc_heap::space::Generations;
use gc_heap::space::generations::{BYTES_OF_ROOT, Chooser, Cycle, Due, Major, OldTables, Phase};
use gc_heap::space::mark_region::evacuate::Evacuation;
use gc_heap::trace::increments::InParts;
use gc_heap::trace::scavenge::{OldObjects, Scavenge, Scavenger};
use gc_heap::trace::shapes::Shapes;
use gc_heap::{
    CollectorOption, ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRequest,
    GcRootsList, GcRuntime, GcStats, HeapCore, HeapError, HeapMemory, Idle, LastResort, Occupancy,
};
use gc_types::collector::generational::{self, CARD_SHIFT, NAME};
use gc_types::collector::nursery::{NURSERY, nursery_size};
use gc_types::{ArrayLayout, CollectorAbi, GcLayout, VMGcHeader, VMGcKind, VMGcRef};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tables::Tables;

/// The runtime half of `generational`: makes its heaps.
///
/// ```
/// use gc_runtime::GcRuntime;
/// use gc_runtime::collector::GenerationalCollector;
///
/// let collector = GenerationalCollector::new().with_nursery(4 << 20);
/// assert_eq!(collector.heap_abi().option("nursery"), Some(4 << 20));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GenerationalCollector {
    nursery: u64,
    survivors: u64,
}

impl GenerationalCollector {
    /// The default maximal size of the nursery in bytes.
    pub const DEFAULT_NURSERY: u64 = 64 << 20;

    /// The default maximal size in bytes of each half for survivors.
    pub const DEFAULT_SURVIVORS: u64 = 8 << 20;

    /// A collector with the default options.
    pub const fn new() -> GenerationalCollector {
        GenerationalCollector {
            nursery: GenerationalCollector::DEFAULT_NURSERY,
            survivors: GenerationalCollector::DEFAULT_SURVIVORS,
        }
    }

    /// Sets the maximal size of the nursery in bytes. A large nursery is collected less often and
    /// promotes less. A small one has shorter pauses and stays in a cache. The collector chooses
    /// how much of the nursery it uses: as much as fits the machine's cache, and more only if old
    /// objects take eight times as much and few young objects survive. It uses no more than it can
    /// empty in about the time of [`HeapOptions::pause_target`](gc_heap::HeapOptions::pause_target), and
    /// 256 KiB. And it uses no more than a part of what old objects leave free of the heap's maximum
    /// ([`most_in_use`](gc_heap::space::nursery::size::most_in_use)). The nursery's addresses are reserved in addition to
    /// that maximum. At most 256 MiB.
    #[must_use]
    pub const fn with_nursery(self, bytes: u64) -> GenerationalCollector {
        GenerationalCollector { nursery: bytes, ..self }
    }

    /// Sets the maximal size in bytes of each of the two halves for survivors, which are a part of the nursery: at most a
    /// quarter of it. An object that survives its first minor collection stays there until the second one. With 0 it is
    /// promoted at the first one.
    #[must_use]
    pub const fn with_survivors(self, bytes: u64) -> GenerationalCollector {
        GenerationalCollector { survivors: bytes, ..self }
    }

    /// The bytes of addresses of the nursery.
    fn nursery_size(&self) -> u32 {
        nursery_size(self.nursery)
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
        memory.check_apart(self.nursery_size())?;
        Ok(Box::new(GenerationalHeap::new(memory, self.survivors)?))
    }

    fn abi(&self) -> CollectorAbi {
        generational::abi()
    }

    fn heap_abi(&self) -> CollectorAbi {
        self.abi().with(NURSERY, self.nursery_size().into())
    }

    fn apart(&self) -> u32 {
        self.nursery_size()
    }

    fn for_tests(&self) -> Option<Arc<dyn GcRuntime>> {
        Some(Arc::new(self.with_nursery(128 << 10)))
    }

    fn options(&self) -> Vec<CollectorOption> {
        vec![
            CollectorOption {
                name: NURSERY,
                value: self.nursery,
                help: "the most bytes of the nursery, whose addresses are no part of the heap's maximum",
            },
            CollectorOption {
                name: SURVIVORS,
                value: self.survivors,
                help: "the most bytes of each half of the nursery for objects that have survived once",
            },
        ]
    }

    fn with_option(&self, name: &str, value: u64) -> Result<Arc<dyn GcRuntime>, HeapError> {
        match name {
            NURSERY => Ok(Arc::new(self.with_nursery(value))),
            SURVIVORS => Ok(Arc::new(self.with_survivors(value))),
            _ => Err(HeapError::Options {
                what: format!("the collector `{NAME}` has no option `{name}`"),
            }),
        }
    }
}

/// The option for the bytes of a half for survivors.
const SURVIVORS: &str = "survivors";
/// While blocks wait for evacuation, a new array of references has at most this number of bytes.
const MOST_DIRTY: u32 = 1 << 20;

struct GenerationalHeap {
    core: HeapCore,
    shapes: Arc<Shapes>,
    space: Generations,
    tables: Tables,
    scavenger: Scavenger,
    major: Major,
    chooser: Chooser,
    /// Collections that zeal asked for.
    zeal: u32,
    /// Whether the heap has grown since the last collection.
    grown: bool,
    /// Whether the last allocation that found no room would find none in an empty nursery.
    large_wanted: bool,
}

impl GenerationalHeap {
    fn new(memory: HeapMemory, survivors: u64) -> Result<GenerationalHeap, HeapError> {
        let mut core = HeapCore::new(memory);
        let survivors = u32::try_from(survivors).unwrap_or(u32::MAX);
        let space = Generations::new(&mut core, survivors)?;
        let tables = Tables::new(&core.memory, space.nursery.end())?;
        Ok(GenerationalHeap {
            core,
            shapes: Arc::default(),
            space,
            tables,
            scavenger: Scavenger::default(),
            major: Major::default(),
            chooser: Chooser::default(),
            zeal: 0,
            grown: false,
            large_wanted: false,
        })
    }

    /// Allocates in the old generation.
    fn alloc_old(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        self.cycle().recall();
        let index = self.space.alloc_old(&mut self.core, header, size);
        self.cycle().notice_end();
        let index = index?;
        if self.core.side.layouts.get(header.ty()).is_some_and(GcLayout::has_refs) {
            if size <= ArrayLayout::MAX_EXAMINED || header.kind() != Some(VMGcKind::ArrayRef) {
                // Stores into it before the next collection run no barrier.
                self.tables.cards.dirty_all(index, index + size);
            } else if size > MOST_DIRTY && self.space.old.evacuator.is_active() {
                // Otherwise every card of it would become dirty, whatever is stored.
                self.cycle().cancel_evacuation();
            }
        }
        if Generations::is_large(size) {
            self.major.size.large += u64::from(size);
        }
        VMGcRef::from_heap_index(index)
    }

    /// Whether objects should age in a minor collection. Under zeal they always do.
    fn should_age(&self) -> bool {
        self.core.memory.zeal() != 0 || self.space.nursery.survivors.should_age()
    }

    /// The parts that emptying the nursery needs.
    fn scavenge(&mut self) -> Scavenge<'_, CARD_SHIFT> {
        let GenerationalHeap { core, shapes, space, tables, scavenger, .. } = self;
        Scavenge { core, shapes, space, cards: &mut tables.cards, scavenger }
    }

    /// The parts on which a major collection works.
    #[inline(always)]
    fn cycle(&mut self) -> Cycle<'_> {
        let GenerationalHeap { core, shapes, space, tables, major, chooser, .. } = self;
        Cycle { core, shapes, space, log: &mut tables.log, major, chooser }
    }

    /// What is due.
    fn due(&self) -> Due<'_> {
        let GenerationalHeap { core, space, major, chooser, .. } = self;
        Due { core, space, major, chooser }
    }

    /// Begins a trace of a swept heap. Under zeal it is sometimes abandoned.
    fn begin_trace(&mut self) {
        let most = match self.core.memory.zeal() {
            0 => self.chooser.bargain(self.space.nursery.used(&self.core.memory).into()),
            _ if self.zeal.is_multiple_of(2) => 64,
            _ => u64::MAX,
        };
        Shapes::update_shared(&mut self.shapes, &self.core.side.layouts);
        self.space.old.evacuator.clear();
        self.cycle().begin_in_place();
        self.scavenge().begin(OldObjects::Traced { most }, false);
    }

    /// Ends a minor collection, or a trace. What a trace did not find is garbage.
    fn end_scavenge(&mut self) {
        let traced = self.scavenger.is_tracing();
        self.cycle().notice_end();
        let done = self.scavenge().end();
        if done.emptied {
            self.tables.forget_slots();
            self.scavenger.young_slots().iter().for_each(|&slot| self.tables.slots.insert(slot));
        } else {
            self.tables.all_slots = true;
        }
        let waits = matches!(self.major.phase(), Phase::Marking | Phase::Evacuating);
        if waits && !self.space.old.evacuator.is_active() {
            // Too many slots may have been recorded.
            self.cycle().cancel_evacuation();
        }
        match (traced, done.emptied) {
            (false, true) => self.chooser.after_minor(done.used.into(), done.promoted),
            (false, false) => {}
            (true, false) => self.chooser.failed(),
            (true, true) => {
                // Every object that referred to a young one was updated or is dead.
                self.tables
                    .cards
                    .clean_all(self.space.old.region.start(), self.space.old.region.end());
                let roots = u64::from(self.scavenger.roots()) * BYTES_OF_ROOT;
                let found = self.scavenger.traced_bytes() + roots;
                self.chooser.after_trace(done.used.into(), done.survived, found);
            }
        }
        if traced {
            self.cycle().end_marking();
        }
    }

    /// The parts that evacuation needs.
    fn evacuation(&mut self) -> Evacuation<'_> {
        let GenerationalHeap { core, shapes, space, .. } = self;
        let OldTables { region, evacuator, .. } = &mut *space.old;
        Evacuation { core, shapes, region, evacuator }
    }
}

impl GcHeap for GenerationalHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    /// While marking is under way, what was reachable when it began is alive, and what is allocated
    /// since. The object of a weak reference may be neither.
    fn read_weak_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        if self.major.phase() == Phase::Marking {
            self.cycle().mark_overwritten(gc_ref.as_raw_u32(), 0);
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
        self.write_field(at, source)
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
        VMGcRef::from_heap_index(self.space.nursery.bump(&mut self.core, header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        if let Some(object) = self.alloc_fast(header, size) {
            return Ok(object);
        }
        self.cycle().slice();
        self.core.check_damage()?;
        let large = size > self.space.nursery.max_object();
        if !large
            && self.space.refill(&mut self.core, size)
            && let Some(object) = self.alloc_fast(header, size)
        {
            return Ok(object);
        }
        if (large || self.core.side.no_gc_scopes > 0)
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
        self.space.nursery.limit_chunks(&mut self.core.memory, bytes);
        true
    }

    fn recall(&mut self) {
        self.cycle().recall();
        // A thread may have swept the last block. What follows needs the new plan.
        self.cycle().notice_end();
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.recall();
        self.core.check_damage()?;
        let grown = self.space.grow(&mut self.core, bytes)?;
        self.grown = true;
        Ok(grown)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        // What a thread has done or met decides what follows.
        self.recall();
        let GcRequest { cause, roots, host_data, weak, .. } = request;
        let kind = self.choose(cause, host_data);
        if cause != GcCause::NoRoom && self.core.damage.is_none() {
            self.space.reserve(&mut self.core);
        }
        self.grown = false;
        let roots = self.roots_for(kind, roots);
        let store = StoreTables { roots, host_data, weak };
        Box::new(InParts(GenerationalCollection::new(self, store, kind)))
    }

    fn idle(&mut self, left: Duration) -> Idle {
        self.space.ask_policy_when_idle(&mut self.core);
        let idle = self.due().idle(left);
        if idle == Idle::Worked {
            // The host waits.
            self.cycle().recall();
            self.cycle().slice();
        }
        idle
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy { collection_pays: self.collection_pays(), ..self.due().occupancy() }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.space.walk(&self.core, visit)
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.verify_all()
    }

    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        self.verify_all()?;
        self.verify_remembered(roots)
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats_without(self.space.unbacked(&self.core));
        let (allocated, live) = self.space.counts(&self.core);
        (stats.allocations, stats.allocated_bytes) = (allocated.objects, allocated.bytes);
        (stats.live_objects, stats.live_bytes) = (live.objects, live.bytes);
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        // A damaged reference may have been written through behind the old generation, as far as memory is mapped.
        let end = u32::try_from(self.core.memory.len()).unwrap_or(u32::MAX);
        self.tables.reset(self.space.old.region.start(), end);
        self.space.reset(&mut self.core);
        self.scavenger = Scavenger::default();
        self.major = Major::default();
        self.chooser = Chooser::default();
        self.zeal = 0;
        (self.grown, self.large_wanted) = (false, false);
        host_data.clear();
        true
    }
}
