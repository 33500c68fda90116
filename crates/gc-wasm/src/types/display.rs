//! The type display table: for each type of an engine, its chain of ancestors, in
//! memory that emitted casts read (Cohen, "Type-Extension Type Tests Can Be
//! Performed In Constant Time", 1991).
//!
//! The whole table is reserved at once, so emitted code may read the row of any masked index
//! without a bounds check. Unwritten rows are zero, and the system uses no memory for them. A row
//! is written before any code that knows its type runs, and cleared when nobody knows the type any
//! more. The host reads the table too, because it needs no lock.

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
    /// itself last. It is empty if the index becomes free.
    pub(crate) fn write_row(&self, index: u32, chain: &[u32]) {
        for depth in 0..VMOffsets::DISPLAY_ROW {
            let ancestor = chain.get(depth as usize).map_or(0, |ancestor| ancestor + 1);
            self.word(index, depth).store(ancestor, Ordering::Release);
        }
    }

    /// The number of proper ancestors of type `index`. `None` if it has more than fit in a row, or
    /// there is no such type.
    pub(crate) fn depth(&self, index: u32) -> Option<u32> {
        (0..VMOffsets::DISPLAY_ROW).find(|depth| self.ancestor(index, *depth) == Some(index))
    }

    /// The ancestor of type `index` that has `depth` ancestors itself, or the type, if `depth` is
    /// its own. `depth` must be less than the row's length. `None` if there is none, or no such
    /// type.
    pub(crate) fn ancestor(&self, index: u32, depth: u32) -> Option<u32> {
        if index >= DisplayTable::CAPACITY {
            return None;
        }
        self.word(index, depth).load(Ordering::Acquire).checked_sub(1)
    }

    fn word(&self, index: u32, depth: u32) -> &AtomicU32 {
        assert!(index < DisplayTable::CAPACITY, "type index {index} has no display row");
        assert!(depth < VMOffsets::DISPLAY_ROW, "a row has no column {depth}");
        let at = index as usize * VMOffsets::DISPLAY_ROW as usize + depth as usize;
        // SAFETY: `at` is below the table's number of words, because the index and the depth were
        // checked above. The allocation is aligned to pages and lives as long as `self`, and all
        // access is atomic.
        unsafe { AtomicU32::from_ptr(self.allocation.as_ptr::<u32>().cast_mut().add(at)) }
    }
}
