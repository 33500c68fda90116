//! How a call into compiled code fails.

use crate::Backtrace;
use gc_runtime::HeapError;
use gc_types::Trap;
use std::fmt;

/// Compiled code, or a host function on its behalf, trapped.
#[derive(Clone, Debug)]
pub struct TrapError {
    /// Why.
    pub trap: Trap,
    /// What exactly, where more is known than the trap says.
    pub detail: Option<HeapError>,
    /// Where compiled code was, innermost frame first.
    pub backtrace: Backtrace,
}

impl fmt::Display for TrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many details begin with what the trap says.
        let trap = self.trap.to_string();
        match self.detail.as_ref().map(|detail| detail.to_string()) {
            None => f.write_str(&trap)?,
            Some(detail) if detail.starts_with(&trap) => f.write_str(&detail)?,
            Some(detail) => write!(f, "{trap}: {detail}")?,
        }
        if !self.backtrace.is_empty() {
            write!(f, "\n{}", self.backtrace)?;
        }
        Ok(())
    }
}

impl std::error::Error for TrapError {}

/// Why a call into compiled code did not return.
#[derive(Debug)]
pub enum CallError {
    /// It trapped.
    Trap(TrapError),
    /// A host function it called failed with this.
    Host(anyhow::Error),
}

impl CallError {
    /// The trap, if it is one.
    pub fn trap(&self) -> Option<Trap> {
        match self {
            CallError::Trap(error) => Some(error.trap),
            CallError::Host(_) => None,
        }
    }

    /// As an error that `downcast_ref::<TrapError>()` or the host's own type finds.
    pub fn into_anyhow(self) -> anyhow::Error {
        match self {
            CallError::Trap(error) => error.into(),
            CallError::Host(error) => error,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Trap(error) => error.fmt(f),
            CallError::Host(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Trap(_) => None,
            CallError::Host(error) => error.source(),
        }
    }
}
