//! Closures as host functions: `|a: i32, b: f64| -> f32 { … }`, with or without a
//! [`Caller`] first, failing or not.

use super::wasm_list::for_each_list;
use super::wasm_ty::{StoreArg, WasmTy};
use super::{Caller, HostFunc, WasmParams, WasmResults};
use crate::store::CallHook;
use crate::types::{FuncType, ValType};
use crate::{AsContextMut, Engine};
use anyhow::Result;
use gc_types::ValRaw;

/// The return types of closures that are host functions: [`WasmResults`], or a `Result` of something
/// that can be returned.
pub trait WasmRet {
    #[doc(hidden)]
    type Ok: WasmResults;
    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Ok>;
}

impl<T: WasmResults> WasmRet for T {
    type Ok = T;

    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}

impl<T: WasmRet> WasmRet for Result<T> {
    type Ok = T::Ok;

    fn into_result(self) -> Result<T::Ok> {
        self?.into_result()
    }
}

/// A closure that can be a host function.
pub trait IntoFunc<T: 'static, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_func(self, engine: &Engine) -> HostFuncArg<T>;
}

/// A host function, as the hidden method of [`IntoFunc`] returns it.
#[doc(hidden)]
pub struct HostFuncArg<T: 'static>(HostFunc<T>);

impl<T: 'static> HostFuncArg<T> {
    pub(crate) fn into_inner(self) -> HostFunc<T> {
        self.0
    }
}

#[cold]
#[inline(never)]
fn hooked<R>(call: impl FnOnce() -> R) -> R {
    call()
}

/// Tells the hook that a host function returns, and does as [`give`].
pub(super) fn leave<T: 'static, R: WasmRet>(
    caller: &mut Caller<'_, T>,
    result: R,
    slots: &mut [ValRaw],
) -> Result<()> {
    caller.as_context_mut().opaque_mut().call_hook(CallHook::ReturningFromHost)?;
    give(caller, result, slots)
}

/// Writes the results of a host function to the slots.
#[inline]
fn give<T: 'static, R: WasmRet>(
    caller: &mut Caller<'_, T>,
    result: R,
    slots: &mut [ValRaw],
) -> Result<()> {
    let mut store = caller.as_context_mut();
    let store = store.opaque_mut();
    let result = result.into_result()?;
    result.to_slots(&StoreArg(store), slots)
}

macro_rules! into_func {
    ($(($($t:ident $i:tt),*))*) => {$(
        #[allow(non_snake_case, unused_variables, unused_mut)]
        impl<T: 'static, Func, $($t: WasmTy,)* R: WasmRet> IntoFunc<T, (Caller<'_, T>, $($t,)*), R> for Func
        where
            Func: Fn(Caller<'_, T>, $($t),*) -> R + Send + Sync + 'static,
        {
            fn into_func(self, engine: &Engine) -> HostFuncArg<T> {
                let params: Vec<ValType> = vec![$($t::valtype()),*];
                let ty = FuncType::new(engine, params, R::Ok::types());
                let call = move |mut caller: Caller<'_, T>, slots: &mut [ValRaw], hooked: bool| {
                    let mut context = caller.as_context_mut();
                    let mut store = StoreArg(context.opaque_mut());
                    $(let $t = <$t as WasmTy>::from_slot(&mut store, slots[$i])?;)*
                    if hooked {
                        store.0.call_hook(CallHook::CallingHost)?;
                    }
                    let result = self(caller.reborrow(), $($t),*);
                    if hooked {
                        caller.as_context_mut().opaque_mut().call_hook(CallHook::ReturningFromHost)?;
                    }
                    give(&mut caller, result, slots)
                };
                // A function that does little is small without the calls of hooks.
                let closure = move |mut caller: Caller<'_, T>, slots: &mut [ValRaw]| {
                    match caller.as_context_mut().opaque_mut().has_call_hook() {
                        true => hooked(|| call(caller, slots, true)),
                        false => call(caller, slots, false),
                    }
                };
                HostFuncArg(HostFunc::from_raw(ty, closure))
            }
        }

        #[allow(non_snake_case, unused_variables, unused_mut)]
        impl<T: 'static, Func, $($t: WasmTy,)* R: WasmRet> IntoFunc<T, ($($t,)*), R> for Func
        where
            Func: Fn($($t),*) -> R + Send + Sync + 'static,
        {
            fn into_func(self, engine: &Engine) -> HostFuncArg<T> {
                let with_caller = move |_: Caller<'_, T>, $($t: $t),*| self($($t),*);
                IntoFunc::<T, (Caller<'_, T>, $($t,)*), R>::into_func(with_caller, engine)
            }
        }
    )*};
}

for_each_list! { into_func }
