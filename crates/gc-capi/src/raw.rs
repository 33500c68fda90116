//! `reclaim_val_raw_t`: calls and functions of C with raw values. Nothing is allocated for a call, and
//! nothing is checked but the number of values.

use crate::error::{CallResult, given};
use crate::host_info::{Finalizer, HostInfo};
use crate::macros::exports;
use crate::reference::{What, wasm_func_t, wasm_ref_t, wasm_trap_t};
use crate::store::{Data, Home, store_of, wasm_store_t};
use crate::types::wasm_functype_t;
use crate::value::{ValKind, wasm_val_t};
use crate::vector::{Out, put};
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use gc_wasm::{AsContextMut as _, Caller, Func, StoreContextMut, UncheckedFunc, Val, ValRaw};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

/// A function of C that gets raw values: `reclaim_func_unchecked_callback_t`. It gets an address of its
/// own, and the slots with the arguments, in which it leaves the results. It returns a trap or NULL.
pub type reclaim_func_unchecked_callback_t =
    Option<extern "C" fn(*mut c_void, *mut ValRaw, usize) -> Option<Box<wasm_trap_t>>>;

/// A function of C and its address.
struct Callback {
    function: extern "C" fn(*mut c_void, *mut ValRaw, usize) -> Option<Box<wasm_trap_t>>,
    env: HostInfo,
    home: Home,
}

impl Callback {
    #[inline]
    fn call(
        &self,
        caller: &mut Caller<'_, Data>,
        values: &mut [MaybeUninit<ValRaw>],
    ) -> Result<()> {
        let (first, count) = (values.as_mut_ptr().cast(), values.len());
        match self.home.calling_back(caller, || (self.function)(self.env.data(), first, count)) {
            None => Ok(()),
            Some(trap) => raise(caller, *trap),
        }
    }
}

#[cold]
fn raise(caller: &mut Caller<'_, Data>, trap: wasm_trap_t) -> Result<()> {
    let store = caller.data().store()?;
    trap.raise(caller.as_context_mut(), &store)
}

#[cold]
fn misaligned(values: *mut ValRaw) -> Error {
    anyhow!("the values at {values:p} are not aligned to 16 bytes")
}

/// Prepares the function of a handle for calls with raw values.
#[cold]
fn unchecked(func: &wasm_func_t) -> Result<UncheckedFunc> {
    let (What::Func(called), Some(store)) = (&func.0.what, &func.0.store) else {
        bail!("no function of a store")
    };
    let called = store.with(|context| called.unchecked(context))?;
    Ok(*func.0.unchecked.get_or_init(|| called))
}

/// The slots at an address of C.
///
/// # Errors
/// If they are not aligned.
#[inline]
fn slots(values: *mut ValRaw, count: usize) -> Result<*mut [ValRaw]> {
    if !values.is_aligned() {
        return Err(misaligned(values));
    }
    Ok(ptr::slice_from_raw_parts_mut(values, if values.is_null() { 0 } else { count }))
}

exports! {
    /// Makes a function of C one of the store. It gets raw values, and `env` at each call. The finalizer
    /// is called with `env` when the store is gone, or if this fails.
    fn reclaim_func_new_unchecked(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_functype_t>,
        callback: reclaim_func_unchecked_callback_t,
        env: *mut c_void,
        finalizer: Finalizer,
    ) -> Option<Box<wasm_func_t>> {
        let env = HostInfo::new(env, finalizer);
        let (store, ty) = (&store_of(store)?, given(ty, "type")?);
        let function = given(callback, "callback")?;
        let callback = Callback { function, env, home: store.home() };
        let ty = ty.to_func_type(&store.engine()?)?;
        let func = store.with(|context| {
            // SAFETY: the header says that the function reads arguments of the parameters' types, and
            // leaves results of the results' types, with references that are still valid.
            Ok(unsafe {
                Func::new_unchecked(context, ty, move |mut caller, values| {
                    callback.call(&mut caller, values)
                })
            })
        })?;
        Ok(Some(Box::new(wasm_func_t(wasm_ref_t::new(store, What::Func(func))))))
    }

    /// Calls the function with the arguments in the slots at `values`, where it leaves its results. Returns
    /// NULL, or a trap: also if there are too few slots.
    #[expect(clippy::not_unsafe_ptr_arg_deref, reason = "for C, where no function is marked")]
    fn reclaim_func_call_unchecked(
        func: *const wasm_func_t,
        values: *mut ValRaw,
        count: usize,
    ) -> CallResult {
        // SAFETY: it is a handle or NULL. The function that is called may delete the handle, so there is no
        // reference to it then.
        let func = given(unsafe { func.as_ref() }, "func")?;
        let Some(store) = &func.0.store else { bail!("no function of a store") };
        let store = store.home();
        let called = match func.0.unchecked.get() {
            Some(called) => *called,
            None => unchecked(func)?,
        };
        let work = |mut context: StoreContextMut<'_, Data>| {
            let values = slots(values, count);
            // SAFETY: the header says that the slots hold arguments of the parameters' types, with
            // references that are still valid.
            match values.and_then(|values| unsafe { called.call(&mut context, values) }) {
                Ok(()) => Ok(CallResult(None)),
                Err(error) => {
                    CallResult::of_error("reclaim_func_call_unchecked", &mut context, error)
                }
            }
        };
        // SAFETY: the handle keeps the store alive.
        unsafe { store.with_unscoped(work) }
    }

    /// Writes `count` values as raw ones to the slots at `out`. All are valid together, until the next
    /// collection. `false` if one is of another store or the heap is full.
    #[expect(clippy::not_unsafe_ptr_arg_deref, reason = "for C, where no function is marked")]
    fn reclaim_vals_to_raw(
        store: Option<&wasm_store_t>,
        values: *const wasm_val_t,
        count: usize,
        out: *mut ValRaw,
    ) -> bool {
        let store = &store_of(store)?;
        if count == 0 {
            return Ok(true);
        }
        ensure!(!values.is_null() && !out.is_null(), "NULL was passed for `values` or `out`");
        let out = slots(out, count)?;
        store.with(|mut context| {
            // All references are roots before the first one is a number: to put a thing in a box may
            // collect.
            let mut rooted = Vec::with_capacity(count);
            for i in 0..count {
                // SAFETY: the header says that there are `count` values.
                let value = unsafe { &*values.add(i) };
                let ty = ValKind::of_number(value.kind)?.ty();
                let value = value.to_val(&mut context, store, &ty);
                rooted.push(value.with_context(|| format!("value {i}"))?);
            }
            for (i, value) in rooted.iter().enumerate() {
                let raw = value.to_raw(&mut context)?;
                // SAFETY: the header says that there is room for `count` values.
                unsafe { out.cast::<ValRaw>().add(i).write(raw) };
            }
            Ok(true)
        })
    }

    /// Writes the value of this kind in a slot to `out`. A reference is a new handle. `false` if there is
    /// no such kind.
    #[expect(clippy::not_unsafe_ptr_arg_deref, reason = "for C, where no function is marked")]
    fn reclaim_val_from_raw(
        store: Option<&wasm_store_t>,
        raw: *const ValRaw,
        kind: u8,
        out: Out<'_, wasm_val_t>,
    ) -> bool {
        let out = put(out, "out")?;
        let store = &store_of(store)?;
        ensure!(!raw.is_null() && raw.is_aligned(), "the value at {raw:p} is NULL or not aligned");
        let ty = ValKind::of_number(kind)?.ty();
        *out = store.with(|mut context| {
            // SAFETY: the header says that the slot has a value of this kind, which compiled code or
            // `reclaim_vals_to_raw` has passed, and that there was no collection since.
            let value = unsafe { Val::from_raw(&mut context, *raw, ty) };
            wasm_val_t::of_val(&mut context, store, value)
        })?;
        Ok(true)
    }
}
