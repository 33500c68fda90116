//! Ends a running program: by Ctrl-C, or when the time of `--timeout` is over.
//!
//! The first Ctrl-C interrupts the program, which ends with its backtrace. The second one ends the
//! command. If no program runs, for example because it is still being compiled, the first one does.
//! If the program is in a host function that does not end soon, the command ends without it.

use crate::failure::misuse;
use crate::interrupted::Interrupted;
use crate::options::{HeapOptions, LoopPolls};
use anyhow::{Error, Result};
use clap::Args;
use gc_hosts::HostCtx;
use gc_wasm::{InterruptHandle, Store, Trap};
use std::io::{self, Write};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How a run is ended.
#[derive(Args, Clone, Debug, Default)]
pub struct InterruptOptions {
    /// End the command after this time, such as 10s or 1m30s. Compilation counts.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = None::<&str>)]
    pub timeout: Option<Duration>,
}

/// Parses a time with its unit.
fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 10s or 1m30s".to_owned())
}

/// The time that an interrupted program has to end. It may be in a host function that computes for a
/// long time.
const GRACE: Duration = Duration::from_secs(2);

/// Ends the command, which was doing `what`.
fn end(cause: Interrupted, what: &str) -> ! {
    let while_ = if what.is_empty() { "" } else { ", while " };
    // If stderr is closed, the error cannot be printed.
    let _ = writeln!(io::stderr(), "error: {cause}{while_}{what}");
    process::exit(i32::from(cause.status()));
}

/// Waits for Ctrl-C and the end of the time, and interrupts the program that runs then.
#[derive(Clone, Debug, Default)]
pub struct Interrupter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: Option<InterruptHandle>,
    /// What the command does if no program runs, such as `compiling a.wat`.
    doing: String,
    cause: Option<Interrupted>,
}

/// A program that runs, until this is dropped.
#[derive(Debug)]
pub struct Running(Interrupter);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running = None;
    }
}

impl InterruptOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// Misuse: if there is a time, and programs cannot be interrupted.
    pub fn check(&self, options: &HeapOptions) -> Result<()> {
        if self.timeout.is_some() && options.loop_polls == LoopPolls::Off {
            return Err(misuse("`--timeout` needs the polls that `--loop-polls off` leaves out"));
        }
        Ok(())
    }

    /// Begins to wait.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen(&self) -> Result<Interrupter> {
        let interrupter = Interrupter::default();
        let listener = interrupter.clone();
        match ctrlc::try_set_handler(move || listener.interrupt(Interrupted::CtrlC)) {
            // Somebody who uses the command as a library handles Ctrl-C.
            Ok(()) | Err(ctrlc::Error::MultipleHandlers) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(time) = self.timeout {
            let timer = interrupter.clone();
            thread::Builder::new().name("timeout".to_owned()).spawn(move || {
                thread::sleep(time);
                timer.interrupt(Interrupted::Timeout(time));
            })?;
        }
        Ok(interrupter)
    }
}

impl Interrupter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupt(&self, cause: Interrupted) {
        let mut state = self.state();
        match (&state.running, state.cause) {
            (Some(handle), None) => {
                handle.interrupt();
                state.cause = Some(cause);
                self.expect_end();
            }
            // The program is ending already.
            (Some(_), Some(_)) if cause != Interrupted::CtrlC => {}
            _ => end(cause, &state.doing),
        }
    }

    /// Says what the command does from now on, until a program runs. If it is ended, the message says
    /// so.
    pub fn doing(&self, what: impl Into<String>) {
        self.state().doing = what.into();
    }

    /// Ends the command if the program, which was interrupted, does not end soon.
    fn expect_end(&self) {
        let interrupter = self.clone();
        let wait = move || {
            thread::sleep(GRACE);
            let state = interrupter.state();
            if let (Some(_), Some(cause)) = (&state.running, state.cause) {
                end(cause, "the program was in a host function or a collection");
            }
        };
        // If there is no thread, a second Ctrl-C ends the command.
        let _ = thread::Builder::new().name("interrupt".to_owned()).spawn(wait);
    }

    /// Lets the program of `store` be interrupted from now on, until the result is dropped. If its
    /// engine is not interruptible, the command ends instead.
    ///
    /// # Errors
    /// [`Interrupted`] if it is too late.
    pub fn begin(&self, store: &Store<HostCtx>) -> Result<Running> {
        let handle = store.interrupt_handle().ok();
        let mut state = self.state();
        match state.cause {
            Some(cause) => Err(cause.into()),
            None => {
                state.running = handle;
                state.doing.clear();
                Ok(Running(self.clone()))
            }
        }
    }

    /// The error of a program. If it was interrupted, with the reason.
    pub fn explain(&self, error: Error) -> Error {
        let ended = error.downcast_ref() == Some(&Trap::Interrupt);
        match self.state().cause {
            Some(cause) if ended => error.context(cause),
            _ => error,
        }
    }
}
