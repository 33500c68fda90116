//! Compilation of modules.

use super::info::ModuleInfo;
use super::{Module, cached, parse};
use crate::Engine;
use crate::compile::{CompileContext, TypeWords, compile_module};
use crate::vm::layout::VMContextLayout;
use anyhow::{Context, Result};
use gc_jit::CodeMemory;
use gc_types::CodeImage;
use std::path::Path;

impl Module {
    /// Compiles a module from the binary format or, with the feature `wat` (on by
    /// default), from text.
    ///
    /// # Errors
    /// If it is malformed, invalid or uses an unsupported feature.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        #[cfg(feature = "wat")]
        let bytes = Module::text_to_binary(bytes.as_ref())?;
        Module::from_binary(engine, bytes.as_ref())
    }

    /// Converts a module, which may be text, to the binary format.
    #[cfg(feature = "wat")]
    pub(crate) fn text_to_binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>> {
        wat::parse_bytes(bytes).context("parsing the text format")
    }

    /// Compiles the module in a file, binary or text.
    ///
    /// # Errors
    /// As [`Module::new`], and if the file cannot be read.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        #[cfg(feature = "wat")]
        let bytes = wat::parse_bytes(&bytes).map_err(|mut error| {
            error.set_path(path);
            error
        })?;
        Module::from_binary(engine, bytes.as_ref())
            .with_context(|| format!("compiling {}", path.display()))
    }

    /// Compiles a module from the binary format.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn from_binary(engine: &Engine, bytes: &[u8]) -> Result<Module> {
        if let Some(cache) = &engine.config().code.cache {
            return cached::find_or_compile(engine, cache, bytes);
        }
        let (info, image) = compile(engine, bytes, TypeWords::Constants)?;
        let code = CodeMemory::publish(image, engine.abi(), info.types.indices())?;
        Module::of(engine, info, code, Some(bytes.into()))
    }
}

/// Parses, validates and compiles.
impl Engine {
    /// Compiles a module to the bytes of [`Module::serialize`]. They are the same as those of the
    /// module that [`Module::new`] compiles, but nothing is compiled twice.
    ///
    /// # Errors
    /// As [`Module::new`], and if the machine has no file format.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, Module, Precompiled};
    ///
    /// let engine = Engine::new(&Config::new())?;
    /// let bytes = engine.precompile_module("(module (func (export \"f\")))")?;
    /// assert_eq!(Engine::detect_precompiled(&bytes), Some(Precompiled::Module));
    /// // SAFETY: the bytes are those of a compiled module.
    /// let module = unsafe { Module::deserialize(&engine, bytes)? };
    /// assert!(module.get_export("f").is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn precompile_module(&self, bytes: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        #[cfg(feature = "wat")]
        let bytes = Module::text_to_binary(bytes.as_ref())?;
        self.precompile_binary(bytes.as_ref())
    }

    /// Like [`precompile_module`](Engine::precompile_module), for the binary format.
    pub(super) fn precompile_binary(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let (info, image) = compile(self, bytes, TypeWords::Table)?;
        gc_jit::save(&image, &info.saved())
    }
}

fn compile(
    engine: &Engine,
    bytes: &[u8],
    type_words: TypeWords,
) -> Result<(ModuleInfo, CodeImage)> {
    let compilation = engine.compiler().begin();
    let (mut info, bodies) = parse::parse(engine.types(), engine.config().features.on, bytes)?;
    if !engine.config().features.branch_hints {
        info.branch_hints = Default::default();
    }
    let layout = VMContextLayout::new(engine.abi().offsets(), &info)?;
    let mut context = CompileContext::new(engine, &info, &layout, type_words);
    context.compilation = compilation;
    let image = compile_module(&context, bodies)?;
    Ok((info, image))
}
