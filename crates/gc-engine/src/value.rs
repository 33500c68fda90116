//! Rust values as arguments and results of compiled functions.

use crate::store::StoreInner;
use crate::{Handle as _, RefKind, Rooted, Scoped, Type};
use anyhow::{Result, bail};
use gc_types::{VMGcRef, ValRaw};

mod sealed {
    pub trait Sealed {}
}

/// A Rust value that compiled code takes or returns: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`,
/// [`Rooted`], `Option<Rooted>`, [`Scoped`], `Option<Scoped>`.
///
/// # Examples
/// ```
/// use gc_engine::{Rooted, Type, Value};
///
/// assert_eq!(u32::TYPE, Type::I32);
/// assert_eq!(<Option<Rooted>>::TYPE, Type::Ref);
/// ```
pub trait Value: sealed::Sealed + Sized {
    /// Its type in compiled code.
    const TYPE: Type;

    #[doc(hidden)]
    fn check(&self, _store: &StoreInner) -> Result<()> {
        Ok(())
    }

    #[doc(hidden)]
    fn into_raw(self, store: &mut StoreInner) -> Result<ValRaw>;

    #[doc(hidden)]
    fn from_raw(store: &mut StoreInner, raw: ValRaw) -> Result<Self>;
}

macro_rules! numbers {
    ($($ty:ident $type:ident |$value:ident| $into:expr, |$raw:ident| $from:expr;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Value for $ty {
            const TYPE: Type = Type::$type;

            fn into_raw(self, _store: &mut StoreInner) -> Result<ValRaw> {
                let $value = self;
                Ok($into)
            }

            fn from_raw(_store: &mut StoreInner, $raw: ValRaw) -> Result<$ty> {
                Ok($from)
            }
        }
    )*};
}

numbers! {
    i32 I32 |v| ValRaw::i32(v), |raw| raw.get_i32();
    u32 I32 |v| ValRaw::i32(v.cast_signed()), |raw| raw.get_u32();
    i64 I64 |v| ValRaw::i64(v), |raw| raw.get_i64();
    u64 I64 |v| ValRaw::u64(v), |raw| raw.get_u64();
    f32 F32 |v| ValRaw::f32(v.to_bits()), |raw| f32::from_bits(raw.get_f32());
    f64 F64 |v| ValRaw::f64(v.to_bits()), |raw| f64::from_bits(raw.get_f64());
}

impl<T: RefKind> sealed::Sealed for Rooted<T> {}
impl<T: RefKind> Value for Rooted<T> {
    const TYPE: Type = Type::Ref;

    fn check(&self, store: &StoreInner) -> Result<()> {
        self.raw(store).map(drop)
    }

    fn into_raw(self, store: &mut StoreInner) -> Result<ValRaw> {
        Some(self).into_raw(store)
    }

    fn from_raw(store: &mut StoreInner, raw: ValRaw) -> Result<Rooted<T>> {
        match Option::<Rooted<T>>::from_raw(store, raw)? {
            Some(rooted) => Ok(rooted),
            None => bail!("the reference is null: an `Option<Rooted>` may be null"),
        }
    }
}

impl<T: RefKind> sealed::Sealed for Option<Rooted<T>> {}
impl<T: RefKind> Value for Option<Rooted<T>> {
    const TYPE: Type = Type::Ref;

    fn check(&self, store: &StoreInner) -> Result<()> {
        self.as_ref().map_or(Ok(()), |rooted| rooted.check(store))
    }

    fn into_raw(self, store: &mut StoreInner) -> Result<ValRaw> {
        let Some(rooted) = self else { return Ok(ValRaw::ZERO) };
        Ok(ValRaw::u64(rooted.raw(store)?.as_raw_u32().into()))
    }

    fn from_raw(store: &mut StoreInner, raw: ValRaw) -> Result<Option<Rooted<T>>> {
        let Some(borrowed) = VMGcRef::from_raw_u32(raw.get_u32()) else { return Ok(None) };
        let gc_ref = store.gc_mut().clone_gc_ref(&borrowed);
        Rooted::new(store, gc_ref).map(Some)
    }
}

impl<T: RefKind> sealed::Sealed for Scoped<T> {}
impl<T: RefKind> Value for Scoped<T> {
    const TYPE: Type = Type::Ref;

    fn check(&self, store: &StoreInner) -> Result<()> {
        self.raw(store).map(drop)
    }

    fn into_raw(self, store: &mut StoreInner) -> Result<ValRaw> {
        Ok(ValRaw::u64(self.raw(store)?.as_raw_u32().into()))
    }

    fn from_raw(store: &mut StoreInner, raw: ValRaw) -> Result<Scoped<T>> {
        match Option::<Scoped<T>>::from_raw(store, raw)? {
            Some(scoped) => Ok(scoped),
            None => bail!("the reference is null: an `Option<Scoped>` may be null"),
        }
    }
}

impl<T: RefKind> sealed::Sealed for Option<Scoped<T>> {}
impl<T: RefKind> Value for Option<Scoped<T>> {
    const TYPE: Type = Type::Ref;

    fn check(&self, store: &StoreInner) -> Result<()> {
        self.as_ref().map_or(Ok(()), |scoped| scoped.check(store))
    }

    fn into_raw(self, store: &mut StoreInner) -> Result<ValRaw> {
        self.map_or(Ok(ValRaw::ZERO), |scoped| scoped.into_raw(store))
    }

    fn from_raw(store: &mut StoreInner, raw: ValRaw) -> Result<Option<Scoped<T>>> {
        let Some(gc_ref) = VMGcRef::from_raw_u32(raw.get_u32()) else { return Ok(None) };
        Scoped::new(store, &gc_ref).map(Some)
    }
}

/// The arguments of a compiled function: a [`Value`], or a tuple of up to eight.
///
/// # Examples
/// ```
/// use gc_engine::{Params, Rooted, Type};
///
/// assert_eq!(<(i64, Rooted)>::types(), [Type::I64, Type::Ref]);
/// assert_eq!(<()>::types(), []);
/// ```
pub trait Params: sealed::Sealed {
    /// The types.
    fn types() -> Vec<Type>;

    #[doc(hidden)]
    fn to_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()>;
}

/// The results of a compiled function: a [`Value`], or a tuple of up to eight.
pub trait Results: sealed::Sealed + Sized {
    /// The types.
    fn types() -> Vec<Type>;

    #[doc(hidden)]
    fn from_slots(store: &mut StoreInner, slots: &[ValRaw]) -> Result<Self>;
}

impl<T: Value> Params for T {
    fn types() -> Vec<Type> {
        vec![T::TYPE]
    }

    fn to_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
        (self,).to_slots(store, slots)
    }
}

impl<T: Value> Results for T {
    fn types() -> Vec<Type> {
        vec![T::TYPE]
    }

    fn from_slots(store: &mut StoreInner, slots: &[ValRaw]) -> Result<T> {
        T::from_raw(store, slots[0])
    }
}

macro_rules! tuples {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Value),*> sealed::Sealed for ($($name,)*) {}

        impl<$($name: Value),*> Params for ($($name,)*) {
            fn types() -> Vec<Type> {
                vec![$($name::TYPE),*]
            }

            fn to_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
                // All handles are checked before the first is used.
                $(self.$index.check(store)?;)*
                $(slots[$index] = self.$index.into_raw(store)?;)*
                let _ = (&store, slots);
                Ok(())
            }
        }

        impl<$($name: Value),*> Results for ($($name,)*) {
            fn types() -> Vec<Type> {
                vec![$($name::TYPE),*]
            }

            fn from_slots(store: &mut StoreInner, slots: &[ValRaw]) -> Result<Self> {
                let _ = (&store, slots);
                Ok(($($name::from_raw(store, slots[$index])?,)*))
            }
        }
    };
}

tuples!();
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
