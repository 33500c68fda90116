//! Functions: calls from C, and functions of C.

use crate::error::{CallResult, given};
use crate::host_info::{Finalizer, HostInfo};
use crate::macros::exports;
use crate::reference::{What, wasm_func_t, wasm_ref_t, wasm_trap_t};
use crate::store::{Data, StoreRef, store_of, wasm_store_t};
use crate::types::wasm_functype_t;
use crate::value::{ValKind, wasm_val_t};
use crate::vector::wasm_val_vec_t;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{Caller, Func, FuncType, Val};
use std::ffi::c_void;

/// A function of C: `wasm_func_callback_t`. It returns a trap or NULL.
pub type wasm_func_callback_t =
    Option<extern "C" fn(&wasm_val_vec_t, &mut wasm_val_vec_t) -> Option<Box<wasm_trap_t>>>;

/// A function of C with an address of its own: `wasm_func_callback_with_env_t`.
pub type wasm_func_callback_with_env_t = Option<
    extern "C" fn(*mut c_void, &wasm_val_vec_t, &mut wasm_val_vec_t) -> Option<Box<wasm_trap_t>>,
>;

/// Makes a host function of one that C has, as a closure over its arguments and results.
fn new(
    store: &StoreRef,
    ty: &wasm_functype_t,
    callback: impl Fn(&wasm_val_vec_t, &mut wasm_val_vec_t) -> Option<Box<wasm_trap_t>>
    + Send
    + Sync
    + 'static,
) -> Result<Box<wasm_func_t>> {
    let ty = ty.to_func_type(&store.engine()?)?;
    let called = ty.clone();
    let func = store.with(|context| {
        Ok(Func::new(context, ty, move |caller, arguments, results| {
            call_back(&called, &callback, caller, arguments, results)
        }))
    })?;
    Ok(Box::new(wasm_func_t(wasm_ref_t::new(store, What::Func(func)))))
}

/// Calls a function of C.
fn call_back(
    ty: &FuncType,
    callback: &dyn Fn(&wasm_val_vec_t, &mut wasm_val_vec_t) -> Option<Box<wasm_trap_t>>,
    mut caller: Caller<'_, Data>,
    arguments: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let store = caller.data().store()?;
    let values = arguments.iter().map(|argument| {
        wasm_val_t::of_val(
            &mut gc_wasm::AsContextMut::as_context_mut(&mut caller),
            &store,
            *argument,
        )
    });
    let values: wasm_val_vec_t = values.collect::<Result<Vec<_>>>()?.into();
    let types: Vec<_> = ty.results().collect();
    let zeros = types.iter().map(|ty| wasm_val_t::zero(ValKind::of_type(ty)));
    let mut returned: wasm_val_vec_t = zeros.collect::<Vec<_>>().into();
    let trap = store.home().calling_back(&mut caller, || callback(&values, &mut returned));
    if let Some(trap) = trap {
        let context = gc_wasm::AsContextMut::as_context_mut(&mut caller);
        return trap.raise(context, &store);
    }
    ensure!(
        returned.as_slice().len() == types.len(),
        "a function of C has changed the number of its results"
    );
    let mut context = gc_wasm::AsContextMut::as_context_mut(&mut caller);
    let returned = returned.as_slice().iter().zip(&types).zip(results).enumerate();
    for (i, ((value, ty), result)) in returned {
        *result = value
            .to_val(&mut context, &store, ty)
            .with_context(|| format!("result {i} of a function of C"))?;
    }
    Ok(())
}

/// Calls a function from C.
fn call(
    store: &StoreRef,
    func: Func,
    arguments: Option<&wasm_val_vec_t>,
    results: Option<&mut wasm_val_vec_t>,
) -> Result<()> {
    let arguments = arguments.map_or(&[][..], |arguments| arguments.as_slice());
    let mut none = wasm_val_vec_t::default();
    let results = results.unwrap_or(&mut none);
    let values = store.with(|mut context| {
        let ty = func.ty(&context);
        let (params, count) = (ty.params(), ty.results().len());
        let (given, wanted) = (arguments.len(), params.len());
        ensure!(given == wanted, "expected {wanted} arguments, found {given}");
        let mut values = Vec::with_capacity(wanted);
        for (i, (argument, ty)) in arguments.iter().zip(params).enumerate() {
            let value = argument.to_val(&mut context, store, &ty);
            values.push(value.with_context(|| format!("argument {i}"))?);
        }
        let mut returned = vec![Val::I32(0); count];
        func.call(&mut context, &values, &mut returned)?;
        // Not before: the standard's own programs pass no room to functions that trap.
        let room = results.as_slice().len();
        ensure!(room >= count, "expected room for {count} results, found {room}");
        let returned = returned.into_iter();
        returned
            .map(|value| wasm_val_t::of_val(&mut context, store, value))
            .collect::<Result<Vec<_>>>()
    })?;
    for (i, value) in values.into_iter().enumerate() {
        results.write(i, value);
    }
    Ok(())
}

exports! {
    /// Makes a function of C one of the store.
    fn wasm_func_new(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_functype_t>,
        callback: wasm_func_callback_t,
    ) -> Option<Box<wasm_func_t>> {
        let (store, ty) = (&store_of(store)?, given(ty, "type")?);
        let callback = given(callback, "callback")?;
        new(store, ty, move |arguments, results| callback(arguments, results)).map(Some)
    }

    /// Makes a function of C one of the store. It gets `env` at each call. The finalizer is called
    /// with `env` when the store is gone, or if this fails.
    fn wasm_func_new_with_env(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_functype_t>,
        callback: wasm_func_callback_with_env_t,
        env: *mut c_void,
        finalizer: Finalizer,
    ) -> Option<Box<wasm_func_t>> {
        let env = HostInfo::new(env, finalizer);
        let (store, ty) = (&store_of(store)?, given(ty, "type")?);
        let callback = given(callback, "callback")?;
        new(store, ty, move |arguments, results| callback(env.data(), arguments, results)).map(Some)
    }

    /// The function's type.
    fn wasm_func_type(func: Option<&wasm_func_t>) -> Option<Box<wasm_functype_t>> {
        let ty = given(func, "func")?.ty()?;
        Ok(Some(Box::new(wasm_functype_t::new(&ty))))
    }

    /// The number of parameters.
    fn wasm_func_param_arity(func: Option<&wasm_func_t>) -> usize {
        Ok(given(func, "func")?.ty()?.params().len())
    }

    /// The number of results.
    fn wasm_func_result_arity(func: Option<&wasm_func_t>) -> usize {
        Ok(given(func, "func")?.ty()?.results().len())
    }

    /// Calls the function. Its results are written to `results`, over whatever is there. Returns NULL,
    /// or a trap: also if an argument is of another type or store, or if it returns and there is no room for
    /// the results.
    #[expect(clippy::not_unsafe_ptr_arg_deref, reason = "for C, where no function is marked")]
    fn wasm_func_call(
        func: *const wasm_func_t,
        arguments: Option<&wasm_val_vec_t>,
        results: Option<&mut wasm_val_vec_t>,
    ) -> CallResult {
        // SAFETY: it is a handle or NULL. The function that is called may delete the handle, so there is no
        // reference to it then.
        let handle = &given(unsafe { func.as_ref() }, "func")?.0;
        let (What::Func(func), store) = (&handle.what, &handle.store()?) else {
            bail!("no function")
        };
        match call(store, *func, arguments, results) {
            Ok(()) => Ok(CallResult(None)),
            Err(error) => {
                store.with(|mut store| CallResult::of_error("wasm_func_call", &mut store, error))
            }
        }
    }
}

impl wasm_func_t {
    fn ty(&self) -> Result<FuncType> {
        let What::Func(func) = &self.0.what else { bail!("no function") };
        self.0.store()?.with(|context| Ok(func.ty(context)))
    }
}
