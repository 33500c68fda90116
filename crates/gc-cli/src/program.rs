//! Reads and compiles (unless it was compiled before) a module in a file.
#![allow(unsafe_code)]

use crate::failure::misuse;
use crate::file_kind::no_module;
use crate::mismatch;
use crate::text_position;
use anyhow::{Context, Error, Result, bail};
use gc_script::proposals;
use gc_wasm::{CompilationEnded, Engine, Module};
use std::path::{Path, PathBuf};

/// The parser has dropped this form. The instructions themselves run.
const FOLDED_TRY: &str = "legacy exceptions are read in their flat form only: \
                          `try … catch … end`, not `(try (do …) (catch …))`";

/// A module that was read.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// The module in the binary format, or a compiled module.
    bytes: Vec<u8>,
    /// The text, if the file is text.
    text: Option<String>,
}

impl Program {
    /// Reads the file: a binary, text or compiled module.
    ///
    /// # Errors
    /// If it cannot be read, is no module, or is malformed text.
    pub fn read(path: &Path) -> Result<Program> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        let bytes = bytes.map_err(|error| match path == Path::new("-") {
            true => misuse("`-` is no file: a module is not read from the standard input"),
            false => error,
        })?;
        Program::parse(path, &bytes)
    }

    /// The program in `bytes`: binary, text or saved. Errors name it `path`.
    ///
    /// # Errors
    /// If it is no module, or malformed text.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Program> {
        if Engine::detect_precompiled(bytes).is_some() {
            return Ok(Program { path: path.to_owned(), bytes: bytes.to_vec(), text: None });
        }
        if let Some(what) = no_module(bytes) {
            bail!("{} is {what}", path.display());
        }
        let text = std::str::from_utf8(bytes).ok().filter(|_| !bytes.starts_with(b"\0asm"));
        let text = text.map(str::to_owned);
        let bytes = wat::parse_bytes(bytes).map_err(|mut error| {
            error.set_path(path);
            let folded = error.to_string().contains("(do");
            let error = Error::from(error);
            match folded {
                true => error.context(FOLDED_TRY),
                false => error,
            }
        })?;
        Ok(Program { path: path.to_owned(), bytes: bytes.into_owned(), text })
    }

    /// The module in the binary format, which may be invalid, or a compiled module.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the file, which is the first argument of a program.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether the file is a compiled module.
    pub fn is_compiled(&self) -> bool {
        Engine::detect_precompiled(&self.bytes).is_some()
    }

    /// Compiles the module, or loads it if it is already compiled.
    ///
    /// # Errors
    /// If it is malformed, invalid, uses an unsupported feature, or was compiled for another
    /// engine.
    pub fn compile(&self, engine: &Engine) -> Result<Module> {
        if self.is_compiled() {
            // SAFETY: the user must trust a compiled file like any other executable, as the
            // command's help says. Accidental damage is found.
            let module = unsafe { Module::deserialize_file(engine, &self.path) };
            return module
                .map_err(|error| mismatch::explain(error, &self.path, engine.collector()));
        }
        let module = Module::from_binary(engine, &self.bytes);
        module.map_err(|error| self.placed(error)).with_context(|| self.compiling())
    }

    /// Checks that it could be compiled, if it is not a compiled module.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn validate(&self, engine: &Engine) -> Result<()> {
        let valid = Module::validate(engine, &self.bytes);
        valid.map_err(|error| self.placed(error)).with_context(|| self.compiling())
    }

    /// An error of the module. If the file is text, with its place there. If the module needs a
    /// proposal that is not supported, with the proposal's name.
    pub fn placed(&self, error: Error) -> Error {
        // What follows reads the whole module, which takes long for a large one.
        if error.is::<CompilationEnded>() {
            return error;
        }
        let error = match &self.text {
            Some(text) => text_position::in_text(error, &self.path, text),
            None => error,
        };
        match &proposals::needed_by(&self.bytes)[..] {
            [] => error,
            needed => error.context(format!("not supported: the proposal {}", needed.join(", "))),
        }
    }

    /// The context for errors: what is being done.
    pub fn compiling(&self) -> String {
        format!("compiling {}", self.path.display())
    }
}
