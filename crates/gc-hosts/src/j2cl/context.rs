//! [`J2clCtx`]: the streams and the time of a program.

use crate::stdio::Stdio;
use std::fmt;
use std::time::{Duration, Instant};

/// What J2CL's host knows about a program.
pub struct J2clCtx {
    stdio: Stdio,
    begin: Instant,
    /// The number of names of classes that were made.
    classes: u64,
}

impl J2clCtx {
    /// A context with these streams.
    pub fn new(stdio: Stdio) -> J2clCtx {
        J2clCtx { stdio, begin: Instant::now(), classes: 0 }
    }

    /// The streams.
    pub(super) fn stdio(&self) -> &Stdio {
        &self.stdio
    }

    /// The time since the context was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// The name of a class that has none.
    pub(super) fn class_name(&mut self) -> String {
        self.classes += 1;
        format!("Class$obf_{}", 1000 + self.classes)
    }
}

impl fmt::Debug for J2clCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("J2clCtx").field("classes", &self.classes).finish_non_exhaustive()
    }
}
