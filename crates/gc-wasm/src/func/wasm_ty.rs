//! Rust types that represent WebAssembly types in typed functions and closures.

use crate::refs::{AnyRef, ArrayRef, EqRef, ExnRef, ExternRef, I31, StructRef};
use crate::store::StoreOpaque;
use crate::types::{HeapType, RefType, ValType};
use crate::{Engine, Func, Rooted, V128, Val};
use anyhow::{Result, bail};
use gc_types::ValRaw;
use gc_types::{Trap, VMGcRef};
use wasmtime_types::{WasmHeapType, WasmRefType, WasmValType};

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that represents one WebAssembly type: `i32` and `u32`, `i64` and `u64`, `f32`,
/// `f64`, [`V128`], [`Func`], [`I31`], and `Rooted` handles. An `Option` of a reference type
/// represents the nullable type.
pub trait WasmTy: sealed::Sealed + Copy + 'static {
    /// The WebAssembly type.
    fn valtype() -> ValType;

    #[doc(hidden)]
    fn to_raw(self, store: &mut StoreArg<'_>) -> Result<ValRaw>;

    /// Fails on an unexpected null, which only a corrupt heap can cause.
    #[doc(hidden)]
    fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self>;

    /// Fails unless the value is of the reference type `ty`, which may be a subtype of
    /// [`valtype`](WasmTy::valtype). `what` names the value in the error.
    #[doc(hidden)]
    fn check_ref(
        self,
        _store: &StoreArg<'_>,
        _ty: &WasmValType,
        _what: impl FnOnce() -> String,
    ) -> Result<()> {
        Ok(())
    }

    #[doc(hidden)]
    fn is_heap_ref(self, _store: &StoreArg<'_>) -> bool {
        false
    }
}

/// A store for the hidden methods of [`WasmTy`].
#[doc(hidden)]
pub struct StoreArg<'a>(pub(crate) &'a mut StoreOpaque);

/// A reference that a [`Val`] can hold.
trait ToVal {
    fn to_val(self) -> Val;
}

macro_rules! numbers {
    ($($rust:ident $ty:ident |$value:ident| $to:expr, |$raw:ident| $from:expr;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl WasmTy for $rust {
            fn valtype() -> ValType {
                ValType::$ty
            }

            fn to_raw(self, _store: &mut StoreArg<'_>) -> Result<ValRaw> {
                let $value = self;
                Ok($to)
            }

            fn from_raw(_store: &mut StoreArg<'_>, $raw: ValRaw) -> Result<Self> {
                Ok($from)
            }
        }
    )*};
}

numbers! {
    i32 I32 |v| ValRaw::from_i32(v), |raw| raw.i32();
    u32 I32 |v| ValRaw::from_i32(v as i32), |raw| raw.u32();
    i64 I64 |v| ValRaw::from_i64(v), |raw| raw.i64();
    u64 I64 |v| ValRaw::from_u64(v), |raw| raw.u64();
    f32 F32 |v| ValRaw::from_f32_bits(v.to_bits()), |raw| f32::from_bits(raw.f32_bits());
    f64 F64 |v| ValRaw::from_f64_bits(v.to_bits()), |raw| f64::from_bits(raw.f64_bits());
    V128 V128 |v| v.to_raw(), |raw| V128::from_raw(raw);
}

/// Implements the conversion between handles and raw words for reference types.
macro_rules! references {
    ($($(#[$doc:meta])* $rust:ty, $heap:ident, |$v:ident| $val:expr, |$store:ident, $gc_ref:ident| $from:expr;)*) => {$(
        impl ToVal for $rust {
            fn to_val(self) -> Val {
                Some(self).to_val()
            }
        }

        impl ToVal for Option<$rust> {
            fn to_val(self) -> Val {
                let $v = self;
                $val
            }
        }

        impl sealed::Sealed for $rust {}
        impl WasmTy for $rust {
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(false, HeapType::$heap))
            }

            fn to_raw(self, store: &mut StoreArg<'_>) -> Result<ValRaw> {
                self.to_val().to_raw(store.0)
            }

            fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
                not_null(Option::<Self>::from_raw(store, raw)?)
            }

            fn check_ref(
                self,
                store: &StoreArg<'_>,
                ty: &WasmValType,
                what: impl FnOnce() -> String,
            ) -> Result<()> {
                self.to_val().check(store.0, ty, what)
            }

            fn is_heap_ref(self, store: &StoreArg<'_>) -> bool {
                self.to_val().is_heap_ref(store.0)
            }
        }

        impl sealed::Sealed for Option<$rust> {}
        impl WasmTy for Option<$rust> {
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(true, HeapType::$heap))
            }

            fn to_raw(self, store: &mut StoreArg<'_>) -> Result<ValRaw> {
                self.to_val().to_raw(store.0)
            }

            fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
                let Some($gc_ref) = VMGcRef::from_raw_u32(raw.u32()) else { return Ok(None) };
                let $store = &mut *store.0;
                Ok(Some($from))
            }

            fn check_ref(
                self,
                store: &StoreArg<'_>,
                ty: &WasmValType,
                what: impl FnOnce() -> String,
            ) -> Result<()> {
                self.to_val().check(store.0, ty, what)
            }

            fn is_heap_ref(self, store: &StoreArg<'_>) -> bool {
                self.to_val().is_heap_ref(store.0)
            }
        }
    )*};
}

fn not_null<T>(value: Option<T>) -> Result<T> {
    Ok(value.ok_or(Trap::CorruptHeap)?)
}

fn root<T: crate::refs::GcRef>(store: &mut StoreOpaque, gc_ref: VMGcRef) -> Rooted<T> {
    let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
    store.root(gc_ref)
}

references! {
    Rooted<ExternRef>, Extern, |v| Val::ExternRef(v), |store, gc_ref| root(store, gc_ref);
    Rooted<ExnRef>, Exn, |v| Val::ExnRef(v), |store, gc_ref| root(store, gc_ref);
    Rooted<AnyRef>, Any, |v| Val::AnyRef(v), |store, gc_ref| root(store, gc_ref);
    Rooted<EqRef>, Eq, |v| Val::AnyRef(v.map(|v| v.to_anyref())), |store, gc_ref| root(store, gc_ref);
    Rooted<StructRef>, Struct, |v| Val::AnyRef(v.map(|v| v.to_anyref())), |store, gc_ref| root(store, gc_ref);
    Rooted<ArrayRef>, Array, |v| Val::AnyRef(v.map(|v| v.to_anyref())), |store, gc_ref| root(store, gc_ref);
}

impl sealed::Sealed for Func {}
impl WasmTy for Func {
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::Func))
    }

    fn to_raw(self, store: &mut StoreArg<'_>) -> Result<ValRaw> {
        Val::FuncRef(Some(self)).to_raw(store.0)
    }

    fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
        not_null(Func::from_raw(store.0, raw))
    }

    fn check_ref(
        self,
        store: &StoreArg<'_>,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        Val::FuncRef(Some(self)).check(store.0, ty, what)
    }
}

impl sealed::Sealed for Option<Func> {}
impl WasmTy for Option<Func> {
    fn valtype() -> ValType {
        ValType::FUNCREF
    }

    fn to_raw(self, store: &mut StoreArg<'_>) -> Result<ValRaw> {
        Val::FuncRef(self).to_raw(store.0)
    }

    fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
        Ok(Func::from_raw(store.0, raw))
    }

    fn check_ref(
        self,
        store: &StoreArg<'_>,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        Val::FuncRef(self).check(store.0, ty, what)
    }
}

impl sealed::Sealed for I31 {}
impl WasmTy for I31 {
    fn valtype() -> ValType {
        ValType::Ref(RefType::new(false, HeapType::I31))
    }

    fn to_raw(self, _store: &mut StoreArg<'_>) -> Result<ValRaw> {
        Ok(ValRaw::from_u64(VMGcRef::from_i31(self).as_raw_u32().into()))
    }

    fn from_raw(store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
        not_null(Option::<I31>::from_raw(store, raw)?)
    }

    fn check_ref(
        self,
        store: &StoreArg<'_>,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        check_i31(Some(self), store.0, ty, what)
    }
}

impl sealed::Sealed for Option<I31> {}
impl WasmTy for Option<I31> {
    fn valtype() -> ValType {
        ValType::I31REF
    }

    fn to_raw(self, _store: &mut StoreArg<'_>) -> Result<ValRaw> {
        let word = self.map_or(0, |value| VMGcRef::from_i31(value).as_raw_u32());
        Ok(ValRaw::from_u64(word.into()))
    }

    fn from_raw(_store: &mut StoreArg<'_>, raw: ValRaw) -> Result<Self> {
        Ok(VMGcRef::from_raw_u32(raw.u32()).and_then(|gc_ref| gc_ref.as_i31()))
    }

    fn check_ref(
        self,
        store: &StoreArg<'_>,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        check_i31(self, store.0, ty, what)
    }
}

fn check_i31(
    value: Option<I31>,
    store: &StoreOpaque,
    ty: &WasmValType,
    what: impl FnOnce() -> String,
) -> Result<()> {
    let (nullable, heap_type, found) = match value {
        Some(_) => (false, WasmHeapType::I31, "an i31"),
        None => (true, WasmHeapType::None, "a null internal reference"),
    };
    let actual = WasmValType::Ref(WasmRefType { nullable, heap_type });
    if !store.engine().types().val_matches(&actual, ty) {
        let expected = ValType::from_wasm(store.engine(), ty);
        bail!("{}: type mismatch: expected {expected}, found {found}", what());
    }
    Ok(())
}

/// The parameters of a typed function: a [`WasmTy`] or a tuple of them.
pub trait WasmParams: sealed::Sealed {
    #[doc(hidden)]
    const COUNT: usize;

    #[doc(hidden)]
    fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<()>;

    /// Number of references into the heap among them.
    #[doc(hidden)]
    fn heap_refs(&self, store: &StoreArg<'_>) -> usize;

    /// Fails unless the parameters are of `types`. Checks the part that the Rust types do not
    /// determine.
    #[doc(hidden)]
    fn check(&self, store: &StoreArg<'_>, types: &[WasmValType]) -> Result<()>;

    #[doc(hidden)]
    fn to_slots(self, store: &mut StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()>;
}

/// The results of a typed function: a [`WasmTy`] or a tuple of them.
pub trait WasmResults: WasmParams + Sized {
    #[doc(hidden)]
    fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self>;

    #[doc(hidden)]
    fn types() -> Vec<ValType>;

    #[doc(hidden)]
    fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()>;
}

/// Whether a parameter of type `param` accepts values of `T`: always, or sometimes, with a check at
/// each call.
fn param_accepts<T: WasmTy>(engine: &Engine, n: usize, param: &WasmValType) -> Result<()> {
    let (given, param) = (T::valtype(), ValType::from_wasm(engine, param));
    if !given.matches(&param) && !param.matches(&given) {
        bail!("parameter {n}: type mismatch: it is {param}, not {given}");
    }
    Ok(())
}

fn result_accepts<T: WasmTy>(engine: &Engine, n: usize, result: &WasmValType) -> Result<()> {
    let (wanted, result) = (T::valtype(), ValType::from_wasm(engine, result));
    if !result.matches(&wanted) {
        bail!("result {n}: type mismatch: it is {result}, not {wanted}");
    }
    Ok(())
}

fn count(what: &str, actual: usize, assumed: usize) -> Result<()> {
    if actual != assumed {
        bail!("number of {what}: it has {actual}, not {assumed}");
    }
    Ok(())
}

fn check_one<T: WasmTy>(value: T, store: &StoreArg<'_>, n: usize, ty: &WasmValType) -> Result<()> {
    if let WasmValType::Ref(ty_ref) = ty {
        let given = T::valtype().to_wasm();
        if !store.0.engine().types().val_matches(&given, &WasmValType::Ref(*ty_ref)) {
            value.check_ref(store, ty, || format!("argument {n}"))?;
        }
    }
    Ok(())
}

impl<T: WasmTy> WasmParams for T {
    const COUNT: usize = 1;

    fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<()> {
        count("parameters", types.len(), 1)?;
        param_accepts::<T>(engine, 0, &types[0])
    }

    fn heap_refs(&self, store: &StoreArg<'_>) -> usize {
        usize::from(self.is_heap_ref(store))
    }

    fn check(&self, store: &StoreArg<'_>, types: &[WasmValType]) -> Result<()> {
        check_one(*self, store, 0, &types[0])
    }

    fn to_slots(self, store: &mut StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()> {
        slots[0] = WasmTy::to_raw(self, store)?;
        Ok(())
    }
}

impl<T: WasmTy> WasmResults for T {
    fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self> {
        WasmTy::from_raw(store, slots[0])
    }

    fn types() -> Vec<ValType> {
        vec![T::valtype()]
    }

    fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()> {
        count("results", types.len(), 1)?;
        result_accepts::<T>(engine, 0, &types[0])
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => {$(
        impl<$($t: WasmTy),*> sealed::Sealed for ($($t,)*) {}

        #[allow(unused_variables)]
        impl<$($t: WasmTy),*> WasmParams for ($($t,)*) {
            const COUNT: usize = 0 $(+ { let _ = $i; 1 })*;

            fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<()> {
                count("parameters", types.len(), Self::COUNT)?;
                $(param_accepts::<$t>(engine, $i, &types[$i])?;)*
                Ok(())
            }

            fn heap_refs(&self, store: &StoreArg<'_>) -> usize {
                0 $(+ usize::from(self.$i.is_heap_ref(store)))*
            }

            fn check(&self, store: &StoreArg<'_>, types: &[WasmValType]) -> Result<()> {
                $(check_one(self.$i, store, $i, &types[$i])?;)*
                Ok(())
            }

            fn to_slots(self, store: &mut StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()> {
                $(slots[$i] = WasmTy::to_raw(self.$i, store)?;)*
                Ok(())
            }
        }

        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($t: WasmTy),*> WasmResults for ($($t,)*) {
            fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self> {
                Ok(($(<$t as WasmTy>::from_raw(store, slots[$i])?,)*))
            }

            fn types() -> Vec<ValType> {
                vec![$($t::valtype()),*]
            }

            fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()> {
                count("results", types.len(), <Self as WasmParams>::COUNT)?;
                $(result_accepts::<$t>(engine, $i, &types[$i])?;)*
                Ok(())
            }
        }
    )*};
}

tuples! {
    ()
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
}
