//! Compares messages of traps and link errors with those that scripts expect.
//!
//! Scripts expect the messages of the reference interpreter. The engine's messages must contain
//! them. The exceptions listed here are messages that say less than the interpreter's.

use crate::message::trap_message;
use anyhow::Error;
use gc_wasm::Trap;

/// Other messages that a script may expect for a trap.
fn aliases(trap: Trap) -> &'static [&'static str] {
    match trap {
        // There is one trap for all nulls, because the fault does not tell the type of the
        // reference.
        Trap::NullReference => &[
            "null structure reference",
            "null array reference",
            "null function reference",
            "null i31 reference",
            "null exception reference",
        ],
        // The interpreter adds the index of the element.
        Trap::IndirectCallToNull => &["uninitialized element "],
        _ => &[],
    }
}

/// The trap in an error and its message, if there is one.
pub(crate) fn as_trap(error: &Error) -> Option<(Trap, String)> {
    let trap = *error.downcast_ref::<Trap>()?;
    Some((trap, trap_message(error)?))
}

/// Whether a trap with this message is the expected one.
pub(crate) fn trap_matches(trap: Trap, message: &str, expected: &str) -> bool {
    message.contains(expected) || aliases(trap).iter().any(|alias| expected.starts_with(alias))
}

/// Whether a link error is the expected one.
pub(crate) fn link_error_matches(error: &Error, expected: &str) -> bool {
    error.chain().any(|cause| cause.to_string().contains(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_match() {
        for (trap, expected) in [
            (Trap::NullReference, "null structure reference"),
            (Trap::NullReference, "null reference"),
            (Trap::IndirectCallToNull, "uninitialized element"),
            (Trap::IndirectCallToNull, "uninitialized element 7"),
            (Trap::TableOutOfBounds, "undefined element"),
            (Trap::UnreachableCodeReached, "unreachable"),
            (Trap::StackOverflow, "call stack exhausted"),
        ] {
            assert!(trap_matches(trap, &trap.to_string(), expected), "{trap} {expected}");
        }
        for (trap, expected) in [
            (Trap::CastFailure, "null reference"),
            (Trap::NullReference, "cast failure"),
            (Trap::NullReference, "null"),
            (Trap::TableOutOfBounds, "uninitialized element"),
            (Trap::MemoryOutOfBounds, "out of bounds table access"),
        ] {
            let matches = trap_matches(trap, &trap.to_string(), expected);
            assert_eq!(matches, trap.to_string().contains(expected), "{trap} {expected}");
        }
    }

    #[test]
    fn traps_are_found_under_context() {
        let error =
            Error::from(Trap::UnreachableCodeReached).context("the start function").context("it");
        assert_eq!(as_trap(&error).unwrap().0, Trap::UnreachableCodeReached);
        assert!(as_trap(&anyhow::anyhow!("unreachable")).is_none());
    }
}
