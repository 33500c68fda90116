//! Rust types that represent WebAssembly types in typed functions and closures.

use crate::refs::{AnyRef, ArrayRef, EqRef, ExnRef, ExternRef, GcRef, I31, StructRef};
use crate::refs::{NoExtern, NoFunc, NoneRef};
use crate::store::StoreOpaque;
use crate::types::{HeapType, RefType, ValType};
use crate::values::typing::CROSS_STORE;
use crate::{Func, OwnedRooted, Rooted, V128};
use anyhow::{Result, anyhow, ensure};
use gc_runtime::HandleError;
use gc_types::{Trap, VMGcRef, ValRaw};

/// A Rust type that represents one WebAssembly type: `i32` and `u32`, `i64` and `u64`, `f32`,
/// `f64`, [`V128`], [`Func`], [`I31`], `Rooted` and `OwnedRooted` handles, and the types of
/// references that can only be null ([`NoFunc`], [`NoExtern`], [`NoneRef`]). An `Option` of a
/// reference type represents the nullable type.
pub trait WasmTy: sealed::Sealed + Send + Sized + 'static {
    /// The WebAssembly type.
    fn valtype() -> ValType;

    /// The value as it stands in a slot. A reference is not counted.
    #[doc(hidden)]
    fn to_slot(&self, store: &StoreArg<'_>) -> Result<ValRaw>;

    /// The value in a slot. Fails on an unexpected null, which only a corrupt heap can cause.
    #[doc(hidden)]
    fn from_slot(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self>;
}

/// A store for the hidden methods of [`WasmTy`].
#[doc(hidden)]
pub struct StoreArg<'a>(pub(crate) &'a mut StoreOpaque);

pub(super) mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($rust:ident $ty:ident |$value:ident| $to:expr, |$raw:ident| $from:expr;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl WasmTy for $rust {
            fn valtype() -> ValType {
                ValType::$ty
            }

            #[inline]
            fn to_slot(&self, _store: &StoreArg<'_>) -> Result<ValRaw> {
                let $value = *self;
                Ok($to)
            }

            #[inline]
            fn from_slot(_store: &mut StoreArg<'_>, $raw: ValRaw) -> Result<Self> {
                Ok($from)
            }
        }
    )*};
}

numbers! {
    i32 I32 |v| ValRaw::i32(v), |raw| raw.get_i32();
    u32 I32 |v| ValRaw::i32(v as i32), |raw| raw.get_u32();
    i64 I64 |v| ValRaw::i64(v), |raw| raw.get_i64();
    u64 I64 |v| ValRaw::u64(v), |raw| raw.get_u64();
    f32 F32 |v| ValRaw::f32(v.to_bits()), |raw| f32::from_bits(raw.get_f32());
    f64 F64 |v| ValRaw::f64(v.to_bits()), |raw| f64::from_bits(raw.get_f64());
    V128 V128 |v| v.to_raw(), |raw| V128::from_raw(raw);
}

/// Implements [`WasmTy`] for a reference type and its `Option`.
macro_rules! references {
    ($(
        $rust:ty, $heap:ident,
        |$value:ident, $store:ident| $to:expr,
        |$from_store:ident, $raw:ident| $from:expr;
    )*) => {$(
        impl sealed::Sealed for $rust {}
        impl WasmTy for $rust {
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(false, HeapType::$heap))
            }

            #[inline]
            fn to_slot(&self, store: &StoreArg<'_>) -> Result<ValRaw> {
                let ($value, $store) = (self, &*store.0);
                $to
            }

            #[inline]
            fn from_slot(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
                Ok(Option::<Self>::from_slot(store, raw)?.ok_or(Trap::CorruptHeap)?)
            }
        }

        impl sealed::Sealed for Option<$rust> {}
        impl WasmTy for Option<$rust> {
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(true, HeapType::$heap))
            }

            #[inline]
            fn to_slot(&self, store: &StoreArg<'_>) -> Result<ValRaw> {
                match self {
                    Some(value) => value.to_slot(store),
                    None => Ok(ValRaw::ZERO),
                }
            }

            #[inline]
            fn from_slot(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
                let ($from_store, $raw) = (&mut *store.0, raw);
                Ok($from)
            }
        }
    )*};
}

/// The word of a reference that is not counted.
#[inline]
fn word(gc_ref: &VMGcRef) -> ValRaw {
    ValRaw::u64(gc_ref.as_raw_u32().into())
}

/// The word of a handle's reference, which is not counted.
///
/// # Errors
/// If the handle belongs to another store, or its scope has ended.
#[inline]
fn word_of(value: &impl GcRef, store: &StoreOpaque) -> Result<ValRaw> {
    match store.gc_store().rooted(value.handle()) {
        Ok(gc_ref) => Ok(word(gc_ref)),
        Err(HandleError::OtherStore) => Err(wrong_store()),
        Err(error) => Err(error.into()),
    }
}

#[cold]
fn wrong_store() -> anyhow::Error {
    anyhow!(CROSS_STORE)
}

/// A scoped handle to the reference in a slot; `None` for null.
#[inline]
fn root<T: GcRef>(store: &mut StoreOpaque, raw: ValRaw) -> Option<Rooted<T>> {
    let gc_ref = VMGcRef::from_raw_u32(raw.get_u32())?;
    Some(store.root_borrowed(&gc_ref))
}

/// An owned handle to the reference in a slot; `None` for null.
fn root_owned<T: GcRef>(store: &mut StoreOpaque, raw: ValRaw) -> Result<Option<OwnedRooted<T>>> {
    let Some(gc_ref) = VMGcRef::from_raw_u32(raw.get_u32()) else { return Ok(None) };
    let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
    Ok(Some(store.root_owned(gc_ref)?))
}

macro_rules! handles {
    ($($name:ident $heap:ident)*) => {
        references! {$(
            Rooted<$name>, $heap,
            |value, store| word_of(&**value, store),
            |store, raw| root(store, raw);
            OwnedRooted<$name>, $heap,
            |value, store| word_of(&**value, store),
            |store, raw| root_owned(store, raw)?;
        )*}
    };
}

handles! { ExternRef Extern  ExnRef Exn  AnyRef Any  EqRef Eq  StructRef Struct  ArrayRef Array }

references! {
    Func, Func,
    |value, store| {
        ensure!(value.store() == store.id(), CROSS_STORE);
        Ok(ValRaw::funcref(value.as_vm(store).address().cast()))
    },
    |store, raw| Func::from_raw_slot(store, raw);
    I31, I31,
    |value, _store| Ok(word(&VMGcRef::from_i31(*value))),
    |_store, raw| VMGcRef::from_raw_u32(raw.get_u32()).and_then(|gc_ref| gc_ref.as_i31());
    NoFunc, NoFunc, |value, _store| match value.0 {}, |_store, _raw| None;
    NoExtern, NoExtern, |value, _store| match value.0 {}, |_store, _raw| None;
    NoneRef, None, |value, _store| match value.0 {}, |_store, _raw| None;
}
