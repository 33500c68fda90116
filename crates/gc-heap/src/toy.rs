//! [`ToyCollector`]: the smallest collector that frees memory, for examples and tests.
//!
//! It is a semispace collector (C. J. Cheney, "A Nonrecursive List Compacting Algorithm", 1970) of the public parts
//! of this crate: a [`Semispace`] for the objects, [`Shapes`] for their references, and [`Copying`] for the loop.
//! Each collection is one increment. It has no half that emits code, so only a host can allocate in its heaps.

use crate::space::semispace::{Copying, Semispace};
use crate::trace::shapes::Shapes;
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRuntime, GcStats,
    HeapCore, HeapError, HeapMemory, Occupancy, WeakScope, WeakStep,
};
use gc_types::{VMGcHeader, VMGcRef};
use std::time::Instant;

/// Makes the heaps of a collector for examples and tests. The collectors for programs are in gc-runtime.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.stats().collections, 1);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ToyCollector;

impl GcRuntime for ToyCollector {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn summary(&self) -> &'static str {
        "examples and tests; compiled code cannot use it"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let mut core = HeapCore::new(memory);
        let space = Semispace::new(&mut core.memory);
        Ok(Box::new(ToyHeap { core, shapes: Shapes::default(), space }))
    }
}

struct ToyHeap {
    core: HeapCore,
    shapes: Shapes,
    space: Semispace,
}

impl GcHeap for ToyHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        let object = self.space.alloc(&mut self.core, header, size);
        let object = object.and_then(VMGcRef::from_heap_index);
        object.ok_or(HeapError::NeedsRoom { bytes: size.into() })
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.space.grow(&mut self.core, bytes)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        Box::new(ToyCollection { heap: self, request: Some(request) })
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            used: self.space.used_bytes(&self.core.memory),
            least_room: Semispace::LEAST,
            wanted: Some(self.space.wanted()),
            collection_pays: self.space.is_spent(),
            ..Occupancy::default()
        }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
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
        let mut stats = self.core.stats_without(0);
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

struct ToyCollection<'a> {
    heap: &'a mut ToyHeap,
    /// None when it is over.
    request: Option<GcRequest<'a>>,
}

impl<'a> GarbageCollection<'a> for ToyCollection<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        let Some(GcRequest { roots, host_data, weak, .. }) = self.request.take() else {
            return Ok(GcProgress::Complete);
        };
        let ToyHeap { core, shapes, space } = &mut *self.heap;
        core.check_damage()?;
        let began = Instant::now();
        shapes.update(&core.side.layouts);
        let mut copying = Copying { core, shapes, space };
        let grown = copying.begin();
        let (mut roots, all) = (roots.all(), &mut { u32::MAX });
        loop {
            while !copying.follow_roots(&mut roots, all) {}
            weak.begin(WeakScope::All);
            loop {
                while !copying.scan(all) {}
                *all = u32::MAX;
                match weak.step(&mut copying, all) {
                    WeakStep::More | WeakStep::Trace => {}
                    WeakStep::Done => break,
                }
            }
            host_data.begin_sweep(WeakScope::All);
            while !host_data.sweep(&copying, all) {}
            copying.end_pass();
            while !copying.free(all) {}
            if !copying.begin_compaction() {
                break;
            }
            roots.restart();
            *all = u32::MAX;
        }
        let live = copying.finish();
        let occupancy = self.heap.occupancy();
        let ToyHeap { core, shapes, space } = &mut *self.heap;
        core.make_plan(&occupancy, live, grown, began.elapsed());
        let mut copying = Copying { core, shapes, space };
        copying.plan();
        while !copying.give_back() {}
        self.heap.core.check_damage()?;
        self.heap.core.stats.collections += 1;
        Ok(GcProgress::Complete)
    }
}
