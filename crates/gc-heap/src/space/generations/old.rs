//! [`OldGeneration`]: the tables of the old generation, which are at home or lent to a thread.
//!
//! Whoever uses the tables has them: a use while they are lent recalls them first. So a recall cannot be forgotten, only
//! come late. What the heap reports without a use of the tables ([`Counts`]) does not change while they are lent.

use super::loan::{Ended, Loan, Task, Told};
use crate::HeapError;
use crate::lend::{GcWork, Slot};
use crate::memory::LentBytes;
use crate::space::Count;
use crate::space::mark_region::MarkRegion;
use crate::space::mark_region::evacuate::Evacuator;
use crate::trace::marking::Marker;
use crate::trace::shapes::Shapes;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

const LOST: &str = "the thread that had the tables of its old generation has panicked";

/// What of the old generation is lent together.
#[derive(Debug)]
pub struct OldTables {
    /// Where the objects are.
    pub region: MarkRegion,
    /// The blocks that are being evacuated.
    pub evacuator: Evacuator,
    /// The progress of marking.
    pub marker: Marker,
    /// What the thread that had them last has told.
    pub(crate) told: Told,
    /// Whether the tables were lost, because the thread that had them has panicked. These are others, and empty.
    pub(crate) lost: bool,
}

/// What is reported of the old generation wherever its tables are.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// The bounds of its memory.
    pub start: u32,
    /// See above.
    pub end: u32,
    /// The objects that have not been found to be garbage, and those that are marked.
    pub total: Count,
    /// See above.
    pub marked: Count,
    /// Bytes of free blocks that were given back, and of those that are set aside.
    pub given_back: u64,
    /// See above.
    pub aside: u64,
    /// Free bytes that objects can be expected to use.
    pub free_bytes: u64,
    /// Slots of arrays that marking has found and not scanned.
    pub waiting_slots: u64,
    /// Whether known garbage is not swept.
    pub is_sweeping: bool,
}

impl Counts {
    fn new(region: &MarkRegion, marker: &Marker) -> Counts {
        Counts {
            start: region.start(),
            end: region.end(),
            total: region.total(),
            marked: region.marked(),
            given_back: region.given_back(),
            aside: region.aside(),
            free_bytes: region.free_bytes(),
            waiting_slots: marker.waiting_slots(),
            is_sweeping: region.is_sweeping(),
        }
    }
}

/// The old generation. It is used as its [tables](OldTables).
#[derive(Debug)]
pub struct OldGeneration {
    home: OnceLock<OldTables>,
    slot: Arc<Slot<Loan>>,
    /// Of the time when the tables were lent.
    lent: Counts,
}

impl OldGeneration {
    /// A region without objects.
    pub(super) fn new(region: MarkRegion) -> OldGeneration {
        let (evacuator, marker, told) = Default::default();
        let lent = Counts::new(&region, &marker);
        let home = OnceLock::from(OldTables { region, evacuator, marker, told, lost: false });
        OldGeneration { home, slot: Arc::default(), lent }
    }

    /// Whether the tables are lent.
    #[inline]
    pub fn is_lent(&self) -> bool {
        self.home.get().is_none()
    }

    /// Whether a use of the tables does not wait for another thread.
    #[inline]
    pub fn is_back(&self) -> bool {
        self.slot.is_back()
    }

    /// What is reported of the tables.
    pub fn counts(&self) -> Counts {
        self.home.get().map_or(self.lent, |tables| Counts::new(&tables.region, &tables.marker))
    }

    /// Checks that the tables were not lost.
    ///
    /// # Errors
    /// If a thread that had them has panicked.
    pub fn check_lost(&self) -> Result<(), HeapError> {
        match self.lost {
            true => Err(HeapError::Corrupt { at: self.lent.start, what: LOST }),
            false => Ok(()),
        }
    }

    /// Who has the tables, and the bytes of the heap, while they are lent.
    pub(crate) fn borrower(&self) -> Arc<Slot<Loan>> {
        Arc::clone(&self.slot)
    }

    /// Lends the tables to a thread for a task, of which it does at most `most` units of work. Returns that work.
    pub(crate) fn lend(
        &mut self,
        task: Task,
        shapes: Arc<Shapes>,
        bytes: LentBytes,
        most: u32,
    ) -> Arc<dyn GcWork> {
        self.lent = Counts::new(&self.region, &self.marker);
        if let Some(tables) = self.home.take() {
            self.slot.lend(Loan { tables, shapes, bytes, task, most });
        }
        self.borrower()
    }

    /// Recalls the tables. If the thread that had them has panicked, they are lost: then there are none, and the work has ended with damage.
    #[cold]
    fn take_back(&self) -> OldTables {
        if let Some(Ok(loan)) = self.slot.take() {
            return loan.tables;
        }
        let (evacuator, marker) = Default::default();
        let told = Told { ended: Ended::Damage(self.lent.start, LOST), ..Told::default() };
        // The heap's maximum is not known here. It may still grow before the damage is noted.
        let region = MarkRegion::new(self.lent.start, 1 << 32);
        OldTables { region, evacuator, marker, told, lost: true }
    }
}

impl Deref for OldGeneration {
    type Target = OldTables;

    /// Recalls the tables, if they are lent.
    #[inline]
    fn deref(&self) -> &OldTables {
        self.home.get_or_init(|| self.take_back())
    }
}

impl DerefMut for OldGeneration {
    /// Recalls the tables, if they are lent.
    #[inline]
    fn deref_mut(&mut self) -> &mut OldTables {
        if self.home.get().is_none() {
            self.home = OnceLock::from(self.take_back());
        }
        match self.home.get_mut() {
            Some(tables) => tables,
            None => unreachable!("they were just taken back"),
        }
    }
}

impl Drop for OldGeneration {
    /// Recalls the tables, and with them the bytes of the heap.
    fn drop(&mut self) {
        if self.is_lent() {
            let _tables = self.slot.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Generations;
    use crate::{HeapCore, HeapMemory, HeapOptions};
    use gc_types::{TypeIndex, VMGcHeader, VMGcKind};

    #[test]
    fn tables_that_a_panic_has_lost_are_damage_until_a_reset() {
        let memory = HeapMemory::with_apart(&HeapOptions::default(), 64 << 10).unwrap();
        let mut core = HeapCore::new(memory);
        let mut space = Generations::new(&mut core, 0).unwrap();
        space.reserve(&mut core);
        let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
        space.alloc_old(&mut core, header, 16).unwrap();

        let old = &mut space.old;
        let bytes = core.memory.lend(old.region.start().into(), old.borrower()).unwrap();
        let _work = old.lend(Task::Mark, Arc::default(), bytes, u32::MAX);
        assert_eq!((old.is_lent(), old.counts().total.objects), (true, 1));
        let slot = old.borrower();
        let work = || slot.work(|_, _| panic!("a test"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());

        let error = space.walk(&core, &mut |_| panic!("an object")).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert!(matches!(space.old.told.ended, Ended::Damage(_, what) if what == LOST));
        assert_eq!(space.old.region.alloc(16), None);
        space.reserve(&mut core);

        core.reset();
        space.reset(&mut core);
        space.reserve(&mut core);
        let again = space.alloc_old(&mut core, header, 16);
        assert!(again.is_some_and(|at| space.old.region.is_start(at)));
        assert_eq!(space.old.told.ended, Ended::Recalled);
    }
}
