//! Instances.

use crate::error::{CallResult, Failed, entry, given};
use crate::macros::exports;
use crate::reference::{
    What, wasm_extern_t, wasm_instance_t, wasm_module_t, wasm_ref_t, wasm_trap_t,
};
use crate::store::{StoreRef, store_of, wasm_store_t};
use crate::vector::{Out, element, put, wasm_extern_vec_t};
use anyhow::{Error, Result, bail};
use gc_wasm::{Export, Instance};

fn instantiate(
    store: &StoreRef,
    module: &wasm_module_t,
    imports: Option<&wasm_extern_vec_t>,
) -> Result<wasm_instance_t> {
    let module = match module.0.of(store)? {
        What::Module(object) => object.module.clone(),
        other => bail!("{} is no module", other.name()),
    };
    let mut given = Vec::new();
    if let Some(imports) = imports {
        for i in 0..imports.as_slice().len() {
            given.push(element(imports, i, "imports")?.to_extern(store)?);
        }
    }
    let instance = store.with(|mut context| {
        let instance = Instance::new(&mut context, &module, &given)?;
        context.data_mut().instances.push((module, instance));
        Ok(instance)
    })?;
    Ok(wasm_instance_t(wasm_ref_t::new(store, What::Instance(instance))))
}

/// What came of instantiation.
enum Made {
    Instance(Box<wasm_instance_t>),
    Trap(CallResult),
}

impl Failed for Made {
    fn failed(error: Error) -> Made {
        Made::Trap(CallResult::failed(error))
    }
}

exports! {
    /// Instantiates a module and runs its start function. NULL if this fails; then the trap that says
    /// why is written to `trap`, unless that is NULL.
    fn wasm_instance_new(
        store: Option<&wasm_store_t>,
        module: Option<&wasm_module_t>,
        imports: Option<&wasm_extern_vec_t>,
        trap: Out<'_, Option<Box<wasm_trap_t>>>,
    ) -> Option<Box<wasm_instance_t>> {
        let trap = trap.map(|trap| trap.write(None));
        let made = entry("wasm_instance_new", || {
            let store = &store_of(store)?;
            let instance = given(module, "module").and_then(|module| instantiate(store, module, imports));
            Ok(match instance {
                Ok(instance) => Made::Instance(Box::new(instance)),
                Err(error) => Made::Trap(store.with(|mut store| {
                    CallResult::of_error("wasm_instance_new", &mut store, error)
                })?),
            })
        });
        let why = match made {
            Made::Instance(instance) => return Ok(Some(instance)),
            Made::Trap(why) => why,
        };
        if let Some(trap) = trap {
            *trap = why.into_trap();
        }
        Ok(None)
    }

    /// Writes what the instance exports, in the order of the module, to `out`.
    fn wasm_instance_exports(
        instance: Option<&wasm_instance_t>,
        out: Out<'_, wasm_extern_vec_t>,
    ) {
        let out = put(out, "out")?;
        let handle = given(instance, "instance")?;
        let store = &handle.0.store()?;
        let What::Instance(instance) = &handle.0.what else { bail!("no instance") };
        let exports = store.with(|context| {
            Ok(instance.exports(context).map(Export::into_extern).collect::<Vec<_>>())
        })?;
        let exports = exports.into_iter().map(|export| wasm_extern_t::of_extern(store, export));
        *out = exports.map(|export| Some(Box::new(export))).collect::<Vec<_>>().into();
        Ok(())
    }
}
