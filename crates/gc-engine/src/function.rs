//! [`TypedFunction`]: a compiled function that the host calls.
#![allow(unsafe_code)]

use crate::{Code, Params, Results, Signature, Store};
use anyhow::{Context as _, Result, ensure};
use gc_jit::{CallError, EntryTrampoline};
use gc_types::ValRaw;
use std::fmt;
use std::marker::PhantomData;

/// The maximal number of parameters or results of a function that the host calls.
pub(crate) const MAX_VALUES: usize = 8;

/// A function of a [`Store`]'s code with the parameters `P` and the results `R`. Its types were
/// checked when it was looked up, so a call does not check them again.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Store, Trap, TrapError, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("check", [Type::I32], [], |f| {
///     let number = f.param(0);
///     f.if_then(number, |f| f.trap(Trap::UnreachableCodeReached));
/// })?;
/// let mut store = Store::new(&engine, &module.compile()?)?;
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
    code: Code,
    trampoline: EntryTrampoline,
    address: *const u8,
    types: PhantomData<fn(P) -> R>,
}

impl<P: Params, R: Results> TypedFunction<P, R> {
    pub(crate) fn new(code: &Code, name: &str) -> Result<TypedFunction<P, R>> {
        let (index, signature) = code.function(name).with_context(|| {
            let names: Vec<_> = code.functions().map(|(name, _)| format!("`{name}`")).collect();
            match names.as_slice() {
                [] => format!("no function `{name}`: the code has no functions"),
                names => format!("no function `{name}`; available: {}", names.join(", ")),
            }
        })?;
        let asked = Signature::new(P::types(), R::types());
        ensure!(*signature == asked, "the function `{name}` is of type {signature}, not {asked}");
        let trampoline = code
            .memory()
            .entry_trampoline(&signature.call_signature())
            .with_context(|| format!("the image has no entry trampoline for `{name}`"))?;
        let address = code
            .memory()
            .function_address(index)
            .with_context(|| format!("the image has no code for `{name}`"))?;
        Ok(TypedFunction { code: code.clone(), trampoline, address, types: PhantomData })
    }

    /// Calls the function.
    ///
    /// # Errors
    /// If the function traps (the error is a [`gc_jit::TrapError`], which names the functions
    /// that were running), if the store runs other code, or if a handle belongs to another
    /// store.
    pub fn call(&self, store: &mut Store, params: P) -> Result<R> {
        ensure!(store.code().same(&self.code), "the function does not belong to this store's code");
        store.gc_mut().drop_dead_handles();
        let mut slots = [ValRaw::ZERO; MAX_VALUES];
        params.to_slots(store, &mut slots)?;
        let (entered, vmctx) = store.entry();
        // SAFETY: the code belongs to the store, which keeps it alive. The image has the function,
        // which its module compiled with a stack limit and for this vmctx, and the trampoline of
        // its signature. The slots hold arguments of that signature. `to_slots` exposed the
        // references.
        unsafe { gc_jit::call(entered, &self.trampoline, self.address, vmctx, &mut slots) }
            .map_err(CallError::into_anyhow)?;
        R::from_slots(store, &slots)
    }
}

impl<P, R> Clone for TypedFunction<P, R> {
    fn clone(&self) -> Self {
        TypedFunction {
            code: self.code.clone(),
            trampoline: self.trampoline.clone(),
            address: self.address,
            types: PhantomData,
        }
    }
}

impl<P, R> fmt::Debug for TypedFunction<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFunction").field("code", &self.code).finish_non_exhaustive()
    }
}
