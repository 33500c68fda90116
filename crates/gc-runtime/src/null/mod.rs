//! `null`: bump allocation that never collects.
//!
//! Each object is placed directly after the previous one ([`BumpSpace`]), and nothing is ever freed. This is the
//! fastest possible allocation. It suits programs that end before the heap is full, and is the
//! baseline for the other collectors. (The JVM's Epsilon, JEP 318, is similar.) Emitted code
//! allocates inline. Memory is handed out once and is therefore zero. Barriers do nothing, and header bits are zero.

use gc_heap::space::{BumpSpace, Count};
use gc_heap::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRuntime, GcStats,
    HeapCore, HeapError, HeapMemory, Occupancy, Reclaims,
};
use gc_types::collector::null::NAME;
use gc_types::{VMGcHeader, VMGcRef};

/// Makes heaps that never collect.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullCollector;

impl GcRuntime for NullCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "programs that end before the heap is full, and as a baseline: no barriers, no collections"
    }

    fn moves_objects(&self) -> bool {
        false
    }

    fn reclaims(&self) -> Reclaims {
        Reclaims::Nothing
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let mut core = HeapCore::new(memory);
        let space = BumpSpace::new(&mut core.memory);
        Ok(Box::new(NullHeap { core, space }))
    }
}

struct NullHeap {
    core: HeapCore,
    space: BumpSpace,
}

impl GcHeap for NullHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

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

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.space.bump(&mut self.core, header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        self.alloc_fast(header, size).ok_or(HeapError::NeedsRoom { bytes: size.into() })
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.space.grow(&mut self.core, bytes)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        request.weak.keep_all();
        request.host_data.keep_all();
        Box::new(NullCollection { heap: self, complete: false })
    }

    fn occupancy(&self) -> Occupancy {
        let used = self.space.used_bytes(&self.core.memory);
        Occupancy { used, collection_pays: false, ..Occupancy::default() }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.space.walk(&self.core, &mut |at, _| {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
            Ok(())
        })
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.space.check(&self.core)
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats.clone();
        let Count { objects, bytes } = self.space.count(&self.core);
        (stats.allocations, stats.live_objects) = (objects, objects);
        (stats.allocated_bytes, stats.live_bytes) = (bytes, bytes);
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.space = BumpSpace::new(&mut self.core.memory);
        host_data.clear();
        true
    }
}

struct NullCollection<'a> {
    heap: &'a mut NullHeap,
    complete: bool,
}

impl<'a> GarbageCollection<'a> for NullCollection<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        if !self.complete {
            self.complete = true;
            self.heap.core.check_damage()?;
            self.heap.core.stats.collections += 1;
        }
        Ok(GcProgress::Complete)
    }
}
