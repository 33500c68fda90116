//! Failures of the command: the text on stderr and the exit status.

use crate::interrupted::Interrupted;
use crate::option_names::OptionNames;
use crate::printable::printable;
use anyhow::Error;
use gc_hosts::I32Exit;
use gc_script::message::causes;
use gc_wasm::{HeapError, Trap, WasmBacktrace};
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

/// Prints an error on stderr and returns the exit status for it. Hints call options by these names.
pub fn report(error: &Error, names: &OptionNames) -> ExitCode {
    if let Some(status) = ended(error) {
        return ExitCode::from(status);
    }
    let status = status(error);
    if status != 0 && !matches!(error.downcast_ref(), Some(Failure::Reported)) {
        // If stderr is closed, the error cannot be printed.
        let _ = writeln!(io::stderr(), "error: {}", describe(error, names));
    }
    ExitCode::from(status)
}

/// The exit status with which the program ended itself, if it did and the system can pass it on.
fn ended(error: &Error) -> Option<u8> {
    u8::try_from(error.downcast_ref::<I32Exit>()?.0).ok()
}

/// Whether the reader of the output went away.
fn is_closed_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The exit status for an error. A closed stdout is not an error.
fn status(error: &Error) -> u8 {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return interrupted.status();
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Misuse(_)) => Failure::MISUSE,
        Some(Failure::Reported) => 1,
        None if is_closed_pipe(error) => 0,
        None => 1,
    }
}

/// An error with its causes, one per line; then the backtrace of the program, if it was running, and
/// a hint, if an option of the command could help, with the name that it has in `names`.
pub fn describe(error: &Error, names: &OptionNames) -> String {
    let mut text = causes(error).join("\n  caused by: ");
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        text.push_str("\nwasm backtrace:");
        text.push_str(&describe_backtrace(backtrace));
    }
    let hint = error.downcast_ref::<Trap>().and_then(|trap| hint_for(*trap, names));
    let hint = hint.or_else(|| error.chain().find_map(|cause| heap_hint(cause, names)));
    let hint = hint.or_else(|| limit_hint(&text, names));
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

/// The option of the command that could help against a trap.
fn hint_for(trap: Trap, names: &OptionNames) -> Option<String> {
    match trap {
        Trap::OutOfMemory => {
            Some("--heap-max sets the heap's limit, up to the collector's maximum".to_owned())
        }
        Trap::StackOverflow => Some(format!("{} sets the stack's limit", names.max_stack)),
        Trap::OutOfFuel => Some(format!("{} sets how much there is", names.fuel)),
        _ => None,
    }
}

/// The option that could help if a host function found no room in the heap.
fn heap_hint(cause: &(dyn std::error::Error + 'static), names: &OptionNames) -> Option<String> {
    match cause.downcast_ref::<HeapError>()? {
        HeapError::OutOfMemory { .. } | HeapError::NeedsRoom { .. } => {
            hint_for(Trap::OutOfMemory, names)
        }
        _ => None,
    }
}

/// The option that could help against a limit, which the error calls by the name of the engine's
/// setting, or not at all.
fn limit_hint(text: &str, names: &OptionNames) -> Option<String> {
    let hints = [
        ("(`memory_maximum`)", names.memory_max, "the limit of each memory"),
        ("the system refuses a stack of ", names.max_stack, "the stack's limit"),
        ("larger than the address space", names.max_stack, "the stack's limit"),
        ("no memory for a linear memory", "-O memory-reservation", "the addresses for each memory"),
        ("instance count too high", "-W max-instances", "how many instances there may be"),
        ("table count too high", "-W max-tables", "how many tables there may be"),
        ("memory count too high", "-W max-memories", "how many memories there may be"),
        ("the store's limiter refuses it", "-W max-table-elements", "the limit of each table"),
        ("forcing trap when growing table", "-W max-table-elements", "the limit of each table"),
    ];
    let (_, option, what) = hints.into_iter().find(|(part, ..)| text.contains(part))?;
    Some(format!("{option} sets {what}"))
}

/// The functions on the stack, one per line. Each has the offset of its current instruction in the
/// module's bytes.
fn describe_backtrace(backtrace: &WasmBacktrace) -> String {
    let mut text = String::new();
    for (i, frame) in backtrace.frames().iter().enumerate() {
        let name = match frame.func_name() {
            Some(name) => printable(name).to_string(),
            None => format!("func[{}]", frame.func_index()),
        };
        text.push_str(&format!("\n{i:4}: {name}"));
        if let Some(offset) = frame.module_offset() {
            text.push_str(&format!(" at {offset:#x}"));
        }
    }
    let more = backtrace.omitted();
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
            describe(&error, &OptionNames::OURS),
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

    #[test]
    fn a_program_chooses_its_exit_status() {
        let exit = |status| Error::from(I32Exit(status)).context("calling `_start()`");
        assert_eq!([0, 1, 255].map(|status| ended(&exit(status))), [Some(0), Some(1), Some(255)]);
        // The system would make these 0 and 255.
        assert_eq!([256, -1].map(|status| ended(&exit(status))), [None, None]);
        assert_eq!(ended(&misuse("no such thing")), None);
    }
}
