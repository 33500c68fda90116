//! `copying`: a semispace collector.
//!
//! C. J. Cheney, "A Nonrecursive List Compacting Algorithm", 1970. The heap is one
//! [`Semispace`](gc_heap::space::semispace). Every collection copies all reachable objects, or empties the chunks with
//! few of them. The heap's growth policy says how much is allocated between two collections.

mod collect;
#[cfg(test)]
mod tests;

use collect::CopyingCollection;
use gc_heap::space::semispace::{Copying, Semispace};
use gc_heap::trace::increments::InParts;
use gc_heap::trace::shapes::Shapes;
use gc_heap::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcRuntime, GcStats, HeapCore,
    HeapError, HeapMemory, Occupancy,
};
use gc_types::collector::copying::NAME;
use gc_types::{VMGcHeader, VMGcRef};

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

struct CopyingHeap {
    core: HeapCore,
    /// As far as the layouts were known when the last collection began.
    shapes: Shapes,
    space: Semispace,
}

impl CopyingHeap {
    fn new(memory: HeapMemory) -> CopyingHeap {
        let mut core = HeapCore::new(memory);
        let space = Semispace::new(&mut core.memory);
        CopyingHeap { core, shapes: Shapes::default(), space }
    }

    /// The parts that a collection needs.
    fn copying(&mut self) -> Copying<'_> {
        let CopyingHeap { core, shapes, space } = self;
        Copying { core, shapes, space }
    }
}

impl GcHeap for CopyingHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
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
        VMGcRef::from_heap_index(self.space.bump(&mut self.core, header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        let allocated = self.space.alloc(&mut self.core, header, size);
        let object = allocated.and_then(VMGcRef::from_heap_index);
        object.ok_or(HeapError::NeedsRoom { bytes: size.into() })
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.space.grow(&mut self.core, bytes)
    }

    // ---- collection -----------------------------------------------------

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        Box::new(InParts(CopyingCollection::new(self, request)))
    }

    /// A collection takes time for all survivors and frees only objects that were allocated since
    /// the last one.
    fn occupancy(&self) -> Occupancy {
        Occupancy {
            used: self.space.used_bytes(&self.core.memory),
            given_back: self.space.given_back(),
            least_room: Semispace::LEAST,
            wanted: Some(self.space.wanted()),
            collection_pays: self.space.is_spent(),
            frees_young: false,
        }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.space.walk(&self.core, &mut |index, _| {
            VMGcRef::from_heap_index(index).into_iter().for_each(&mut *visit);
            Ok(())
        })
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.space.check(&self.core)
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats_without(self.space.given_back());
        let (allocated, live) = self.space.counts(&self.core);
        (stats.allocations, stats.allocated_bytes) = (allocated.objects, allocated.bytes);
        (stats.live_objects, stats.live_bytes) = (live.objects, live.bytes);
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.space = Semispace::new(&mut self.core.memory);
        host_data.clear();
        true
    }
}
