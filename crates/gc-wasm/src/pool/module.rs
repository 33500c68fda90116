//! Refuses modules that do not fit the limits of a pool.

use super::Pool;
use crate::module::info::ModuleInfo;
use crate::types::PAGE_SIZE;
use crate::vm::instance::InstanceData;
use crate::vm::layout::VMContextLayout;
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;

impl Pool {
    /// Checks that instances of a module fit the pool.
    ///
    /// # Errors
    /// The limit that does not hold.
    pub(crate) fn check_module(&self, info: &ModuleInfo, layout: &VMContextLayout) -> Result<()> {
        self.check_memories(info)
            .context("module memory does not fit in pooling allocator requirements")?;
        self.check_tables(info)
            .context("module table does not fit in pooling allocator requirements")?;
        self.check_size(layout)
            .context("module instance size does not fit in pooling allocator requirements")
    }

    fn check_memories(&self, info: &ModuleInfo) -> Result<()> {
        let defined = info.memories.iter().enumerate().skip(info.num_imported_memories as usize);
        let (count, limit) = (defined.len(), self.config.max_memories_per_module);
        ensure!(
            count <= limit as usize,
            "defined memories count of {count} exceeds the per-instance limit of {limit}"
        );
        for (i, memory) in defined {
            let bytes = memory.limits.min.saturating_mul(PAGE_SIZE);
            if bytes > self.config.max_memory_size as u64 {
                bail!(
                    "memory index {i} is unsupported in this pooling allocator configuration: \
                     memory has a minimum byte size of {bytes} which exceeds the limit of {:#x} bytes",
                    self.config.max_memory_size
                );
            }
        }
        Ok(())
    }

    fn check_tables(&self, info: &ModuleInfo) -> Result<()> {
        let defined = info.tables.iter().enumerate().skip(info.num_imported_tables as usize);
        let (count, limit) = (defined.len(), self.config.max_tables_per_module);
        ensure!(
            count <= limit as usize,
            "defined tables count of {count} exceeds the per-instance limit of {limit}"
        );
        let total = self.config.total_tables;
        ensure!(
            count <= total as usize,
            "defined tables count of {count} exceeds the total tables limit of {total}"
        );
        for (i, table) in defined {
            let (minimum, limit) = (table.limits.min, self.table_elements());
            ensure!(
                minimum <= limit,
                "table index {i} has a minimum element size of {minimum} which exceeds the limit of \
                 {limit}"
            );
        }
        Ok(())
    }

    fn check_size(&self, layout: &VMContextLayout) -> Result<()> {
        let state = size_of::<InstanceData>();
        let (size, limit) = (state + layout.size() as usize, self.config.max_core_instance_size);
        if size <= limit {
            return Ok(());
        }
        let mut text = format!(
            "instance allocation for this module requires {size} bytes which exceeds the configured \
             maximum of {limit} bytes; breakdown of allocation requirement:\n"
        );
        let state = [("instance state management", state)];
        for (what, bytes) in state.into_iter().chain(layout.regions()) {
            // What is small does not matter.
            if bytes > size / 20 {
                let share = bytes as f64 * 100.0 / size as f64;
                write!(text, "\n * {share:.2}% - {bytes} bytes - {what}")?;
            }
        }
        bail!(text)
    }
}
