//! [`Linker`]: imports by name.

use crate::func::{Caller, HostFunc, IntoFunc};
use crate::types::{ExternType, FuncType};
use crate::{AsContextMut, Engine, Extern, Func, Global, Instance, Memory, Module};
use crate::{Table, Tag, Val};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Resolves the imports of modules by name. It can contain host functions, which can be used in any
/// store of its engine, and items of one store.
pub struct Linker<T: 'static> {
    engine: Engine,
    definitions: HashMap<(String, String), Definition<T>>,
    shadowing: bool,
}

enum Definition<T: 'static> {
    Extern(Extern),
    Host(Arc<HostFunc<T>>),
}

impl<T: 'static> Clone for Definition<T> {
    fn clone(&self) -> Self {
        match self {
            Definition::Extern(item) => Definition::Extern(*item),
            Definition::Host(func) => Definition::Host(func.clone()),
        }
    }
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            definitions: self.definitions.clone(),
            shadowing: self.shadowing,
        }
    }
}

impl<T: 'static> Linker<T> {
    /// Makes a linker without definitions.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker { engine: engine.clone(), definitions: HashMap::new(), shadowing: false }
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

    fn insert(&mut self, module: &str, name: &str, definition: Definition<T>) -> Result<&mut Self> {
        let key = (module.to_string(), name.to_string());
        if !self.shadowing && self.definitions.contains_key(&key) {
            bail!("`{module}` `{name}` is defined twice");
        }
        self.definitions.insert(key, definition);
        Ok(self)
    }

    /// Defines a name as an item of a store.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn define(
        &mut self,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        self.insert(module, name, Definition::Extern(item.into()))
    }

    /// Defines a name as a closure.
    ///
    /// # Errors
    /// If the name is taken, or the engine has too many types.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let func = func.into_func(&self.engine)?.into_inner();
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// Defines a name as a host function of type `ty`; see [`Func::new`](crate::Func::new).
    ///
    /// # Errors
    /// If the name is taken, or the type belongs to another engine.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        if !ty.engine().same(&self.engine) {
            bail!("the function type belongs to another engine");
        }
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::new(ty, func))))
    }

    /// Defines all exports of an instance under the name `module`.
    ///
    /// # Errors
    /// If a name is taken, or the instance belongs to another store.
    pub fn instance(
        &mut self,
        store: impl AsContextMut<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        for (name, item) in instance.exports(&store)? {
            self.define(module, &name, item)?;
        }
        Ok(self)
    }

    /// The definition of a name in `store`, if there is one.
    ///
    /// # Errors
    /// If a host function cannot be made in the store.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Result<Option<Extern>> {
        let key = (module.to_string(), name.to_string());
        Ok(match self.definitions.get(&key) {
            None => None,
            Some(Definition::Extern(item)) => Some(*item),
            Some(Definition::Host(func)) => {
                let mut store = store.as_context_mut();
                Some(Extern::Func(func.instantiate(store.opaque_mut())?))
            }
        })
    }

    /// Instantiates a module, and finds its imports by name.
    ///
    /// # Errors
    /// If a name is not defined, and for the reasons of [`Instance::new`].
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let mut imports = Vec::with_capacity(module.imports().len());
        for import in module.imports() {
            let item = self.get(&mut store, import.module(), import.name())?;
            imports.push(item.with_context(|| {
                let (module, name, ty) = (import.module(), import.name(), import.ty());
                format!("unknown import: `{module}` `{name}` of type {ty} has not been defined")
            })?);
        }
        Instance::new(store, module, &imports)
    }

    /// Defines every undefined import of `module` as an item of `store` that does nothing: a
    /// function that returns zero or null, a global of zero or null, a table of nulls, a memory of
    /// zeros, a new tag.
    ///
    /// # Errors
    /// If a type has no such value, because it is a reference that cannot be null. Also if the
    /// module belongs to another engine.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            if self.definitions.contains_key(&(from.to_string(), name.to_string())) {
                continue;
            }
            let item = default_value(&mut store, import.ty())?;
            let item = item.with_context(|| {
                format!("unknown import: `{from}` `{name}` of type {} has no default", import.ty())
            })?;
            self.define(from, name, item)?;
        }
        Ok(())
    }

    /// Defines every undefined function import of `module` as a function that traps with a message
    /// that names the import.
    ///
    /// # Errors
    /// If the module belongs to another engine.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            let key = (import.module().to_string(), import.name().to_string());
            let ExternType::Func(ty) = import.ty() else { continue };
            if self.definitions.contains_key(&key) {
                continue;
            }
            let message = format!("unknown import: `{}` `{}` was called", key.0, key.1);
            self.func_new(import.module(), import.name(), ty.clone(), move |_, _, _| {
                bail!("{message}")
            })?;
        }
        Ok(())
    }
}

/// The item of a type that is zero, null, or as small as the type allows.
fn default_value<T: 'static>(
    mut store: impl AsContextMut<Data = T>,
    ty: &ExternType,
) -> Result<Option<Extern>> {
    Ok(match ty {
        ExternType::Func(ty) => {
            let results = ty.results().map(|ty| Val::default_for_ty(&ty));
            let Some(values) = results.collect::<Option<Vec<_>>>() else { return Ok(None) };
            let func = Func::new(store, ty.clone(), move |_, _, results| {
                results.copy_from_slice(&values);
                Ok(())
            })?;
            Some(func.into())
        }
        ExternType::Global(ty) => match Val::default_for_ty(ty.content()) {
            Some(value) => Some(Global::new(store, ty.clone(), value)?.into()),
            None => None,
        },
        ExternType::Table(ty) if ty.element().is_nullable() => {
            let null = Val::null_ref(ty.element().heap_type());
            Some(Table::new(&mut store, ty.clone(), null)?.into())
        }
        ExternType::Table(_) => None,
        ExternType::Memory(ty) => Some(Memory::new(store, ty.clone())?.into()),
        ExternType::Tag(ty) => Some(Tag::new(store, ty)?.into()),
    })
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linker").field("names", &self.definitions.len()).finish_non_exhaustive()
    }
}
