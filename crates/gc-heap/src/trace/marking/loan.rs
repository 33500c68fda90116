//! [`MarkingLoan`]: what a thread has that marks while the program runs.
//!
//! The thread reads slots that the program may be writing. Each word is read once, and only objects of the snapshot are
//! scanned, which do not move. What the program overwrites is in a log, which the program's thread reads. Damage is noted and told when the tables go back.

use super::{MarkLoop, Marker, NO_OBJECT, Stop};
use crate::HeapView;
use crate::lend::{GcWork, Recall, Slot};
use crate::memory::LentBytes;
use crate::space::generations::OldTables;
use crate::space::object_map::Mark;
use crate::trace::grey::Grey;
use crate::trace::shapes::Shapes;
use gc_types::I31;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of marking that another thread did, when the tables are at home again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// No thread marks, or it was recalled before it was done.
    #[default]
    Recalled,
    /// It marked everything that it knew of.
    Done,
    /// Too many slots refer into the blocks that will be evacuated.
    ManySlots,
    /// It met damage.
    Damage(u32, &'static str),
}

/// The tables of an old generation, the shapes of its objects and its bytes.
#[derive(Debug)]
pub(crate) struct MarkingLoan {
    tables: OldTables,
    shapes: Arc<Shapes>,
    bytes: LentBytes,
    /// The most units of work. Under zeal they are few, so that marking lasts for several collections.
    most: u32,
}

impl GcWork for Slot<MarkingLoan> {
    fn run(&self) {
        self.work(MarkingLoan::mark);
    }

    /// It is recalled soon.
    fn is_urgent(&self) -> bool {
        true
    }
}

impl MarkingLoan {
    pub(crate) fn new(
        tables: OldTables,
        shapes: Arc<Shapes>,
        bytes: LentBytes,
        most: u32,
    ) -> MarkingLoan {
        MarkingLoan { tables, shapes, bytes, most }
    }

    /// The tables. The bytes are not read any more.
    pub(crate) fn end(self) -> OldTables {
        self.tables
    }

    /// Marks until everything is marked or the tables are recalled.
    fn mark(&mut self, recall: Recall<'_>) {
        let began = Instant::now();
        let marker = &mut self.tables.marker;
        (marker.began, marker.ended) = (true, Ended::Recalled);
        self.mark_overwritten(recall);
        if self.tables.marker.overwritten.is_empty() && self.tables.marker.ended == Ended::Recalled
        {
            self.tables.marker.ended = self.scan(recall);
        }
        self.tables.marker.took += began.elapsed();
    }

    /// Marks what the program overwrote, and records slots that refer into blocks that will be evacuated.
    fn mark_overwritten(&mut self, recall: Recall<'_>) {
        let OldTables { region, evacuator, marker } = &mut self.tables;
        let view = self.bytes.view();
        let mut left = 0;
        while let Some((word, slot)) = marker.overwritten.pop() {
            if word & I31::TAG == 0 && word >= marker.floor {
                match region.mark(word) {
                    Mark::New => marker.stack.push(Grey::new(word, 0)),
                    Mark::Old => {}
                    Mark::NoObject => {
                        marker.ended = Ended::Damage(word, NO_OBJECT);
                        return;
                    }
                }
            }
            if evacuator.is_active()
                && slot >= region.start()
                && view.read_u32(slot.into()).is_some_and(|word| evacuator.is_chosen(word))
                && !evacuator.record(slot)
            {
                marker.ended = Ended::ManySlots;
                return;
            }
            left += 1;
            if left % super::LOOK == 0 && recall.is_asked() {
                return;
            }
        }
    }

    fn scan(&mut self, recall: Recall<'_>) -> Ended {
        let OldTables { region, evacuator, marker } = &mut self.tables;
        let (chosen, slots, most_slots) = evacuator.parts();
        let Marker { stack, floor, waiting, units, .. } = marker;
        let (shapes, bytes, floor) = (&*self.shapes, self.bytes.view(), *floor);
        let mut parts =
            MarkLoop { bytes, shapes, region, stack, waiting, chosen, slots, most_slots, floor };
        loop {
            let mut left = self.most;
            let stop = parts.run(&mut left, || recall.is_asked());
            *units += u64::from(self.most - left);
            match stop {
                Stop::Done => return Ended::Done,
                Stop::Budget if recall.is_asked() || self.most < u32::MAX => {
                    return Ended::Recalled;
                }
                Stop::Budget => {}
                Stop::ManySlots => return Ended::ManySlots,
                Stop::Damage(at, what) => return Ended::Damage(at, what),
            }
        }
    }
}

/// What a loan has told when it came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) began: bool,
    pub(crate) ended: Ended,
    pub(crate) took: Duration,
    pub(crate) units: u64,
}

impl Marker {
    /// What the last loan told, once.
    pub(crate) fn told(&mut self) -> Told {
        let Marker { began, ended, took, units, .. } = self;
        let (began, ended) = (std::mem::take(began), std::mem::take(ended));
        Told { began, ended, took: std::mem::take(took), units: std::mem::take(units) }
    }
}
