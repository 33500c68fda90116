//! External references: boxes around host values.

use crate::refs::out_of_memory::failed;
use crate::refs::{AnyRef, Reference as _};
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut, Rooted, StoreContext, StoreContextMut};
use anyhow::Result;
use gc_runtime::{Handle, HeapError, HostValue};
use gc_types::{VMGcKind, VMGcRef};
use std::any::Any;

/// A reference to a host value, which is opaque to WebAssembly, or an internal reference made
/// external. The host value is dropped when its box is found dead, or with the store.
/// [`Rooted`] and [`OwnedRooted`](crate::OwnedRooted) handles give access to it.
///
/// # Examples
/// ```
/// use gc_wasm::{ExternRef, Store};
///
/// let mut store = Store::<()>::default();
/// let text = ExternRef::new(&mut store, String::from("a"))?;
/// let data = text.data_mut(&mut store)?.unwrap();
/// data.downcast_mut::<String>().unwrap().push('b');
/// assert_eq!(text.data(&store)?.unwrap().downcast_ref::<String>().unwrap(), "ab");
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExternRef(pub(super) Handle);

impl ExternRef {
    /// Puts a value in a box of the store's heap. May collect.
    ///
    /// The value is dropped by a collection, by a write that overwrites the last reference to it,
    /// at the end of a scope, or with its store. If its drop panics, the panic resumes when control
    /// returns to the host: at the end of the call into compiled code, or of the other operation on
    /// the store that dropped the value. If several drops panic, only the first panic resumes.
    /// While the thread is panicking, it waits for the next return to the host.
    ///
    /// # Errors
    /// If the heap is full even after a collection. The error is a
    /// [`GcHeapOutOfMemory<T>`](crate::GcHeapOutOfMemory) and gives the value back.
    pub fn new<T: Any + Send + Sync + 'static>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<Rooted<ExternRef>> {
        let store = store.as_context_mut().into_opaque();
        let value: HostValue = Box::new(value);
        let result = store.may_drop(|store| {
            let gc_ref = store.with_gc(|gc, roots| gc.alloc_externref(roots, value))?;
            Ok(store.root(gc_ref))
        });
        result.map_err(|(error, value): (HeapError, HostValue)| {
            let value = value.downcast::<T>().expect("the value that was given to the heap");
            failed(error, "an externref", *value)
        })
    }

    /// Converts an internal reference to an external one (`extern.convert_any`).
    ///
    /// # Errors
    /// If the handle's scope has ended.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn convert_any(
        store: impl AsContext,
        internal: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        internal.gc_ref(store.as_context().opaque())?;
        Ok(internal.cast())
    }

    /// The host value in the box, or `None` if this is an internal reference made external.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.into().opaque();
        match self.boxed(store)? {
            Some(gc_ref) => Ok(Some(store.gc_store().externref_host_data(&gc_ref)?)),
            None => Ok(None),
        }
    }

    /// The host value in the box, mutable, or `None` if this is an internal reference made external.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let store = store.into().into_opaque();
        match self.boxed(store)? {
            Some(gc_ref) => Ok(Some(store.gc_store_mut().externref_host_data_mut(&gc_ref)?)),
            None => Ok(None),
        }
    }

    /// The reference, if it refers to a box.
    fn boxed(&self, store: &StoreOpaque) -> Result<Option<VMGcRef>> {
        let gc_ref = self.gc_ref(store)?;
        let boxed = !gc_ref.is_i31()
            && store.gc_store().header(&gc_ref)?.kind() == Some(VMGcKind::ExternRef);
        Ok(boxed.then_some(gc_ref))
    }
}
