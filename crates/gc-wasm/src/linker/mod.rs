//! [`Linker`]: imports by name.

mod asynchronous;
mod modules;
mod unknown_import;

pub use unknown_import::UnknownImportError;

use crate::func::{Caller, HostFunc, IntoFunc};
use crate::instance::{Definition, InstancePre};
use crate::store::StoreOpaque;
use crate::types::{ExternType, FuncType, ImportType};
use crate::{AsContext, AsContextMut, Engine, Extern, Func, Instance, Module, Val, ValRaw};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::HashMap;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Resolves the imports of modules by name. It can contain host functions, which can be used in any
/// store of its engine, and items of one store.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "double", |n: i32| n * 2)?;
/// let module = Module::new(
///     &engine,
///     r#"(module (import "host" "double" (func $double (param i32) (result i32)))
///         (func (export "run") (result i32) (call $double (i32.const 21))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
/// assert_eq!(run.call(&mut store, ())?, 42);
/// # gc_wasm::error::Ok(())
/// ```
pub struct Linker<T> {
    engine: Engine,
    /// The definitions by their two names.
    definitions: HashMap<String, HashMap<String, Definition<T>>>,
    shadowing: bool,
    unknown_exports: bool,
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            definitions: self.definitions.clone(),
            shadowing: self.shadowing,
            unknown_exports: self.unknown_exports,
        }
    }
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Self {
        Linker::new(&Engine::default())
    }
}

impl<T> Linker<T> {
    /// Makes a linker without definitions.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker {
            engine: engine.clone(),
            definitions: HashMap::new(),
            shadowing: false,
            unknown_exports: false,
        }
    }

    /// The linker's engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Sets whether a name may be defined again. By default that is an error.
    pub fn allow_shadowing(&mut self, yes: bool) -> &mut Self {
        self.shadowing = yes;
        self
    }

    /// Sets whether [`module`](Linker::module) accepts commands that export other things than
    /// functions. By default that is an error, except for what compilers usually add.
    pub fn allow_unknown_exports(&mut self, yes: bool) -> &mut Self {
        self.unknown_exports = yes;
        self
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition<T>) -> Result<&mut Self> {
        let taken = !self.shadowing && self.find(module, name).is_some();
        ensure!(!taken, "import of `{module}::{name}` defined twice");
        if !self.definitions.contains_key(module) {
            self.definitions.insert(module.to_owned(), HashMap::new());
        }
        let names = self.definitions.get_mut(module).expect("it was just inserted");
        names.insert(name.to_owned(), definition);
        Ok(self)
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition<T>> {
        self.definitions.get(module)?.get(name)
    }

    fn find_import(&self, import: &ImportType<'_>) -> Result<&Definition<T>, UnknownImportError> {
        let found = self.find(import.module(), import.name());
        found.ok_or_else(|| UnknownImportError::new(import))
    }

    /// The definitions of all imports of a module, in order. It looks at their names, and not at
    /// their types.
    fn find_imports<'a>(
        &'a self,
        module: &'a Module,
    ) -> impl Iterator<Item = Result<&'a Definition<T>>> {
        module.info().imports.iter().enumerate().map(|(n, import)| {
            let found = self.find(&import.module, &import.name);
            found.map_or_else(
                || {
                    let import = module.imports().nth(n).expect("there is such an import");
                    Err(UnknownImportError::new(&import).into())
                },
                Ok,
            )
        })
    }

    /// Defines a name as what another name is defined as.
    ///
    /// # Errors
    /// If the new name is taken, or the old one is not defined.
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        let Some(definition) = self.find(module, name).cloned() else {
            bail!("no item named `{module}::{name}` defined");
        };
        self.insert(as_module, as_name, definition)
    }

    /// Defines all names of `module` under the name `as_module` too.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        for (name, definition) in self.definitions.get(module).cloned().unwrap_or_default() {
            self.insert(as_module, &name, definition)?;
        }
        Ok(())
    }
}

impl<T: 'static> Linker<T> {
    /// Panics if a store belongs to another engine.
    fn check_store(&self, store: &StoreOpaque) {
        assert!(
            Engine::same(&self.engine, store.engine()),
            "the store belongs to another engine than the linker"
        );
    }

    /// Defines a name as an item of a store.
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the item belongs to another store, or the store to another engine.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let store = store.as_context().opaque();
        self.check_store(store);
        let definition = Definition::of_item(store, item.into());
        self.insert(module, name, definition)
    }

    /// Defines a name as a closure.
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the engine has too many types.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let func = func.into_func(&self.engine).into_inner();
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// Defines a name as a host function of type `ty`; see [`Func::new`].
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        assert!(
            Engine::same(ty.engine(), &self.engine),
            "the function type belongs to another engine"
        );
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::new(ty, func))))
    }

    /// Defines a name as a host function of type `ty` that gets raw values; see
    /// [`Func::new_unchecked`].
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    ///
    /// # Safety
    /// As for [`Func::new_unchecked`].
    #[allow(unsafe_code)]
    pub unsafe fn func_new_unchecked(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        assert!(
            Engine::same(ty.engine(), &self.engine),
            "the function type belongs to another engine"
        );
        // SAFETY: as the caller promises.
        let func = unsafe { HostFunc::new_unchecked(ty, func) };
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// All definitions, in `store`: their two names and what they are.
    ///
    /// # Panics
    /// If the store belongs to another engine.
    pub fn iter<'a: 'p, 'p>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'p,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'p {
        self.check_store(store.as_context_mut().opaque_mut());
        let all = self.definitions.iter().flat_map(|(module, names)| {
            names.iter().map(move |(name, definition)| (&**module, &**name, definition))
        });
        all.map(move |(module, name, definition)| {
            (module, name, definition.in_store(store.as_context_mut().opaque_mut()))
        })
    }

    /// The definition of a name, in `store`.
    ///
    /// # Errors
    /// If the name is not defined.
    ///
    /// # Panics
    /// If the store belongs to another engine.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Result<Extern> {
        let store = store.as_context_mut().into_opaque();
        self.check_store(store);
        let definition = self.find(module, name);
        let definition =
            definition.with_context(|| format!("missing definition for `{module}::{name}`"))?;
        Ok(definition.in_store(store))
    }

    /// The definition of an import, in `store`, if there is one.
    ///
    /// # Panics
    /// If the store belongs to another engine.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name()).ok()
    }

    /// The default function of `module`: the function with an empty name, or else `_start`, or else a
    /// function that does nothing.
    ///
    /// # Errors
    /// If something with such a name is not a function.
    ///
    /// # Panics
    /// If the store belongs to another engine.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        for name in ["", "_start"] {
            if let Ok(item) = self.get(&mut store, module, name) {
                let what =
                    || format!("the default export `{name}` of `{module}` is not a function");
                return item.into_func().with_context(what);
            }
        }
        Ok(Func::wrap(store, || {}))
    }

    /// Instantiates a module, and finds its imports by name.
    ///
    /// # Errors
    /// If a name is not defined ([`UnknownImportError`]), and for the reasons of [`Instance::new`].
    ///
    /// An import that is an item of another store is an error too.
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let pre = self.instantiate_pre_in(store.as_context_mut().into_opaque(), module)?;
        pre.instantiate(store)
    }

    /// Finds the imports of a module and checks their types. Items of `store` count as they are now.
    fn instantiate_pre_in(&self, store: &StoreOpaque, module: &Module) -> Result<InstancePre<T>> {
        let definitions =
            self.find_imports(module).map(|definition| Ok(definition?.refreshed(store)));
        InstancePre::new(&self.engine, module, definitions.collect::<Result<_>>()?)
    }

    /// Finds the imports of a module by name and checks their types, so that instances can be made
    /// of it without doing so again. A memory or table counts with the size that it had when it was
    /// defined.
    ///
    /// # Errors
    /// If a name is not defined ([`UnknownImportError`]) or an import has another type, or if the
    /// module belongs to another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        let definitions = self.find_imports(module).map(|definition| Ok(definition?.clone()));
        InstancePre::new(&self.engine, module, definitions.collect::<Result<_>>()?)
    }

    /// Defines every undefined import of `module` as an item of `store` that does nothing: a
    /// function that returns zero or null, a global of zero or null, a table of nulls, a memory of
    /// zeros, a new tag.
    ///
    /// # Errors
    /// If a type has no such value, because it is a reference that cannot be null.
    ///
    /// # Panics
    /// If the module or the store belongs to another engine.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        for import in module.imports() {
            if self.find_import(&import).is_ok() {
                continue;
            }
            let item = import.ty().default_value(&mut store).with_context(|| {
                let (module, name, ty) = (import.module(), import.name(), import.ty());
                format!("no default value exists for `{module}::{name}` with type {ty}")
            })?;
            self.define(&store, import.module(), import.name(), item)?;
        }
        Ok(())
    }

    /// Defines every undefined function import of `module` as a function that fails with an
    /// [`UnknownImportError`] that names the import.
    ///
    /// # Errors
    /// Never, because only names are defined that are free.
    ///
    /// # Panics
    /// If the module belongs to another engine.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            let ExternType::Func(ty) = import.ty() else { continue };
            if let Err(unknown) = self.find_import(&import) {
                self.func_new(import.module(), import.name(), ty, move |_, _, _| {
                    Err(unknown.clone().into())
                })?;
            }
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: usize = self.definitions.values().map(HashMap::len).sum();
        f.debug_struct("Linker").field("names", &names).finish_non_exhaustive()
    }
}
