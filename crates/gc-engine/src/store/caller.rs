//! [`Caller`]: what a host function gets of the store whose code called it.

use super::scope::in_scope;
use super::{AsStore, AsStoreMut, StoreInner, Token};
use crate::{
    Code, Engine, Handle, Params, Results, Rooted, Signature, StructRef, Type, TypedFunction, Value,
};
use anyhow::Result;
use std::fmt;
use std::marker::PhantomData;

/// The store whose code called a host function, with data of type `T`.
///
/// # Examples
/// A host function calls a compiled function:
///
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Caller, Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut store = Store::new(&engine, ())?;
/// store.func_wrap("twice", |mut caller: Caller<'_, ()>, n: i64| {
///     let double = caller.function::<i64, i64>("double")?;
///     let twice = double.call(&mut caller, n)?;
///     double.call(&mut caller, twice)
/// })?;
///
/// let mut module = Module::new(&engine);
/// let twice = module.import("twice", [Type::I64], [Type::I64])?;
/// module.function("double", [Type::I64], [Type::I64], |f| {
///     let n = f.param(0);
///     let sum = f.add(n, n);
///     f.ret(&[sum]);
/// })?;
/// module.function("run", [], [Type::I64], |f| {
///     let three = f.i64(3);
///     let result = f.call(&twice, &[three]);
///     f.ret(&result);
/// })?;
/// store.load(&module.compile()?)?;
/// assert_eq!(store.function::<(), i64>("run")?.call(&mut store, ())?, 12);
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Caller<'a, T: 'static> {
    inner: &'a mut StoreInner,
    data: PhantomData<T>,
}

impl<'a, T: 'static> Caller<'a, T> {
    /// The data of the store must be a `T`.
    pub(super) fn new(inner: &'a mut StoreInner) -> Caller<'a, T> {
        Caller { inner, data: PhantomData }
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.inner.data()
    }

    /// The host's data, mutable.
    pub fn data_mut(&mut self) -> &mut T {
        self.inner.data_mut()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.inner.engine()
    }

    /// The function with this name, as [`Store::function`](crate::Store::function) returns it.
    ///
    /// # Errors
    /// As [`Store::function`](crate::Store::function).
    pub fn function<P: Params, R: Results>(&self, name: &str) -> Result<TypedFunction<P, R>> {
        TypedFunction::new(self.inner, name)
    }

    /// The type of the function with this name, as [`Store::signature`](crate::Store::signature) returns it.
    pub fn signature(&self, name: &str) -> Option<&Signature> {
        self.inner.signature_of(name)
    }

    /// Declares a function that is defined later, as [`Store::declare`](crate::Store::declare) does.
    ///
    /// # Errors
    /// As [`Store::declare`](crate::Store::declare).
    pub fn declare(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<()> {
        self.inner.declare(name, Signature::new(params, results))
    }

    /// Loads code, as [`Store::load`](crate::Store::load) does.
    ///
    /// # Errors
    /// As [`Store::load`](crate::Store::load).
    pub fn load(&mut self, code: &Code) -> Result<()> {
        self.inner.load(code, false)
    }

    /// Loads code and replaces functions, as [`Store::replace`](crate::Store::replace) does.
    ///
    /// # Errors
    /// As [`Store::replace`](crate::Store::replace).
    pub fn replace(&mut self, code: &Code) -> Result<()> {
        self.inner.load(code, true)
    }

    /// The number of pieces of code, as [`Store::pieces`](crate::Store::pieces) returns it.
    pub fn pieces(&self) -> usize {
        self.inner.pieces()
    }

    /// The value of a global, as [`Store::global`](crate::Store::global) returns it.
    ///
    /// # Errors
    /// As [`Store::global`](crate::Store::global).
    pub fn global<V: Value>(&mut self, name: &str) -> Result<V> {
        self.inner.read_global(name)
    }

    /// Overwrites a global, as [`Store::set_global`](crate::Store::set_global) does.
    ///
    /// # Errors
    /// As [`Store::set_global`](crate::Store::set_global).
    pub fn set_global<V: Value>(&mut self, name: &str, value: V) -> Result<()> {
        self.inner.write_global(name, value)
    }

    /// Throws an object from the host function: the function must return the error that this returns.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Caller, Collector, Control, Engine, Module, Store, Type, Val};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// let failure = module.struct_type("failure", [Type::I64])?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.func_wrap("fail", {
    ///     let failure = failure.clone();
    ///     move |mut caller: Caller<'_, ()>, n: i64| -> anyhow::Result<()> {
    ///         let object = failure.new_object(&mut caller, &[Val::I64(n)])?;
    ///         Err(caller.throw(&object))
    ///     }
    /// })?;
    /// let fail = module.import("fail", [Type::I64], [])?;
    /// module.function("run", [Type::I64], [Type::I64], |f| {
    ///     let (n, zero) = (f.param(0), f.i64(0));
    ///     f.try_catch(
    ///         |f| drop(f.call(&fail, &[n])),
    ///         &failure,
    ///         |f, object| {
    ///             let number = f.struct_get(&failure, object, 0);
    ///             f.ret(&[number]);
    ///         },
    ///     );
    ///     f.ret(&[zero]);
    /// })?;
    /// store.load(&module.compile()?)?;
    /// assert_eq!(store.function::<i64, i64>("run")?.call(&mut store, 7)?, 7);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    #[must_use = "the host function must return it"]
    pub fn throw(&mut self, object: &impl Handle<StructRef>) -> anyhow::Error {
        self.inner.throw(object)
    }

    /// Takes the object that was thrown when a call last failed, as
    /// [`Store::take_pending_exception`](crate::Store::take_pending_exception) does.
    ///
    /// # Errors
    /// As [`Store::take_pending_exception`](crate::Store::take_pending_exception).
    pub fn take_pending_exception(&mut self) -> Result<Option<Rooted<StructRef>>> {
        self.inner.take_exception()
    }

    /// Runs `run` in a scope of its own, as [`Store::scope`](crate::Store::scope) does.
    pub fn scope<R>(&mut self, run: impl FnOnce(&mut Caller<'a, T>) -> R) -> R {
        in_scope(self, |caller| caller.inner, run)
    }

    /// Collects all garbage, as [`Store::collect`](crate::Store::collect) does.
    ///
    /// # Errors
    /// As [`Store::collect`](crate::Store::collect).
    pub fn collect(&mut self) -> Result<bool> {
        self.inner.collect()
    }
}

impl<T> AsStore for Caller<'_, T> {
    type Data = T;

    fn inner_with(&self, _: Token) -> &StoreInner {
        self.inner
    }
}

impl<T> AsStoreMut for Caller<'_, T> {
    fn inner_mut_with(&mut self, _: Token) -> &mut StoreInner {
        self.inner
    }
}

impl<T> fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
