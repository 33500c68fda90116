//! [`MaskedTable`]: a table whose numbers of entries wrap around.

use crate::memory::KeptWords;
use crate::{HeapError, HeapMemory, MemoryPurpose, Zeroable, ZeroedVec};
use gc_types::{SideForm, SideTable};

/// A power of two of entries. The number of an entry wraps around: a log, or cards that are selected by
/// some bits of an address. A table with a [switch](SideTable::with_switch) gets memory when it is first
/// switched on.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, MaskedTable};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// const LOGS: u32 = HeapDataOffsets::COLLECTOR + 8;
/// const LOG: SideTable = SideTable::masked("log", LOGS + 8, 3, 1 << 10).with_switch(LOGS);
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut log = MaskedTable::<u64>::new(&memory, LOG)?;
/// assert_eq!((log.get(7), memory.data_u64(LOG.address())), (None, 0));
/// log.switch(1)?;
/// log.set(7, 42);
/// assert_eq!((log.get(7), log.get(7 + (1 << 10))), (Some(42), Some(42)));
/// assert_eq!(memory.data_u32(LOGS), 1);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct MaskedTable<T: Zeroable + Send + 'static> {
    entries: ZeroedVec<T>,
    table: SideTable,
    kept: KeptWords,
}

impl<T: Zeroable + Send + 'static> Drop for MaskedTable<T> {
    fn drop(&mut self) {
        self.kept.leave(self.entries.take());
    }
}

impl<T: Zeroable + Send + 'static> MaskedTable<T> {
    /// Makes the table for a heap in `memory`. All entries are zero.
    ///
    /// # Errors
    /// If the memory's source refuses, there is such a table already, or the collector's ABI has another one.
    ///
    /// # Panics
    /// If the table was declared in another [form](SideForm::Masked), or with other entries.
    pub fn new(memory: &HeapMemory, table: SideTable) -> Result<MaskedTable<T>, HeapError> {
        let switch = match table.form() {
            SideForm::Masked { entry, switch, .. } if size_of::<T>() == 1 << entry => switch,
            _ => super::other_form(table),
        };
        let entries = ZeroedVec::new(memory.source(), MemoryPurpose::CollectorTable);
        let kept = KeptWords::new(memory, table)?;
        let mut made = MaskedTable { entries, table, kept };
        if switch.is_none() {
            made.provide()?;
        }
        Ok(made)
    }

    /// Ensures that it has memory.
    fn provide(&mut self) -> Result<(), HeapError> {
        if self.entries.is_empty() {
            let len = self.table.len_masked() as usize;
            self.entries.grow(len, len)?;
            let address = super::address(self.entries.as_ptr());
            self.kept.set_u64(self.table.address(), address);
            self.kept.set_entries(&self.entries);
        }
        Ok(())
    }

    fn switch_word(&self) -> u32 {
        match self.table.form() {
            SideForm::Masked { switch: Some(switch), .. } => switch,
            _ => panic!("the table `{}` has no switch", self.table.name()),
        }
    }

    /// Writes the table's switch. Unless `value` is zero, emitted code uses the table.
    ///
    /// # Errors
    /// If there is no memory for the table. Then the switch is zero.
    ///
    /// # Panics
    /// If the table has no switch.
    pub fn switch(&mut self, value: u32) -> Result<(), HeapError> {
        let word = self.switch_word();
        let provided = if value == 0 { Ok(()) } else { self.provide() };
        self.kept.set_u32(word, if provided.is_ok() { value } else { 0 });
        provided
    }

    /// Writes the word after the table's switch.
    ///
    /// # Panics
    /// If the table has no switch.
    pub(crate) fn set_after_switch(&mut self, value: u32) {
        self.kept.set_u32(self.switch_word() + 4, value);
    }

    /// The value of the table's switch.
    ///
    /// # Panics
    /// If the table has no switch.
    pub fn switched(&self) -> u32 {
        self.kept.u32(self.switch_word())
    }

    /// The place of the entry `number`.
    #[inline]
    fn place(&self, number: u64) -> usize {
        (number & u64::from(self.table.len_masked() - 1)) as usize
    }

    /// The entry `number`, modulo the length. `None` if the table has no memory.
    #[inline]
    pub fn get(&self, number: u64) -> Option<T> {
        self.entries.get(self.place(number)).copied()
    }

    /// Writes the entry `number`, modulo the length, if the table has memory.
    #[inline]
    pub fn set(&mut self, number: u64, value: T) {
        let place = self.place(number);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = value;
        }
    }

    /// Makes all entries zero.
    pub fn clear(&mut self) {
        self.entries.fill(T::ZERO);
    }
}
