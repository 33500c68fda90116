//! Modules in a linker: their exports are defined, and instances are made as needed.

use super::Linker;
use crate::instance::InstancePre;
use crate::types::FuncType;
use crate::{AsContextMut, ExternType, Func, Instance, Module, StoreContextMut, TypedFunc};
use anyhow::{Context as _, Result, bail, ensure};
use std::sync::Arc;

impl<T: 'static> Linker<T> {
    /// Defines all exports of an instance under the name `module_name`.
    ///
    /// # Errors
    /// If a name is taken.
    ///
    /// # Panics
    /// If the instance belongs to another store, or the store to another engine.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        let exports: Vec<_> = instance
            .exports(&mut store)
            .map(|export| (export.name().to_owned(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Instantiates a module as WASI's application ABI says, and defines its exports under the name
    /// `module_name`.
    ///
    /// A module with the export `_start` is a command. Each call of one of its functions makes a new
    /// instance. Any other module is a reactor. It is instantiated now, and its function
    /// `_initialize` is called, if it has one.
    ///
    /// # Errors
    /// If an import is not defined, if a name is taken, if the instantiation or `_initialize` fails,
    /// or if the module is both a command and a reactor. Also if a command exports anything but
    /// functions, unless [unknown exports are allowed](Linker::allow_unknown_exports) or the export
    /// is one that compilers add.
    ///
    /// # Panics
    /// If the store belongs to another engine.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Engine, Linker, Module, Store};
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let mut linker = Linker::new(&engine);
    /// let counter = r#"(module
    ///     (global $count (mut i32) (i32.const 0))
    ///     (func (export "next") (result i32)
    ///         (global.set $count (i32.add (global.get $count) (i32.const 1)))
    ///         (global.get $count)))"#;
    /// linker.module(&mut store, "counter", &Module::new(&engine, counter)?)?;
    /// let next = linker.get(&mut store, "counter", "next")?.into_func().unwrap();
    /// let next = next.typed::<(), i32>(&store)?;
    /// assert_eq!((next.call(&mut store, ())?, next.call(&mut store, ())?), (1, 2));
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        self.check_store(store.as_context_mut().opaque_mut());
        if is_command(module)? {
            return self.command(store.as_context_mut(), module_name, module, command);
        }
        let instance = self.instantiate(&mut store, module)?;
        if let Some(initialize) = initializer(&instance, &mut store)? {
            initialized(initialize.call(&mut store, ()))?;
        }
        self.instance(store, module_name, instance)
    }

    /// Defines the functions of a command. `make` makes the function of a type that calls the export
    /// with a name of a new instance.
    pub(super) fn command(
        &mut self,
        mut store: StoreContextMut<'_, T>,
        module_name: &str,
        module: &Module,
        make: impl Fn(&mut StoreContextMut<'_, T>, FuncType, InstancePre<T>, String) -> Func,
    ) -> Result<&mut Self> {
        for export in module.exports() {
            let name = export.name();
            let ExternType::Func(ty) = export.ty() else {
                let added = matches!(
                    name,
                    "memory" | "__indirect_function_table" | "__data_end" | "__heap_base"
                );
                ensure!(added || self.unknown_exports, "command export '{name}' is not a function");
                continue;
            };
            let func = make(&mut store, ty, self.instantiate_pre(module)?, name.to_owned());
            self.define(&store, module_name, name, func)?;
        }
        Ok(self)
    }
}

/// A function that calls the export with this name of a new instance.
fn command<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    ty: FuncType,
    pre: InstancePre<T>,
    export: String,
) -> Func {
    Func::new(store, ty, move |mut caller, params, results| {
        let instance = pre.instantiate(&mut caller)?;
        let func = instance.get_func(&mut caller, &export).context("an export is gone")?;
        func.call(&mut caller, params, results)
    })
}

/// The same with asynchronous calls.
pub(super) fn async_command<T: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    ty: FuncType,
    pre: InstancePre<T>,
    export: String,
) -> Func {
    let command = Arc::new((pre, export));
    Func::new_async(store, ty, move |mut caller, params, results| {
        let command = command.clone();
        Box::new(async move {
            let (pre, export) = &*command;
            let instance = pre.instantiate_async(&mut caller).await?;
            let func = instance.get_func(&mut caller, export).context("an export is gone")?;
            func.call_async(&mut caller, params, results).await
        })
    })
}

/// The function that initialises a reactor, if it has one.
pub(super) fn initializer(
    instance: &Instance,
    mut store: impl AsContextMut,
) -> Result<Option<TypedFunc<(), ()>>> {
    let Some(func) = instance.get_func(&mut store, "_initialize") else { return Ok(None) };
    initialized(func.typed(&store)).map(Some)
}

/// The result of the initialisation of a reactor.
pub(super) fn initialized<R>(result: Result<R>) -> Result<R> {
    result.context("calling the Reactor initialization function")
}

/// Whether a module is a command, and not a reactor.
pub(super) fn is_command(module: &Module) -> Result<bool> {
    let [start, initialize] = ["_start", "_initialize"].map(|name| module.get_export(name));
    for (name, ty) in [("_start", &start), ("_initialize", &initialize)] {
        ensure!(ty.as_ref().is_none_or(|ty| ty.func().is_some()), "`{name}` must be a function");
    }
    if start.is_some() && initialize.is_some() {
        bail!("Program cannot be both a Command and a Reactor");
    }
    Ok(start.is_some())
}
