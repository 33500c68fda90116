//! Globals, tables and memories.

use super::pointers::{last_error, read_bytes, write_bytes, written};
use super::{Boxed, C, Shared, Store, done, handle, kind, result, value};
use crate::api::driver::{Given, Places, Stores as _};
use anyhow::{Context as _, Result, anyhow, ensure};
use reclaim::*;

impl Places for C {
    fn new_global(_: &mut Shared, own: &Store, init: Given<'_, C>) -> Result<Box<wasm_global_t>> {
        let ty = wasm_globaltype_new(wasm_valtype_new(kind(init.external) as u8), 1);
        let init = value(init.handle, init.external);
        result(wasm_global_new(own.store.as_deref(), ty.as_deref(), Some(&init)))
    }

    fn global_get(
        _: &mut Shared,
        global: &Box<wasm_global_t>,
        external: bool,
    ) -> Result<Option<Boxed>> {
        let ((), value) = written(|out| wasm_global_get(Some(global), out));
        ensure!(value.kind == kind(external) as u8, "another kind: {}", value.kind);
        handle(&value)
    }

    fn global_set(_: &mut Shared, global: &Box<wasm_global_t>, new: Given<'_, C>) -> Result<()> {
        wasm_global_set(Some(global), Some(&value(new.handle, new.external)));
        C::settled()
    }

    fn new_table(
        _: &mut Shared,
        own: &Store,
        len: u32,
        init: Given<'_, C>,
    ) -> Result<Box<wasm_table_t>> {
        let limits = wasm_limits_t { min: len, max: 100 };
        let ty = wasm_tabletype_new(wasm_valtype_new(kind(init.external) as u8), Some(&limits));
        let init = init.handle.map(|init| &**init);
        result(wasm_table_new(own.store.as_deref(), ty.as_deref(), init))
    }

    fn table_size(_: &mut Shared, table: &Box<wasm_table_t>) -> Result<u64> {
        Ok(wasm_table_size(Some(table)).into())
    }

    fn table_get(_: &mut Shared, table: &Box<wasm_table_t>, index: u32) -> Result<Option<Boxed>> {
        let element = wasm_table_get(Some(table), index);
        match last_error() {
            None => Ok(element),
            Some(why) => Err(anyhow!(why)),
        }
    }

    fn table_set(
        _: &mut Shared,
        table: &Box<wasm_table_t>,
        index: u32,
        new: Given<'_, C>,
    ) -> Result<()> {
        done(wasm_table_set(Some(table), index, new.handle.map(|new| &**new)))
    }

    fn table_grow(
        cx: &mut Shared,
        table: &Box<wasm_table_t>,
        delta: u32,
        init: Given<'_, C>,
    ) -> Result<u64> {
        let before = C::table_size(cx, table)?;
        done(wasm_table_grow(Some(table), delta, init.handle.map(|init| &**init)))?;
        Ok(before)
    }

    fn new_memory(_: &mut Shared, own: &Store) -> Result<Box<wasm_memory_t>> {
        let ty = wasm_memorytype_new(Some(&wasm_limits_t { min: 1, max: 20 }));
        result(wasm_memory_new(own.store.as_deref(), ty.as_deref()))
    }

    fn memory_size(_: &mut Shared, memory: &Box<wasm_memory_t>) -> Result<usize> {
        Ok(wasm_memory_data_size(Some(memory)))
    }

    fn memory_grow(_: &mut Shared, memory: &Box<wasm_memory_t>, pages: u32) -> Result<u64> {
        let before = wasm_memory_size(Some(memory));
        done(wasm_memory_grow(Some(memory), pages))?;
        Ok(before.into())
    }

    fn memory_write(
        _: &mut Shared,
        memory: &Box<wasm_memory_t>,
        at: usize,
        bytes: &[u8],
    ) -> Result<()> {
        write_bytes(memory, at, bytes).context("no such bytes")
    }

    fn memory_read(
        _: &mut Shared,
        memory: &Box<wasm_memory_t>,
        at: usize,
        bytes: &mut [u8],
    ) -> Result<()> {
        read_bytes(memory, at, bytes).context("no such bytes")
    }
}
