//! [`HootCtx`]: the streams and the time of a program.

use crate::stdio::Stdio;
use crate::wait::failed;
use anyhow::Result;
use std::fmt;
use std::time::{Duration, Instant};

/// What Hoot's host knows about a program.
pub struct HootCtx {
    stdio: Stdio,
    /// Bytes of standard input that are no whole character yet.
    pending: Vec<u8>,
    begin: Instant,
}

impl HootCtx {
    /// A context with these streams.
    pub fn new(stdio: Stdio) -> HootCtx {
        HootCtx { stdio, pending: Vec::new(), begin: Instant::now() }
    }

    /// The streams.
    pub(super) fn stdio(&self) -> &Stdio {
        &self.stdio
    }

    /// The time since the context was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Reads some text from standard input. It is empty at the end.
    pub(super) fn read(&mut self) -> Result<String> {
        loop {
            let mut buffer = [0; 1 << 10];
            let count = self.stdio.stdin.read(&mut buffer);
            let count = count.map_err(failed("reading standard input"))?;
            self.pending.extend_from_slice(&buffer[..count]);
            let whole = match std::str::from_utf8(&self.pending) {
                Ok(_) => self.pending.len(),
                // The last character is not complete.
                Err(error) if error.error_len().is_none() && count > 0 => error.valid_up_to(),
                Err(_) => self.pending.len(),
            };
            if whole > 0 || count == 0 {
                let rest = self.pending.split_off(whole);
                let text = std::mem::replace(&mut self.pending, rest);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
}

impl fmt::Debug for HootCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HootCtx").finish_non_exhaustive()
    }
}
