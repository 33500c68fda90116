//! [`Rooted`]: a reference that the host holds. [`Weak`]: one that keeps nothing alive. [`Handle`]: what
//! [`Rooted`] and [`Scoped`] have in common.

use crate::store::{Inner as _, StoreInner};
use crate::{AsStore, AsStoreMut, Scoped};
use anyhow::{Result, bail, ensure};
use gc_runtime::{OwnedHandle, WeakHandle};
use gc_types::{I31, VMGcKind, VMGcRef};
use std::fmt;
use std::marker::PhantomData;

mod sealed {
    pub trait Sealed {}
}

/// A kind of references: [`AnyRef`], [`StructRef`], [`ArrayRef`].
pub trait RefKind: sealed::Sealed + 'static {
    #[doc(hidden)]
    const NAME: &'static str;

    #[doc(hidden)]
    fn has(store: &StoreInner, gc_ref: &VMGcRef) -> bool;
}

/// All references.
#[derive(Debug)]
pub enum AnyRef {}

/// References to objects with fields.
#[derive(Debug)]
pub enum StructRef {}

/// References to arrays.
#[derive(Debug)]
pub enum ArrayRef {}

macro_rules! kinds {
    ($($kind:ident $name:literal |$store:ident, $gc_ref:ident| $has:expr;)*) => {$(
        impl sealed::Sealed for $kind {}
        impl RefKind for $kind {
            const NAME: &'static str = $name;

            fn has($store: &StoreInner, $gc_ref: &VMGcRef) -> bool {
                $has
            }
        }
    )*};
}

kinds! {
    AnyRef "a reference" |_store, _gc_ref| true;
    StructRef "a struct" |store, gc_ref| store.gc().is_kind(gc_ref, VMGcKind::StructRef);
    ArrayRef "an array" |store, gc_ref| store.gc().is_kind(gc_ref, VMGcKind::ArrayRef);
}

/// A handle of the host: a [`Rooted`] or a [`Scoped`].
pub trait Handle<T: RefKind>: sealed::Sealed {
    #[doc(hidden)]
    fn raw<'a>(&self, store: &'a StoreInner) -> Result<&'a VMGcRef>;
}

impl<T: RefKind> sealed::Sealed for Rooted<T> {}
impl<T: RefKind> sealed::Sealed for Scoped<T> {}

/// The methods that both kinds of handles have.
macro_rules! handle_methods {
    ($handle:ident) => {
        impl<T: $crate::RefKind> $handle<T> {
            /// The reference, which is valid until the next collection. So nothing can collect while it is
            /// used:
            ///
            /// ```compile_fail,E0502
            /// # use gc_engine::{Rooted, Store};
            /// # fn collect(store: &mut Store<()>, object: Rooted) -> anyhow::Result<()> {
            /// let gc_ref = object.gc_ref(&*store)?;
            /// store.collect()?;
            /// println!("{gc_ref:?}");
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            /// If the handle belongs to another store, or if its scope has ended.
            pub fn gc_ref<'a>(
                &self,
                store: &'a impl $crate::AsStore,
            ) -> anyhow::Result<&'a gc_types::VMGcRef> {
                self.raw($crate::store::Inner::inner(store))
            }

            /// The integer, if it is an `i31`.
            ///
            /// # Errors
            /// If the handle belongs to another store, or if its scope has ended.
            pub fn i31(&self, store: &impl $crate::AsStore) -> anyhow::Result<Option<i32>> {
                Ok(self.gc_ref(store)?.as_i31().map(|i31| i31.get_i32()))
            }

            /// The object's header: its kind and type.
            ///
            /// # Errors
            /// If the handle belongs to another store, if its scope has ended, or if it is an `i31`.
            pub fn header(
                &self,
                store: &impl $crate::AsStore,
            ) -> anyhow::Result<gc_types::VMGcHeader> {
                let gc_ref = self.gc_ref(store)?;
                Ok($crate::store::Inner::inner(store).gc().header(gc_ref)?)
            }

            /// The name of the object's type. `None` if it is an `i31`.
            ///
            /// # Errors
            /// If the handle belongs to another store, or if its scope has ended.
            pub fn type_name<'a>(
                &self,
                store: &'a impl $crate::AsStore,
            ) -> anyhow::Result<Option<&'a str>> {
                let store = $crate::store::Inner::inner(store);
                Ok(store.type_name(self.raw(store)?))
            }

            /// Whether both are the same object or the same `i31`.
            ///
            /// # Errors
            /// If a handle belongs to another store, or if its scope has ended.
            pub fn same<K: $crate::RefKind>(
                &self,
                other: &impl $crate::Handle<K>,
                store: &impl $crate::AsStore,
            ) -> anyhow::Result<bool> {
                Ok(self.gc_ref(store)? == other.raw($crate::store::Inner::inner(store))?)
            }

            /// A handle that does not keep the object alive.
            ///
            /// # Errors
            /// If the handle belongs to another store, if its scope has ended, or if the store has too many
            /// weak handles.
            pub fn downgrade(
                &self,
                store: &mut impl $crate::AsStoreMut,
            ) -> anyhow::Result<$crate::Weak<T>> {
                let store = $crate::store::Inner::inner_mut(store);
                let gc_ref = self.raw(store)?.unchecked_copy();
                $crate::Weak::new(store, &gc_ref)
            }
        }
    };
}
pub(crate) use handle_methods;

/// A reference to an object or an `i31` that the host holds. It is never null. The object lives as
/// long as the handle or a clone of it. The handle stays valid when a collection moves the object,
/// because it is an index in a table of the store. A [`Scoped`] handle costs less, and is valid only for a
/// while.
///
/// In an `Option<Rooted>`, `None` is the null reference. A `Rooted<StructRef>` or `Rooted<ArrayRef>` is
/// known to be to such an object. [`StructType`](crate::StructType) and [`ArrayType`](crate::ArrayType) make
/// objects and access them.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Rooted, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let cell = module.struct_type("cell", [Type::I64])?;
/// module.function("new", [Type::I64], [Type::Ref], |f| {
///     let value = f.param(0);
///     let cell = f.struct_new(&cell, &[value]);
///     f.ret(&[cell]);
/// })?;
/// module.function("value", [Type::Ref], [Type::I64], |f| {
///     let object = f.param(0);
///     let value = f.struct_get(&cell, object, 0);
///     f.ret(&[value]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
///
/// let object = store.function::<i64, Rooted>("new")?.call(&mut store, 7)?;
/// store.collect()?;
/// let value = store.function::<Rooted, i64>("value")?;
/// assert_eq!(value.call(&mut store, object.clone())?, 7);
///
/// drop(object);
/// store.collect()?;
/// assert_eq!(store.stats().live_objects, 0);
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Rooted<T: RefKind = AnyRef> {
    handle: OwnedHandle,
    kind: PhantomData<fn() -> T>,
}

impl Rooted {
    /// The reference that is this integer of 31 bits.
    ///
    /// # Errors
    /// If the integer has more bits, or if the store has too many handles.
    pub fn from_i31(store: &mut impl AsStoreMut, value: i32) -> Result<Rooted> {
        let number = I31::wrapping_i32(value);
        ensure!(number.get_i32() == value, "{value} has more than 31 bits");
        Rooted::new(store.inner_mut(), VMGcRef::from_i31(number))
    }
}

impl<T: RefKind> Rooted<T> {
    /// Makes a handle for `gc_ref`, which the host owns. The handle takes over the ownership.
    pub(crate) fn new(store: &mut StoreInner, gc_ref: VMGcRef) -> Result<Rooted<T>> {
        if !T::has(store, &gc_ref) {
            store.gc_mut().drop_gc_ref(gc_ref);
            bail!("the reference is not to {}", T::NAME);
        }
        Ok(Rooted { handle: store.gc_mut().root_owned(gc_ref)?, kind: PhantomData })
    }

    /// The same handle as one of another kind.
    ///
    /// # Errors
    /// If it belongs to another store, or if the object is of another kind.
    pub fn cast<K: RefKind>(&self, store: &impl AsStore) -> Result<Rooted<K>> {
        let store = store.inner();
        if !K::has(store, self.raw(store)?) {
            bail!("the reference is not to {}", K::NAME);
        }
        Ok(Rooted { handle: self.handle.clone(), kind: PhantomData })
    }

    /// The same handle as one of any kind.
    pub fn any(&self) -> Rooted {
        Rooted { handle: self.handle.clone(), kind: PhantomData }
    }

    /// The same reference in a handle of the current [scope](crate::Scoped).
    ///
    /// # Errors
    /// If it belongs to another store, or if there are too many handles.
    pub fn scoped(&self, store: &mut impl AsStoreMut) -> Result<Scoped<T>> {
        let store = store.inner_mut();
        let gc_ref = self.raw(store)?.unchecked_copy();
        Scoped::new(store, &gc_ref)
    }
}

handle_methods!(Rooted);

impl<T: RefKind> Handle<T> for Rooted<T> {
    fn raw<'a>(&self, store: &'a StoreInner) -> Result<&'a VMGcRef> {
        Ok(store.gc().rooted(&self.handle.handle())?)
    }
}

impl<T: RefKind> Clone for Rooted<T> {
    fn clone(&self) -> Rooted<T> {
        Rooted { handle: self.handle.clone(), kind: PhantomData }
    }
}

impl<T: RefKind> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rooted").field(&self.handle).finish()
    }
}

/// A handle of the host that does not keep its object alive.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Store, Type, Val};
///
/// let engine = Engine::new(Collector::copying())?;
/// let cell = Module::new(&engine).struct_type("cell", [Type::I64])?;
/// let mut store = Store::new(&engine, ())?;
/// let object = cell.new_object(&mut store, &[Val::I64(7)])?;
/// let weak = object.downgrade(&mut store)?;
/// store.collect()?;
/// assert!(weak.upgrade(&mut store)?.is_some());
/// drop(object);
/// store.collect()?;
/// assert!(weak.upgrade(&mut store)?.is_none());
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Weak<T: RefKind = AnyRef> {
    handle: WeakHandle,
    kind: PhantomData<fn() -> T>,
}

impl<T: RefKind> Weak<T> {
    pub(crate) fn new(store: &mut StoreInner, gc_ref: &VMGcRef) -> Result<Weak<T>> {
        Ok(Weak { handle: store.gc_mut().downgrade(gc_ref)?, kind: PhantomData })
    }

    /// The object, if it is alive.
    ///
    /// # Errors
    /// If it belongs to another store, or if the store has too many handles.
    pub fn upgrade(&self, store: &mut impl AsStoreMut) -> Result<Option<Rooted<T>>> {
        let store = store.inner_mut();
        match store.gc_mut().upgrade(&self.handle)? {
            Some(gc_ref) => Rooted::new(store, gc_ref).map(Some),
            None => Ok(None),
        }
    }
}

impl<T: RefKind> Clone for Weak<T> {
    fn clone(&self) -> Weak<T> {
        Weak { handle: self.handle.clone(), kind: PhantomData }
    }
}

impl<T: RefKind> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Weak").field(&self.handle).finish()
    }
}
