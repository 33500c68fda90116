//! Reads, compiles (unless it was compiled before) and instantiates a module in a file.
#![allow(unsafe_code)]

use anyhow::{Context, Result, bail};
use gc_wasm::{Engine, Instance, Linker, Module, Store};
use std::path::{Path, PathBuf};

/// A module that was read.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// The module in the binary format, or a compiled module.
    bytes: Vec<u8>,
}

impl Program {
    /// Reads the file: a binary, text or compiled module.
    ///
    /// # Errors
    /// If it cannot be read, or is malformed text.
    pub fn read(path: &Path) -> Result<Program> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Program::parse(path, &bytes)
    }

    /// The program in `bytes`: binary, text or saved. Errors name it `path`.
    ///
    /// # Errors
    /// If it is malformed text.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Program> {
        if Module::is_saved(bytes) {
            return Ok(Program { path: path.to_owned(), bytes: bytes.to_vec() });
        }
        let bytes = wat::parse_bytes(bytes).map_err(|mut error| {
            error.set_path(path);
            error
        })?;
        Ok(Program { path: path.to_owned(), bytes: bytes.into_owned() })
    }

    /// The module in the binary format, which may be invalid, or a compiled module.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the file is a compiled module.
    pub fn is_compiled(&self) -> bool {
        Module::is_saved(&self.bytes)
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
            return unsafe { Module::deserialize_file(engine, &self.path) };
        }
        Module::from_binary(engine, &self.bytes).with_context(|| self.compiling())
    }

    /// Checks that it could be compiled, or that it was compiled for this engine.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn validate(&self, engine: &Engine) -> Result<()> {
        if self.is_compiled() {
            return self.compile(engine).map(drop);
        }
        Module::validate(engine, &self.bytes).with_context(|| self.compiling())
    }

    /// The context for errors: what is being done.
    pub fn compiling(&self) -> String {
        format!("compiling {}", self.path.display())
    }
}

/// The maximum number of imports that are listed.
const LISTED: usize = 10;

/// Checks that the module imports nothing, because the command provides nothing to import.
///
/// # Errors
/// If the module imports something.
pub fn check_imports(module: &Module) -> Result<()> {
    let imports = module.imports();
    let count = imports.len();
    if count == 0 {
        return Ok(());
    }
    let mut list = String::new();
    for import in imports.take(LISTED) {
        list.push_str(&format!("\n  {}.{}: {}", import.module(), import.name(), import.ty()));
    }
    if count > LISTED {
        list.push_str(&format!("\n  … and {} more", count - LISTED));
    }
    bail!("the module imports what this command does not provide:{list}")
}

/// An instance of a module that passed [`check_imports`].
///
/// # Errors
/// If it exceeds the store's limits, or its start function fails.
pub fn instantiate(store: &mut Store<()>, module: &Module) -> Result<Instance> {
    Linker::new(module.engine()).instantiate(store, module).context("instantiating the module")
}
