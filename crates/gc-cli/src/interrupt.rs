//! Ends a compilation or a running program: by Ctrl-C, or when the time of `--timeout` is over.
//!
//! The first Ctrl-C interrupts the program, which ends with its backtrace, or cancels the compilation,
//! which ends with the name of the function. The second one ends the command. If the command does
//! something else, the first one does. If the program is in a host function that does not end soon, or
//! the compilation in a very large function, the command ends without it.

use crate::duration;
use crate::failure::misuse;
use crate::interrupted::Interrupted;
use crate::option_names::OptionNames;
use crate::options::{ExecutionArgs, LoopPolls};
use anyhow::{Error, Result};
use clap::Args;
use gc_hosts::HostCtx;
use gc_wasm::{CompilationEnded, Engine, InterruptHandle, Store, Trap};
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
    /// The names by which errors call options.
    #[arg(skip)]
    pub names: OptionNames,
}

/// Parses a time with its unit.
fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text, "10s or 1m30s")
}

/// The time that what is interrupted has to end. A program may be in a host function that computes for
/// a long time.
const GRACE: Duration = Duration::from_secs(2);

/// Ends the command, which was doing `what`.
fn end(cause: Interrupted, what: &str) -> ! {
    let while_ = if what.is_empty() { "" } else { ", while " };
    // If stderr is closed, the error cannot be printed.
    let _ = writeln!(io::stderr(), "error: {cause}{while_}{what}");
    process::exit(i32::from(cause.status()));
}

/// Waits for Ctrl-C and the end of the time, and interrupts what is done then.
#[derive(Clone, Debug, Default)]
pub struct Interrupter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    work: Option<Work>,
    /// What the command does if no program runs, such as `compiling a.wat`.
    doing: String,
    cause: Option<Interrupted>,
}

/// What can be interrupted.
#[derive(Debug)]
enum Work {
    Run(InterruptHandle),
    Compilation(Engine),
}

/// A program that runs, or a compilation, until this is dropped.
#[derive(Debug)]
pub struct Running(Interrupter);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().work = None;
    }
}

impl InterruptOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// Misuse: if there is a time, and programs cannot be interrupted.
    pub fn check(&self, options: &ExecutionArgs) -> Result<()> {
        if self.timeout.is_some() && options.loop_polls == LoopPolls::Off {
            return Err(misuse(format!(
                "`{}` needs the polls that `--loop-polls off` leaves out",
                self.names.timeout
            )));
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
            let option = self.names.timeout;
            thread::Builder::new().name("timeout".to_owned()).spawn(move || {
                thread::sleep(time);
                timer.interrupt(Interrupted::Timeout(time, option));
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
        match (&state.work, state.cause) {
            (Some(work), None) => {
                match work {
                    Work::Run(handle) => handle.interrupt(),
                    Work::Compilation(engine) => engine.cancel_compilations(),
                }
                state.cause = Some(cause);
                self.expect_end();
            }
            // It is ending already.
            (Some(_), Some(_)) if cause != Interrupted::CtrlC => {}
            _ => end(cause, &state.doing),
        }
    }

    /// Says what the command does from now on, until a program runs. If it is ended, the message says
    /// so.
    pub fn doing(&self, what: impl Into<String>) {
        self.state().doing = what.into();
    }

    /// Compiles with `engine`, which can be interrupted. `what` is as for [`Interrupter::doing`].
    ///
    /// # Errors
    /// As `compile`. If it was interrupted, with the reason.
    pub fn compiling<T>(
        &self,
        engine: &Engine,
        what: impl Into<String>,
        compile: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        {
            let mut state = self.state();
            state.doing = what.into();
            state.work = Some(Work::Compilation(engine.clone()));
        }
        let running = Running(self.clone());
        let compiled = compile();
        drop(running);
        compiled.map_err(|error| self.explain(error))
    }

    /// Ends the command if what was interrupted does not end soon.
    fn expect_end(&self) {
        let interrupter = self.clone();
        let wait = move || {
            thread::sleep(GRACE);
            let state = interrupter.state();
            match (&state.work, state.cause) {
                (Some(Work::Run(_)), Some(cause)) => {
                    end(cause, "the program was in a host function or a collection");
                }
                (Some(Work::Compilation(_)), Some(cause)) => end(cause, &state.doing),
                _ => {}
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
                state.work = handle.map(Work::Run);
                state.doing.clear();
                Ok(Running(self.clone()))
            }
        }
    }

    /// The error of a program or a compilation. If it was interrupted, with the reason.
    pub fn explain(&self, error: Error) -> Error {
        let ended = error.downcast_ref() == Some(&Trap::Interrupt)
            || error.downcast_ref() == Some(&CompilationEnded::Cancelled);
        match self.state().cause {
            Some(cause) if ended => error.context(cause),
            _ => error,
        }
    }
}
