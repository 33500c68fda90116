//! Failures of the command: the text on stderr and the exit status.

use anyhow::Error;
use gc_conformance::message::trap_message;
use gc_wasm::{Backtrace, Trap, TrapError};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// A failure that [`report`] handles in a special way.
#[derive(Debug)]
pub enum Failure {
    /// The command was used wrongly: exit status 2.
    Misuse(String),
    /// Everything was printed already: exit status 1.
    Reported,
}

impl Failure {
    /// The exit status of misuse. The exit status of every other failure is 1.
    pub const MISUSE: u8 = 2;
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Misuse(message) => f.write_str(message),
            Failure::Reported => f.write_str("something failed"),
        }
    }
}

impl std::error::Error for Failure {}

/// An error made by the user of the command.
pub fn misuse(message: impl Into<String>) -> Error {
    Failure::Misuse(message.into()).into()
}

/// Prints an error on stderr and returns the exit status for it.
pub fn report(error: &Error) -> ExitCode {
    let status = status(error);
    if status != 0 && !matches!(error.downcast_ref(), Some(Failure::Reported)) {
        // If stderr is closed, the error cannot be printed.
        let _ = writeln!(io::stderr(), "error: {}", describe(error));
    }
    ExitCode::from(status)
}

/// The exit status for an error. A closed stdout is not an error.
fn status(error: &Error) -> u8 {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    match error.downcast_ref::<Failure>() {
        Some(Failure::Misuse(_)) => Failure::MISUSE,
        Some(Failure::Reported) => 1,
        None if error.chain().any(closed) => 0,
        None => 1,
    }
}

/// An error with its causes, one per line. For a trap also its backtrace and, if an option of the
/// command could help, a hint.
pub fn describe(error: &Error) -> String {
    let mut text = String::new();
    for (i, cause) in error.chain().enumerate() {
        if i > 0 {
            text.push_str("\n  caused by: ");
        }
        match cause.downcast_ref::<TrapError>() {
            Some(trap) => text.push_str(&describe_trap(trap)),
            None => text.push_str(&cause.to_string()),
        }
    }
    text
}

fn describe_trap(error: &TrapError) -> String {
    let mut text = trap_message(error);
    if !error.backtrace.is_empty() {
        text.push_str("\nwasm backtrace:");
        text.push_str(&describe_backtrace(&error.backtrace));
    }
    let hint = match error.trap {
        Trap::OutOfMemory => "--heap-max sets the heap's limit, up to the collector's maximum",
        Trap::StackOverflow => "--max-stack sets the stack's limit",
        _ => return text,
    };
    text.push_str(&format!("\nhint: {hint}"));
    text
}

/// The maximum number of frames of a backtrace that are printed.
const FRAMES: usize = 20;

/// The functions on the stack, one per line. Each has the offset of its current instruction in the
/// module's bytes.
fn describe_backtrace(backtrace: &Backtrace) -> String {
    let mut text = String::new();
    for (i, frame) in backtrace.frames().iter().take(FRAMES).enumerate() {
        text.push_str(&format!("\n{i:4}: {}", frame.name));
        if let Some(offset) = frame.srcloc {
            text.push_str(&format!(" at {offset:#x}"));
        }
    }
    let more = backtrace.frames().len().saturating_sub(FRAMES) + backtrace.omitted();
    if more > 0 {
        text.push_str(&format!("\n      … {more} more frames"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_listed() {
        let error = anyhow!("the file is gone").context("reading it").context("running it");
        assert_eq!(
            describe(&error),
            "running it\n  caused by: reading it\n  caused by: the file is gone"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let pipe = |kind| Error::from(io::Error::from(kind)).context("printing");
        assert_eq!(status(&pipe(io::ErrorKind::BrokenPipe)), 0);
        assert_eq!(status(&pipe(io::ErrorKind::NotFound)), 1);
        assert_eq!(status(&misuse("no such thing")), 2);
        assert_eq!(status(&Failure::Reported.into()), 1);
    }
}
