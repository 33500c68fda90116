//! References into a store's GC heap that the host holds: [`Rooted`](crate::Rooted) and
//! [`OwnedRooted`](crate::OwnedRooted) handles to these types.

mod any;
pub(crate) mod array;
mod exnref;
mod externref;
pub(crate) mod structref;

pub use any::{AnyRef, EqRef};
pub use array::ArrayRef;
pub use exnref::{ExnRef, ExnRefPre};
pub use externref::ExternRef;
pub use structref::StructRef;

pub use gc_types::I31;

mod sealed {
    pub trait Sealed {}
}

/// The types to which a handle can refer.
pub trait GcRef: sealed::Sealed + 'static {}

macro_rules! gc_refs {
    ($($name:ident)*) => {
        $(
            impl sealed::Sealed for $name {}
            impl GcRef for $name {}
        )*
    };
}

gc_refs! { AnyRef EqRef StructRef ArrayRef ExternRef ExnRef }
