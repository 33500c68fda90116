//! The section of a binary module that an error is in.

use anyhow::Error;
use wasmparser::{BinaryReader, BinaryReaderError};

/// The same error with the name of the section in which its offset is, if it has one.
pub(super) fn locate(bytes: &[u8], error: Error) -> Error {
    let Some(invalid) = error.downcast_ref::<BinaryReaderError>() else { return error };
    // What is missing at the end of a section is missing in that section, not in the next one.
    let is_missing = invalid.message().starts_with("unexpected end");
    let is_behind = is_missing || invalid.offset() >= bytes.len();
    let offset = invalid.offset().saturating_sub(usize::from(is_behind));
    match section_at(bytes, offset) {
        Some(name) => error.context(format!("{name} section")),
        None => error,
    }
}

/// The name of the section that contains an offset, its header included.
fn section_at(bytes: &[u8], offset: usize) -> Option<&'static str> {
    // The module's own header comes first.
    let mut begin = 8;
    while begin <= offset {
        let mut reader = BinaryReader::new(bytes.get(begin..)?, begin);
        let id = reader.read_u8().ok()?;
        // A size that cannot be read belongs to the last section.
        let size = reader.read_var_u32().unwrap_or(u32::MAX);
        let end = reader.original_position().saturating_add(size as usize);
        if offset < end {
            return name(id);
        }
        begin = end;
    }
    None
}

fn name(id: u8) -> Option<&'static str> {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with a type section of four bytes and a custom section that is cut off.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\0\x09\x04name";

    #[test]
    fn sections_are_found_by_their_bytes() {
        for (offset, section) in [
            (0, None),
            (7, None),
            (8, Some("type")),
            (13, Some("type")),
            (14, Some("custom")),
            (18, Some("custom")),
            (MODULE.len() - 1, Some("custom")),
        ] {
            assert_eq!(section_at(MODULE, offset), section, "{offset}");
        }
    }

    #[test]
    fn headers_that_are_cut_off_count() {
        assert_eq!(section_at(&MODULE[..9], 8), Some("type"));
        assert_eq!(section_at(&MODULE[..15], 14), Some("custom"));
        assert_eq!(section_at(b"\0asm\x01\0\0\0\x7f\x01\0", 8), None);
    }
}
