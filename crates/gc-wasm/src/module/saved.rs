//! Modules that were compiled before: saved with [`Module::serialize`], here or in another
//! process, and loaded without a compiler.
#![allow(unsafe_code)]

use super::declarations::Bytes;
use super::{Module, parse};
use crate::Engine;
use anyhow::{Context as _, Result};
use gc_jit::SavedImage;
use std::path::Path;

impl Module {
    /// The module as bytes, from which [`deserialize`](Module::deserialize) makes it again:
    /// an ELF file with its machine code, which `objdump -d` shows. It can be loaded by any
    /// engine whose collector, options and version are the same ([`Engine::abi`]), on a
    /// machine that has the processor extensions this one has. The same module makes the
    /// same bytes.
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
    /// let mut store = Store::new(&engine, ())?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let two = instance.get_typed_func::<(), i32>(&mut store, "two")?;
    /// assert_eq!(two.call(&mut store, ())?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is no format for this machine.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        gc_jit::save(self.code().image(), &self.info().declarations)
    }

    /// The module that [`serialize`](Module::serialize) made these bytes of. They are copied.
    ///
    /// # Errors
    /// If they are no saved module, are damaged, or are of another version, collector,
    /// options or machine: the error says what differs.
    ///
    /// # Safety
    /// They must be bytes that [`serialize`](Module::serialize) returned. A checksum finds
    /// what an accident did to them. But they are machine code: somebody who can choose them
    /// can do in this process what they like.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let saved = SavedImage::from_bytes(bytes.as_ref(), engine.abi());
        Module::from_saved(engine, saved.context("loading a saved module")?)
    }

    /// The module that is saved in a file. The file is mapped and its code executed there, so
    /// that nothing of it is copied, and processes that run it share its memory.
    ///
    /// # Errors
    /// As [`deserialize`](Module::deserialize), and if the file cannot be mapped.
    ///
    /// # Safety
    /// As [`deserialize`](Module::deserialize), and the file must not change while the module
    /// or an instance of it exists.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        // SAFETY: the caller keeps the file as it is.
        let saved = unsafe { SavedImage::open(path.as_ref(), engine.abi())? };
        Module::from_saved(engine, saved)
            .with_context(|| format!("loading {}", path.as_ref().display()))
    }

    /// Whether `bytes` begin as a saved module does: as an ELF file.
    pub fn is_saved(bytes: &[u8]) -> bool {
        gc_jit::is_saved(bytes)
    }

    fn from_saved(engine: &Engine, saved: SavedImage) -> Result<Module> {
        let (source, range) = saved.embedder();
        let info = parse::parse_declarations(engine.types(), Bytes::new(source, range))
            .context("the declarations of a saved module")?;
        let code = saved.publish(info.types.all())?;
        Ok(Module::of(engine, info, code))
    }
}
