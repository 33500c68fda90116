//! [`Val`] and [`Ref`]: WebAssembly values that the host holds.

mod raw;
mod reference;
pub(crate) mod typing;

pub use reference::Ref;

use crate::types::{HeapType, ValType};
use crate::{AnyRef, ArrayRef, EqRef, ExnRef, ExternRef, Func, Rooted, StructRef, V128};

/// A value. Floats are stored as bits, so that the payloads of NaNs are preserved.
///
/// # Examples
/// ```
/// use gc_wasm::{Func, Store, Val};
///
/// let mut store = Store::<()>::default();
/// let scale = Func::wrap(&mut store, |number: i32, factor: f64| f64::from(number) * factor);
/// let mut results = [Val::F64(0)];
/// scale.call(&mut store, &[Val::I32(3), Val::from(0.5)], &mut results)?;
/// assert_eq!(results[0].f64(), Some(1.5));
/// assert_eq!(results[0].i32(), None);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(V128),
    /// A function or null.
    FuncRef(Option<Func>),
    /// An external reference or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// An internal reference or null.
    AnyRef(Option<Rooted<AnyRef>>),
    /// An exception, or null.
    ExnRef(Option<Rooted<ExnRef>>),
}

impl Val {
    /// The null of the hierarchy of `ty`.
    pub fn null_ref(ty: &HeapType) -> Val {
        Ref::null(ty).into()
    }

    /// The null function reference.
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// The null external reference.
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// The null internal reference.
    pub const fn null_any_ref() -> Val {
        Val::AnyRef(None)
    }

    /// The zero or null of a type. `None` for references that cannot be null.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128::from(0)),
            ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
            ValType::Ref(_) => return None,
        })
    }

    /// The `i32`, if this is one.
    pub fn i32(&self) -> Option<i32> {
        match self {
            Val::I32(value) => Some(*value),
            _ => None,
        }
    }

    /// The `i32`.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_i32(&self) -> i32 {
        self.i32().expect("expected i32")
    }

    /// The `i64`, if this is one.
    pub fn i64(&self) -> Option<i64> {
        match self {
            Val::I64(value) => Some(*value),
            _ => None,
        }
    }

    /// The `i64`.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_i64(&self) -> i64 {
        self.i64().expect("expected i64")
    }

    /// The `f32`, if this is one.
    pub fn f32(&self) -> Option<f32> {
        match self {
            Val::F32(value) => Some(f32::from_bits(*value)),
            _ => None,
        }
    }

    /// The `f32`.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_f32(&self) -> f32 {
        self.f32().expect("expected f32")
    }

    /// The `f64`, if this is one.
    pub fn f64(&self) -> Option<f64> {
        match self {
            Val::F64(value) => Some(f64::from_bits(*value)),
            _ => None,
        }
    }

    /// The `f64`.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_f64(&self) -> f64 {
        self.f64().expect("expected f64")
    }

    /// The vector, if this is one.
    pub fn v128(&self) -> Option<V128> {
        match self {
            Val::V128(value) => Some(*value),
            _ => None,
        }
    }

    /// The vector.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_v128(&self) -> V128 {
        self.v128().expect("expected v128")
    }

    /// The reference, if this is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(value) => Some(Ref::Func(value)),
            Val::ExternRef(value) => Some(Ref::Extern(value)),
            Val::AnyRef(value) => Some(Ref::Any(value)),
            Val::ExnRef(value) => Some(Ref::Exn(value)),
            _ => None,
        }
    }

    /// The function reference, if this is one. The inner `None` is null.
    pub fn funcref(&self) -> Option<Option<&Func>> {
        match self {
            Val::FuncRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The function reference. `None` is null.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_funcref(&self) -> Option<&Func> {
        self.funcref().expect("expected funcref")
    }

    /// The external reference, if this is one. The inner `None` is null.
    pub fn externref(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Val::ExternRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The external reference. `None` is null.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_externref(&self) -> Option<&Rooted<ExternRef>> {
        self.externref().expect("expected externref")
    }

    /// The internal reference, if this is one. The inner `None` is null.
    pub fn anyref(&self) -> Option<Option<&Rooted<AnyRef>>> {
        match self {
            Val::AnyRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The internal reference. `None` is null.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_anyref(&self) -> Option<&Rooted<AnyRef>> {
        self.anyref().expect("expected anyref")
    }

    /// The same as [`funcref`](Val::funcref).
    pub fn func_ref(&self) -> Option<Option<&Func>> {
        self.funcref()
    }

    /// The same as [`unwrap_funcref`](Val::unwrap_funcref).
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_func_ref(&self) -> Option<&Func> {
        self.unwrap_funcref()
    }

    /// The same as [`externref`](Val::externref).
    pub fn extern_ref(&self) -> Option<Option<&Rooted<ExternRef>>> {
        self.externref()
    }

    /// The same as [`unwrap_externref`](Val::unwrap_externref).
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_extern_ref(&self) -> Option<&Rooted<ExternRef>> {
        self.unwrap_externref()
    }

    /// The same as [`anyref`](Val::anyref).
    pub fn any_ref(&self) -> Option<Option<&Rooted<AnyRef>>> {
        self.anyref()
    }

    /// The same as [`unwrap_anyref`](Val::unwrap_anyref).
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_any_ref(&self) -> Option<&Rooted<AnyRef>> {
        self.unwrap_anyref()
    }

    /// The exception reference, if this is one. The inner `None` is null.
    pub fn exnref(&self) -> Option<Option<&Rooted<ExnRef>>> {
        match self {
            Val::ExnRef(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The exception reference. `None` is null.
    ///
    /// # Panics
    /// If this is another value.
    pub fn unwrap_exnref(&self) -> Option<&Rooted<ExnRef>> {
        self.exnref().expect("expected exnref")
    }
}

impl From<i32> for Val {
    fn from(value: i32) -> Val {
        Val::I32(value)
    }
}

impl From<i64> for Val {
    fn from(value: i64) -> Val {
        Val::I64(value)
    }
}

impl From<f32> for Val {
    fn from(value: f32) -> Val {
        Val::F32(value.to_bits())
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Val {
        Val::F64(value.to_bits())
    }
}

impl From<V128> for Val {
    fn from(value: V128) -> Val {
        Val::V128(value)
    }
}

impl From<u128> for Val {
    fn from(value: u128) -> Val {
        Val::V128(value.into())
    }
}

impl From<Ref> for Val {
    fn from(value: Ref) -> Val {
        match value {
            Ref::Func(value) => Val::FuncRef(value),
            Ref::Extern(value) => Val::ExternRef(value),
            Ref::Any(value) => Val::AnyRef(value),
            Ref::Exn(value) => Val::ExnRef(value),
        }
    }
}

/// Conversions of references, which are not null, and of optional references.
macro_rules! from_references {
    ($to:ident: $($from:ty, |$value:ident| $convert:expr;)*) => {$(
        impl From<Option<$from>> for $to {
            fn from($value: Option<$from>) -> $to {
                $convert
            }
        }

        impl From<$from> for $to {
            fn from(value: $from) -> $to {
                Some(value).into()
            }
        }
    )*};
}

pub(crate) use from_references;

from_references! { Val:
    Func, |value| Val::FuncRef(value);
    Rooted<ExternRef>, |value| Val::ExternRef(value);
    Rooted<AnyRef>, |value| Val::AnyRef(value);
    Rooted<ExnRef>, |value| Val::ExnRef(value);
    Rooted<EqRef>, |value| Val::AnyRef(value.map(|value| value.to_anyref()));
    Rooted<StructRef>, |value| Val::AnyRef(value.map(|value| value.to_anyref()));
    Rooted<ArrayRef>, |value| Val::AnyRef(value.map(|value| value.to_anyref()));
}
