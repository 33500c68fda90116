//! The kinds of collections. Each is a type whose variants are its stages, in order.
//!
//! `work` does a part of the work. `must_finish` returns whether the heap is not consistent between two
//! parts. If a collection is dropped then, it must go on. `marks` returns whether the collection marks
//! while the mutator is stopped. If it is dropped then, it abandons marking.

use super::super::GenerationalHeap;
use super::super::major::{Log, Phase};
use super::stages::{Evacuate, Increment, ScavengeStage};
use crate::WeakScope;

/// A collection under way, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Minor(Minor),
    Begin(Begin),
    Finish(Finish),
    Trace(TraceStage),
    Full(Full),
    Complete,
}

impl Machine {
    /// Does a part of the work.
    pub(super) fn work(&mut self, on: &mut Increment<'_, '_>) {
        let done = match self {
            Machine::Minor(minor) => minor.work(on),
            Machine::Begin(begin) => begin.work(on),
            Machine::Finish(finish) => finish.work(on),
            Machine::Trace(trace) => match trace.work(on) {
                Traced::More => false,
                Traced::Done => true,
                Traced::GivenUp(minor) => {
                    *self = Machine::Minor(minor);
                    false
                }
            },
            Machine::Full(full) => full.work(on),
            Machine::Complete => return,
        };
        if done {
            *self = Machine::Complete;
        }
    }

    /// Whether objects are being moved, or dead old objects may refer to young objects that are gone. A minor
    /// collection scans the cards of dead objects too, as long as they are not swept. Where marking began with an
    /// empty nursery, they refer to none.
    pub(super) fn must_finish(&self) -> bool {
        match self {
            Machine::Minor(minor) | Machine::Begin(Begin::Minor(minor)) => minor.moves(),
            Machine::Trace(trace) => !matches!(trace, TraceStage::Prepare),
            Machine::Full(full) => {
                !matches!(full, Full::Prepare | Full::MarkRoots | Full::Mark | Full::Values)
            }
            Machine::Begin(Begin::Sweep | Begin::MarkRoots) => false,
            Machine::Finish(Finish::Minor(minor)) => minor.moves(),
            Machine::Finish(Finish::Mark | Finish::MarkWeak | Finish::Values | Finish::Sweep) => {
                false
            }
            Machine::Complete => false,
        }
    }

    /// Whether it marks, and the mutator must not run before marking ends.
    pub(super) fn marks(&self) -> bool {
        matches!(
            self,
            Machine::Begin(Begin::MarkRoots)
                | Machine::Full(Full::MarkRoots | Full::Mark | Full::Values)
        )
    }

    /// Whether its current work counts as the work of a minor collection.
    pub(super) fn is_minor(&self) -> bool {
        match self {
            Machine::Minor(minor) | Machine::Begin(Begin::Minor(minor)) => minor.is_scavenging(),
            Machine::Finish(Finish::Minor(minor)) => minor.is_scavenging(),
            Machine::Full(full) => matches!(full, Full::Scavenge(_) | Full::Again(_)),
            _ => false,
        }
    }
}

/// Empties the nursery. If blocks wait for evacuation, evacuates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Minor {
    /// Sweeps until there is room for the survivors.
    Prepare,
    Scavenge(ScavengeStage),
    /// Marks what weak references keep. Everything else was marked between collections.
    MarkWeak,
    /// Drops the host values of externrefs that were not marked.
    Values,
    Evacuate(Evacuate),
}

impl Minor {
    fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            Minor::Prepare => {
                if on.heap.sweep_for_minor(on.budget) {
                    *self = Minor::Scavenge(ScavengeStage::begin(on));
                }
            }
            Minor::Scavenge(scavenge) => {
                if scavenge.work(on) {
                    if on.heap.marking_waits() && !on.heap.nursery.retains() {
                        on.weak.begin(WeakScope::All);
                        *self = Minor::MarkWeak;
                        return false;
                    }
                    if on.heap.major.phase != Phase::Evacuating {
                        return true;
                    }
                    // Young objects may refer to objects that would be moved.
                    if on.heap.nursery.retains() || !on.heap.mark_all_logged() {
                        on.heap.cancel_evacuation();
                    }
                    // The slots of the log may have been too many. Then the evacuation was cancelled.
                    if on.heap.major.phase != Phase::Evacuating {
                        return true;
                    }
                    *self = Minor::Evacuate(Evacuate::Objects);
                }
            }
            Minor::MarkWeak => match on.heap.mark_logged(on.budget) {
                Log::Lost => {
                    on.heap.lose_marking();
                    return true;
                }
                Log::More => {}
                Log::Done => {
                    if on.mark_weak() {
                        on.values.begin_sweep(WeakScope::All);
                        *self = Minor::Values;
                    }
                }
            },
            Minor::Values => return on.end_marking(),
            // The sweep follows in slices.
            Minor::Evacuate(evacuate) => return evacuate.work(on),
        }
        false
    }

    fn moves(&self) -> bool {
        matches!(self, Minor::Scavenge(_) | Minor::Evacuate(_))
    }

    fn is_scavenging(&self) -> bool {
        matches!(self, Minor::Scavenge(_))
    }
}

/// A minor collection at whose end a major collection begins, unless objects were retained. It
/// marks the referents of the roots. The other objects are marked later, while the mutator runs
/// between slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Minor(Minor),
    /// Finishes the sweep of an earlier collection.
    Sweep,
    MarkRoots,
}

impl Begin {
    fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            Begin::Minor(minor) => {
                if minor.work(on) {
                    if on.heap.nursery.retains() {
                        return true;
                    }
                    *self = Begin::Sweep;
                }
            }
            Begin::Sweep => {
                if on.heap.sweep_some(on.budget) {
                    on.roots.restart();
                    on.heap.begin_marking();
                    *self = Begin::MarkRoots;
                }
            }
            Begin::MarkRoots => {
                if on.mark_roots() {
                    on.heap.interleave_marking();
                    return true;
                }
            }
        }
        false
    }
}

/// Finishes the major collection that is under way, then empties the nursery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Mark,
    /// Marks what weak references keep.
    MarkWeak,
    /// Drops the host values of externrefs that were not marked.
    Values,
    Sweep,
    Minor(Minor),
}

impl Finish {
    fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            Finish::Mark => {
                // Room is needed, and roots may be missing.
                on.heap.cancel_evacuation();
                if on.heap.major.phase == Phase::Marking {
                    match on.heap.mark_logged(on.budget) {
                        Log::Lost => on.heap.lose_marking(),
                        Log::Done if on.heap.mark_some(on.budget) => {
                            on.weak.begin(WeakScope::All);
                            *self = Finish::MarkWeak;
                            return false;
                        }
                        Log::Done | Log::More => {}
                    }
                }
                if on.heap.major.phase != Phase::Marking {
                    *self = Finish::Sweep;
                }
                false
            }
            Finish::MarkWeak => {
                if on.mark_weak() {
                    on.values.begin_sweep(WeakScope::All);
                    *self = Finish::Values;
                }
                false
            }
            Finish::Values => {
                if on.end_marking() {
                    on.heap.cancel_evacuation();
                    *self = Finish::Sweep;
                }
                false
            }
            Finish::Sweep => {
                if on.heap.sweep_some(on.budget) {
                    *self = Finish::Minor(Minor::Prepare);
                }
                false
            }
            Finish::Minor(minor) => minor.work(on),
        }
    }
}

/// Collects everything at once: moves young objects that it finds, and marks old ones. Becomes a
/// minor collection if it finds too much alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TraceStage {
    /// Finishes the sweep of an earlier collection.
    Prepare,
    Find(Find),
    /// Drops the host values of dead externrefs.
    Values,
    Sweep,
    /// Empties the nursery of retained objects.
    Again(ScavengeStage),
}

/// The steps in which a trace finds objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    Roots,
    /// Scans the objects that were found or moved, and finds those that weak references keep.
    Grey,
}

/// The result of a part of the work of a [`TraceStage`].
enum Traced {
    More,
    Done,
    GivenUp(Minor),
}

impl TraceStage {
    fn work(&mut self, on: &mut Increment<'_, '_>) -> Traced {
        match self {
            TraceStage::Prepare => {
                if on.heap.sweep_some(on.budget) {
                    if !on.heap.may_trace() {
                        return Traced::GivenUp(Minor::Scavenge(ScavengeStage::begin(on)));
                    }
                    on.heap.begin_trace();
                    on.weak.begin(WeakScope::All);
                    *self = TraceStage::Find(Find::Roots);
                }
            }
            TraceStage::Find(Find::Roots) => {
                if on.scavenge_roots() {
                    *self = TraceStage::Find(Find::Grey);
                }
            }
            TraceStage::Find(Find::Grey) => {
                let done = on.scavenge_weak();
                if on.heap.scavenger.trace.is_over() {
                    on.heap.give_trace_up();
                    on.weak.begin(WeakScope::Young);
                    return Traced::GivenUp(Minor::Scavenge(ScavengeStage::Cards));
                }
                if done && on.heap.core.damage.is_none() {
                    on.values.begin_sweep(WeakScope::All);
                    *self = TraceStage::Values;
                }
            }
            TraceStage::Values => {
                if on.sweep_values() {
                    let used = on.heap.nursery_used();
                    on.end_minor();
                    on.heap.end_trace(used);
                    *self = TraceStage::Sweep;
                }
            }
            TraceStage::Sweep => {
                if on.sweep() {
                    if !on.heap.nursery.retains() {
                        return Traced::Done;
                    }
                    on.roots.restart();
                    *self = TraceStage::Again(ScavengeStage::begin(on));
                }
            }
            TraceStage::Again(scavenge) => {
                if scavenge.work(on) {
                    return Traced::Done;
                }
            }
        }
        Traced::More
    }
}

/// Empties the nursery, then marks the old generation from all roots, evacuates and sweeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Abandons a major collection that is under way, or finishes its sweep.
    Prepare,
    Scavenge(ScavengeStage),
    MarkRoots,
    Mark,
    /// Drops the host values of externrefs that were not marked.
    Values,
    Evacuate(Evacuate),
    Sweep,
    /// Empties the nursery of retained objects.
    Again(ScavengeStage),
}

impl Full {
    fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            Full::Prepare => {
                on.heap.abandon_marking();
                // Room is needed.
                on.heap.cancel_evacuation();
                if on.heap.sweep_some(on.budget) {
                    *self = Full::Scavenge(ScavengeStage::begin(on));
                }
            }
            Full::Scavenge(scavenge) => {
                if scavenge.work(on) {
                    on.roots.restart();
                    on.heap.begin_marking();
                    *self = Full::MarkRoots;
                }
            }
            Full::MarkRoots => {
                if on.mark_roots() {
                    on.weak.begin(WeakScope::All);
                    *self = Full::Mark;
                }
            }
            Full::Mark => {
                if on.mark_weak() {
                    on.values.begin_sweep(WeakScope::All);
                    *self = Full::Values;
                }
            }
            Full::Values => {
                if on.end_marking() {
                    *self = match on.heap.major.phase {
                        Phase::Evacuating => Full::Evacuate(Evacuate::Objects),
                        _ => Full::Sweep,
                    };
                }
            }
            Full::Evacuate(evacuate) => {
                if evacuate.work(on) {
                    *self = Full::Sweep;
                }
            }
            Full::Sweep => {
                if on.sweep() {
                    if !on.heap.nursery.retains() {
                        return true;
                    }
                    on.roots.restart();
                    *self = Full::Again(ScavengeStage::begin(on));
                }
            }
            Full::Again(scavenge) => return scavenge.work(on),
        }
        false
    }
}

impl GenerationalHeap {
    /// Whether free memory is being given back.
    pub(super) fn is_giving_back(&self) -> bool {
        matches!(self.major.phase, Phase::GivingBack)
    }

    /// Whether a major collection is under way.
    pub(in super::super) fn is_major_under_way(&self) -> bool {
        !matches!(self.major.phase, Phase::Idle | Phase::GivingBack)
    }

    /// Whether a major collection may begin.
    pub(super) fn may_begin_major(&self) -> bool {
        !matches!(self.major.phase, Phase::Marking | Phase::Evacuating)
    }
}
