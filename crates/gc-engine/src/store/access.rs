//! [`AsStore`] and [`AsStoreMut`]: types that give access to a store.

use super::StoreInner;

mod sealed {
    /// Only this crate can make one. Whoever could get a store without the type of its data could put another
    /// one in its place while its code runs.
    #[derive(Clone, Copy)]
    pub struct Token(pub(super) ());

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
    fn inner_with(&self, token: sealed::Token) -> &StoreInner;
}

/// A type that gives exclusive access to a store: a [`Store`](crate::Store), a
/// [`Caller`](crate::Caller), or an exclusive reference to one.
pub trait AsStoreMut: AsStore {
    #[doc(hidden)]
    fn inner_mut_with(&mut self, token: sealed::Token) -> &mut StoreInner;
}

impl<S: AsStore> AsStore for &S {
    type Data = S::Data;

    fn inner_with(&self, token: sealed::Token) -> &StoreInner {
        S::inner_with(self, token)
    }
}

impl<S: AsStore> AsStore for &mut S {
    type Data = S::Data;

    fn inner_with(&self, token: sealed::Token) -> &StoreInner {
        S::inner_with(self, token)
    }
}

impl<S: AsStoreMut> AsStoreMut for &mut S {
    fn inner_mut_with(&mut self, token: sealed::Token) -> &mut StoreInner {
        S::inner_mut_with(self, token)
    }
}

pub(crate) use sealed::Token;

/// The store, for this crate.
pub(crate) trait Inner: AsStore {
    fn inner(&self) -> &StoreInner {
        self.inner_with(sealed::Token(()))
    }

    fn inner_mut(&mut self) -> &mut StoreInner
    where
        Self: AsStoreMut,
    {
        self.inner_mut_with(sealed::Token(()))
    }
}

impl<S: AsStore> Inner for S {}
