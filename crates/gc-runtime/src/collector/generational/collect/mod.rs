//! One collection of the generational heap, in increments.
//!
//! Every collection empties the nursery. A collection that begins a major collection then marks the
//! referents of the roots. One that finishes a major collection does that first. A full collection
//! marks the old generation from all roots and sweeps it. If objects were retained in the nursery,
//! it then empties the nursery again. A trace does both at the same time. Each kind is a separate
//! type (`kinds.rs`). The stages that several kinds share are in `stages.rs`. If a collection is
//! dropped before it is complete, it finishes the nursery, and abandons marking or finishes the sweep.

mod kinds;
mod stages;

use super::GenerationalHeap;
use super::major::Phase;
use crate::trace::increments::{Parts, increment};
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcProgress, GcRootsIter, GcRootsList,
    HeapCore, HeapError, PauseKind, WeakScope, WeakTable,
};
use kinds::{Begin, Finish, Full, Machine, Minor, TraceStage};
use stages::Increment;
use std::time::{Duration, Instant};

/// The kind of a collection: the objects that it collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CollectionKind {
    /// The nursery.
    Minor,
    /// The nursery. Then a major collection begins.
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
    machine: Machine,
    kind: PauseKind,
}

impl GenerationalHeap {
    /// The kind of collection for this cause.
    pub(super) fn choose(
        &mut self,
        cause: GcCause,
        values: &ExternRefHostDataTable,
    ) -> CollectionKind {
        let under_way = self.is_major_under_way();
        match cause {
            GcCause::NoRoom => {
                let stuck = self.nursery.retains() && !self.grown
                    || !self.has_room_for_minor()
                    || self.large_wanted && self.major_is_due();
                match (stuck, under_way) {
                    (true, true) => CollectionKind::Finish,
                    (true, false) => CollectionKind::Full,
                    (false, _) if self.trace_pays() => CollectionKind::Trace,
                    (false, false) if self.marking_is_due() => CollectionKind::Begin,
                    (false, _) => CollectionKind::Minor,
                }
            }
            // A trace may be abandoned. Then it would drop none of these values.
            GcCause::HostValues
                if values.count(WeakScope::All) / 2 > values.count(WeakScope::Young) =>
            {
                CollectionKind::Full
            }
            GcCause::HostValues if self.trace_pays() => CollectionKind::Trace,
            GcCause::HostValues => CollectionKind::Minor,
            GcCause::Idle if self.major.phase == Phase::Idle && self.trace_pays() => {
                CollectionKind::Trace
            }
            GcCause::Idle if under_way || !self.idle_marking_is_due() => CollectionKind::Minor,
            GcCause::Idle => CollectionKind::Begin,
            GcCause::Zeal => {
                self.zeal_count = self.zeal_count.wrapping_add(1);
                match self.zeal_count % 16 {
                    2 => CollectionKind::Begin,
                    11 => CollectionKind::Finish,
                    0 => CollectionKind::Full,
                    1 | 9 | 12 | 13 if self.may_trace() => CollectionKind::Trace,
                    _ => CollectionKind::Minor,
                }
            }
            _ => CollectionKind::Full,
        }
    }

    /// Whether a collection needs all roots. Other collections need only the remembered roots,
    /// because the rest do not refer to young objects.
    pub(super) fn needs_all_roots(&self, kind: CollectionKind) -> bool {
        matches!(kind, CollectionKind::Full | CollectionKind::Begin | CollectionKind::Trace)
            || self.major.phase == Phase::Evacuating
            || self.tables.wants_all_slots()
    }

    /// The roots that a collection needs.
    pub(super) fn roots_for<'a>(
        &self,
        kind: CollectionKind,
        roots: &'a mut GcRootsList,
    ) -> GcRootsIter<'a> {
        match self.needs_all_roots(kind) {
            true => roots.all(),
            false => roots.remembered(self.tables.slots()),
        }
    }
}

impl<'a> GenerationalCollection<'a> {
    pub(super) fn new(
        heap: &'a mut GenerationalHeap,
        store: StoreTables<'a>,
        kind: CollectionKind,
    ) -> Self {
        let machine = match kind {
            CollectionKind::Begin if heap.may_begin_major() => {
                Machine::Begin(Begin::Minor(Minor::Prepare))
            }
            CollectionKind::Minor | CollectionKind::Begin => Machine::Minor(Minor::Prepare),
            CollectionKind::Finish => Machine::Finish(Finish::Mark),
            CollectionKind::Trace => Machine::Trace(TraceStage::Prepare),
            CollectionKind::Full => Machine::Full(Full::Prepare),
        };
        let kind = match kind {
            CollectionKind::Full => PauseKind::Full,
            // A trace finds all garbage too, but evacuates nothing. So there may be room only after
            // a full collection.
            CollectionKind::Begin | CollectionKind::Finish | CollectionKind::Trace => {
                PauseKind::Major
            }
            CollectionKind::Minor if heap.major.phase == Phase::Evacuating => PauseKind::Major,
            CollectionKind::Minor => PauseKind::Minor,
        };
        GenerationalCollection { heap, store, machine, kind }
    }

    /// Does a part of the work.
    fn work(&mut self, mut budget: u32) {
        let StoreTables { roots, host_data: values, weak } = &mut self.store;
        let (heap, budget) = (&mut *self.heap, &mut budget);
        let traced = matches!(self.machine, Machine::Trace(_));
        self.machine.work(&mut Increment { heap, roots, weak, values, budget });
        if traced && matches!(self.machine, Machine::Minor(_)) {
            self.kind = PauseKind::Minor;
        }
        if self.machine == Machine::Complete {
            self.complete();
        }
    }

    fn complete(&mut self) {
        self.heap.core.stats.collections += 1;
        // Marks faster than survivors make the old generation grow, if there is time for it.
        let keeping_up = (self.heap.survived / 16).min(1 << 22) as u32;
        if self.heap.has_zeal() || !self.heap.core.pause_left().is_zero() {
            self.heap.major_work(keeping_up);
        }
    }
}

impl Parts for GenerationalCollection<'_> {
    fn core(&mut self) -> &mut HeapCore {
        &mut self.heap.core
    }

    fn is_complete(&self) -> bool {
        self.machine == Machine::Complete
    }

    fn part(&mut self, budget: u32) {
        let start = (!self.machine.is_minor()).then(Instant::now);
        self.work(budget);
        self.heap.major.took += start.map_or(Duration::ZERO, |start| start.elapsed());
    }

    fn give_up(&mut self) {
        self.machine = Machine::Complete;
    }
}

impl<'a> GarbageCollection<'a> for GenerationalCollection<'a> {
    fn kind(&self) -> PauseKind {
        self.kind
    }

    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        self.heap.begin_increment();
        let progress = increment(self);
        self.heap.end_increment();
        progress
    }

    /// Makes the heap consistent without finishing the collection.
    fn abandon(&mut self) {
        while self.machine.must_finish() && self.heap.core.damage.is_none() {
            self.work(u32::MAX);
        }
        if self.machine.marks() {
            self.heap.abandon_marking();
        }
        // Marking beside the mutator, and the sweep after it, wait for the next collection.
        self.machine = Machine::Complete;
    }
}

impl Drop for GenerationalCollection<'_> {
    fn drop(&mut self) {
        self.heap.core.check_over(self.machine == Machine::Complete);
    }
}
