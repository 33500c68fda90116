//! Modules, and modules that several threads share.

use crate::error::given;
use crate::host_info::HostInfo;
use crate::macros::exports;
use crate::reference::{What, wasm_module_t, wasm_ref_t};
use crate::store::{store_of, wasm_store_t};
use crate::types::{wasm_exporttype_t, wasm_importtype_t};
use crate::vector::{Out, put, wasm_byte_vec_t, wasm_exporttype_vec_t, wasm_importtype_vec_t};
use anyhow::{Result, bail, ensure};
use gc_wasm::{Engine, Module};
use std::sync::{Arc, Mutex};

/// A module of a store.
pub(crate) struct ModuleObject {
    pub(crate) module: Module,
    pub(crate) info: Mutex<HostInfo>,
}

/// A module that any thread can obtain for a store of its engine: `wasm_shared_module_t`.
pub struct wasm_shared_module_t(Module);

impl wasm_module_t {
    fn new(store: &crate::store::StoreRef, module: Module) -> Box<wasm_module_t> {
        let object = Arc::new(ModuleObject { module, info: Mutex::default() });
        Box::new(wasm_module_t(wasm_ref_t::new(store, What::Module(object))))
    }

    pub(crate) fn module(&self) -> Result<&Module> {
        match &self.0.what {
            What::Module(object) => Ok(&object.module),
            other => bail!("{} is no module", other.name()),
        }
    }
}

exports! {
    /// Compiles a module in the binary format. NULL if it is malformed, invalid, or uses something
    /// that is not supported.
    fn wasm_module_new(
        store: Option<&wasm_store_t>,
        binary: Option<&wasm_byte_vec_t>,
    ) -> Option<Box<wasm_module_t>> {
        let store = &store_of(store)?;
        let module = Module::from_binary(&store.engine()?, given(binary, "binary")?.as_slice())?;
        Ok(Some(wasm_module_t::new(store, module)))
    }

    /// Whether a module is valid. It is not compiled.
    fn wasm_module_validate(
        store: Option<&wasm_store_t>,
        binary: Option<&wasm_byte_vec_t>,
    ) -> bool {
        let engine = store_of(store)?.engine()?;
        Module::validate(&engine, given(binary, "binary")?.as_slice())?;
        Ok(true)
    }

    /// Writes the module's imports to `out`.
    fn wasm_module_imports(
        module: Option<&wasm_module_t>,
        out: Out<'_, wasm_importtype_vec_t>,
    ) {
        let out = put(out, "out")?;
        let imports = given(module, "module")?.module()?.imports();
        let imports = imports.map(|import| Some(Box::new(wasm_importtype_t::of(&import))));
        *out = imports.collect::<Vec<_>>().into();
        Ok(())
    }

    /// Writes the module's exports to `out`.
    fn wasm_module_exports(
        module: Option<&wasm_module_t>,
        out: Out<'_, wasm_exporttype_vec_t>,
    ) {
        let out = put(out, "out")?;
        let exports = given(module, "module")?.module()?.exports();
        let exports = exports.map(|export| Some(Box::new(wasm_exporttype_t::of(&export))));
        *out = exports.collect::<Vec<_>>().into();
        Ok(())
    }

    /// Writes the compiled module to `out`. Empty if that is not possible.
    fn wasm_module_serialize(module: Option<&wasm_module_t>, out: Out<'_, wasm_byte_vec_t>) {
        let out = put(out, "out")?;
        *out = given(module, "module")?.module()?.serialize()?.into();
        Ok(())
    }

    /// Makes a module of what `wasm_module_serialize` has written. Its code is trusted. NULL if it is
    /// damaged, or was compiled by another version or with other settings.
    fn wasm_module_deserialize(
        store: Option<&wasm_store_t>,
        saved: Option<&wasm_byte_vec_t>,
    ) -> Option<Box<wasm_module_t>> {
        let store = &store_of(store)?;
        let saved = given(saved, "bytes")?.as_slice();
        // SAFETY: the header says that the bytes come from `wasm_module_serialize`.
        let module = unsafe { Module::deserialize(&store.engine()?, saved)? };
        Ok(Some(wasm_module_t::new(store, module)))
    }

    /// The module for other threads.
    fn wasm_module_share(module: Option<&wasm_module_t>) -> Option<Box<wasm_shared_module_t>> {
        let module = given(module, "module")?.module()?;
        Ok(Some(Box::new(wasm_shared_module_t(module.clone()))))
    }

    /// The module for a store. NULL if the store is of another engine.
    fn wasm_module_obtain(
        store: Option<&wasm_store_t>,
        shared: Option<&wasm_shared_module_t>,
    ) -> Option<Box<wasm_module_t>> {
        let (store, shared) = (&store_of(store)?, given(shared, "shared")?);
        let same = Engine::same(&store.engine()?, shared.0.engine());
        ensure!(same, "the module belongs to another engine");
        Ok(Some(wasm_module_t::new(store, shared.0.clone())))
    }

    /// Deletes a shared module.
    fn wasm_shared_module_delete(shared: Option<Box<wasm_shared_module_t>>) {
        drop(shared);
        Ok(())
    }
}
