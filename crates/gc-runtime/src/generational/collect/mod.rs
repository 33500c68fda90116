//! One collection of the generational heap, in increments.
//!
//! Every collection empties the nursery. A collection that begins a major collection then marks the
//! referents of the roots. One that finishes a major collection does that first. A full collection
//! marks the old generation from all roots and sweeps it. If objects were retained in the nursery,
//! it then empties the nursery again. A trace does both at the same time. A collection goes through stages
//! (`stages.rs`). If it is dropped before it is complete, it finishes the nursery, and abandons marking or finishes the
//! sweep.

mod stages;

use super::GenerationalHeap;
use gc_heap::space::generations::Phase;
use gc_heap::space::generations::major::SLICE;
use gc_heap::trace::increments::Parts;
use gc_heap::{ExternRefHostDataTable, GcRootsIter, GcRootsList, HeapCore, PauseKind, WeakTable};
use stages::{Stage, Work};
use std::time::{Duration, Instant};

/// The kind of a collection: the objects that it collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CollectionKind {
    /// The nursery. If marking waits for it, it ends marking. If blocks wait for evacuation, it evacuates them.
    Minor,
    /// The nursery. Then a major collection begins, unless objects were retained. It marks the referents of the
    /// roots. The other objects are marked later, while the mutator runs between slices.
    Begin,
    /// The rest of the major collection that is under way, then the nursery.
    Finish,
    /// Everything at once. Becomes a minor collection if too much is found alive.
    Trace,
    /// The nursery, then everything.
    Full,
}

/// What a collection gets from the store.
pub(super) struct StoreTables<'a> {
    pub(super) roots: GcRootsIter<'a>,
    pub(super) host_data: &'a mut ExternRefHostDataTable,
    pub(super) weak: &'a mut WeakTable,
}

pub(super) struct GenerationalCollection<'a> {
    heap: &'a mut GenerationalHeap,
    store: StoreTables<'a>,
    kind: CollectionKind,
    stage: Stage,
    /// Whether the nursery is emptied for the second time.
    again: bool,
    /// The kind of its pauses.
    pauses: PauseKind,
}

impl GenerationalHeap {
    /// Whether a collection needs all roots. Other collections need only the remembered roots,
    /// because the rest do not refer to young objects.
    pub(super) fn needs_all_roots(&self, kind: CollectionKind) -> bool {
        matches!(kind, CollectionKind::Full | CollectionKind::Begin | CollectionKind::Trace)
            || self.major.phase() == Phase::Evacuating
            || self.tables.all_slots
    }

    /// The roots that a collection needs.
    pub(super) fn roots_for<'a>(
        &self,
        kind: CollectionKind,
        roots: &'a mut GcRootsList,
    ) -> GcRootsIter<'a> {
        match self.needs_all_roots(kind) {
            true => roots.all(),
            false => roots.remembered(&self.tables.slots),
        }
    }
}

impl<'a> GenerationalCollection<'a> {
    pub(super) fn new(
        heap: &'a mut GenerationalHeap,
        store: StoreTables<'a>,
        mut kind: CollectionKind,
    ) -> Self {
        if kind == CollectionKind::Begin && !heap.major.may_begin() {
            kind = CollectionKind::Minor;
        }
        let (stage, pauses) = match kind {
            CollectionKind::Minor if heap.major.phase() == Phase::Evacuating => {
                (Stage::MakeRoom, PauseKind::Major)
            }
            CollectionKind::Minor => (Stage::MakeRoom, PauseKind::Minor),
            CollectionKind::Begin => (Stage::MakeRoom, PauseKind::Major),
            CollectionKind::Finish => (Stage::MarkRest, PauseKind::Major),
            // A trace finds all garbage too, but evacuates nothing. So there may be room only after
            // a full collection.
            CollectionKind::Trace => (Stage::SweepFirst, PauseKind::Major),
            CollectionKind::Full => (Stage::SweepFirst, PauseKind::Full),
        };
        GenerationalCollection { heap, store, kind, stage, again: false, pauses }
    }

    /// Does a part of the work.
    fn work(&mut self, mut budget: u32) {
        let StoreTables { roots, host_data: values, weak } = &mut self.store;
        let budget = &mut budget;
        let mut on = Work { heap: &mut *self.heap, roots, weak, values, budget };
        if !on.work(self.stage, self.kind) {
            return;
        }
        let was = self.kind;
        self.stage = on.next(self.stage, &mut self.kind, &mut self.again);
        if self.kind != was {
            self.pauses = PauseKind::Minor;
        }
        if self.stage == Stage::Complete {
            self.complete();
        }
    }

    fn complete(&mut self) {
        self.heap.core.stats.collections += 1;
        self.heap.cycle().plan_marking();
        if self.heap.cycle().lend() {
            return;
        }
        // Marks faster than survivors make the old generation grow, if there is time for it.
        let keeping_up = (self.heap.space.promoted() / 16).min(1 << 22) as u32;
        if self.heap.core.memory.zeal() != 0 || !self.heap.core.side.pause_left().is_zero() {
            self.heap.cycle().work(SLICE.saturating_add(keeping_up));
        }
        self.heap.cycle().lend();
    }
}

impl Parts for GenerationalCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    fn part(&mut self, budget: u32) {
        let is_minor = self.stage.scavenges() && self.kind != CollectionKind::Trace;
        let start = (!is_minor).then(Instant::now);
        self.work(budget);
        self.heap.major.took += start.map_or(Duration::ZERO, |start| start.elapsed());
    }

    fn kind(&self) -> PauseKind {
        self.pauses
    }

    fn must_finish(&self) -> bool {
        self.stage.must_finish()
    }

    /// Marking beside the mutator, and the sweep after it, wait for the next collection.
    fn give_up(&mut self) {
        if self.stage.marks(self.kind) {
            self.heap.cycle().abandon();
        }
        self.stage = Stage::Complete;
    }

    fn begin_increment(&mut self) {
        self.heap.scavenger.begin_increment();
    }

    fn end_increment(&mut self) {
        self.heap.scavenger.end_increment();
    }
}
