//! The heap, and when what is collected.

use crate::collection::TwoGenerationsCollection;
use crate::{BUNDLES, CARD_SHIFT, CARDS};
use gc_runtime::remember::Cards;
use gc_runtime::space::Generations;
use gc_runtime::space::generations::{Marking, OldTables};
use gc_runtime::trace::increments::InParts;
use gc_runtime::trace::marking;
use gc_runtime::trace::scavenge::{Scavenge, Scavenger};
use gc_runtime::trace::shapes::Shapes;
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRequest, GcStats, HeapCore,
    HeapError, HeapMemory, LastResort, Occupancy,
};
use gc_types::{VMGcHeader, VMGcRef};

/// The least bytes that are promoted between two full collections.
const LEAST: u64 = 4 << 20;

pub(crate) struct TwoGenerations {
    pub(crate) core: HeapCore,
    pub(crate) shapes: Shapes,
    pub(crate) space: Generations,
    cards: Cards<CARD_SHIFT>,
    scavenger: Scavenger,
}

impl TwoGenerations {
    pub(crate) fn new(memory: HeapMemory) -> Result<TwoGenerations, HeapError> {
        let cards = Cards::new(&memory, CARDS, BUNDLES)?;
        let mut core = HeapCore::new(memory);
        let space = Generations::new(&mut core, 0)?;
        let (shapes, scavenger) = Default::default();
        Ok(TwoGenerations { core, shapes, space, cards, scavenger })
    }

    // ANCHOR: parts
    /// The parts that emptying the nursery needs.
    pub(crate) fn scavenge(&mut self) -> Scavenge<'_, CARD_SHIFT> {
        let TwoGenerations { core, shapes, space, cards, scavenger, .. } = self;
        Scavenge { core, shapes, space, cards, scavenger }
    }

    /// The parts that marking the old generation needs.
    pub(crate) fn marking(&mut self) -> marking::Marking<'_> {
        let TwoGenerations { core, shapes, space, .. } = self;
        let OldTables { region, evacuator, marker, .. } = &mut *space.old;
        marking::Marking { core, shapes, region, evacuator, marker }
    }

    // ANCHOR_END: parts

    fn alloc_old(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.space.alloc_old(&mut self.core, header, size)?)
    }

    /// Whether the old generation has become as large as the heap's growth policy planned.
    fn full_is_due(&self) -> bool {
        self.space.old.region.total().bytes >= self.core.plan.goal
    }
}

impl GcHeap for TwoGenerations {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    // ANCHOR: barrier
    /// The host's half of the barrier.
    fn write_field_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        self.core.write_ref_at(at, source)?;
        self.cards.dirty(at as u32);
        Ok(())
    }
    // ANCHOR_END: barrier

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.space.nursery.bump(&mut self.core, header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        let large = size > self.space.nursery.max_object();
        let object = match self.alloc_fast(header, size) {
            None if large || self.core.side.no_gc_scopes > 0 => self.alloc_old(header, size),
            None if self.space.refill(&mut self.core, size) => self.alloc_fast(header, size),
            object => object,
        };
        object.ok_or(HeapError::NeedsRoom { bytes: size.into() })
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

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.space.grow(&mut self.core, bytes)
    }

    // ANCHOR: choice
    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        let full = match request.cause {
            GcCause::NoRoom | GcCause::Zeal => {
                self.full_is_due()
                    || self.space.nursery.retains()
                    || !self.space.has_room_for_minor(&self.core)
            }
            _ => true,
        };
        self.space.reserve(&mut self.core);
        Box::new(InParts(TwoGenerationsCollection::new(self, request, full)))
    }

    fn occupancy(&self) -> Occupancy {
        let nursery = &self.space.nursery;
        let is_full = nursery.used(&self.core.memory) >= nursery.size() / 2;
        let has_room = self.space.has_room_for_minor(&self.core);
        let collection_pays = self.full_is_due() || is_full && has_room;
        Occupancy { collection_pays, ..self.space.occupancy(&self.core, LEAST) }
    }
    // ANCHOR_END: choice

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.space.walk(&self.core, visit)
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.space.check(&self.core, &self.cards, Marking::None)
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
        self.cards.reset(0, self.space.old.region.end());
        self.space.reset(&mut self.core);
        self.scavenger = Scavenger::default();
        host_data.clear();
        true
    }
}
