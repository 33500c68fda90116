//! Default values of types: what is zero, null, or as small as the type allows.

use super::{ExternType, FuncType, GlobalType, MemoryType, TableType, TagType};
use crate::{AsContextMut, Extern, Func, Global, Memory, Ref, Table, Tag, Val};
use anyhow::{Context as _, Result};

impl FuncType {
    /// Makes a function of this type whose results are zero or null.
    ///
    /// # Errors
    /// If a result is a reference that cannot be null.
    ///
    /// # Panics
    /// If the type belongs to another engine than the store.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Func> {
        let values: Option<Vec<Val>> = self.results().map(|ty| ty.default_value()).collect();
        let values = values.context("function results do not have a default value")?;
        Ok(Func::new(store, self.clone(), move |_, _, results| {
            results.copy_from_slice(&values);
            Ok(())
        }))
    }
}

impl GlobalType {
    /// Makes a global of this type that is zero or null.
    ///
    /// # Errors
    /// If it is a reference that cannot be null, or as [`Global::new`].
    ///
    /// # Panics
    /// If the type belongs to another engine than the store.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Global> {
        let value = self.content().default_value();
        Global::new(store, self.clone(), value.context("global type has no default value")?)
    }
}

impl TagType {
    /// Makes a tag of this type.
    ///
    /// # Errors
    /// As [`Tag::new`].
    ///
    /// # Panics
    /// If the type belongs to another engine than the store.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Tag> {
        Tag::new(store, self)
    }
}

impl TableType {
    /// Makes a table of this type and its minimal size whose elements are null.
    ///
    /// # Errors
    /// If they cannot be null, or as [`Table::new`].
    ///
    /// # Panics
    /// If the type belongs to another engine than the store.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Table> {
        let null = self.element().is_nullable().then(|| Ref::null(self.element().heap_type()));
        let null = null.context("table element type does not have a default value")?;
        Table::new(store, self.clone(), null)
    }
}

impl MemoryType {
    /// Makes a memory of this type and its minimal size.
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Extern> {
        Ok(Memory::new(store, self.clone())?.into())
    }
}

impl ExternType {
    /// Makes an item of this type that is zero, null, or as small as the type allows. A function
    /// returns zeros and nulls.
    ///
    /// # Errors
    /// If there is none, because something is a reference that cannot be null, or if it cannot be
    /// made.
    ///
    /// # Panics
    /// If the type belongs to another engine than the store.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Extern> {
        match self {
            ExternType::Func(ty) => ty.default_value(store).map(Extern::Func),
            ExternType::Global(ty) => ty.default_value(store).map(Extern::Global),
            ExternType::Table(ty) => ty.default_value(store).map(Extern::Table),
            ExternType::Memory(ty) => ty.default_value(store),
            ExternType::Tag(ty) => ty.default_value(store).map(Extern::Tag),
        }
    }
}
