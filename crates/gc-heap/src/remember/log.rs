//! [`OverwrittenLog`]: the references that the mutator overwrites while marking is under way.

use crate::{HeapError, HeapMemory, MaskedTable};
use gc_types::SideTable;

/// The log of a barrier that keeps the snapshot at the beginning of marking: the references that marking would
/// otherwise lose, with the slots that they were in (Yuasa, "Real-Time Garbage Collection on General-Purpose
/// Machines", 1990).
///
/// Emitted code never calls the host for a full log. The log wraps around and the count continues. So the loss of
/// entries is known, and marking begins again.
///
/// # Examples
/// ```
/// use gc_heap::remember::OverwrittenLog;
/// use gc_heap::{HeapMemory, HeapOptions};
/// use gc_types::{HeapDataOffsets, SideTable};
///
/// // The word that switches logging on, the number of entries, and the address of the table.
/// const LOGS: u32 = HeapDataOffsets::COLLECTOR + 8;
/// const LEN: u32 = HeapDataOffsets::COLLECTOR + 16;
/// const LOG: SideTable =
///     SideTable::masked("log", HeapDataOffsets::COLLECTOR + 24, 3, 1 << 10).with_switch(LOGS);
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut log = OverwrittenLog::new(&memory, LOG, LEN)?;
/// log.begin(&mut memory, 1);
/// // As emitted code does.
/// log.set(0, 5, 7);
/// memory.set_data_u64(LEN, 1);
/// assert_eq!(log.unread(&memory), Some(1));
/// assert_eq!(log.next(), (5, 7));
/// memory.set_data_u64(LEN, 1 + 1 + (1 << 10));
/// assert_eq!(log.unread(&memory), None, "an entry was lost");
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct OverwrittenLog {
    /// The slot is in the upper half of an entry.
    entries: MaskedTable<u64>,
    capacity: u64,
    /// The word of the number of entries, as a byte offset in the heap data.
    len: u32,
    /// Whether emitted code should log, but there is no memory for the log.
    unlogged: bool,
    /// Number of entries that were read.
    read: u64,
    /// What is after the switch while emitted code does not log.
    bound: Option<u32>,
}

impl OverwrittenLog {
    /// The bit of the switch with which emitted code logs.
    pub const LOGS: u32 = 1;
    /// The bit of the switch, beside [`LOGS`](OverwrittenLog::LOGS), that says that blocks will be evacuated when
    /// marking ends. Then a collector may want other barriers.
    pub const EVACUATES: u32 = 2;

    /// Makes the log for a heap in `memory`. `table` has entries of eight bytes, and a switch. Emitted code counts
    /// the entries in the two words at byte `len` of the heap data. The log gets memory when it is first
    /// [begun](OverwrittenLog::begin).
    ///
    /// # Errors
    /// If there is such a table already, or the collector's ABI has another one.
    ///
    /// # Panics
    /// If the table is not [masked](gc_types::SideForm::Masked), or has other entries.
    pub fn new(
        memory: &HeapMemory,
        table: SideTable,
        len: u32,
    ) -> Result<OverwrittenLog, HeapError> {
        let entries = MaskedTable::new(memory, table)?;
        let capacity = table.len_masked().into();
        Ok(OverwrittenLog { entries, capacity, len, unlogged: false, read: 0, bound: None })
    }

    /// Keeps a bound in the four bytes after the switch: `u32::MAX` while emitted code logs, and otherwise `bound`. With
    /// one comparison of a stored word that is at most `bound` if it needs another barrier, emitted code learns both.
    #[must_use]
    pub fn with_bound(mut self, bound: u32) -> OverwrittenLog {
        self.bound = Some(bound);
        self.switch(self.switched());
        self
    }

    /// Empties the log and writes its switch: unless `value` is zero, emitted code logs. If there is no memory for
    /// the log, entries count as lost from now on.
    pub fn begin(&mut self, memory: &mut HeapMemory, value: u32) {
        self.read = 0;
        memory.set_data_u64(self.len, 0);
        self.unlogged = false;
        self.switch(value);
    }

    /// Empties the log after a reset of the heap, which has zeroed the number of entries. Emitted code does not log.
    pub fn reset(&mut self) {
        (self.read, self.unlogged) = (0, false);
        self.switch(0);
    }

    /// Writes the switch. If there is no memory for the log, entries count as lost from now on.
    pub fn switch(&mut self, value: u32) {
        if let Err(error) = self.entries.switch(value) {
            log::warn!("marking cannot be interleaved with the program: {error}");
            self.unlogged = true;
        }
        if let Some(bound) = self.bound {
            let logs = self.switched() != 0;
            self.entries.set_after_switch(if logs { u32::MAX } else { bound });
        }
    }

    /// Sets whether blocks will be [evacuated](OverwrittenLog::EVACUATES). The bit is clear where emitted code does not
    /// log.
    pub fn set_evacuates(&mut self, evacuates: bool) {
        let logs = self.switched();
        let bit = if evacuates && logs != 0 { OverwrittenLog::EVACUATES } else { 0 };
        self.switch(logs & !OverwrittenLog::EVACUATES | bit);
    }

    /// The value of the switch.
    pub fn switched(&self) -> u32 {
        self.entries.switched()
    }

    /// Number of entries that were not read yet. `None` if some were lost.
    pub fn unread(&self, memory: &HeapMemory) -> Option<u32> {
        if self.unlogged {
            return None;
        }
        let unread = memory.data_u64(self.len).checked_sub(self.read)?;
        (unread <= self.capacity).then_some(unread as u32)
    }

    /// The `n`th unread entry: the overwritten word and the index of its slot.
    pub fn get(&self, n: u32) -> (u32, u32) {
        let entry = self.entries.get(self.read.wrapping_add(n.into())).unwrap_or(0);
        (entry as u32, (entry >> 32) as u32)
    }

    /// Reads the next entry. There must be one.
    #[expect(clippy::should_implement_trait, reason = "the log does not know its length")]
    pub fn next(&mut self) -> (u32, u32) {
        let entry = self.get(0);
        self.read += 1;
        entry
    }

    /// Writes the `n`th entry, as emitted code does, which also counts it.
    pub fn set(&mut self, n: u64, word: u32, slot: u32) {
        self.entries.set(n, u64::from(slot) << 32 | u64::from(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        HeapOptions, MemoryPurpose, MemoryRequest, MemorySource, OnDemand, Reservation,
        UsedReservation,
    };
    use gc_types::HeapDataOffsets;
    use std::sync::Arc;

    const SWITCH: u32 = HeapDataOffsets::COLLECTOR + 8;
    const LEN: u32 = HeapDataOffsets::COLLECTOR + 16;
    const CAPACITY: u64 = 1 << 6;
    const LOG: SideTable =
        SideTable::masked("log", HeapDataOffsets::COLLECTOR + 24, 3, CAPACITY as u32)
            .with_switch(SWITCH);

    #[test]
    fn a_log_that_wrapped_around_is_known_to_have() {
        let mut memory = HeapMemory::new(&HeapOptions::default()).unwrap();
        let mut log = OverwrittenLog::new(&memory, LOG, LEN).unwrap();
        assert_eq!(log.unread(&memory), Some(0));
        log.begin(&mut memory, 1);
        assert_eq!((memory.data_u32(SWITCH), log.unread(&memory)), (1, Some(0)));
        memory.set_data_u64(LEN, CAPACITY);
        assert_eq!(log.unread(&memory), Some(CAPACITY as u32));
        memory.set_data_u64(LEN, CAPACITY + 1);
        assert_eq!(log.unread(&memory), None);
        // One entry was read, so it may be overwritten.
        log.set(0, 5, 7);
        assert_eq!(log.next(), (5, 7));
        assert_eq!(log.unread(&memory), Some(CAPACITY as u32));
        log.begin(&mut memory, 0);
        assert_eq!((memory.data_u32(SWITCH), log.unread(&memory)), (0, Some(0)));
    }

    #[test]
    fn a_bound_lets_everything_through_while_emitted_code_logs() {
        let mut memory = HeapMemory::new(&HeapOptions::default()).unwrap();
        let mut log = OverwrittenLog::new(&memory, LOG, LEN).unwrap().with_bound(99);
        assert_eq!(memory.data_u32(SWITCH + 4), 99);
        log.begin(&mut memory, 1);
        assert_eq!(memory.data_u32(SWITCH + 4), u32::MAX);
        log.set_evacuates(true);
        log.begin(&mut memory, 0);
        assert_eq!(memory.data_u32(SWITCH + 4), 99);
        log.begin(&mut memory, 1);
        log.reset();
        assert_eq!(memory.data_u32(SWITCH + 4), 99);
    }

    /// Has memory for heaps, and none for tables.
    #[derive(Debug)]
    struct NoTables(OnDemand);

    impl MemorySource for NoTables {
        fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
            if request.purpose == MemoryPurpose::CollectorTable {
                return Err(request.refused("there are no tables"));
            }
            self.0.reserve(request)
        }

        fn give_back(&self, used: UsedReservation) {
            self.0.give_back(used);
        }
    }

    #[test]
    fn a_log_without_memory_loses_entries_however_it_is_switched_on() {
        let source = Arc::new(NoTables(OnDemand::default()));
        let options = HeapOptions { memory: source, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let table = SideTable::masked("log", HeapDataOffsets::COLLECTOR + 24, 3, 1 << 20)
            .with_switch(SWITCH);
        for begins in [true, false] {
            let mut log = OverwrittenLog::new(&memory, table, LEN).unwrap();
            if begins {
                log.begin(&mut memory, 1)
            } else {
                log.switch(1)
            }
            assert_eq!((log.switched(), log.unread(&memory)), (0, None));
            log.begin(&mut memory, 0);
            assert_eq!(log.unread(&memory), Some(0));
        }
    }
}
