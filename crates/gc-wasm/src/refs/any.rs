//! Internal references: `anyref` and `eqref`, with tests of their type.

use crate::refs::{ArrayRef, ExternRef, I31, StructRef};
use crate::store::StoreOpaque;
use crate::types::{HeapType, ValType};
use crate::{AsContext, AsContextMut, Rooted};
use anyhow::Result;
use gc_types::{VMGcKind, VMGcRef};

/// Any internal reference: an unboxed integer, a struct, an array, or an external
/// reference made internal.
#[derive(Debug)]
pub struct AnyRef(());

/// An internal reference that can be compared for equality: an unboxed integer, a struct or an
/// array.
#[derive(Debug)]
pub struct EqRef(());

/// The kind of a heap object; `None` for an unboxed integer.
fn kind_of(store: &StoreOpaque, gc_ref: &VMGcRef) -> Result<Option<VMGcKind>> {
    if gc_ref.is_i31() {
        return Ok(None);
    }
    Ok(store.gc_store().heap().header(gc_ref)?.kind())
}

impl AnyRef {
    /// Makes a reference that is an unboxed integer.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<AnyRef> {
        store.as_context_mut().into_opaque().root(VMGcRef::from_i31(value))
    }

    /// Converts an external reference to an internal one (`any.convert_extern`).
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended.
    pub fn convert_extern(
        store: impl AsContext,
        external: Rooted<ExternRef>,
    ) -> Result<Rooted<AnyRef>> {
        external.get(store.as_context().opaque())?;
        Ok(external.cast())
    }
}

impl Rooted<AnyRef> {
    /// The unboxed integer, if this is one.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended.
    pub fn as_i31(&self, store: impl AsContext) -> Result<Option<I31>> {
        Ok(self.get(store.as_context().opaque())?.as_i31())
    }

    /// The same reference as an `eqref`, if it can be compared.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn as_eqref(&self, store: impl AsContext) -> Result<Option<Rooted<EqRef>>> {
        let store = store.as_context().opaque();
        let kind = kind_of(store, &self.get(store)?)?;
        let comparable = kind.is_none_or(|kind| kind.matches(VMGcKind::EqRef));
        Ok(comparable.then(|| self.cast()))
    }

    /// The same reference as a struct reference, if it refers to a struct.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn as_struct(&self, store: impl AsContext) -> Result<Option<Rooted<StructRef>>> {
        let store = store.as_context().opaque();
        let kind = kind_of(store, &self.get(store)?)?;
        Ok((kind == Some(VMGcKind::StructRef)).then(|| self.cast()))
    }

    /// The same reference as an array reference, if it refers to an array.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn as_array(&self, store: impl AsContext) -> Result<Option<Rooted<ArrayRef>>> {
        let store = store.as_context().opaque();
        let kind = kind_of(store, &self.get(store)?)?;
        Ok((kind == Some(VMGcKind::ArrayRef)).then(|| self.cast()))
    }

    /// The most precise type of its referent.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
        let store = store.as_context().opaque();
        let ty = store.heap_type_of(&self.get(store)?)?;
        Ok(HeapType::from_wasm(store.engine(), &ty))
    }

    /// Whether it is a reference of type `ty` (`ref.test`).
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        let store = store.as_context().opaque();
        let actual = store.heap_type_of(&self.get(store)?)?;
        Ok(ty.top() == HeapType::Any
            && ValType::Ref(crate::RefType::new(false, ty.clone())).comes_from(store.engine())
            && store.engine().types().heap_matches(&actual, &ty.to_wasm()))
    }
}

impl Rooted<EqRef> {
    /// The same reference as an `anyref`.
    pub fn to_anyref(self) -> Rooted<AnyRef> {
        self.cast()
    }
}
