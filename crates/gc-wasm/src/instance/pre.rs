//! [`InstancePre`]: a module whose imports are resolved and checked.

use super::Instance;
use super::imports::{self, ImportedType};
use super::instantiate::{check_engine, instantiate};
use crate::func::HostFunc;
use crate::store::StoreOpaque;
use crate::{AsContextMut, Engine, Extern, Module};
use anyhow::Result;
use std::fmt;
use std::sync::Arc;

/// What an import is defined as.
pub(crate) enum Definition<T> {
    /// An item of a store, and its type when it was defined. Since then it can only have grown.
    Item(Extern, ImportedType),
    /// A host function, which each store gets its own of.
    Host(Arc<HostFunc<T>>),
}

impl<T> Clone for Definition<T> {
    fn clone(&self) -> Self {
        match self {
            Definition::Item(item, ty) => Definition::Item(*item, ty.clone()),
            Definition::Host(func) => Definition::Host(func.clone()),
        }
    }
}

impl<T: 'static> Definition<T> {
    /// Panics if the item belongs to another store.
    pub(crate) fn of_item(store: &StoreOpaque, item: Extern) -> Definition<T> {
        Definition::Item(item, ImportedType::of_item(store, &item))
    }

    /// The same with its type of now, if it is an item of `store`.
    pub(crate) fn refreshed(&self, store: &StoreOpaque) -> Definition<T> {
        match self {
            Definition::Item(item, _) if item.store() == store.id() => {
                Definition::of_item(store, *item)
            }
            definition => definition.clone(),
        }
    }

    /// What this is in `store`.
    ///
    /// Panics if it belongs to another engine.
    pub(crate) fn in_store(&self, store: &mut StoreOpaque) -> Extern {
        match self {
            Definition::Item(item, _) => *item,
            Definition::Host(func) => Extern::Func(func.instantiate(store)),
        }
    }

    fn host_function(&self) -> Option<&HostFunc<T>> {
        match self {
            Definition::Item(..) => None,
            Definition::Host(func) => Some(func),
        }
    }

    fn ty(&self) -> ImportedType {
        match self {
            Definition::Item(_, ty) => ty.clone(),
            Definition::Host(func) => ImportedType::Func(func.ty().registered().clone()),
        }
    }
}

/// A module whose imports are resolved and whose imports' types are checked, so that instances can
/// be made of it quickly. [`Linker::instantiate_pre`](crate::Linker::instantiate_pre) makes it. If
/// the imports are host functions, the instances can belong to any stores of the engine.
///
/// # Examples
/// ```
/// use gc_wasm::{Caller, Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "id", |caller: Caller<'_, u32>| *caller.data())?;
/// let module = Module::new(
///     &engine,
///     r#"(module (import "host" "id" (func $id (result i32))) (export "id" (func $id)))"#,
/// )?;
/// let pre = linker.instantiate_pre(&module)?;
/// for id in 0..10 {
///     let mut store = Store::new(&engine, id);
///     let instance = pre.instantiate(&mut store)?;
///     let get = instance.get_typed_func::<(), u32>(&mut store, "id")?;
///     assert_eq!(get.call(&mut store, ())?, id);
/// }
/// # gc_wasm::error::Ok(())
/// ```
pub struct InstancePre<T> {
    module: Module,
    definitions: Arc<[Definition<T>]>,
    /// How many definitions are host functions.
    host_functions: usize,
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        InstancePre {
            module: self.module.clone(),
            definitions: self.definitions.clone(),
            host_functions: self.host_functions,
        }
    }
}

impl<T: 'static> InstancePre<T> {
    /// Checks the types of the definitions, one for each import of the module.
    pub(crate) fn new(
        engine: &Engine,
        module: &Module,
        definitions: Arc<[Definition<T>]>,
    ) -> Result<InstancePre<T>> {
        check_engine(engine, module)?;
        for (n, definition) in definitions.iter().enumerate() {
            imports::check(module, n, &definition.ty())?;
        }
        let host_functions = definitions.iter().filter_map(Definition::host_function).count();
        Ok(InstancePre { module: module.clone(), definitions, host_functions })
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Makes an instance and runs the module's start function.
    ///
    /// # Errors
    /// If the store belongs to another engine, if an import is an item of another store, if an
    /// active segment does not fit, if there is not enough memory, or if the start function fails. If
    /// the store allows only [asynchronous calls](InstancePre::instantiate_async), for example
    /// because an import is one.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let store = store.as_context_mut().into_opaque();
        store.check_sync_call()?;
        let imports = self.imports(store)?;
        // An import may be an asynchronous function.
        store.check_sync_call()?;
        self.instantiate_in(store, &imports)
    }

    /// Like [`instantiate`](InstancePre::instantiate), on a stack of its own, so that the start
    /// function can wait for futures. See [`Func::call_async`](crate::Func::call_async).
    ///
    /// # Errors
    /// As [`instantiate`](InstancePre::instantiate). If there is no stack for it.
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let store = store.as_context_mut().into_opaque();
        let imports = self.imports(store)?;
        store.on_fiber(|store| self.instantiate_in(store, &imports)).await?
    }

    /// The imports in a store of the module's engine.
    fn imports(&self, store: &mut StoreOpaque) -> Result<Vec<Extern>> {
        check_engine(store.engine(), &self.module)?;
        let mut made = Vec::with_capacity(self.host_functions);
        if self.host_functions > 0 {
            // The code first, so that the functions find their trampolines.
            store.add_code(self.module.code())?;
            let mut hosts: Vec<&HostFunc<T>> = Vec::with_capacity(self.host_functions);
            hosts.extend(self.definitions.iter().filter_map(Definition::host_function));
            let owner = self.definitions.clone();
            HostFunc::instantiate_all(store, &hosts, owner, |func| made.push(func));
        }
        let mut made = made.into_iter();
        let imports: Vec<Extern> = self
            .definitions
            .iter()
            .map(|definition| match definition {
                Definition::Item(item, _) => *item,
                Definition::Host(_) => Extern::Func(made.next().expect("there is one for each")),
            })
            .collect();
        imports::check_store(store, &imports)?;
        Ok(imports)
    }

    /// Makes an instance on the running stack.
    fn instantiate_in(&self, store: &mut StoreOpaque, imports: &[Extern]) -> Result<Instance> {
        let index = store.may_drop(|store| instantiate(store, &self.module, imports))?;
        Ok(Instance::from_index(store, index))
    }
}

impl<T> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre").field("module", &self.module).finish_non_exhaustive()
    }
}
