//! [`EqRef`]: an internal reference that can be compared.

use crate::refs::AnyRef;
use crate::{AsContextMut, OwnedRooted, Rooted};
use gc_runtime::Handle;
use gc_types::{I31, VMGcRef};

/// An internal reference that can be compared for equality: an unboxed integer, a struct or an
/// array. [`Rooted`] and [`OwnedRooted`] handles give access to it.
///
/// # Examples
/// ```
/// use gc_wasm::{EqRef, I31, Rooted, Store};
///
/// let mut store = Store::<()>::default();
/// let seven = EqRef::from_i31(&mut store, I31::wrapping_i32(7));
/// let eight = EqRef::from_i31(&mut store, I31::wrapping_i32(8));
/// assert!(Rooted::ref_eq(&store, &seven, &seven)?);
/// assert!(!Rooted::ref_eq(&store, &seven, &eight)?);
/// assert_eq!(seven.to_anyref().unwrap_i31(&store)?.get_i32(), 7);
/// # gc_wasm::error::Ok(())
/// ```
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
