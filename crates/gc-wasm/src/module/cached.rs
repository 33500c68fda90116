//! Modules of a [`Cache`](crate::Cache).

use super::Module;
use crate::config::Cache;
use crate::{Config, Engine};
use anyhow::{Context as _, Result};
use gc_jit::SavedImage;
use sha2::{Digest as _, Sha256};

/// The version of what is kept. Increment it when the same module is compiled differently within one
/// version of this crate.
const FORMAT: u32 = 5;

/// The key of a module: a hash of it and of everything on which its code depends. The saved image says
/// for what it was compiled too, but not the settings that only change how good the code is, and not
/// which features were on when the module was validated.
fn key(engine: &Engine, bytes: &[u8]) -> [u8; 32] {
    let Config { code, features, .. } = engine.config();
    let settings = format!(
        "reclaim module {FORMAT}, gc-wasm {}, Cranelift {}, ABI {}, {:?}, inlining: {}, {:?}, \
         branch hints: {}, {} bytes:",
        env!("CARGO_PKG_VERSION"),
        cranelift_codegen::VERSION,
        engine.abi().fingerprint(),
        code.options().compile,
        code.inlines(),
        features.on,
        features.branch_hints,
        bytes.len()
    );
    Sha256::new().chain_update(settings).chain_update(bytes).finalize().into()
}

/// The module `bytes`, which is in the binary format, from the cache, or else compiled for it.
///
/// # Errors
/// As [`Module::new`].
pub(super) fn find_or_compile(engine: &Engine, cache: &Cache, bytes: &[u8]) -> Result<Module> {
    let key = key(engine, bytes);
    let load =
        |saved: &[u8]| Module::from_saved(engine, SavedImage::from_bytes(saved, engine.abi())?);
    if let Some(module) = cache.find(&key, load) {
        return Ok(module);
    }
    let saved = engine.precompile_binary(bytes)?;
    let module = load(&saved).context("loading the compiled module")?;
    cache.keep(&key, saved);
    Ok(module)
}
