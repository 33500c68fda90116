//! The policy of the generational heap: the kind of collection for each cause.
//!
//! A full nursery is collected. [`Due`](gc_heap::space::generations::Due) says whether more is due.

use super::GenerationalHeap;
use super::collect::CollectionKind;
use gc_heap::space::generations::Phase;
use gc_heap::{ExternRefHostDataTable, GcCause, WeakScope};

impl GenerationalHeap {
    /// Whether a collection is likely to be worth its cost when an allocation finds no room.
    pub(super) fn collection_pays(&self) -> bool {
        let due = self.due();
        if due.end_of_major() {
            return true;
        }
        if self.large_wanted {
            let marks = !self.major.is_under_way() && due.marking();
            return marks || self.space.nursery_shrinks(&self.core);
        }
        !self.space.nursery_grows()
            && self.space.has_room_for_minor(&self.core)
            && (self.grown || !self.space.nursery.retains())
    }

    /// The kind of collection for this cause.
    pub(super) fn choose(
        &mut self,
        cause: GcCause,
        values: &ExternRefHostDataTable,
    ) -> CollectionKind {
        let (due, under_way) = (self.due(), self.major.is_under_way());
        match cause {
            GcCause::NoRoom => {
                let stuck = self.space.nursery.retains() && !self.grown
                    || !self.space.has_room_for_minor(&self.core)
                    || self.large_wanted && due.end_of_major();
                match (stuck, under_way) {
                    (true, true) => CollectionKind::Finish,
                    (true, false) => CollectionKind::Full,
                    (false, _) if due.trace() => CollectionKind::Trace,
                    (false, false) if due.marking() => CollectionKind::Begin,
                    (false, _) => CollectionKind::Minor,
                }
            }
            // A trace may be abandoned. Then it would drop none of these values.
            GcCause::HostValues
                if values.count(WeakScope::All) / 2 > values.count(WeakScope::Young) =>
            {
                CollectionKind::Full
            }
            GcCause::HostValues if due.trace() => CollectionKind::Trace,
            GcCause::HostValues => CollectionKind::Minor,
            GcCause::Idle if self.major.phase() == Phase::Idle && due.trace() => {
                CollectionKind::Trace
            }
            GcCause::Idle if under_way || !due.idle_marking() => CollectionKind::Minor,
            GcCause::Idle => CollectionKind::Begin,
            GcCause::Zeal => {
                let may_trace = due.may_trace();
                self.zeal = self.zeal.wrapping_add(1);
                match self.zeal % 16 {
                    2 => CollectionKind::Begin,
                    11 => CollectionKind::Finish,
                    0 => CollectionKind::Full,
                    1 | 9 | 12 | 13 if may_trace => CollectionKind::Trace,
                    _ => CollectionKind::Minor,
                }
            }
            _ => CollectionKind::Full,
        }
    }
}
