//! [`Tail`]: the end of what a program writes, to be shown if it fails.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of bytes that are kept.
const KEPT: usize = 4096;

/// An output that keeps the last bytes. Clones are the same output.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// The text at the end of what was written, without white space around it.
    pub(super) fn text(&self) -> String {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(bytes.make_contiguous()).trim().to_owned()
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut tail = Tail::default();
        for n in 0..2000 {
            writeln!(tail, "line {n}").unwrap();
        }
        let text = tail.text();
        assert!(text.len() <= KEPT && text.ends_with("line 1998\nline 1999"), "{text}");
        tail.write_all(&[b'x'; 3 * KEPT]).unwrap();
        assert_eq!(tail.text(), "x".repeat(KEPT));
    }
}
