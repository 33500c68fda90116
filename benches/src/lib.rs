//! Benchmarks of the collectors, compared with Wasmtime's in one process.
//!
//! A [`Contestant`] is an engine with one collector: each of this project's ([`reclaim`]) and each
//! of Wasmtime's ([`peer`]). Both have the same embedding interface, so the same source,
//! [`contestant`](mod@contestant), runs them, and both get the same host code. The criterion
//! benches time small loops. The program `programs` times whole programs, and `stress` runs
//! programs that stress a heap; it finds pauses in the [`ticks`] of a program. `price` measures what
//! collection costs ([`price`](mod@price)), and `memory` what memory buys ([`trade`]). [`plot`] draws
//! pictures, and [`record`] writes what a bench has measured as a page of the book.

pub mod clock;
pub mod contestant;
pub mod measure;
pub mod mmu;
pub mod options;
pub mod peer;
pub mod picture;
pub mod plot;
pub mod price;
pub mod race;
pub mod reclaim;
pub mod record;
pub mod report;
pub mod suite;
pub mod ticks;
pub mod trade;
pub mod v8;
pub mod watched;

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

/// Whether a name passes a filter: the filter is empty, or the name contains one of its parts.
pub fn wanted(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

/// Bytes of stack in addition to that of compiled code.
const HOST_STACK: usize = 8 << 20;

/// Runs a function on a thread with `bytes` of stack for compiled code.
///
/// # Errors
/// If the thread cannot be made, or the function fails.
pub fn with_stack(bytes: usize, run: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(bytes + HOST_STACK).spawn(run)?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
