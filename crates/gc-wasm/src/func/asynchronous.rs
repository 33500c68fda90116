//! Functions as futures: calls that can wait, and host functions that do.

use super::into_func::leave;
use super::wasm_ty::StoreArg;
use super::{Caller, Func, HostFunc, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTyList};
use crate::store::CallHook;
use crate::types::FuncType;
use crate::{AsContextMut, Engine, Val};
use anyhow::Result;
use gc_types::ValRaw;
use std::pin::Pin;

/// What an asynchronous host function returns.
pub(crate) type HostFuture<'a, R> = Box<dyn Future<Output = R> + Send + 'a>;

impl Func {
    /// Like [`new`](Func::new), but the function returns a future, for which the calling code waits.
    /// From now on the store allows only asynchronous calls, such as
    /// [`call_async`](Func::call_async).
    ///
    /// # Panics
    /// If `ty` belongs to another engine.
    ///
    /// # Examples
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/block_on.rs.in"));
    /// use gc_wasm::{Engine, Func, FuncType, Store, Val, ValType};
    ///
    /// # fn main() -> gc_wasm::Result<()> {
    /// async fn ask() -> i32 {
    ///     42
    /// }
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let ty = FuncType::new(&engine, [], [ValType::I32]);
    /// let answer = Func::new_async(&mut store, ty, |_caller, _params, results| {
    ///     Box::new(async move {
    ///         results[0] = Val::I32(ask().await);
    ///         Ok(())
    ///     })
    /// });
    /// let mut results = [Val::I32(0)];
    /// // `block_on` stands for an executor.
    /// block_on(answer.call_async(&mut store, &[], &mut results))?;
    /// assert_eq!(results[0].unwrap_i32(), 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_async<T, F>(mut store: impl AsContextMut<Data = T>, ty: FuncType, func: F) -> Func
    where
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>
            + Send
            + Sync
            + 'static,
        T: Send + 'static,
    {
        let mut store = store.as_context_mut();
        HostFunc::new_async(ty, func).instantiate(store.opaque_mut())
    }

    /// Like [`wrap`](Func::wrap), but the closure gets its arguments as a tuple and returns a future,
    /// for which the calling code waits. From now on the store allows only asynchronous calls.
    ///
    /// # Panics
    /// If the engine has too many types.
    pub fn wrap_async<T, F, P, R>(mut store: impl AsContextMut<Data = T>, func: F) -> Func
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
        P: WasmTyList,
        R: WasmRet,
        T: Send + 'static,
    {
        let mut store = store.as_context_mut();
        HostFunc::wrap_async(store.engine(), func).instantiate(store.opaque_mut())
    }

    /// Calls the function as [`call`](Func::call) does, on a stack of its own, so that host functions
    /// can wait for futures. The code runs within the polls of the future. If the future is dropped,
    /// the code ends as if the host function had failed for which it waits.
    ///
    /// # Errors
    /// As [`call`](Func::call). If there is no stack for the call.
    ///
    /// # Panics
    /// As [`call`](Func::call).
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque_mut();
        store.on_fiber(|store| self.call_in(store, params, results)).await?
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    /// Calls the function as [`call`](TypedFunc::call) does, on a stack of its own, so that host
    /// functions can wait for futures. See [`Func::call_async`].
    ///
    /// # Errors
    /// As [`call`](TypedFunc::call). If there is no stack for the call.
    ///
    /// # Panics
    /// As [`call`](TypedFunc::call).
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: Params,
    ) -> Result<Results> {
        let mut store = store.as_context_mut();
        store.opaque_mut().on_fiber(|store| self.call_in(store, params)).await?
    }
}

impl<T: Send + 'static> HostFunc<T> {
    /// A host function that uses [`Val`]s and returns a future.
    pub(crate) fn new_async<F>(ty: FuncType, func: F) -> HostFunc<T>
    where
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>
            + Send
            + Sync
            + 'static,
    {
        let waiting = move |mut caller: Caller<'_, T>, params: &[Val], results: &mut [Val]| {
            let blocking = caller.as_context_mut().opaque_mut().blocking()?;
            blocking.block_on(Pin::from(func(caller, params, results)))?
        };
        HostFunc::new(ty, waiting).that_waits()
    }

    /// A closure that returns a future as a host function.
    pub(crate) fn wrap_async<F, P, R>(engine: &Engine, func: F) -> HostFunc<T>
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
        P: WasmTyList,
        R: WasmRet,
    {
        let ty = FuncType::new(engine, P::types(), R::Ok::types());
        let waiting = move |mut caller: Caller<'_, T>, slots: &mut [ValRaw]| {
            let mut context = caller.as_context_mut();
            let store = context.opaque_mut();
            let params = P::from_slots(&mut StoreArg(store), slots)?;
            store.call_hook(CallHook::CallingHost)?;
            let waited = store.blocking().and_then(|blocking| {
                Ok(blocking.block_on(Pin::from(func(caller.reborrow(), params)))?)
            });
            match waited {
                Ok(result) => leave(&mut caller, result, slots),
                Err(error) => leave::<T, Result<R::Ok>>(&mut caller, Err(error), slots),
            }
        };
        HostFunc::from_raw(ty, waiting).that_waits()
    }
}
