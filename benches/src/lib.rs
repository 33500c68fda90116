//! What the collectors cost, beside Wasmtime's, in one process.
//!
//! A [`Contestant`] is an engine with one collector: each of this project's
//! ([`reclaim`]) and each of Wasmtime's ([`peer`]). Both offer the same embedding
//! interface, so one text, [`contestant`](mod@contestant), runs them, and no side
//! gets friendlier host code than the other. The criterion benches time small loops;
//! the program `programs` times whole programs.

pub mod contestant;
pub mod measure;
pub mod peer;
pub mod reclaim;
pub mod suite;

pub use contestant::{Answer, Call, Contestant, Module, Running, Settings};

use anyhow::Result;

/// Every collector of this project, then every one of Wasmtime's.
///
/// # Errors
/// If an engine cannot be made with the settings.
pub fn contestants(settings: &Settings) -> Result<Vec<Box<dyn Contestant>>> {
    let mut all = reclaim::all(settings)?;
    all.extend(peer::all(settings)?);
    Ok(all)
}
