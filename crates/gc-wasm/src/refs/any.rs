//! [`AnyRef`]: any internal reference.

use crate::refs::casts::kind_of;
use crate::refs::{EqRef, ExternRef, Reference as _};
use crate::{AsContext, AsContextMut, Rooted};
use anyhow::Result;
use gc_runtime::Handle;
use gc_types::{I31, VMGcKind, VMGcRef};

/// Any internal reference: an unboxed integer, a struct, an array, or an external reference made
/// internal. [`Rooted`] and [`OwnedRooted`](crate::OwnedRooted) handles give access to it.
///
/// # Examples
/// ```
/// use gc_wasm::{AnyRef, HeapType, I31, Store};
///
/// let mut store = Store::<()>::default();
/// let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(-5));
/// assert!(number.is_i31(&store)? && !number.is_struct(&store)?);
/// assert_eq!(number.unwrap_i31(&store)?.get_i32(), -5);
/// assert_eq!(number.ty(&store)?, HeapType::I31);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnyRef(pub(super) Handle);

impl AnyRef {
    /// Makes a reference that is an unboxed integer.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<AnyRef> {
        store.as_context_mut().into_opaque().root(VMGcRef::from_i31(value))
    }

    /// Converts an external reference to an internal one (`any.convert_extern`).
    ///
    /// # Errors
    /// If the handle's scope has ended.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn convert_extern(
        store: impl AsContext,
        external: Rooted<ExternRef>,
    ) -> Result<Rooted<AnyRef>> {
        external.gc_ref(store.as_context().opaque())?;
        Ok(external.cast())
    }

    /// Whether the reference can be compared: whether it refers to an unboxed integer, a struct or
    /// an array.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn is_eqref(&self, store: impl AsContext) -> Result<bool> {
        let store = store.as_context().opaque();
        let kind = kind_of(store, &self.gc_ref(store)?)?;
        Ok(kind.is_none_or(|kind| kind.matches(VMGcKind::EqRef)))
    }

    /// The same reference as an `eqref`, if it can be compared. The result is valid as long as this
    /// handle.
    ///
    /// # Errors
    /// As [`is_eqref`](AnyRef::is_eqref).
    ///
    /// # Panics
    /// As [`is_eqref`](AnyRef::is_eqref).
    pub fn as_eqref(&self, store: impl AsContext) -> Result<Option<Rooted<EqRef>>> {
        Ok(self.is_eqref(store)?.then(|| Rooted::of(EqRef(self.0))))
    }

    /// The same reference as an `eqref`.
    ///
    /// # Errors
    /// As [`is_eqref`](AnyRef::is_eqref).
    ///
    /// # Panics
    /// If it cannot be compared, or the handle belongs to another store.
    pub fn unwrap_eqref(&self, store: impl AsContext) -> Result<Rooted<EqRef>> {
        Ok(self.as_eqref(store)?.expect("AnyRef::unwrap_eqref on non-eqref"))
    }
}
