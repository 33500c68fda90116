//! References in the form in which compiled code has them: numbers. They are for calls with raw values
//! ([`Func::call_unchecked`](crate::Func::call_unchecked)).

use super::{AnyRef, ExnRef, ExternRef, GcRef, Reference as _};
use crate::{AsContextMut, Rooted};
use anyhow::Result;
use gc_types::VMGcRef;

macro_rules! raw {
    ($($ty:ident)*) => {$(
        impl Rooted<$ty> {
            /// The reference as a number, for a call with raw values. It may be passed to compiled code
            /// once, and there must be no collection before. It is not a root.
            ///
            /// # Errors
            /// If the handle's scope has ended.
            ///
            /// # Panics
            /// If the handle belongs to another store.
            pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<u32> {
                let store = store.as_context_mut().into_opaque();
                let gc_ref = self.gc_ref(store)?;
                Ok(gc_ref.as_raw_u32())
            }
        }

        impl $ty {
            /// A handle for the reference that compiled code has as `raw`. `None` for 0, which is
            /// null. There must have been no collection since compiled code passed it. A number that
            /// is no reference is taken for one to a corrupt object.
            pub fn from_raw(store: impl AsContextMut, raw: u32) -> Option<Rooted<$ty>> {
                from_raw(store, raw)
            }
        }
    )*};
}

raw! { AnyRef ExternRef ExnRef }

fn from_raw<T: GcRef>(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<T>> {
    let store = store.as_context_mut().into_opaque();
    let gc_ref = VMGcRef::from_raw_u32(raw)?;
    Some(store.root_borrowed(&gc_ref))
}
