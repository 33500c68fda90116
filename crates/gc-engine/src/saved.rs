//! [`Code`] that is saved and loaded in the same or another process, without a compiler.
//!
//! The file is a saved image ([`gc_jit::save`]). Its embedder's section has the
//! [declarations](crate::declarations).
#![allow(unsafe_code)]

use crate::declarations::{Declarations, Loader};
use crate::{Code, Engine};
use anyhow::{Context as _, Result};
use gc_jit::SavedImage;
use std::path::Path;

impl Code {
    /// The code as bytes, from which [`deserialize`](Code::deserialize) makes it again. They are an
    /// ELF file with the machine code, which `objdump -d` and `gdb` can read. An engine can load
    /// it if its collector, options and version are the same ([`Engine::abi`]) and its machine has
    /// the processor extensions of this one.
    ///
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Code, Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::generational())?;
    /// let mut module = Module::new(&engine);
    /// module.function("double", [Type::I64], [Type::I64], |f| {
    ///     let n = f.param(0);
    ///     let sum = f.add(n, n);
    ///     f.ret(&[sum]);
    /// })?;
    /// let bytes = module.compile()?.serialize()?;
    ///
    /// // Usually in another process, which needs no compiler.
    /// let engine = Engine::new(Collector::generational())?;
    /// // SAFETY: these are the bytes that `serialize` returned.
    /// let code = unsafe { Code::deserialize(&engine, &bytes)? };
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&code)?;
    /// assert_eq!(store.function::<i64, i64>("double")?.call(&mut store, 21)?, 42);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// If there is no file format for this machine.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        gc_jit::save(self.image(), &Declarations::of(self).to_bytes()?)
    }

    /// Makes code from bytes that [`serialize`](Code::serialize) returned. The bytes are copied.
    ///
    /// # Errors
    /// If they are not saved code, are damaged, or belong to another version, collector, options
    /// or machine. The error names the difference.
    ///
    /// # Safety
    /// The bytes must be those that [`serialize`](Code::serialize) returned. A checksum finds
    /// accidental damage. But the bytes are machine code: someone who chooses them can do anything
    /// in this process.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Code> {
        let saved = SavedImage::from_bytes(bytes.as_ref(), engine.abi());
        Code::from_saved(engine, saved.context("loading saved code")?)
    }

    /// Loads the code that is saved in a file. The file is mapped and its code is executed in
    /// place. Nothing is copied, and processes that run the code share its memory.
    ///
    /// # Errors
    /// As for [`deserialize`](Code::deserialize), and if the file cannot be mapped.
    ///
    /// # Safety
    /// As for [`deserialize`](Code::deserialize). Also, the file must not change while the code or
    /// a store of it exists.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Code> {
        let path = path.as_ref();
        // SAFETY: the caller promises that the file does not change.
        let saved = unsafe { SavedImage::open(path, engine.abi())? };
        Code::from_saved(engine, saved).with_context(|| format!("loading {}", path.display()))
    }

    fn from_saved(engine: &Engine, saved: SavedImage) -> Result<Code> {
        let (bytes, range) = saved.embedder();
        let bytes = &(*bytes).as_ref()[range];
        Loader::new(engine).load(bytes, |indices| saved.publish(indices))
    }
}
