//! Mark, update, move.
//!
//! Marking visits everything reachable from the roots, in increments, and writes only to tables
//! outside the heap. A collection that is abandoned while it marks has no effect. Compaction, which
//! moves objects, is one increment, so a collection cannot be abandoned in the middle of it.

use crate::bitmap::Bitmap;
use crate::heap::{MarkCompactHeap, corrupt};
use gc_runtime::space::Count;
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRootsIter,
    HeapCore, HeapError, WeakScope, WeakStep, WeakTable, WeakTracer,
};
use gc_types::VMGcRef;
use std::time::Instant;

/// The number of objects, or of weak references, that one increment visits.
const INCREMENT: u32 = 10_000;

/// A collection under way.
pub(crate) struct MarkCompact<'a> {
    heap: &'a mut MarkCompactHeap,
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
    Compacting,
    Complete,
}

impl<'a> MarkCompact<'a> {
    pub(crate) fn new(heap: &'a mut MarkCompactHeap, request: GcRequest<'a>) -> MarkCompact<'a> {
        let GcRequest { roots, host_data, weak, .. } = request;
        let roots = roots.all();
        MarkCompact { heap, roots, host_data, weak, phase: Phase::Roots, began: Instant::now() }
    }

    // ANCHOR: phases
    /// Does one increment of work and returns the next phase.
    fn work(&mut self) -> Result<Phase, HeapError> {
        let heap = &mut *self.heap;
        match self.phase {
            Phase::Roots => {
                heap.core.check_damage()?;
                heap.note_new()?;
                // A collection that was abandoned may have left data.
                heap.forwarding.clear();
                heap.to_do.clear();
                for root in self.roots.by_ref() {
                    if let Some(to) = root.get() {
                        heap.mark(&to)?;
                    }
                }
                self.weak.begin(WeakScope::All);
                Ok(Phase::Marking)
            }
            Phase::Marking => {
                let mut found = Vec::new();
                for _ in 0..INCREMENT {
                    let Some(object) = heap.to_do.pop() else { return Ok(Phase::Weak) };
                    heap.references(object, &mut found)?;
                    for (_, to) in found.drain(..) {
                        heap.mark(&to)?;
                    }
                }
                Ok(Phase::Marking)
            }
            Phase::Weak => {
                let step = self.weak.step(heap, &mut { INCREMENT });
                heap.core.check_damage()?;
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
                let done = self.host_data.sweep(heap, &mut { INCREMENT });
                Ok(if done { Phase::Compacting } else { Phase::HostValues })
            }
            Phase::Compacting => {
                self.compact()?;
                Ok(Phase::Complete)
            }
            Phase::Complete => Ok(Phase::Complete),
        }
    }
    // ANCHOR_END: phases

    // ANCHOR: compact
    /// Moves the marked objects to the heap's front, and updates all references to them.
    fn compact(&mut self) -> Result<(), HeapError> {
        let heap = &mut *self.heap;
        heap.forwarding.compute();
        // The second pass over the roots.
        self.roots.restart();
        for mut root in self.roots.by_ref() {
            if let Some(to) = root.get()
                && let Some(new) = heap.forward(&to)?
            {
                root.set(new);
            }
        }
        let mut new = |to: &VMGcRef| heap.forward(to).ok().flatten();
        self.weak.update(&mut new);
        self.host_data.update(&mut new);
        heap.forward_fields()?;
        let new_bytes = heap.new_bytes;
        heap.slide()?;
        let live = heap.live.bytes;
        let occupancy = heap.occupancy();
        heap.core.make_plan(&occupancy, live, new_bytes, self.began.elapsed());
        heap.core.stats.collections += 1;
        Ok(())
    }
    // ANCHOR_END: compact
}

// ANCHOR: weak
/// The heap while it is marked, for weak references. Objects move later.
impl WeakTracer for MarkCompactHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        self.forwarding.is_marked(object.as_raw_u32()).then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        if let Err(damage) = self.mark(object) {
            self.core.damage.get_or_insert(damage);
        }
        object.unchecked_copy()
    }
}
// ANCHOR_END: weak

impl MarkCompactHeap {
    // ANCHOR: mark
    /// Marks the object to which `to` refers, and enters it in the list of objects to scan.
    fn mark(&mut self, to: &VMGcRef) -> Result<(), HeapError> {
        // An `i31` refers to nothing.
        let Some(index) = to.as_heap_index() else { return Ok(()) };
        if self.forwarding.is_marked(index.get()) && self.starts.contains(index.get()) {
            return Ok(());
        }
        let object = self.object(index.get());
        self.forwarding.mark(object.ok_or(corrupt(index.get(), "a reference to no object"))?);
        self.to_do.push(index.get());
        Ok(())
    }

    /// Adds the references in the object at `index`, with their places, to `found`. The size in the
    /// object must be the same as when it was allocated.
    fn references(&self, index: u32, found: &mut Vec<(u64, VMGcRef)>) -> Result<(), HeapError> {
        let size = self.object(index).map_or(0, |object| object.end - object.start);
        if self.core.size_at(index)? != size {
            return Err(corrupt(index, "an object's size has changed"));
        }
        self.core.for_each_ref_at(index, |at, to| found.push((at, to)))
    }
    // ANCHOR_END: mark

    // ANCHOR: forward
    /// The new place of the object to which `to` refers. `None` for an `i31`.
    fn forward(&self, to: &VMGcRef) -> Result<Option<VMGcRef>, HeapError> {
        let Some(index) = to.as_heap_index() else { return Ok(None) };
        let is_object = self.starts.contains(index.get());
        let new = is_object.then(|| self.forwarding.get(index.get())).flatten();
        let new = new.and_then(VMGcRef::from_heap_index);
        new.map(Some).ok_or(corrupt(index.get(), "a reference to an object that was not marked"))
    }

    /// Updates the references in all live objects.
    fn forward_fields(&mut self) -> Result<(), HeapError> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(object) = self.starts.next(from, true) {
            from = object + 8;
            if self.forwarding.is_marked(object) {
                self.references(object, &mut found)?;
                for (at, to) in found.drain(..) {
                    if let Some(new) = self.forward(&to)? {
                        self.core.write_ref_at(at, Some(&new))?;
                    }
                }
            }
        }
        Ok(())
    }
    // ANCHOR_END: forward

    // ANCHOR: slide
    /// Moves the live objects. A run of objects without garbage between them moves at once, to a
    /// place that has no live objects any more.
    fn slide(&mut self) -> Result<(), HeapError> {
        let (mut starts, mut live) = (Bitmap::default(), Count::default());
        starts.extend(self.end());
        let (mut from, end) = (0, self.end());
        let mut new_end = gc_types::NULL_PAGE_SIZE;
        while let Some(run) = self.forwarding.next_run(from..end) {
            let (to, size) = (new_end, run.end - run.start);
            for object in self.starts.in_range(run.clone()) {
                starts.insert(to + (object - run.start));
                live.objects += 1;
            }
            if to != run.start {
                let moved = self.core.memory.copy_within(to.into(), run.start.into(), size.into());
                moved.ok_or(corrupt(run.start, "an object outside the heap"))?;
            }
            live.bytes += u64::from(size);
            (from, new_end) = (run.end, to + size);
        }
        starts.extend(self.mapped_end());
        (self.starts, self.live) = (starts, live);
        self.forwarding.clear();
        self.set_end(new_end);
        Ok(())
    }
    // ANCHOR_END: slide
}

impl<'a> GarbageCollection<'a> for MarkCompact<'a> {
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

    // ANCHOR: abandon
    /// Ends the collection between two increments. Nothing has moved, or everything has.
    fn abandon(&mut self) {
        self.phase = Phase::Complete;
    }
    // ANCHOR_END: abandon
}
