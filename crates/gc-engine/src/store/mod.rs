//! [`Store`]: a heap, the code that was loaded into it, and the host's data.

mod access;
mod caller;
mod cells;
mod dynamic;
mod functions;
mod host;
mod inner;
mod load;
mod piece;
mod reference;
mod retired;
mod scope;
mod types;

pub use access::{AsStore, AsStoreMut};
pub(crate) use access::{Inner, Token};
pub use caller::Caller;
pub use host::{HostFunction, HostResults};

pub(crate) use functions::SlotId;
pub(crate) use inner::StoreInner;
#[cfg(feature = "compiler")]
pub(crate) use piece::word_offset;

use crate::{
    ArrayType, Code, Engine, Params, Results, Rooted, Signature, StructRef, StructType, Type,
    TypedFunction, Val, Value,
};
use anyhow::{Context as _, Result};
use gc_jit::{InterruptHandle, JitStore as _};
use gc_runtime::{GcLeft, GcStats, GcStore};
use gc_types::VMGcRef;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A heap of an engine's collector, with the code that uses it, the host's functions, and data of the
/// host.
///
/// A store has functions by name. [`load`](Store::load) adds those of compiled code, and
/// [`func_wrap`](Store::func_wrap) adds a function of the host. Code calls the functions of other code
/// and of the host through the store's table of names, so a function can be
/// [replaced](Store::replace) while the program runs.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::generational())?;
/// let mut module = Module::new(&engine);
/// let cell = module.struct_type("cell", [Type::I64])?;
/// module.function("garbage", [Type::I64], [], |f| {
///     let value = f.param(0);
///     f.struct_new(&cell, &[value]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
///
/// store.function::<i64, ()>("garbage")?.call(&mut store, 1)?;
/// assert_eq!(store.stats().allocations, 1);
/// store.collect()?;
/// assert_eq!(store.stats().live_objects, 0);
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Store<T: 'static> {
    inner: StoreInner,
    data: PhantomData<T>,
}

impl<T: Send + Sync + 'static> Store<T> {
    /// Creates a store with an empty heap, without functions. `data` is for the host's functions.
    ///
    /// # Errors
    /// If the engine's code needs host calls of an embedder that has a store of its own
    /// ([`build_with`](crate::EngineBuilder::build_with)), or if the system refuses the memory.
    pub fn new(engine: &Engine, data: T) -> Result<Store<T>> {
        let inner = StoreInner::new(engine, Box::new(data))?;
        Ok(Store { inner, data: PhantomData })
    }

    /// Adds a function of the host, which compiled code calls by this name. Its parameters are a
    /// [`Caller`] and up to seven [`Value`](crate::Value)s. Its result is a value, a tuple of values,
    /// nothing, or a `Result` with one of these. An error ends the call of compiled code: the host that
    /// called gets this error.
    ///
    /// # Errors
    /// If the store already has a function with this name, or expects one with other types.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use anyhow::ensure;
    /// use gc_engine::{Caller, Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut store = Store::new(&engine, Vec::<i64>::new())?;
    /// store.func_wrap("push", |mut caller: Caller<'_, Vec<i64>>, n: i64| {
    ///     ensure!(n >= 0, "{n} is negative");
    ///     caller.data_mut().push(n);
    ///     Ok(caller.data().len() as i32)
    /// })?;
    ///
    /// let mut module = Module::new(&engine);
    /// let push = module.import("push", [Type::I64], [Type::I32])?;
    /// module.function("run", [Type::I64], [Type::I32], |f| {
    ///     let n = f.param(0);
    ///     let count = f.call(&push, &[n]);
    ///     f.ret(&count);
    /// })?;
    /// store.load(&module.compile()?)?;
    ///
    /// let run = store.function::<i64, i32>("run")?;
    /// assert_eq!(run.call(&mut store, 5)?, 1);
    /// let error = run.call(&mut store, -1).unwrap_err();
    /// assert_eq!(error.root_cause().to_string(), "-1 is negative");
    /// assert_eq!(store.data(), &[5]);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn func_wrap<P, R>(
        &mut self,
        name: &str,
        function: impl HostFunction<T, P, R>,
    ) -> Result<()> {
        let signature = Signature::new(function.params(), function.results());
        self.inner.define_host(name, signature, host::Host::new(function))
    }

    /// Adds a function that is compiled when it is first called. `compile` returns code that has a
    /// function with this name, these parameters and these results.
    ///
    /// # Errors
    /// As for [`func_wrap`](Store::func_wrap).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut store = Store::new(&engine, 0)?;
    /// store.define_lazily("seven", [], [Type::I64], |mut caller| {
    ///     *caller.data_mut() += 1;
    ///     let mut module = Module::new(caller.engine());
    ///     module.function("seven", [], [Type::I64], |f| {
    ///         let seven = f.i64(7);
    ///         f.ret(&[seven]);
    ///     })?;
    ///     module.compile()
    /// })?;
    /// let seven = store.function::<(), i64>("seven")?;
    /// assert_eq!(*store.data(), 0, "it is not compiled");
    /// assert_eq!((seven.call(&mut store, ())?, seven.call(&mut store, ())?), (7, 7));
    /// assert_eq!(*store.data(), 1, "it was compiled once");
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn define_lazily(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
        compile: impl Fn(Caller<'_, T>) -> Result<Code> + Send + Sync + 'static,
    ) -> Result<()> {
        let signature = Signature::new(params, results);
        let host = host::Host::lazy(&signature, compile);
        self.inner.define_host(name, signature, host)
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.inner.data()
    }

    /// The host's data, mutable.
    pub fn data_mut(&mut self) -> &mut T {
        self.inner.data_mut()
    }
}

impl<T: 'static> Store<T> {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.inner.engine()
    }

    /// Loads code: adds its functions to those of the store. The functions that it
    /// [imports](Code::imports) must be in the store. A piece of code takes some KiB and two memory mappings of
    /// the process (Linux allows a process 65,530 of them, unless it is configured otherwise).
    ///
    /// # Errors
    /// If the code was compiled for another kind of heap than this engine's (the error names the
    /// difference), if the store already has a function with the name of one of the code's, if it lacks
    /// a function that the code imports, if a function or a type has another signature or layout than
    /// the one of the same name in the store, or if the system refuses the memory. No function is added
    /// then.
    ///
    /// # Examples
    /// Code that was compiled later calls functions that were compiled before:
    ///
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut store = Store::new(&engine, ())?;
    ///
    /// let mut module = Module::new(&engine);
    /// module.function("double", [Type::I64], [Type::I64], |f| {
    ///     let n = f.param(0);
    ///     let twice = f.add(n, n);
    ///     f.ret(&[twice]);
    /// })?;
    /// store.load(&module.compile()?)?;
    ///
    /// let mut module = Module::new(&engine);
    /// let double = module.import("double", [Type::I64], [Type::I64])?;
    /// module.function("quadruple", [Type::I64], [Type::I64], |f| {
    ///     let n = f.param(0);
    ///     let twice = f.call(&double, &[n]);
    ///     let result = f.call(&double, &twice);
    ///     f.ret(&result);
    /// })?;
    /// store.load(&module.compile()?)?;
    /// assert_eq!(store.function::<i64, i64>("quadruple")?.call(&mut store, 5)?, 20);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn load(&mut self, code: &Code) -> Result<()> {
        self.inner.load(code, false)
    }

    /// Loads several pieces of code, which may import functions of each other. Otherwise it is like
    /// [`load`](Store::load) for each. May collect.
    ///
    /// # Errors
    /// As for [`load`](Store::load), also if two pieces have a function of the same name. No function of any piece is
    /// added then, but the store may have types of the first ones.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
    ///
    /// // Whether a number is even or odd. Each piece imports the function of the other.
    /// let engine = Engine::new(Collector::copying())?;
    /// let piece = |own: &str, other: &str, of_zero: i32| {
    ///     let mut module = Module::new(&engine);
    ///     let other = module.import(other, [Type::I32], [Type::I32])?;
    ///     module.function(own, [Type::I32], [Type::I32], |f| {
    ///         let n = f.param(0);
    ///         let result = f.if_value(Type::I32, n, |f| {
    ///             let one = f.i32(1);
    ///             let less = f.sub(n, one);
    ///             f.call(&other, &[less])[0]
    ///         }, |f| f.i32(of_zero));
    ///         f.ret(&[result]);
    ///     })?;
    ///     module.compile()
    /// };
    /// let (even, odd) = (piece("even", "odd", 1)?, piece("odd", "even", 0)?);
    /// let mut store = Store::new(&engine, ())?;
    /// store.load_all([&even, &odd])?;
    /// assert_eq!(store.function::<i32, i32>("even")?.call(&mut store, 7)?, 0);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn load_all<'a>(&mut self, codes: impl IntoIterator<Item = &'a Code>) -> Result<()> {
        let codes: Vec<_> = codes.into_iter().collect();
        self.inner.load_all(&codes, false)
    }

    /// Loads code like [`load`](Store::load), but its functions replace those of the same names. All
    /// code that imports them, and every [`TypedFunction`], calls the new ones from now on. Calls within one module are
    /// direct, and still call its own functions.
    /// Calls that run go on with the old code. It is freed when none of it is on the stack and neither an object
    /// nor a frame refers to a function of it. The stack is searched conservatively: a frame, also one of the host,
    /// that has a number with the same bits counts as one that refers to it. If it cannot be searched, because code of
    /// the store is on several stacks, nothing is freed while code runs. May collect all garbage.
    ///
    /// # Errors
    /// As for [`load`](Store::load), except that functions may exist. A function that is replaced must
    /// have the same parameters and results.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Code, Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let answer = |n: i64| -> anyhow::Result<Code> {
    ///     let mut module = Module::new(&engine);
    ///     module.function("answer", [], [Type::I64], |f| {
    ///         let n = f.i64(n);
    ///         f.ret(&[n]);
    ///     })?;
    ///     module.compile()
    /// };
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&answer(41)?)?;
    /// let function = store.function::<(), i64>("answer")?;
    /// assert_eq!(function.call(&mut store, ())?, 41);
    ///
    /// let error = store.load(&answer(42)?).unwrap_err();
    /// assert_eq!(error.to_string(), "the store already has a function `answer`");
    /// store.replace(&answer(42)?)?;
    /// assert_eq!(function.call(&mut store, ())?, 42);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn replace(&mut self, code: &Code) -> Result<()> {
        self.inner.load(code, true)
    }

    /// Declares a function that code can import before it is defined by [`load`](Store::load) or
    /// [`func_wrap`](Store::func_wrap). To call it before that is an error.
    ///
    /// # Errors
    /// If the store already has a function with this name.
    pub fn declare(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<()> {
        self.inner.declare(name, Signature::new(params, results))
    }

    /// The function with this name, the parameters `P` and the results `R`.
    ///
    /// # Errors
    /// If the store has no function with this name, or if the function has other parameters or
    /// results.
    pub fn function<P: Params, R: Results>(&self, name: &str) -> Result<TypedFunction<P, R>> {
        TypedFunction::new(&self.inner, name)
    }

    /// Calls the function with this name, whose type the host need not know. [`function`](Store::function) is for
    /// functions whose types it knows, and faster.
    ///
    /// # Errors
    /// As [`TypedFunction::call`]. Also if there is no such function, or if there is not one value of the right type for
    /// each parameter.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store, Type, Val};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// module.function("swap", [Type::I64, Type::F64], [Type::F64, Type::I64], |f| {
    ///     let results = [f.param(1), f.param(0)];
    ///     f.ret(&results);
    /// })?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    /// let results = store.call("swap", &[Val::I64(1), Val::F64(2.5)])?;
    /// assert!(matches!(results[..], [Val::F64(2.5), Val::I64(1)]));
    /// assert!(store.call("swap", &[Val::I64(1)]).is_err());
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>> {
        self.inner.call_with(name, args)
    }

    /// The type of the function with this name. `None` if there is none.
    pub fn signature(&self, name: &str) -> Option<&Signature> {
        self.inner.signature_of(name)
    }

    /// The names and types of its functions, in alphabetical order.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.inner.functions().iter()
    }

    /// The number of loaded pieces of code that are kept: those with functions that a name stands for, and
    /// those that were replaced but cannot be [freed](Store::replace) yet, or were not looked at since.
    pub fn pieces(&self) -> usize {
        self.inner.pieces()
    }

    /// A handle that interrupts the store's code from another thread.
    ///
    /// # Errors
    /// Unless the engine is [interruptible](crate::EngineBuilder::interruptible).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Control, Engine, Module, Store, Trap, TrapError};
    ///
    /// let engine = Engine::builder(Collector::copying()).interruptible(true).build()?;
    /// let mut module = Module::new(&engine);
    /// module.function("hang", [], [], |f| f.while_loop(|f| f.i32(1), |_| ()))?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    ///
    /// let handle = store.interrupt_handle()?;
    /// std::thread::spawn(move || handle.interrupt());
    /// let error = store.function::<(), ()>("hang")?.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<TrapError>()?.trap, Trap::Interrupt);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        let handle = self.inner.jit().interrupt_handle();
        handle.context("the engine is not interruptible: see `EngineBuilder::interruptible`")
    }

    /// Takes an [interrupt](InterruptHandle::interrupt) back, so that functions can be called again.
    ///
    /// # Errors
    /// If code of the store runs: it must end first.
    pub fn clear_interrupt(&mut self) -> Result<()> {
        self.inner.jit_mut().clear_interrupt()
    }

    /// The names and types of the [globals](crate::Module::global) of the code, in no order.
    pub fn globals(&self) -> impl Iterator<Item = (&str, Type)> {
        self.inner.globals()
    }

    /// The value of a [global](crate::Module::global) of the code.
    ///
    /// # Errors
    /// If there is no global with this name, or if it is of another type.
    pub fn global<V: Value>(&mut self, name: &str) -> Result<V> {
        self.inner.read_global(name)
    }

    /// Overwrites a [global](crate::Module::global) of the code.
    ///
    /// # Errors
    /// As for [`global`](Store::global). Also if the value belongs to another store.
    pub fn set_global<V: Value>(&mut self, name: &str, value: V) -> Result<()> {
        self.inner.write_global(name, value)
    }

    /// Takes the object that was thrown when the last call failed with
    /// [`ThrownException`](crate::ThrownException).
    ///
    /// # Errors
    /// If there are too many handles.
    pub fn take_pending_exception(&mut self) -> Result<Option<Rooted<StructRef>>> {
        self.inner.take_exception()
    }

    /// Runs `run` in a scope of its own: the [`Scoped`](crate::Scoped) handles that are made in it are valid until
    /// it ends.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store, Type, Val};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let cell = Module::new(&engine).struct_type("cell", [Type::I64])?;
    /// let mut store = Store::new(&engine, ())?;
    /// let kept = store.scope(|store| {
    ///     let object = cell.new_object(store, &[Val::I64(7)])?.scoped(store)?;
    ///     store.collect()?;
    ///     assert_eq!(cell.field::<i64>(0)?.get(store, &object)?, 7);
    ///     anyhow::Ok(object)
    /// })?;
    /// let error = kept.header(&store).unwrap_err().to_string();
    /// assert_eq!(error, "a rooted reference was used after its scope ended");
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn scope<R>(&mut self, run: impl FnOnce(&mut Store<T>) -> R) -> R {
        scope::in_scope(self, |store| &mut store.inner, run)
    }

    /// Collects all garbage. Returns false if the collection was skipped because not all roots were
    /// found.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn collect(&mut self) -> Result<bool> {
        self.inner.collect()
    }

    /// Collects for at most `time`, while the host has nothing better to do, and returns what is left
    /// ([`GcStore::gc_for`] says more).
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn collect_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.inner.collect_for(time)
    }

    /// The heap's statistics.
    pub fn stats(&self) -> GcStats {
        self.gc().stats()
    }

    /// The type of objects with fields that has this name in the code of the store.
    ///
    /// # Errors
    /// If there is none.
    pub fn struct_type(&self, name: &str) -> Result<StructType> {
        let (name, layout) = self.inner.named_type(name)?;
        StructType::of_store(name, layout)
    }

    /// The type of arrays that has this name in the code of the store.
    ///
    /// # Errors
    /// If there is none.
    pub fn array_type(&self, name: &str) -> Result<ArrayType> {
        let (name, layout) = self.inner.named_type(name)?;
        ArrayType::of_store(name, layout)
    }

    /// The name of the type of an object. `None` for an `i31`, and for a reference that belongs to
    /// another heap.
    pub fn type_name(&self, object: &VMGcRef) -> Option<&str> {
        self.inner.type_name(object)
    }

    /// The heap.
    pub fn gc(&self) -> &GcStore {
        self.inner.gc()
    }
}

impl<T> AsStore for Store<T> {
    type Data = T;

    fn inner_with(&self, _: Token) -> &StoreInner {
        &self.inner
    }
}

impl<T> AsStoreMut for Store<T> {
    fn inner_mut_with(&mut self, _: Token) -> &mut StoreInner {
        &mut self.inner
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("engine", self.engine()).finish_non_exhaustive()
    }
}
