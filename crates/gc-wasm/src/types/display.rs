//! The type display table: for each type of an engine, its chain of ancestors, in
//! memory that emitted casts read (Cohen, "Type-Extension Type Tests Can Be
//! Performed In Constant Time", 1991).
//!
//! The whole table is reserved at once, so emitted code may read the row of any masked index
//! without a bounds check. Unwritten rows are zero, and the system uses no memory for them. A row
//! is written once, before any code that knows its type runs.

use anyhow::{Context, Result};
use gc_types::VMOffsets;
use std::sync::atomic::{AtomicU32, Ordering};

/// The display table of one engine.
pub(crate) struct DisplayTable {
    allocation: region::Allocation,
}

// SAFETY: the allocation is only accessed through atomics, and freed on drop.
unsafe impl Send for DisplayTable {}
// SAFETY: as above.
unsafe impl Sync for DisplayTable {}

impl DisplayTable {
    /// The number of types that fit in the table. The last row stays zero, because
    /// `TypeIndex::NONE`, the index of externrefs, is masked to it.
    pub(crate) const CAPACITY: u32 = VMOffsets::DISPLAY_TYPES - 1;

    /// Reserves an empty table.
    pub(crate) fn new() -> Result<DisplayTable> {
        let allocation =
            region::alloc(VMOffsets::DISPLAY_TABLE_SIZE as usize, region::Protection::READ_WRITE)
                .context("reserving the type display table")?;
        Ok(DisplayTable { allocation })
    }

    /// The table's address, for the store context.
    pub(crate) fn as_ptr(&self) -> *const u32 {
        self.allocation.as_ptr()
    }

    /// Writes the row of type `index`. `chain` has its ancestors, the root first and the type
    /// itself last.
    pub(crate) fn write_row(&self, index: u32, chain: &[u32]) {
        assert!(index < DisplayTable::CAPACITY, "type index {index} has no display row");
        let row = index as usize * VMOffsets::DISPLAY_ROW as usize;
        for (depth, ancestor) in chain.iter().take(VMOffsets::DISPLAY_ROW as usize).enumerate() {
            // SAFETY: `row + depth` is below the table's number of words (the
            // index was checked above), the allocation is aligned to pages and
            // lives as long as `self`, and all access is atomic.
            let word = unsafe {
                AtomicU32::from_ptr(self.allocation.as_ptr::<u32>().cast_mut().add(row + depth))
            };
            word.store(ancestor + 1, Ordering::Release);
        }
    }
}
