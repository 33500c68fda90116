//! Instances: modules with their imports resolved, in a store.

mod const_eval;
mod fuel;
mod host_calls;
mod imports;
mod instantiate;

use crate::func::{TypedFunc, WasmParams, WasmResults};
use crate::store::{StoreId, StoreOpaque};
use crate::{AsContext, AsContextMut, Extern, Func, Global, Memory, Module, Table, Tag};
use anyhow::{Context, Result, ensure};

/// An instance in a store. Copies are the same instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    store: StoreId,
    index: usize,
}

impl Instance {
    /// Instantiates a module with these imports, in the order in which the module declares them,
    /// and runs its start function. To import by name, see [`Linker`](crate::Linker).
    ///
    /// # Errors
    /// If the number or a type of the imports is wrong, if an import belongs to another store or
    /// engine, if an active segment does not fit, or if the start function fails.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        let store = store.opaque_mut();
        let index = store.may_drop(|store| instantiate::instantiate(store, module, imports))?;
        Ok(Instance { store: store.id(), index })
    }

    fn index(&self, store: &StoreOpaque) -> Result<usize> {
        ensure!(self.store == store.id(), "an instance of one store was used with another");
        Ok(self.index)
    }

    /// The export with this name. `None` if there is none or the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store).ok()?;
        Extern::exported(store, index, name)
    }

    /// The exported function of this name, if there is one.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported global of this name, if there is one.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The exported table of this name, if there is one.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported memory of this name, if there is one.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported tag of this name, if there is one.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }

    /// The exported function of this name, as a typed function.
    ///
    /// # Errors
    /// If there is no such function or its type does not fit.
    pub fn get_typed_func<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>> {
        let func = self
            .get_func(&mut store, name)
            .with_context(|| format!("there is no exported function `{name}`"))?;
        func.typed(&store).with_context(|| format!("the exported function `{name}`"))
    }

    /// The names and values of all exports, in the order in which the module declares them.
    ///
    /// # Errors
    /// If the instance belongs to another store.
    pub fn exports(&self, store: impl AsContext) -> Result<Vec<(String, Extern)>> {
        let store = store.as_context().opaque();
        let instance = &store.instances[self.index(store)?];
        let exports = &instance.module.info().exports;
        Ok(exports
            .iter()
            .map(|(name, at)| (name.clone(), Extern::of_entity(store, instance, *at)))
            .collect())
    }

    /// The instance's module.
    ///
    /// # Errors
    /// If the instance belongs to another store.
    pub fn module<'a, T: 'static>(
        &self,
        store: &'a impl AsContext<Data = T>,
    ) -> Result<&'a Module> {
        let store = store.as_context().opaque();
        Ok(&store.instances[self.index(store)?].module)
    }
}
