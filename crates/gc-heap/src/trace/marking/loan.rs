//! Marking on another thread, with the tables of a [`Loan`].
//!
//! Each word of an object is read once. What the program overwrites meanwhile is in a log, which the program's thread reads.

use super::{MarkLoop, Marker, NO_OBJECT, Stop};
use crate::HeapView;
use crate::lend::Recall;
use crate::space::generations::OldTables;
use crate::space::generations::loan::{Ended, Loan};
use crate::space::object_map::Mark;
use crate::trace::grey::Grey;
use gc_types::I31;

impl Loan {
    /// Marks until everything is marked or the tables are recalled. Counts units of work.
    pub(crate) fn mark(&mut self, recall: Recall<'_>, units: &mut u64) -> Ended {
        match self.mark_overwritten(recall) {
            Ended::Done => self.scan(recall, units),
            ended => ended,
        }
    }

    /// Marks what the program overwrote, and records slots that refer into blocks that will be evacuated.
    fn mark_overwritten(&mut self, recall: Recall<'_>) -> Ended {
        let OldTables { region, evacuator, marker, .. } = &mut self.tables;
        let view = self.bytes.view();
        let mut done = 0;
        while let Some((word, slot)) = marker.overwritten.pop() {
            if word & I31::TAG == 0 && word >= marker.floor {
                match region.mark(word) {
                    Mark::New => marker.stack.push(Grey::new(word, 0)),
                    Mark::Old => {}
                    Mark::NoObject => return Ended::Damage(word, NO_OBJECT),
                }
            }
            if evacuator.is_active()
                && slot >= region.start()
                && view.read_u32(slot.into()).is_some_and(|word| evacuator.is_chosen(word))
                && !evacuator.record(slot)
            {
                return Ended::ManySlots;
            }
            done += 1;
            if done % super::LOOK == 0 && recall.is_asked() {
                return Ended::Recalled;
            }
        }
        Ended::Done
    }

    /// Scans marked objects.
    fn scan(&mut self, recall: Recall<'_>, units: &mut u64) -> Ended {
        let OldTables { region, evacuator, marker, .. } = &mut self.tables;
        let (chosen, slots, most_slots) = evacuator.parts();
        let Marker { stack, floor, waiting, .. } = marker;
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
