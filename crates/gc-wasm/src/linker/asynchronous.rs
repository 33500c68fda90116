//! Asynchronous host functions in a linker, and instances whose start functions can wait.

use super::Linker;
use super::modules::{async_command, initialized, initializer, is_command};
use crate::func::{Caller, HostFunc, HostFuture, WasmRet, WasmTyList};
use crate::instance::Definition;
use crate::types::FuncType;
use crate::{AsContextMut, Engine, Instance, Module, Val};
use anyhow::Result;
use std::sync::Arc;

impl<T: Send + 'static> Linker<T> {
    /// Defines a name as a host function of type `ty` that returns a future; see
    /// [`Func::new_async`](crate::Func::new_async). A store that gets it allows only asynchronous
    /// calls.
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn func_new_async<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: F,
    ) -> Result<&mut Self>
    where
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> HostFuture<'a, Result<()>>
            + Send
            + Sync
            + 'static,
    {
        assert!(
            Engine::same(ty.engine(), &self.engine),
            "the function type belongs to another engine"
        );
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::new_async(ty, func))))
    }

    /// Defines a name as a closure that gets its arguments as a tuple and returns a future; see
    /// [`Func::wrap_async`](crate::Func::wrap_async). A store that gets it allows only asynchronous
    /// calls.
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the engine has too many types.
    ///
    /// # Examples
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/block_on.rs.in"));
    /// use gc_wasm::{Engine, Linker, Module, Store};
    ///
    /// # fn main() -> gc_wasm::Result<()> {
    /// let engine = Engine::default();
    /// let mut linker = Linker::new(&engine);
    /// linker.func_wrap_async("host", "double", |_caller, (n,): (i32,)| {
    ///     Box::new(async move { n * 2 })
    /// })?;
    /// let module = Module::new(
    ///     &engine,
    ///     r#"(module (import "host" "double" (func $double (param i32) (result i32)))
    ///         (func (export "run") (result i32) (call $double (i32.const 21))))"#,
    /// )?;
    /// // `block_on` stands for an executor.
    /// block_on(async {
    ///     let mut store = Store::new(&engine, ());
    ///     let instance = linker.instantiate_async(&mut store, &module).await?;
    ///     let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    ///     assert_eq!(run.call_async(&mut store, ()).await?, 42);
    ///     gc_wasm::error::Ok(())
    /// })
    /// # ?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn func_wrap_async<F, P, R>(
        &mut self,
        module: &str,
        name: &str,
        func: F,
    ) -> Result<&mut Self>
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> HostFuture<'a, R> + Send + Sync + 'static,
        P: WasmTyList,
        R: WasmRet,
    {
        let func = HostFunc::wrap_async(&self.engine, func);
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// Instantiates a module as [`instantiate`](Linker::instantiate) does, on a stack of its own, so
    /// that its start function can wait for futures.
    ///
    /// # Errors
    /// As [`instantiate`](Linker::instantiate). If there is no stack for it.
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let pre = self.instantiate_pre_in(store.as_context_mut().into_opaque(), module)?;
        pre.instantiate_async(store).await
    }

    /// Instantiates a module and defines its exports as [`module`](Linker::module) does. Start
    /// functions can wait for futures, now and in each call of a command's function.
    ///
    /// # Errors
    /// As [`module`](Linker::module). If there is no stack for it.
    ///
    /// # Panics
    /// As [`module`](Linker::module).
    pub async fn module_async(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        self.check_store(store.as_context_mut().opaque_mut());
        if is_command(module)? {
            return self.command(store.as_context_mut(), module_name, module, async_command);
        }
        let instance = self.instantiate_async(&mut store, module).await?;
        if let Some(initialize) = initializer(&instance, &mut store)? {
            initialized(initialize.call_async(&mut store, ()).await)?;
        }
        self.instance(store, module_name, instance)
    }
}
