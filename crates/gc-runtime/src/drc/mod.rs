//! `drc`: deferred reference counting.
//!
//! L. Peter Deutsch and Daniel G. Bobrow, "An Efficient, Incremental, Automatic Garbage Collector",
//! 1976. Counts change only when a reference is stored in a mature object, a table, a global or an
//! owned handle of the host. References in registers and frames of compiled code, and in scoped
//! handles, are not counted, so copying and dropping them costs nothing. Therefore a zero count does not mean that an object is dead: the
//! object enters a list (`list.rs`, the "zero count table"). A collection gets the stack's precise
//! roots from stack maps, and frees the objects on the list to which no frame and no scoped handle
//! refers, with everything that only they keep alive. So there is no read barrier.
//!
//! New objects are *young*: references stored in them are not counted, and the barrier of a store
//! into them only tests the header. The first count of a young object enters it in the same list.
//! In a collection young objects that have a count or are on the stack (or in a scoped handle) mature: the references in
//! them are counted, and their referents mature too. Other young objects were never counted, and
//! die without being visited. (Shahriyar, Blackburn and Frampton, "Down for the Count? Getting
//! Reference Counting Back in the Ring", 2012: new objects are implicitly dead, and counts begin
//! when a collection finds them alive.)
//!
//! Weak references are counted like handles of the host. Only a trace takes their counts away, so
//! it alone finds that an object has only weak references.
//!
//! A search over the same heap finds cycles (`cycles.rs`). It begins when mature objects have doubled since
//! the last one, before the heap is out of memory, and when the host asks for a collection. The program runs between
//! its slices, which are parts of collections (`collect.rs`). Nothing moves. Emitted code allocates inline by bumping through the gaps between
//! objects ([`GapSpace`](gc_heap::space::gaps)). The allocator's metadata is in native memory and cannot be damaged from
//! inside the heap.

mod collect;
mod counts;
mod cycles;
mod list;
mod policy;
#[cfg(test)]
mod tests;
mod verify;
mod work;

use collect::{CycleSearch, DrcCollection, Tables};
use counts::Counts;
use cycles::{Cycles, Phase};
use gc_heap::space::gaps::GapSpace;
use gc_heap::space::nursery::size::Sizing;
use gc_heap::trace::increments::InParts;
use gc_heap::trace::shapes::Shapes;
use gc_heap::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRequest, GcRootsList, GcRuntime,
    GcStats, HeapCore, HeapError, HeapMemory, Idle, LastResort, Occupancy,
};
use gc_types::collector::drc::{self, COUNT_ONE, LISTED, MATURE, NAME, OP_LIST, STARTS};
use gc_types::{CollectorAbi, NULL_PAGE_SIZE, VMGcHeader, VMGcKind, VMGcRef};
use list::List;
use policy::{BUDGET, FIRST_TRACE, FIRST_TRACE_VALUES, Window};
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;
use work::Work;

/// The end of the memory that the allocator of a new heap gets. It gets the rest when that is used,
/// so the allocator's tables are small as long as the heap has few objects.
const FIRST_COVERED: u64 = NULL_PAGE_SIZE as u64 + (128 << 10);

/// The runtime half of `drc`: makes its heaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrcCollector;

impl GcRuntime for DrcCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "programs with much data that lives long or must not move: counts references, frees a \
         little at a time; barriers in reference stores"
    }

    fn moves_objects(&self) -> bool {
        false
    }

    fn max_heap_size(&self) -> u64 {
        gc_types::collector::drc::MAX_HEAP_SIZE
    }

    fn max_native_refs(&self) -> u64 {
        gc_types::collector::drc::MAX_NATIVE_REFS
    }

    fn abi(&self) -> CollectorAbi {
        drc::abi()
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(DrcHeap::new(memory)?))
    }
}

/// The object into which the host last stored.
#[derive(Clone, Debug, Default)]
struct Target {
    range: Range<u32>,
    mature: bool,
}

struct DrcHeap {
    core: HeapCore,
    shapes: Shapes,
    space: GapSpace,
    list: List,
    work: Work,
    cycles: Cycles,
    /// Chooses the budget.
    sizing: Sizing,
    window: Window,
    /// How often time that the host gave seemed too short since the last collection.
    refused: u32,
    /// Collections that zeal asked for.
    zeal: u32,
    target: Target,
    /// The number of host values at which a collection should look for cycles. The plan has the
    /// limit for bytes.
    trace_at_values: u32,
    /// The number of bytes allocated since the last collection at which another collection should
    /// happen, and the number by which this rises if none happens.
    ask_at: u64,
    budget: u64,
    /// Whether the last failed allocation failed only to ask for a collection.
    asked: bool,
    /// Bytes that the last failed allocation asked for.
    need: u32,
    /// Whether the policy or the system refused growth.
    cannot_grow: bool,
    /// Number of externrefs.
    values: u32,
}

impl DrcHeap {
    fn new(memory: HeapMemory) -> Result<DrcHeap, HeapError> {
        let mut heap = DrcHeap {
            shapes: Shapes::default(),
            space: GapSpace::new(&memory, NULL_PAGE_SIZE, STARTS)?,
            list: List::new(&memory)?,
            core: HeapCore::new(memory),
            work: Work::default(),
            cycles: Cycles::default(),
            sizing: Sizing::default(),
            window: Window::default(),
            refused: 0,
            zeal: 0,
            target: Target::default(),
            trace_at_values: FIRST_TRACE_VALUES,
            ask_at: BUDGET,
            budget: BUDGET,
            asked: false,
            need: 0,
            cannot_grow: false,
            values: 0,
        };
        heap.cycles.reset(&mut heap.core.memory);
        heap.cover(FIRST_COVERED)?;
        Ok(heap)
    }

    /// Gives the mapped memory before `end` to the allocator.
    ///
    /// # Errors
    /// If there is no memory for the allocator's map. Then nothing changes.
    fn cover(&mut self, end: u64) -> Result<(), HeapError> {
        let end = end.min(self.core.memory.len());
        self.space.extend(u32::try_from(end).expect("heaps end below 4 GiB"))
    }

    /// Gives all mapped memory to the allocator. Returns whether it did not have some of it.
    fn cover_more(&mut self) -> bool {
        let end = self.space.map().end();
        self.cover(u64::MAX).is_ok() && self.space.map().end() > end
    }

    /// The shapes of objects, and the parts that counting needs.
    fn parts(&mut self) -> (&Shapes, Counts<'_>) {
        let counts = Counts {
            memory: &mut self.core.memory,
            space: &mut self.space,
            list: &mut self.list,
            work: &mut self.work,
            cycles: &mut self.cycles,
            damage: &mut self.core.damage,
            values: &mut self.values,
        };
        (&self.shapes, counts)
    }

    fn counts(&mut self) -> Counts<'_> {
        self.parts().1
    }

    /// The parts that counting needs, to use the references `raw` of the host.
    #[inline]
    fn counts_of<const N: usize>(&mut self, raw: [u32; N]) -> Counts<'_> {
        let (shapes, mut counts) = self.parts();
        match counts.cycles.phase() {
            Phase::Idle | Phase::Sweep => {}
            Phase::Mark => raw.iter().for_each(|&raw| counts.note_use(raw)),
            _ => raw.iter().for_each(|&raw| counts.rescue_before_use(shapes, raw)),
        }
        counts
    }

    /// Whether the host may allocate without a collection now.
    fn may_allocate(&self) -> bool {
        self.space.allocated() < self.ask_at || self.core.side.no_gc_scopes > 0
    }

    /// Makes an object in new memory, with one reference that the caller holds. Never returns
    /// `None`, because the memory is mapped.
    #[inline]
    fn begin_object(&mut self, index: u32, header: VMGcHeader) -> Option<VMGcRef> {
        let mut word = COUNT_ONE | LISTED;
        if header.kind() == Some(VMGcKind::ExternRef) {
            // The heap must notice the object's death, so it is mature at once. It has no
            // references to count.
            self.space.sync();
            self.space.bear_mature(index);
            self.counts().mark_born(index);
            word = COUNT_ONE | MATURE;
            self.values += 1;
        } else {
            self.list.push(&mut self.core.memory, index);
        }
        self.core.set_header_at(index, header.with_collector_bits(word))?;
        VMGcRef::from_heap_index(index)
    }

    /// Whether the object that contains heap index `at` is mature; `None` if there is no such
    /// object.
    #[inline]
    fn is_in_mature(&mut self, at: u64) -> Option<bool> {
        let at = u32::try_from(at).ok()?;
        if !self.target.range.contains(&at) {
            self.space.sync();
            let range = self.space.object_around(at)?;
            let mature = self.space.map().is_mature(range.start);
            self.target = Target { range, mature };
        }
        Some(self.target.mature)
    }

    /// Overwrites the free memory in `range`, under zeal.
    fn poison_free(&mut self, range: Range<u32>) {
        let mut at = range.start;
        while let Some(free) = self.space.map().free_run(at..range.end) {
            at = free.end;
            self.core.memory.poison(free.start.into(), (free.end - free.start).into());
        }
    }
}

impl GcHeap for DrcHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    // ---- barriers -------------------------------------------------------

    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        let raw = gc_ref.as_raw_u32();
        self.counts_of([raw]).up(raw);
        gc_ref.unchecked_copy()
    }

    fn drop_gc_ref(&mut self, _host_data: &mut ExternRefHostDataTable, gc_ref: VMGcRef) {
        let raw = gc_ref.as_raw_u32();
        self.counts_of([raw]).down(raw);
    }

    fn write_gc_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        let new = source.map(|source| self.clone_gc_ref(source));
        if let Some(old) = std::mem::replace(destination, new) {
            let raw = old.as_raw_u32();
            self.counts_of([raw]).down(raw);
        }
    }

    fn write_field_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        let old = self.core.memory.read_u32(at).ok_or_else(|| HeapError::outside(at as u32))?;
        let new = source.map_or(0, VMGcRef::as_raw_u32);
        let Some(mature) = self.is_in_mature(at) else {
            return Err(HeapError::Corrupt { at: at as u32, what: "a reference to no object" });
        };
        let object = self.target.range.start;
        let mut counts = self.counts_of([object, new]);
        if mature {
            counts.up(new);
        }
        self.core.write_ref_at(at, source)?;
        if mature {
            self.counts().down(old);
        }
        Ok(())
    }

    /// Removes the count of the reference, because references on the stack are not counted.
    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        let raw = gc_ref.as_raw_u32();
        self.counts_of([raw]).expose(raw);
        raw
    }

    fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool {
        self.list.is_crowded(&self.core.memory, count.get())
    }

    fn collector_slow_path(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        _operand: u64,
    ) -> u64 {
        match (operation, gc_ref.as_ref().and_then(VMGcRef::as_heap_index)) {
            (OP_LIST, Some(index)) => self.counts().list(index.get()),
            (OP_LIST, None) => {}
            _ => log::error!("the drc collector has no slow path {operation}"),
        }
        0
    }

    // ---- allocation -----------------------------------------------------

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        debug_assert!(size >= VMGcHeader::SIZE && size.is_multiple_of(8));
        if self.core.damage.is_some() {
            return None;
        }
        let index = match self.space.bump(size) {
            Some(index) => index,
            None if self.may_allocate() => self.space.alloc(&mut self.core.memory, size)?,
            None => return None,
        };
        self.begin_object(index, header)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        let needs_room = HeapError::NeedsRoom { bytes: size.into() };
        if !self.may_allocate() {
            if !std::mem::replace(&mut self.asked, true) {
                return Err(needs_room);
            }
            // No collection happened. Do not ask again at once.
            self.ask_at = self.space.allocated() + self.budget;
        }
        self.asked = false;
        let memory = &mut self.core.memory;
        let mut index = self.space.alloc(memory, size);
        if index.is_none() && self.cover_more() {
            index = self.space.alloc(&mut self.core.memory, size);
        }
        if index.is_none() && self.is_at_limit() {
            index = self.space.alloc_anywhere(&mut self.core.memory, size);
        }
        let Some(index) = index else {
            self.need = size;
            return Err(needs_room);
        };
        self.begin_object(index, header).ok_or_else(|| HeapError::outside(index))
    }

    /// Allocates in any hole between objects if the heap cannot grow.
    fn alloc_last_resort(
        &mut self,
        header: VMGcHeader,
        size: u32,
        why: LastResort,
    ) -> Result<VMGcRef, HeapError> {
        // A policy may give up without an attempt to grow.
        self.cannot_grow |= why == LastResort::NoMemory;
        self.alloc_raw(header, size)
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        // The map first, so that the heap keeps its size if there is no memory for its map.
        let grown = self.space.reserve(self.core.memory.len().saturating_add(bytes));
        let grown = grown.and_then(|()| self.core.grow(bytes));
        let grown = grown.and_then(|bytes| self.cover(u64::MAX).map(|()| bytes));
        self.cannot_grow = grown.is_err();
        grown
    }

    // ---- collection -----------------------------------------------------

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        let GcRequest { cause, roots, host_data, weak, .. } = request;
        // A policy may give up without an attempt to grow.
        self.cannot_grow |= cause == GcCause::Exhausted;
        let search = self.search_for(cause);
        // Only a search that begins needs all roots.
        let roots = match search {
            CycleSearch::Slice { begins: false } => roots.uncounted(),
            _ => roots.all(),
        };
        let tables = Tables { host_data, weak };
        Box::new(InParts(DrcCollection::new(self, roots, tables, search, cause)))
    }

    fn idle(&mut self, left: Duration) -> Idle {
        self.use_for(left)
    }

    /// A collection takes time for all survivors and frees objects that were allocated since the
    /// last one.
    fn occupancy(&self) -> Occupancy {
        let much = (self.core.memory.usable() / 2).max(self.core.side.stack_room());
        Occupancy {
            used: self.space.used_bytes(),
            given_back: self.space.given_back(),
            least_room: FIRST_TRACE,
            wanted: None,
            collection_pays: self.asked || self.space.allocated() > much,
            frees_young: true,
        }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        let map = self.space.synced_map()?;
        // Some referents of garbage are free. The box of a host value has none.
        let is_box = |object| {
            self.core.header_at(object).is_ok_and(|it| it.kind() == Some(VMGcKind::ExternRef))
        };
        let is_visited = |&object: &u32| !self.cycles.is_garbage(&map, object) || is_box(object);
        map.objects().filter(is_visited).filter_map(VMGcRef::from_heap_index).for_each(visit);
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.verify_all(None)
    }

    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        self.verify_all(Some(roots.all()))
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats_without(self.space.given_back());
        let [allocated, live, _] = self.space.tallies();
        (stats.allocations, stats.allocated_bytes) = (allocated.objects, allocated.bytes);
        (stats.live_objects, stats.live_bytes) = (live.objects, live.bytes);
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.list.reset();
        self.space.clear();
        if self.cover(FIRST_COVERED).is_err() {
            return false;
        }
        self.work.clear();
        self.cycles.reset(&mut self.core.memory);
        (self.sizing, self.window) = (Sizing::default(), Window::default());
        self.target = Target::default();
        (self.trace_at_values, self.values) = (FIRST_TRACE_VALUES, 0);
        (self.ask_at, self.budget, self.need) = (BUDGET, BUDGET, 0);
        (self.asked, self.cannot_grow, self.zeal) = (false, false, 0);
        host_data.clear();
        true
    }
}
