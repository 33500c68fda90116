//! What the collectors cost, beside Wasmtime's, in one process.
//!
//! A [`Contestant`] is an engine with one collector: each of this project's
//! ([`reclaim`]) and each of Wasmtime's ([`peer`]). Both offer the same embedding
//! interface, so one text, [`contestant`](mod@contestant), runs them, and no side
//! gets friendlier host code than the other. The criterion benches time small loops;
//! the program `programs` times whole programs, and `stress` those that ask much of a heap.

pub mod clock;
pub mod contestant;
pub mod measure;
pub mod options;
pub mod peer;
pub mod race;
pub mod reclaim;
pub mod report;
pub mod suite;

pub use contestant::{Answer, Call, Contestant, Heap, Module, Running, Settings};

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

/// Whether a filter lets a name through: one of its parts is in the name, or there are none.
pub fn wanted(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

/// Stack on top of what compiled code may use, in bytes.
const HOST_STACK: usize = 8 << 20;

/// Runs something on a thread with so many bytes of stack for compiled code.
///
/// # Errors
/// If there is no such thread, or what it runs fails.
pub fn with_stack(bytes: usize, run: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(bytes + HOST_STACK).spawn(run)?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
