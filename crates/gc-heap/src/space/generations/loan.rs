//! [`Loan`]: what a thread has that marks or sweeps while the program runs.
//!
//! The thread may read slots that the program is writing. Only objects of the snapshot are scanned, which do not move, and
//! only bytes are changed that the tables say nobody uses. What the thread has met is told when the tables go back.

use super::OldTables;
use crate::lend::{GcWork, Recall, Slot};
use crate::memory::LentBytes;
use crate::trace::shapes::Shapes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Units of work between two looks whether the tables are recalled, while a thread sweeps: four blocks.
const SWEPT: u32 = 64;
/// Blocks that are given back between two looks.
const GIVEN_BACK: u32 = 4;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// It marks what the program has overwritten, and scans marked objects.
    Mark,
    /// It sweeps, and gives back what is to be given back.
    Sweep,
}

/// How the work of a thread ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was recalled before it was done, or has not begun.
    #[default]
    Recalled,
    /// It did all that it knew of.
    Done,
    /// Too many slots refer into the blocks that will be evacuated.
    ManySlots,
    /// It met damage.
    Damage(u32, &'static str),
}

/// What a thread tells when the tables go back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) began: bool,
    pub(crate) ended: Ended,
    pub(crate) took: Duration,
    /// Units of work that it did.
    pub(crate) units: u64,
}

/// The tables of an old generation, the shapes of its objects and its bytes.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) tables: OldTables,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) bytes: LentBytes,
    pub(crate) task: Task,
    /// The most units of work. Under zeal they are few, so that marking and sweeping last for several collections.
    pub(crate) most: u32,
}

impl GcWork for Slot<Loan> {
    fn run(&self) {
        self.work(Loan::work);
    }

    /// It is recalled soon.
    fn is_urgent(&self) -> bool {
        true
    }
}

impl Loan {
    /// Works until all is done or the tables are recalled.
    fn work(&mut self, recall: Recall<'_>) {
        let (began, mut units) = (Instant::now(), 0);
        let ended = match self.task {
            Task::Mark => self.mark(recall, &mut units),
            Task::Sweep => self.sweep(recall, &mut units),
        };
        self.tables.told = Told { began: true, ended, took: began.elapsed(), units };
    }

    fn sweep(&mut self, recall: Recall<'_>, units: &mut u64) -> Ended {
        let region = &mut self.tables.region;
        while !recall.is_asked() && *units < self.most.into() {
            if region.is_sweeping() {
                let mut left = SWEPT.min(self.most);
                let given = left;
                region.sweep(&mut self.bytes, &mut left);
                *units += u64::from(given - left);
            } else if region.is_giving_back() {
                region.give_back(&mut self.bytes, GIVEN_BACK);
                *units += u64::from(SWEPT);
            } else {
                return Ended::Done;
            }
        }
        Ended::Recalled
    }
}
