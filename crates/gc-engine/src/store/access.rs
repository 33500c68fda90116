//! [`AsStore`] and [`AsStoreMut`]: types that give access to a store.

use super::StoreInner;

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for crate::Store<T> {}
    impl<T> Sealed for crate::Caller<'_, T> {}
    impl<S: Sealed> Sealed for &S {}
    impl<S: Sealed> Sealed for &mut S {}
}

/// A type that gives access to a store: a [`Store`](crate::Store), a [`Caller`](crate::Caller), or a
/// reference to one.
pub trait AsStore: sealed::Sealed {
    /// The host's data.
    type Data;

    #[doc(hidden)]
    fn inner(&self) -> &StoreInner;
}

/// A type that gives exclusive access to a store: a [`Store`](crate::Store), a
/// [`Caller`](crate::Caller), or an exclusive reference to one.
pub trait AsStoreMut: AsStore {
    #[doc(hidden)]
    fn inner_mut(&mut self) -> &mut StoreInner;
}

impl<S: AsStore> AsStore for &S {
    type Data = S::Data;

    fn inner(&self) -> &StoreInner {
        S::inner(self)
    }
}

impl<S: AsStore> AsStore for &mut S {
    type Data = S::Data;

    fn inner(&self) -> &StoreInner {
        S::inner(self)
    }
}

impl<S: AsStoreMut> AsStoreMut for &mut S {
    fn inner_mut(&mut self) -> &mut StoreInner {
        S::inner_mut(self)
    }
}
