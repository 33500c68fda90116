//! Globals, tables and memories.

use super::Api;
use anyhow::Result;

/// What is done with globals, tables and memories.
pub(in crate::api) trait Places: Api {
    fn new_global(
        cx: &mut Self::Context<'_>,
        own: &Self::Own,
        external: bool,
        value: Option<&Self::Ref>,
    ) -> Result<Self::Global>;
    fn global_get(
        cx: &mut Self::Context<'_>,
        global: &Self::Global,
        external: bool,
    ) -> Result<Option<Self::Ref>>;
    fn global_set(
        cx: &mut Self::Context<'_>,
        global: &Self::Global,
        external: bool,
        value: Option<&Self::Ref>,
    ) -> Result<()>;
    fn new_table(
        cx: &mut Self::Context<'_>,
        own: &Self::Own,
        external: bool,
        len: u32,
        init: Option<&Self::Ref>,
    ) -> Result<Self::Table>;
    fn table_size(cx: &mut Self::Context<'_>, table: &Self::Table) -> Result<u64>;
    fn table_get(
        cx: &mut Self::Context<'_>,
        table: &Self::Table,
        index: u32,
    ) -> Result<Option<Self::Ref>>;
    fn table_set(
        cx: &mut Self::Context<'_>,
        table: &Self::Table,
        external: bool,
        index: u32,
        value: Option<&Self::Ref>,
    ) -> Result<()>;
    /// Grows a table. Its old size.
    fn table_grow(
        cx: &mut Self::Context<'_>,
        table: &Self::Table,
        external: bool,
        delta: u32,
        init: Option<&Self::Ref>,
    ) -> Result<u64>;
    fn table_fill(
        _: &mut Self::Context<'_>,
        _: &Self::Table,
        _external: bool,
        _at: u32,
        _len: u32,
        _: Option<&Self::Ref>,
    ) -> Option<Result<()>> {
        None
    }
    /// Copies elements: those of the second table from `start` to the first table at `at`.
    fn table_copy(
        _: &mut Self::Context<'_>,
        _to: (&Self::Table, u32),
        _from: (&Self::Table, u32),
        _len: u32,
    ) -> Option<Result<()>> {
        None
    }
    /// Makes a memory of one page.
    fn new_memory(cx: &mut Self::Context<'_>, own: &Self::Own) -> Result<Self::Memory>;
    /// The number of bytes.
    fn memory_size(cx: &mut Self::Context<'_>, memory: &Self::Memory) -> Result<usize>;
    /// Grows a memory. Its old number of pages.
    fn memory_grow(cx: &mut Self::Context<'_>, memory: &Self::Memory, pages: u32) -> Result<u64>;
    fn memory_write(
        cx: &mut Self::Context<'_>,
        memory: &Self::Memory,
        at: usize,
        bytes: &[u8],
    ) -> Result<()>;
    fn memory_read(
        cx: &mut Self::Context<'_>,
        memory: &Self::Memory,
        at: usize,
        bytes: &mut [u8],
    ) -> Result<()>;
}
