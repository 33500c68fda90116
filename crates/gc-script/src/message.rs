//! Errors as text, for scripts and for the command.

use anyhow::Error;
use gc_wasm::{HeapError, Trap, WasmBacktrace};

/// An error and its causes on one line, without backtraces.
///
/// ```
/// use anyhow::{Context, Result};
///
/// let number: Result<i32> = "one".parse::<i32>().context("reading\na number");
/// let text = gc_script::message::one_line(&number.unwrap_err());
/// assert_eq!(text, "reading a number: invalid digit found in string");
/// ```
pub fn one_line(error: &Error) -> String {
    causes(error).join(": ").replace('\n', " ")
}

/// The error and its causes as texts, the outermost first, without backtraces. A trap and its more
/// exact reason are one text.
pub fn causes(error: &Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.retain(|cause| Some(cause) != backtrace.as_ref());
    let trap = error.root_cause().downcast_ref::<Trap>();
    if let (Some(detail), Some(trap)) = (error.downcast_ref::<HeapError>(), trap)
        && let [.., reason, _] = &mut causes[..]
        && *reason == detail.to_string()
    {
        // Many reasons begin with the trap's own.
        let rest = reason.strip_prefix(trap.reason());
        *reason = rest.map_or_else(|| format!("{trap}: {reason}"), |rest| format!("{trap}{rest}"));
        causes.pop();
    }
    causes
}

/// The message of a trap, with its more exact reason if one is known. `None` if the error is no
/// trap.
pub fn trap_message(error: &Error) -> Option<String> {
    error.downcast_ref::<Trap>()?;
    causes(error).pop()
}
