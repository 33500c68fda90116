//! Tests of what a reference refers to, and conversions between handles of different types.

use crate::refs::{AnyRef, ArrayRef, EqRef, I31, Reference as _, StructRef};
use crate::store::StoreOpaque;
use crate::types::HeapType;
use crate::{AsContext, OwnedRooted, RefType, Rooted, ValType};
use anyhow::Result;
use gc_types::{VMGcKind, VMGcRef};

/// The kind of a heap object; `None` for an unboxed integer.
pub(super) fn kind_of(store: &StoreOpaque, gc_ref: &VMGcRef) -> Result<Option<VMGcKind>> {
    if gc_ref.is_i31() {
        return Ok(None);
    }
    Ok(store.gc_store().header(gc_ref)?.kind())
}

/// Whether the reference, an internal one, is of type `ty`.
fn matches(store: &StoreOpaque, gc_ref: &VMGcRef, ty: &HeapType) -> Result<bool> {
    assert!(
        ValType::Ref(RefType::new(false, ty.clone())).comes_from(store.engine()),
        "the type {ty} belongs to another engine"
    );
    let actual = store.heap_type_of(gc_ref)?;
    Ok(store.engine().types().heap_matches(&actual, &ty.to_wasm()))
}

macro_rules! internal {
    ($($name:ident)*) => {$(
        impl $name {
            /// The most precise type of the referent.
            ///
            /// # Errors
            /// If the handle's scope has ended, or the heap is corrupt.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
                let store = store.as_context().opaque();
                let ty = store.heap_type_of(&self.gc_ref(store)?)?;
                Ok(HeapType::from_wasm(store.engine(), &ty))
            }

            /// Whether this is a reference of type `ty` (`ref.test`).
            ///
            /// # Errors
            /// If the handle's scope has ended, or the heap is corrupt.
            ///
            /// # Panics
            /// If the handle belongs to another store, or the type to another engine.
            pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
                let store = store.as_context().opaque();
                matches(store, &self.gc_ref(store)?, ty)
            }

            /// Whether this is an unboxed integer.
            ///
            /// # Errors
            /// If the handle's scope has ended.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn is_i31(&self, store: impl AsContext) -> Result<bool> {
                Ok(self.gc_ref(store.as_context().opaque())?.is_i31())
            }

            /// The unboxed integer, if this is one.
            ///
            /// # Errors
            /// If the handle's scope has ended.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn as_i31(&self, store: impl AsContext) -> Result<Option<I31>> {
                Ok(self.gc_ref(store.as_context().opaque())?.as_i31())
            }

            /// The unboxed integer.
            ///
            /// # Errors
            /// If the handle's scope has ended.
            ///
            /// # Panics
            /// If this is none, or the handle belongs to another store.
            pub fn unwrap_i31(&self, store: impl AsContext) -> Result<I31> {
                let number = self.as_i31(store)?;
                Ok(number.expect(concat!(stringify!($name), "::unwrap_i31 on non-i31")))
            }
        }

        objects! { $name StructRef is_struct as_struct unwrap_struct "a struct" }
        objects! { $name ArrayRef is_array as_array unwrap_array "an array" }
    )*};
}

macro_rules! objects {
    ($name:ident $to:ident $is:ident $as:ident $unwrap:ident $what:literal) => {
        impl $name {
            #[doc = concat!("Whether this refers to ", $what, ".")]
            ///
            /// # Errors
            /// If the handle's scope has ended, or the heap is corrupt.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn $is(&self, store: impl AsContext) -> Result<bool> {
                let store = store.as_context().opaque();
                Ok(kind_of(store, &self.gc_ref(store)?)? == Some(VMGcKind::$to))
            }

            #[doc = concat!("The same reference as a [`", stringify!($to), "`], if it refers to ", $what, ".")]
            /// The result is valid as long as this handle.
            ///
            /// # Errors
            /// If the handle's scope has ended, or the heap is corrupt.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn $as(&self, store: impl AsContext) -> Result<Option<Rooted<$to>>> {
                Ok(self.$is(store)?.then(|| Rooted::of($to(self.0))))
            }

            #[doc = concat!("The same reference as a [`", stringify!($to), "`].")]
            ///
            /// # Errors
            /// If the handle's scope has ended, or the heap is corrupt.
            ///
            /// # Panics
            #[doc = concat!("If this does not refer to ", $what, ", or the handle belongs to another store.")]
            pub fn $unwrap(&self, store: impl AsContext) -> Result<Rooted<$to>> {
                let object = self.$as(store)?;
                Ok(object.expect(concat!(stringify!($name), "::", stringify!($unwrap), " on something else")))
            }
        }
    };
}

internal! { AnyRef EqRef }

/// Conversions of handles to handles of supertypes.
macro_rules! upcasts {
    ($($from:ident $to:ident)*) => {$(
        impl From<Rooted<$from>> for Rooted<$to> {
            fn from(handle: Rooted<$from>) -> Rooted<$to> {
                handle.cast()
            }
        }

        impl From<OwnedRooted<$from>> for OwnedRooted<$to> {
            fn from(handle: OwnedRooted<$from>) -> OwnedRooted<$to> {
                handle.cast()
            }
        }
    )*};
}

upcasts! {
    EqRef AnyRef
    StructRef AnyRef
    ArrayRef AnyRef
    StructRef EqRef
    ArrayRef EqRef
}

/// Methods that convert handles to structs and arrays to handles of supertypes.
macro_rules! to_supertypes {
    ($($handle:ident $name:ident)*) => {$(
        impl $handle<$name> {
            /// The same reference as an `anyref`.
            pub fn to_anyref(self) -> $handle<AnyRef> {
                self.cast()
            }

            /// The same reference as an `eqref`.
            pub fn to_eqref(self) -> $handle<EqRef> {
                self.cast()
            }
        }
    )*};
}

to_supertypes! { Rooted StructRef  OwnedRooted StructRef  Rooted ArrayRef  OwnedRooted ArrayRef }
