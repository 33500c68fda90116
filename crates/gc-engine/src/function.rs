//! [`TypedFunction`]: a function that the host calls.
#![allow(unsafe_code)]

use crate::store::{Inner as _, SlotId, StoreInner};
use crate::{AsStoreMut, Params, Results, Signature};
use anyhow::{Result, ensure};
use gc_jit::{Backtrace, EntryTrampoline, ThrownException};
use gc_types::ValRaw;
use std::fmt;
use std::marker::PhantomData;

/// The maximal number of parameters or results of a function that the host calls.
pub(crate) const MAX_VALUES: usize = 8;

/// A function of a [`Store`](crate::Store) with the parameters `P` and the results `R`. Its types were
/// checked when it was looked up, so a call does not check them again. If the function is
/// [replaced](crate::Store::replace), this calls the new one.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Control, Engine, Module, Store, Trap, TrapError, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("check", [Type::I32], [], |f| {
///     let number = f.param(0);
///     f.if_then(number, |f| f.trap(Trap::UnreachableCodeReached));
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
///
/// let check = store.function::<i32, ()>("check")?;
/// check.call(&mut store, 0)?;
/// let error = check.call(&mut store, 1).unwrap_err();
/// assert_eq!(error.downcast_ref::<TrapError>().unwrap().trap, Trap::UnreachableCodeReached);
///
/// let error = store.function::<i64, ()>("check").unwrap_err();
/// assert_eq!(error.to_string(), "the function `check` is of type (i32) -> (), not (i64) -> ()");
/// # }
/// # anyhow::Ok(())
/// ```
pub struct TypedFunction<P, R> {
    /// The number of its store.
    store: u64,
    slot: SlotId,
    trampoline: Option<EntryTrampoline>,
    types: PhantomData<fn(P) -> R>,
}

/// The compiled functions that were running when a host function failed: the context of the host's error,
/// which a call returns.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{CallBacktrace, Caller, Collector, Engine, Module, Store};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut store = Store::new(&engine, ())?;
/// let fail = |_: Caller<'_, ()>| -> anyhow::Result<()> { anyhow::bail!("no more paper") };
/// store.func_wrap("print", fail)?;
/// let mut module = Module::new(&engine);
/// let print = module.import("print", [], [])?;
/// module.function("run", [], [], |f| {
///     f.call(&print, &[]);
/// })?;
/// store.load(&module.compile()?)?;
/// let error = store.function::<(), ()>("run")?.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.root_cause().to_string(), "no more paper");
/// let backtrace = error.downcast_ref::<CallBacktrace>().unwrap().backtrace();
/// assert_eq!(backtrace.frames()[0].name, "run");
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct CallBacktrace {
    backtrace: Backtrace,
    /// Whether an object was thrown.
    thrown: bool,
}

impl CallBacktrace {
    /// The one of a call that ended with `error`.
    pub(crate) fn new(backtrace: Backtrace, error: &anyhow::Error) -> CallBacktrace {
        CallBacktrace { backtrace, thrown: error.is::<ThrownException>() }
    }

    /// The functions.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }
}

impl fmt::Display for CallBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.thrown { "an exception was thrown" } else { "a host function failed" };
        write!(f, "{what}; the functions that were running:\n{}", self.backtrace)
    }
}

impl<P: Params, R: Results> TypedFunction<P, R> {
    pub(crate) fn new(store: &StoreInner, name: &str) -> Result<TypedFunction<P, R>> {
        let asked = Signature::new(P::types(), R::types());
        let (slot, trampoline) = store.find_function(name, &asked)?;
        Ok(TypedFunction { store: store.number(), slot, trampoline, types: PhantomData })
    }

    /// Calls the function.
    ///
    /// # Errors
    /// If the function traps (the error is a [`TrapError`](crate::TrapError), which names the
    /// functions that were running), if a function of the host fails (the error is the host's, with a
    /// [`CallBacktrace`] as its context), or if the function or a handle belongs to
    /// another store.
    pub fn call(&self, store: &mut impl AsStoreMut, params: P) -> Result<R> {
        let store = store.inner_mut();
        ensure!(store.number() == self.store, "the function belongs to another store");
        store.drop_dead_handles();
        let mut slots = [ValRaw::ZERO; MAX_VALUES];
        params.to_slots(store, &mut slots)?;
        // SAFETY: the slots hold arguments of the function's type, which was compared with these
        // types. A function keeps its type.
        unsafe { store.call(self.slot, self.trampoline.as_ref(), &mut slots)? };
        R::from_slots(store, &slots)
    }
}

impl<P, R> Clone for TypedFunction<P, R> {
    fn clone(&self) -> Self {
        let TypedFunction { store, slot, ref trampoline, types } = *self;
        TypedFunction { store, slot, trampoline: trampoline.clone(), types }
    }
}

impl<P, R> fmt::Debug for TypedFunction<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFunction").finish_non_exhaustive()
    }
}
