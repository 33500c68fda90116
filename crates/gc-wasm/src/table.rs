//! [`Table`]: tables of a store.

use crate::externals::handles;
use crate::module::table_growth::TableGrowth;
use crate::store::{GrownBy, StoreId, StoreOpaque};
use crate::types::TableType;
use crate::vm::layout::DEFINITION_SIZE;
use crate::vm::table::Element;
use crate::vm::words::VMWords;
use crate::{AsContext, AsContextMut, Func, Ref, Val};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gc_types::{Trap, VMGcRef};
use wasmtime_types::WasmValType;

/// A table in a store. Copies are the same table.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, Ref, RefType, Store, Table, TableType};
///
/// let mut store = Store::<()>::default();
/// let ty = TableType::new(RefType::EXTERNREF, 2, Some(8));
/// let table = Table::new(&mut store, ty, Ref::Extern(None))?;
/// let name = ExternRef::new(&mut store, "name")?;
/// table.set(&mut store, 1, name.into())?;
/// assert_eq!(table.grow(&mut store, 3, Ref::Extern(None))?, 2);
/// assert_eq!(table.size(&store), 5);
/// assert!(table.get(&mut store, 1).unwrap().is_non_null());
/// assert!(table.get(&mut store, 5).is_none());
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    store: StoreId,
    index: usize,
}

handles! { Table "a table" }

impl Table {
    /// Makes a table whose elements are all `init`.
    ///
    /// # Errors
    /// If `init` is not of the elements' type, belongs to another store, or its scope has ended. If
    /// there are too many elements, or the store's [limiter](crate::Store::limiter) refuses them.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let store = store.as_context_mut().into_opaque();
        store.check_sync_limiter()?;
        Table::new_in(store, ty, init)
    }

    /// Like [`new`](Table::new), and waits for the store's limiter if that is
    /// [asynchronous](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`new`](Table::new).
    ///
    /// # Panics
    /// As [`new`](Table::new).
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        ty: TableType,
        init: Ref,
    ) -> Result<Table> {
        let store = store.as_context_mut().into_opaque();
        store.grow_async(|store| Table::new_in(store, ty, init)).await
    }

    fn new_in(store: &mut StoreOpaque, ty: TableType, init: Ref) -> Result<Table> {
        assert!(
            ty.element().heap_type().comes_from(store.engine()),
            "the table's type belongs to another engine"
        );
        store.keep_type(ty.element().heap_type());
        let ty = ty.to_wasm();
        let element = element(store, init, &ty)?;
        let definition = VMWords::new(DEFINITION_SIZE);
        let index = store.new_table(ty, TableGrowth::Any, definition, None)?;
        if let Err(why) = store.fill_new_table(index, element)? {
            bail!("a table cannot have {} elements{why}", ty.limits.min);
        }
        Ok(Table::from_index(store, index))
    }

    /// Its type, with which it was made. It may have grown since ([`size`](Table::size)).
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let store = store.as_context().opaque();
        TableType::from_wasm(store.engine(), &store.tables[self.index(store)].ty)
    }

    /// The number of elements.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context().opaque();
        store.tables[self.index(store)].len() as u64
    }

    /// Element `index`, or `None` if there is none. A reference is rooted in the current scope.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let store = store.as_context_mut().into_opaque();
        let table = &store.tables[self.index(store)];
        let (element, ty) = (table.get(index), table.ty);
        store.value_of(element?, &ty).ref_()
    }

    /// Overwrites element `index`.
    ///
    /// # Errors
    /// If there is none, or the value is not of the elements' type, belongs to another store, or its
    /// scope has ended.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn set(&self, store: impl AsContextMut, index: u64, value: Ref) -> Result<()> {
        self.overwrite(store, index, value, 1, "failed to set the table's element")
    }

    /// Overwrites the `len` elements from `index` on with `value`.
    ///
    /// # Errors
    /// If they do not exist, or the value is not of the elements' type, belongs to another store, or
    /// its scope has ended.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn fill(&self, store: impl AsContextMut, index: u64, value: Ref, len: u64) -> Result<()> {
        self.overwrite(store, index, value, len, "failed to fill the table")
    }

    fn overwrite(
        &self,
        mut store: impl AsContextMut,
        index: u64,
        value: Ref,
        len: u64,
        what: &'static str,
    ) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store);
        let ty = store.tables[table].ty;
        let element = element(store, value, &ty)?;
        store.may_drop(|store| {
            let (table, gc) = store.table_and_gc(table);
            table.fill(gc, index, element, len).context(what)
        })
    }

    /// Grows the table by `delta` elements that are all `init`. Returns the old size.
    ///
    /// # Errors
    /// If it cannot have that many elements, or the store's [limiter](crate::Store::limiter) refuses
    /// them. If `init` is not of their type, belongs to another store, or its scope has ended.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store);
        store.check_sync_limiter()?;
        Table::grow_in(store, table, delta, init)
    }

    /// Like [`grow`](Table::grow), and waits for the store's limiter if that is
    /// [asynchronous](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`grow`](Table::grow).
    ///
    /// # Panics
    /// As [`grow`](Table::grow).
    pub async fn grow_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        delta: u64,
        init: Ref,
    ) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let table = self.index(store);
        store.grow_async(|store| Table::grow_in(store, table, delta, init)).await
    }

    fn grow_in(store: &mut StoreOpaque, table: usize, delta: u64, init: Ref) -> Result<u64> {
        let ty = store.tables[table].ty;
        let element = element(store, init, &ty)?;
        store.grow_table(table, delta, element, GrownBy::Host)?.map_err(|why| {
            let len = store.tables[table].len();
            anyhow!("a table of {len} elements cannot grow by {delta}{why}")
                .context(format!("failed to grow table by `{delta}`"))
        })
    }

    /// Copies `len` elements of `src`, from `src_index` on, to those of `dst` from `dst_index` on.
    /// The tables may be the same and the ranges may overlap.
    ///
    /// # Errors
    /// If the elements of `src` are not all of the type of those of `dst`, or a table does not have
    /// the elements.
    ///
    /// # Panics
    /// If a table belongs to another store.
    pub fn copy(
        mut store: impl AsContextMut,
        dst: &Table,
        dst_index: u64,
        src: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let (dst, src) = (dst.index(store), src.index(store));
        let (to, from) = (store.tables[dst].ty.ref_type, store.tables[src].ty.ref_type);
        ensure!(
            store.engine().types().ref_matches(&from, &to),
            "type mismatch: source table's element type does not match destination table's element \
             type"
        );
        store.may_drop(|store| Ok(store.copy_table(dst, dst_index, src, src_index, len)?))
    }
}

/// `value` as an element of a table of type `ty`. It is not counted.
fn element(store: &StoreOpaque, value: Ref, ty: &wasmtime_types::Table) -> Result<Element> {
    let value = Val::from(value);
    let what = || "type mismatch: value does not match table element type".to_string();
    value.check_given(store, &WasmValType::Ref(ty.ref_type), what)?;
    store.element_of(&value)
}

impl StoreOpaque {
    /// The host's value as a table's element, which is not counted.
    pub(crate) fn element_of(&self, value: &Val) -> Result<Element> {
        Ok(match value {
            Val::FuncRef(func) => Element::Func(func.map(|func| func.as_vm(self))),
            _ => Element::Gc(self.gc_word(value)?),
        })
    }

    /// A table's element as a value for the host.
    pub(crate) fn value_of(&mut self, element: Element, ty: &wasmtime_types::Table) -> Val {
        match element {
            Element::Func(func) => Val::FuncRef(func.map(|func| Func::from_vm(self, func))),
            Element::Gc(word) => {
                let gc_ref = VMGcRef::from_raw_u32(word);
                Val::from_borrowed(self, gc_ref.as_ref(), &ty.ref_type)
            }
        }
    }

    /// Copies `len` elements of table `from`, from `start` on, to those of table `to` from `at` on.
    pub(crate) fn copy_table(
        &mut self,
        to: usize,
        at: u64,
        from: usize,
        start: u64,
        len: u64,
    ) -> Result<(), Trap> {
        let gc = self.jit.gc_mut();
        if to == from {
            return self.tables[to].copy_within(gc, at, start, len);
        }
        let [to, from] = self.tables.get_disjoint_mut([to, from]).expect("two tables");
        to.copy_from(gc, at, from, start, len)
    }
}
