//! [`UnknownImportError`]: the error of an import that a linker does not define.

use crate::{ExternType, ImportType};
use std::fmt;

/// The error of an import that a [`Linker`](crate::Linker) does not define.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Linker, Module, Store, UnknownImportError};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (import "host" "log" (func (param i32))))"#)?;
/// let error = Linker::new(&engine).instantiate(Store::new(&engine, ()), &module).unwrap_err();
/// let unknown: UnknownImportError = error.downcast()?;
/// assert_eq!((unknown.module(), unknown.name()), ("host", "log"));
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    pub(super) fn new(import: &ImportType<'_>) -> UnknownImportError {
        UnknownImportError {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            ty: import.ty(),
        }
    }

    /// The first of the two names.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The second of the two names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the import.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownImportError { module, name, ty } = self;
        write!(f, "unknown import: `{module}::{name}` of type {ty} has not been defined")
    }
}

impl std::error::Error for UnknownImportError {}
