//! [`Interrupted`]: why a program was ended, with its message and exit status.

use std::fmt;
use std::time::Duration;

/// The reason why a program was ended. It is the context of the program's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Ctrl-C.
    CtrlC,
    /// The time is over that the option with this name set.
    Timeout(Duration, &'static str),
}

impl Interrupted {
    /// The exit status, as that of other commands: 128 plus the number of the signal, or the status
    /// of `timeout`.
    pub fn status(self) -> u8 {
        match self {
            Interrupted::CtrlC => 130,
            Interrupted::Timeout(..) => 124,
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupted::CtrlC => f.write_str("interrupted by Ctrl-C"),
            Interrupted::Timeout(time, option) => {
                write!(f, "not finished after {} (`{option}`)", humantime::format_duration(*time))
            }
        }
    }
}

impl std::error::Error for Interrupted {}
