//! The stages of collections: what each does, and which follows it.
//!
//! A stage does a bounded part of its work at a time. Between two parts the clock is read, and the collection may be
//! dropped.

use super::super::GenerationalHeap;
use super::CollectionKind;
use gc_heap::space::generations::{Log, OldTables, Phase};
use gc_heap::space::mark_region::evacuate::Evacuation;
use gc_heap::trace::scavenge::OldObjects;
use gc_heap::trace::shapes::Shapes;
use gc_heap::{ExternRefHostDataTable, GcRootsIter, WeakScope, WeakStep, WeakTable};
use gc_types::VMGcRef;
use gc_types::collector::nursery::is_young;

/// The stage of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Marks what the major collection under way did not mark yet.
    MarkRest,
    /// Sweeps what an earlier collection, or [`MarkRest`](Stage::MarkRest), left unswept.
    SweepFirst,
    /// Sweeps until there is room for survivors.
    MakeRoom,
    /// Moves the referents of roots out of the nursery. A trace marks old ones.
    Roots,
    /// Scans the cards of old objects.
    Cards,
    /// Scans the objects that were moved or traced, and finds those that weak references keep.
    Grey,
    /// Drops the host values of externrefs that were not found. Then the nursery is empty, or retains objects.
    Values,
    /// Marks the referents of roots.
    MarkRoots,
    /// Marks the rest, and what weak references keep.
    Mark,
    /// Drops the host values of externrefs that were not marked. Then marking is over.
    MarkValues,
    /// Moves the live objects of the chosen blocks.
    Evacuate,
    /// Updates the slots in objects that refer to moved objects.
    UpdateSlots,
    /// Updates the roots.
    UpdateRoots,
    /// Sweeps, and gives free memory back.
    Sweep,
    Complete,
}

impl Stage {
    /// Whether it is a part of emptying the nursery.
    pub(super) fn scavenges(self) -> bool {
        matches!(self, Stage::Roots | Stage::Cards | Stage::Grey | Stage::Values)
    }

    /// Whether objects are being moved, or dead old objects may refer to young objects that are gone. A minor
    /// collection scans the cards of dead objects too, as long as they are not swept. Where marking began with an
    /// empty nursery, they refer to none. A collection must go on if it is dropped then.
    pub(super) fn must_finish(self) -> bool {
        match self {
            Stage::Roots | Stage::Cards | Stage::Grey | Stage::Values => true,
            Stage::Evacuate | Stage::UpdateSlots | Stage::UpdateRoots | Stage::Sweep => true,
            Stage::MarkRest | Stage::SweepFirst | Stage::MakeRoom => false,
            Stage::MarkRoots | Stage::Mark | Stage::MarkValues | Stage::Complete => false,
        }
    }

    /// Whether it marks, in a collection of this kind, and the mutator must not run before marking ends. If the
    /// collection is dropped then, marking is abandoned.
    pub(super) fn marks(self, kind: CollectionKind) -> bool {
        match self {
            Stage::MarkRoots => true,
            Stage::Mark | Stage::MarkValues => kind == CollectionKind::Full,
            _ => false,
        }
    }
}

/// What a collection works on: the heap, the roots, the weak references and the host values, and the rest of the
/// budget of this part.
pub(super) struct Work<'c, 'a> {
    pub(super) heap: &'c mut GenerationalHeap,
    pub(super) roots: &'c mut GcRootsIter<'a>,
    pub(super) weak: &'c mut WeakTable,
    pub(super) values: &'c mut ExternRefHostDataTable,
    pub(super) budget: &'c mut u32,
}

impl Work<'_, '_> {
    /// Does a part of the work of a stage. Returns whether the stage is done.
    pub(super) fn work(&mut self, stage: Stage, kind: CollectionKind) -> bool {
        let Work { heap, roots, weak, values, budget } = self;
        match stage {
            Stage::MarkRest => {
                // Room is needed, and roots may be missing.
                heap.cycle().cancel_evacuation();
                heap.major.phase() != Phase::Marking
                    || match heap.cycle().mark_logged(budget) {
                        Log::Lost => {
                            heap.cycle().lose();
                            true
                        }
                        Log::Done => heap.cycle().mark_some(budget),
                        Log::More => false,
                    }
            }
            Stage::SweepFirst => {
                if kind == CollectionKind::Full {
                    heap.cycle().abandon();
                    // Room is needed.
                    heap.cycle().cancel_evacuation();
                }
                heap.cycle().sweep(budget)
            }
            Stage::MakeRoom => heap.space.sweep_for_minor(&mut heap.core, budget),
            Stage::Roots => heap.scavenge().follow_roots(roots, budget),
            Stage::Cards => heap.scavenge().scan_cards(budget),
            Stage::Grey => {
                let mut scavenge = heap.scavenge();
                let done = scavenge.scan_found(budget)
                    && scavenge.core.damage.is_none()
                    && weak.step(&mut scavenge, budget) == WeakStep::Done
                    && scavenge.core.damage.is_none();
                done || heap.scavenger.traced_too_many()
            }
            Stage::Values => {
                // The destructors are the embedder's, so their time does not count for the size of the nursery.
                let measured = values.is_empty();
                if !measured {
                    heap.scavenger.end_increment();
                }
                let done = values.sweep(&heap.scavenge(), budget);
                if !measured {
                    heap.scavenger.begin_increment();
                }
                done
            }
            Stage::MarkRoots => heap.cycle().marking().mark_roots(roots, budget),
            Stage::Mark => match heap.cycle().mark_logged(budget) {
                Log::Lost => {
                    heap.cycle().lose();
                    true
                }
                Log::More => false,
                Log::Done => {
                    heap.cycle().mark_some(budget)
                        && heap.core.damage.is_none()
                        && weak.step(&mut heap.cycle().marking(), budget) == WeakStep::Done
                        && heap.core.damage.is_none()
                }
            },
            Stage::MarkValues => values.sweep(&heap.cycle().marking(), budget),
            Stage::Evacuate => heap.evacuation().move_some(budget),
            Stage::UpdateSlots => self.update_slots(),
            Stage::UpdateRoots => self.update_roots(),
            Stage::Sweep => {
                let mut cycle = heap.cycle();
                cycle.sweep(budget) && cycle.give_back(budget)
            }
            Stage::Complete => false,
        }
    }

    /// What follows a stage that is done. A trace that found too much becomes a minor collection.
    pub(super) fn next(
        &mut self,
        stage: Stage,
        kind: &mut CollectionKind,
        again: &mut bool,
    ) -> Stage {
        let heap = &mut *self.heap;
        match (stage, *kind) {
            (Stage::MarkRest, _) if heap.major.phase() == Phase::Marking => {
                self.weak.begin(WeakScope::All);
                Stage::Mark
            }
            (Stage::MarkRest, _) => Stage::SweepFirst,
            (Stage::SweepFirst, CollectionKind::Begin) => self.begin_major(),
            (Stage::SweepFirst, CollectionKind::Finish) => Stage::MakeRoom,
            (Stage::SweepFirst, CollectionKind::Trace) if heap.due().may_trace() => {
                heap.begin_trace();
                self.weak.begin(WeakScope::All);
                Stage::Roots
            }
            (Stage::SweepFirst, CollectionKind::Trace) => {
                *kind = CollectionKind::Minor;
                self.begin_scavenge(*kind)
            }
            (Stage::SweepFirst | Stage::MakeRoom, _) => {
                heap.cycle().notice_end();
                self.begin_scavenge(*kind)
            }
            (Stage::Roots, CollectionKind::Trace) if !*again => Stage::Grey,
            (Stage::Roots, _) => Stage::Cards,
            (Stage::Cards, _) => Stage::Grey,
            (Stage::Grey, _) if heap.scavenger.traced_too_many() => {
                // A trace found too much. Its roots were visited.
                heap.scavenge().stop_tracing();
                heap.cycle().abandon();
                heap.chooser.failed();
                self.weak.begin(WeakScope::Young);
                *kind = CollectionKind::Minor;
                Stage::Cards
            }
            (Stage::Grey, _) => {
                let tracing = heap.scavenger.is_tracing();
                self.values.begin_sweep(if tracing { WeakScope::All } else { WeakScope::Young });
                Stage::Values
            }
            (Stage::Values, _) => {
                heap.end_scavenge();
                if !heap.space.nursery.retains() {
                    self.roots.forget_new(|word| heap.space.nursery.is_young(word));
                }
                self.after_nursery(*kind, *again)
            }
            (Stage::MarkRoots, CollectionKind::Begin) => {
                heap.cycle().interleave();
                Stage::Complete
            }
            (Stage::MarkRoots, _) => {
                self.weak.begin(WeakScope::All);
                Stage::Mark
            }
            // Marking was given up, because entries of the log were lost.
            (Stage::Mark, _) if heap.major.phase() != Phase::Marking => Stage::Complete,
            (Stage::Mark, _) => {
                self.values.begin_sweep(WeakScope::All);
                Stage::MarkValues
            }
            (Stage::MarkValues, _) => {
                heap.cycle().end_marking();
                match *kind {
                    CollectionKind::Full if heap.major.phase() == Phase::Evacuating => {
                        Stage::Evacuate
                    }
                    CollectionKind::Full => Stage::Sweep,
                    CollectionKind::Finish => {
                        heap.cycle().cancel_evacuation();
                        Stage::SweepFirst
                    }
                    // The sweep follows in slices.
                    _ => Stage::Complete,
                }
            }
            (Stage::Evacuate, _) => Stage::UpdateSlots,
            (Stage::UpdateSlots, _) => {
                self.roots.restart();
                Stage::UpdateRoots
            }
            (Stage::UpdateRoots, CollectionKind::Full) => Stage::Sweep,
            (Stage::UpdateRoots, _) => Stage::Complete,
            (Stage::Sweep, _) if heap.space.nursery.retains() => {
                *again = true;
                self.roots.restart();
                self.begin_scavenge(*kind)
            }
            (Stage::Sweep | Stage::Complete, _) => Stage::Complete,
        }
    }

    /// What follows when the nursery is empty, or its survivors are retained.
    fn after_nursery(&mut self, kind: CollectionKind, again: bool) -> Stage {
        let heap = &mut *self.heap;
        let retains = heap.space.nursery.retains();
        match kind {
            CollectionKind::Full | CollectionKind::Trace if again => Stage::Complete,
            CollectionKind::Trace => Stage::Sweep,
            CollectionKind::Full => self.begin_major(),
            CollectionKind::Minor | CollectionKind::Begin | CollectionKind::Finish => {
                if heap.major.marking_waits() && !retains {
                    self.weak.begin(WeakScope::All);
                    return Stage::Mark;
                }
                // Young objects may refer to objects that would be moved.
                if heap.major.phase() == Phase::Evacuating
                    && (retains || heap.cycle().mark_logged(&mut { u32::MAX }) != Log::Done)
                {
                    heap.cycle().cancel_evacuation();
                }
                // The slots of the log may have been too many. Then the evacuation was cancelled.
                if heap.major.phase() == Phase::Evacuating {
                    return Stage::Evacuate;
                }
                match kind {
                    CollectionKind::Begin if !retains => Stage::SweepFirst,
                    _ => Stage::Complete,
                }
            }
        }
    }

    /// Begins to empty the nursery. No object is young when it is empty, except after a minor collection. Even that
    /// promotes all if a stage follows that does not expect young objects.
    fn begin_scavenge(&mut self, kind: CollectionKind) -> Stage {
        let heap = &mut *self.heap;
        Shapes::update_shared(&mut heap.shapes, &heap.core.side.layouts);
        let recorded = heap.space.old.evacuator.is_active();
        let follows = heap.major.marking_waits() || heap.major.phase() == Phase::Evacuating;
        let may_age = kind == CollectionKind::Minor && !follows;
        let age = may_age && !heap.space.nursery.retains() && heap.should_age();
        let old = if recorded { OldObjects::Recorded } else { OldObjects::Alive };
        heap.scavenge().begin(old, age);
        self.weak.begin(WeakScope::Young);
        Stage::Roots
    }

    fn begin_major(&mut self) -> Stage {
        self.roots.restart();
        self.heap.cycle().begin();
        Stage::MarkRoots
    }

    /// Updates slots that refer to evacuated objects. Returns whether only the roots are left.
    fn update_slots(&mut self) -> bool {
        let nursery = self.heap.space.nursery.most();
        let GenerationalHeap { core, shapes, space, tables, .. } = &mut *self.heap;
        let OldTables { region, evacuator, .. } = &mut *space.old;
        let mut evacuation = Evacuation { core, shapes, region, evacuator };
        evacuation.update_some(self.budget, |at, word| {
            // The slot is in a moved object, and not on the card that was marked for it.
            if is_young(word, nursery) {
                tables.cards.dirty(at);
            }
        })
    }

    /// Updates roots that refer to evacuated objects. Returns whether there are no more roots.
    fn update_roots(&mut self) -> bool {
        let evacuation = self.heap.evacuation();
        let new =
            |old: &VMGcRef| evacuation.moved(old.as_raw_u32()).and_then(VMGcRef::from_heap_index);
        while *self.budget > 0 {
            *self.budget -= 1;
            let Some(mut root) = self.roots.next() else {
                self.weak.update(&mut { new });
                self.values.update(&mut { new });
                self.heap.evacuation().free();
                self.heap.cycle().begin_sweeping();
                return true;
            };
            if let Some(new) = root.get().and_then(|old| new(&old)) {
                root.set(new);
            }
        }
        false
    }
}
