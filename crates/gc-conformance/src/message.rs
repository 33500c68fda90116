//! Errors as text, for scripts and for the command.

use anyhow::Error;
use gc_wasm::TrapError;

/// An error and its causes on one line. For a trap without its backtrace.
pub fn one_line(error: &Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        match cause.downcast_ref::<TrapError>() {
            Some(trap) => causes.push(trap_message(trap)),
            None => causes.push(cause.to_string()),
        }
    }
    causes.join(": ").replace('\n', " ")
}

/// The message of a trap without its backtrace.
pub fn trap_message(error: &TrapError) -> String {
    let trap = error.trap.to_string();
    match error.detail.as_ref().map(ToString::to_string) {
        None => trap,
        Some(detail) if detail.starts_with(&trap) => detail,
        Some(detail) => format!("{trap}: {detail}"),
    }
}
