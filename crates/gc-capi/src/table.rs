//! Tables.

use crate::error::given;
use crate::macros::exports;
use crate::reference::{What, wasm_ref_t, wasm_table_t};
use crate::store::{Data, StoreRef, store_of, wasm_store_t};
use crate::types::{ExternTy, wasm_externtype_t, wasm_tabletype_t};
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{Ref, StoreContextMut, Table, TableType};

impl wasm_table_t {
    fn parts(&self) -> Result<(StoreRef, Table)> {
        match &self.0.what {
            What::Table(table) => Ok((self.0.store()?, *table)),
            other => bail!("{} is no table", other.name()),
        }
    }
}

/// A reference as an element of a table.
fn element(
    context: &mut StoreContextMut<'_, Data>,
    store: &StoreRef,
    ty: &TableType,
    value: Option<&wasm_ref_t>,
) -> Result<Ref> {
    let element = ty.element();
    match value {
        Some(value) => value.to_ref(context, store, element.heap_type()),
        None => {
            ensure!(element.is_nullable(), "type mismatch: expected {element}, found null");
            Ok(Ref::null(element.heap_type()))
        }
    }
}

exports! {
    /// Makes a table whose elements are all `init`. NULL if that is of another type or store, or the
    /// table is too large.
    fn wasm_table_new(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_tabletype_t>,
        init: Option<&wasm_ref_t>,
    ) -> Option<Box<wasm_table_t>> {
        let store = &store_of(store)?;
        let ty = given(ty, "type")?.to_table_type(&store.engine()?)?;
        let table = store.with(|mut context| {
            let init = element(&mut context, store, &ty, init)?;
            Table::new(context, ty, init)
        })?;
        Ok(Some(Box::new(wasm_table_t(wasm_ref_t::new(store, What::Table(table))))))
    }

    /// The table's type.
    fn wasm_table_type(table: Option<&wasm_table_t>) -> Option<Box<wasm_tabletype_t>> {
        let (store, table) = given(table, "table")?.parts()?;
        let ty = store.with(|context| Ok(table.ty(context)))?;
        Ok(Some(Box::new(wasm_tabletype_t(wasm_externtype_t(ExternTy::of_table(ty))))))
    }

    /// An element. NULL if it is null, or if there is no such element; `reclaim_last_error` tells.
    fn wasm_table_get(table: Option<&wasm_table_t>, index: u32) -> Option<Box<wasm_ref_t>> {
        let (store, table) = given(table, "table")?.parts()?;
        let element = store.with(|mut context| {
            let element = table.get(&mut context, index.into());
            let element = element.with_context(|| format!("the table has no element {index}"))?;
            wasm_ref_t::of_ref(&mut context, &store, element)
        })?;
        Ok(element.map(Box::new))
    }

    /// Overwrites an element. `false` if there is no such element, or the reference is of another type
    /// or store.
    fn wasm_table_set(
        table: Option<&wasm_table_t>,
        index: u32,
        value: Option<&wasm_ref_t>,
    ) -> bool {
        let (store, table) = given(table, "table")?.parts()?;
        store.with(|mut context| {
            let ty = table.ty(&context);
            let value = element(&mut context, &store, &ty, value)?;
            table.set(context, index.into(), value)
        })?;
        Ok(true)
    }

    /// The number of elements. A table with 64-bit indices may have more than the largest number.
    fn wasm_table_size(table: Option<&wasm_table_t>) -> u32 {
        let (store, table) = given(table, "table")?.parts()?;
        let size = store.with(|context| Ok(table.size(context)))?;
        Ok(u32::try_from(size).unwrap_or(u32::MAX))
    }

    /// Adds `delta` elements. `false` if the table would be too large, or the reference is of another
    /// type or store.
    fn wasm_table_grow(
        table: Option<&wasm_table_t>,
        delta: u32,
        init: Option<&wasm_ref_t>,
    ) -> bool {
        let (store, table) = given(table, "table")?.parts()?;
        store.with(|mut context| {
            let ty = table.ty(&context);
            let init = element(&mut context, &store, &ty, init)?;
            table.grow(context, delta.into(), init)
        })?;
        Ok(true)
    }
}
