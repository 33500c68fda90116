//! The parameters and results of typed functions: a [`WasmTy`] or a tuple of them.

use super::wasm_ty::{StoreArg, WasmTy, sealed};
use crate::Engine;
use crate::types::ValType;
use anyhow::{Result, bail, ensure};
use gc_types::ValRaw;
use wasmtime_types::WasmValType;

/// The parameters of a typed function: a [`WasmTy`] or a tuple of at most 17 of them.
pub trait WasmParams: sealed::Sealed + Send {
    /// Their number.
    #[doc(hidden)]
    const SLOTS: usize;

    /// Fails unless values of these types can be passed for parameters of `types`. Returns whether
    /// each call must check that they can.
    #[doc(hidden)]
    fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<bool>;

    /// Writes them to the slots. There must be no collection between this and the call.
    #[doc(hidden)]
    fn to_slots(&self, store: &StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()>;
}

/// The results of a typed function: a [`WasmTy`] or a tuple of at most 17 of them.
pub trait WasmResults: WasmParams + Sized {
    #[doc(hidden)]
    fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self>;

    #[doc(hidden)]
    fn types() -> Vec<ValType>;

    #[doc(hidden)]
    fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()>;
}

/// A tuple of at most 17 [`WasmTy`]s: the parameters of an asynchronous host function.
pub trait WasmTyList: WasmResults {}

/// Fails unless values of `T` can be passed for a parameter of type `param`. Returns whether each
/// call must check the value.
///
/// No Rust type represents a concrete reference type. So for a parameter of such a type the host
/// passes any reference of its hierarchy, and the call checks it.
fn param_accepts<T: WasmTy>(engine: &Engine, n: usize, param: &WasmValType) -> Result<bool> {
    let (given, param) = (T::valtype(), ValType::from_wasm(engine, param));
    if given.matches(&param) {
        return Ok(false);
    }
    if let (Some(given), Some(param)) = (given.as_ref(), param.as_ref())
        && param.heap_type().is_concrete()
        && given.heap_type().top() == param.heap_type().top()
    {
        return Ok(true);
    }
    bail!(
        "type mismatch with parameters: parameter {n}: type mismatch: expected {param}, found {given}"
    )
}

fn result_accepts<T: WasmTy>(engine: &Engine, n: usize, result: &WasmValType) -> Result<()> {
    let (wanted, result) = (T::valtype(), ValType::from_wasm(engine, result));
    ensure!(
        result.matches(&wanted),
        "type mismatch with results: result {n}: type mismatch: expected {wanted}, found {result}"
    );
    Ok(())
}

fn count(what: &str, actual: usize, assumed: usize) -> Result<()> {
    ensure!(
        actual == assumed,
        "type mismatch with {what}: expected {assumed} types, found {actual}"
    );
    Ok(())
}

impl<T: WasmTy> WasmParams for T {
    const SLOTS: usize = 1;

    fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<bool> {
        <(T,)>::typecheck_params(engine, types)
    }

    #[inline]
    fn to_slots(&self, store: &StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()> {
        slots[0] = self.to_slot(store)?;
        Ok(())
    }
}

impl<T: WasmTy> WasmResults for T {
    #[inline]
    fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self> {
        T::from_slot(store, slots[0])
    }

    fn types() -> Vec<ValType> {
        vec![T::valtype()]
    }

    fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()> {
        <(T,)>::typecheck_results(engine, types)
    }
}

/// Calls a macro with the lists of up to 17 types: their names and numbers.
macro_rules! for_each_list {
    ($each:ident) => {
        $each! {
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
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12)
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13)
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14)
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, P 15)
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, P 15, Q 16)
        }
    };
}

pub(super) use for_each_list;

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => {$(
        impl<$($t: WasmTy),*> sealed::Sealed for ($($t,)*) {}

        impl<$($t: WasmTy),*> WasmTyList for ($($t,)*) {}

        #[allow(unused_variables, unused_mut)]
        impl<$($t: WasmTy),*> WasmParams for ($($t,)*) {
            const SLOTS: usize = { const NUMBERS: &[usize] = &[$($i),*]; NUMBERS.len() };

            fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<bool> {
                count("parameters", types.len(), Self::SLOTS)?;
                let mut checked = false;
                $(checked |= param_accepts::<$t>(engine, $i, &types[$i])?;)*
                Ok(checked)
            }

            #[inline]
            fn to_slots(&self, store: &StoreArg<'_>, slots: &mut [ValRaw]) -> Result<()> {
                $(slots[$i] = self.$i.to_slot(store)?;)*
                Ok(())
            }
        }

        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($t: WasmTy),*> WasmResults for ($($t,)*) {
            #[inline]
            fn from_slots(store: &mut StoreArg<'_>, slots: &[ValRaw]) -> Result<Self> {
                Ok(($(<$t as WasmTy>::from_slot(store, slots[$i])?,)*))
            }

            fn types() -> Vec<ValType> {
                vec![$($t::valtype()),*]
            }

            fn typecheck_results(engine: &Engine, types: &[WasmValType]) -> Result<()> {
                count("results", types.len(), Self::SLOTS)?;
                $(result_accepts::<$t>(engine, $i, &types[$i])?;)*
                Ok(())
            }
        }
    )*};
}

for_each_list! { tuples }
