//! Globals.

use crate::error::given;
use crate::macros::exports;
use crate::reference::{What, wasm_global_t, wasm_ref_t};
use crate::store::{StoreRef, store_of, wasm_store_t};
use crate::types::{ExternTy, wasm_externtype_t, wasm_globaltype_t};
use crate::value::wasm_val_t;
use crate::vector::{Out, put};
use anyhow::{Result, bail};
use gc_wasm::Global;

impl wasm_global_t {
    fn parts(&self) -> Result<(StoreRef, Global)> {
        match &self.0.what {
            What::Global(global) => Ok((self.0.store()?, *global)),
            other => bail!("{} is no global", other.name()),
        }
    }
}

exports! {
    /// Makes a global. NULL if the value is of another type or store.
    fn wasm_global_new(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_globaltype_t>,
        value: Option<&wasm_val_t>,
    ) -> Option<Box<wasm_global_t>> {
        let store = &store_of(store)?;
        let ty = given(ty, "type")?.to_global_type(&store.engine()?)?;
        let value = given(value, "value")?;
        let global = store.with(|mut context| {
            let value = value.to_val(&mut context, store, ty.content())?;
            Global::new(context, ty, value)
        })?;
        Ok(Some(Box::new(wasm_global_t(wasm_ref_t::new(store, What::Global(global))))))
    }

    /// The global's type.
    fn wasm_global_type(global: Option<&wasm_global_t>) -> Option<Box<wasm_globaltype_t>> {
        let (store, global) = given(global, "global")?.parts()?;
        let ty = store.with(|context| Ok(global.ty(context)))?;
        Ok(Some(Box::new(wasm_globaltype_t(wasm_externtype_t(ExternTy::of_global(&ty))))))
    }

    /// Writes the global's value to `out`.
    fn wasm_global_get(global: Option<&wasm_global_t>, out: Out<'_, wasm_val_t>) {
        let out = put(out, "out")?;
        let (store, global) = given(global, "global")?.parts()?;
        *out = store.with(|mut context| {
            let value = global.get(&mut context);
            wasm_val_t::of_val(&mut context, &store, value)
        })?;
        Ok(())
    }

    /// Overwrites the global's value. Nothing happens if the global is constant, or the value of
    /// another type or store; `reclaim_last_error` tells.
    fn wasm_global_set(global: Option<&wasm_global_t>, value: Option<&wasm_val_t>) {
        let (store, global) = given(global, "global")?.parts()?;
        let value = given(value, "value")?;
        store.with(|mut context| {
            let ty = global.ty(&context);
            let value = value.to_val(&mut context, &store, ty.content())?;
            global.set(context, value)
        })
    }
}
