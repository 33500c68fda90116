//! What is printed about a fault in compiled code that is no trap, before the previous handler gets it or it ends the
//! process.
//!
//! Such a fault is a bug of whoever emitted the code: it accessed memory outside the heap and the tables beside it.
//! It runs in a signal handler, so it allocates nothing.

use crate::registry;
use std::fmt::{self, Write as _};

/// The most characters of a function's name that are printed.
const LONGEST: usize = 200;

/// A line of text in a buffer of fixed size, which is enough for it.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.len..];
        let len = text.len().min(free.len());
        free[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// Prints the function and the address of a fault at the instruction `pc`, if it is in published code.
pub(crate) fn report(signal: &str, pc: usize, address: Option<usize>) {
    let mut line = Line { bytes: [0; 1024], len: 0 };
    let is_code = registry::with_code(pc, |code| {
        let offset = code.offset_of(pc)?;
        let (image, mut at) = (code.image(), offset);
        let mut name = "code between functions";
        if let Some(function) = image.function_at(offset) {
            (name, at) = (function.name, offset - function.offset);
        }
        write!(line, "fault in compiled code: {signal}").ok()?;
        if let Some(address) = address {
            write!(line, " from an access to {address:#x}").ok()?;
        }
        write!(line, ", at +{at:#x} in `").ok()?;
        // The name is the guest's.
        let shown = name.chars().map(|char| if char.is_control() { '?' } else { char });
        shown.take(LONGEST).try_for_each(|char| line.write_char(char)).ok()?;
        line.write_str("`. Its compiler or its collector has a bug.\n").ok()
    });
    if let Some(Some(())) = is_code {
        // Nothing can be done if it fails.
        let _written = rustix::io::write(rustix::stdio::stderr(), &line.bytes[..line.len]);
    }
}
