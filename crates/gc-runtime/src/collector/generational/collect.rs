//! One collection of the generational heap, in increments.
//!
//! Every collection empties the nursery. A collection that begins a major collection then marks the
//! referents of the roots. One that finishes a major collection does that first. A full collection
//! marks the old generation from all roots and sweeps it. If objects were retained in the nursery,
//! it then empties the nursery again. A trace does both at the same time. If a collection is
//! dropped before it is complete, it finishes the nursery and abandons marking.

use super::GenerationalHeap;
use super::major::{Log, Phase};
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcProgress, GcRootsIter, GcRootsList,
    HeapError, PauseKind,
};
use std::time::Instant;

/// Number of roots, objects and cards between two reads of the clock. They take some tens of
/// microseconds.
const INCREMENT: u32 = 4096;

/// The plan of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The nursery.
    Minor,
    /// The nursery; then a major collection begins.
    Begin,
    /// The rest of the major collection that is under way, then the nursery.
    Finish,
    /// Everything at once. Becomes a minor collection if too much is found alive.
    Trace,
    /// The nursery, then everything.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Finishes the work of an earlier collection.
    Prepare,
    /// Marking for [`Plan::Finish`].
    Finish,
    /// Moves the referents of the roots out of the nursery, for the first time or, after a major
    /// collection, for the second time.
    Roots,
    Cards,
    Grey,
    MarkRoots,
    Mark,
    /// Moves the live objects of the chosen blocks, then updates references to them.
    Evacuate,
    UpdateSlots,
    UpdateRoots,
    Sweep,
    Complete,
}

pub(super) struct GenerationalCollection<'a> {
    heap: &'a mut GenerationalHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    plan: Plan,
    /// Whether all roots are available and blocks wait for evacuation.
    evacuates: bool,
    /// Whether the major part is done.
    marked: bool,
    step: Step,
}

impl GenerationalHeap {
    /// The plan for a collection with this cause.
    pub(super) fn choose(&mut self, cause: GcCause) -> Plan {
        let under_way = !matches!(self.phase, Phase::Idle | Phase::GivingBack(_));
        match cause {
            GcCause::NoRoom => {
                let stuck = self.nursery.retains() && !self.grown
                    || !self.has_room_for_minor()
                    || self.large_wanted && self.major_is_due();
                match (stuck, under_way) {
                    (true, true) => Plan::Finish,
                    (true, false) => Plan::Full,
                    (false, _) if self.trace_pays() => Plan::Trace,
                    (false, false) if self.marking_is_due() => Plan::Begin,
                    (false, _) => Plan::Minor,
                }
            }
            // A trace may be abandoned, and would then drop none of these.
            GcCause::HostValues if self.old.externrefs.len() > self.nursery.externrefs.len() => {
                Plan::Full
            }
            GcCause::HostValues if self.trace_pays() => Plan::Trace,
            GcCause::HostValues => Plan::Minor,
            GcCause::Zeal => {
                self.zeal_count = self.zeal_count.wrapping_add(1);
                match self.zeal_count % 16 {
                    2 => Plan::Begin,
                    11 => Plan::Finish,
                    0 => Plan::Full,
                    1 | 9 | 12 | 13 if self.may_trace() => Plan::Trace,
                    _ => Plan::Minor,
                }
            }
            _ => Plan::Full,
        }
    }

    /// Whether a collection needs all roots. Other collections need only the remembered roots,
    /// because the rest do not refer to young objects.
    pub(super) fn needs_all_roots(&self, plan: Plan) -> bool {
        matches!(plan, Plan::Full | Plan::Begin | Plan::Trace)
            || self.phase == Phase::Evacuating
            || self.tables.wants_all_slots()
    }

    /// The roots that a collection needs.
    pub(super) fn roots_for<'a>(&self, plan: Plan, roots: &'a mut GcRootsList) -> GcRootsIter<'a> {
        match self.needs_all_roots(plan) {
            true => roots.all(),
            false => roots.remembered(self.tables.slots()),
        }
    }
}

impl<'a> GenerationalCollection<'a> {
    pub(super) fn new(
        heap: &'a mut GenerationalHeap,
        roots: GcRootsIter<'a>,
        host_data: &'a mut ExternRefHostDataTable,
        plan: Plan,
    ) -> Self {
        let evacuates = heap.phase == Phase::Evacuating;
        let step = Step::Prepare;
        GenerationalCollection { heap, roots, host_data, plan, evacuates, marked: false, step }
    }

    /// Does a piece of work.
    fn work(&mut self, budget: &mut u32) {
        let heap = &mut *self.heap;
        match self.step {
            Step::Prepare => {
                if self.plan == Plan::Full {
                    heap.abandon_marking();
                }
                // Room is needed.
                if matches!(self.plan, Plan::Full | Plan::Finish) {
                    heap.cancel_evacuation();
                }
                if heap.sweep_some(budget) {
                    if self.plan == Plan::Finish && heap.phase == Phase::Marking {
                        self.step = Step::Finish;
                    } else {
                        if self.plan == Plan::Trace && heap.may_trace() {
                            heap.begin_trace();
                        } else {
                            if self.plan == Plan::Trace {
                                self.plan = Plan::Minor;
                            }
                            heap.begin_minor();
                        }
                        self.step = Step::Roots;
                    }
                }
            }
            Step::Finish => {
                let log = heap.mark_logged(budget);
                if log == Log::Lost {
                    heap.abandon_marking();
                    self.step = Step::Prepare;
                } else if log == Log::Done && heap.mark_some(budget) && heap.core.damage.is_none() {
                    heap.end_marking();
                    // Roots may be missing, and room is needed.
                    heap.cancel_evacuation();
                    self.step = Step::Prepare;
                }
            }
            Step::Roots => {
                while *budget > 0 && heap.core.damage.is_none() {
                    *budget -= 1;
                    let Some(mut root) = self.roots.next() else {
                        let traces = heap.scavenger.trace.is_active;
                        self.step = if traces { Step::Grey } else { Step::Cards };
                        break;
                    };
                    heap.scavenger.roots = heap.scavenger.roots.saturating_add(1);
                    let Some(word) = root.get().map(|word| word.as_raw_u32()) else { continue };
                    if heap.is_young(word) {
                        if let Some(new) = heap.scavenge(word)
                            && let Some(new) = gc_types::VMGcRef::from_heap_index(new)
                        {
                            root.set(new);
                        }
                    } else if heap.scavenger.trace.is_active {
                        heap.trace(word);
                    }
                }
            }
            Step::Cards => {
                if heap.scan_cards(budget) {
                    self.step = Step::Grey;
                }
            }
            Step::Grey => {
                let done = heap.scan_grey(budget);
                if heap.scavenger.trace.is_over() && heap.scavenger.trace.is_active {
                    heap.give_trace_up();
                    self.plan = Plan::Minor;
                    self.step = Step::Cards;
                } else if done && heap.core.damage.is_none() {
                    let used = heap.nursery_used();
                    heap.end_minor();
                    if !heap.nursery.retains() {
                        // No object is young.
                        self.roots.forget_new();
                    }
                    if heap.scavenger.trace.is_active {
                        heap.end_trace(used);
                        self.step = Step::Sweep;
                        return;
                    }
                    let begin = self.plan == Plan::Full && !self.marked
                        || self.plan == Plan::Begin
                            && matches!(heap.phase, Phase::Idle | Phase::GivingBack(_))
                            && !heap.nursery.retains();
                    if begin {
                        self.roots.restart();
                        heap.begin_marking();
                        self.step = Step::MarkRoots;
                    } else if self.evacuates && heap.phase == Phase::Evacuating {
                        self.evacuates = false;
                        // Young objects may refer to objects that would be moved.
                        if heap.nursery.retains() || !heap.mark_all_logged() {
                            heap.cancel_evacuation();
                            self.complete();
                        } else {
                            self.step = Step::Evacuate;
                        }
                    } else {
                        self.complete();
                    }
                }
            }
            Step::MarkRoots => {
                while *budget > 0 && heap.core.damage.is_none() {
                    *budget -= 1;
                    match self.roots.next() {
                        Some(root) => {
                            root.get().iter().for_each(|word| heap.mark(word.as_raw_u32()));
                        }
                        None if self.plan == Plan::Begin => {
                            heap.interleave_marking();
                            self.complete();
                            break;
                        }
                        None => {
                            self.step = Step::Mark;
                            break;
                        }
                    }
                }
            }
            Step::Mark => {
                if heap.mark_some(budget) && heap.core.damage.is_none() {
                    heap.end_marking();
                    self.marked = true;
                    self.step = match heap.phase {
                        Phase::Evacuating => Step::Evacuate,
                        _ => Step::Sweep,
                    };
                }
            }
            Step::Evacuate => {
                if heap.evacuate_some(budget) {
                    self.step = Step::UpdateSlots;
                }
            }
            Step::UpdateSlots => {
                if heap.update_some(budget) {
                    self.roots.restart();
                    self.step = Step::UpdateRoots;
                }
            }
            Step::UpdateRoots => {
                while *budget > 0 {
                    *budget -= 1;
                    let Some(mut root) = self.roots.next() else {
                        heap.end_evacuation();
                        self.step = Step::Sweep;
                        break;
                    };
                    if let Some(new) = root.get().and_then(|old| heap.evacuated(old.as_raw_u32()))
                        && let Some(new) = gc_types::VMGcRef::from_heap_index(new)
                    {
                        root.set(new);
                    }
                }
            }
            Step::Sweep => {
                if heap.sweep_some(budget) {
                    heap.give_back_some(budget);
                    if matches!(heap.phase, Phase::GivingBack(_)) {
                        return;
                    }
                    if heap.nursery.retains() {
                        self.roots.restart();
                        heap.begin_minor();
                        self.step = Step::Roots;
                    } else {
                        self.complete();
                    }
                }
            }
            Step::Complete => {}
        }
    }

    fn complete(&mut self) {
        self.step = Step::Complete;
        self.heap.core.stats.collections += 1;
        // Marks faster than survivors make the old generation grow.
        let keeping_up = (self.heap.survived / 16).min(1 << 22) as u32;
        self.heap.major_work(keeping_up);
    }

    /// Drops the host values of externrefs that were found dead.
    fn drop_values(&mut self) {
        for id in self.heap.dead_values.drain(..) {
            // An id without a value was damaged by the guest.
            let _named = self.host_data.dealloc(id);
        }
    }

    /// Makes the heap consistent without finishing the collection.
    fn abandon(&mut self) {
        while matches!(
            self.step,
            Step::Roots
                | Step::Cards
                | Step::Grey
                | Step::Evacuate
                | Step::UpdateSlots
                | Step::UpdateRoots
        ) && self.heap.core.damage.is_none()
        {
            self.work(&mut { u32::MAX });
        }
        if matches!(self.step, Step::MarkRoots | Step::Mark) {
            self.heap.abandon_marking();
        }
        // Unfinished marking or sweeping waits for the next collection.
        self.step = Step::Complete;
        self.drop_values();
    }
}

impl<'a> GarbageCollection<'a> for GenerationalCollection<'a> {
    fn kind(&self) -> PauseKind {
        match self.plan {
            Plan::Full => PauseKind::Full,
            // A trace finds all garbage too, but evacuates nothing. So there may be room only after
            // a full collection.
            Plan::Begin | Plan::Finish | Plan::Trace => PauseKind::Major,
            Plan::Minor if self.evacuates => PauseKind::Major,
            Plan::Minor => PauseKind::Minor,
        }
    }

    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        if self.step == Step::Complete {
            return Ok(GcProgress::Complete);
        }
        self.heap.core.check_damage()?;
        let start = Instant::now();
        let mut now = start;
        while self.step != Step::Complete && self.heap.core.damage.is_none() {
            let is_minor = matches!(self.step, Step::Roots | Step::Cards | Step::Grey)
                && self.plan != Plan::Trace;
            self.work(&mut { INCREMENT });
            let before = std::mem::replace(&mut now, Instant::now());
            if !is_minor {
                self.heap.marker.took += now - before;
            }
            if now - start >= self.heap.core.slice {
                break;
            }
        }
        self.drop_values();
        if let Err(damage) = self.heap.core.check_damage() {
            self.step = Step::Complete;
            return Err(damage);
        }
        Ok(match self.step {
            Step::Complete => GcProgress::Complete,
            _ => GcProgress::Continue,
        })
    }
}

impl Drop for GenerationalCollection<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}
