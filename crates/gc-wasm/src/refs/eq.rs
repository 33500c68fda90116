//! [`EqRef`]: an internal reference that can be compared.

use crate::refs::AnyRef;
use crate::{AsContextMut, OwnedRooted, Rooted};
use gc_runtime::Handle;
use gc_types::{I31, VMGcRef};

/// An internal reference that can be compared for equality: an unboxed integer, a struct or an
/// array. [`Rooted`] and [`OwnedRooted`] handles give access to it.
#[derive(Clone, Copy, Debug)]
pub struct EqRef(pub(super) Handle);

impl EqRef {
    /// Makes a reference that is an unboxed integer.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<EqRef> {
        store.as_context_mut().into_opaque().root(VMGcRef::from_i31(value))
    }
}

impl Rooted<EqRef> {
    /// The same reference as an `anyref`.
    pub fn to_anyref(self) -> Rooted<AnyRef> {
        self.cast()
    }
}

impl OwnedRooted<EqRef> {
    /// The same reference as an `anyref`.
    pub fn to_anyref(self) -> OwnedRooted<AnyRef> {
        self.cast()
    }
}
