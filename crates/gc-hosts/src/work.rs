//! Long computations of host functions. An interrupt of the program abandons them.
//!
//! Code of libraries, as a search with a regular expression, cannot be stopped from outside. If it
//! may take long, it runs on a thread of its own, and the host function waits for its result or for
//! the interrupt. A computation that is abandoned goes on until it ends. Nobody sees its result.

use anyhow::{Context, Result, bail};
use gc_wasm::{InterruptHandle, Trap};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Steps after which a computation has taken long: a second, if a step is a few nanoseconds.
pub(crate) const LONG: u64 = 1 << 28;

/// The time after which an interrupt is seen.
const STEP: Duration = Duration::from_millis(5);

/// Runs `work`, which may take `steps` steps.
///
/// # Errors
/// [`Trap::Interrupt`] if the program was interrupted before. Also if the system refuses a thread.
pub(crate) fn run<R: Send + 'static>(
    interrupt: impl FnOnce() -> Option<InterruptHandle>,
    steps: u64,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    match (steps >= LONG).then(interrupt).flatten() {
        Some(handle) => abandonable(|| handle.is_interrupted(), work),
        None => Ok(work()),
    }
}

fn abandonable<R: Send + 'static>(
    interrupted: impl Fn() -> bool,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let body = move || {
        // If nobody waits any more, the result is lost.
        let _ = sender.send(work());
    };
    let thread = thread::Builder::new().name("host function".to_owned()).spawn(body);
    thread.context("making a thread for a long computation")?;
    loop {
        match receiver.recv_timeout(STEP) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) if interrupted() => return Err(Trap::Interrupt.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("a host function ended without a result"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn results_are_returned_or_abandoned() {
        assert_eq!(abandonable(|| false, || 7).unwrap(), 7);
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let endless = move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        let error = abandonable(|| true, endless).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        stop.store(true, Ordering::Relaxed);
    }
}
