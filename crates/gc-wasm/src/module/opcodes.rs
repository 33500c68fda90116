//! Finds instructions in function bodies without decoding them.
//!
//! Every instruction has the bytes of its opcode, so it is enough to look for these. They may also be
//! found in the immediate of another instruction. So what is found may not be there, but what is there
//! is found.

use wasmparser::BinaryReader;

/// The first byte of the opcodes of bulk operations. The rest is a number in LEB128.
const PREFIX: u8 = 0xfc;

/// Readers that stand behind the opcodes in `body` that have this number after the prefix `0xfc`.
pub(super) fn find(body: &[u8], number: u32) -> impl Iterator<Item = BinaryReader<'_>> {
    body.iter().enumerate().filter(|(_, byte)| **byte == PREFIX).filter_map(move |(at, _)| {
        let mut reader = BinaryReader::new(&body[at + 1..], 0);
        (reader.read_var_u32().ok()? == number).then_some(reader)
    })
}
