//! References into a store's GC heap that the host holds: [`Rooted`](crate::Rooted) and
//! [`OwnedRooted`](crate::OwnedRooted) handles to these types.

mod any;
pub(crate) mod array;
mod asynchronous;
mod bottom;
mod casts;
mod eq;
mod exnref;
mod externref;
pub(crate) mod out_of_memory;
mod raw;
pub(crate) mod structref;

pub use any::AnyRef;
pub use array::{ArrayRef, ArrayRefPre};
pub use bottom::{NoExtern, NoFunc, NoneRef};
pub use eq::EqRef;
pub use exnref::{ExnRef, ExnRefPre};
pub use externref::ExternRef;
pub use out_of_memory::GcHeapOutOfMemory;
pub use structref::{StructRef, StructRefPre};

pub use gc_types::I31;

use crate::store::StoreOpaque;
use anyhow::Result;
use gc_runtime::Handle;
use gc_types::VMGcRef;

/// The types to which a handle can refer.
pub trait GcRef: GcRefImpl {}

/// What a [`GcRef`] is: a handle of a store.
#[doc(hidden)]
pub trait GcRefImpl: sealed::Sealed + Copy + Send + Sync + 'static {
    fn from_handle(handle: Handle) -> Self;

    fn handle(&self) -> &Handle;
}

mod sealed {
    pub trait Sealed {}
}

/// The reference of a handle.
pub(crate) trait Reference: GcRef {
    /// The reference. It is a copy that is not counted: only examine it, or clone it with the
    /// barrier.
    ///
    /// # Errors
    /// If the handle's scope has ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    fn gc_ref(&self, store: &StoreOpaque) -> Result<VMGcRef> {
        store.rooted(self.handle())
    }

    /// Whether it belongs to `store`.
    fn comes_from(&self, store: &StoreOpaque) -> bool {
        store.is_own(self.handle())
    }
}

impl<T: GcRef> Reference for T {}

macro_rules! gc_refs {
    ($($name:ident)*) => {
        $(
            impl sealed::Sealed for $name {}
            impl GcRefImpl for $name {
                fn from_handle(handle: Handle) -> $name {
                    $name(handle)
                }

                fn handle(&self) -> &Handle {
                    &self.0
                }
            }
            impl GcRef for $name {}
        )*
    };
}

gc_refs! { AnyRef EqRef StructRef ArrayRef ExternRef ExnRef }
