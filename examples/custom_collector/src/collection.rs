//! Mark and sweep.
//!
//! Marking visits everything reachable from the roots, in increments. It uses a list of objects to
//! scan instead of recursion. It follows a reference in an object only if an object starts where it
//! points. Then the weak references are processed, which may mark more, and the store drops
//! the host values of unmarked externrefs. Then the marks become the starts.

use crate::heap::{MarkSweepHeap, corrupt};
use gc_runtime::space::object_map::{Mark, ObjectMap};
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRootsIter,
    HeapCore, HeapError, WeakScope, WeakStep, WeakTable, WeakTracer,
};
use gc_types::VMGcRef;
use std::time::Instant;

/// Number of objects, or of weak references, that one increment visits.
const INCREMENT: u32 = 10_000;

/// A collection under way. Before it sweeps it changes only state that the next collection resets.
pub(crate) struct MarkSweep<'a> {
    heap: &'a mut MarkSweepHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    phase: Phase,
    began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Roots,
    Marking,
    Weak,
    HostValues,
    Sweeping,
    Complete,
}

impl<'a> MarkSweep<'a> {
    pub(crate) fn new(heap: &'a mut MarkSweepHeap, request: GcRequest<'a>) -> MarkSweep<'a> {
        let GcRequest { roots, host_data, weak, .. } = request;
        let roots = roots.all();
        MarkSweep { heap, roots, host_data, weak, phase: Phase::Roots, began: Instant::now() }
    }

    // ANCHOR: phases
    /// Does one increment of work and returns the next phase.
    fn work(&mut self) -> Result<Phase, HeapError> {
        match self.phase {
            Phase::Roots => {
                self.heap.core.check_damage()?;
                self.heap.close_piece()?;
                self.heap.objects.clear_marks();
                self.heap.to_do.clear();
                for root in self.roots.by_ref() {
                    let MarkSweepHeap { objects, to_do, .. } = &mut *self.heap;
                    if let Some(to) = root.get() {
                        mark(objects, to_do, &to)?;
                    }
                }
                self.weak.begin(WeakScope::All);
                Ok(Phase::Marking)
            }
            Phase::Marking => {
                for _ in 0..INCREMENT {
                    let MarkSweepHeap { core, objects, to_do, .. } = &mut *self.heap;
                    let Some(object) = to_do.pop() else { return Ok(Phase::Weak) };
                    let mut found = Ok(());
                    core.for_each_ref_at(object, |_, to| {
                        if found.is_ok() {
                            found = mark(objects, to_do, &to);
                        }
                    })?;
                    found?;
                }
                Ok(Phase::Marking)
            }
            Phase::Weak => {
                let step = self.weak.step(&mut *self.heap, &mut { INCREMENT });
                self.heap.core.check_damage()?;
                Ok(match step {
                    WeakStep::More => Phase::Weak,
                    WeakStep::Trace => Phase::Marking,
                    WeakStep::Done => {
                        self.host_data.begin_sweep(WeakScope::All);
                        Phase::HostValues
                    }
                })
            }
            Phase::HostValues => {
                // Drops the values of externrefs that are not marked.
                let done = self.host_data.sweep(&*self.heap, &mut { INCREMENT });
                Ok(if done { Phase::Sweeping } else { Phase::HostValues })
            }
            Phase::Sweeping => {
                let new_bytes = self.heap.new_bytes;
                self.heap.sweep()?;
                let live = self.heap.live.bytes;
                let (occupancy, took) = (self.heap.occupancy(), self.began.elapsed());
                self.heap.core.make_plan(&occupancy, live, new_bytes, took);
                self.heap.core.stats.collections += 1;
                Ok(Phase::Complete)
            }
            Phase::Complete => Ok(Phase::Complete),
        }
    }
    // ANCHOR_END: phases
}

// ANCHOR: mark
/// Marks the object to which `to` refers, and enters it in the list of objects to scan.
fn mark(objects: &mut ObjectMap, to_do: &mut Vec<u32>, to: &VMGcRef) -> Result<(), HeapError> {
    // An `i31` refers to nothing.
    let Some(index) = to.as_heap_index() else { return Ok(()) };
    match objects.mark(index.get()) {
        Mark::New => to_do.push(index.get()),
        Mark::Old => {}
        Mark::NoObject => return Err(corrupt(index.get(), "a reference to no object")),
    }
    Ok(())
}
// ANCHOR_END: mark

// ANCHOR: weak
/// The heap while it is marked, for weak references.
impl WeakTracer for MarkSweepHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        self.objects.is_marked(object.as_raw_u32()).then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        let MarkSweepHeap { core, objects, to_do, .. } = self;
        if let Err(damage) = mark(objects, to_do, object) {
            core.damage.get_or_insert(damage);
        }
        object.unchecked_copy()
    }
}
// ANCHOR_END: weak

impl<'a> GarbageCollection<'a> for MarkSweep<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        match self.work() {
            Ok(phase) => self.phase = phase,
            Err(damage) => {
                self.phase = Phase::Complete;
                return Err(self.heap.core.damage.get_or_insert(damage).clone());
            }
        }
        let complete = self.phase == Phase::Complete;
        Ok(if complete { GcProgress::Complete } else { GcProgress::Continue })
    }
}
