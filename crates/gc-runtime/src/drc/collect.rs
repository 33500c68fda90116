//! One collection of the deferred-reference-counting heap, in increments.
//!
//! 1. *Roots*: objects on the stack and those of scoped handles get a count for each of these roots, and young ones among
//!    them mature.
//! 2. *Mature*: young objects in the list that are referred to mature. When an object matures, its
//!    referents are counted, and young ones among them mature too.
//! 3. *Settle*: mature objects in the list die if nothing refers to them.
//! 4. *Die*: the referents of dead objects are counted down, and die with them if that was their last reference. If
//!    there are many, the rest of them wait for the next collection.
//! 5. *Reclaim*: young objects that did not mature are free memory.
//! 6. *Search*: a slice of the search for cycles (`cycles.rs`), if one is under way or due. *Weak* processes weak
//!    references between two steps of it.
//! 7. *Forget*: the counts for the roots are taken away again. Objects without another one are in the list.
//!
//! No object dies before everything that lives is counted.

use super::DrcHeap;
use super::counts::Counts;
use super::cycles;
use gc_heap::space::nursery::size::NurseryUse;
use gc_heap::trace::increments::Parts;
use gc_heap::{
    ExternRefHostDataTable, GcCause, GcRootsIter, HeapCore, PauseKind, WeakScope, WeakStep,
    WeakTable, WeakTracer,
};
use gc_types::VMGcRef;
use std::time::{Duration, Instant};

/// What a collection does about cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CycleSearch {
    /// A whole search. A search that is marking begins anew, so that all that is garbage now is found.
    Whole,
    /// A whole search if little memory is free without that, otherwise a slice.
    IfCramped,
    /// A slice.
    Slice {
        /// Whether a search may begin.
        begins: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Roots,
    Mature,
    Settle,
    Die,
    Reclaim,
    Search,
    Weak,
    Forget,
    Complete,
}

/// Under zeal a part has this number of units of work, and only one part is done of what may wait.
const ZEAL_PART: u32 = 24;
/// A collection frees dead objects of this number of bytes for each byte that was allocated since the last one, if there
/// are so many, even if that takes longer than a pause should. So fewer and fewer wait.
const FREED_OF_ALLOCATED: u64 = 2;

/// Bytes that count as freed for each dead object, or element of a dead array, whose referents were counted down.
const OBJECT_BYTES: u64 = 16;

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
    search: CycleSearch,
    /// Whether the host gives the time.
    is_idle: bool,
    /// Whether dead objects may wait for the next collection.
    dies_later: bool,
    /// Whether a whole search for cycles has begun in this collection, and whether one has ended.
    whole: bool,
    searched: bool,
    /// Whether the search for cycles waits for the next collection, whatever is left.
    abandoned: bool,
    phase: Phase,
    /// The entry of the list that comes next.
    next: u32,
    /// Number of roots visited that are not counted.
    visited: u64,
    /// Bytes allocated since the last collection, and bytes of mature objects when dead ones began to be freed.
    allocated: u64,
    settled_from: u64,
    /// Number of dead objects, and of elements of dead arrays, whose referents were counted down.
    counted_down: u64,
    /// Bytes of objects that matured, and of mature objects that died.
    matured: u64,
    died: u64,
    /// The time that a pause should take, and the time worked.
    target: Duration,
    worked: Duration,
    /// The time that counting took.
    counted: Duration,
    /// Whether the phase has done a part of its work.
    began: bool,
}

impl<'a> DrcCollection<'a> {
    pub(super) fn new(
        heap: &'a mut DrcHeap,
        roots: GcRootsIter<'a>,
        tables: Tables<'a>,
        search: CycleSearch,
        cause: GcCause,
    ) -> Self {
        // If no marking ends in it.
        tables.weak.keep_all();
        // The value of each dead box is dropped when the box is freed.
        tables.host_data.keep_all();
        heap.space.begin_collection();
        heap.shapes.update(&heap.core.side.layouts);
        let dies_later = matches!(cause, GcCause::NoRoom | GcCause::Idle | GcCause::Zeal)
            && matches!(search, CycleSearch::Slice { .. });
        DrcCollection {
            allocated: heap.space.allocated(),
            settled_from: 0,
            counted_down: 0,
            matured: 0,
            died: 0,
            target: heap.core.side.pause_left(),
            worked: Duration::ZERO,
            counted: Duration::ZERO,
            heap,
            roots,
            host_data: tables.host_data,
            weak: tables.weak,
            search,
            is_idle: cause == GcCause::Idle,
            dies_later,
            whole: false,
            searched: false,
            abandoned: false,
            phase: Phase::Roots,
            next: 0,
            visited: 0,
            began: false,
        }
    }

    /// Does up to `budget` units of work.
    fn work(&mut self, budget: &mut u32) {
        while *budget > 0 && self.phase != Phase::Complete && self.heap.core.damage.is_none() {
            let next = match self.phase {
                Phase::Roots => self.look_at_roots(budget).then_some(Phase::Mature),
                Phase::Mature => {
                    let before = self.heap.space.mature_bytes();
                    let done = self.mature(budget);
                    self.matured += self.heap.space.mature_bytes() - before;
                    done.then_some(Phase::Settle)
                }
                Phase::Settle => self.settle(budget).then_some(Phase::Die),
                Phase::Die => self.die(budget).then_some(Phase::Reclaim),
                Phase::Reclaim => self.reclaim(budget).then(|| self.after_counting()),
                Phase::Search => self.search(budget),
                Phase::Weak => self.process_weak(budget).then(|| self.count_weak()),
                Phase::Forget => self.forget_roots(budget).then(|| self.finish()),
                Phase::Complete => None,
            };
            self.began = true;
            if let Some(next) = next {
                (self.phase, self.next, self.began) = (next, 0, false);
                if matches!(next, Phase::Die | Phase::Search) {
                    // What may wait begins with a part of its own.
                    break;
                }
            }
        }
    }

    /// Whether what is left of this phase waits for the next collection. A part of it never does.
    fn waits(&self) -> bool {
        let heap = &*self.heap;
        let may_wait = match self.phase {
            Phase::Search if heap.cycles.must_end() => false,
            Phase::Die => self.dies_later,
            _ if self.abandoned => return true,
            _ => matches!(self.search, CycleSearch::Slice { .. }),
        };
        if !may_wait || !self.began {
            return false;
        }
        match self.phase {
            // Slices are short under zeal, but time that the host gives is used.
            _ if heap.core.memory.zeal() != 0 && !self.is_idle => true,
            Phase::Die => {
                let freed = self.settled_from.saturating_sub(heap.space.mature_bytes());
                // While a large array dies, nothing is freed.
                let freed = freed.max(self.counted_down * OBJECT_BYTES);
                self.worked >= self.target / 2 && freed >= self.allocated * FREED_OF_ALLOCATED
            }
            _ => self.worked >= self.target && heap.search_keeps_up(),
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
                // The others are visited only if a search begins.
                self.visited += u64::from(!counted);
            }
        }
        false
    }

    fn mature(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        let entries = counts.list.len(counts.memory);
        while counts.process(shapes, |work| &mut work.maturing, budget, Counts::adopt, |_, _| ()) {
            if self.next >= entries {
                return true;
            }
            let entry = counts.next_listed(&mut self.next, entries);
            counts.mature_if_counted(entry);
        }
        false
    }

    fn settle(&mut self, budget: &mut u32) -> bool {
        let (shapes, mut counts) = self.heap.parts();
        if !self.dies_later && counts.cycles.is_unsure() {
            // Otherwise nothing would die in this collection.
            counts.end_rescue(shapes);
        }
        let entries = counts.list.len(counts.memory);
        while *budget > 0 && self.next < entries {
            *budget -= 1;
            let entry = counts.next_listed(&mut self.next, entries);
            counts.settle(entry);
        }
        if self.next < entries {
            return false;
        }
        counts.list.replace(counts.memory, &mut counts.work.kept);
        self.settled_from = self.heap.space.mature_bytes();
        true
    }

    fn die(&mut self, budget: &mut u32) -> bool {
        if self.waits() {
            return true;
        }
        let (shapes, mut counts) = self.heap.parts();
        let values = &mut *self.host_data;
        let end = |counts: &mut Counts<'_>, index| counts.free(index, values);
        let before = *budget;
        let done = counts.process(shapes, |work| &mut work.dying, budget, Counts::orphan, end);
        self.counted_down += u64::from(before - *budget);
        done
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
        // Under zeal memory is used again as soon as possible.
        heap.space.begin_anew(heap.core.memory.zeal() != 0);
        self.died += self.settled_from.saturating_sub(heap.space.mature_bytes());
        if self.search == CycleSearch::IfCramped {
            self.search = match heap.is_cramped() {
                true => CycleSearch::Whole,
                false => CycleSearch::Slice { begins: false },
            };
        }
        if self.abandoned {
            return Phase::Forget;
        }
        let begins = match (heap.cycles.phase(), self.search) {
            (cycles::Phase::Idle, CycleSearch::Slice { begins }) => {
                begins && heap.work.dying.is_empty()
            }
            (cycles::Phase::Idle, _) => true,
            // What became garbage since it began would not be found.
            (cycles::Phase::Mark, CycleSearch::Whole) => {
                heap.counts().abandon_search();
                true
            }
            _ => false,
        };
        if begins {
            let live = heap.core.live;
            heap.counts().begin_search(live);
            self.whole = self.search == CycleSearch::Whole;
        }
        Phase::Search
    }

    /// Continues the search for cycles.
    fn search(&mut self, budget: &mut u32) -> Option<Phase> {
        if self.waits() {
            return Some(Phase::Forget);
        }
        let (shapes, mut counts) = self.heap.parts();
        match counts.cycles.phase() {
            cycles::Phase::Idle => Some(Phase::Forget),
            cycles::Phase::Mark => {
                if !counts.mark_some(shapes, budget) {
                    return None;
                }
                if !counts.work.dying.is_empty() {
                    // What they refer to may live, and may not be marked.
                    return Some(Phase::Forget);
                }
                counts.end_marking(self.weak);
                None
            }
            cycles::Phase::Leave => {
                counts.leave_some(shapes, budget);
                None
            }
            cycles::Phase::Rescue => {
                if !counts.rescue_some(shapes, budget) {
                    return None;
                }
                if counts.cycles.must_end() {
                    self.weak.begin(WeakScope::All);
                    return Some(Phase::Weak);
                }
                counts.begin_sweeping();
                None
            }
            cycles::Phase::Sweep => {
                if !counts.sweep_some(budget, self.host_data) {
                    return None;
                }
                self.searched = true;
                // That search had begun before.
                let another = self.search == CycleSearch::Whole && !self.whole;
                Some(if another { Phase::Settle } else { Phase::Forget })
            }
        }
    }

    /// Processes weak references. What they keep is rescued.
    fn process_weak(&mut self, budget: &mut u32) -> bool {
        loop {
            let (shapes, mut counts) = self.heap.parts();
            if !counts.rescue_grey(shapes, budget) {
                return false;
            }
            match self.weak.step(&mut Rescued { heap: &mut *self.heap }, budget) {
                WeakStep::Done => return true,
                WeakStep::Trace => {}
                WeakStep::More => return false,
            }
        }
    }

    /// Counts the weak references that are left.
    fn count_weak(&mut self) -> Phase {
        let mut counts = self.heap.counts();
        self.weak.for_each(&mut |gc_ref| counts.up(gc_ref.as_raw_u32()));
        counts.begin_sweeping();
        Phase::Search
    }

    fn forget_roots(&mut self, budget: &mut u32) -> bool {
        let mut counts = self.heap.parts().1;
        while *budget > 0 {
            *budget -= 1;
            let Some(index) = counts.work.rooted.pop() else { return true };
            counts.forget_root(index);
        }
        false
    }

    fn finish(&mut self) -> Phase {
        let roots = u32::try_from(self.visited).unwrap_or(u32::MAX);
        let used = u32::try_from(self.allocated).unwrap_or(u32::MAX);
        let found = NurseryUse { used, survived: self.matured, roots, took: Some(self.counted) };
        self.heap.finish(Finished { found, died: self.died, searched: self.searched });
        Phase::Complete
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    /// What was allocated since the collection before, how much of it matured, and the time for everything but the search for
    /// cycles.
    pub(super) found: NurseryUse,
    /// Bytes of mature objects that died.
    pub(super) died: u64,
    /// Whether a search for cycles ended.
    pub(super) searched: bool,
}

/// The heap after the rescue, for weak references.
struct Rescued<'h> {
    heap: &'h mut DrcHeap,
}

impl WeakTracer for Rescued<'_> {
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

    fn part(&mut self, budget: u32) {
        let mut budget = match self.heap.core.memory.zeal() {
            0 => budget,
            _ => budget.min(ZEAL_PART),
        };
        let (start, searches) = (Instant::now(), matches!(self.phase, Phase::Search | Phase::Weak));
        self.work(&mut budget);
        let took = start.elapsed();
        self.worked += took;
        match searches {
            true => self.heap.cycles.took += took,
            false => self.counted += took,
        }
        self.heap.core.stats.collections += u64::from(self.phase == Phase::Complete);
    }

    fn kind(&self) -> PauseKind {
        match self.whole {
            true => PauseKind::Cycles,
            false => PauseKind::Counts,
        }
    }

    fn must_finish(&self) -> bool {
        false
    }

    /// Ends the collection soon. A search for cycles goes on in the next ones.
    fn give_up(&mut self) {
        self.abandoned = true;
        while self.phase != Phase::Complete && self.heap.core.damage.is_none() {
            self.work(&mut { u32::MAX });
        }
        self.phase = Phase::Complete;
        if self.heap.core.damage.is_some() {
            self.heap.work.clear();
        }
    }
}
