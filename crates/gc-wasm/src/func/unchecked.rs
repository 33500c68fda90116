//! Calls and host functions with raw values, whose types nobody checks.
#![allow(unsafe_code)]

use super::host::in_scope;
use super::{Caller, Func, HostFunc};
use crate::refs::{AnyRef, Reference as _};
use crate::store::{CallHook, Known, KnownFunc, StoreOpaque};
use crate::types::FuncType;
use crate::{AsContextMut, Rooted, ValRaw};
use anyhow::{Result, ensure};
use gc_types::VMGcRef;
use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use wasmtime_types::WasmValType;

/// A function that is called with raw values, whose types nobody checks: of [`Func::unchecked`].
///
/// # Examples
/// ```
/// use gc_wasm::{Func, Store, ValRaw};
///
/// let mut store = Store::<()>::default();
/// let add = Func::wrap(&mut store, |a: i32, b: i32| a + b).unchecked(&mut store)?;
/// for n in 0..3 {
///     let mut slots = [ValRaw::i32(n), ValRaw::i32(40)];
///     // SAFETY: the function has two parameters and one result, which are numbers.
///     unsafe { add.call(&mut store, &mut slots)? };
///     assert_eq!(slots[0].get_i32(), n + 40);
/// }
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy)]
pub struct UncheckedFunc {
    func: Func,
    /// It is there as long as the store.
    known: Known,
}

impl fmt::Debug for UncheckedFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UncheckedFunc").field("func", &self.func).finish_non_exhaustive()
    }
}

impl UncheckedFunc {
    /// Calls the function, as [`Func::call_unchecked`] does.
    ///
    /// # Errors
    /// As for [`Func::call_unchecked`].
    ///
    /// # Panics
    /// If the function belongs to another store.
    ///
    /// # Safety
    /// As for [`Func::call_unchecked`].
    #[inline(always)]
    pub unsafe fn call(
        &self,
        mut store: impl AsContextMut,
        params_and_returns: *mut [ValRaw],
    ) -> Result<()> {
        let mut context = store.as_context_mut();
        let store = context.opaque_mut();
        // So the store lives that has what is known of the function.
        self.func.check_store(store);
        store.check_sync_call()?;
        let func = self.known;
        let values = NonNull::new(params_and_returns).unwrap_or(NonNull::from(&mut []));
        let (slots, needed) = (values.len(), func.slots);
        ensure!(slots >= needed, "a call with {slots} slots for {needed} values");
        // SAFETY: as the caller promises.
        let values = unsafe { &mut *values.as_ptr() };
        if store.has_call_hook() {
            // SAFETY: as the caller promises.
            return unsafe { store.invoke_with_hook(&func, values) };
        }
        // SAFETY: as the caller promises.
        unsafe { store.invoke_as(&func.callee, func.vm, values) }
    }
}

impl Func {
    /// Calls the function with raw values. `params_and_returns` has the arguments before the call and
    /// the results after it, and at least as many slots as there are of each.
    ///
    /// A reference among the arguments is made by the `to_raw` of its handle, and one among the
    /// results is made a handle by `from_raw` of its type. There must be no collection between
    /// `to_raw` and the call, or between the call and `from_raw`.
    ///
    /// # Errors
    /// If there are too few slots. If the function traps or a host function that it calls fails. If
    /// the store allows only [asynchronous calls](Func::call_async).
    ///
    /// # Panics
    /// If the function belongs to another store.
    ///
    /// # Safety
    /// The pointer is good for reads and writes of its slots. They hold values of the parameters'
    /// types. References among them belong to this store and are valid, as above.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Func, Store, ValRaw};
    ///
    /// let mut store = Store::<()>::default();
    /// let add = Func::wrap(&mut store, |a: i32, b: i32| a + b);
    /// let mut slots = [ValRaw::i32(2), ValRaw::i32(40)];
    /// // SAFETY: the function has two parameters and one result, which are numbers.
    /// unsafe { add.call_unchecked(&mut store, &mut slots)? };
    /// assert_eq!(slots[0].get_i32(), 42);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub unsafe fn call_unchecked(
        &self,
        mut store: impl AsContextMut,
        params_and_returns: *mut [ValRaw],
    ) -> Result<()> {
        let func = self.unchecked(store.as_context_mut())?;
        // SAFETY: as the caller promises.
        unsafe { func.call(store, params_and_returns) }
    }

    /// The function for many calls with raw values: what each of them needs is looked up now.
    ///
    /// # Errors
    /// If the function's module has no code by which the host calls functions of its type.
    ///
    /// # Panics
    /// If the function belongs to another store.
    #[inline]
    pub fn unchecked(&self, mut store: impl AsContextMut) -> Result<UncheckedFunc> {
        let known = store.as_context_mut().opaque_mut().know_func(self)?;
        Ok(UncheckedFunc { func: *self, known })
    }

    /// Creates a host function of type `ty` that gets raw values: the arguments before it runs, and
    /// the results after. There are as many slots as the larger number of the two.
    ///
    /// # Panics
    /// If `ty` belongs to another engine.
    ///
    /// # Safety
    /// `func` reads arguments only of the parameters' types, and leaves initialised results of the
    /// results' types. References among the results belong to the store, were made by the `to_raw` of
    /// their handles, and there was no collection since.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Func, FuncType, Store, ValRaw, ValType};
    ///
    /// let mut store = Store::<()>::default();
    /// let ty = FuncType::new(store.engine(), [ValType::I32], [ValType::I32]);
    /// // SAFETY: it reads one number and leaves one.
    /// let double = unsafe {
    ///     Func::new_unchecked(&mut store, ty, |_caller, slots| {
    ///         let n = slots[0].assume_init_ref().get_i32();
    ///         slots[0].write(ValRaw::i32(n * 2));
    ///         Ok(())
    ///     })
    /// };
    /// assert_eq!(double.typed::<i32, i32>(&store)?.call(&mut store, 21)?, 42);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub unsafe fn new_unchecked<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        let mut store = store.as_context_mut();
        // SAFETY: as the caller promises.
        let func = unsafe { HostFunc::new_unchecked(ty, func) };
        func.instantiate(store.opaque_mut())
    }

    /// The function as compiled code has it: an address. It is good as long as the store.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> *mut c_void {
        self.as_vm(store.as_context_mut().opaque_mut()).address().cast()
    }

    /// The function that `raw` is. `None` for null.
    ///
    /// # Safety
    /// `raw` is from [`to_raw`](Func::to_raw) or from compiled code of the same store, or null.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: *mut c_void) -> Option<Func> {
        Func::from_raw_slot(store.as_context_mut().opaque_mut(), ValRaw::funcref(raw))
    }
}

impl<T: 'static> HostFunc<T> {
    /// A host function that gets raw values.
    ///
    /// # Safety
    /// As for [`Func::new_unchecked`].
    pub(crate) unsafe fn new_unchecked(
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
    ) -> HostFunc<T> {
        let types = ty.clone();
        let closure = move |mut caller: Caller<'_, T>, slots: &mut [ValRaw]| {
            if caller.as_context_mut().opaque_mut().has_call_hook() {
                let types = types.as_wasm().params();
                let mut context = caller.as_context_mut();
                context.opaque_mut().call_hook_with(CallHook::CallingHost, slots, types)?;
            }
            let (start, len) = (slots.as_mut_ptr().cast::<MaybeUninit<ValRaw>>(), slots.len());
            // SAFETY: these are the same slots. The function leaves them initialised.
            let given = unsafe { std::slice::from_raw_parts_mut(start, len) };
            let result = func(caller.reborrow(), given);
            if caller.as_context_mut().opaque_mut().has_call_hook() {
                let results = if result.is_ok() { types.as_wasm().results() } else { &[] };
                let mut context = caller.as_context_mut();
                context.opaque_mut().call_hook_with(CallHook::ReturningFromHost, slots, results)?;
            }
            result
        };
        HostFunc::from_raw(ty, closure)
    }
}

impl StoreOpaque {
    /// Calls a function as [`call_unchecked`](Func::call_unchecked) does, and tells the hook.
    ///
    /// # Safety
    /// As for [`invoke_as`](StoreOpaque::invoke_as).
    #[cold]
    unsafe fn invoke_with_hook(&mut self, func: &KnownFunc, values: &mut [ValRaw]) -> Result<()> {
        let ty = func.ty.sub_type.unwrap_func();
        self.call_hook_with(CallHook::CallingWasm, values, ty.params())?;
        // SAFETY: as the caller promises.
        let result = unsafe { self.invoke_as(&func.callee, func.vm, values) };
        let results = if result.is_ok() { ty.results() } else { &[] };
        self.call_hook_with(CallHook::ReturningFromWasm, values, results)?;
        result
    }

    /// Tells the host of a change, as [`call_hook`](StoreOpaque::call_hook) does. The hook may collect,
    /// so the references in the slots, which have these types, are rooted meanwhile.
    #[cold]
    fn call_hook_with(
        &mut self,
        change: CallHook,
        slots: &mut [ValRaw],
        types: &[WasmValType],
    ) -> Result<()> {
        in_scope(self, |store| {
            let mut rooted: Vec<(usize, Rooted<AnyRef>)> = Vec::new();
            for (i, (slot, ty)) in slots.iter().zip(types).enumerate() {
                if ty.is_vmgcref_type()
                    && let Some(gc_ref) = VMGcRef::from_raw_u32(slot.get_u32())
                {
                    rooted.push((i, store.root_borrowed(&gc_ref)));
                }
            }
            let result = store.call_hook(change);
            for (i, handle) in rooted {
                let gc_ref = handle.gc_ref(store)?;
                slots[i] = ValRaw::u64(gc_ref.as_raw_u32().into());
            }
            result
        })
    }
}
