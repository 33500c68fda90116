//! Compiled modules that are saved with [`Module::serialize`] and loaded in the same or another
//! process, without a compiler.
#![allow(unsafe_code)]

use super::declarations::Bytes;
use super::{Module, parse};
use crate::Engine;
use anyhow::{Context as _, Result};
use gc_jit::SavedImage;
use std::fs::File;
use std::path::Path;
use std::ptr::NonNull;

impl Module {
    /// The module as bytes, from which [`deserialize`](Module::deserialize) makes it again. They
    /// are an ELF file with the machine code, which `objdump -d` can show. An engine can load it if
    /// its collector, options and version are the same ([`Engine::abi`]) and its machine has the
    /// processor extensions of this one. The same module gives the same bytes.
    ///
    /// The code of a module that was compiled in this process contains type indices of its engine,
    /// because such code is the fastest. It cannot be saved, so this method compiles the module once
    /// more. `Engine::precompile_module` compiles it only for saving.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store};
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let wat = r#"(module (func (export "two") (result i32) (i32.const 2)))"#;
    /// let bytes = Module::new(&Engine::new(&Config::new())?, wat)?.serialize()?;
    ///
    /// let engine = Engine::new(&Config::new())?;
    /// // SAFETY: these are the bytes that `serialize` returned.
    /// let module = unsafe { Module::deserialize(&engine, &bytes)? };
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let two = instance.get_typed_func::<(), i32>(&mut store, "two")?;
    /// assert_eq!(two.call(&mut store, ())?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is no file format for this machine.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        #[cfg(feature = "compiler")]
        if let Some(binary) = &self.0.binary {
            return self.engine().precompile_module(binary);
        }
        gc_jit::save(self.code().image(), &self.info().saved())
    }

    /// Makes a module from bytes that [`serialize`](Module::serialize) returned. The bytes are
    /// copied.
    ///
    /// # Errors
    /// If they are not a saved module, are damaged, or belong to another version, collector,
    /// options or machine. The error names the difference.
    ///
    /// # Safety
    /// The bytes must be those that [`serialize`](Module::serialize) returned. A checksum finds
    /// accidental damage. But the bytes are machine code: someone who chooses them can do anything
    /// in this process.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let bytes = bytes.as_ref();
        let saved = SavedImage::from_bytes(bytes, engine.abi());
        let saved = saved.map_err(|error| match parse::uncompiled(bytes) {
            Some(form) => error.context(format!("this is {form}, and `Module::new` compiles it")),
            None => error,
        });
        Module::from_saved(engine, saved.context("loading a saved module")?)
    }

    /// Loads the module that is saved in a file. The file is mapped and its code is executed in
    /// place. Nothing is copied, and processes that run the code share its memory.
    ///
    /// # Errors
    /// As for [`deserialize`](Module::deserialize), and if the file cannot be mapped.
    ///
    /// # Safety
    /// As for [`deserialize`](Module::deserialize). Also, the file must not change while the module
    /// or an instance of it exists.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        // SAFETY: the caller guarantees that the file does not change.
        let saved = unsafe { SavedImage::open(path.as_ref(), engine.abi())? };
        Module::from_saved(engine, saved)
            .with_context(|| format!("loading {}", path.as_ref().display()))
    }

    /// Like [`deserialize_file`](Module::deserialize_file), for a file that is open. It can be closed
    /// afterwards.
    ///
    /// # Errors
    /// As for [`deserialize_file`](Module::deserialize_file).
    ///
    /// # Safety
    /// As for [`deserialize_file`](Module::deserialize_file).
    pub unsafe fn deserialize_open_file(engine: &Engine, file: File) -> Result<Module> {
        // SAFETY: the caller guarantees that the file does not change.
        let saved = unsafe { SavedImage::open_file(&file, engine.abi()) };
        Module::from_saved(engine, saved.context("loading a saved module")?)
    }

    /// Makes a module from bytes that [`serialize`](Module::serialize) returned. The code is copied to
    /// pages that can be executed.
    ///
    /// # Errors
    /// As for [`deserialize`](Module::deserialize).
    ///
    /// # Safety
    /// As for [`deserialize`](Module::deserialize). Also, the memory must be readable as long as the
    /// module or an instance of it exists, and must not change.
    pub unsafe fn deserialize_raw(engine: &Engine, memory: NonNull<[u8]>) -> Result<Module> {
        // SAFETY: the caller guarantees that the memory is readable and does not change.
        unsafe { Module::deserialize(engine, memory.as_ref()) }
    }

    pub(super) fn from_saved(engine: &Engine, saved: SavedImage) -> Result<Module> {
        let (source, range) = saved.embedder();
        let info = parse::parse_saved(
            engine.types(),
            engine.config().features.on,
            Bytes::new(source, range),
        )
        .context("the declarations of a saved module")?;
        let code = saved.publish(info.types.indices());
        let code = code.context("the code of a saved module")?;
        Module::of(engine, info, code, None)
    }
}
