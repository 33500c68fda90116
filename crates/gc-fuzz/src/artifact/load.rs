//! Loads bytes that may have been changed.
#![allow(unsafe_code)]

use anyhow::Result;
use gc_wasm::{Engine, Module};

/// The module as it is after it was saved and loaded. It may run.
pub(crate) fn saved_and_loaded(module: &Module) -> Result<Module> {
    let bytes = module.serialize()?;
    // SAFETY: the engine has just made these bytes.
    unsafe { Module::deserialize(module.engine(), bytes) }
}

/// Loads a saved module. It may run.
///
/// # Safety
/// An engine with the same configuration made the bytes.
#[cfg(feature = "peers")]
pub(crate) unsafe fn load_unchanged(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: as the caller promises.
    unsafe { Module::deserialize(engine, bytes) }
}

/// Loads a saved module. If its bytes were changed, the caller only looks at what it declares.
pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: machine code can do anything only when it runs. That of a changed module never runs:
    // the caller makes no instance of it.
    unsafe { Module::deserialize(engine, bytes) }
}
