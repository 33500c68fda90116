//! One collection of the copying heap, in increments.

use super::CopyingHeap;
use gc_heap::trace::increments::Parts;
use gc_heap::{
    ExternRefHostDataTable, GcHeap, GcRequest, GcRootsIter, HeapCore, WeakScope, WeakStep,
    WeakTable,
};
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The collection has not begun.
    Begin,
    /// Follows the roots.
    Roots,
    /// Scans the objects found. Then processes weak references, which may find more.
    Scan,
    Weak,
    /// Drops the host values of the externrefs that died.
    HostValues,
    /// Frees emptied chunks. Another pass over the roots may follow, which empties more of them.
    Free,
    /// Gives memory back to the system.
    GiveBack,
    Complete,
}

pub(super) struct CopyingCollection<'a> {
    heap: &'a mut CopyingHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    phase: Phase,
    /// Bytes of all objects allocated since the last collection.
    grown: u64,
    began: Instant,
}

impl<'a> CopyingCollection<'a> {
    pub(super) fn new(heap: &'a mut CopyingHeap, request: GcRequest<'a>) -> Self {
        CopyingCollection {
            heap,
            roots: request.roots.all(),
            host_data: request.host_data,
            weak: request.weak,
            phase: Phase::Begin,
            grown: 0,
            began: Instant::now(),
        }
    }

    /// Plans when all objects have their final place.
    fn finish(&mut self) {
        let heap = &mut *self.heap;
        let live = heap.copying().finish();
        let occupancy = heap.occupancy();
        heap.core.make_plan(&occupancy, live, self.grown, self.began.elapsed());
        heap.copying().plan();
        heap.core.stats.collections += 1;
    }
}

impl Parts for CopyingCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete)
    }

    fn part(&mut self, mut budget: u32) {
        let (mut copying, budget) = (self.heap.copying(), &mut budget);
        self.phase = match self.phase {
            Phase::Begin => {
                self.heap.shapes.update(&self.heap.core.side.layouts);
                self.grown = self.heap.copying().begin();
                Phase::Roots
            }
            Phase::Roots if copying.follow_roots(&mut self.roots, budget) => {
                self.weak.begin(WeakScope::All);
                Phase::Scan
            }
            Phase::Scan if copying.scan(budget) => Phase::Weak,
            Phase::Weak => match self.weak.step(&mut copying, budget) {
                WeakStep::More => Phase::Weak,
                WeakStep::Trace => Phase::Scan,
                WeakStep::Done => {
                    self.host_data.begin_sweep(WeakScope::All);
                    Phase::HostValues
                }
            },
            Phase::HostValues if self.host_data.sweep(&copying, budget) => {
                copying.end_pass();
                Phase::Free
            }
            Phase::Free if copying.free(budget) => {
                if copying.begin_compaction() {
                    self.roots.restart();
                    Phase::Roots
                } else {
                    self.finish();
                    Phase::GiveBack
                }
            }
            Phase::GiveBack if copying.give_back() => Phase::Complete,
            phase => phase,
        };
    }

    /// Once it has begun, because a heap that is half copied is not usable.
    fn must_finish(&self) -> bool {
        !matches!(self.phase, Phase::Begin)
    }

    fn give_up(&mut self) {
        self.phase = Phase::Complete;
    }
}
