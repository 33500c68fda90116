//! A module without its function bodies, in the binary format: what is saved beside
//! compiled code. Read once more, it is validated as a module is and makes the same
//! [`ModuleInfo`](super::info::ModuleInfo), whatever engine reads it.

use gc_types::ImageBytes;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes that are shared: part of a module, or of a file that is mapped.
#[derive(Clone)]
pub(crate) struct Bytes {
    source: ImageBytes,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes of `source` in `range`.
    ///
    /// # Panics
    /// If they are not all there.
    pub(crate) fn new(source: ImageBytes, range: Range<usize>) -> Bytes {
        assert!((*source).as_ref().get(range.clone()).is_some(), "bytes that are not there");
        Bytes { source, range }
    }

    /// A part of them.
    ///
    /// # Panics
    /// If it is not all there.
    pub(crate) fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.end <= self.range.len(), "bytes that are not there");
        let start = self.range.start;
        Bytes::new(self.source.clone(), start + range.start..start + range.end)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.source).as_ref()[self.range.clone()]
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes { source: Arc::new([0; 0]), range: 0..0 }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Where the code section of a binary module is, with its id and size; empty, at the end,
/// if there is none or the module is malformed before it.
pub(super) fn code_section(module: &[u8]) -> Range<usize> {
    const CODE: u8 = 10;
    let mut at = 8;
    while let Some(id) = module.get(at) {
        let Some((size, length)) = leb128(&module[at + 1..]) else { break };
        let end = (at + 1 + length).saturating_add(size as usize).min(module.len());
        if *id == CODE {
            return at..end;
        }
        at = end;
    }
    module.len()..module.len()
}

/// An unsigned number of at most 32 bits, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// `module` without the bytes in `code`.
pub(super) fn without(module: &[u8], code: &Range<usize>) -> Bytes {
    let rest = [&module[..code.start], &module[code.end..]].concat();
    let all = 0..rest.len();
    Bytes::new(Arc::new(rest), all)
}
