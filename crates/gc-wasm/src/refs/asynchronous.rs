//! Allocations that yield to the executor while the heap is collected.

use super::{ArrayRef, ArrayRefPre, ExnRef, ExnRefPre, ExternRef, StructRef, StructRefPre};
use crate::store::StoreOpaque;
use crate::{AsContextMut, Rooted, StoreContextMut, Tag, Val};
use anyhow::Result;
use std::any::Any;

/// The store for functions that do not access the host's data, whose type is not known here.
fn context(store: &mut StoreOpaque) -> StoreContextMut<'_, ()> {
    StoreContextMut::new(store)
}

impl ExternRef {
    /// Like [`new`](ExternRef::new). If the heap is collected, this yields to the executor between
    /// the increments of the collection.
    ///
    /// # Errors
    /// As [`new`](ExternRef::new).
    pub async fn new_async<T: Any + Send + Sync + 'static>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<Rooted<ExternRef>> {
        let store = store.as_context_mut().into_opaque();
        store.allocate_async(|store| ExternRef::new(context(store), value)).await
    }
}

impl StructRef {
    /// Like [`new`](StructRef::new). If the heap is collected, this yields to the executor between
    /// the increments of the collection.
    ///
    /// # Errors
    /// As [`new`](StructRef::new).
    ///
    /// # Panics
    /// As [`new`](StructRef::new).
    pub async fn new_async(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let store = store.as_context_mut().into_opaque();
        store.allocate_async(|store| StructRef::new(context(store), allocator, fields)).await
    }
}

impl ArrayRef {
    /// Like [`new`](ArrayRef::new). If the heap is collected, this yields to the executor between the
    /// increments of the collection.
    ///
    /// # Errors
    /// As [`new`](ArrayRef::new).
    ///
    /// # Panics
    /// As [`new`](ArrayRef::new).
    pub async fn new_async(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        element: &Val,
        length: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        store
            .allocate_async(|store| ArrayRef::new(context(store), allocator, element, length))
            .await
    }

    /// Like [`new_fixed`](ArrayRef::new_fixed). If the heap is collected, this yields to the executor
    /// between the increments of the collection.
    ///
    /// # Errors
    /// As [`new_fixed`](ArrayRef::new_fixed).
    ///
    /// # Panics
    /// As [`new_fixed`](ArrayRef::new_fixed).
    pub async fn new_fixed_async(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elements: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        store.allocate_async(|store| ArrayRef::new_fixed(context(store), allocator, elements)).await
    }

    /// Like [`new_from_i8_slice`](ArrayRef::new_from_i8_slice). If the heap is collected, this yields
    /// to the executor between the increments of the collection.
    ///
    /// # Errors
    /// As [`new_from_i8_slice`](ArrayRef::new_from_i8_slice).
    ///
    /// # Panics
    /// As [`new_from_i8_slice`](ArrayRef::new_from_i8_slice).
    pub async fn new_from_i8_slice_async(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        bytes: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        store
            .allocate_async(|store| ArrayRef::new_from_i8_slice(context(store), allocator, bytes))
            .await
    }
}

impl ExnRef {
    /// Like [`new`](ExnRef::new). If the heap is collected, this yields to the executor between the
    /// increments of the collection.
    ///
    /// # Errors
    /// As [`new`](ExnRef::new).
    ///
    /// # Panics
    /// As [`new`](ExnRef::new).
    pub async fn new_async(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let store = store.as_context_mut().into_opaque();
        store.allocate_async(|store| ExnRef::new(context(store), allocator, tag, fields)).await
    }
}
