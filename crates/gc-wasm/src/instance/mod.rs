//! Instances: modules with their imports resolved, in a store.

mod const_eval;
mod fuel;
mod host_calls;
mod imports;
mod instantiate;
mod pre;

pub(crate) use pre::Definition;
pub use pre::InstancePre;

use crate::func::{TypedFunc, WasmParams, WasmResults};
use crate::store::{StoreId, StoreOpaque};
use crate::{
    AsContextMut, Export, Extern, Func, Global, Memory, Module, ModuleExport, StoreContext,
    StoreContextMut, Table, Tag,
};
use anyhow::{Context, Result};
use imports::ImportedType;
use instantiate::{check_engine, instantiate};

/// An instance in a store. Copies are the same instance.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Instance, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (memory (export "memory") 1) (func (export "f")))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let names: Vec<&str> = instance.exports(&mut store).map(|export| export.name()).collect();
/// assert_eq!(names, ["memory", "f"]);
/// assert_eq!(instance.get_memory(&mut store, "memory").unwrap().size(&store), 1);
/// # gc_wasm::error::Ok(())
/// ```
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
    /// If the number or a type of the imports is wrong, if an import belongs to another store or the
    /// module to another engine, if an active segment does not fit, if there is not enough memory,
    /// or if the start function fails. If the store allows only
    /// [asynchronous calls](Instance::new_async).
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let store = store.as_context_mut().into_opaque();
        store.check_sync_call()?;
        Instance::new_in(store, module, imports)
    }

    /// Like [`new`](Instance::new), on a stack of its own, so that the start function can wait for
    /// futures. See [`Func::call_async`](crate::Func::call_async).
    ///
    /// # Errors
    /// As [`new`](Instance::new). If there is no stack for it.
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let store = store.as_context_mut().into_opaque();
        store.on_fiber(|store| Instance::new_in(store, module, imports)).await?
    }

    /// Instantiates a module on the running stack.
    fn new_in(store: &mut StoreOpaque, module: &Module, imports: &[Extern]) -> Result<Instance> {
        check_engine(store.engine(), module)?;
        imports::check_count(store, module, imports)?;
        imports::check_store(store, imports)?;
        for (n, given) in imports.iter().enumerate() {
            imports::check(module, n, &ImportedType::of_item(store, given))?;
        }
        let index = store.may_drop(|store| instantiate(store, module, imports))?;
        Ok(Instance::from_index(store, index))
    }

    fn from_index(store: &StoreOpaque, index: usize) -> Instance {
        Instance { store: store.id(), index }
    }

    fn index(&self, store: &StoreOpaque) -> usize {
        assert!(self.store == store.id(), "an instance was used with the wrong store");
        self.index
    }

    /// The export with this name, if there is one.
    ///
    /// # Panics
    /// If the instance belongs to another store. This is so for all methods.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let store = store.as_context_mut().into_opaque();
        Extern::exported(store, self.index(store), name)
    }

    /// The export that [`Module::get_export_index`](crate::Module::get_export_index) has looked up.
    /// `None` if that is one of another module.
    pub fn get_module_export(
        &self,
        mut store: impl AsContextMut,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let store = store.as_context_mut().into_opaque();
        Extern::looked_up(store, self.index(store), export)
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
            .with_context(|| format!("failed to find function export `{name}`"))?;
        let typed = func.typed(&store);
        typed.with_context(|| format!("failed to convert function `{name}` to given type"))
    }

    /// All exports, in the order in which the module declares them.
    pub fn exports<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        let store: &StoreOpaque = store.into().into_opaque();
        let instance = &store.instances[self.index(store)];
        let exports = instance.module.info().exports.iter();
        exports.map(|(name, at)| Export::new(name, Extern::of_entity(store, instance, *at)))
    }

    /// The instance's module.
    pub fn module<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a Module {
        let store = store.into().opaque();
        &store.instances[self.index(store)].module
    }
}
