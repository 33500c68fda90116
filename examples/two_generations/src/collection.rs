//! The stages of a collection. A full one goes through all of them, a minor one through the first four.

use crate::heap::TwoGenerations;
use gc_runtime::trace::increments::Parts;
use gc_runtime::trace::marking::Marked;
use gc_runtime::trace::scavenge::OldObjects;
use gc_runtime::{
    ExternRefHostDataTable, GcHeap, GcRequest, GcRootsIter, HeapCore, PauseKind, WeakScope,
    WeakStep, WeakTable,
};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was done.
    Begin,
    /// Moves the young objects to which roots refer, and what old objects on dirty cards refer to.
    Roots,
    Cards,
    /// Moves what these refer to, and what weak references keep. Then drops host values.
    Young,
    YoungValues,
    /// Marks the old objects to which roots refer, and what these refer to. Then drops host values.
    MarkRoots,
    Mark,
    MarkValues,
    /// Frees what was not marked.
    Sweep,
    Complete,
}

pub(crate) struct TwoGenerationsCollection<'a> {
    heap: &'a mut TwoGenerations,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    full: bool,
    stage: Stage,
    began: Instant,
}

impl<'a> TwoGenerationsCollection<'a> {
    pub(crate) fn new(heap: &'a mut TwoGenerations, request: GcRequest<'a>, full: bool) -> Self {
        let GcRequest { roots, host_data, weak, .. } = request;
        let (roots, stage, began) = (roots.all(), Stage::Begin, Instant::now());
        TwoGenerationsCollection { heap, roots, host_data, weak, full, stage, began }
    }

    /// What follows when the nursery is empty, or objects stay there because there is no room for them.
    fn after_nursery(&mut self) -> Stage {
        self.heap.scavenge().end();
        if !self.full {
            self.heap.core.stats.collections += 1;
            return Stage::Complete;
        }
        self.heap.space.begin_marking();
        self.roots.restart();
        Stage::MarkRoots
    }

    /// Plans when everything is swept.
    fn finish(&mut self) -> Stage {
        let (took, heap) = (self.began.elapsed(), &mut *self.heap);
        let live = heap.space.old.region.total().bytes;
        let grown = live.saturating_sub(heap.core.live);
        let occupancy = heap.occupancy();
        heap.core.make_plan(&occupancy, live, grown, took);
        heap.core.stats.collections += 1;
        Stage::Complete
    }
}

impl Parts for TwoGenerationsCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    // ANCHOR: stages
    fn part(&mut self, mut budget: u32) {
        let (heap, budget) = (&mut *self.heap, &mut budget);
        self.stage = match self.stage {
            Stage::Begin => {
                heap.shapes.update(&heap.core.side.layouts);
                heap.scavenge().begin(OldObjects::Alive, false);
                self.weak.begin(WeakScope::Young);
                Stage::Roots
            }
            Stage::Roots if heap.scavenge().follow_roots(&mut self.roots, budget) => Stage::Cards,
            Stage::Cards if heap.scavenge().scan_cards(budget) => Stage::Young,
            Stage::Young if heap.scavenge().scan_found(budget) => {
                match self.weak.step(&mut heap.scavenge(), budget) {
                    WeakStep::Done => {
                        self.host_data.begin_sweep(WeakScope::Young);
                        Stage::YoungValues
                    }
                    WeakStep::More | WeakStep::Trace => Stage::Young,
                }
            }
            Stage::YoungValues if self.host_data.sweep(&heap.scavenge(), budget) => {
                self.after_nursery()
            }
            Stage::MarkRoots if heap.marking().mark_roots(&mut self.roots, budget) => {
                self.weak.begin(WeakScope::All);
                Stage::Mark
            }
            Stage::Mark if heap.marking().run(budget) == Marked::Done => {
                match self.weak.step(&mut heap.marking(), budget) {
                    WeakStep::Done => {
                        self.host_data.begin_sweep(WeakScope::All);
                        Stage::MarkValues
                    }
                    WeakStep::More | WeakStep::Trace => Stage::Mark,
                }
            }
            Stage::MarkValues if self.host_data.sweep(&heap.marking(), budget) => {
                heap.space.end_marking(&mut heap.core);
                heap.space.begin_sweeping();
                Stage::Sweep
            }
            Stage::Sweep if heap.space.old.region.sweep(&mut heap.core.memory, budget) => {
                self.finish()
            }
            stage => stage,
        };
    }
    // ANCHOR_END: stages

    fn kind(&self) -> PauseKind {
        if self.full { PauseKind::Full } else { PauseKind::Minor }
    }

    /// Once it has begun, because objects have moved.
    fn must_finish(&self) -> bool {
        self.stage != Stage::Begin
    }

    fn give_up(&mut self) {
        self.stage = Stage::Complete;
    }
}
