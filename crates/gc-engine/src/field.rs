//! Fields and elements of objects as the host reads and writes them: [`Val`], [`Field`].

use crate::store::{Inner as _, StoreInner};
use crate::types::storage_name;
use crate::{AsStoreMut, Handle, Rooted, Scoped, StructRef, StructType};
use anyhow::{Context as _, Result, bail, ensure};
use gc_types::{FieldLayout, StorageType, VMGcRef};
use std::fmt;
use std::marker::PhantomData;

/// A value of a field or an element. Packed ones are an `I32`: they are read with zeros in the upper bits,
/// and their low bits are written.
///
/// # Examples
/// ```
/// use gc_engine::Val;
///
/// assert_eq!(Val::I64(5).to_string(), "5");
/// assert_eq!(Val::Ref(None).to_string(), "null");
/// ```
#[derive(Clone, Debug)]
pub enum Val {
    /// An integer.
    I32(i32),
    /// An integer.
    I64(i64),
    /// A float.
    F32(f32),
    /// A float.
    F64(f64),
    /// A reference, or null.
    Ref(Option<Rooted>),
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::I32(value) => value.fmt(f),
            Val::I64(value) => value.fmt(f),
            Val::F32(value) => value.fmt(f),
            Val::F64(value) => value.fmt(f),
            Val::Ref(None) => f.write_str("null"),
            Val::Ref(Some(_)) => f.write_str("a reference"),
        }
    }
}

impl Val {
    /// What it is, in messages.
    fn name(&self) -> &'static str {
        match self {
            Val::I32(_) => "i32",
            Val::I64(_) => "i64",
            Val::F32(_) => "f32",
            Val::F64(_) => "f64",
            Val::Ref(_) => "ref",
        }
    }

    /// Checks that it can be stored as a `ty`, and that a reference belongs to `store`.
    pub(crate) fn check(&self, store: &StoreInner, ty: StorageType) -> Result<()> {
        let fits = match self {
            Val::I32(_) => matches!(ty, StorageType::I8 | StorageType::I16 | StorageType::I32),
            Val::I64(_) => ty == StorageType::I64,
            Val::F32(_) => ty == StorageType::F32,
            Val::F64(_) => ty == StorageType::F64,
            Val::Ref(_) => ty == StorageType::Ref,
        };
        let (name, ty) = (self.name(), storage_name(ty));
        ensure!(fits, "it is of type {ty}, but the value is of type {name}");
        if let Val::Ref(Some(rooted)) = self {
            rooted.raw(store)?;
        }
        Ok(())
    }

    /// Writes it, after [`check`](Val::check), at `offset` bytes from the start of an object.
    pub(crate) fn write(
        &self,
        store: &mut StoreInner,
        object: &VMGcRef,
        offset: u32,
        ty: StorageType,
    ) -> Result<()> {
        let bits = match self {
            Val::I32(value) => u128::from(value.cast_unsigned()),
            Val::I64(value) => u128::from(value.cast_unsigned()),
            Val::F32(value) => u128::from(value.to_bits()),
            Val::F64(value) => u128::from(value.to_bits()),
            Val::Ref(value) => {
                let source = value.as_ref().map(|value| Ok(value.raw(store)?.unchecked_copy()));
                let source = source.transpose().map_err(|error: anyhow::Error| error)?;
                return Ok(store.gc_mut().write_field_ref(object, offset, source.as_ref())?);
            }
        };
        Ok(store.gc_mut().write_field(object, offset, ty, bits)?)
    }

    /// Reads a value of type `ty` at `offset` bytes from the start of an object.
    pub(crate) fn read(
        store: &mut StoreInner,
        object: &VMGcRef,
        offset: u32,
        ty: StorageType,
    ) -> Result<Val> {
        if ty == StorageType::Ref {
            let gc_ref = store.gc_mut().read_field_ref(object, offset)?;
            let rooted = gc_ref.map(|gc_ref| Rooted::new(store, gc_ref)).transpose()?;
            return Ok(Val::Ref(rooted));
        }
        let bits = store.gc().read_field(object, offset, ty)?;
        Ok(match ty {
            StorageType::I8 | StorageType::I16 | StorageType::I32 => {
                Val::I32((bits as u32).cast_signed())
            }
            StorageType::I64 => Val::I64((bits as u64).cast_signed()),
            StorageType::F32 => Val::F32(f32::from_bits(bits as u32)),
            StorageType::F64 => Val::F64(f64::from_bits(bits as u64)),
            StorageType::V128 | StorageType::FuncRef | StorageType::Ref => {
                bail!("the host cannot read a value of type {}", storage_name(ty))
            }
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type of fields: `i32`, `i64`, `f32`, `f64`, `Option<Rooted>`, `Option<Scoped>`.
pub trait FieldValue: sealed::Sealed + Sized {
    #[doc(hidden)]
    fn is(ty: StorageType) -> bool;

    #[doc(hidden)]
    fn read(store: &mut StoreInner, object: &VMGcRef, field: FieldLayout) -> Result<Self>;

    #[doc(hidden)]
    fn write(self, store: &mut StoreInner, object: &VMGcRef, field: FieldLayout) -> Result<()>;
}

macro_rules! field_values {
    ($($ty:ty, $val:ident, $($storage:ident)|*;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl FieldValue for $ty {
            fn is(ty: StorageType) -> bool {
                matches!(ty, $(StorageType::$storage)|*)
            }

            fn read(store: &mut StoreInner, object: &VMGcRef, field: FieldLayout) -> Result<$ty> {
                match Val::read(store, object, field.offset, field.ty)? {
                    Val::$val(value) => Ok(value),
                    _ => bail!("the field has another type"),
                }
            }

            fn write(
                self,
                store: &mut StoreInner,
                object: &VMGcRef,
                field: FieldLayout,
            ) -> Result<()> {
                let val = Val::$val(self);
                val.check(store, field.ty)?;
                val.write(store, object, field.offset, field.ty)
            }
        }
    )*};
}

impl sealed::Sealed for Option<Scoped> {}
impl FieldValue for Option<Scoped> {
    fn is(ty: StorageType) -> bool {
        ty == StorageType::Ref
    }

    fn read(
        store: &mut StoreInner,
        object: &VMGcRef,
        field: FieldLayout,
    ) -> Result<Option<Scoped>> {
        let word = store.gc().read_field(object, field.offset, field.ty)? as u32;
        let Some(gc_ref) = VMGcRef::from_raw_u32(word) else { return Ok(None) };
        Scoped::new(store, &gc_ref).map(Some)
    }

    fn write(self, store: &mut StoreInner, object: &VMGcRef, field: FieldLayout) -> Result<()> {
        let value = self.map(|value| Ok(value.raw(store)?.unchecked_copy()));
        let value = value.transpose().map_err(|error: anyhow::Error| error)?;
        Ok(store.gc_mut().write_field_ref(object, field.offset, value.as_ref())?)
    }
}

field_values! {
    i32, I32, I8 | I16 | I32;
    i64, I64, I64;
    f32, F32, F32;
    f64, F64, F64;
    Option<Rooted>, Ref, Ref;
}

/// A field of a type of objects, with values of the Rust type `V`. Its type was checked when it was
/// made ([`StructType::field`]). An access checks the type of the object.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Field, Module, Rooted, Store, Type, Val};
///
/// let engine = Engine::new(Collector::copying())?;
/// let pair = Module::new(&engine).struct_type("pair", [Type::I64, Type::Ref])?;
/// let head: Field<i64> = pair.field(0)?;
/// let tail: Field<Option<Rooted>> = pair.field(1)?;
/// assert!(pair.field::<i64>(1).is_err());
///
/// let mut store = Store::new(&engine, ())?;
/// let last = pair.new_object(&mut store, &[Val::I64(2), Val::Ref(None)])?;
/// let first = pair.new_object(&mut store, &[Val::I64(1), Val::Ref(Some(last.any()))])?;
/// head.set(&mut store, &first, 10)?;
/// store.collect()?;
/// assert_eq!(head.get(&mut store, &first)?, 10);
/// let rest = tail.get(&mut store, &first)?.unwrap();
/// assert!(rest.same(&last, &store)?);
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Field<V> {
    ty: StructType,
    layout: FieldLayout,
    value: PhantomData<fn(V) -> V>,
}

impl<V: FieldValue> Field<V> {
    pub(crate) fn new(ty: &StructType, number: usize) -> Result<Field<V>> {
        let fields = &ty.layout().fields;
        let layout = *fields.get(number).with_context(|| {
            format!("there is no field {number}: the number of fields is {}", fields.len())
        })?;
        let storage = storage_name(layout.ty);
        ensure!(
            V::is(layout.ty),
            "field {number} of the type `{}` is of type {storage}, not {}",
            ty.name(),
            std::any::type_name::<V>()
        );
        Ok(Field { ty: ty.clone(), layout, value: PhantomData })
    }

    /// Reads the field.
    ///
    /// # Errors
    /// If the object is of another type, or belongs to another store.
    pub fn get(&self, store: &mut impl AsStoreMut, object: &impl Handle<StructRef>) -> Result<V> {
        let store = store.inner_mut();
        let gc_ref = self.ty.0.object(store, object)?;
        V::read(store, &gc_ref, self.layout)
    }

    /// Writes the field.
    ///
    /// # Errors
    /// If the object is of another type, or belongs to another store, or if the value does.
    pub fn set(
        &self,
        store: &mut impl AsStoreMut,
        object: &impl Handle<StructRef>,
        value: V,
    ) -> Result<()> {
        let store = store.inner_mut();
        let gc_ref = self.ty.0.object(store, object)?;
        value.write(store, &gc_ref, self.layout)
    }
}

impl<V> Clone for Field<V> {
    fn clone(&self) -> Field<V> {
        Field { ty: self.ty.clone(), ..*self }
    }
}

impl<V> fmt::Debug for Field<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({} at {})", self.ty.name(), self.layout.offset)
    }
}
