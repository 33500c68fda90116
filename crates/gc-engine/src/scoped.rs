//! [`Scoped`]: a reference that the host holds until a scope ends.

use crate::rooted::handle_methods;
use crate::store::{Inner as _, StoreInner};
use crate::{AnyRef, AsStore, AsStoreMut, Handle, RefKind, Rooted};
use anyhow::{Result, bail};
use gc_types::VMGcRef;
use std::fmt;
use std::marker::PhantomData;

/// A reference to an object or an `i31` that the host holds until the current scope ends: the call of the host
/// function that got or made the handle, or [`Store::scope`](crate::Store::scope). After that, using it is an error. Outside
/// of all scopes, it is valid as long as the store, and so keeps its object for as long.
///
/// Every handle is a root until its scope ends. A host function that walks a very long structure should use
/// [`Rooted`] for what it carries from one step to the next, and a scope for what one step needs.
///
/// A `Scoped` is `Copy`: it is only an index, and costs much less than a [`Rooted`]. So it is for the parameters of host
/// functions that are called often. Scopes nest, as V8's `HandleScope` and the JNI's local references do.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Caller, Collector, Engine, Field, Module, Scoped, Store, StructRef, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
/// let mut store = Store::new(&engine, None)?;
/// let number: Field<i64> = cell.field(0)?;
/// let next: Field<Option<Scoped>> = cell.field(1)?;
/// store.func_wrap(
///     "sum",
///     move |mut caller: Caller<'_, Option<Scoped>>, list: Option<Scoped<StructRef>>| {
///         let (mut rest, mut sum) = (list, 0);
///         while let Some(object) = rest {
///             sum += number.get(&mut caller, &object)?;
///             let tail = next.get(&mut caller, &object)?;
///             *caller.data_mut() = tail;
///             rest = tail.map(|tail| tail.cast(&caller)).transpose()?;
///         }
///         anyhow::Ok(sum)
///     },
/// )?;
/// let sum = module.import("sum", [Type::Ref], [Type::I64])?;
/// module.function("run", [], [Type::I64], |f| {
///     let (one, null) = (f.i64(1), f.null());
///     let last = f.struct_new(&cell, &[one, null]);
///     let first = f.struct_new(&cell, &[one, last]);
///     let sum = f.call(&sum, &[first]);
///     f.ret(&sum);
/// })?;
/// store.load(&module.compile()?)?;
/// assert_eq!(store.function::<(), i64>("run")?.call(&mut store, ())?, 2);
/// // The last tail is null. If a handle had been stored, using it here would be an error.
/// assert!(store.data().is_none());
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Scoped<T: RefKind = AnyRef> {
    handle: gc_runtime::Handle,
    kind: PhantomData<fn() -> T>,
}

impl<T: RefKind> Scoped<T> {
    /// Makes a handle of the current scope for a reference that the caller owns.
    pub(crate) fn new(store: &mut StoreInner, gc_ref: &VMGcRef) -> Result<Scoped<T>> {
        if !T::has(store, gc_ref) {
            bail!("the reference is not to {}", T::NAME);
        }
        Ok(Scoped { handle: store.gc_mut().root_borrowed(gc_ref)?, kind: PhantomData })
    }

    /// Makes a [`Rooted`] of the same reference, which stays valid after the scope ends.
    ///
    /// # Errors
    /// If the handle belongs to another store, if its scope has ended, or if the store has too many handles.
    pub fn rooted(&self, store: &mut impl AsStoreMut) -> Result<Rooted<T>> {
        let store = store.inner_mut();
        let borrowed = self.raw(store)?.unchecked_copy();
        let gc_ref = store.gc_mut().clone_gc_ref(&borrowed);
        Rooted::new(store, gc_ref)
    }

    /// The same handle as one of another kind.
    ///
    /// # Errors
    /// If it belongs to another store, if its scope has ended, or if the object is of another kind.
    pub fn cast<K: RefKind>(&self, store: &impl AsStore) -> Result<Scoped<K>> {
        let store = store.inner();
        if !K::has(store, self.raw(store)?) {
            bail!("the reference is not to {}", K::NAME);
        }
        Ok(Scoped { handle: self.handle, kind: PhantomData })
    }

    /// The same handle as one of any kind.
    pub fn any(&self) -> Scoped {
        Scoped { handle: self.handle, kind: PhantomData }
    }
}

handle_methods!(Scoped);

impl<T: RefKind> Handle<T> for Scoped<T> {
    fn raw<'a>(&self, store: &'a StoreInner) -> Result<&'a VMGcRef> {
        Ok(store.gc().rooted(&self.handle)?)
    }
}

impl<T: RefKind> Clone for Scoped<T> {
    fn clone(&self) -> Scoped<T> {
        *self
    }
}

impl<T: RefKind> Copy for Scoped<T> {}

impl<T: RefKind> fmt::Debug for Scoped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoped").field(&self.handle).finish()
    }
}
