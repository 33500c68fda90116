//! One collection of the deferred-reference-counting heap, in increments.
//!
//! 1. *Roots*: objects on the stack and those of scoped handles are marked, and young ones among them
//!    mature.
//! 2. *Mature*: young objects in the list that are referred to mature. When an object matures, its
//!    referents are counted, and young ones among them mature too.
//! 3. *Settle*: mature objects in the list die if neither a counted reference nor the stack nor a scoped handle refers
//!    to them. Objects that only they referred to die with them.
//! 4. *Reclaim*: young objects that did not mature are free memory.
//!
//! No object dies before everything that lives is counted. A collection that also looks for cycles
//! gets all roots, and continues with a backup trace over the same heap:
//!
//! 5. *Mark*: everything that can be reached from the roots is marked.
//! 6. *Leave*: each unmarked object decrements the counts of its referents. Before, all weak
//!    references are taken off the counts.
//! 7. *Rescue*: an unmarked object that still has a count has a referrer that no root led to. It
//!    and everything reachable from it are marked, and increment the counts of their referents
//!    again. (As in Christopher, "Reference Count Garbage Collection", 1984, who needs no roots at
//!    all.)
//! 8. *Weak*: weak references are processed. What they keep is rescued. Then those that are left
//!    are counted again.
//! 9. *Sweep*: unmarked objects are freed.

use super::DrcHeap;
use super::counts::Counts;
use gc_heap::trace::increments::Parts;
use gc_heap::{
    ExternRefHostDataTable, GcRootsIter, HeapCore, PauseKind, WeakScope, WeakStep, WeakTable,
    WeakTracer,
};
use gc_types::VMGcRef;
use std::time::{Duration, Instant};

/// Whether a collection looks for cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CycleSearch {
    /// Looks for cycles.
    Yes,
    /// Looks for cycles if little memory is free without that.
    IfCramped,
    /// Does not look for cycles, and gets only the roots that are not counted.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Roots,
    Mature,
    Settle,
    Reclaim,
    Mark,
    Leave,
    Rescue,
    Weak,
    Sweep,
    Complete,
}

/// The step that is applied to an unmarked object.
#[derive(Clone, Copy, Debug)]
enum Unmarked {
    Leaves,
    IsRescued,
}

/// The tables of the store.
pub(super) struct Tables<'a> {
    pub(super) host_data: &'a mut ExternRefHostDataTable,
    pub(super) weak: &'a mut WeakTable,
}

pub(super) struct DrcCollection<'a> {
    heap: &'a mut DrcHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    trace: CycleSearch,
    /// Whether cycles were looked for.
    traced: bool,
    phase: Phase,
    /// The entry of the list, or the group of the map, that comes next.
    next: u32,
    /// Number of roots visited.
    rooted: u64,
    /// Bytes of objects that matured since the last search for cycles.
    grown: u64,
    began: Instant,
}

/// The result of a search for cycles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traced {
    /// Bytes by which mature objects had grown since the last search.
    pub(super) grown: u64,
    pub(super) took: Duration,
}

impl<'a> DrcCollection<'a> {
    pub(super) fn new(
        heap: &'a mut DrcHeap,
        roots: GcRootsIter<'a>,
        tables: Tables<'a>,
        trace: CycleSearch,
    ) -> Self {
        // If it does not look for cycles, or is abandoned before it has found some.
        tables.weak.keep_all();
        // The value of each dead box is dropped when the box is freed.
        tables.host_data.keep_all();
        heap.space.begin_collection();
        heap.shapes.update(&heap.core.side.layouts);
        let phase = Phase::Roots;
        DrcCollection {
            heap,
            roots,
            host_data: tables.host_data,
            weak: tables.weak,
            trace,
            traced: false,
            phase,
            next: 0,
            rooted: 0,
            grown: 0,
            began: Instant::now(),
        }
    }

    /// Does up to `budget` units of work.
    fn work(&mut self, budget: &mut u32) {
        while *budget > 0 && self.phase != Phase::Complete && self.heap.core.damage.is_none() {
            let done = match self.phase {
                Phase::Roots => self.look_at_roots(budget),
                Phase::Mature => self.mature(budget),
                Phase::Settle => self.settle(budget),
                Phase::Reclaim => self.reclaim(budget),
                Phase::Mark => self.mark(budget),
                Phase::Leave => self.each_unmarked(budget, Unmarked::Leaves),
                Phase::Rescue => self.each_unmarked(budget, Unmarked::IsRescued),
                Phase::Weak => self.process_weak(budget),
                Phase::Sweep => self.sweep(budget),
                Phase::Complete => true,
            };
            if done {
                self.next = 0;
                self.phase = match self.phase {
                    Phase::Roots => Phase::Mature,
                    Phase::Mature => Phase::Settle,
                    Phase::Settle => Phase::Reclaim,
                    Phase::Reclaim => self.after_counting(),
                    Phase::Mark => self.leave_weak(),
                    Phase::Leave => Phase::Rescue,
                    Phase::Rescue => {
                        self.weak.begin(WeakScope::All);
                        Phase::Weak
                    }
                    Phase::Weak => self.count_weak(),
                    Phase::Sweep | Phase::Complete => self.after_sweep(),
                };
            }
        }
    }

    fn look_at_roots(&mut self, budget: &mut u32) -> bool {
        let mut counts = self.heap.parts().1;
        while *budget > 0 {
            *budget -= 1;
            let Some(root) = self.roots.next() else { return true };
            let counted = root.is_counted();
            if let Some(index) = root.get().and_then(|root| root.as_heap_index()) {
                counts.root(index.get(), counted);
                self.rooted += 1;
            }
        }
        false
    }

    fn mature(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        let entries = counts.list.len(counts.memory);
        while *budget > 0 {
            *budget -= 1;
            if counts.work.cursor.is_some() {
                counts.each_element(budget, Counts::adopt);
            } else if let Some(index) = counts.work.pending.pop() {
                counts.each_ref(shapes, None, index, Counts::adopt);
            } else if self.next < entries {
                let entry = counts.next_listed(&mut self.next, entries);
                counts.mature_if_counted(entry);
            } else {
                return true;
            }
        }
        false
    }

    fn settle(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        let entries = counts.list.len(counts.memory);
        while *budget > 0 {
            *budget -= 1;
            if counts.work.cursor.is_some() {
                let done = counts.each_element(budget, Counts::orphan);
                done.into_iter().for_each(|array| counts.free(array));
            } else if let Some(index) = counts.work.pending.pop() {
                let values = Some(&mut *self.host_data);
                let sound = counts.each_ref(shapes, values, index, Counts::orphan);
                if sound && counts.work.cursor.is_none() {
                    counts.free(index);
                }
            } else if self.next < entries {
                let entry = counts.next_listed(&mut self.next, entries);
                counts.settle(entry);
            } else {
                let mut kept = std::mem::take(&mut counts.work.kept);
                counts.list.replace(counts.memory, &mut kept);
                counts.work.kept = kept;
                return true;
            }
        }
        false
    }

    fn reclaim(&mut self, budget: &mut u32) -> bool {
        let heap = &mut *self.heap;
        while *budget > 0 {
            let Some(range) = heap.space.reclaim_young() else { return true };
            *budget = budget.saturating_sub(1 + (range.end - range.start) / 512);
            if heap.core.memory.zeal() != 0 {
                heap.poison_free(range);
            }
        }
        false
    }

    /// The phase after everything but cycles has died.
    fn after_counting(&mut self) -> Phase {
        let heap = &mut *self.heap;
        heap.space.begin_anew();
        let trace = match self.trace {
            CycleSearch::Yes => true,
            CycleSearch::IfCramped => heap.is_cramped(),
            CycleSearch::No => false,
        };
        if trace {
            self.traced = true;
            self.grown = heap.space.mature_bytes().saturating_sub(heap.core.live);
            std::mem::swap(&mut heap.work.pending, &mut heap.work.rooted);
            return Phase::Mark;
        }
        let (map, rooted) = (heap.space.map_mut(), &mut heap.work.rooted);
        // A marked object can have died only if the heap is damaged.
        rooted.drain(..).for_each(|index| map.clear_mark(index));
        heap.finish(self.rooted, None);
        Phase::Complete
    }

    fn mark(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        while *budget > 0 {
            *budget -= 1;
            if counts.work.cursor.is_some() {
                counts.each_element(budget, Counts::mark);
            } else if let Some(index) = counts.work.pending.pop() {
                counts.each_ref(shapes, None, index, Counts::mark);
            } else {
                return true;
            }
        }
        false
    }

    fn each_unmarked(&mut self, budget: &mut u32, what: Unmarked) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        let visit = match what {
            Unmarked::Leaves => Counts::leave,
            Unmarked::IsRescued => Counts::rescue,
        };
        while *budget > 0 {
            *budget -= 1;
            if counts.work.cursor.is_some() {
                counts.each_element(budget, visit);
            } else if let Some(index) = counts.work.pending.pop() {
                counts.each_ref(shapes, None, index, visit);
            } else if (self.next as usize) < counts.space.map().group_count() {
                let unmarked = counts.space.map().unmarked(self.next as usize);
                self.next = counts.space.next_group(self.next);
                match what {
                    Unmarked::Leaves => counts.work.pending.extend(unmarked),
                    Unmarked::IsRescued => {
                        unmarked.for_each(|index| counts.rescue_if_counted(index));
                    }
                }
            } else {
                return true;
            }
        }
        false
    }

    /// Takes all weak references off the counts.
    fn leave_weak(&mut self) -> Phase {
        let mut counts = self.heap.parts().1;
        self.weak.for_each(&mut |gc_ref| counts.leave(gc_ref.as_raw_u32()));
        Phase::Leave
    }

    /// Processes weak references. What they keep is rescued.
    fn process_weak(&mut self, budget: &mut u32) -> bool {
        while self.rescue_pending(budget) {
            match self.weak.step(&mut Rescuing { heap: &mut *self.heap }, budget) {
                WeakStep::Done => return true,
                WeakStep::Trace => {}
                WeakStep::More => return false,
            }
        }
        false
    }

    /// Rescues what the pending objects refer to. Returns whether there is no more.
    fn rescue_pending(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        while *budget > 0 {
            *budget -= 1;
            if counts.work.cursor.is_some() {
                counts.each_element(budget, Counts::rescue);
            } else if let Some(index) = counts.work.pending.pop() {
                counts.each_ref(shapes, None, index, Counts::rescue);
            } else {
                return true;
            }
        }
        false
    }

    /// Counts the weak references that are left.
    fn count_weak(&mut self) -> Phase {
        let mut counts = self.heap.parts().1;
        self.weak.for_each(&mut |gc_ref| counts.up(gc_ref.as_raw_u32()));
        Phase::Sweep
    }

    fn sweep(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        while *budget > 0 {
            *budget -= 1;
            if (self.next as usize) >= counts.space.map().group_count() {
                return true;
            }
            let group = self.next as usize;
            self.next = counts.space.next_group(self.next);
            let dead = counts.space.map().unmarked(group);
            counts.work.pending.extend(dead);
            counts.space.map_mut().clear_marks(group);
            while let Some(index) = counts.work.pending.pop() {
                *budget = budget.saturating_sub(1);
                let values = Some(&mut *self.host_data);
                counts.each_ref(shapes, values, index, |_, _| ());
                counts.work.cursor = None;
                counts.free(index);
            }
        }
        false
    }

    fn after_sweep(&mut self) -> Phase {
        let traced = Traced { grown: self.grown, took: self.began.elapsed() };
        self.heap.finish(self.rooted, Some(traced));
        Phase::Complete
    }

    /// Ends the collection without looking for cycles, if the search has not begun.
    fn cut_short(&mut self) {
        if self.phase < Phase::Mark {
            self.trace = CycleSearch::No;
        } else if self.phase == Phase::Mark {
            let mut group = 0;
            while (group as usize) < self.heap.space.map().group_count() {
                self.heap.space.map_mut().clear_marks(group as usize);
                group = self.heap.space.next_group(group);
            }
            self.heap.work.clear();
            self.heap.finish(self.rooted, None);
            self.phase = Phase::Complete;
        }
        while self.phase != Phase::Complete && self.heap.core.damage.is_none() {
            self.work(&mut { u32::MAX });
        }
        self.phase = Phase::Complete;
        if self.heap.core.damage.is_some() {
            self.heap.work.clear();
        }
    }
}

/// The heap after the rescue, for weak references.
struct Rescuing<'h> {
    heap: &'h mut DrcHeap,
}

impl WeakTracer for Rescuing<'_> {
    fn core(&self) -> &HeapCore {
        &self.heap.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let marked = self.heap.space.map().is_marked(object.as_raw_u32());
        marked.then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        self.heap.counts().mark(object.as_raw_u32());
        object.unchecked_copy()
    }
}

impl Parts for DrcCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        self.phase == Phase::Complete
    }

    fn part(&mut self, mut budget: u32) {
        self.work(&mut budget);
        self.heap.core.stats.collections += u64::from(self.phase == Phase::Complete);
    }

    fn kind(&self) -> PauseKind {
        match self.traced {
            true => PauseKind::Cycles,
            false => PauseKind::Counts,
        }
    }

    fn must_finish(&self) -> bool {
        false
    }

    fn give_up(&mut self) {
        self.cut_short();
    }
}
