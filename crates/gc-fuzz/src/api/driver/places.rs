//! Globals, tables and memories.

use super::Api;
use anyhow::Result;

/// A handle that goes to a place, and whether the place is for external references.
pub(in crate::api) struct Given<'a, A: Api> {
    pub(in crate::api) handle: Option<&'a A::Ref>,
    pub(in crate::api) external: bool,
}

/// What is done with globals, tables and memories.
pub(in crate::api) trait Places: Api {
    fn new_global(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        init: Given<'_, Self>,
    ) -> Result<Self::Global>;
    fn global_get(
        cx: &mut Self::Cx<'_>,
        global: &Self::Global,
        external: bool,
    ) -> Result<Option<Self::Ref>>;
    fn global_set(cx: &mut Self::Cx<'_>, global: &Self::Global, new: Given<'_, Self>)
    -> Result<()>;
    fn new_table(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        len: u32,
        init: Given<'_, Self>,
    ) -> Result<Self::Table>;
    fn table_size(cx: &mut Self::Cx<'_>, table: &Self::Table) -> Result<u64>;
    fn table_get(
        cx: &mut Self::Cx<'_>,
        table: &Self::Table,
        index: u32,
    ) -> Result<Option<Self::Ref>>;
    fn table_set(
        cx: &mut Self::Cx<'_>,
        table: &Self::Table,
        index: u32,
        new: Given<'_, Self>,
    ) -> Result<()>;
    /// Grows a table. Its old size.
    fn table_grow(
        cx: &mut Self::Cx<'_>,
        table: &Self::Table,
        delta: u32,
        init: Given<'_, Self>,
    ) -> Result<u64>;
    fn table_fill(
        _: &mut Self::Cx<'_>,
        _: &Self::Table,
        _at: u32,
        _len: u32,
        _new: Given<'_, Self>,
    ) -> Option<Result<()>> {
        None
    }
    /// Copies elements: those of the second table from `start` to the first table at `at`.
    fn table_copy(
        _: &mut Self::Cx<'_>,
        _to: (&Self::Table, u32),
        _from: (&Self::Table, u32),
        _len: u32,
    ) -> Option<Result<()>> {
        None
    }
    /// Makes a memory of one page.
    fn new_memory(cx: &mut Self::Cx<'_>, own: &Self::Own) -> Result<Self::Memory>;
    /// The number of bytes.
    fn memory_size(cx: &mut Self::Cx<'_>, memory: &Self::Memory) -> Result<usize>;
    /// Grows a memory. Its old number of pages.
    fn memory_grow(cx: &mut Self::Cx<'_>, memory: &Self::Memory, pages: u32) -> Result<u64>;
    fn memory_write(
        cx: &mut Self::Cx<'_>,
        memory: &Self::Memory,
        at: usize,
        bytes: &[u8],
    ) -> Result<()>;
    fn memory_read(
        cx: &mut Self::Cx<'_>,
        memory: &Self::Memory,
        at: usize,
        bytes: &mut [u8],
    ) -> Result<()>;
}
