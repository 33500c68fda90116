//! External references: boxes around host values.

use crate::refs::AnyRef;
use crate::{AsContext, AsContextMut, Rooted};
use anyhow::{Result, anyhow};
use gc_runtime::{HeapError, HostValue};
use gc_types::VMGcKind;
use std::any::Any;

/// A reference to a host value, which is opaque to WebAssembly, or an internal reference made
/// external. The host value is dropped when its box is found dead, or with the store.
#[derive(Debug)]
pub struct ExternRef(());

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
    /// If the heap is full even after a collection. The value is then dropped.
    pub fn new<T: Send + Sync + 'static>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<Rooted<ExternRef>> {
        let store = store.as_context_mut().into_opaque();
        let value: HostValue = Box::new(value);
        let result = store.may_drop(|store| {
            let gc_ref = store.with_gc(|gc, roots| gc.alloc_externref(roots, value))?;
            Ok(store.root(gc_ref))
        });
        result.map_err(|(error, _value): (HeapError, HostValue)| {
            anyhow!(error).context("allocating an externref")
        })
    }

    /// Converts an internal reference to an external one (`extern.convert_any`).
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended.
    pub fn convert_any(
        store: impl AsContext,
        internal: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        internal.get(store.as_context().opaque())?;
        Ok(internal.cast())
    }
}

impl Rooted<ExternRef> {
    /// The host value in the box, or `None` if this is an internal reference made external.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn data<'a, T: 'static>(
        &self,
        store: &'a impl AsContext<Data = T>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let store = store.as_context().opaque();
        let gc_ref = self.get(store)?;
        let gc = store.gc_store();
        if gc_ref.is_i31() || gc.heap().header(&gc_ref)?.kind() != Some(VMGcKind::ExternRef) {
            return Ok(None);
        }
        Ok(Some(gc.externref_host_data(&gc_ref)?))
    }
}
