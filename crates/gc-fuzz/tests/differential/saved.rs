//! Modules that are compiled on this machine and run on another one. Under an emulator, compilation and
//! Wasmtime take most of the time.
//!
//! `DIFFERENTIAL_SAVED` names a folder. With `DIFFERENTIAL_TARGET`, such as `aarch64-linux`, the code for
//! this machine is written there, with what Wasmtime did here. Without it, the code in the folder runs.

#![allow(unsafe_code)]

use anyhow::{Context, Result};
use gc_fuzz::differential::{Run, Setting, ours};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A module that was compiled for another machine.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    /// What the module did in Wasmtime.
    expected: Run,
    /// Its code for each setting of the seed.
    code: Vec<Vec<u8>>,
}

/// The file of a seed, and the machine for which it is written. `None` if nothing is saved.
pub(crate) fn file(seed: u64) -> Option<(PathBuf, Option<String>)> {
    let folder = std::env::var_os("DIFFERENTIAL_SAVED")?;
    let target = std::env::var("DIFFERENTIAL_TARGET").ok();
    Some((PathBuf::from(folder).join(seed.to_string()), target))
}

/// Compiles a module for another machine.
pub(crate) fn save(target: &str, seed: u64, module: &[u8], expected: &Run) -> Result<Saved> {
    let settings = Setting::of(seed);
    let code = settings.iter().map(|setting| ours::save_for(target, module, setting));
    Ok(Saved { expected: expected.clone(), code: code.collect::<Result<_>>()? })
}

/// Writes a file: a module, or why there is none.
pub(crate) fn write(file: &PathBuf, module: &Result<Saved, String>) {
    let bytes = postcard::to_allocvec(module).expect("a module can be written");
    std::fs::write(file, bytes).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
}

/// Reads a file that [`write`] wrote.
///
/// # Panics
/// If it cannot be read: then a module would be left out in silence.
pub(crate) fn read(file: &PathBuf) -> Result<Saved, String> {
    let read = || -> Result<_> { Ok(postcard::from_bytes(&std::fs::read(file)?)?) };
    let read = read().with_context(|| file.display().to_string());
    read.unwrap_or_else(|why| panic!("{why:#}"))
}

impl Saved {
    pub(crate) fn expected(&self) -> &Run {
        &self.expected
    }

    /// Runs the code for the setting with this index.
    pub(crate) fn repeat(&self, index: usize, setting: &Setting) -> Result<Run> {
        // SAFETY: `save` made the code for this setting, and nobody changes the folder.
        unsafe { ours::repeat_saved(&self.code[index], setting, &self.expected) }
    }
}
