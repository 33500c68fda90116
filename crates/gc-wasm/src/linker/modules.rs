//! Modules in a linker: their exports are defined, and instances are made as needed.

use super::Linker;
use crate::{AsContextMut, Engine, ExternType, Func, Instance, Module};
use anyhow::{Context as _, Result, bail, ensure};

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
        let mut store = store.as_context_mut();
        assert!(
            Engine::same(self.engine(), store.engine()),
            "the store belongs to another engine than the linker"
        );
        if is_command(module)? {
            return self.command(store, module_name, module);
        }
        let instance = self.instantiate(&mut store, module)?;
        if let Some(initialize) = instance.get_func(&mut store, "_initialize") {
            let initialize = initialize.typed::<(), ()>(&store);
            initialize
                .and_then(|initialize| initialize.call(&mut store, ()))
                .context("calling the Reactor initialization function")?;
        }
        self.instance(store, module_name, instance)
    }

    /// Defines the functions of a command.
    fn command(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
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
            let (pre, export) = (self.instantiate_pre(module)?, name.to_owned());
            let func = Func::new(&mut store, ty, move |mut caller, params, results| {
                let instance = pre.instantiate(&mut caller)?;
                let func = instance.get_func(&mut caller, &export).context("an export is gone")?;
                func.call(&mut caller, params, results)
            });
            self.define(&store, module_name, name, func)?;
        }
        Ok(self)
    }
}

/// Whether a module is a command, and not a reactor.
fn is_command(module: &Module) -> Result<bool> {
    let [start, initialize] = ["_start", "_initialize"].map(|name| module.get_export(name));
    for (name, ty) in [("_start", &start), ("_initialize", &initialize)] {
        ensure!(ty.as_ref().is_none_or(|ty| ty.func().is_some()), "`{name}` must be a function");
    }
    if start.is_some() && initialize.is_some() {
        bail!("Program cannot be both a Command and a Reactor");
    }
    Ok(start.is_some())
}
