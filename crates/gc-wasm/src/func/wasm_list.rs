//! The parameters and results of typed functions: a [`WasmTy`] or a tuple of them.

use super::wasm_ty::{Slot, StoreArg, WasmTy, sealed};
use crate::Engine;
use crate::store::StoreOpaque;
use crate::types::ValType;
use anyhow::{Result, bail, ensure};
use gc_types::{VMGcRef, ValRaw};
use std::num::NonZeroU32;
use wasmtime_types::WasmValType;

/// The parameters of a typed function: a [`WasmTy`] or a tuple of at most 17 of them.
pub trait WasmParams: sealed::Sealed + Send {
    /// What their slots hold.
    #[doc(hidden)]
    const SLOTS: &'static [Slot];

    /// Fails unless values of these types can be passed for parameters of `types`. Returns whether
    /// each call must check that they can.
    #[doc(hidden)]
    fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<bool>;

    /// Writes them to the slots. References are not exposed yet.
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

/// Whether one of the slots holds a reference that the collector knows.
pub(super) const fn has_references(slots: &[Slot]) -> bool {
    let mut i = 0;
    while i < slots.len() {
        if matches!(slots[i], Slot::Gc) {
            return true;
        }
        i += 1;
    }
    false
}

impl StoreOpaque {
    /// Exposes the references in slots that [`WasmParams::to_slots`] has filled. There must be no
    /// collection between this and the call. If the collector wants to collect before, it does, and
    /// the slots are filled again.
    #[inline]
    pub(super) fn expose_slots<P: WasmParams>(
        &mut self,
        values: &P,
        slots: &mut [ValRaw],
    ) -> Result<()> {
        let mut count = 0;
        for (raw, slot) in slots.iter().zip(P::SLOTS) {
            let gc_ref =
                if *slot == Slot::Gc { VMGcRef::from_raw_u32(raw.get_u32()) } else { None };
            count += u32::from(gc_ref.is_some_and(|gc_ref| !gc_ref.is_i31()));
        }
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        if self.gc_store().need_gc_before_exposing(count) {
            self.gc()?;
            values.to_slots(&StoreArg(self), slots)?;
        }
        for (raw, slot) in slots.iter_mut().zip(P::SLOTS) {
            if *slot == Slot::Gc
                && let Some(gc_ref) = VMGcRef::from_raw_u32(raw.get_u32())
            {
                *raw = ValRaw::u64(self.gc_store_mut().expose_rooted(&gc_ref).into());
            }
        }
        Ok(())
    }
}

impl<T: WasmTy> WasmParams for T {
    const SLOTS: &'static [Slot] = &[T::SLOT];

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
            const SLOTS: &'static [Slot] = &[$($t::SLOT),*];

            fn typecheck_params(engine: &Engine, types: &[WasmValType]) -> Result<bool> {
                count("parameters", types.len(), Self::SLOTS.len())?;
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
                count("results", types.len(), Self::SLOTS.len())?;
                $(result_accepts::<$t>(engine, $i, &types[$i])?;)*
                Ok(())
            }
        }
    )*};
}

for_each_list! { tuples }
