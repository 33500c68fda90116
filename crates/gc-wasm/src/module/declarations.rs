//! A module without its function bodies, in the binary format: what is saved beside
//! compiled code. Read once more, it is validated as every module is and makes the same
//! [`ModuleInfo`](super::info::ModuleInfo), whatever engine reads it. In place of each body
//! there is an empty one, which nobody looks at.

use gc_types::ImageBytes;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Shared bytes: a part of a module or of a mapped file.
#[derive(Clone)]
pub(crate) struct Bytes {
    source: ImageBytes,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes of `source` in `range`.
    ///
    /// # Panics
    /// If the range is out of bounds.
    pub(crate) fn new(source: ImageBytes, range: Range<usize>) -> Bytes {
        assert!((*source).as_ref().get(range.clone()).is_some(), "bytes that are not there");
        Bytes { source, range }
    }

    /// A part of these bytes.
    ///
    /// # Panics
    /// If the range is out of bounds.
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

/// A module whose function bodies were taken out.
pub(super) struct Declarations {
    /// The module, in which all bodies are empty.
    pub(super) bytes: Bytes,
    /// Where the code section was.
    code: Range<usize>,
    /// Bytes of the one that there is instead.
    stub: usize,
}

impl Declarations {
    /// The declarations of a binary module, which may be malformed: then what comes out is,
    /// too.
    pub(super) fn of(module: &[u8]) -> Declarations {
        let code = code_section(module);
        let stub = empty_bodies(&module[code.clone()]);
        let parts = [&module[..code.start], &stub, &module[code.end..]].concat();
        let all = 0..parts.len();
        Declarations { bytes: Bytes::new(Arc::new(parts), all), code, stub: stub.len() }
    }

    /// Those that `bytes` are already.
    pub(super) fn unchanged(bytes: Bytes) -> Declarations {
        let code = bytes.len()..bytes.len();
        Declarations { bytes, code, stub: 0 }
    }

    /// The part of the declarations that is `range` of the module, outside its code.
    pub(super) fn part(&self, range: Range<usize>) -> Bytes {
        let moved = |at: usize| match at >= self.code.end {
            true => at - self.code.len() + self.stub,
            false => at,
        };
        self.bytes.slice(moved(range.start)..moved(range.end))
    }
}

const CODE: u8 = 10;

/// The range of a binary module's code section, with its id and size. If there is none, or if the
/// module is malformed before it, the range is empty and at the end.
fn code_section(module: &[u8]) -> Range<usize> {
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

/// A code section with as many bodies as `section` has, all without locals and empty.
fn empty_bodies(section: &[u8]) -> Vec<u8> {
    const BODY: [u8; 3] = [2, 0, 0x0b];
    let count = section.get(1..).and_then(|rest| {
        let (_, length) = leb128(rest)?;
        let (count, _) = leb128(&rest[length..])?;
        // None is shorter.
        (count as usize <= section.len() / BODY.len()).then_some(count)
    });
    let Some(count) = count else { return section.to_vec() };
    let mut content = to_leb128(count);
    content.extend(BODY.iter().cycle().take(BODY.len() * count as usize));
    [vec![CODE], to_leb128(content.len() as u32), content].concat()
}

/// An unsigned number, as [`leb128`] reads it.
fn to_leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An unsigned number of at most 32 bits, and its length in bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_taken_out_and_the_rest_is_where_it_was() {
        let wat = r#"(module (memory 1) (func (result i32) (i32.const 1)) (func (nop) (nop))
            (data "some bytes"))"#;
        let module = wat::parse_str(wat).unwrap();
        let declarations = Declarations::of(&module);
        let at = module.windows(10).position(|bytes| bytes == b"some bytes").unwrap();
        assert_eq!(&*declarations.part(at..at + 10), b"some bytes");
        // Once more, nothing changes.
        let again = Declarations::of(&declarations.bytes);
        assert_eq!(*again.bytes, *declarations.bytes);
        assert!(declarations.bytes.len() < module.len());
        for malformed in [&module[..0], &module[..9], b"\0asm\x01\0\0\0\x0a\x02\xff\xff"] {
            assert_eq!(*Declarations::of(malformed).bytes, *malformed);
        }
    }
}
