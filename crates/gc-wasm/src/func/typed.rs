//! Functions whose type has been checked.

use super::wasm_ty::StoreArg;
use super::{Func, WasmParams, WasmResults};
use crate::AsContextMut;
use crate::store::Callee;
use crate::types::registry::RegisteredType;
use anyhow::Result;
use gc_types::ValRaw;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A [`Func`] whose type matches `Params` and `Results`. Calls do not check it again.
pub struct TypedFunc<Params, Results> {
    func: Func,
    ty: Arc<RegisteredType>,
    callee: Callee,
    _marker: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> Self {
        TypedFunc {
            func: self.func,
            ty: self.ty.clone(),
            callee: self.callee.clone(),
            _marker: PhantomData,
        }
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    pub(crate) fn new(func: Func, ty: Arc<RegisteredType>, callee: Callee) -> Self {
        TypedFunc { func, ty, callee, _marker: PhantomData }
    }

    /// The function itself.
    pub fn func(&self) -> Func {
        self.func
    }

    /// Calls the function. References among the results are rooted in the current scope.
    ///
    /// # Errors
    /// If the function or an argument belongs to another store, an argument is not of the
    /// parameter's concrete type, the function traps, or a host function that it calls fails.
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        // Four slots are enough for most functions and are cheaper to clear than sixteen.
        if <Params as WasmParams>::COUNT <= 4 && <Results as WasmParams>::COUNT <= 4 {
            self.call_in(&mut store, params, &mut [ValRaw::ZERO; 4])
        } else {
            self.call_in(&mut store, params, &mut [ValRaw::ZERO; 16])
        }
    }

    fn call_in(
        &self,
        store: &mut impl AsContextMut,
        params: Params,
        slots: &mut [ValRaw],
    ) -> Result<Results> {
        let mut store = store.as_context_mut();
        let mut store = StoreArg(store.opaque_mut());
        let vm = self.func.as_vm(store.0)?;
        params.check(&store, self.ty.sub_type.unwrap_func().params())?;
        let exposed = params.heap_refs(&store);
        if exposed > 0 {
            store.0.gc_before_exposing(exposed)?;
        }
        params.to_slots(&mut store, slots)?;
        // SAFETY: `vm` belongs to this store, because its handle was checked. The slots hold
        // arguments of its types, and `callee` belongs to it.
        unsafe { store.0.invoke_as(&self.callee, vm, slots)? };
        Results::from_slots(&mut store, slots)
    }
}

impl<Params, Results> fmt::Debug for TypedFunc<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFunc").field("func", &self.func).finish_non_exhaustive()
    }
}
