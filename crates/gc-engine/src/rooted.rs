//! [`Rooted`]: a reference that the host holds.

use crate::AsStore;
use crate::store::StoreInner;
use anyhow::Result;
use gc_runtime::OwnedHandle;
use gc_types::{VMGcHeader, VMGcRef};

/// A reference to an object or an `i31` that the host holds. It is never null. The object lives as
/// long as the handle or a clone of it. The handle stays valid when a collection moves the object,
/// because it is an index in a table of the store.
///
/// In an `Option<Rooted>`, `None` is the null reference.
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
#[derive(Clone, Debug)]
pub struct Rooted(OwnedHandle);

impl Rooted {
    /// Makes a handle for `gc_ref`, which the host owns. The handle takes over the ownership.
    pub(crate) fn new(store: &mut StoreInner, gc_ref: VMGcRef) -> Result<Rooted> {
        Ok(Rooted(store.gc_mut().root_owned(gc_ref)?))
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
        Ok(store.gc().rooted(&self.0.handle())?)
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
}
