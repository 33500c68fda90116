//! Functions whose type has been checked.

use super::wasm_ty::StoreArg;
use super::{Func, WasmParams, WasmResults};
use crate::AsContextMut;
use crate::store::{CallHook, Callee, StoreOpaque};
use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use anyhow::Result;
use gc_types::ValRaw;
use std::fmt;
use std::marker::PhantomData;

/// A [`Func`] whose type matches `Params` and `Results`. Calls do not check it again.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Instance, Module, Store, Trap, TypedFunc};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module (func (export "divide") (param i32 i32) (result i32)
///         (i32.div_s (local.get 0) (local.get 1))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
///
/// let divide: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "divide")?;
/// assert_eq!(divide.call(&mut store, (42, 6))?, 7);
/// let error = divide.call(&mut store, (42, 0)).unwrap_err();
/// assert_eq!(error.downcast::<Trap>()?, Trap::IntegerDivisionByZero);
/// // Another type is refused.
/// assert!(instance.get_typed_func::<i32, i32>(&mut store, "divide").is_err());
/// # gc_wasm::error::Ok(())
/// ```
pub struct TypedFunc<Params, Results> {
    func: Func,
    /// The function's reference in its store.
    vm: FuncRef,
    callee: Callee,
    /// The type, if each call must check the arguments.
    checked: Option<RegisteredType>,
    _marker: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> Self {
        TypedFunc {
            func: self.func,
            vm: self.vm,
            callee: self.callee.clone(),
            checked: self.checked.clone(),
            _marker: PhantomData,
        }
    }
}

/// The larger number.
const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    pub(super) fn new(
        func: Func,
        vm: FuncRef,
        callee: Callee,
        checked: Option<RegisteredType>,
    ) -> Self {
        TypedFunc { func, vm, callee, checked, _marker: PhantomData }
    }

    /// The function itself.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls the function. References among the results are rooted in the current scope.
    ///
    /// # Errors
    /// If an argument is not of the parameter's concrete type, belongs to another store, or its scope
    /// has ended. If the function traps ([`Trap`](crate::Trap)), or a host function that it calls
    /// fails. If the store allows only [asynchronous calls](TypedFunc::call_async).
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        let mut store = store.as_context_mut();
        let store = store.opaque_mut();
        store.check_sync_call()?;
        self.call_in(store, params)
    }

    /// Calls the function on the running stack.
    #[inline]
    pub(super) fn call_in(&self, store: &mut StoreOpaque, params: Params) -> Result<Results> {
        // Few slots are cheaper to clear than many.
        match const { most(Params::SLOTS, Results::SLOTS) } {
            0 => self.call_with(store, params, &mut []),
            1 => self.call_with(store, params, &mut [ValRaw::ZERO]),
            2..5 => self.call_with(store, params, &mut [ValRaw::ZERO; 4]),
            _ => self.call_with(store, params, &mut [ValRaw::ZERO; 17]),
        }
    }

    #[inline]
    fn call_with(
        &self,
        store: &mut StoreOpaque,
        params: Params,
        slots: &mut [ValRaw],
    ) -> Result<Results> {
        self.func.check_store(store);
        params.to_slots(&StoreArg(store), slots)?;
        if let Some(ty) = &self.checked {
            let types = ty.sub_type.unwrap_func().params();
            for (i, (raw, ty)) in slots.iter().zip(types).enumerate() {
                let what = || {
                    format!("argument type mismatch for reference to concrete type: argument {i}")
                };
                store.check_slot(*raw, ty, what)?;
            }
        }
        if store.has_call_hook() {
            return self.call_with_hook(store, &params, slots);
        }
        self.call_checked(store, slots)
    }

    /// Calls the function as [`call_checked`](TypedFunc::call_checked) does, and tells the hook.
    #[cold]
    fn call_with_hook(
        &self,
        store: &mut StoreOpaque,
        params: &Params,
        slots: &mut [ValRaw],
    ) -> Result<Results> {
        store.call_hook(CallHook::CallingWasm)?;
        // The hook may have collected.
        params.to_slots(&StoreArg(store), slots)?;
        let results = self.call_checked(store, slots);
        store.call_hook(CallHook::ReturningFromWasm)?;
        results
    }

    /// Calls the function, which belongs to this store, with arguments in `slots`, which were
    /// checked.
    #[inline]
    fn call_checked(&self, store: &mut StoreOpaque, slots: &mut [ValRaw]) -> Result<Results> {
        // SAFETY: the function belongs to this store, because its handle was checked, and so its
        // reference lives. The slots hold arguments of its types, and `callee` belongs to it.
        unsafe { store.invoke_as(&self.callee, self.vm, slots)? };
        Results::from_slots(&mut StoreArg(store), slots)
    }
}

impl<Params, Results> fmt::Debug for TypedFunc<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFunc").field("func", &self.func).finish_non_exhaustive()
    }
}
