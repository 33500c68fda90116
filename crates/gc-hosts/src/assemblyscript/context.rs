//! [`AssemblyScriptCtx`]: the streams of a program.

use crate::stdio::{OutputStream, Stdio};

/// What AssemblyScript's host knows about a program.
#[derive(Debug)]
pub struct AssemblyScriptCtx(Stdio);

impl AssemblyScriptCtx {
    /// A context with these streams.
    pub fn new(stdio: Stdio) -> AssemblyScriptCtx {
        AssemblyScriptCtx(stdio)
    }

    /// The stream of traces.
    pub(super) fn stderr(&self) -> &OutputStream {
        &self.0.stderr
    }
}
