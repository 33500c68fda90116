//! One collection, in increments. It makes one pass or several passes over the reachable objects.
//!
//! A pass follows the roots, scans the objects found, processes weak references, drops the host
//! values of dead externrefs, and frees the emptied chunks. If the free chunks suffice for the
//! possible or the expected survivors, one pass moves all small objects. Otherwise, or when the
//! expectation was too low, objects are marked in place. The marks show how much lives in each
//! chunk, and further passes empty the chunks with little in them, as long as that frees enough.

use super::CopyingHeap;
use super::budget::Survival;
use super::chunks::{Chunks, GiveBack, State};
use super::trace::{Tracer, Work};
use crate::trace::forwarding::{OFFSET, forwarded};
use crate::trace::increments::{Parts, increment};
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRootsIter,
    HeapBytes, HeapCore, HeapError, WeakScope, WeakStep, WeakTable, WeakTracer,
};
use gc_types::VMGcRef;
use gc_types::collector::copying::CHUNK_SIZE;
use std::time::Instant;

/// Number of chunks whose memory is given back to the system between two reads of the clock.
const GIVEN_BACK: u32 = 128;
/// The maximum number of passes that empty chunks.
const COMPACTIONS: u32 = 3;

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
    /// Frees chunks from `next` on.
    Free {
        next: usize,
    },
    /// Gives memory back to the system.
    GiveBack(GiveBack),
    Complete,
}

pub(super) struct CopyingCollection<'a> {
    heap: &'a mut CopyingHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    phase: Phase,
    work: Work,
    /// Passes that emptied chunks so far.
    compactions: u32,
    /// Bytes of small objects from before the last collection, and of those allocated since.
    old: u64,
    new: u64,
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
            work: Work::default(),
            compactions: 0,
            old: 0,
            new: 0,
            grown: 0,
            began: Instant::now(),
        }
    }

    fn begin(&mut self) {
        let heap = &mut *self.heap;
        heap.shapes.update(&heap.core.layouts);
        heap.retire();
        self.grown = heap.epoch.bytes(None);
        self.old = heap.survivors.small_bytes;
        self.new = heap.epoch.small_bytes(None);
        heap.settle_epoch();
        let from = heap.chunks.iter().filter(|(_, state)| *state == State::Live).count();
        let free = heap.chunks.free();
        let moves_all = free as usize >= from || heap.budget.expected_now() <= free;
        heap.chunks.begin_pass(|_| moves_all);
        self.work.begin();
    }

    /// Follows up to `budget` roots. Returns whether there are no more.
    fn follow_roots(&mut self, mut budget: u32) -> bool {
        while budget > 0 {
            budget -= 1;
            let Some(mut root) = self.roots.next() else { return true };
            let Some(old) = root.get().map(|old| old.as_raw_u32()) else { continue };
            let new = self.heap.follow(&mut self.work, old);
            if new != old
                && let Some(new) = VMGcRef::from_raw_u32(new)
            {
                root.set(new);
            }
        }
        false
    }

    /// Drops host values of dead externrefs.
    fn drop_host_values(&mut self, mut budget: u32) -> Phase {
        let following = Following { heap: &mut *self.heap, work: &mut self.work };
        if !self.host_data.sweep(&following, &mut budget) {
            return Phase::HostValues;
        }
        if let Some((chunk, end)) = self.work.last_chunk() {
            self.heap.chunks.set_end(chunk, end);
        }
        Phase::Free { next: 0 }
    }

    /// Frees emptied chunks among the `budget` chunks from `next` on.
    fn free(&mut self, next: usize, budget: u32) -> Phase {
        let heap = &mut *self.heap;
        let end = (heap.chunks.len() as usize).min(next.saturating_add(budget as usize));
        for chunk in next..end {
            if let Some((start, end)) = heap.chunks.end_pass(chunk) {
                heap.core.memory.poison(start.into(), u64::from(end - start));
            }
        }
        if end < heap.chunks.len() as usize {
            Phase::Free { next: end }
        } else if self.compact() {
            Phase::Roots
        } else {
            self.finish()
        }
    }

    /// Begins a pass that empties chunks with little in them, if that is worth its cost. Returns
    /// whether it does.
    fn compact(&mut self) -> bool {
        let chunks = &mut self.heap.chunks;
        if self.compactions == COMPACTIONS || chunks.free() > chunks.len() / 8 {
            return false;
        }
        let retained = chunks.iter().filter(|&(chunk, _)| chunks.is_retained(chunk));
        let mut sparse: Vec<(u32, usize)> = retained
            .map(|(chunk, _)| (chunks.live_bytes(chunk), chunk))
            .filter(|&(live, _)| live <= CHUNK_SIZE / 4 * 3)
            .collect();
        sparse.sort_unstable();
        // Copies of large objects do not fill their chunks.
        let room = u64::from(chunks.free()) * u64::from(CHUNK_SIZE / 8 * 7);
        let mut moved = 0;
        let fitting = sparse.iter().take_while(|(live, _)| {
            moved += u64::from(*live);
            moved <= room
        });
        let count = fitting.count();
        sparse.truncate(count);
        let live: u64 = sparse.iter().map(|(live, _)| u64::from(*live)).sum();
        if live.div_ceil(u64::from(CHUNK_SIZE / 8 * 7)) >= count as u64 {
            return false;
        }
        let mut empties = vec![false; chunks.len() as usize];
        sparse.iter().for_each(|&(_, chunk)| empties[chunk] = true);
        chunks.begin_pass(|chunk| empties[chunk]);
        self.roots.restart();
        self.work.begin();
        self.compactions += 1;
        true
    }

    /// Ends the moving of objects: all have their final place.
    fn finish(&mut self) -> Phase {
        let heap = &mut *self.heap;
        if let Some((chunk, next)) = self.work.last_chunk() {
            heap.fill_from(chunk, next, next);
        }
        heap.survivors = self.work.survivors;
        heap.survivors.bytes += heap.survivors.small_bytes;
        let survived = heap.survivors.small_bytes;
        let (old, new, chunks) = (self.old, self.new, heap.chunks.needed_for_copies());
        let live = heap.survivors.bytes;
        let occupancy = heap.occupancy();
        heap.core.make_plan(&occupancy, live, self.grown, self.began.elapsed());
        let plan = heap.core.plan;
        let room = plan.goal.saturating_sub(live);
        heap.budget.adapt(&heap.chunks, Survival { old, new, survived, chunks }, room);
        heap.core.stats.collections += 1;
        let spare = plan.spare.div_ceil(u64::from(CHUNK_SIZE));
        Phase::GiveBack(GiveBack::new(u32::try_from(spare).unwrap_or(u32::MAX)))
    }

    fn step(&mut self, budget: u32) {
        self.phase = match self.phase {
            Phase::Begin => {
                self.begin();
                Phase::Roots
            }
            Phase::Roots => {
                if self.follow_roots(budget) {
                    self.weak.begin(WeakScope::All);
                    Phase::Scan
                } else {
                    Phase::Roots
                }
            }
            Phase::Scan => {
                let mut budget = budget;
                let scanned =
                    self.heap.tracer(&mut self.work).is_none_or(|mut it| it.scan(&mut budget));
                if scanned { Phase::Weak } else { Phase::Scan }
            }
            Phase::Weak => {
                let mut following = Following { heap: &mut *self.heap, work: &mut self.work };
                match self.weak.step(&mut following, &mut { budget }) {
                    WeakStep::More => Phase::Weak,
                    WeakStep::Trace => Phase::Scan,
                    WeakStep::Done => {
                        self.host_data.begin_sweep(WeakScope::All);
                        Phase::HostValues
                    }
                }
            }
            Phase::HostValues => self.drop_host_values(budget),
            Phase::Free { next } => self.free(next, budget),
            Phase::GiveBack(mut from) => {
                let heap = &mut *self.heap;
                if heap.chunks.give_back(&mut heap.core.memory, &mut from, GIVEN_BACK) {
                    Phase::GiveBack(from)
                } else {
                    Phase::Complete
                }
            }
            Phase::Complete => Phase::Complete,
        };
    }
}

/// The heap during a pass, for weak references.
struct Following<'h> {
    heap: &'h mut CopyingHeap,
    work: &'h mut Work,
}

impl WeakTracer for Following<'_> {
    fn core(&self) -> &HeapCore {
        &self.heap.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        self.heap.survivor(object.as_raw_u32()).and_then(VMGcRef::from_heap_index)
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        let new = self.heap.follow(self.work, object.as_raw_u32());
        VMGcRef::from_raw_u32(new).unwrap_or_else(|| object.unchecked_copy())
    }
}

impl CopyingHeap {
    /// The parts that following references needs. `None` if there is no memory, and no object.
    fn tracer<'h>(&'h mut self, work: &'h mut Work) -> Option<Tracer<'h, HeapBytes<'h>>> {
        Some(Tracer {
            bytes: self.core.memory.bytes()?,
            shapes: &self.shapes,
            chunks: &mut self.chunks,
            damage: &mut self.core.damage,
            work,
        })
    }

    /// The word that replaces the reference `raw`.
    fn follow(&mut self, work: &mut Work, raw: u32) -> u32 {
        self.tracer(work).map_or(raw, |mut tracer| tracer.follow(raw))
    }

    /// Counts what was allocated since the last collection, before the epoch is cleared.
    fn settle_epoch(&mut self) {
        let mut epoch = std::mem::take(&mut self.epoch);
        let walk = |at, end, visit: &mut dyn FnMut(u32, u32) -> _| self.core.walk(at, end, visit);
        let exact = self.core.memory.zeal() != 0;
        let new = if exact { epoch.count(None, &walk) } else { epoch.estimate(&walk) };
        epoch.clear();
        self.epoch = epoch;
        self.core.stats.allocations += new.objects;
        self.core.stats.allocated_bytes += new.bytes;
        // The collection corrects this later.
        self.survivors.objects += new.objects;
        self.survivors.bytes += new.bytes;
    }

    /// The current place of the object that was at `index` before the pass. `None` if the pass has
    /// not found it.
    fn survivor(&self, index: u32) -> Option<u32> {
        let chunk = Chunks::of(index);
        let found = match self.chunks.state(chunk)? {
            State::From | State::Stay if self.chunks.is_marked(chunk, index) => true,
            State::From => {
                return forwarded(self.core.memory.read_u32(u64::from(index) + OFFSET)?);
            }
            State::Large => self.chunks.is_reached(chunk),
            State::Live => true,
            State::Stay | State::LargeTail | State::Free => false,
        };
        found.then_some(index)
    }
}

impl Parts for CopyingCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete)
    }

    fn part(&mut self, budget: u32) {
        self.step(budget);
    }

    fn give_up(&mut self) {
        self.phase = Phase::Complete;
    }
}

impl<'a> GarbageCollection<'a> for CopyingCollection<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        increment(self)
    }

    /// Finishes the collection once it has begun, because a heap that is half copied is not usable.
    fn abandon(&mut self) {
        while !matches!(self.phase, Phase::Begin | Phase::Complete) {
            // A heap that is corrupt is not made consistent. The collection is then over.
            let _corrupt = self.collect_increment();
        }
        self.phase = Phase::Complete;
    }
}

impl Drop for CopyingCollection<'_> {
    fn drop(&mut self) {
        self.heap.core.check_over(matches!(self.phase, Phase::Complete));
    }
}
