//! Globals, tables and memories.

use super::{Cx, Handled, Rust, Types, reference_type};
use crate::api::driver::{Given, Places};
use crate::refs::internal;
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{Global, GlobalType, Memory, MemoryType, Mutability, Table, TableType, Val, ValType};

impl Places for Rust {
    fn new_global(cx: &mut Cx<'_>, _: &Types, init: Given<'_, Rust>) -> Result<Global> {
        let ty = GlobalType::new(ValType::Ref(reference_type(init.external)), Mutability::Var);
        let init = init.value(&mut *cx)?;
        Global::new(cx, ty, init)
    }

    fn global_get(cx: &mut Cx<'_>, global: &Global, external: bool) -> Result<Option<Handled>> {
        let read = global.get(&mut *cx);
        let right = matches!(read, Val::ExternRef(_)) == external;
        ensure!(right, "another type: {read:?}");
        internal(cx, read)
    }

    fn global_set(cx: &mut Cx<'_>, global: &Global, new: Given<'_, Rust>) -> Result<()> {
        let new = new.value(&mut *cx)?;
        global.set(cx, new)
    }

    fn new_table(cx: &mut Cx<'_>, _: &Types, len: u32, init: Given<'_, Rust>) -> Result<Table> {
        let ty = TableType::new(reference_type(init.external), len, Some(100));
        let init = init.element(&mut *cx)?;
        Table::new(cx, ty, init)
    }

    fn table_size(cx: &mut Cx<'_>, table: &Table) -> Result<u64> {
        Ok(table.size(&*cx))
    }

    fn table_get(cx: &mut Cx<'_>, table: &Table, index: u32) -> Result<Option<Handled>> {
        let read = table.get(&mut *cx, index.into()).context("no element")?;
        internal(cx, read.into())
    }

    fn table_set(cx: &mut Cx<'_>, table: &Table, index: u32, new: Given<'_, Rust>) -> Result<()> {
        let new = new.element(&mut *cx)?;
        table.set(cx, index.into(), new)
    }

    fn table_grow(
        cx: &mut Cx<'_>,
        table: &Table,
        delta: u32,
        init: Given<'_, Rust>,
    ) -> Result<u64> {
        let init = init.element(&mut *cx)?;
        table.grow(cx, delta.into(), init)
    }

    fn table_fill(
        cx: &mut Cx<'_>,
        table: &Table,
        at: u32,
        len: u32,
        new: Given<'_, Rust>,
    ) -> Option<Result<()>> {
        let new = new.element(&mut *cx);
        Some(new.and_then(|new| table.fill(cx, at.into(), new, len.into())))
    }

    fn table_copy(
        cx: &mut Cx<'_>,
        (to, at): (&Table, u32),
        (from, start): (&Table, u32),
        len: u32,
    ) -> Option<Result<()>> {
        Some(Table::copy(cx, to, at.into(), from, start.into(), len.into()))
    }

    fn new_memory(cx: &mut Cx<'_>, _: &Types) -> Result<Memory> {
        Memory::new(cx, MemoryType::new(1, Some(20)))
    }

    fn memory_size(cx: &mut Cx<'_>, memory: &Memory) -> Result<usize> {
        Ok(memory.data_size(&*cx))
    }

    fn memory_grow(cx: &mut Cx<'_>, memory: &Memory, pages: u32) -> Result<u64> {
        memory.grow(cx, pages.into())
    }

    fn memory_write(cx: &mut Cx<'_>, memory: &Memory, at: usize, bytes: &[u8]) -> Result<()> {
        Ok(memory.write(cx, at, bytes)?)
    }

    fn memory_read(cx: &mut Cx<'_>, memory: &Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        Ok(memory.read(&*cx, at, bytes)?)
    }
}
