//! [`Rooted`]: a reference that the host holds. [`Weak`]: one that keeps nothing alive.

use crate::store::{Inner as _, StoreInner};
use crate::{AsStore, AsStoreMut};
use anyhow::{Result, bail};
use gc_runtime::{OwnedHandle, WeakHandle};
use gc_types::{I31, VMGcHeader, VMGcKind, VMGcRef};
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

/// A reference to an object or an `i31` that the host holds. It is never null. The object lives as
/// long as the handle or a clone of it. The handle stays valid when a collection moves the object,
/// because it is an index in a table of the store.
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
    /// The reference that is this integer: its low 31 bits.
    ///
    /// # Errors
    /// If the store has too many handles.
    pub fn from_i31(store: &mut impl AsStoreMut, value: i32) -> Result<Rooted> {
        Rooted::new(store.inner_mut(), VMGcRef::from_i31(I31::wrapping_i32(value)))
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

    /// The reference, which is valid until the next collection.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn gc_ref<'a>(&self, store: &'a impl AsStore) -> Result<&'a VMGcRef> {
        self.raw(store.inner())
    }

    /// The same for a store without the type of its data.
    pub(crate) fn raw<'a>(&self, store: &'a StoreInner) -> Result<&'a VMGcRef> {
        Ok(store.gc().rooted(&self.handle.handle())?)
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

    /// The integer, if it is an `i31`.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn i31(&self, store: &impl AsStore) -> Result<Option<i32>> {
        Ok(self.gc_ref(store)?.as_i31().map(|i31| i31.get_i32()))
    }

    /// The object's header: its kind and type.
    ///
    /// # Errors
    /// If it belongs to another store or is an `i31`.
    pub fn header(&self, store: &impl AsStore) -> Result<VMGcHeader> {
        Ok(store.inner().gc().header(self.gc_ref(store)?)?)
    }

    /// The name of the object's type. `None` if it is an `i31`.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn type_name<'a>(&self, store: &'a impl AsStore) -> Result<Option<&'a str>> {
        let store = store.inner();
        Ok(store.type_name(self.raw(store)?))
    }

    /// Whether both are the same object or the same `i31`.
    ///
    /// # Errors
    /// If one belongs to another store.
    pub fn same<K: RefKind>(&self, other: &Rooted<K>, store: &impl AsStore) -> Result<bool> {
        Ok(self.gc_ref(store)? == other.gc_ref(store)?)
    }

    /// A handle that does not keep the object alive.
    ///
    /// # Errors
    /// If it belongs to another store, or if the store has too many such handles.
    pub fn downgrade(&self, store: &mut impl AsStoreMut) -> Result<Weak<T>> {
        let store = store.inner_mut();
        let gc_ref = self.raw(store)?.unchecked_copy();
        Ok(Weak { handle: store.gc_mut().downgrade(&gc_ref)?, kind: PhantomData })
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
