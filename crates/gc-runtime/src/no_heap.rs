//! [`NoHeap`]: what a store has as its heap until one is needed.
//!
//! It has no memory, no objects and no room. It only keeps what a store is told before its heap is
//! made: layouts, no-GC scopes, when the store was made. The heap gets all of this.

use crate::{
    Decision, ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcStats,
    GrowthPolicy, HeapCore, HeapError, HeapFactory, HeapMemory, HeapPlan, HeapUsage, Occupancy,
};
use gc_types::{VMGcHeader, VMGcRef};

/// The policy of what never grows, and of heaps that wait for a store.
#[derive(Debug)]
pub(crate) struct Unasked;

impl GrowthPolicy for Unasked {
    fn decide(&mut self, _usage: &HeapUsage, _need: u64) -> Decision {
        Decision::GiveUp
    }

    fn plan(&mut self, _usage: &HeapUsage) -> HeapPlan {
        HeapPlan::default()
    }
}

/// A heap without memory.
pub(crate) struct NoHeap {
    core: HeapCore,
}

impl NoHeap {
    /// Costs no call of the system.
    #[inline(always)]
    pub(crate) fn new(factory: &HeapFactory) -> NoHeap {
        let options = factory.options();
        let memory = HeapMemory::absent(factory.absent().clone(), options);
        let mut core = HeapCore::with_policy(memory, Box::new(Unasked));
        core.pause_target = options.pause_target;
        NoHeap { core }
    }
}

impl GcHeap for NoHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn alloc_raw(&mut self, _header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        Err(HeapError::NeedsRoom { bytes: size.into() })
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        Err(HeapError::OutOfMemory { bytes, limit: 0 })
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.assert_may_collect();
        request.weak.keep_all();
        request.host_data.keep_all();
        Box::new(Nothing)
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy::default()
    }

    fn for_each_object(&self, _visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        Ok(())
    }

    fn stats(&self) -> GcStats {
        self.core.stats.clone()
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        host_data.clear();
        true
    }
}

/// The collection of nothing.
struct Nothing;

impl<'a> GarbageCollection<'a> for Nothing {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        Ok(GcProgress::Complete)
    }
}
