//! The declarations of a module: the module in the binary format, with empty function bodies. They
//! are saved with the compiled code. When they are loaded, they are parsed and validated like every
//! module, and give the same [`ModuleInfo`](super::info::ModuleInfo) in every engine. The empty
//! bodies are not read.

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
        assert!((*source).as_ref().get(range.clone()).is_some(), "the range is out of bounds");
        Bytes { source, range }
    }

    /// A part of these bytes.
    ///
    /// # Panics
    /// If the range is out of bounds.
    pub(crate) fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.end <= self.range.len(), "the range is out of bounds");
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

/// A module without its function bodies.
pub(super) struct Declarations {
    /// The module with empty bodies.
    pub(super) bytes: Bytes,
    /// The place of the original code section in the original module.
    code: Range<usize>,
    /// The size in bytes of the code section with empty bodies.
    stub: usize,
}

impl Declarations {
    /// The declarations of a binary module. If the module is malformed, they are malformed too.
    pub(super) fn of(module: &[u8]) -> Declarations {
        let code = code_section(module);
        let stub = empty_bodies(&module[code.clone()]);
        let parts = [&module[..code.start], &stub, &module[code.end..]].concat();
        let all = 0..parts.len();
        Declarations { bytes: Bytes::new(Arc::new(parts), all), code, stub: stub.len() }
    }

    /// Declarations that were made before and saved.
    pub(super) fn unchanged(bytes: Bytes) -> Declarations {
        let code = bytes.len()..bytes.len();
        Declarations { bytes, code, stub: 0 }
    }

    /// The part of the declarations that corresponds to `range` of the original module. The range
    /// must be outside the code section.
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

/// A code section with as many bodies as `section`, all of them empty and without locals.
fn empty_bodies(section: &[u8]) -> Vec<u8> {
    const BODY: [u8; 3] = [2, 0, 0x0b];
    let count = section.get(1..).and_then(|rest| {
        let (_, length) = leb128(rest)?;
        let (count, _) = leb128(&rest[length..])?;
        // No body is shorter than an empty one, so a larger count is wrong.
        (count as usize <= section.len() / BODY.len()).then_some(count)
    });
    let Some(count) = count else { return section.to_vec() };
    let mut content = to_leb128(count);
    content.extend(BODY.iter().cycle().take(BODY.len() * count as usize));
    [vec![CODE], to_leb128(content.len() as u32), content].concat()
}

/// Encodes an unsigned number as LEB128.
fn to_leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Decodes an unsigned LEB128 number of at most 32 bits. Returns it and its length in bytes.
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
        // The declarations of the declarations are the same.
        let again = Declarations::of(&declarations.bytes);
        assert_eq!(*again.bytes, *declarations.bytes);
        assert!(declarations.bytes.len() < module.len());
        for malformed in [&module[..0], &module[..9], b"\0asm\x01\0\0\0\x0a\x02\xff\xff"] {
            assert_eq!(*Declarations::of(malformed).bytes, *malformed);
        }
    }
}
