//! [`Cycles`]: the search for garbage that counts do not find, because it refers to itself.
//!
//! The search is a trace of mature objects, and the program runs between its slices, each of which is the last part of
//! a collection. Then everything alive is mature.
//!
//! 1. *Mark* finds what was reachable when the search began (snapshot at the beginning: Taiichi Yuasa,
//!    "Real-Time Garbage Collection on General-Purpose Machines", 1990). An object whose count is decremented
//!    meanwhile enters the list ([`LIST_MASK`]), and the next collection marks it, if it lives. So does the death of an object
//!    with its referents. Objects that mature are marked.
//! 2. When nothing is left to mark, no program can reach an unmarked object, and no live object refers to one.
//! 3. *Leave*: the counts of the referents of each unmarked object are decremented.
//! 4. *Rescue*: an unmarked object that still has a count has a referrer that no root led to: the host has a reference
//!    that it did not name. The object and all that can be reached from it are marked, and the counts of their referents are
//!    incremented again. (As in Thomas W. Christopher, "Reference Count Garbage Collection", 1984, who needs no roots at
//!    all.)
//! 5. *Sweep*: the unmarked objects are freed.
//!
//! From the first step 3 to the last step 4 no object dies because it has no count: a rescue may give it one.
//!
//! Weak references are counted. If there are any when marking ends, they are taken off the counts, steps 3 to 5 follow in the same
//! pause, and between 4 and 5 the weak references are processed. So none is ever seen to an object that is half dead, and
//! when one is cleared, the host values that died with its object are dropped.
//!
//! If the host uses a reference to an unmarked object, a search that marks marks the object, too. Later *Leave* and *Rescue*
//! end before the use ([`Counts::rescue_before_use`]). What becomes garbage while a search marks is found by the next one.

use super::counts::{Counts, count, heap_index};
use super::work::{Stack, Work};
use gc_heap::space::Count;
use gc_heap::space::gaps::map::{GROUP_SHIFT, LiveMap};
use gc_heap::trace::shapes::Shapes;
use gc_heap::{ExternRefHostDataTable, HeapMemory, WeakTable};
use gc_types::collector::drc::{
    COUNT_ONE, LIST_MASK, LIST_MASK_IDLE, LIST_MASK_MARKING, LISTED, MATURE,
};
use std::time::Duration;

/// What a search does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// No search is under way.
    #[default]
    Idle,
    Mark,
    Leave,
    Rescue,
    Sweep,
}

/// The search that is under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct Cycles {
    phase: Phase,
    /// The group of the map that *Leave*, *Rescue* or *Sweep* looks at next.
    next: u32,
    /// Number of objects that were marked. Those that matured since do not count.
    marked: u64,
    /// Number and bytes of mature objects when the search began.
    pub(super) began_at: Count,
    /// Bytes by which mature objects had grown since the last search when this one began.
    pub(super) grown: u64,
    /// The time that the search has taken.
    pub(super) took: Duration,
    /// Whether the rest of the search must end in this pause, because there are weak references.
    has_weak: bool,
}

impl Cycles {
    /// What the search does.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The state of a new heap in `memory`, or of one that was reset.
    pub(super) fn reset(&mut self, memory: &mut HeapMemory) {
        *self = Cycles::default();
        self.enter(memory, Phase::Idle);
    }

    fn enter(&mut self, memory: &mut HeapMemory, phase: Phase) {
        (self.phase, self.next) = (phase, 0);
        memory.set_data_u32(LIST_MASK, self.list_mask());
    }

    /// The mask of emitted code.
    pub(super) fn list_mask(&self) -> u32 {
        match self.phase {
            Phase::Mark => LIST_MASK_MARKING,
            _ => LIST_MASK_IDLE,
        }
    }

    /// Whether an object enters the list whose word is `word` after its count was decremented.
    #[inline]
    pub(super) fn is_to_list(&self, word: u32) -> bool {
        word & self.list_mask() == MATURE
    }

    /// Whether an object at `index` that matures now must be marked, so that it is not swept.
    #[inline]
    fn marks_born(&self, index: u32) -> bool {
        match self.phase {
            Phase::Idle => false,
            Phase::Mark | Phase::Leave | Phase::Rescue => true,
            Phase::Sweep => index >> GROUP_SHIFT >= self.next,
        }
    }

    /// Whether an object may have lost the count of a reference from an unmarked object that is yet rescued. Then no
    /// object dies.
    #[inline]
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self.phase, Phase::Leave | Phase::Rescue)
    }

    /// Whether the search must end in this pause, because there are weak references.
    pub(super) fn must_end(&self) -> bool {
        self.has_weak && !matches!(self.phase, Phase::Idle | Phase::Mark)
    }

    /// Whether the search has found that the mature object at `index` is garbage, and has not freed it.
    pub(super) fn is_garbage(&self, map: &LiveMap, index: u32) -> bool {
        let searched = match self.phase {
            Phase::Idle | Phase::Mark => false,
            Phase::Leave | Phase::Rescue => true,
            Phase::Sweep => index >> GROUP_SHIFT >= self.next,
        };
        searched && map.is_mature(index) && !map.is_marked(index)
    }

    /// The share of the search that is done in a map of `groups` groups. Most of it is marking.
    pub(super) fn progress(&self, groups: usize) -> f64 {
        const MARKING: f64 = 0.7;
        const EACH_OTHER: f64 = 0.1;
        let share = |done: f64, all: f64| (done / all.max(1.0)).min(1.0);
        let looked_at = EACH_OTHER * share(self.next.into(), groups as f64);
        match self.phase {
            Phase::Idle => 1.0,
            Phase::Mark => MARKING * share(self.marked as f64, self.began_at.objects as f64),
            Phase::Leave => MARKING + looked_at,
            Phase::Rescue => MARKING + EACH_OTHER + looked_at,
            Phase::Sweep => MARKING + 2.0 * EACH_OTHER + looked_at,
        }
    }
}

fn grey(work: &mut Work) -> &mut Stack {
    &mut work.grey
}

impl Counts<'_> {
    /// Begins a search, from the objects to which roots refer.
    pub(super) fn begin_search(&mut self, live: u64) {
        let [_, _, began_at] = self.space.tallies();
        *self.cycles =
            Cycles { began_at, grown: began_at.bytes.saturating_sub(live), ..Cycles::default() };
        self.cycles.enter(self.memory, Phase::Mark);
        let rooted = std::mem::take(&mut self.work.rooted);
        let named = std::mem::take(&mut self.work.named);
        rooted.iter().chain(&named).for_each(|&index| self.mark(index));
        self.work.rooted = rooted;
    }

    /// Abandons a search that marks.
    pub(super) fn abandon_search(&mut self) {
        self.work.grey.clear();
        let mut group = 0;
        while (group as usize) < self.space.map().group_count() {
            self.space.map_mut().clear_marks(group as usize);
            group = self.space.next_group(group);
        }
        self.cycles.enter(self.memory, Phase::Idle);
    }

    /// Marks the object at `index`, which just became mature, if that is necessary.
    #[inline]
    pub(super) fn mark_born(&mut self, index: u32) {
        if self.cycles.marks_born(index) {
            self.space.map_mut().set_marked(index);
        }
    }

    /// Marks the object at `index`, which lost a reference, if a search is marking.
    #[inline]
    pub(super) fn mark_overwritten(&mut self, index: u32) {
        if self.cycles.phase == Phase::Mark {
            self.mark(index);
        }
    }

    /// Marks the object that `raw` refers to.
    #[inline]
    pub(super) fn mark(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_mature(index) {
            return self.note(index, "a reference to no object in an object");
        }
        if self.space.map_mut().set_marked(index) {
            self.cycles.marked += 1;
            self.work.grey.objects.push(index);
        }
    }

    /// Marks what grey objects refer to, as far as `budget` allows. Returns whether there are no more.
    pub(super) fn mark_some(&mut self, shapes: &Shapes, budget: &mut u32) -> bool {
        self.process(shapes, grey, budget, Counts::mark, |_, _| ())
    }

    /// Ends marking. Every unmarked object is garbage. Takes the weak references off the counts.
    pub(super) fn end_marking(&mut self, weak: &WeakTable) {
        self.cycles.has_weak = !weak.is_empty();
        weak.for_each(&mut |gc_ref| self.leave(gc_ref.as_raw_u32()));
        self.cycles.enter(self.memory, Phase::Leave);
    }

    /// Removes a reference from an object that is garbage, or one that is weak. If the object is alive, and this
    /// was its last reference, the next collection examines it.
    #[inline]
    pub(super) fn leave(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_mature(index) {
            return self.note(index, "a reference to no object in an object");
        }
        let word = self.word(index);
        if count(word) == 0 {
            return self.note(index, "a reference that was not counted");
        }
        match word - COUNT_ONE {
            MATURE if self.space.map().is_marked(index) => self.enter_list(index, MATURE),
            word => self.set_word(index, word),
        }
    }

    /// Removes the references from unmarked objects, as far as `budget` allows. Then the rescue begins.
    pub(super) fn leave_some(&mut self, shapes: &Shapes, budget: &mut u32) {
        while self.process(shapes, |work| &mut work.leaving, budget, Counts::leave, |_, _| ()) {
            let Some(group) = self.next_group() else {
                return self.cycles.enter(self.memory, Phase::Rescue);
            };
            self.work.leaving.objects.extend(self.space.map().unmarked(group));
        }
    }

    /// Restores a reference from a rescued object.
    #[inline]
    fn rescue(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if !self.space.map().is_mature(index) {
            return self.note(index, "a reference to no object in an object");
        }
        let word = self.word(index).wrapping_add(COUNT_ONE);
        self.set_word(index, word);
        self.mark(index);
    }

    /// Rescues what marked objects refer to that were not marked before, as far as `budget` allows. Returns whether there is no
    /// more.
    pub(super) fn rescue_grey(&mut self, shapes: &Shapes, budget: &mut u32) -> bool {
        self.process(shapes, grey, budget, Counts::rescue, |_, _| ())
    }

    /// Begins to sweep.
    pub(super) fn begin_sweeping(&mut self) {
        self.cycles.enter(self.memory, Phase::Sweep);
    }

    /// Rescues objects that still have a count, as far as `budget` allows. Returns whether there are no more. Each is
    /// rescued with all that can be reached from it at once, so that the host can use it.
    pub(super) fn rescue_some(&mut self, shapes: &Shapes, budget: &mut u32) -> bool {
        while *budget > 0 {
            *budget -= 1;
            let Some(group) = self.next_group() else { return true };
            for index in self.space.map().unmarked(group) {
                *budget = budget.saturating_sub(1);
                if count(self.word(index)) > 0 {
                    self.mark(index);
                    let all = &mut { u32::MAX };
                    while !self.rescue_grey(shapes, all) {
                        *all = u32::MAX;
                    }
                }
            }
        }
        false
    }

    /// Enters the object that `raw` refers to into the list, if a search may not reach it: no root led to it when the search
    /// began, or the reference was weak. The host is about to use the reference, and the next collection marks the object.
    #[cold]
    pub(super) fn note_use(&mut self, raw: u32) {
        let Some(index) = heap_index(raw) else { return };
        if self.space.map().is_mature(index) && !self.space.map().is_marked(index) {
            let word = self.word(index);
            if word & (MATURE | LISTED) == MATURE {
                self.enter_list(index, word);
            }
        }
    }

    /// If `raw` refers to an object that no root led to, and that was not rescued yet, it is rescued now. The host is about to use
    /// the reference.
    #[cold]
    pub(super) fn rescue_before_use(&mut self, shapes: &Shapes, raw: u32) {
        if !heap_index(raw).is_some_and(|index| self.cycles.is_garbage(self.space.map(), index)) {
            return;
        }
        self.end_rescue(shapes);
    }

    /// Ends *Leave* and *Rescue*. There are no weak references, with which both end in one pause, unless the heap was found
    /// to be damaged in that pause. Then nothing is done.
    pub(super) fn end_rescue(&mut self, shapes: &Shapes) {
        while self.cycles.phase == Phase::Leave && self.damage.is_none() {
            self.leave_some(shapes, &mut { u32::MAX });
        }
        while self.damage.is_none() && !self.rescue_some(shapes, &mut { u32::MAX }) {}
        self.begin_sweeping();
    }

    /// The next group of the map, if there is one.
    fn next_group(&mut self) -> Option<usize> {
        let group = self.cycles.next;
        let is_one = (group as usize) < self.space.map().group_count();
        is_one.then(|| self.cycles.next = self.space.next_group(group));
        is_one.then_some(group as usize)
    }

    /// Frees objects that are garbage, as far as `budget` allows. Returns whether the search is over.
    pub(super) fn sweep_some(
        &mut self,
        budget: &mut u32,
        values: &mut ExternRefHostDataTable,
    ) -> bool {
        while *budget > 0 {
            *budget -= 1;
            let at = self.cycles.next;
            let Some(group) = self.next_group() else {
                self.cycles.enter(self.memory, Phase::Idle);
                return true;
            };
            for index in self.space.map().unmarked(group) {
                *budget = budget.saturating_sub(1);
                if count(self.word(index)) > 0 {
                    self.note(index, "a reference to an object that no root led to");
                }
                self.free(index, values);
            }
            self.space.map_mut().clear_marks(group);
            // A large object that was freed is no longer skipped.
            self.cycles.next = self.space.next_group(at);
        }
        false
    }
}
